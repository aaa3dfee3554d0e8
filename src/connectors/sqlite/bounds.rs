//! What a database file may cost. Its schema is a program that somebody else wrote:
//! views run for as long as they like and make values as large as they like.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use crate::connectors::paths::ConfinementError;

/// Largest value, in bytes: no more than a row may have.
pub(super) const LARGEST_VALUE: u64 = 16 * 1024 * 1024;
/// What SQLite itself refuses: above [`LARGEST_VALUE`], so that a value that is put
/// in the place of a larger one passes.
const LIMIT_LENGTH: i32 = 20 * 1024 * 1024;
/// Steps of SQLite's machine between two looks whether to stop: well below a
/// millisecond.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

/// Opens a file read-only in every way that SQLite knows, with all bounds, and
/// begins a transaction.
pub(super) fn open(path: &Path, silence: Duration) -> rusqlite::Result<(Connection, Arc<Watch>)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LIMIT_LENGTH)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_limit(Limit::SQLITE_LIMIT_WORKER_THREADS, 0)?;
    let watch = Arc::new(Watch::new(silence));
    let asked = watch.clone();
    connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || asked.is_over()))?;
    connection.execute_batch("PRAGMA query_only=ON; PRAGMA cell_size_check=ON; PRAGMA mmap_size=0; BEGIN")?;
    Ok((connection, watch))
}

/// Whether a statement goes on.
pub(super) struct Watch {
    stopped: AtomicBool,
    began: Instant,
    /// Milliseconds from `began` on.
    heard: AtomicU64,
    silence: u64,
}

impl Watch {
    fn new(silence: Duration) -> Self {
        let silence = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
        Self { stopped: AtomicBool::new(false), began: Instant::now(), heard: AtomicU64::new(0), silence }
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(super) fn heard(&self) {
        self.heard.store(self.now(), Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        let silent = self.now().saturating_sub(self.heard.load(Ordering::Relaxed));
        self.stopped.load(Ordering::Relaxed) || silent > self.silence
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The files that SQLite opens beside a database, where a link could lead to the
/// log of a database that is not below the roots. Answers how large the log is.
pub(super) fn check_siblings(path: &Path) -> Result<u64, ConfinementError> {
    let mut log = 0;
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let Ok(found) = PathBuf::from(name).symlink_metadata() else { continue };
        if !found.is_file() {
            return Err(ConfinementError::NotRegular);
        }
        if suffix == "-wal" {
            log = found.len();
        }
    }
    Ok(log)
}
