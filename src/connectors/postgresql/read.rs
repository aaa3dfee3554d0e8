//! A pass over the selected tables, all in one snapshot, a few side by side.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use futures::future::try_join_all;

use super::catalog::{self, Layout, Table};
use super::cursor::{Cursor, Snapshot, Values};
use super::failure::Failure;
use super::heap::History;
use super::horizon::Horizon;
use super::object::Pass;
use super::selection::Selection;
use super::session::{Session, answered};
use super::shape::Shape;
use super::{PostgreSql, session};
use crate::connectors::reading::{Message, Output, ReadRequest, Scope};
use crate::connectors::rows::cursors;
use crate::connectors::rows::names::{self, identifier};
use crate::connectors::{Account, ConnectorError};
use crate::egress::Timeouts;
use crate::report::Report;

/// Path of a table.
pub(super) fn path_of(table: &Table) -> String {
    names::join(&[&table.schema, &table.name])
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

pub(super) const SILENT: ObjectError = ObjectError::Object("timed_out", "the server sent no row for too long");

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
    if selection.has_cursors() {
        selection.check_cursors(&tables, &layouts_of(&session, limits, &tables).await?)?;
    }
    for table in tables.iter_mut().filter(|table| table.readable && table.estimate.is_none()) {
        table.estimate = session.planned_rows(limits, table).await?;
    }
    output.send(Message::Objects(tables.iter().map(scope_of).collect())).await?;
    let wanted: Vec<Table> = tables.into_iter().filter(|table| !request.finished.contains(&path_of(table))).collect();
    let layouts = layouts_of(&session, limits, &wanted).await?;
    let history = match request.sample {
        None => History::of(&session, limits, &wanted).await?,
        Some(_) => None,
    };
    let snapshot = match session.horizon {
        Some(horizon) if selection.has_cursors() && request.sample.is_none() => {
            Some(session.snapshot(limits, horizon, &wanted).await?)
        }
        Some(_) | None => None,
    };
    let others = match &history {
        Some(_) => further_sessions(account, &session, limits, wanted.len()).await?,
        None => Vec::new(),
    };
    let queue = Mutex::new((VecDeque::from(wanted), layouts));
    let lane = Lane {
        account,
        limits,
        output: &output,
        selection: &selection,
        request: &request,
        history,
        snapshot: snapshot.flatten(),
        queue: &queue,
    };
    try_join_all(std::iter::once(&session).chain(&others).map(|session| lane.read(session))).await?;
    for session in others {
        session.close().await;
    }
    session.close().await;
    Ok(())
}

/// Further sessions in the snapshot of the first, so that tables that are read
/// side by side agree with each other. A server that has none to spare is read
/// over one.
async fn further_sessions(
    account: &Account<PostgreSql>,
    first: &Session,
    limits: Timeouts,
    tables: usize,
) -> Result<Vec<Session>, ConnectorError> {
    let wanted = account.config.parallel_tables().min(tables).saturating_sub(1);
    let mut sessions = Vec::new();
    if wanted == 0 {
        return Ok(sessions);
    }
    let row = answered(limits.first_byte, first.client.query_one("SELECT pg_export_snapshot()", &[])).await?;
    let snapshot: String = row.try_get(0).map_err(|error| Failure::from(error).into_error())?;
    // It is put into a statement below.
    if !snapshot.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(sessions);
    }
    for _ in 0..wanted {
        let Ok(session) = session::open(account, &mut Report::default()).await else { break };
        let statement = format!("SET TRANSACTION SNAPSHOT '{snapshot}'");
        // Behind a pooler it may be another server, which does not know it.
        if answered(limits.first_byte, session.client.batch_execute(&statement)).await.is_err() {
            break;
        }
        sessions.push(session);
    }
    Ok(sessions)
}

/// What the sessions of one pass share.
struct Lane<'a> {
    account: &'a Account<PostgreSql>,
    limits: Timeouts,
    output: &'a Output,
    selection: &'a Selection<'a>,
    request: &'a ReadRequest,
    history: Option<History>,
    snapshot: Option<Snapshot>,
    queue: &'a Mutex<(VecDeque<Table>, HashMap<u32, Layout>)>,
}

impl Lane<'_> {
    /// Reads one table after the other until none is left.
    async fn read(&self, session: &Session) -> Result<(), ConnectorError> {
        while let Some((table, layout)) = self.next() {
            let named = self.selection.cursor(&table, &layout.columns);
            let named = named.and_then(|column| Some((column.name.clone(), Values::of(&column.type_name)?)));
            let shape = Arc::new(Shape::new(&table, layout, self.selection));
            let can_be_proved = shape.is_stable && shape.has_key() && shape.row_limit.is_none();
            let history = self.history.as_ref().filter(|_| can_be_proved);
            let heap = history.and_then(|history| history.heap(table.oid, shape.identity()));
            let cursor = match &heap {
                // What is proved needs no promise.
                Some(_) => None,
                None => named.and_then(|(column, values)| self.cursor(&table, &shape, &column, values)),
            };
            let scope = scope_of(&table);
            let pass = Pass {
                account: self.account,
                session,
                limits: self.limits,
                output: self.output,
                table: &table,
                object: scope.object.clone(),
                heap,
                cursor,
                shape,
            };
            pass.run(scope, self.request).await?;
        }
        Ok(())
    }

    /// Rows without a key are told apart by their content, which has to have the
    /// column then.
    fn cursor(&self, table: &Table, shape: &Shape, column: &str, values: Values) -> Option<Cursor> {
        let is_usable = shape.row_limit.is_none() && (shape.has_key() || shape.shows(column));
        let overlap = cursors::overlap(self.account.config.cursor_overlap_seconds).as_secs();
        let snapshot = self.snapshot.as_ref().filter(|_| is_usable)?;
        Some(snapshot.cursor(table.oid, shape.identity(), column, values, overlap))
    }

    fn next(&self) -> Option<(Table, Layout)> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let (tables, layouts) = &mut *queue;
        let table = tables.pop_front()?;
        let layout = layouts.remove(&table.oid).unwrap_or_default();
        Some((table, layout))
    }
}

async fn selected(
    session: &Session,
    limits: Timeouts,
    selection: &Selection<'_>,
) -> Result<Vec<Table>, ConnectorError> {
    let mut tables = catalog::tables(session, limits.first_byte).await?;
    tables.retain(|table| selection.tables().includes(&table.schema, &table.name));
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

pub(super) async fn copy(
    session: &Session,
    limits: Timeouts,
    statement: &str,
) -> Result<tokio_postgres::CopyOutStream, ObjectError> {
    match tokio::time::timeout(limits.first_byte, session.client.copy_out(statement)).await {
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

    /// What cursor columns need to know of the snapshot; none where the server does
    /// not say.
    async fn snapshot(
        &self,
        limits: Timeouts,
        horizon: Horizon,
        tables: &[Table],
    ) -> Result<Option<Snapshot>, ConnectorError> {
        let tables: Vec<u32> = tables.iter().map(|table| table.oid).collect();
        self.begin_object(limits).await?;
        let asked = tokio::time::timeout(limits.first_byte, Snapshot::of(&self.client, horizon, &tables)).await;
        let snapshot = match asked.map(|asked| asked.map_err(Failure::from)) {
            Ok(Ok(snapshot)) => snapshot,
            Ok(Err(failure)) if failure.fatal => return Err(failure.into_error()),
            Ok(Err(_)) => None,
            Err(_) => return Err(ConnectorError::Unreachable { code: "timed_out", cause: None }),
        };
        self.end_object(limits).await?;
        Ok(snapshot)
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
