//! The loop of a pass, and all its I/O. What a record is and what may be deleted
//! is decided in [`batch`](super::batch).
//!
//! Reading is at least once, the effect on the index exactly once per key:
//! a batch is applied to the index (idempotent by key), the index is committed,
//! and only then the checkpoint is written, in one transaction that also proves
//! that this worker still holds the lease. A crash between any two of these
//! repeats work and changes nothing.
//!
//! Nothing is deleted while reading. A document goes when its object was read to
//! its end without error in this pass and did not yield it, when its object is
//! gone from a listing that was read to its end, or when the config no longer
//! selects it; the first two only as far as the brake allows.
//!
//! Reading, deciding, decoding and indexing run side by side: see
//! [`pipeline`]. What a connector says is taken in by [`reading`]; how far a pass is,
//! is written in [`checkpoints`]; what goes at its end is in [`gone`], what a
//! connector leaves for the next sync in [`marks`].

mod checkpoints;
mod gone;
pub(super) mod marks;
pub(super) mod pipeline;
mod reading;
mod remarks;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{Instrument, info_span, warn};

use super::batch::ObjectPass;
use super::events::Events;
use super::progress::{Checkpoint, Progress, Tracker, Warning};
use crate::connectors::ConnectorError;
use crate::connectors::erased::Session;
use crate::error::Error;
use crate::failpoint;
use crate::index::{Epoch, Index, IndexError, Target};
use crate::record::{Key, ObjectKeys};
use crate::store::Store;
use crate::store::marks::ObjectMark;
use crate::store::queue::{Lease, LeaseError};
use crate::store::syncs::{Counters, LogLine, SyncErrorRow};
use marks::Leave;
use pipeline::Pipeline;

/// How often the row tells watchers how far the pass is.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// Why a pass is to stop before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Somebody cancelled the sync.
    Cancelled,
    /// Another worker has it.
    LeaseLost,
    /// The server stops.
    Shutdown,
}

/// Why a pass ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// It was told to stop.
    #[error("stopped: {0:?}")]
    Stopped(Stop),
    /// The source failed.
    #[error(transparent)]
    Source(#[from] ConnectorError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Our store failed.
    #[error(transparent)]
    Lease(LeaseError),
    /// Anything else that ends the sync for good.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<LeaseError> for PassError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Lost => Self::Stopped(Stop::LeaseLost),
            other => Self::Lease(other),
        }
    }
}

/// What a pass needs.
pub struct Engine {
    /// Jobs and connections.
    pub store: Store,
    /// Documents.
    pub index: Arc<dyn Index>,
    /// Wake-ups of watchers.
    pub events: Events,
}

/// What a pass has come to, also when it ended early.
pub struct Standing {
    /// Counters, all attempts together.
    pub counters: Counters,
    /// The progress document.
    pub progress: Progress,
    /// Where a later attempt goes on.
    pub checkpoint: Checkpoint,
    /// What the next sync may know of the objects.
    pub marks: Vec<ObjectMark>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
}

/// One pass over a source.
pub struct Pass<'a> {
    engine: &'a Engine,
    lease: &'a Lease,
    session: Arc<dyn Session>,
    target: Target,
    salt: u64,
    stop: watch::Receiver<Option<Stop>>,
    tracker: Tracker,
    checkpoint: Checkpoint,
    /// The checkpoint as last written: what the index is sure to have.
    proved: Checkpoint,
    seen_before: Counters,
    epoch: Epoch,
    open: BTreeMap<Arc<str>, Open>,
    pipeline: Pipeline,
    leave: Vec<Leave>,
    marks: Vec<ObjectMark>,
    listed: Option<HashSet<Arc<str>>>,
    absent: Vec<Key>,
    expected: Vec<(Arc<str>, u64)>,
    failed_objects: Vec<(Arc<str>, &'static str, String)>,
    errors: Vec<SyncErrorRow>,
    log: Vec<LogLine>,
    warnings: Vec<Warning>,
    uncommitted: bool,
    is_first_checkpoint: bool,
    /// Nothing is read any more; what was read may be kept yet.
    has_ended: bool,
    progress_written: Instant,
    checkpoint_written: Instant,
}

/// An object on its way.
struct Open {
    pass: ObjectPass,
    keys: ObjectKeys,
}

impl<'a> Pass<'a> {
    /// Prepares a pass. `salt` is what beside the raw content decides a document:
    /// config and mapper version.
    pub fn new(
        engine: &'a Engine,
        lease: &'a Lease,
        session: Arc<dyn Session>,
        target: Target,
        salt: u64,
        stop: watch::Receiver<Option<Stop>>,
    ) -> Self {
        let checkpoint: Checkpoint = serde_json::from_value(lease.sync.checkpoint.clone()).unwrap_or_default();
        let progress: Progress = serde_json::from_value(lease.sync.progress.clone()).unwrap_or_default();
        Self {
            engine,
            lease,
            session,
            target,
            salt,
            stop,
            tracker: Tracker::new(progress.elapsed_ms, progress.fraction),
            proved: checkpoint.clone(),
            checkpoint,
            seen_before: lease.sync.counters,
            epoch: Epoch::default(),
            open: BTreeMap::new(),
            pipeline: Pipeline::default(),
            leave: Vec::new(),
            marks: Vec::new(),
            listed: None,
            absent: Vec::new(),
            expected: Vec::new(),
            failed_objects: Vec::new(),
            errors: Vec::new(),
            log: Vec::new(),
            warnings: Vec::new(),
            uncommitted: false,
            is_first_checkpoint: true,
            has_ended: false,
            progress_written: Instant::now(),
            checkpoint_written: Instant::now(),
        }
    }

    /// Reads everything, brings the index in line and proves it. What was read
    /// until a failure is kept, so that a later attempt need not read it again.
    pub async fn run(&mut self) -> Result<(), PassError> {
        let ended = self.run_to_the_end().await;
        self.has_ended = true;
        if let Err(PassError::Stopped(_)) = &ended {
            // Nobody waits for a source that is slow.
            self.pipeline.cut();
        }
        if let Err(PassError::Source(_) | PassError::Failed(_) | PassError::Stopped(Stop::Shutdown)) = &ended {
            match self.write_checkpoint().await {
                Ok(()) | Err(PassError::Stopped(_)) => {}
                Err(error) => warn!(error = &error as &dyn std::error::Error, "the last rows read could not be kept"),
            }
        }
        // Whatever was under way must not write any more once this has returned.
        self.pipeline.abandon().await;
        ended
    }

    async fn run_to_the_end(&mut self) -> Result<(), PassError> {
        self.epoch = self.engine.index.begin(&self.target).await?;
        failpoint::reach("pass.begun");
        if self.checkpoint.indexed_at_start.is_none() {
            let indexed = self.engine.index.count(&self.target.collection, Some(&self.target.connection)).await?;
            self.checkpoint.indexed_at_start = Some(indexed);
            // Before anything is written to the index: after a crash the brake is
            // still measured against what there was, and a first sync is still one.
            self.write_checkpoint().await?;
        }
        failpoint::reach("pass.started");
        self.read().instrument(info_span!("read")).await?;
        failpoint::reach("pass.read");
        self.write_checkpoint().await?;
        self.remove_what_is_gone().instrument(info_span!("delete")).await?;
        failpoint::reach("deletions.done");
        if !failpoint::mutant("finish_before_commit") {
            self.write_checkpoint().await?;
        }
        self.compare().await?;
        failpoint::reach("pass.compared");
        self.leave_marks().await?;
        failpoint::reach("marks.made");
        self.judge_failures()?;
        // What was said since the last checkpoint.
        if self.log.is_empty() { Ok(()) } else { self.write_progress().await }
    }

    /// What the pass has come to.
    pub fn standing(&mut self) -> Standing {
        Standing {
            counters: self.counters(),
            progress: self.tracker.snapshot(),
            checkpoint: self.proved.clone(),
            marks: std::mem::take(&mut self.marks),
            warnings: std::mem::take(&mut self.warnings),
        }
    }
}

fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
