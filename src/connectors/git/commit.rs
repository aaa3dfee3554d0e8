//! Commits: in which order they are, and what a document says of one.

use std::collections::{BTreeMap, BinaryHeap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use gix_hash::Kind as HashKind;
use gix_hash::ObjectId;
use gix_object::bstr::ByteSlice;
use gix_object::{CommitRef, Kind};
use serde_json::{Map, Value};

use super::links;
use super::pack::Pack;
use super::settings::Config;
use super::tree::{self, EntryKind, TreeError};
use crate::connectors::RecordError;
use crate::connectors::rows::template::Template;
use crate::record::Document;

/// Paths of a commit that are named; the others are counted.
const NAMED_PATHS: usize = 500;
/// Paths that are counted.
const MOST_PATHS: usize = 10_000;
/// Trees that are looked at for one commit.
const MOST_TREES: usize = 20_000;
const LONGEST_TITLE: usize = 500;

/// What of a commit decides the way.
struct Head {
    tree: ObjectId,
    parents: Vec<ObjectId>,
    /// Seconds since 1970 UTC.
    time: i64,
}

/// The tree of a commit.
pub(super) fn tree_of(pack: &Pack, commit: &ObjectId) -> Result<ObjectId, TreeError> {
    head(pack, commit).map(|head| head.tree)
}

fn head(pack: &Pack, id: &ObjectId) -> Result<Head, TreeError> {
    let bytes = bytes_of(pack, id)?;
    let commit = CommitRef::from_bytes(&bytes, HashKind::Sha1).map_err(|_| TreeError::Damaged)?;
    let time = commit.committer().ok().map_or(0, |signature| signature.seconds());
    Ok(Head { tree: commit.tree(), parents: commit.parents().collect(), time })
}

fn bytes_of(pack: &Pack, id: &ObjectId) -> Result<Arc<Vec<u8>>, TreeError> {
    match pack.object(id).map_err(TreeError::Pack)? {
        Some((Kind::Commit, bytes)) => Ok(bytes),
        Some(_) | None => Err(TreeError::Damaged),
    }
}

/// The commits that lead to one, the newest first, and at most so many. A parent
/// that is neither there nor behind the boundary was kept back: then the list proves
/// nothing.
pub(super) fn history(
    pack: &Pack,
    tip: &ObjectId,
    boundary: &HashSet<ObjectId>,
    limit: usize,
) -> Result<Vec<ObjectId>, TreeError> {
    let mut ahead = BinaryHeap::new();
    let mut met = HashSet::new();
    let mut found = Vec::new();
    let first = head(pack, tip)?;
    met.insert(*tip);
    ahead.push((first.time, *tip, first.parents));
    while let Some((_, id, parents)) = ahead.pop() {
        found.push(id);
        if found.len() >= limit {
            break;
        }
        if boundary.contains(&id) {
            continue;
        }
        for parent in parents {
            if met.insert(parent) {
                let head = head(pack, &parent)?;
                ahead.push((head.time, parent, head.parents));
            }
        }
    }
    Ok(found)
}

/// The document of a commit.
pub(super) fn document(
    pack: &Pack,
    boundary: &HashSet<ObjectId>,
    config: &Config,
    id: &ObjectId,
) -> Result<Document, RecordError> {
    let damaged = || RecordError { code: "undecodable", message: "the commit cannot be decoded".to_owned() };
    let bytes = bytes_of(pack, id).map_err(|_| damaged())?;
    let commit = CommitRef::from_bytes(&bytes, HashKind::Sha1).map_err(|_| damaged())?;
    let author = commit.author().map_err(|_| damaged())?;
    let committer = commit.committer().map_err(|_| damaged())?;
    let message = commit.message.to_str_lossy();
    let (subject, rest) = parts(&message);
    let mut metadata = Map::new();
    let name = id.to_string();
    metadata.insert("commit".to_owned(), name.as_str().into());
    metadata.insert("author".to_owned(), author.name.to_str_lossy().into());
    metadata.insert("authorEmail".to_owned(), author.email.to_str_lossy().into());
    metadata.insert("committer".to_owned(), committer.name.to_str_lossy().into());
    for (field, seconds) in [("authoredAt", author.seconds()), ("committedAt", committer.seconds())] {
        if let Some(time) = DateTime::<Utc>::from_timestamp(seconds, 0) {
            metadata.insert(field.to_owned(), time.to_rfc3339_opts(SecondsFormat::Secs, true).into());
        }
    }
    let parents: Vec<Value> = commit.parents().map(|parent| parent.to_string().into()).collect();
    metadata.insert("parents".to_owned(), parents.into());
    let mut body = rest.to_owned();
    let before = match commit.parents().next() {
        None => Some(None),
        Some(_) if boundary.contains(id) => None,
        Some(parent) => tree_of(pack, &parent).ok().map(Some),
    };
    if let Some(before) = before
        && let Ok(paths) = changed(pack, before, commit.tree())
    {
        metadata.insert("filesChanged".to_owned(), paths.len().into());
        let named: Vec<Value> = paths.iter().take(NAMED_PATHS).map(|path| path.as_str().into()).collect();
        body = [body.as_str(), "\n\n", paths[..named.len()].join("\n").as_str()].concat().trim().to_owned();
        metadata.insert("files".to_owned(), named.into());
    }
    let url = match Template::compile_optional("commitUrlTemplate", config.commit_url_template.as_deref()) {
        Ok(Some(template)) => Some(template.render(&Value::Object(metadata.clone()))?),
        Ok(None) => config.address().and_then(|address| links::commit(&address, &name)),
        Err(error) => return Err(RecordError { code: "template_failed", message: error.reason }),
    };
    let micros = |seconds: i64| seconds.checked_mul(1_000_000);
    Ok(Document {
        title: if subject.is_empty() { name.clone() } else { subject.to_owned() },
        body,
        url: url.filter(|url| !url.is_empty()),
        kind: "commit".to_owned(),
        created_at: micros(author.seconds()),
        updated_at: micros(committer.seconds()),
        metadata,
    })
}

/// Subject and body of a message.
fn parts(message: &str) -> (&str, &str) {
    let message = message.trim();
    let (first, rest) = message.split_once('\n').unwrap_or((message, ""));
    if first.len() > LONGEST_TITLE {
        return (&message[..message.floor_char_boundary(LONGEST_TITLE)], message);
    }
    (first.trim_end(), rest.trim())
}

/// Paths that differ between two trees.
fn changed(pack: &Pack, before: Option<ObjectId>, after: ObjectId) -> Result<Vec<String>, TreeError> {
    let mut paths = Vec::new();
    let mut ahead = vec![(String::new(), before, Some(after))];
    let mut looked = 0;
    while let Some((folder, before, after)) = ahead.pop() {
        looked += 1;
        if looked > MOST_TREES || paths.len() > MOST_PATHS {
            return Err(TreeError::TooLarge);
        }
        if before == after {
            continue;
        }
        let mut sides: BTreeMap<String, [Option<(EntryKind, ObjectId)>; 2]> = BTreeMap::new();
        for (side, tree) in [before, after].into_iter().enumerate() {
            let Some(tree) = tree else { continue };
            for entry in tree::list(pack, &tree, &folder, None, MOST_PATHS)? {
                sides.entry(entry.path).or_default()[side] = Some((entry.kind, entry.id));
            }
        }
        for (path, [before, after]) in sides {
            if before == after {
                continue;
            }
            let folder = |side: Option<(EntryKind, ObjectId)>| {
                side.filter(|(kind, _)| *kind == EntryKind::Folder).map(|(_, id)| id)
            };
            let is_file = |side: Option<(EntryKind, ObjectId)>| side.is_some_and(|(kind, _)| kind != EntryKind::Folder);
            if is_file(before) || is_file(after) {
                paths.push(path.clone());
            }
            if folder(before).is_some() || folder(after).is_some() {
                ahead.push((path, folder(before), folder(after)));
            }
        }
    }
    paths.sort_unstable();
    Ok(paths)
}
