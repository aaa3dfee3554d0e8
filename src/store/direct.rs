//! The shortest way to a row of a SQLite store: on the caller's own thread. The
//! driver behind the pool has threads of its own, and two changes of thread cost
//! more than finding a row does; where every call waits for the row, that counts.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row};

/// A connection that only reads, and waits for nobody. Good for statements that look
/// at a handful of pages; anything longer would hold up the thread.
pub(super) struct Direct(Mutex<Option<Connection>>);

impl Direct {
    /// Opens a file that is there, in the mode that it has.
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::ZERO)?;
        Ok(Self(Mutex::new(Some(connection))))
    }

    /// All rows of a statement with one parameter. None where the answer cannot be had
    /// at once, whatever the reason: the pool is to be asked, and says why.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        parameter: &str,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Option<Vec<T>> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement = connection.as_ref()?.prepare_cached(sql).ok()?;
        statement.query_map([parameter], |row| read(row)).ok()?.collect::<Result<_, _>>().ok()
    }

    /// Lets go of the file, so that whoever writes closes it last.
    pub(super) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_is_committed_and_nothing_once_it_is_closed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        let writer = Connection::open(&path).expect("it opens");
        writer.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (id TEXT, n INTEGER)").expect("a table");
        let direct = Direct::open(&path).expect("it opens");
        let read = |id: &str| direct.rows("SELECT n FROM t WHERE id = ?1 ORDER BY n", id, |row| row.get::<_, i64>(0));
        assert_eq!(read("a"), Some(Vec::new()));
        writer
            .execute_batch("INSERT INTO t VALUES ('a', 2), ('a', 1), ('b', 3); BEGIN IMMEDIATE; DELETE FROM t")
            .expect("rows");
        assert_eq!(
            read("a"),
            Some(vec![1, 2]),
            "a writer is not waited for, and what it has not committed is not seen"
        );
        assert_eq!(direct.rows("SELECT n FROM missing WHERE id = ?1", "a", |row| row.get::<_, i64>(0)), None);
        direct.close();
        assert_eq!(read("a"), None);
    }
}
