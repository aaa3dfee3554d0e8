//! A pass over the selected tables, all in one snapshot, and the connection test
//! that reads one row of each the same way.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::StreamExt;

use super::catalog::{self, Layout, Table};
use super::document;
use super::failure::Failure;
use super::selection::Selection;
use super::session::{Session, answered};
use super::shape::{Keys, Shape};
use super::{PostgreSql, path, session};
use crate::connectors::{Account, ConnectorError, Message, Output, ReadRequest, Scope};
use crate::egress::Timeouts;
use crate::record::{Batch, RawRecord};
use crate::report::{Report, StageKind};

/// Most records of a batch.
const BATCH_RECORDS: usize = 1000;
/// A batch ends when its rows are this large together.
const BATCH_BYTES: usize = 1024 * 1024;
/// Largest row.
const LARGEST_ROW: usize = 16 * 1024 * 1024;
/// Most objects that a connection test reads.
const TESTED_OBJECTS: usize = 200;
/// Above this estimate, counting would take too long.
const LARGEST_COUNT: u64 = 50_000_000;

/// Path of a table.
pub(super) fn path_of(table: &Table) -> String {
    path::join(&[&table.schema, &table.name])
}

/// Why one object ended; the others go on unless the session is gone.
enum ObjectError {
    Object(&'static str, &'static str),
    Session(ConnectorError),
}

impl From<ConnectorError> for ObjectError {
    fn from(error: ConnectorError) -> Self {
        Self::Session(error)
    }
}

impl From<Failure> for ObjectError {
    fn from(failure: Failure) -> Self {
        if failure.fatal {
            return Self::Session(failure.into_error());
        }
        let (code, message) = failure.of_object();
        Self::Object(code, message)
    }
}

const PERMISSION_MISSING: (&str, &str) =
    ("permission_missing", "the login may not read this object; grant it USAGE on the schema and SELECT");

/// Reads everything that the config selects.
pub(super) async fn read(
    account: &Account<PostgreSql>,
    request: ReadRequest,
    output: Output,
) -> Result<(), ConnectorError> {
    let limits = account.resources.dialer.timeouts();
    let session = session::open(account, &mut Report::default()).await?;
    let selection = Selection::new(&account.config);
    let tables = selected(&session, limits, &selection).await?;
    output.send(Message::Objects(tables.iter().map(scope_of).collect())).await?;
    let wanted: Vec<Table> = tables.into_iter().filter(|table| !request.finished.contains(&path_of(table))).collect();
    let mut layouts = layouts_of(&session, limits, &wanted).await?;
    for table in wanted {
        let mut scope = scope_of(&table);
        let layout = layouts.remove(&table.oid).unwrap_or_default();
        let shape = Arc::new(Shape::new(&table, layout, &selection));
        let counted = match (shape.row_limit, request.sample) {
            (None, None) => count(&session, limits, &table, &shape).await?,
            _ => None,
        };
        scope.estimate = counted.or(scope.estimate);
        output.send(Message::Started(scope.clone())).await?;
        let pass = Pass { session: &session, limits, output: &output, object: scope.object.clone(), shape };
        let ended = match pass.read_object(&table, request.sample).await {
            Ok(()) => Message::Complete { object: scope.object, counted },
            Err(ObjectError::Object(code, message)) => {
                Message::Failed { object: scope.object, code, message: message.to_owned() }
            }
            Err(ObjectError::Session(error)) => return Err(error),
        };
        output.send(ended).await?;
    }
    session.close().await;
    Ok(())
}

async fn selected(
    session: &Session,
    limits: Timeouts,
    selection: &Selection<'_>,
) -> Result<Vec<Table>, ConnectorError> {
    let mut tables = catalog::tables(session, limits.first_byte).await?;
    tables.retain(|table| selection.includes(&table.schema, &table.name));
    Ok(tables)
}

async fn layouts_of(
    session: &Session,
    limits: Timeouts,
    tables: &[Table],
) -> Result<HashMap<u32, Layout>, ConnectorError> {
    let readable: Vec<u32> = tables.iter().filter(|table| table.readable).map(|table| table.oid).collect();
    catalog::layouts(session, limits.first_byte, &readable).await
}

fn scope_of(table: &Table) -> Scope {
    Scope { object: path_of(table).into(), estimate: table.estimate }
}

/// Rows of the table in this snapshot, where it is cheap: they give the progress
/// its total, and at the end show whether any were lost.
async fn count(
    session: &Session,
    limits: Timeouts,
    table: &Table,
    shape: &Shape,
) -> Result<Option<u64>, ConnectorError> {
    if !table.readable || !table.is_countable() || table.estimate.is_some_and(|rows| rows > LARGEST_COUNT) {
        return Ok(None);
    }
    session.begin_object(limits).await?;
    let client = &session.client;
    let counted = async {
        client.batch_execute("SET LOCAL statement_timeout = '20s'").await?;
        client.query_one(&shape.count_statement(), &[]).await?.try_get::<_, i64>(0)
    };
    let counted = match tokio::time::timeout(limits.first_byte, counted).await {
        Ok(Ok(rows)) => u64::try_from(rows).ok(),
        Ok(Err(error)) => {
            let failure = Failure::from(error);
            if failure.fatal {
                return Err(failure.into_error());
            }
            None
        }
        Err(_) => return Err(ConnectorError::Unreachable { code: "timed_out", cause: None }),
    };
    // Also takes the time limit back.
    session.give_up_object(limits).await?;
    Ok(counted)
}

/// One object on its way.
struct Pass<'a> {
    session: &'a Session,
    limits: Timeouts,
    output: &'a Output,
    object: Arc<str>,
    shape: Arc<Shape>,
}

impl Pass<'_> {
    async fn read_object(&self, table: &Table, sample: Option<u64>) -> Result<(), ObjectError> {
        if !table.readable {
            return Err(ObjectError::Object(PERMISSION_MISSING.0, PERMISSION_MISSING.1));
        }
        self.session.begin_object(self.limits).await?;
        let outcome = self.send_rows(sample).await;
        if let Err(ObjectError::Object(..)) = outcome {
            self.session.give_up_object(self.limits).await?;
        }
        outcome
    }

    async fn send_rows(&self, sample: Option<u64>) -> Result<(), ObjectError> {
        let mut rows = pin!(copy(self.session, self.limits, &self.shape, sample).await?);
        let mut keys = Keys::new(&self.shape);
        let mut records = Vec::new();
        let mut bytes = 0;
        while let Some(line) = next_line(&mut rows, self.limits).await? {
            bytes += line.len();
            match self.record(&mut keys, line) {
                Ok(record) => records.push(record),
                Err(failed) => self.output.send(failed).await?,
            }
            if records.len() >= BATCH_RECORDS || bytes >= BATCH_BYTES {
                self.send_batch(std::mem::take(&mut records), std::mem::take(&mut bytes)).await?;
            }
        }
        self.send_batch(records, bytes).await.map_err(ObjectError::from)
    }

    fn record(&self, keys: &mut Keys<'_>, line: Bytes) -> Result<RawRecord, Message> {
        let failed = |source_key: String, code, message: &str| Message::RecordFailed {
            object: self.object.clone(),
            source_key,
            code,
            message: message.to_owned(),
        };
        let fingerprint = self.shape.fingerprint(&line);
        let source_key = keys.of(&line).map_err(|_| {
            failed(format!("[\"#{:032x}\",1]", fingerprint.0), "undecodable", "the row's key cannot be read")
        })?;
        if line.len() > LARGEST_ROW {
            return Err(failed(source_key, "too_large", "the row is larger than 16 MiB; leave out its large columns"));
        }
        Ok(RawRecord { source_key, fingerprint, payload: line })
    }

    async fn send_batch(&self, records: Vec<RawRecord>, bytes: usize) -> Result<(), ConnectorError> {
        if records.is_empty() {
            return Ok(());
        }
        let batch = Batch { object: self.object.clone(), records, bytes_read: bytes as u64, shape: self.shape.clone() };
        self.output.send(Message::Batch(batch)).await
    }
}

async fn copy(
    session: &Session,
    limits: Timeouts,
    shape: &Shape,
    sample: Option<u64>,
) -> Result<tokio_postgres::CopyOutStream, ObjectError> {
    let statement = shape.copy_statement(sample);
    match tokio::time::timeout(limits.first_byte, session.client.copy_out(&statement)).await {
        Ok(outcome) => outcome.map_err(|error| Failure::from(error).into()),
        Err(_) => Err(timed_out()),
    }
}

/// The server sends one row a message.
async fn next_line(
    rows: &mut std::pin::Pin<&mut tokio_postgres::CopyOutStream>,
    limits: Timeouts,
) -> Result<Option<Bytes>, ObjectError> {
    match tokio::time::timeout(limits.idle, rows.next()).await {
        Ok(line) => line.transpose().map_err(|error| Failure::from(error).into()),
        Err(_) => Err(timed_out()),
    }
}

fn timed_out() -> ObjectError {
    ObjectError::Session(ConnectorError::Unreachable { code: "timed_out", cause: None })
}

impl Session {
    /// From here on, an error of the server costs only one object.
    async fn begin_object(&self, limits: Timeouts) -> Result<(), ConnectorError> {
        answered(limits.first_byte, self.client.batch_execute("SAVEPOINT object")).await
    }

    async fn give_up_object(&self, limits: Timeouts) -> Result<(), ConnectorError> {
        answered(limits.first_byte, self.client.batch_execute("ROLLBACK TO SAVEPOINT object")).await
    }
}

/// Tries every stage of a pass, with one row of each object.
pub(super) async fn check(account: &Account<PostgreSql>, report: &mut Report) -> Result<(), ConnectorError> {
    let limits = account.resources.dialer.timeouts();
    let session = session::open(account, report).await?;
    let selection = Selection::new(&account.config);
    let began = Instant::now();
    let all = catalog::tables(&session, limits.first_byte).await?;
    let present = all.iter().map(|table| (table.schema.as_str(), table.name.as_str()));
    let mut outcome = Ok(());
    for position in selection.missing(present) {
        let named = &account.config.tables[position];
        let hint = "there is no such table; names are written as discovery shows them";
        report.failed(StageKind::Permission, Some(named), began.elapsed(), "object_missing", hint);
        let reason = "names a table that is not there".to_owned();
        outcome = outcome.and(Err(ConnectorError::Invalid { field: format!("config.tables[{position}]"), reason }));
    }
    let mut tables: Vec<Table> =
        all.into_iter().filter(|table| selection.includes(&table.schema, &table.name)).collect();
    if !selection.is_explicit() {
        let before = tables.len();
        tables.retain(|table| table.readable);
        if tables.len() < before {
            let hint = "some tables cannot be read with this login; they are not synced until it is granted SELECT";
            report.ok_with(StageKind::Permission, began.elapsed(), "some_not_readable", hint);
        }
    }
    tables.truncate(TESTED_OBJECTS);
    let mut layouts = layouts_of(&session, limits, &tables).await?;
    for table in &tables {
        let shape = Shape::new(table, layouts.remove(&table.oid).unwrap_or_default(), &selection);
        let tested = check_object(&session, limits, table, &shape, report).await;
        outcome = outcome.and(tested);
    }
    session.close().await;
    outcome
}

async fn check_object(
    session: &Session,
    limits: Timeouts,
    table: &Table,
    shape: &Shape,
    report: &mut Report,
) -> Result<(), ConnectorError> {
    let object = path_of(table);
    let began = Instant::now();
    let forbidden = |report: &mut Report| {
        let hint = "grant the login USAGE on the schema and SELECT on the table";
        report.failed(StageKind::Permission, Some(&object), began.elapsed(), "permission_missing", hint);
        Err(ConnectorError::Forbidden { object: object.clone() })
    };
    if !table.readable {
        return forbidden(report);
    }
    session.begin_object(limits).await?;
    match read_one(session, limits, shape).await {
        Ok(()) => {
            report.ok(StageKind::Permission, Some(&object), began.elapsed());
            report.ok(StageKind::Read, Some(&object), began.elapsed());
            Ok(())
        }
        Err(ObjectError::Object(code, message)) => {
            session.give_up_object(limits).await?;
            if code == PERMISSION_MISSING.0 {
                return forbidden(report);
            }
            report.ok(StageKind::Permission, Some(&object), began.elapsed());
            report.failed(StageKind::Read, Some(&object), began.elapsed(), code, message);
            Err(ConnectorError::Unexpected(message.into()))
        }
        Err(ObjectError::Session(error)) => {
            let hint = "the connection broke while a row was read; try again";
            report.failed(StageKind::Read, Some(&object), began.elapsed(), "unreachable", hint);
            Err(error)
        }
    }
}

async fn read_one(session: &Session, limits: Timeouts, shape: &Shape) -> Result<(), ObjectError> {
    let mut rows = pin!(copy(session, limits, shape, Some(1)).await?);
    let mut keys = Keys::new(shape);
    while let Some(line) = next_line(&mut rows, limits).await? {
        let undecodable = ObjectError::Object("undecodable", "a row was read, but cannot become a document");
        let Ok(source_key) = keys.of(&line) else { return Err(undecodable) };
        let record = RawRecord { source_key, fingerprint: shape.fingerprint(&line), payload: line };
        document::decode(shape, &record).map_err(|_| undecodable)?;
    }
    Ok(())
}
