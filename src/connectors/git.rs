//! A Git repository over HTTP: the files of a branch, and its commits if asked for.
//!
//! Nothing of Git is run: no program, no hook, no configuration of the machine.
//! What the server sends goes to a file without a name, and is read there.

mod check;
mod commit;
mod document;
mod links;
mod pack;
mod pktline;
mod read;
mod remote;
mod scratch;
mod selection;
mod settings;
mod tree;

use std::collections::HashSet;

use async_trait::async_trait;
use gix_hash::ObjectId;

use super::reading::{Output, ReadRequest};
use super::{Account, AuthMethod, Connector, ConnectorError, ObjectKind, ObjectPage, RecordError, SourceObject, Spec};
use crate::error::Violation;
use crate::record::{Document, RawRecord};
use crate::report::Report;
use document::Files;
use pack::Pack;
use remote::{Remote, Wanted};
use selection::Selection;
pub use settings::{Config, Credentials};
use tree::EntryKind;

/// The object of the files.
const FILES: &str = "files";
/// The object of the commits.
const COMMITS: &str = "commits";
const ID_BYTES: usize = 20;

/// The connector.
pub struct Git;

/// What decoding needs beside a record.
pub struct Shape(ShapeOf);

enum ShapeOf {
    /// Of files.
    Files(Files),
    /// Of commits.
    Commits {
        pack: Pack,
        /// Commits whose parents are not there.
        boundary: HashSet<ObjectId>,
    },
}

#[async_trait]
impl Connector for Git {
    type Credentials = Credentials;
    type Config = Config;
    type Shape = Shape;

    fn spec(&self) -> Spec {
        Spec {
            short_name: "git",
            name: "Git repository",
            description: "Files of a branch and commits of a Git repository over HTTPS",
            auth_methods: &[AuthMethod::Credentials, AuthMethod::None],
            labels: &["Documents", "Code"],
            supports_continuous: false,
            auth_fields: settings::auth_fields(),
            config_fields: settings::config_fields(),
            mapper_version: 1,
        }
    }

    fn validate(&self, config: &Config) -> Vec<Violation> {
        config.violations()
    }

    fn binding(&self, config: &Config) -> String {
        config.binding()
    }

    fn destination(&self, account: &Account<Self>) -> Option<(String, u16)> {
        account.config.address().map(|address| (address.host().to_owned(), address.port()))
    }

    fn selects(&self, config: &Config, object: &str) -> bool {
        selects(config, object)
    }

    async fn check(&self, account: &Account<Self>, report: &mut Report) -> Result<(), ConnectorError> {
        check::check(account, report).await
    }

    async fn discover(
        &self,
        account: &Account<Self>,
        parent: Option<&str>,
        page: ObjectPage<'_>,
    ) -> Result<Vec<SourceObject>, ConnectorError> {
        let mut level = match parent.map(|parent| parent.strip_prefix(FILES).unwrap_or(parent)) {
            None => roots(&account.config),
            Some("") => folder(account, "", page).await?,
            Some(below) if below.starts_with('/') => folder(account, &below[1..], page).await?,
            Some(_) => Vec::new(),
        };
        level.retain(|object| page.after.is_none_or(|after| object.path.as_str() > after));
        level.truncate(page.limit);
        Ok(level)
    }

    async fn read(&self, account: &Account<Self>, request: ReadRequest, output: Output) -> Result<(), ConnectorError> {
        read::read(account, request, output).await
    }

    fn decode(
        &self,
        account: &Account<Self>,
        _object: &str,
        shape: &Shape,
        record: &RawRecord,
    ) -> Result<Document, RecordError> {
        let undecodable = || RecordError { code: "undecodable", message: "the record cannot be decoded".to_owned() };
        let (id, rest) = record.payload.split_first_chunk::<ID_BYTES>().ok_or_else(undecodable)?;
        let id = ObjectId::Sha1(*id);
        match &shape.0 {
            ShapeOf::Files(files) => {
                let path = std::str::from_utf8(rest).map_err(|_| undecodable())?;
                document::document(files, &account.config, &account.resources.parsers, path, &id)
            }
            ShapeOf::Commits { pack, boundary } => commit::document(pack, boundary, &account.config, &id),
        }
    }
}

fn selects(config: &Config, object: &str) -> bool {
    object == FILES || (object == COMMITS && config.commits)
}

fn roots(config: &Config) -> Vec<SourceObject> {
    [COMMITS, FILES]
        .into_iter()
        .map(|object| SourceObject {
            path: object.to_owned(),
            kind: ObjectKind::Folder,
            has_children: object == FILES,
            selected: selects(config, object),
            estimated_items: None,
        })
        .collect()
}

/// What lies directly in a folder of the newest commit.
async fn folder(account: &Account<Git>, path: &str, page: ObjectPage<'_>) -> Result<Vec<SourceObject>, ConnectorError> {
    let remote = Remote::of(account)?;
    let abilities = remote.greet().await?;
    let Some(commit) = remote.tip(abilities, account.config.branch()).await?.commit else { return Ok(Vec::new()) };
    let filter = abilities.filter.then(|| "blob:none".to_owned());
    let limit = account.config.repository_limit();
    let fetched = remote.fetch(&Wanted { objects: vec![commit], depth: Some(1), filter, limit }).await?;
    let pack = read::open(&account.config, fetched.file).await?;
    let root = commit::tree_of(&pack, &commit).map_err(read::failed)?;
    let Some(tree) = tree::folder(&pack, &root, path).map_err(read::failed)? else { return Ok(Vec::new()) };
    let prefix = format!("{FILES}/");
    let after = page.after.map(|after| after.strip_prefix(&prefix).unwrap_or_default());
    let entries = tree::list(&pack, &tree, path, after, page.limit).map_err(read::failed)?;
    let selection = Selection::of(&account.config);
    let objects = entries.into_iter().map(|entry| {
        let is_folder = entry.kind == EntryKind::Folder;
        let is_taken = entry.kind == EntryKind::File && selection.takes(&entry.path);
        SourceObject {
            kind: if is_folder { ObjectKind::Folder } else { ObjectKind::File },
            has_children: is_folder,
            selected: if is_folder { selection.enters(&entry.path) } else { is_taken },
            estimated_items: None,
            path: format!("{prefix}{}", entry.path),
        }
    });
    Ok(objects.collect())
}
