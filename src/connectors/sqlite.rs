//! SQLite files: tables and views of one database file below the file roots,
//! opened read-only, each pass in one read transaction.

mod bounds;
mod config;
mod cursor;
mod database;
mod plan;
mod read;
mod stamp;
mod values;

use std::pin::pin;
use std::time::Instant;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use crate::connectors::reading::{Output, ReadRequest};
use crate::connectors::rows::RowMapping;
use crate::connectors::{
    Account, AuthMethod, Connector, ConnectorError, ObjectKind, ObjectPage, RecordError, SourceObject, Spec,
};
use crate::error::Violation;
use crate::record::{Document, RawRecord};
use crate::report::{Report, StageKind};
pub use config::{Config, TableOptions};
use database::{Database, Failure};

/// The connector.
pub struct Sqlite;

/// There are none.
#[derive(Deserialize)]
pub struct NoCredentials {}

/// What decoding needs beside a row.
pub struct Shape {
    columns: Vec<String>,
    mapping: RowMapping,
}

#[async_trait]
impl Connector for Sqlite {
    type Credentials = NoCredentials;
    type Config = Config;
    type Shape = Shape;

    fn spec(&self) -> Spec {
        Spec {
            short_name: "sqlite",
            name: "SQLite",
            description: "Tables and views of a SQLite database file on the server",
            auth_methods: &[AuthMethod::None],
            labels: &["Database", "File"],
            supports_continuous: false,
            auth_fields: Vec::new(),
            config_fields: config::fields(),
            mapper_version: 1,
        }
    }

    fn validate(&self, config: &Config) -> Vec<Violation> {
        config.violations()
    }

    fn selects(&self, config: &Config, object: &str) -> bool {
        config.selects(object)
    }

    async fn check(&self, account: &Account<Self>, report: &mut Report) -> Result<(), ConnectorError> {
        let begun = Instant::now();
        report.skipped(StageKind::Resolve, "not_needed");
        let work = on_file(account, |database, config| {
            let tables: Vec<_> = database.tables()?.into_iter().filter(|table| config.selects(&table.name)).collect();
            database.check_cursors(config, tables.iter())?;
            let tried: Vec<_> = tables
                .into_iter()
                .map(|table| {
                    let begun = Instant::now();
                    let outcome = database.first_row(&table, config);
                    let outcome = outcome.and_then(|()| database.check_cursor(&table, config));
                    (table.name, outcome, begun.elapsed())
                })
                .collect();
            Ok(tried)
        });
        let tried = match work.await {
            Ok(tried) => tried,
            Err(failure) => {
                report.failed(StageKind::Connect, None, begun.elapsed(), failure.code(), failure.hint());
                return Err(failure.into());
            }
        };
        report.ok(StageKind::Connect, None, begun.elapsed());
        report.skipped(StageKind::Tls, "not_needed");
        report.skipped(StageKind::Login, "not_needed");
        let mut refused = None;
        for (object, outcome, took) in tried {
            match outcome {
                Ok(()) => report.ok(StageKind::Read, Some(&object), took),
                Err(failure) => {
                    report.failed(StageKind::Read, Some(&object), took, failure.code(), failure.hint());
                    refused.get_or_insert(failure);
                }
            }
        }
        refused.map_or(Ok(()), |failure| Err(failure.into()))
    }

    async fn discover(
        &self,
        account: &Account<Self>,
        parent: Option<&str>,
        page: ObjectPage<'_>,
    ) -> Result<Vec<SourceObject>, ConnectorError> {
        if parent.is_some() {
            return Ok(Vec::new());
        }
        let (after, limit) = (page.after.map(str::to_owned), page.limit);
        let work = on_file(account, move |database, config| {
            let tables = database.tables()?;
            let wanted = tables.into_iter().filter(|table| after.as_ref().is_none_or(|after| table.name > *after));
            let objects = wanted.take(limit).map(|table| SourceObject {
                kind: ObjectKind::Table,
                has_children: false,
                selected: config.selects(&table.name),
                estimated_items: database.estimate(&table),
                path: table.name,
            });
            Ok(objects.collect())
        });
        Ok(work.await?)
    }

    async fn read(&self, account: &Account<Self>, request: ReadRequest, output: Output) -> Result<(), ConnectorError> {
        let (path, config, silence) = (located(account)?, account.config.clone(), silence(account));
        let database = blocking(move || Database::open_stamped(&path, silence)).await??;
        // When this future is dropped or nobody listens any more, a statement that
        // runs for ever ends too.
        let interrupt = database.interrupt_on_drop();
        let listener = output.clone();
        let mut reading = pin!(blocking(move || read::pass(&database, &config, &request, &output)));
        tokio::select! {
            outcome = &mut reading => return outcome?,
            () = listener.closed() => drop(interrupt),
        }
        reading.await?
    }

    fn decode(
        &self,
        _account: &Account<Self>,
        object: &str,
        shape: &Shape,
        record: &RawRecord,
    ) -> Result<Document, RecordError> {
        let values = values::decode(&record.payload)
            .filter(|values| values.len() == shape.columns.len())
            .ok_or_else(|| RecordError { code: "undecodable", message: "the row cannot be decoded".to_owned() })?;
        let columns: Vec<(String, Value)> = shape.columns.iter().cloned().zip(values).collect();
        shape.mapping.document(object, &columns, &record.source_key)
    }
}

/// How long a statement may go without a row. A file has no network in between, but
/// a view may sort first: five times what a server may be silent.
fn silence(account: &Account<Sqlite>) -> std::time::Duration {
    account.resources.dialer.timeouts().idle * 5
}

fn located(account: &Account<Sqlite>) -> Result<std::path::PathBuf, Failure> {
    let roots = &account.resources.file_roots;
    crate::connectors::paths::confined(roots, &account.config.path).map_err(Failure::Confined)
}

/// Opens the file and works on it on the blocking pool.
async fn on_file<T: Send + 'static>(
    account: &Account<Sqlite>,
    work: impl FnOnce(&Database, &Config) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (path, config, silence) = (located(account)?, account.config.clone(), silence(account));
    let database = blocking(move || Database::open(&path, silence)).await??;
    let _interrupt = database.interrupt_on_drop();
    blocking(move || work(&database, &config)).await?
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Failure::Panicked(Box::new(error)))
}
