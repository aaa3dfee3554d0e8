//! An open database file: read-only in every way that SQLite knows, and what it
//! holds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use crate::connectors::ConnectorError;
use crate::connectors::paths::{self, ConfinementError};
use crate::connectors::sqlite::bounds::{self, Watch};
use crate::connectors::sqlite::config::Config;
use crate::connectors::sqlite::plan::{Plan, What, Which};
use crate::connectors::sqlite::stamp::Stamp;

/// Rows that an estimate counts at most.
const COUNTED: i64 = 100_000;

const NO_CURSOR: &str =
    "names a column whose values have no common order, or that is left out of a table without a key";

/// A table or view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) is_view: bool,
    pub(super) without_rowid: bool,
}

/// A column that a query can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// Position in the primary key, from 1; 0 when it is not in it.
    pub(super) key_position: i64,
}

/// An open database file.
pub(super) struct Database {
    pub(super) connection: Connection,
    /// What the file is like in this transaction, if that was asked and can be
    /// told.
    pub(super) stamp: Option<Stamp>,
    /// Some value of the file may be larger than a row may be.
    pub(super) has_large_values: bool,
    watch: Arc<Watch>,
}

/// Why the file, or a part of it, cannot be read.
#[derive(Debug)]
pub(super) enum Failure {
    /// The path may not be read.
    Confined(ConfinementError),
    /// SQLite refuses.
    Sqlite(rusqlite::Error),
    /// Nothing is in the file. To SQLite that is a database without tables, to us
    /// one that was cut off.
    Empty,
    /// An entry of `cursorColumns`, and what is wrong with it.
    Cursor(usize, &'static str),
    /// A template; the check of the settings lets none through.
    Template,
    /// The engine stopped listening.
    Stopped(ConnectorError),
    /// Our own fault.
    Panicked(Box<dyn std::error::Error + Send + Sync>),
}

impl Failure {
    /// The cause as one word.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Confined(error) => error.code(),
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => "damaged",
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "busy",
                Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::SystemIoFailure) => "unreadable",
                Some(ErrorCode::ReadOnly) => "recovery_needed",
                Some(ErrorCode::TooBig) => "too_large",
                Some(ErrorCode::OperationInterrupted) => "timed_out",
                _ => "query_failed",
            },
            Self::Empty => "damaged",
            Self::Cursor(..) => "cursor_unusable",
            Self::Template => "template_failed",
            Self::Stopped(_) | Self::Panicked(_) => "internal",
        }
    }

    /// One line that says what to do.
    pub(super) fn hint(&self) -> &'static str {
        match self.code() {
            "outside_roots" => "give a path below a folder that the operator names with --file-roots",
            "invalid_path" => "give a path without `..`",
            "not_found" => "check the path: there is no such file",
            "not_a_file" => "give the path of a regular file",
            "unreadable" => "let the server's user read the file and its folder",
            "damaged" => "the file is not a SQLite database, or it is damaged",
            "busy" => "another program keeps the database locked; try again later",
            "recovery_needed" => "open the database once with the program that writes it, so that it recovers",
            "too_large" => "a value is larger than 16 MiB; leave the view or the column out",
            "timed_out" => "no row came for minutes; leave the view out with excludeTables",
            "cursor_unusable" => {
                "correct config.cursorColumns: each names a column of whole numbers, or of dates or times in one ISO form"
            }
            "template_failed" => "correct the templates",
            "query_failed" => "the table or view cannot be queried; leave it out with excludeTables",
            _ => "the request id finds the cause in the server's log",
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Failure> for ConnectorError {
    fn from(failure: Failure) -> Self {
        let hint = failure.hint();
        match failure {
            Failure::Confined(ConfinementError::Unreadable(error)) => {
                Self::Unreachable { code: "unreachable", cause: Some(Box::new(error)) }
            }
            Failure::Confined(error) => Self::Invalid { field: "config.path".to_owned(), reason: error.to_string() },
            Failure::Sqlite(ref error)
                if matches!(
                    error.sqlite_error_code(),
                    Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::ReadOnly)
                ) =>
            {
                Self::Invalid { field: "config.path".to_owned(), reason: format!("cannot be used: {hint}") }
            }
            Failure::Empty => {
                Self::Invalid { field: "config.path".to_owned(), reason: "is a file with nothing in it".to_owned() }
            }
            Failure::Sqlite(error) => Self::Unreachable { code: "unreachable", cause: Some(Box::new(error)) },
            Failure::Cursor(position, reason) => {
                Self::Invalid { field: format!("config.cursorColumns[{position}]"), reason: reason.to_owned() }
            }
            Failure::Template => {
                Self::Invalid { field: "config".to_owned(), reason: "has a template that is not valid".to_owned() }
            }
            Failure::Stopped(error) => error,
            Failure::Panicked(error) => Self::Unexpected(error),
        }
    }
}

/// Ends the running statement when it is dropped, and every later one: an
/// interrupt of SQLite's own would be lost between two statements.
pub(super) struct InterruptOnDrop(Arc<Watch>);

impl Drop for InterruptOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Database {
    /// Opens a file whose path is confined and canonical, and begins the one read
    /// transaction that everything afterwards sees. A statement that gives no row
    /// for so long is ended.
    pub(super) fn open(path: &Path, silence: Duration) -> Result<Self, Failure> {
        // Refuses pipes and devices before SQLite would wait for them. The file is
        // not opened for that: closing it again would take the locks of every other
        // session of this process on it.
        let length = paths::regular(path).map_err(Failure::Confined)?.len();
        if length == 0 {
            return Err(Failure::Empty);
        }
        let beside = bounds::check_siblings(path).map_err(Failure::Confined)?;
        let (connection, watch) = bounds::open(path, silence)?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let has_large_values = length + beside > bounds::LARGEST_VALUE;
        Ok(Self { connection, stamp: None, has_large_values, watch })
    }

    /// Something came, or something else begins: the silence is counted from here.
    pub(super) fn heard(&self) {
        self.watch.heard();
    }

    /// The same with a stamp of the file; may wait a moment for it.
    pub(super) fn open_stamped(path: &Path, silence: Duration) -> Result<Self, Failure> {
        let stamp = Stamp::settled(path);
        let database = Self::open(path, silence)?;
        // Looked at before and after the transaction began, it is of its snapshot.
        Ok(Self { stamp: stamp.filter(|stamp| stamp.holds(path)), ..database })
    }

    pub(super) fn interrupt_on_drop(&self) -> InterruptOnDrop {
        InterruptOnDrop(self.watch.clone())
    }

    /// Tables and views, ordered by name; not SQLite's own, nor virtual ones,
    /// whose rows are another program's.
    pub(super) fn tables(&self) -> Result<Vec<Table>, Failure> {
        let sql = "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'view') \
                   AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(Table { name: row.get(0)?, is_view: row.get::<_, String>(1)? == "view", without_rowid: row.get(2)? })
        })?;
        let mut tables = rows.collect::<Result<Vec<_>, _>>()?;
        tables.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(tables)
    }

    /// The columns of a table, in its order.
    pub(super) fn columns(&self, table: &Table) -> Result<Vec<Column>, Failure> {
        // Hidden columns (1) belong to virtual tables; generated ones (2, 3) are read.
        let sql = "SELECT name, pk FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid";
        let mut statement = self.connection.prepare(sql)?;
        let rows =
            statement.query_map([&table.name], |row| Ok(Column { name: row.get(0)?, key_position: row.get(1)? }))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How many rows there are: counted up to a bound, then guessed. Views are not
    /// asked, since counting can cost as much as reading.
    pub(super) fn estimate(&self, table: &Table) -> Option<u64> {
        if table.is_view {
            return None;
        }
        self.heard();
        let name = quoted(&table.name);
        let ask = |sql: String| self.connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).ok();
        let counted = ask(format!("SELECT count(*) FROM (SELECT 1 FROM {name} LIMIT {})", COUNTED + 1))?;
        let rows = if counted <= COUNTED || table.without_rowid {
            counted
        } else {
            ask(format!("SELECT max(rowid) FROM {name}")).unwrap_or(counted).max(counted)
        };
        u64::try_from(rows).ok()
    }

    /// Reads one row as a pass would.
    pub(super) fn first_row(&self, table: &Table, config: &Config) -> Result<(), Failure> {
        self.heard();
        let plan = Plan::of(self, table, config)?;
        let mut statement = self.connection.prepare(&plan.sql(What::Rows, Which::First(1)))?;
        statement.query([])?.next()?;
        Ok(())
    }

    /// Fails when an entry of `cursorColumns` names no column of these tables.
    pub(super) fn check_cursors<'t>(
        &self,
        config: &Config,
        tables: impl Iterator<Item = &'t Table>,
    ) -> Result<(), Failure> {
        let mut unmet: Vec<usize> = (0..config.cursor_columns.len()).collect();
        for table in tables.filter(|_| !config.cursor_columns.is_empty()) {
            // A view whose table is gone has no columns; it fails by itself.
            for column in self.columns(table).unwrap_or_default() {
                unmet.retain(|position| !config.names_cursor(*position, &table.name, &column.name));
            }
        }
        match unmet.first() {
            Some(position) => Err(Failure::Cursor(*position, "names no column of the tables that are read")),
            None => Ok(()),
        }
    }

    /// Fails when the cursor column of a table is none.
    pub(super) fn check_cursor(&self, table: &Table, config: &Config) -> Result<(), Failure> {
        self.heard();
        let plan = Plan::of(self, table, config)?;
        match config.cursor(&table.name, plan.all_columns()) {
            Some((position, _)) if config.limit(&table.name).is_none() => {
                match plan.cursor(self, table, config, None)? {
                    Some(_) => Ok(()),
                    None => Err(Failure::Cursor(position, NO_CURSOR)),
                }
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A name as an identifier in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
