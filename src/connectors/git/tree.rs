//! The files of a commit: its tree, folder by folder, in Git's order of names.
//!
//! A tree comes from the server and may be made to harm: with names that mean
//! something to a file system, with the same name twice, or a few trees that hold
//! each other many times and unfold to millions of files. What is held in memory is
//! the trees from the root down to the one that is being read.

use std::cmp::Ordering;
use std::sync::Arc;

use gix_hash::ObjectId;
use gix_object::Kind;

use super::pack::{Pack, PackError};

const DEEPEST: usize = 64;
const LONGEST_PATH: usize = 4_096;
/// Entries of a whole tree, folders included.
const MOST_ENTRIES: usize = 1_000_000;
/// Bytes of the trees from the root to where the walk is.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// Why a tree cannot be walked to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum TreeError {
    /// The pack cannot give one of the trees.
    #[error("a folder of the repository cannot be read")]
    Pack(#[source] PackError),
    /// A tree is not there, or not one.
    #[error("a folder of the repository is missing or damaged")]
    Damaged,
    /// More folders or files than we take.
    #[error("the repository unfolds to more files than are taken")]
    TooLarge,
}

/// What an entry of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    Folder,
    File,
    /// A link: where it leads is not looked at.
    Link,
    /// A commit of another repository.
    Submodule,
}

/// An entry as it lies in its tree.
struct Raw<'a> {
    kind: EntryKind,
    name: &'a [u8],
    id: ObjectId,
}

/// An entry of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Path with `/`.
    pub(super) path: String,
    pub(super) id: ObjectId,
    pub(super) kind: EntryKind,
    /// What is wrong with its name: a code, and words for people.
    pub(super) problem: Option<(&'static str, &'static str)>,
}

impl Entry {
    fn of(raw: &Raw<'_>, folder: &str) -> Self {
        let name = match std::str::from_utf8(raw.name) {
            Ok(name) => name.to_owned(),
            Err(_) => raw.name.escape_ascii().to_string(),
        };
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        Self { problem: problem(raw.name, &path), path, id: raw.id, kind: raw.kind }
    }
}

/// Names are never used as names of files here, and yet those who read what we
/// index might.
fn problem(name: &[u8], path: &str) -> Option<(&'static str, &'static str)> {
    if std::str::from_utf8(name).is_err() {
        return Some(("name_not_text", "the name of the file is not UTF-8"));
    }
    let is_special = matches!(name, b"" | b"." | b"..") || name.eq_ignore_ascii_case(b".git");
    if is_special || name.iter().any(|byte| *byte == b'/' || byte.is_ascii_control()) {
        return Some(("name_refused", "the name of the file is one that no file may have"));
    }
    (path.len() > LONGEST_PATH).then_some(("name_too_long", "the path of the file is too long"))
}

/// One tree, and how far it was read.
struct Level {
    folder: String,
    bytes: Arc<Vec<u8>>,
    at: usize,
    /// The entry before: where its name is, and whether it was a folder.
    before: Option<(usize, usize, bool)>,
}

impl Level {
    fn open(pack: &Pack, tree: &ObjectId, folder: String) -> Result<Self, TreeError> {
        match pack.object(tree).map_err(TreeError::Pack)? {
            Some((Kind::Tree, bytes)) if bytes.len() <= MOST_BYTES => Ok(Self { folder, bytes, at: 0, before: None }),
            Some((Kind::Tree, _)) => Err(TreeError::TooLarge),
            Some(_) | None => Err(TreeError::Damaged),
        }
    }

    fn next(&mut self) -> Result<Option<Raw<'_>>, TreeError> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let (raw, length) = split(rest).ok_or(TreeError::Damaged)?;
        let begin = self.at + length - raw.id.as_slice().len() - 1 - raw.name.len();
        if let Some((begin, end, is_folder)) = self.before
            && order(&self.bytes[begin..end], is_folder, raw.name, raw.kind == EntryKind::Folder) != Ordering::Less
        {
            // The same name twice would be the same key twice.
            return Err(TreeError::Damaged);
        }
        self.before = Some((begin, begin + raw.name.len(), raw.kind == EntryKind::Folder));
        self.at += length;
        Ok(Some(raw))
    }
}

/// The first entry of a tree, and its length.
fn split(bytes: &[u8]) -> Option<(Raw<'_>, usize)> {
    let space = bytes.iter().take(8).position(|byte| *byte == b' ')?;
    let mode =
        std::str::from_utf8(&bytes[..space]).ok().filter(|mode| mode.bytes().all(|byte| byte.is_ascii_digit()))?;
    let kind = match u32::from_str_radix(mode, 8).ok()? & 0o170_000 {
        0o040_000 => EntryKind::Folder,
        0o100_000 => EntryKind::File,
        0o120_000 => EntryKind::Link,
        0o160_000 => EntryKind::Submodule,
        _ => return None,
    };
    let rest = &bytes[space + 1..];
    let end = rest.iter().position(|byte| *byte == 0)?;
    let id = rest[end + 1..].first_chunk::<20>()?;
    Some((Raw { kind, name: &rest[..end], id: ObjectId::Sha1(*id) }, space + 1 + end + 1 + id.len()))
}

/// Git's order: a folder is compared as if its name ended with a slash.
fn order(one: &[u8], one_is_folder: bool, other: &[u8], other_is_folder: bool) -> Ordering {
    let padded = |name: &[u8], is_folder: bool, at: usize| match name.get(at) {
        Some(byte) => Some(*byte),
        None if at == name.len() && is_folder => Some(b'/'),
        None => None,
    };
    let common = one.len().min(other.len());
    one[..common].cmp(&other[..common]).then_with(|| {
        padded(one, one_is_folder, common)
            .cmp(&padded(other, other_is_folder, common))
            .then(one.len().cmp(&other.len()))
    })
}

/// What lies directly in a tree, ordered by path: at most so many behind a path.
pub(super) fn list(
    pack: &Pack,
    tree: &ObjectId,
    folder: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Entry>, TreeError> {
    let level = Level::open(pack, tree, folder.to_owned())?;
    let mut raws = Vec::new();
    let mut at = 0;
    while at < level.bytes.len() {
        let (raw, length) = split(&level.bytes[at..]).ok_or(TreeError::Damaged)?;
        at += length;
        raws.push(raw);
    }
    raws.sort_unstable_by_key(|raw| raw.name);
    let entries = raws.iter().map(|raw| Entry::of(raw, folder)).filter(|entry| entry.problem.is_none());
    let entries = entries.filter(|entry| after.is_none_or(|after| entry.path.as_str() > after));
    Ok(entries.take(limit).collect())
}

/// The tree that a path leads to; none where it leads to no folder.
pub(super) fn folder(pack: &Pack, root: &ObjectId, path: &str) -> Result<Option<ObjectId>, TreeError> {
    let mut tree = *root;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let mut level = Level::open(pack, &tree, String::new())?;
        loop {
            match level.next()? {
                Some(raw) if raw.name == name.as_bytes() && raw.kind == EntryKind::Folder => {
                    tree = raw.id;
                    break;
                }
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }
    Ok(Some(tree))
}

/// Walks a whole tree.
pub(super) struct Walk<'a> {
    pack: &'a Pack,
    /// True for folders that are worth going into.
    enters: Box<dyn Fn(&str) -> bool + 'a>,
    levels: Vec<Level>,
    met: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn of(pack: &'a Pack, tree: &ObjectId, enters: impl Fn(&str) -> bool + 'a) -> Result<Self, TreeError> {
        let levels = vec![Level::open(pack, tree, String::new())?];
        Ok(Self { pack, enters: Box::new(enters), levels, met: 0 })
    }

    /// The next entry that is no folder. A folder with a name that none may have is
    /// given too, and nothing in it is looked at.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, TreeError> {
        while let Some(level) = self.levels.last_mut() {
            let folder = level.folder.clone();
            let Some(raw) = level.next()? else {
                self.levels.pop();
                continue;
            };
            let entry = Entry::of(&raw, &folder);
            self.met += 1;
            if self.met > MOST_ENTRIES {
                return Err(TreeError::TooLarge);
            }
            if entry.kind != EntryKind::Folder || entry.problem.is_some() {
                return Ok(Some(entry));
            }
            if (self.enters)(&entry.path) {
                self.enter(entry)?;
            }
        }
        Ok(None)
    }

    fn enter(&mut self, folder: Entry) -> Result<(), TreeError> {
        let level = Level::open(self.pack, &folder.id, folder.path)?;
        let held: usize = self.levels.iter().map(|level| level.bytes.len()).sum();
        if self.levels.len() >= DEEPEST || held + level.bytes.len() > MOST_BYTES {
            return Err(TreeError::TooLarge);
        }
        self.levels.push(level);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
