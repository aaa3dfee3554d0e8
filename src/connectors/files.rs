//! A folder of documents below the file roots. Each folder directly below it is
//! an object, and the files that lie in it itself are the object `.`.
//!
//! Hidden files (their name begins with a dot) and links are left out: a link
//! could lead anywhere, and what it leads to within the folder is read anyway.

mod config;
mod extract;
mod read;
mod walk;

use std::path::PathBuf;
use std::time::Instant;

use async_trait::async_trait;
use serde::Deserialize;

use crate::connectors::paths::{self, ConfinementError};
use crate::connectors::reading::{Output, ReadRequest};
use crate::connectors::{
    Account, AuthMethod, Connector, ConnectorError, ObjectKind, ObjectPage, RecordError, SourceObject, Spec,
};
use crate::error::Violation;
use crate::record::{Document, RawRecord};
use crate::report::{Report, StageKind};
pub use config::Config;
use walk::Selection;

/// The connector.
pub struct Files;

/// There are none.
#[derive(Deserialize)]
pub struct NoCredentials {}

/// What decoding needs beside a record.
pub struct Shape {
    folder: PathBuf,
}

#[async_trait]
impl Connector for Files {
    type Credentials = NoCredentials;
    type Config = Config;
    type Shape = Shape;

    fn spec(&self) -> Spec {
        Spec {
            short_name: "files",
            name: "Folder of documents",
            description: "Text, Markdown, HTML, PDF, Word, Excel, CSV, JSON and source code in a folder on the server",
            auth_methods: &[AuthMethod::None],
            labels: &["Documents", "File"],
            supports_continuous: false,
            auth_fields: Vec::new(),
            config_fields: config::fields(),
            mapper_version: 2,
        }
    }

    fn validate(&self, config: &Config) -> Vec<Violation> {
        config.violations()
    }

    fn selects(&self, config: &Config, object: &str) -> bool {
        Selection::of(config).takes_object(object)
    }

    async fn check(&self, account: &Account<Self>, report: &mut Report) -> Result<(), ConnectorError> {
        let begun = Instant::now();
        report.skipped(StageKind::Resolve, "not_needed");
        let config = account.config.clone();
        let listed = match located(account) {
            Ok(folder) => blocking(move || read::sample(&folder, &config)).await?,
            Err(error) => Err(error),
        };
        let tried = match listed {
            Ok(tried) => tried,
            Err(error) => {
                let hint = "give a folder that the server's user may list, below one of its --file-roots";
                report.failed(StageKind::Connect, None, begun.elapsed(), error.code(), hint);
                return Err(refused(error));
            }
        };
        report.ok(StageKind::Connect, None, begun.elapsed());
        report.skipped(StageKind::Tls, "not_needed");
        report.skipped(StageKind::Login, "not_needed");
        let mut forbidden = None;
        for read::Sample { object, readable, took } in tried {
            if readable {
                report.ok(StageKind::Read, Some(&object), took);
            } else {
                let hint = "let the server's user read this folder and its files, or exclude it";
                report.failed(StageKind::Read, Some(&object), took, "permission_missing", hint);
                forbidden.get_or_insert(object);
            }
        }
        forbidden.map_or(Ok(()), |object| Err(ConnectorError::Forbidden { object }))
    }

    async fn discover(
        &self,
        account: &Account<Self>,
        parent: Option<&str>,
        page: ObjectPage<'_>,
    ) -> Result<Vec<SourceObject>, ConnectorError> {
        let folder = located(account).map_err(refused)?;
        let parent = parent.unwrap_or_default().to_owned();
        let (after, limit) = (page.after.map(str::to_owned), page.limit);
        let config = account.config.clone();
        let work = move || {
            let entries = walk::list(&folder, &parent)?;
            let selection = Selection::of(&config);
            let wanted = entries.into_iter().filter(|entry| after.as_ref().is_none_or(|after| entry.path > *after));
            let objects = wanted.take(limit).map(|entry| SourceObject {
                kind: if entry.is_folder { ObjectKind::Folder } else { ObjectKind::File },
                has_children: entry.is_folder,
                selected: if entry.is_folder {
                    selection.enters(&entry.path)
                } else {
                    selection.takes_file(&entry.path)
                },
                estimated_items: None,
                path: entry.path,
            });
            Ok(objects.collect())
        };
        blocking(work).await?.map_err(refused)
    }

    async fn read(&self, account: &Account<Self>, request: ReadRequest, output: Output) -> Result<(), ConnectorError> {
        let folder = located(account).map_err(refused)?;
        let config = account.config.clone();
        blocking(move || read::pass(&folder, &config, &request, &output)).await?
    }

    fn decode(
        &self,
        account: &Account<Self>,
        _object: &str,
        shape: &Shape,
        record: &RawRecord,
    ) -> Result<Document, RecordError> {
        extract::document(&shape.folder, &account.config, &account.resources.parsers, record)
    }
}

fn located(account: &Account<Files>) -> Result<PathBuf, ConfinementError> {
    paths::confined(&account.resources.file_roots, &account.config.path)
}

fn refused(error: ConfinementError) -> ConnectorError {
    match error {
        ConfinementError::Unreadable(cause) => {
            ConnectorError::Unreachable { code: "unreachable", cause: Some(Box::new(cause)) }
        }
        other => ConnectorError::Invalid { field: "config.path".to_owned(), reason: other.to_string() },
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ConnectorError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ConnectorError::Unexpected(Box::new(error)))
}
