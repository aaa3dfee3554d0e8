//! How a job ends, or is left for later.

use sea_orm::ActiveValue::Set;
use sea_orm::{ConnectionTrait, EntityTrait as _, QuerySelect as _};
use serde_json::Value;

use super::held::{Lease, LeaseError, elapsed, grow, held_row};
use super::transitions::{change, release};
use crate::failpoint;
use crate::ids::SyncId;
use crate::store::connections::{self, AuthState, Outcome};
use crate::store::entities::sync;
use crate::store::fault::fault;
use crate::store::marks::{self, ObjectMark};
use crate::store::past;
use crate::store::syncs::{Counters, JobKind, State, Sync, rows};
use crate::store::{self, Store, StoreError};

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

impl Store {
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
}

/// Notes on the connection how a sync has ended, if it has.
pub(super) async fn remember<C: ConnectionTrait>(
    database: &C,
    sync: &Sync,
    login_refused: bool,
) -> Result<(), StoreError> {
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
