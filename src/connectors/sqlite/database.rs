//! An open database file: read-only in every way that SQLite knows, and what it
//! holds.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::connectors::ConnectorError;
use crate::connectors::paths::{self, ConfinementError};
use crate::connectors::sqlite::config::Config;

/// Rows that an estimate counts at most.
const COUNTED: i64 = 100_000;
/// Steps of SQLite's machine between two looks whether to stop: well below a
/// millisecond.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

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
    stopped: Arc<AtomicBool>,
}

/// Why the file, or a part of it, cannot be read.
#[derive(Debug)]
pub(super) enum Failure {
    /// The path may not be read.
    Confined(ConfinementError),
    /// SQLite refuses.
    Sqlite(rusqlite::Error),
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
                _ => "query_failed",
            },
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
            Failure::Sqlite(error) => Self::Unreachable { code: "unreachable", cause: Some(Box::new(error)) },
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
pub(super) struct InterruptOnDrop(Arc<AtomicBool>);

impl Drop for InterruptOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Database {
    /// Opens a file whose path is confined and canonical, and begins the one read
    /// transaction that everything afterwards sees.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        // Refuses pipes and devices before SQLite would wait for them.
        paths::open_regular(path).map_err(Failure::Confined)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        // Settings of the connection: the file's own schema may be hostile.
        connection
            .execute_batch("PRAGMA query_only=ON; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; BEGIN")?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let stopped = Arc::new(AtomicBool::new(false));
        let asked = stopped.clone();
        connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || asked.load(Ordering::Relaxed)))?;
        Ok(Self { connection, stopped })
    }

    pub(super) fn interrupt_on_drop(&self) -> InterruptOnDrop {
        InterruptOnDrop(self.stopped.clone())
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
        let plan = super::read::Plan::of(self, table, config)?;
        let mut statement = self.connection.prepare(&plan.sql(Some(1)))?;
        statement.query([])?.next()?;
        Ok(())
    }
}

/// A name as an identifier in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
