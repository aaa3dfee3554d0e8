//! The life of a job: enqueued, taken under a lease, renewed, committed,
//! finished; cancelled or reaped in between. Every change is one conditional
//! update on the job's id, state and fence; if it hits no row, the lease is lost.

use std::time::Duration;

use serde_json::Value;

use crate::ids::{ConnectionId, SyncId};
use crate::store::idempotency::Completion;
use crate::store::syncs::{Counters, JobKind, LogLine, Sync, SyncErrorRow, Trigger};
use crate::store::{Store, StoreError};

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
    pub async fn enqueue(&self, _new: &NewSync) -> Result<Sync, EnqueueError> {
        unreachable!()
    }

    /// Takes the job of one of these kinds that has been due longest, if any is due.
    pub async fn take(&self, _worker: &str, _kinds: &[JobKind], _lease: Duration) -> Result<Option<Lease>, StoreError> {
        unreachable!()
    }

    /// Makes the lease last this long from now.
    pub async fn renew(&self, _held: &Lease, _lease: Duration) -> Result<Renewed, LeaseError> {
        unreachable!()
    }

    /// Notes what one batch brought, all of it or nothing.
    pub async fn commit(&self, _held: &Lease, _commit: &Commit) -> Result<Renewed, LeaseError> {
        unreachable!()
    }

    /// Leaves the job.
    pub async fn finish(&self, _held: Lease, _finish: Finish) -> Result<Sync, LeaseError> {
        unreachable!()
    }

    /// Asks a job to stop. Nobody holds it: it has ended when this returns.
    /// Asking twice is the same as once.
    pub async fn request_cancel(&self, _id: &SyncId) -> Result<Sync, CancelError> {
        unreachable!()
    }

    /// Takes jobs from workers whose lease has run out: they wait to be taken
    /// again, or end as cancelled if asked to stop, or as failed (`POISONED`)
    /// at the given number of crashes. Returns those that changed.
    pub async fn reap(&self, _max_crashes: i32) -> Result<Vec<SyncId>, StoreError> {
        unreachable!()
    }

    /// Ends the leases of a run of this server before; for SQLite only, where
    /// no other server can hold one. Does nothing on PostgreSQL.
    pub async fn expire_leases_of_previous_run(&self) -> Result<u64, StoreError> {
        unreachable!()
    }
}
