//! A job in the hands of a worker: taken under a lease, renewed, committed.

use std::time::Duration;

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{LockBehavior, LockType};
use sea_orm::{
    ColumnTrait as _, DatabaseTransaction, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use serde_json::Value;

use super::notes::{counted, insert_errors, insert_lines, kept, unnoted};
use super::transitions::{change, change_by, write};
use crate::failpoint;
use crate::store::entities::sync;
use crate::store::fault::fault;
use crate::store::past;
use crate::store::syncs::{Counters, JobKind, LogLine, State, Sync, SyncErrorRow, rows};
use crate::store::{self, Store, StoreError, milliseconds};

/// The states in which a worker holds a lease.
pub(super) const HELD: [State; 2] = [State::Running, State::Cancelling];

/// The right to work on a job, until it expires or is lost.
#[must_use = "a job that is taken must be worked on, or handed back"]
#[derive(Debug)]
pub struct Lease {
    /// The job as it was when taken.
    pub sync: Sync,
    fence: i64,
    worker: String,
}

/// A lease that still stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewed {
    /// The job was asked to stop.
    pub cancel_requested: bool,
    /// Sequence of the job after the write.
    pub sequence: i64,
}

/// Why a write under a lease was refused.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else has the job, or it has ended: stop.
    #[error("the lease is lost")]
    Lost,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// What one batch brought.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Counters of the whole job so far.
    pub counters: Counters,
    /// The engine's own document.
    pub progress: Value,
    /// The same in brief, kept for who watches the job once it has ended.
    pub brief: Value,
    /// Where to go on from; `None` leaves it.
    pub checkpoint: Option<Value>,
    /// Items that could not be taken in; the first 1,000 of a job are kept.
    pub errors: Vec<SyncErrorRow>,
    /// Lines for people; the first 1,000 of a job are kept.
    pub log: Vec<LogLine>,
}

impl Lease {
    /// Name of the worker that took it.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// Fence of this lease.
    pub fn fence(&self) -> i64 {
        self.fence
    }
}

impl Store {
    /// Takes the job of one of these kinds that has been due longest, if any is due.
    pub async fn take(&self, worker: &str, kinds: &[JobKind], lease: Duration) -> Result<Option<Lease>, StoreError> {
        loop {
            let transaction = self.transaction().await?;
            let now = store::now(&transaction).await?;
            let due = sync::Entity::find()
                .filter(sync::Column::State.is_in([State::Pending.as_str(), State::Waiting.as_str()]))
                .filter(sync::Column::Kind.is_in(kinds.iter().map(|kind| kind.as_str())))
                .filter(sync::Column::DueAt.lte(now))
                .order_by_asc(sync::Column::DueAt)
                .order_by_asc(sync::Column::Id)
                .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
                .one(&transaction)
                .await
                .map_err(fault)?;
            let Some(row) = due else { return Ok(None) };
            let fence = row.fence + 1;
            let taken = sync::ActiveModel {
                fence: Set(fence),
                attempt: Set(row.attempt + 1),
                owner: Set(Some(worker.to_owned())),
                lease_expires_at: Set(Some(now.saturating_add(milliseconds(lease)))),
                measured_at: Set(Some(now)),
                started_at: Set(row.started_at.or(Some(now))),
                waiting_until: Set(None),
                waiting_reason: Set(None),
                ..sync::ActiveModel::default()
            };
            // No row was hit: another worker was quicker. Look for the next one.
            let Some(row) = change(&transaction, &row, State::Running, taken).await? else { continue };
            transaction.commit().await.map_err(fault)?;
            failpoint::reach("job.taken");
            return Ok(Some(Lease { sync: rows::read(row)?, fence, worker: worker.to_owned() }));
        }
    }

    /// Makes the lease last this long from now. Nothing that a watcher should
    /// see, so the sequence stays.
    pub async fn renew(&self, held: &Lease, lease: Duration) -> Result<Renewed, LeaseError> {
        let transaction = self.transaction().await?;
        let row = held_row(&transaction, held).await?;
        let now = store::now(&transaction).await?;
        let renewed = sync::ActiveModel {
            lease_expires_at: Set(Some(now.saturating_add(milliseconds(lease)))),
            elapsed_ms: Set(elapsed(&row, now)),
            measured_at: Set(Some(now)),
            ..sync::ActiveModel::default()
        };
        let row = write(&transaction, &row, renewed).await?.ok_or(LeaseError::Lost)?;
        transaction.commit().await.map_err(fault)?;
        Ok(renewal(&row)?)
    }

    /// Notes what one batch brought, all of it or nothing.
    pub async fn commit(&self, held: &Lease, commit: &Commit) -> Result<Renewed, LeaseError> {
        let Commit { counters, progress, brief, checkpoint, errors, log } = commit;
        let transaction = self.transaction().await?;
        let row = held_row(&transaction, held).await?;
        let now = store::now(&transaction).await?;
        let errors = unnoted(&transaction, &row, errors).await?;
        let errors = kept(&errors, row.errors_kept);
        let lines = kept(log, row.lines_kept);
        let mut noted = sync::ActiveModel {
            progress: Set(progress.to_string()),
            elapsed_ms: Set(elapsed(&row, now)),
            measured_at: Set(Some(now)),
            errors_kept: Set(row.errors_kept + counted(errors)),
            lines_kept: Set(row.lines_kept + counted(lines)),
            progress_noted: Set(row.progress_noted + 1),
            ..sync::ActiveModel::default()
        };
        grow(&mut noted, &row, *counters);
        if let Some(checkpoint) = checkpoint {
            noted.checkpoint = Set(checkpoint.to_string());
        }
        let state = State::parse(&row.state)?;
        // Each line has a sequence of its own, so that a watch can resume between
        // any two.
        let steps = counted(lines) + 1;
        let changed = change_by(&transaction, &row, state, noted, steps).await?.ok_or(LeaseError::Lost)?;
        insert_errors(&transaction, &row, errors, now).await?;
        insert_lines(&transaction, &row, lines, now).await?;
        past::note(&transaction, &changed, brief, now).await?;
        transaction.commit().await.map_err(fault)?;
        Ok(renewal(&changed)?)
    }
}

/// The row of a held job, which nobody else can change until the transaction
/// ends; lost if the fence has moved or the job has ended.
pub(super) async fn held_row(transaction: &DatabaseTransaction, held: &Lease) -> Result<sync::Model, LeaseError> {
    sync::Entity::find_by_id(held.sync.id.to_string())
        .filter(sync::Column::Fence.eq(held.fence))
        .filter(sync::Column::State.is_in(HELD.map(State::as_str)))
        .lock_exclusive()
        .one(transaction)
        .await
        .map_err(fault)?
        .ok_or(LeaseError::Lost)
}

/// Counters never shrink, even if a worker that took over counts anew.
pub(super) fn grow(changed: &mut sync::ActiveModel, row: &sync::Model, counters: Counters) {
    let Counters { read, inserted, updated, deleted, unchanged, failed, bytes_read, out_of_scope } = counters;
    changed.items_read = Set(row.items_read.max(read));
    changed.items_inserted = Set(row.items_inserted.max(inserted));
    changed.items_updated = Set(row.items_updated.max(updated));
    changed.items_deleted = Set(row.items_deleted.max(deleted));
    changed.items_unchanged = Set(row.items_unchanged.max(unchanged));
    changed.items_failed = Set(row.items_failed.max(failed));
    changed.bytes_read = Set(row.bytes_read.max(bytes_read));
    changed.items_out_of_scope = Set(row.items_out_of_scope.max(out_of_scope));
}

/// How long it was worked on, until now.
pub(super) fn elapsed(row: &sync::Model, now: i64) -> i64 {
    row.elapsed_ms + row.measured_at.map_or(0, |since| (now - since).max(0))
}

fn renewal(row: &sync::Model) -> Result<Renewed, StoreError> {
    Ok(Renewed { cancel_requested: State::parse(&row.state)? == State::Cancelling, sequence: row.sequence })
}
