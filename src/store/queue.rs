//! The life of a job: enqueued, taken under a lease, renewed, committed,
//! finished; cancelled or reaped in between. Every change is one conditional
//! update on the job's id, state and fence; if it hits no row, the lease is lost.

mod hold;
mod notes;

use std::time::Duration;

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, LockBehavior, LockType};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};
use serde_json::Value;

use crate::error::Reason;
use crate::failpoint;
use crate::ids::{ConnectionId, SyncId};
use crate::store::connections::{self, AuthState, Lifecycle, Outcome};
use crate::store::entities::{connection, sync};
use crate::store::fault::{fault, is_taken, refused};
use crate::store::followers;
use crate::store::idempotency::{self, Completion};
use crate::store::marks::{self, ObjectMark};
use crate::store::past;
use crate::store::syncs::{Counters, JobKind, LogLine, State, Sync, SyncErrorRow, Trigger, rows};
use crate::store::{self, Store, StoreError, milliseconds};
use notes::{counted, insert_errors, insert_lines, kept, unnoted};

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

/// How a worker leaves a job.
#[derive(Debug, Clone)]
pub struct Finish {
    /// How.
    pub outcome: FinishOutcome,
    /// Counters of the whole job so far.
    pub counters: Counters,
    /// The engine's own document.
    pub progress: Value,
    /// Where to go on from; `None` leaves it.
    pub checkpoint: Option<Value>,
    /// What the next sync may know of the objects.
    pub marks: Vec<ObjectMark>,
    /// The source refused the login.
    pub login_refused: bool,
}

/// How a worker leaves a job.
#[derive(Debug, Clone, PartialEq)]
pub enum FinishOutcome {
    /// Everything is in.
    Succeeded {
        /// What a person should know; an array.
        warnings: Value,
    },
    /// It cannot be done.
    Failed {
        /// For machines.
        reason: String,
        /// For people.
        message: String,
    },
    /// It was asked to stop, and has.
    Cancelled,
    /// It goes on by itself later; or ends as cancelled if it was asked to stop.
    Waiting {
        /// How much later.
        until_ms_from_now: i64,
        /// Why.
        reason: String,
    },
    /// Another worker should go on at once; or it ends as cancelled if it was
    /// asked to stop.
    HandBack,
}

/// Why a job was not cancelled.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// It does not exist.
    #[error("the sync does not exist")]
    NotFound,
    /// It has ended otherwise.
    #[error("the sync has ended")]
    NotRunning,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
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

    /// Leaves the job. What its connection remembers of the end is noted in the
    /// same transaction: nobody sees the one without the other.
    pub async fn finish(&self, held: Lease, finish: Finish) -> Result<Sync, LeaseError> {
        let Finish { outcome, counters, progress, checkpoint, marks: left_marks, login_refused } = finish;
        let transaction = self.transaction().await?;
        // First the connection, then its job: the order of all who take both.
        connections::locked(&transaction, &held.sync.connection).await?;
        let row = held_row(&transaction, &held).await?;
        failpoint::reach("job.finishing");
        let now = store::now(&transaction).await?;
        let mut left = sync::ActiveModel {
            progress: Set(progress.to_string()),
            elapsed_ms: Set(elapsed(&row, now)),
            ..sync::ActiveModel::default()
        };
        grow(&mut left, &row, counters);
        if let Some(checkpoint) = checkpoint {
            left.checkpoint = Set(checkpoint.to_string());
        }
        let stopping = State::parse(&row.state)? == State::Cancelling;
        let next = match outcome {
            FinishOutcome::Succeeded { warnings } => {
                left.warnings = Set(warnings.to_string());
                State::Succeeded
            }
            FinishOutcome::Failed { reason, message } => {
                left.error_reason = Set(Some(reason));
                left.error_message = Set(Some(message));
                State::Failed
            }
            FinishOutcome::Waiting { until_ms_from_now, reason } if !stopping => {
                let until = now.saturating_add(until_ms_from_now);
                left.due_at = Set(until);
                left.waiting_until = Set(Some(until));
                left.waiting_reason = Set(Some(reason));
                State::Waiting
            }
            FinishOutcome::HandBack if !stopping => {
                left.due_at = Set(now);
                State::Pending
            }
            FinishOutcome::Cancelled | FinishOutcome::Waiting { .. } | FinishOutcome::HandBack => State::Cancelled,
        };
        release(&mut left, next, now);
        let row = change(&transaction, &row, next, left).await?.ok_or(LeaseError::Lost)?;
        marks::put(&transaction, &row.connection_id, &left_marks).await?;
        failpoint::reach("job.marks_put");
        past::expire(&transaction, &row.connection_id).await?;
        let sync = rows::read(row)?;
        if sync.kind == JobKind::Sync {
            remember(&transaction, &sync, login_refused).await?;
        }
        transaction.commit().await.map_err(fault)?;
        failpoint::reach("job.finished");
        Ok(sync)
    }

    /// Asks a job to stop. If nobody holds it, it has ended when this returns.
    /// Asking twice is the same as once.
    pub async fn request_cancel(&self, id: &SyncId) -> Result<Sync, CancelError> {
        loop {
            let transaction = self.transaction().await?;
            let row = sync::Entity::find_by_id(id.to_string()).lock_exclusive().one(&transaction).await;
            let row = row.map_err(fault)?.ok_or(CancelError::NotFound)?;
            let now = store::now(&transaction).await?;
            let mut asked = sync::ActiveModel::default();
            let next = match State::parse(&row.state)? {
                State::Pending | State::Waiting => {
                    release(&mut asked, State::Cancelled, now);
                    State::Cancelled
                }
                State::Running => State::Cancelling,
                State::Cancelling | State::Cancelled => return Ok(rows::read(row)?),
                State::Succeeded | State::Failed => return Err(CancelError::NotRunning),
            };
            let Some(row) = change(&transaction, &row, next, asked).await? else { continue };
            transaction.commit().await.map_err(fault)?;
            return Ok(rows::read(row)?);
        }
    }

    /// Takes jobs from workers whose lease has run out: they wait to be taken
    /// again, or end as cancelled if asked to stop, or as failed (`POISONED`)
    /// at the given number of crashes. Returns those that changed.
    pub async fn reap(&self, max_crashes: i32) -> Result<Vec<SyncId>, StoreError> {
        let transaction = self.transaction().await?;
        let now = store::now(&transaction).await?;
        let dead = sync::Entity::find()
            .filter(sync::Column::State.is_in(HELD.map(State::as_str)))
            .filter(sync::Column::LeaseExpiresAt.lte(now))
            .order_by_asc(sync::Column::LeaseExpiresAt)
            .limit(100)
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
            .all(&transaction)
            .await
            .map_err(fault)?;
        let mut reaped = Vec::new();
        for row in dead {
            let crashes = row.crashes + 1;
            let mut taken =
                sync::ActiveModel { fence: Set(row.fence + 1), crashes: Set(crashes), ..sync::ActiveModel::default() };
            let next = match State::parse(&row.state)? {
                State::Cancelling => State::Cancelled,
                _ if crashes >= max_crashes => {
                    taken.error_reason = Set(Some(Reason::Poisoned.name().to_owned()));
                    taken.error_message = Set(Some(format!("its worker died {crashes} times on it")));
                    State::Failed
                }
                _ => {
                    taken.due_at = Set(now);
                    taken.waiting_until = Set(Some(now));
                    taken.waiting_reason = Set(Some("its worker died".to_owned()));
                    State::Waiting
                }
            };
            release(&mut taken, next, now);
            if let Some(row) = change(&transaction, &row, next, taken).await? {
                reaped.push(rows::read(row)?);
            }
        }
        transaction.commit().await.map_err(fault)?;
        if !reaped.is_empty() {
            failpoint::reach("job.reaped");
        }
        // Only now: the connection is locked before its job, never after.
        for sync in reaped.iter().filter(|sync| sync.kind == JobKind::Sync) {
            remember(self.database(), sync, false).await?;
        }
        Ok(reaped.into_iter().map(|sync| sync.id).collect())
    }

    /// Ends the leases of a run of this server before; for SQLite only, where
    /// no other server can hold one. Does nothing on PostgreSQL.
    pub async fn expire_leases_of_previous_run(&self) -> Result<u64, StoreError> {
        if self.database().get_database_backend() != DbBackend::Sqlite {
            return Ok(0);
        }
        self.expire_followers_of_previous_run().await?;
        let now = self.now().await?;
        let expired = sync::Entity::update_many()
            .col_expr(sync::Column::LeaseExpiresAt, Expr::value(Some(now)))
            .filter(sync::Column::State.is_in(HELD.map(State::as_str)))
            .exec(self.database())
            .await
            .map_err(fault)?;
        Ok(expired.rows_affected)
    }
}

/// The states in which a worker holds a lease.
const HELD: [State; 2] = [State::Running, State::Cancelling];

/// Inserts a pending job of a connection whose row is locked. The unique index
/// over the active states is what refuses a second one.
pub(super) async fn insert(
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

/// The one place that changes a job's state: only along the transition table,
/// only from what was read, and with the next sequence. `None` when the row is
/// no longer what was read.
async fn change(
    transaction: &DatabaseTransaction,
    before: &sync::Model,
    next: State,
    changed: sync::ActiveModel,
) -> Result<Option<sync::Model>, StoreError> {
    change_by(transaction, before, next, changed, 1).await
}

async fn change_by(
    transaction: &DatabaseTransaction,
    before: &sync::Model,
    next: State,
    mut changed: sync::ActiveModel,
    steps: i64,
) -> Result<Option<sync::Model>, StoreError> {
    let state = State::parse(&before.state)?;
    if state.is_terminal() || (state != next && !state.can_become(next)) {
        return Err(refused("a job cannot change like this"));
    }
    changed.state = Set(next.as_str().to_owned());
    changed.sequence = Set(before.sequence + steps);
    write(transaction, before, changed).await
}

/// Writes to a job's row if it still has the state and the fence that were read.
async fn write(
    transaction: &DatabaseTransaction,
    before: &sync::Model,
    changed: sync::ActiveModel,
) -> Result<Option<sync::Model>, StoreError> {
    let updated = sync::Entity::update_many()
        .set(changed)
        .filter(sync::Column::Id.eq(before.id.as_str()))
        .filter(sync::Column::State.eq(before.state.as_str()))
        .filter(sync::Column::Fence.eq(before.fence))
        .exec(transaction)
        .await
        .map_err(fault)?;
    if updated.rows_affected == 0 {
        return Ok(None);
    }
    sync::Entity::find_by_id(before.id.clone()).one(transaction).await.map_err(fault)
}

/// The row of a held job, which nobody else can change until the transaction
/// ends; lost if the fence has moved or the job has ended.
async fn held_row(transaction: &DatabaseTransaction, held: &Lease) -> Result<sync::Model, LeaseError> {
    sync::Entity::find_by_id(held.sync.id.to_string())
        .filter(sync::Column::Fence.eq(held.fence))
        .filter(sync::Column::State.is_in(HELD.map(State::as_str)))
        .lock_exclusive()
        .one(transaction)
        .await
        .map_err(fault)?
        .ok_or(LeaseError::Lost)
}

/// Notes on the connection how a sync has ended, if it has.
async fn remember<C: ConnectionTrait>(database: &C, sync: &Sync, login_refused: bool) -> Result<(), StoreError> {
    let (auth, outcome) = match sync.state {
        State::Succeeded => (Some(AuthState::Ok), Outcome::Succeeded),
        State::Failed if login_refused => (Some(AuthState::Failed), Outcome::Failed),
        State::Failed => (None, Outcome::Failed),
        State::Pending | State::Running | State::Waiting | State::Cancelling | State::Cancelled => return Ok(()),
    };
    let ended = connections::Ended { auth, outcome, message: sync.error_message.as_deref() };
    connections::note(database, &sync.connection, sync.config_version, sync.credentials_version, ended).await?;
    Ok(())
}

/// Nobody holds the job any more.
fn release(changed: &mut sync::ActiveModel, next: State, now: i64) {
    changed.owner = Set(None);
    changed.lease_expires_at = Set(None);
    changed.measured_at = Set(None);
    if next.is_terminal() {
        changed.finished_at = Set(Some(now));
        changed.waiting_until = Set(None);
        changed.waiting_reason = Set(None);
    }
}

/// Counters never shrink, even if a worker that took over counts anew.
fn grow(changed: &mut sync::ActiveModel, row: &sync::Model, counters: Counters) {
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

fn elapsed(row: &sync::Model, now: i64) -> i64 {
    row.elapsed_ms + row.measured_at.map_or(0, |since| (now - since).max(0))
}

fn renewal(row: &sync::Model) -> Result<Renewed, StoreError> {
    Ok(Renewed { cancel_requested: State::parse(&row.state)? == State::Cancelling, sequence: row.sequence })
}
