//! A pass over the selected tables, all in one snapshot.

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;

use super::catalog::{self, Layout, Table};
use super::failure::Failure;
use super::path::identifier;
use super::selection::Selection;
use super::session::{Session, answered};
use super::shape::{Keys, Shape};
use super::{PostgreSql, path, session};
use crate::connectors::{Account, ConnectorError, Message, Output, ReadRequest, Scope};
use crate::egress::Timeouts;
use crate::record::{Batch, RawRecord};
use crate::report::Report;

/// Most records of a batch.
const BATCH_RECORDS: usize = 1000;
/// A batch ends when its rows are this large together.
const BATCH_BYTES: usize = 1024 * 1024;
/// Largest row.
const LARGEST_ROW: usize = 16 * 1024 * 1024;
/// Above this estimate, counting would take too long.
const LARGEST_COUNT: u64 = 50_000_000;

/// Path of a table.
pub(super) fn path_of(table: &Table) -> String {
    path::join(&[&table.schema, &table.name])
}

/// Why an object could not be read to its end.
pub(super) enum ObjectError {
    /// Code and words; the others go on.
    Object(&'static str, &'static str),
    /// The server sends nothing and may have to be interrupted.
    Silent,
    /// The session is gone.
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

pub(super) const PERMISSION_MISSING: (&str, &str) =
    ("permission_missing", "the login may not read this object; grant it USAGE on the schema and SELECT");

const SILENT: ObjectError = ObjectError::Object("timed_out", "the server sent no row for too long");

/// Reads everything that the config selects.
pub(super) async fn read(
    account: &Account<PostgreSql>,
    request: ReadRequest,
    output: Output,
) -> Result<(), ConnectorError> {
    let limits = account.resources.dialer.timeouts();
    let session = session::open(account, &mut Report::default()).await?;
    let selection = Selection::new(&account.config);
    let mut tables = selected(&session, limits, &selection).await?;
    for table in tables.iter_mut().filter(|table| table.readable && table.estimate.is_none()) {
        table.estimate = session.planned_rows(limits, table).await?;
    }
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
        let pass = Pass { account, session: &session, limits, output: &output, object: scope.object.clone(), shape };
        let ended = match pass.read_object(&table, request.sample).await {
            Ok(()) => Message::Complete { object: scope.object, counted },
            Err(ObjectError::Object(code, message)) => {
                Message::Failed { object: scope.object, code, message: message.to_owned() }
            }
            Err(ObjectError::Silent) => {
                return Err(ConnectorError::Unreachable { code: "timed_out", cause: None });
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

pub(super) async fn layouts_of(
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
    session.end_object(limits).await?;
    Ok(counted)
}

/// One object on its way.
struct Pass<'a> {
    account: &'a Account<PostgreSql>,
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
        let outcome = self.copy_rows(sample).await;
        if !matches!(outcome, Err(ObjectError::Session(_))) {
            self.session.end_object(self.limits).await?;
        }
        outcome
    }

    async fn copy_rows(&self, sample: Option<u64>) -> Result<(), ObjectError> {
        let mut rows = pin!(match copy(self.session, self.limits, &self.shape, sample).await {
            Err(ObjectError::Silent) => {
                session::interrupt(self.account, self.session).await?;
                return Err(SILENT);
            }
            started => started?,
        });
        let outcome = self.send_rows(&mut rows).await;
        if matches!(outcome, Err(ObjectError::Silent)) {
            session::interrupt(self.account, self.session).await?;
            // What was under way, up to the server's word that it has stopped.
            while next_line(&mut rows, self.limits).await.is_ok_and(|line| line.is_some()) {}
            return Err(SILENT);
        }
        outcome
    }

    async fn send_rows(&self, rows: &mut Rows<'_>) -> Result<(), ObjectError> {
        let mut keys = Keys::new(&self.shape);
        let mut records = Vec::new();
        let mut bytes = 0;
        while let Some(line) = next_line(rows, self.limits).await? {
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

pub(super) async fn copy(
    session: &Session,
    limits: Timeouts,
    shape: &Shape,
    sample: Option<u64>,
) -> Result<tokio_postgres::CopyOutStream, ObjectError> {
    let statement = shape.copy_statement(sample);
    match tokio::time::timeout(limits.first_byte, session.client.copy_out(&statement)).await {
        Ok(outcome) => outcome.map_err(|error| Failure::from(error).into()),
        Err(_) => Err(ObjectError::Silent),
    }
}

pub(super) type Rows<'a> = Pin<&'a mut tokio_postgres::CopyOutStream>;

/// The server sends one row a message.
pub(super) async fn next_line(rows: &mut Rows<'_>, limits: Timeouts) -> Result<Option<Bytes>, ObjectError> {
    match tokio::time::timeout(limits.idle, rows.next()).await {
        Ok(line) => line.transpose().map_err(|error| Failure::from(error).into()),
        Err(_) => Err(ObjectError::Silent),
    }
}

impl Session {
    /// From here on, an error of the server costs only one object.
    pub(super) async fn begin_object(&self, limits: Timeouts) -> Result<(), ConnectorError> {
        answered(limits.first_byte, self.client.batch_execute("SAVEPOINT object")).await
    }

    /// What the planner thinks, for a table that was never analysed.
    async fn planned_rows(&self, limits: Timeouts, table: &Table) -> Result<Option<u64>, ConnectorError> {
        if !table.is_countable() {
            return Ok(None);
        }
        let name = format!("{}.{}", identifier(&table.schema), identifier(&table.name));
        let statement = format!("EXPLAIN (FORMAT JSON) SELECT FROM {name}");
        self.begin_object(limits).await?;
        let planned = match tokio::time::timeout(limits.first_byte, self.client.query_one(&statement, &[])).await {
            Ok(planned) => planned.map_err(Failure::from),
            Err(_) => return Err(ConnectorError::Unreachable { code: "timed_out", cause: None }),
        };
        let rows = match planned {
            Ok(row) => {
                row.try_get::<_, serde_json::Value>(0).ok().and_then(|plan| plan[0]["Plan"]["Plan Rows"].as_u64())
            }
            Err(failure) if failure.fatal => return Err(failure.into_error()),
            // Dropped a moment ago, or locked: then there is no estimate.
            Err(_) => None,
        };
        self.end_object(limits).await?;
        Ok(rows)
    }

    /// Also takes settings back, and lets go of the locks of an object that was
    /// read well: nobody who changes tables waits for the whole pass.
    pub(super) async fn end_object(&self, limits: Timeouts) -> Result<(), ConnectorError> {
        let end = "ROLLBACK TO SAVEPOINT object; RELEASE SAVEPOINT object";
        answered(limits.first_byte, self.client.batch_execute(end)).await
    }
}
