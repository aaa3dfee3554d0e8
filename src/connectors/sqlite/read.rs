//! One pass over a database file.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Row;
use serde_json::{Value, json};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::connectors::sqlite::Shape;
use crate::connectors::sqlite::config::Config;
use crate::connectors::sqlite::database::{Column, Database, Failure, Table, quoted};
use crate::connectors::sqlite::values;
use crate::connectors::{ConnectorError, Message, Output, ReadRequest, Scope};
use crate::record::{Batch, Fingerprint, RawRecord};

const BATCH_RECORDS: usize = 1_000;
const BATCH_BYTES: usize = 4 * 1024 * 1024;
const ROW_BYTES: usize = 16 * 1024 * 1024;

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
    output.blocking_send(Message::Objects(tables.iter().map(|(_, scope)| scope.clone()).collect()))?;
    for (table, scope) in tables {
        if request.finished.contains(&table.name) {
            continue;
        }
        let object = Arc::clone(&scope.object);
        output.blocking_send(Message::Started(scope))?;
        match read_table(database, config, &table, &object, request.sample, output) {
            Ok(Some(counted)) => output.blocking_send(Message::Complete { object, counted })?,
            // A sample proves nothing.
            Ok(None) => {}
            Err(Failure::Stopped(error)) => return Err(error),
            Err(failure) => {
                let (code, message) = (failure.code(), failure.hint().to_owned());
                output.blocking_send(Message::Failed { object, code, message })?;
            }
        }
    }
    Ok(())
}

/// How the rows of a table are queried and named.
pub(super) struct Plan {
    table: Table,
    /// Columns of the document.
    columns: Vec<String>,
    /// Columns of the primary key, in its order.
    key: Vec<String>,
    /// Name by which the row number can be asked for.
    rowid: Option<&'static str>,
}

impl Plan {
    pub(super) fn of(database: &Database, table: &Table, config: &Config) -> Result<Self, Failure> {
        let all = database.columns(table)?;
        let mut key: Vec<&Column> = all.iter().filter(|column| column.key_position > 0).collect();
        key.sort_by_key(|column| column.key_position);
        let is_taken = |alias: &str| all.iter().any(|column| column.name.eq_ignore_ascii_case(alias));
        let has_rowid = !table.is_view && !table.without_rowid;
        let rowid = ["rowid", "_rowid_", "oid"].into_iter().find(|alias| has_rowid && !is_taken(alias));
        let read = all.iter().filter(|column| !config.excludes_column(&table.name, &column.name));
        Ok(Self {
            table: table.clone(),
            columns: read.map(|column| column.name.clone()).collect(),
            key: key.into_iter().map(|column| column.name.clone()).collect(),
            rowid,
        })
    }

    /// Document columns, then key columns, then the row number.
    pub(super) fn sql(&self, limit: Option<u64>) -> String {
        let mut selected: Vec<String> = self.columns.iter().chain(&self.key).map(|name| quoted(name)).collect();
        selected.extend(self.rowid.map(str::to_owned));
        if selected.is_empty() {
            selected.push("1".to_owned());
        }
        let order = if !self.key.is_empty() {
            let key: Vec<String> = self.key.iter().map(|name| quoted(name)).collect();
            format!(" ORDER BY {}", key.join(", "))
        } else {
            self.rowid.map(|rowid| format!(" ORDER BY {rowid}")).unwrap_or_default()
        };
        let limit = limit.map(|limit| format!(" LIMIT {}", limit.min(i64::MAX as u64))).unwrap_or_default();
        format!("SELECT {} FROM {}{order}{limit}", selected.join(", "), quoted(&self.table.name))
    }

    /// The declared key where it identifies the row; else, or beside a NULL in it
    /// (which SQLite allows to repeat), the row number; none when there is neither.
    fn source_key(&self, row: &Row<'_>) -> rusqlite::Result<Option<String>> {
        let mut parts = Vec::with_capacity(self.key.len() + 1);
        for index in 0..self.key.len() {
            parts.push(values::key_part(row.get_ref(self.columns.len() + index)?));
        }
        let identifies = !parts.is_empty() && !parts.contains(&Value::Null);
        if !identifies {
            if self.rowid.is_none() {
                return Ok(None);
            }
            let number: i64 = row.get(self.columns.len() + self.key.len())?;
            // A table without a key is named by row numbers alone.
            parts.push(if self.key.is_empty() { json!(number) } else { json!({ "rowid": number }) });
        }
        Ok(Some(Value::Array(parts).to_string()))
    }

    /// The names of the columns, so that a renamed column is a change.
    fn salt(&self) -> u64 {
        let mut hasher = Xxh3::new();
        for name in &self.columns {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
        }
        hasher.digest()
    }
}

/// Reads one table and says what it counts; nothing for a sample.
fn read_table(
    database: &Database,
    config: &Config,
    table: &Table,
    object: &Arc<str>,
    sample: Option<u64>,
    output: &Output,
) -> Result<Option<Option<u64>>, Failure> {
    let plan = Plan::of(database, table, config)?;
    let limit = config.limit(&table.name);
    let mapping = config.mapping(&table.name).map_err(|_| Failure::Template)?;
    let shape = Arc::new(Shape { columns: plan.columns.clone(), mapping });
    let least = [limit, sample].into_iter().flatten().min();
    let mut statement = database.connection.prepare(&plan.sql(least))?;
    let mut rows = statement.query([])?;
    let mut batches = Batches { object, shape, output, records: Vec::new(), bytes: 0 };
    let (salt, mut seen) = (plan.salt(), HashMap::new());
    while let Some(row) = rows.next()? {
        let mut payload = Vec::new();
        for index in 0..plan.columns.len() {
            values::encode(row.get_ref(index)?, &mut payload);
        }
        let source_key = match plan.source_key(row)? {
            Some(key) => key,
            None => hashed_key(&payload, &mut seen),
        };
        if payload.len() > ROW_BYTES {
            batches.refuse(source_key)?;
        } else {
            let fingerprint = Fingerprint::of(&payload).salted(salt);
            batches.push(RawRecord { source_key, fingerprint, payload: Bytes::from(payload) })?;
        }
    }
    batches.flush()?;
    if sample.is_some() { Ok(None) } else { Ok(Some(counted(database, table, limit)?)) }
}

/// Row hash + ordinal among equals: equal rows can stand for one another.
fn hashed_key(payload: &[u8], seen: &mut HashMap<u128, u64>) -> String {
    let hash = xxh3_128(payload);
    let ordinal = seen.entry(hash).or_insert(0);
    *ordinal += 1;
    json!([format!("{hash:032x}"), *ordinal]).to_string()
}

fn counted(database: &Database, table: &Table, limit: Option<u64>) -> Result<Option<u64>, Failure> {
    if table.is_view {
        return Ok(None);
    }
    let sql = format!("SELECT count(*) FROM {}", quoted(&table.name));
    let rows: i64 = database.connection.query_row(&sql, [], |row| row.get(0))?;
    let rows = u64::try_from(rows).unwrap_or_default();
    Ok(Some(limit.map_or(rows, |limit| rows.min(limit))))
}

struct Batches<'a> {
    object: &'a Arc<str>,
    shape: Arc<Shape>,
    output: &'a Output,
    records: Vec<RawRecord>,
    bytes: usize,
}

impl Batches<'_> {
    fn push(&mut self, record: RawRecord) -> Result<(), Failure> {
        self.bytes += record.payload.len();
        self.records.push(record);
        if self.records.len() >= BATCH_RECORDS || self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn refuse(&self, source_key: String) -> Result<(), Failure> {
        let message = format!("the row is larger than {ROW_BYTES} bytes");
        let object = Arc::clone(self.object);
        let failed = Message::RecordFailed { object, source_key, code: "too_large", message };
        self.output.blocking_send(failed).map_err(Failure::Stopped)
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.records.is_empty() {
            return Ok(());
        }
        let batch = Batch {
            object: Arc::clone(self.object),
            records: std::mem::take(&mut self.records),
            bytes_read: std::mem::take(&mut self.bytes) as u64,
            shape: self.shape.clone(),
        };
        self.output.blocking_send(Message::Batch(batch)).map_err(Failure::Stopped)
    }
}
