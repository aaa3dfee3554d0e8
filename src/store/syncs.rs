//! Jobs of connections: their rows, their states, and how they are read. What
//! changes them is in [`queue`](crate::store::queue).

pub(super) mod rows;

use std::collections::HashMap;

use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use serde_json::Value;

use crate::ids::{CollectionId, ConnectionId, SyncId};
use crate::store::entities::{sync, sync_error, sync_line};
use crate::store::fault::fault;
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
    /// W3C trace context of the call that asked for it, if it was traced.
    pub traceparent: Option<String>,
    /// Milliseconds that workers have spent on it, as of the last write.
    pub elapsed_ms: i64,
    /// Later syncs have pushed its events out: only its end is left.
    pub events_expired: bool,
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
    /// Its place among the events of the job.
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
    pub async fn sync(&self, id: &SyncId) -> Result<Option<Sync>, StoreError> {
        let row = sync::Entity::find_by_id(id.to_string()).one(self.database()).await.map_err(fault)?;
        row.map(rows::read).transpose()
    }

    /// Syncs (no other jobs), newest first, after the one with this creation
    /// time and id. No states given means all.
    pub async fn syncs(
        &self,
        visible: &Visible,
        connection: Option<&ConnectionId>,
        states: &[State],
        after: Option<(i64, SyncId)>,
        limit: u64,
    ) -> Result<Vec<Sync>, StoreError> {
        let mut query = sync::Entity::find().filter(sync::Column::Kind.eq(JobKind::Sync.as_str()));
        if let Visible::Only(ids) = visible {
            query = query.filter(sync::Column::CollectionId.is_in(ids.iter().map(CollectionId::as_str)));
        }
        if let Some(connection) = connection {
            query = query.filter(sync::Column::ConnectionId.eq(connection.as_str()));
        }
        if !states.is_empty() {
            query = query.filter(sync::Column::State.is_in(states.iter().map(|state| state.as_str())));
        }
        if let Some((created_at, id)) = after {
            let same_time =
                Condition::all().add(sync::Column::CreatedAt.eq(created_at)).add(sync::Column::Id.lt(id.as_str()));
            query = query.filter(Condition::any().add(sync::Column::CreatedAt.lt(created_at)).add(same_time));
        }
        let rows = query
            .order_by_desc(sync::Column::CreatedAt)
            .order_by_desc(sync::Column::Id)
            .limit(limit)
            .all(self.database())
            .await
            .map_err(fault)?;
        rows.into_iter().map(rows::read).collect()
    }

    /// The active job of a connection.
    pub async fn active_job(&self, connection: &ConnectionId) -> Result<Option<Sync>, StoreError> {
        active(self.database(), connection.as_str()).await
    }

    /// The active jobs of these connections.
    pub async fn active_jobs(&self, connections: &[ConnectionId]) -> Result<HashMap<ConnectionId, Sync>, StoreError> {
        let rows = sync::Entity::find()
            .filter(sync::Column::ConnectionId.is_in(connections.iter().map(ConnectionId::as_str)))
            .filter(sync::Column::State.is_in(ACTIVE.map(State::as_str)))
            .all(self.database())
            .await
            .map_err(fault)?;
        by_connection(rows)
    }

    /// The sync of each connection that ended last.
    pub async fn last_sync(&self, connections: &[ConnectionId]) -> Result<HashMap<ConnectionId, Sync>, StoreError> {
        const NO_LATER: &str = "NOT EXISTS (SELECT 1 FROM syncs AS later \
            WHERE later.connection_id = syncs.connection_id AND later.kind = 'sync' \
            AND (later.finished_at, later.id) > (syncs.finished_at, syncs.id))";
        let rows = sync::Entity::find()
            .filter(sync::Column::ConnectionId.is_in(connections.iter().map(ConnectionId::as_str)))
            .filter(sync::Column::Kind.eq(JobKind::Sync.as_str()))
            .filter(sync::Column::FinishedAt.is_not_null())
            .filter(Expr::cust(NO_LATER))
            .all(self.database())
            .await
            .map_err(fault)?;
        by_connection(rows)
    }

    /// Items that could not be taken in, after the one of this number.
    pub async fn sync_errors(&self, id: &SyncId, after: i64, limit: u64) -> Result<Vec<KeptSyncError>, StoreError> {
        let rows = sync_error::Entity::find()
            .filter(sync_error::Column::SyncId.eq(id.as_str()))
            .filter(sync_error::Column::Number.gt(after))
            .order_by_asc(sync_error::Column::Number)
            .limit(limit)
            .all(self.database())
            .await
            .map_err(fault)?;
        Ok(rows.into_iter().map(kept_error).collect())
    }

    /// Log lines noted after this sequence.
    pub async fn sync_log(&self, id: &SyncId, after_sequence: i64) -> Result<Vec<KeptLogLine>, StoreError> {
        let rows = sync_line::Entity::find()
            .filter(sync_line::Column::SyncId.eq(id.as_str()))
            .filter(sync_line::Column::Sequence.gt(after_sequence))
            .order_by_asc(sync_line::Column::Number)
            .all(self.database())
            .await
            .map_err(fault)?;
        Ok(rows.into_iter().map(kept_line).collect())
    }
}

/// The states that the unique index covers.
const ACTIVE: [State; 4] = [State::Pending, State::Running, State::Waiting, State::Cancelling];

/// The active job of a connection, within a transaction or not.
pub(super) async fn active<C: ConnectionTrait>(database: &C, connection: &str) -> Result<Option<Sync>, StoreError> {
    let row = sync::Entity::find()
        .filter(sync::Column::ConnectionId.eq(connection))
        .filter(sync::Column::State.is_in(ACTIVE.map(State::as_str)))
        .one(database)
        .await
        .map_err(fault)?;
    row.map(rows::read).transpose()
}

fn by_connection(rows: Vec<sync::Model>) -> Result<HashMap<ConnectionId, Sync>, StoreError> {
    rows.into_iter().map(|row| rows::read(row).map(|sync| (sync.connection.clone(), sync))).collect()
}

fn kept_error(row: sync_error::Model) -> KeptSyncError {
    let sync_error::Model { sync_id: _, number, occurred_at, object, source_key, stage, code, message } = row;
    KeptSyncError { number, at: occurred_at, error: SyncErrorRow { object, key: source_key, stage, code, message } }
}

fn kept_line(row: sync_line::Model) -> KeptLogLine {
    let sync_line::Model { sync_id: _, number: _, sequence, occurred_at, level, message } = row;
    KeptLogLine { sequence, at: occurred_at, line: LogLine { level, message } }
}
