//! How a job comes into the queue: one a connection.

use sea_orm::ActiveValue::Set;
use sea_orm::{DatabaseTransaction, DbErr, EntityTrait as _};

use crate::failpoint;
use crate::ids::{ConnectionId, SyncId};
use crate::store::connections::{self, Lifecycle};
use crate::store::entities::{connection, sync};
use crate::store::fault::{fault, is_taken, refused};
use crate::store::followers;
use crate::store::idempotency::{self, Completion};
use crate::store::syncs::{JobKind, State, Sync, Trigger, rows};
use crate::store::{self, Store, StoreError};

/// A job to be enqueued.
#[derive(Debug, Clone)]
pub struct NewSync {
    /// Identifier, minted by the caller.
    pub id: SyncId,
    /// Connection that it is for.
    pub connection: ConnectionId,
    /// What it does.
    pub kind: JobKind,
    /// What started it.
    pub trigger: Trigger,
    /// Everything is read again.
    pub full: bool,
    /// Held deletions go.
    pub release_deletions: bool,
    /// W3C trace context of the call that asks for it, so that one trace leads
    /// through the job.
    pub traceparent: Option<String>,
    /// Answer to note for the request that this fulfils, in the same transaction.
    pub completes: Option<Completion>,
}

/// Why a job was not enqueued.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// The connection does not exist.
    #[error("the connection does not exist")]
    NotFound,
    /// The connection is being deleted.
    #[error("the connection is being deleted")]
    Deleting,
    /// Another job of the connection is active.
    #[error("the job `{id}` is active")]
    Busy {
        /// The other job.
        id: SyncId,
        /// What it does.
        kind: JobKind,
    },
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Store {
    /// Enqueues a job, unless one of the connection is active.
    pub async fn enqueue(&self, new: &NewSync) -> Result<Sync, EnqueueError> {
        loop {
            let transaction = self.transaction().await?;
            let row = connections::locked(&transaction, &new.connection).await?.ok_or(EnqueueError::NotFound)?;
            let deleting = Lifecycle::parse(&row.lifecycle)? == Lifecycle::Deleting;
            if deleting && new.kind != JobKind::Purge {
                return Err(EnqueueError::Deleting);
            }
            let now = store::now(&transaction).await?;
            match insert(&transaction, new, &row, now).await {
                Ok(()) => {}
                Err(error) if is_taken(&error) => {
                    transaction.rollback().await.map_err(fault)?;
                    match self.active_job(&new.connection).await? {
                        Some(job) => return Err(EnqueueError::Busy { id: job.id, kind: job.kind }),
                        None if self.sync(&new.id).await?.is_some() => {
                            return Err(refused("a job of this id is there already").into());
                        }
                        // The other job ended between the two looks: try again.
                        None => continue,
                    }
                }
                Err(error) => return Err(fault(error).into()),
            }
            if new.kind == JobKind::Clear {
                followers::out_of_step(&transaction, &row.id).await?;
            }
            failpoint::reach("job.inserted");
            let is_late = failpoint::mutant("key_after_effect");
            if let Some(completion) = new.completes.as_ref().filter(|_| !is_late) {
                idempotency::complete(&transaction, completion).await?;
            }
            let row = sync::Entity::find_by_id(new.id.to_string()).one(&transaction).await.map_err(fault)?;
            transaction.commit().await.map_err(fault)?;
            failpoint::reach("job.enqueued");
            if let Some(completion) = new.completes.as_ref().filter(|_| is_late) {
                self.complete(completion).await?;
            }
            return Ok(rows::read(row.ok_or_else(|| refused("a new job is not there"))?)?);
        }
    }
}

/// Inserts a pending job of a connection whose row is locked. The unique index
/// over the active states is what refuses a second one.
pub(in crate::store) async fn insert(
    transaction: &DatabaseTransaction,
    new: &NewSync,
    connection: &connection::Model,
    now: i64,
) -> Result<(), DbErr> {
    let NewSync { id, connection: _, kind, trigger, full, release_deletions, traceparent, completes: _ } = new;
    let row = sync::ActiveModel {
        id: Set(id.to_string()),
        connection_id: Set(connection.id.clone()),
        collection_id: Set(connection.collection_id.clone()),
        kind: Set(kind.as_str().to_owned()),
        state: Set(State::Pending.as_str().to_owned()),
        started_by: Set(trigger.as_str().to_owned()),
        full_pass: Set(*full),
        release_deletions: Set(*release_deletions),
        config_version: Set(connection.config_version),
        credentials_version: Set(connection.credentials_version),
        attempt: Set(0),
        crashes: Set(0),
        fence: Set(0),
        owner: Set(None),
        lease_expires_at: Set(None),
        measured_at: Set(None),
        due_at: Set(now),
        created_at: Set(now),
        started_at: Set(None),
        finished_at: Set(None),
        waiting_until: Set(None),
        waiting_reason: Set(None),
        sequence: Set(1),
        items_read: Set(0),
        items_inserted: Set(0),
        items_updated: Set(0),
        items_deleted: Set(0),
        items_unchanged: Set(0),
        items_failed: Set(0),
        bytes_read: Set(0),
        items_out_of_scope: Set(0),
        progress: Set("{}".to_owned()),
        checkpoint: Set("null".to_owned()),
        warnings: Set("[]".to_owned()),
        error_reason: Set(None),
        error_message: Set(None),
        traceparent: Set(traceparent.clone()),
        elapsed_ms: Set(0),
        errors_kept: Set(0),
        lines_kept: Set(0),
        progress_noted: Set(0),
        events_expired: Set(false),
    };
    sync::Entity::insert(row).exec_without_returning(transaction).await.map(drop)
}
