//! How the rows of a table are queried and named.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Row, ToSql};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use xxhash_rust::xxh3::Xxh3;

use crate::connectors::rows::cursors;
use crate::connectors::sqlite::bounds::LARGEST_VALUE;
use crate::connectors::sqlite::config::Config;
use crate::connectors::sqlite::cursor::{Cursor, CursorMark};
use crate::connectors::sqlite::database::{Column, Database, Failure, Table, quoted};
use crate::connectors::sqlite::values;

/// How the rows of a table are queried and named.
pub(super) struct Plan {
    table: Table,
    all: Vec<String>,
    /// Columns of the document.
    pub(super) columns: Vec<String>,
    /// Columns of the primary key, in its order.
    key: Vec<String>,
    /// Name by which the row number can be asked for.
    rowid: Option<&'static str>,
    /// Values may be too large to be held; views make theirs anew each time they
    /// are asked how large it is, and have SQLite's own limit alone.
    is_bounded: bool,
}

/// What of each row is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Everything.
    Rows,
    /// What its key is made of.
    Keys,
}

/// Which rows are read, in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// All, as they lie in the file.
    All,
    /// So many, in the order of the key.
    First(u64),
    /// Those behind a place, as they lie in the file.
    After,
    /// Those up to a place.
    UpTo,
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
            all: all.iter().map(|column| column.name.clone()).collect(),
            columns: read.map(|column| column.name.clone()).collect(),
            key: key.into_iter().map(|column| column.name.clone()).collect(),
            rowid,
            is_bounded: database.has_large_values && !table.is_view,
        })
    }

    /// The statement that reads these rows; the values of a place are its
    /// parameters.
    pub(super) fn sql(&self, what: What, which: Which) -> String {
        let by_place = || self.place().map(|place| format!(" ORDER BY {}", place.join(", "))).unwrap_or_default();
        let tail = match which {
            Which::All => by_place(),
            Which::After => format!(" WHERE {}{}", self.beside_place(">"), by_place()),
            Which::UpTo => format!(" WHERE {}", self.beside_place("<=")),
            Which::First(limit) => {
                let key: Vec<String> = self.key.iter().map(|name| quoted(name)).collect();
                let order = if key.is_empty() { self.rowid.unwrap_or_default().to_owned() } else { key.join(", ") };
                let order = if order.is_empty() { order } else { format!(" ORDER BY {order}") };
                format!("{order} LIMIT {}", limit.min(i64::MAX as u64))
            }
        };
        self.select(what, &tail)
    }

    /// The statement that reads the rows that fulfil a condition.
    pub(super) fn sql_where(&self, what: What, condition: &str) -> String {
        self.select(what, &format!(" WHERE {condition}"))
    }

    /// Columns of the document, then of the key, then the row number.
    fn select(&self, what: What, tail: &str) -> String {
        let document = self.columns.iter().filter(|_| what == What::Rows);
        let mut selected: Vec<String> = document.map(|name| self.bounded(name)).collect();
        selected.extend(self.key.iter().map(|name| quoted(name)));
        selected.extend(self.rowid.map(str::to_owned));
        if selected.is_empty() {
            selected.push("1".to_owned());
        }
        format!("SELECT {} FROM {}{tail}", selected.join(", "), quoted(&self.table.name))
    }

    /// A column whose value is not brought into memory when it is too large: its
    /// length is known without, and one that is just too large stands for it.
    fn bounded(&self, name: &str) -> String {
        let name = quoted(name);
        if !self.is_bounded {
            return name;
        }
        let most = LARGEST_VALUE;
        format!("CASE WHEN octet_length({name}) > {most} THEN zeroblob({most} + 1) ELSE {name} END")
    }

    /// What rows lie in the order of: the row number, or a key without NULLs.
    fn place(&self) -> Option<Vec<String>> {
        match self.rowid {
            Some(rowid) => Some(vec![rowid.to_owned()]),
            None if self.table.without_rowid => Some(self.key.iter().map(|name| quoted(name)).collect()),
            None => None,
        }
    }

    fn beside_place(&self, sign: &str) -> String {
        let place = self.place().unwrap_or_default();
        let values: Vec<String> = (1..=place.len()).map(|number| format!("?{number}")).collect();
        format!("({}) {sign} ({})", place.join(", "), values.join(", "))
    }

    /// All columns of the table.
    pub(super) fn all_columns(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(String::as_str)
    }

    /// The cursor column that the config names; none where it is of no use. Rows
    /// without a key are told apart by their content, which has to have it.
    pub(super) fn cursor(
        &self,
        database: &Database,
        table: &Table,
        config: &Config,
        mark: Option<&CursorMark>,
    ) -> Result<Option<Cursor>, Failure> {
        let Some((_, column)) = config.cursor(&table.name, self.all_columns()) else { return Ok(None) };
        if !self.has_keys() && self.columns.iter().all(|read| read != column) {
            return Ok(None);
        }
        Cursor::of(database, table, column, cursors::overlap(config.cursor_overlap_seconds), mark)
    }

    /// True when rows have a key that does not need all of the row.
    pub(super) fn has_keys(&self) -> bool {
        !self.key.is_empty() || self.rowid.is_some()
    }

    /// The declared key where it identifies the row; else, or beside a NULL in it
    /// (which SQLite allows to repeat), the row number; none when there is neither.
    pub(super) fn source_key(&self, what: What, row: &Row<'_>) -> rusqlite::Result<Option<String>> {
        let first = self.first_of_key(what);
        let mut parts = Vec::with_capacity(self.key.len() + 1);
        for index in 0..self.key.len() {
            parts.push(values::key_part(row.get_ref(first + index)?));
        }
        let identifies = !parts.is_empty() && !parts.contains(&Value::Null);
        if !identifies {
            if self.rowid.is_none() {
                return Ok(None);
            }
            let number: i64 = row.get(first + self.key.len())?;
            // A table without a key is named by row numbers alone.
            parts.push(if self.key.is_empty() { json!(number) } else { json!({ "rowid": number }) });
        }
        Ok(Some(Value::Array(parts).to_string()))
    }

    /// Where a row lies; none where that cannot be said, or not be kept.
    pub(super) fn place_of(&self, row: &Row<'_>) -> rusqlite::Result<Option<Vec<Part>>> {
        let first = self.first_of_key(What::Rows);
        let columns = match self.rowid {
            Some(_) => first + self.key.len()..first + self.key.len() + 1,
            None if self.table.without_rowid => first..first + self.key.len(),
            None => return Ok(None),
        };
        columns.map(|index| Ok(Part::of(row.get_ref(index)?))).collect()
    }

    fn first_of_key(&self, what: What) -> usize {
        match what {
            What::Rows => self.columns.len(),
            What::Keys => 0,
        }
    }

    /// The names of the columns, so that a renamed column is a change.
    pub(super) fn salt(&self) -> u64 {
        let mut hasher = Xxh3::new();
        for name in &self.columns {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
        }
        hasher.digest()
    }
}

/// A value of a place, as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Part {
    /// Whole number.
    Integer(i64),
    /// Text.
    Text(String),
}

impl Part {
    /// None for what JSON may not give back as it was.
    fn of(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Integer(number) => Some(Self::Integer(number)),
            ValueRef::Text(text) => std::str::from_utf8(text).ok().map(|text| Self::Text(text.to_owned())),
            ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => None,
        }
    }
}

impl ToSql for Part {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Integer(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
        })
    }
}
