//! Whether a database file is as it was, told without opening it: what is in it
//! is not asked, and closing it would take the locks of others.
//!
//! Every write to a file gives it a time of change (`ctime`) that nobody can set.
//! So where the file and its log (`-wal`) have the same identity, lengths and
//! times as before, nothing was written to them in between, if three things hold:
//! * Two writes can share a time, since clocks tick. So the times have to be older
//!   than a tick when they are looked at; a file system that only keeps seconds
//!   proves nothing.
//! * The rows must be those of the stamp. With a rollback journal, who reads keeps
//!   writers away, and who writes the file keeps readers away. So it is enough to
//!   look before the rows are read and once more when the read transaction stands.
//! * With a log, a commit is in the log a little before readers see it: the writer
//!   syncs the disk in between. So a log with something in it has to have been left
//!   alone for longer than any commit takes.
//!
//! SQLite's own change counter is no help: with a log it need not change, and
//! going from one kind of journal to the other can set it back.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// More than a tick of any clock that file systems use.
const TICK: Duration = Duration::from_millis(50);
/// More than a commit takes from its last write to the log until readers see it.
const COMMIT: Duration = Duration::from_secs(60);
/// How often a file that is just being written is looked at again.
const LOOKS: usize = 3;

/// What a database file was like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    database: State,
    /// None when there is nothing in it.
    log: Option<State>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    device: u64,
    inode: u64,
    length: u64,
    /// Nanoseconds since 1970 UTC, as texts: JSON's numbers are too short.
    modified: String,
    changed: String,
}

impl Stamp {
    /// The stamp of a file that nothing is being written to; waits for the next
    /// tick of the clock where it was written a moment ago.
    pub(super) fn settled(path: &Path) -> Option<Self> {
        for _ in 0..LOOKS {
            let stamp = Self::of(path)?;
            match stamp.unsettled_for(SystemTime::now())? {
                Duration::ZERO => return Some(stamp),
                wait => std::thread::sleep(wait),
            }
        }
        None
    }

    /// True when the file still has this stamp.
    pub(super) fn holds(&self, path: &Path) -> bool {
        Self::of(path).is_some_and(|now| now == *self)
    }

    fn of(path: &Path) -> Option<Self> {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let log = match Path::new(&log).symlink_metadata() {
            Ok(metadata) if metadata.len() > 0 => Some(State::of(&metadata)?),
            Ok(_) => None,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(_) => return None,
        };
        Some(Self { database: State::of(&path.symlink_metadata().ok()?)?, log })
    }

    /// How long to wait until the stamp proves something; none if that is too
    /// long, or never.
    fn unsettled_for(&self, now: SystemTime) -> Option<Duration> {
        if self.log.as_ref().is_some_and(|log| log.age(now).is_none_or(|age| age < COMMIT)) {
            return None;
        }
        self.database.age(now).map(|age| TICK.saturating_sub(age))
    }
}

impl State {
    #[cfg(unix)]
    fn of(metadata: &std::fs::Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let nanoseconds =
            |seconds: i64, rest: i64| (i128::from(seconds) * 1_000_000_000 + i128::from(rest)).to_string();
        // A whole millisecond comes by chance, or from a clock that is too coarse.
        let is_fine = metadata.ctime_nsec() % 1_000_000 != 0;
        is_fine.then(|| Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Elsewhere a file has no time that only writing can change.
    #[cfg(not(unix))]
    fn of(_metadata: &std::fs::Metadata) -> Option<Self> {
        None
    }

    /// None when it was changed in the future: the clock went back, or is another.
    fn age(&self, now: SystemTime) -> Option<Duration> {
        let changed = UNIX_EPOCH + Duration::from_nanos(self.changed.parse().ok()?);
        now.duration_since(changed).ok()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn any_write_shows_and_a_file_left_alone_keeps_its_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.db");
        std::fs::write(&path, "one").unwrap();
        let stamp = Stamp::settled(&path).unwrap();
        assert!(stamp.holds(&path));
        std::fs::write(&path, "two").unwrap();
        assert!(!stamp.holds(&path), "of the same length");
        let again = Stamp::settled(&path).unwrap();
        let times = std::fs::FileTimes::new().set_modified(UNIX_EPOCH);
        std::fs::File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
        assert!(!again.holds(&path), "its time was set");
        assert!(Stamp::settled(&folder.path().join("none")).is_none());
    }

    #[test]
    fn a_log_counts_when_something_is_in_it_and_only_after_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let (path, log) = (folder.path().join("file.db"), folder.path().join("file.db-wal"));
        std::fs::write(&path, "one").unwrap();
        let stamp = Stamp::settled(&path).unwrap();
        std::fs::write(&log, "").unwrap();
        assert!(stamp.holds(&path), "an empty log is none");
        std::fs::write(&log, "frame").unwrap();
        assert!(!stamp.holds(&path));
        assert!(Stamp::settled(&path).is_none(), "a commit may be under way");
        let with_log = Stamp::of(&path).unwrap();
        assert_eq!(with_log.unsettled_for(SystemTime::now() + COMMIT), Some(Duration::ZERO));
    }

    #[test]
    fn a_stamp_is_good_only_when_it_is_older_than_a_tick() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.db");
        std::fs::write(&path, "one").unwrap();
        let stamp = Stamp::of(&path).unwrap();
        let changed = UNIX_EPOCH + Duration::from_nanos(stamp.database.changed.parse().unwrap());
        assert_eq!(stamp.unsettled_for(changed), Some(TICK));
        assert_eq!(stamp.unsettled_for(changed + TICK), Some(Duration::ZERO));
        assert_eq!(stamp.unsettled_for(changed - TICK), None, "the future");
    }
}
