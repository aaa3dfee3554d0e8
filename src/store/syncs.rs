//! Jobs of connections: their rows, their states, and how they are read. What
//! changes them is in [`queue`](crate::store::queue).

use std::collections::HashMap;

use serde_json::Value;

use crate::ids::{CollectionId, ConnectionId, SyncId};
use crate::store::{Store, StoreError, Visible};

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobKind {
    /// Brings the index up to the source.
    Sync,
    /// Removes the documents; the connection stays.
    Clear,
    /// Removes the documents of a connection that is being deleted.
    Purge,
}

/// State of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Nobody has taken it yet.
    Pending,
    /// A worker holds its lease.
    Running,
    /// It goes on by itself at a known time.
    Waiting,
    /// It was asked to stop, and its worker has yet to.
    Cancelling,
    /// It ended well.
    Succeeded,
    /// It ended with an error.
    Failed,
    /// It was stopped.
    Cancelled,
}

/// What started a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// A caller.
    Manual,
    /// The schedule.
    Schedule,
    /// Continuous following.
    Continuous,
}

/// Counters of a job. Each only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Items read.
    pub read: i64,
    /// Items new in the index.
    pub inserted: i64,
    /// Items changed in the index.
    pub updated: i64,
    /// Items removed from the index.
    pub deleted: i64,
    /// Items that were the same as before.
    pub unchanged: i64,
    /// Items that could not be taken in.
    pub failed: i64,
    /// Bytes read.
    pub bytes_read: i64,
    /// Of the removed: those out of scope by a narrowed config.
    pub out_of_scope: i64,
}

/// A job's row.
#[derive(Debug, Clone, PartialEq)]
pub struct Sync {
    /// Identifier.
    pub id: SyncId,
    /// Connection that it is for.
    pub connection: ConnectionId,
    /// Collection of the connection.
    pub collection: CollectionId,
    /// What it does.
    pub kind: JobKind,
    /// State.
    pub state: State,
    /// What started it.
    pub trigger: Trigger,
    /// Everything is read again.
    pub full: bool,
    /// Held deletions go.
    pub release_deletions: bool,
    /// Config version that it was started under.
    pub config_version: i64,
    /// Credentials version that it was started under.
    pub credentials_version: i64,
    /// How many workers have taken it.
    pub attempt: i32,
    /// How many of them have died on it.
    pub crashes: i32,
    /// Grows when it is taken or reaped; a write with an old one is refused.
    pub fence: i64,
    /// Worker that holds it.
    pub owner: Option<String>,
    /// Until when.
    pub lease_expires_at: Option<i64>,
    /// When it was asked for.
    pub created_at: i64,
    /// When a worker first took it.
    pub started_at: Option<i64>,
    /// When it ended.
    pub finished_at: Option<i64>,
    /// When it goes on by itself.
    pub waiting_until: Option<i64>,
    /// Why it waits.
    pub waiting_reason: Option<String>,
    /// Grows with each change that a watcher should see.
    pub sequence: i64,
    /// Counters.
    pub counters: Counters,
    /// The engine's own document: objects, rate, estimates.
    pub progress: Value,
    /// Where to go on from.
    pub checkpoint: Value,
    /// What a person should know of one that ended well; an array.
    pub warnings: Value,
    /// Why it failed, for machines.
    pub error_reason: Option<String>,
    /// Why it failed, for people.
    pub error_message: Option<String>,
    /// Milliseconds that workers have spent on it, as of the last write.
    pub elapsed_ms: i64,
}

/// An item that could not be taken in; never holds its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncErrorRow {
    /// Object of the source.
    pub object: String,
    /// Key of the item, where it is not itself secret.
    pub key: String,
    /// Where it failed.
    pub stage: String,
    /// Cause, for machines.
    pub code: String,
    /// Cause, for people.
    pub message: String,
}

/// A kept [`SyncErrorRow`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptSyncError {
    /// Place in the list, from 1.
    pub number: i64,
    /// When it was noted.
    pub at: i64,
    /// The error.
    pub error: SyncErrorRow,
}

/// One line about how a job goes, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// `info`, `warning` or `error`.
    pub level: String,
    /// The line; no values of a source.
    pub message: String,
}

/// A kept [`LogLine`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLogLine {
    /// Sequence of the job when it was noted; several lines may share one.
    pub sequence: i64,
    /// When it was noted.
    pub at: i64,
    /// The line.
    pub line: LogLine,
}

impl State {
    /// Every state.
    pub const ALL: [State; 7] =
        [Self::Pending, Self::Running, Self::Waiting, Self::Cancelling, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// It counts against "one job at a time".
    pub fn is_active(self) -> bool {
        !self.is_terminal()
    }

    /// It has ended, and never changes again.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Running | Self::Waiting | Self::Cancelling => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }

    /// Whether the change from this state to that is one that the queue makes.
    pub fn can_become(self, next: Self) -> bool {
        match self {
            Self::Pending => matches!(next, Self::Running | Self::Cancelled),
            Self::Waiting => matches!(next, Self::Running | Self::Cancelled),
            Self::Running => next != Self::Running,
            Self::Cancelling => next.is_terminal(),
            Self::Succeeded | Self::Failed | Self::Cancelled => false,
        }
    }
}

impl Store {
    /// One job.
    pub async fn sync(&self, _id: &SyncId) -> Result<Option<Sync>, StoreError> {
        unreachable!()
    }

    /// Syncs (no other jobs), newest first, after the one with this creation
    /// time and id. No states given means all.
    pub async fn syncs(
        &self,
        _visible: &Visible,
        _connection: Option<&ConnectionId>,
        _states: &[State],
        _after: Option<(i64, SyncId)>,
        _limit: u64,
    ) -> Result<Vec<Sync>, StoreError> {
        unreachable!()
    }

    /// The active job of a connection.
    pub async fn active_job(&self, _connection: &ConnectionId) -> Result<Option<Sync>, StoreError> {
        unreachable!()
    }

    /// The active jobs of these connections.
    pub async fn active_jobs(&self, _connections: &[ConnectionId]) -> Result<HashMap<ConnectionId, Sync>, StoreError> {
        unreachable!()
    }

    /// The sync of each connection that ended last.
    pub async fn last_sync(&self, _connections: &[ConnectionId]) -> Result<HashMap<ConnectionId, Sync>, StoreError> {
        unreachable!()
    }

    /// Items that could not be taken in, after the one of this number.
    pub async fn sync_errors(&self, _id: &SyncId, _after: i64, _limit: u64) -> Result<Vec<KeptSyncError>, StoreError> {
        unreachable!()
    }

    /// Log lines noted after this sequence.
    pub async fn sync_log(&self, _id: &SyncId, _after_sequence: i64) -> Result<Vec<KeptLogLine>, StoreError> {
        unreachable!()
    }
}
