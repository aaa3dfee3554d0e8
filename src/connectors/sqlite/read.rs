//! One pass over a database file: each table whole, or only what changed since an
//! earlier pass, or on from where a pass broke off, or not at all where the file
//! is as it was.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Params, params_from_iter};
use serde::{Deserialize, Serialize};

use crate::connectors::ConnectorError;
use crate::connectors::reading::{Message, Output, ReadRequest, Rest, Scope};
use crate::connectors::rows::{cursors, keys};
use crate::connectors::sqlite::Shape;
use crate::connectors::sqlite::bounds::LARGEST_VALUE;
use crate::connectors::sqlite::config::Config;
use crate::connectors::sqlite::cursor::{Changed, CursorMark};
use crate::connectors::sqlite::database::{Database, Failure, Table, quoted};
use crate::connectors::sqlite::plan::{Part, Plan, What, Which};
use crate::connectors::sqlite::stamp::Stamp;
use crate::connectors::sqlite::values;
use crate::record::{Batch, Fingerprint, RawRecord};

const BATCH_RECORDS: usize = 1_000;
const BATCH_BYTES: usize = 4 * 1024 * 1024;
const ROW_BYTES: usize = 16 * 1024 * 1024;
/// Keys of one message.
const KEYS_AT_ONCE: usize = 4_096;

/// What a pass leaves of a table for the next one.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Mark {
    /// The file as it was.
    stamp: Option<Stamp>,
    /// The index was in line with all of the table then, not only as far as its
    /// cursor column tells.
    proved: bool,
    cursor: Option<CursorMark>,
}

/// Where a pass that broke off had come to.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    stamp: Stamp,
    /// What lies up to this row was read.
    after: Vec<Part>,
}

/// Reads every selected table.
pub(super) fn pass(
    database: &Database,
    config: &Config,
    request: &ReadRequest,
    output: &Output,
) -> Result<(), ConnectorError> {
    let tables: Vec<(Table, Scope)> = database
        .tables()?
        .into_iter()
        .filter(|table| config.selects(&table.name))
        .map(|table| {
            let rows = database.estimate(&table);
            let estimate = rows.map(|rows| config.limit(&table.name).map_or(rows, |limit| rows.min(limit)));
            let scope = Scope { object: Arc::from(table.name.as_str()), estimate };
            (table, scope)
        })
        .collect();
    database.check_cursors(config, tables.iter().map(|(table, _)| table))?;
    output.blocking_send(Message::Objects(tables.iter().map(|(_, scope)| scope.clone()).collect()))?;
    for (table, scope) in tables {
        if request.finished.contains(&table.name) {
            continue;
        }
        let object = Arc::clone(&scope.object);
        match read_table(database, config, &table, scope, request, output) {
            Ok(()) => {}
            Err(Failure::Stopped(error)) => return Err(error),
            Err(failure) => {
                let (code, message) = (failure.code(), failure.hint().to_owned());
                output.blocking_send(Message::Failed { object, code, message })?;
            }
        }
    }
    Ok(())
}

/// Reads one table in the way that reads least and proves the same.
fn read_table(
    database: &Database,
    config: &Config,
    table: &Table,
    scope: Scope,
    request: &ReadRequest,
    output: &Output,
) -> Result<(), Failure> {
    let object = Arc::clone(&scope.object);
    let send = |message| output.blocking_send(message).map_err(Failure::Stopped);
    // What a view gives may depend on more than the file: on the time of day.
    let stamp = database.stamp.as_ref().filter(|_| !table.is_view);
    let known = request.known.get(&table.name);
    let mark: Mark = known.and_then(|known| Mark::deserialize(&known.mark).ok()).unwrap_or_default();
    let is_due = known.is_none_or(|known| cursors::reconcile_is_due(known.proved_at, config.reconcile_hours));
    let is_as_it_was = stamp.is_some() && stamp == mark.stamp.as_ref() && request.sample.is_none();
    if let Some(known) = known.filter(|_| is_as_it_was && mark.proved) {
        return send(Message::Unmoved { object, records: known.records, mark: known.mark.clone() });
    }
    database.heard();
    send(Message::Started(scope))?;
    if let Some(known) = known.filter(|_| is_as_it_was && !is_due) {
        let mark = Some(known.mark.clone());
        return send(Message::Complete { object, counted: None, rest: Rest::Unknown, mark });
    }
    let mapping = config.mapping(&table.name).map_err(|_| Failure::Template)?;
    let plan = Plan::of(database, table, config)?;
    let shape = Arc::new(Shape { columns: plan.columns.clone(), mapping });
    let limit = config.limit(&table.name);
    let mut reading =
        Reading { database, plan: &plan, object: &object, shape, output, place: None, seen: HashMap::new() };
    if let Some(sample) = request.sample {
        let first = limit.map_or(sample, |limit| limit.min(sample));
        // A sample proves nothing, so nothing is said to be complete.
        return reading.rows(&plan.sql(What::Rows, Which::First(first)), []);
    }
    let cursor = match limit {
        None => plan.cursor(database, table, config, mark.cursor.as_ref())?,
        Some(_) => None,
    };
    let changed = cursor.as_ref().and_then(|cursor| Some((cursor.changed.as_ref()?, cursor.rows)));
    // Where much has changed, one reading is cheaper than two.
    let changed = changed.filter(|(changed, rows)| !is_due && changed.rows.saturating_mul(3) <= *rows);
    let place = request.positions.as_ref().and_then(|places| Place::deserialize(places.get(&table.name)?).ok());
    let place = place.filter(|place| stamp == Some(&place.stamp) && limit.is_none());
    let is_first = request.positions.is_some();
    reading.place = stamp.filter(|_| is_first && limit.is_none());
    let rest = match (place, changed, limit) {
        (Some(place), ..) => reading.go_on(place.after, counted(database, table, None)?)?,
        (None, Some((changed, rows)), _) => reading.changed(changed, rows)?,
        (None, None, Some(limit)) => {
            reading.rows(&plan.sql(What::Rows, Which::First(limit)), [])?;
            Rest::Gone
        }
        (None, None, None) => {
            reading.rows(&plan.sql(What::Rows, Which::All), [])?;
            Rest::Gone
        }
    };
    let mark = Mark {
        stamp: stamp.cloned(),
        proved: matches!(rest, Rest::Gone | Rest::Unmoved),
        cursor: cursor.and_then(|cursor| cursor.mark()),
    };
    let mark = Some(mark).filter(|mark| mark.stamp.is_some() || mark.cursor.is_some());
    let mark = mark.and_then(|mark| serde_json::to_value(mark).ok());
    let counted = if table.is_view { None } else { Some(counted(database, table, limit)?) };
    send(Message::Complete { object, counted, rest, mark })
}

fn counted(database: &Database, table: &Table, limit: Option<u64>) -> Result<u64, Failure> {
    database.heard();
    let sql = format!("SELECT count(*) FROM {}", quoted(&table.name));
    let rows: i64 = database.connection.query_row(&sql, [], |row| row.get(0))?;
    let rows = u64::try_from(rows).unwrap_or_default();
    Ok(limit.map_or(rows, |limit| rows.min(limit)))
}

/// A table that is being read.
struct Reading<'a> {
    database: &'a Database,
    plan: &'a Plan,
    object: &'a Arc<str>,
    shape: Arc<Shape>,
    output: &'a Output,
    /// Given where a later attempt may go on from each batch.
    place: Option<&'a Stamp>,
    /// How often a row without a key was seen.
    seen: HashMap<u128, u64>,
}

impl Reading<'_> {
    /// Reads what lies behind a place. The file is as it was when the rows up to
    /// there were read, so the index has them as they are; the count is only to
    /// make sure.
    fn go_on(&mut self, after: Vec<Part>, rows: u64) -> Result<Rest, Failure> {
        self.rows(&self.plan.sql(What::Rows, Which::After), params_from_iter(&after))?;
        let reached = self.output.blocking_ask(self.object).map_err(Failure::Stopped)?;
        if reached.known + reached.new == rows {
            return Ok(Rest::Unmoved);
        }
        self.place = None;
        self.rows(&self.plan.sql(What::Rows, Which::UpTo), params_from_iter(&after))?;
        Ok(Rest::Gone)
    }

    /// Reads what changed. Where the count is not what the index would then have,
    /// the others are looked at too: their keys, if it says that some are gone.
    fn changed(&mut self, changed: &Changed, rows: u64) -> Result<Rest, Failure> {
        let Changed { condition, since, rows: _ } = changed;
        self.rows(&self.plan.sql_where(What::Rows, condition), [since])?;
        let reached = self.output.blocking_ask(self.object).map_err(Failure::Stopped)?;
        let there = reached.known + reached.new;
        let others = format!("NOT {condition}");
        if rows == there {
            return Ok(Rest::Unknown);
        }
        if rows < there && self.plan.has_keys() {
            self.keys(&self.plan.sql_where(What::Keys, &others), [since])?;
            return Ok(Rest::Listed);
        }
        self.rows(&self.plan.sql_where(What::Rows, &others), [since])?;
        Ok(Rest::Gone)
    }

    fn rows(&mut self, sql: &str, values: impl Params) -> Result<(), Failure> {
        let plan = self.plan;
        let mut statement = self.database.connection.prepare(sql)?;
        let mut rows = statement.query(values)?;
        let mut batch = Vec::new();
        let (mut bytes, mut place) = (0, None);
        let salt = plan.salt();
        loop {
            self.database.heard();
            let Some(row) = rows.next()? else { break };
            let mut payload = Vec::new();
            let mut is_too_large = false;
            for index in 0..plan.columns.len() {
                let value = row.get_ref(index)?;
                is_too_large |= value.as_bytes().is_ok_and(|bytes| bytes.len() as u64 > LARGEST_VALUE);
                values::encode(value, &mut payload);
            }
            let source_key = match plan.source_key(What::Rows, row)? {
                Some(key) => key,
                None => keys::hashed(&payload, &mut self.seen),
            };
            if is_too_large || payload.len() > ROW_BYTES {
                self.refuse(source_key)?;
                continue;
            }
            if self.place.is_some() {
                place = plan.place_of(row)?;
            }
            bytes += payload.len();
            let fingerprint = Fingerprint::of(&payload).salted(salt);
            batch.push(RawRecord { source_key, fingerprint, payload: Bytes::from(payload) });
            if batch.len() >= BATCH_RECORDS || bytes >= BATCH_BYTES {
                self.send(std::mem::take(&mut batch), std::mem::take(&mut bytes), place.take())?;
            }
        }
        self.send(batch, bytes, place)
    }

    fn keys(&self, sql: &str, values: impl Params) -> Result<(), Failure> {
        let mut statement = self.database.connection.prepare(sql)?;
        let mut rows = statement.query(values)?;
        let mut source_keys = Vec::with_capacity(KEYS_AT_ONCE);
        let send = |source_keys| {
            let present = Message::Present { object: Arc::clone(self.object), source_keys };
            self.output.blocking_send(present).map_err(Failure::Stopped)
        };
        loop {
            self.database.heard();
            let Some(row) = rows.next()? else { break };
            source_keys.extend(self.plan.source_key(What::Keys, row)?);
            if source_keys.len() >= KEYS_AT_ONCE {
                send(std::mem::replace(&mut source_keys, Vec::with_capacity(KEYS_AT_ONCE)))?;
            }
        }
        send(source_keys)
    }

    fn refuse(&self, source_key: String) -> Result<(), Failure> {
        let message = format!("the row is larger than {ROW_BYTES} bytes");
        let object = Arc::clone(self.object);
        let failed = Message::RecordFailed { object, source_key, code: "too_large", message };
        self.output.blocking_send(failed).map_err(Failure::Stopped)
    }

    fn send(&self, records: Vec<RawRecord>, bytes: usize, place: Option<Vec<Part>>) -> Result<(), Failure> {
        if records.is_empty() {
            return Ok(());
        }
        let place = self.place.zip(place).map(|(stamp, after)| Place { stamp: stamp.clone(), after });
        let batch = Batch {
            object: Arc::clone(self.object),
            records,
            bytes_read: bytes as u64,
            position: place.and_then(|place| serde_json::to_value(place).ok()),
            shape: self.shape.clone(),
        };
        self.output.blocking_send(Message::Batch(batch)).map_err(Failure::Stopped)
    }
}
