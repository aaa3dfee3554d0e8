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
//! [`pipeline`]. How far a pass is, is written in [`checkpoints`]; what goes at its
//! end is in [`gone`], what a connector leaves for the next sync in [`marks`].

mod checkpoints;
mod gone;
pub(super) mod marks;
pub(super) mod pipeline;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{Instrument, info_span, warn};

use super::batch::{Decision, Ended, ObjectPass};
use super::events::Events;
use super::progress::{Checkpoint, ObjectState, Progress, Tally, Tracker, Warning};
use crate::connectors::ConnectorError;
use crate::connectors::erased::Session;
use crate::connectors::reading::{Message, Output, ReadRequest, Rest, Scope};
use crate::error::Error;
use crate::failpoint;
use crate::index::{Epoch, Index, IndexError, Target};
use crate::record::{Batch, Key, ObjectKeys};
use crate::store::Store;
use crate::store::marks::ObjectMark;
use crate::store::queue::{Lease, LeaseError};
use crate::store::syncs::{Counters, LogLine, SyncErrorRow};
use marks::Leave;
use pipeline::{Applied, Pending, Pipeline};

/// Messages between reader and engine. A batch is about a megabyte, so this also
/// bounds memory.
const MESSAGES_IN_FLIGHT: usize = 4;
/// How often the row tells watchers how far the pass is.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// Error rows kept between two commits.
const PENDING_ERRORS: usize = 1_000;

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
            progress_written: Instant::now(),
            checkpoint_written: Instant::now(),
        }
    }

    /// Reads everything, brings the index in line and proves it. What was read
    /// until a failure is kept, so that a later attempt need not read it again.
    pub async fn run(&mut self) -> Result<(), PassError> {
        let ended = self.run_to_the_end().await;
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

    async fn read(&mut self) -> Result<(), PassError> {
        let (output, mut messages) = Output::channel(MESSAGES_IN_FLIGHT);
        let request = ReadRequest {
            finished: self.checkpoint.finished.clone(),
            positions: (self.checkpoint.indexed_at_start == Some(0)).then(|| self.checkpoint.positions.clone()),
            known: self.known().await?,
            sample: None,
        };
        let session = self.session.clone();
        // Reading has a task, and so a core, of its own; dropping the set ends it.
        let mut reader = JoinSet::new();
        reader.spawn(async move { session.read(request, output).await }.in_current_span());
        let mut tick = tokio::time::interval(PROGRESS_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                biased;
                stop = stopped(&mut self.stop) => return Err(PassError::Stopped(stop)),
                applied = self.pipeline.next() => {
                    self.settle(applied?);
                    continue;
                }
                message = messages.recv(), if self.pipeline.has_room() => message,
                _ = tick.tick() => {
                    self.write_if_due().await?;
                    continue;
                }
            };
            match message {
                Some(message) => self.take(message).await?,
                None => break,
            }
            self.write_if_due().await?;
        }
        self.settle_all().await?;
        match reader.join_next().await {
            Some(Ok(result)) => Ok(result?),
            Some(Err(panicked)) => Err(PassError::Failed(Error::internal(panicked))),
            None => Err(PassError::Failed(Error::internal("the reader was lost"))),
        }
    }

    async fn take(&mut self, message: Message) -> Result<(), PassError> {
        match message {
            Message::Objects(scopes) => self.expect(scopes),
            Message::Started(scope) => self.start(scope).await?,
            Message::Batch(batch) => {
                let ahead = failpoint::mutant("position_before_batch")
                    .then(|| (batch.object.to_string(), batch.position.clone()));
                self.apply(batch)?;
                if let Some((object, Some(position))) = ahead {
                    self.checkpoint.positions.insert(object, position);
                    self.write(Some(serde_json::json!(self.checkpoint))).await?;
                    failpoint::reach("checkpoint.written");
                }
            }
            Message::Present { object, source_keys } => {
                let open = opened(&mut self.open, &object)?;
                source_keys.iter().for_each(|key| open.pass.present(open.keys.key(key.as_bytes())));
                self.track(&object);
            }
            Message::Ask { object, answer } => {
                self.settle_all().await?;
                // Nobody hears the answer when the reader has failed meanwhile.
                let _ = answer.send(opened(&mut self.open, &object)?.pass.reached());
            }
            Message::RecordFailed { object, source_key, code, message } => {
                let open = opened(&mut self.open, &object)?;
                open.pass.unreadable(open.keys.key(source_key.as_bytes()));
                self.note_error(&object, source_key, "read", code, message);
                self.track(&object);
            }
            Message::Unmoved { object, records, mark } => self.unmoved(object, records, mark),
            Message::Complete { object, counted, rest, mark } => {
                self.settle_all().await?;
                self.complete(object, counted, rest, mark);
            }
            Message::Failed { object, code, message } => {
                self.settle_all().await?;
                self.fail_object(object, code, message);
            }
            Message::Waiting { until, reason } => {
                let seconds = until.duration_since(SystemTime::now()).unwrap_or_default().as_secs();
                self.say("warning", format!("the source asks to wait {seconds} s: {reason}"));
            }
        }
        Ok(())
    }

    fn expect(&mut self, scopes: Vec<Scope>) {
        let estimates = scopes.iter().map(|scope| (scope.object.to_string(), scope.estimate.map(to_i64)));
        self.tracker.expect(estimates);
        for object in self.checkpoint.finished.clone() {
            let tally = self.checkpoint.tallies.get(&object).copied().unwrap_or_default();
            self.tracker.reached(&object, tally);
            self.tracker.ended(&object, ObjectState::Complete);
        }
        self.listed = Some(scopes.into_iter().map(|scope| scope.object).collect());
    }

    async fn start(&mut self, scope: Scope) -> Result<(), PassError> {
        let Scope { object, estimate } = scope;
        let manifest = self.engine.index.manifest(&self.target, &object).await?;
        let before = self.checkpoint.tallies.get(&*object).copied().unwrap_or_default();
        self.tracker.started(&object, estimate.map(to_i64));
        let keys = ObjectKeys::new(&self.target.connection, &object);
        self.open.insert(object, Open { pass: ObjectPass::new(manifest, before), keys });
        failpoint::reach("object.started");
        Ok(())
    }

    /// Decides for each record; what is new or changed goes down the pipeline.
    fn apply(&mut self, batch: Batch) -> Result<(), PassError> {
        self.checkpoint.bytes_read += to_i64(batch.bytes_read);
        let Batch { object, records, bytes_read: _, position, shape } = batch;
        let open = opened(&mut self.open, &object)?;
        let mut changed = Vec::new();
        for record in records {
            let key = open.keys.key(record.source_key.as_bytes());
            let fingerprint = record.fingerprint.salted(self.salt);
            let decision = open.pass.decide(key, fingerprint);
            if decision != Decision::Keep {
                changed.push(Pending { decision, key, fingerprint, record });
            }
        }
        if !changed.is_empty() || position.is_some() {
            self.uncommitted |= !changed.is_empty();
            let work = pipeline::Work { object: object.clone(), shape, position, changed };
            self.pipeline.push(self.engine, &self.session, &self.target, self.epoch, work);
        }
        self.track(&object);
        Ok(())
    }

    /// Counts what has been applied.
    fn settle(&mut self, applied: Applied) {
        let Applied { object, done, failed, position } = applied;
        let Some(open) = self.open.get_mut(&object) else { return };
        done.into_iter().for_each(|decision| open.pass.applied(decision));
        for _ in &failed {
            open.pass.failed();
        }
        match position {
            // What failed is known to this attempt only.
            Some(position) if open.pass.tally().failed == 0 => {
                self.checkpoint.positions.insert(object.to_string(), position);
            }
            Some(_) => drop(self.checkpoint.positions.remove(&*object)),
            None => {}
        }
        for (source_key, error) in failed {
            self.note_error(&object, source_key, "decode", error.code, error.message);
        }
        self.track(&object);
        failpoint::reach("batch.settled");
    }

    async fn settle_all(&mut self) -> Result<(), PassError> {
        while let Some(applied) = self.pipeline.finish_next().await {
            self.settle(applied?);
        }
        Ok(())
    }

    fn complete(&mut self, object: Arc<str>, counted: Option<u64>, rest: Rest, mark: Option<serde_json::Value>) {
        let Some(open) = self.open.remove(&object) else { return };
        let Ended { tally, there, indexed, absent } = open.pass.end(rest);
        self.tracker.reached(&object, tally);
        self.tracker.ended(&object, ObjectState::Complete);
        self.checkpoint.tallies.insert(object.to_string(), tally);
        self.checkpoint.positions.remove(&*object);
        let mut mark = mark;
        if let (Some(counted), Some(there)) = (counted, there)
            && counted != there
        {
            let message = format!("the source counts {counted} rows and gave {there}");
            self.warn("count_mismatch", message, Some(&object), to_i64(counted.abs_diff(there)));
            // Nothing is known for sure, so the next sync is to read everything.
            mark = None;
            if counted > there && !absent.is_empty() {
                // Rows are missing from the reading, so none is proved gone.
                self.leave.push(Leave::of(&object, tally, Rest::Unknown, None));
                return;
            }
        }
        self.leave.push(Leave::of(&object, tally, rest, mark));
        // An object with something absent is read again by a later attempt: its
        // absences are known only to this one.
        if absent.is_empty() || failpoint::mutant("finished_though_absent") {
            self.checkpoint.finished.push(object.to_string());
        }
        self.expected.push((object, indexed));
        self.absent.extend(absent);
        failpoint::reach("object.completed");
    }

    /// The whole object is as it was; the index was compared before its mark was
    /// given to the connector.
    fn unmoved(&mut self, object: Arc<str>, records: u64, mark: serde_json::Value) {
        let before = self.checkpoint.tallies.get(&*object).copied().unwrap_or_default();
        let met_again = before.inserted + before.updated;
        let tally = Tally { unchanged: (to_i64(records) - met_again).max(0), failed: 0, ..before };
        self.tracker.started(&object, Some(to_i64(records)));
        self.tracker.reached(&object, tally);
        self.tracker.ended(&object, ObjectState::Complete);
        self.checkpoint.tallies.insert(object.to_string(), tally);
        self.checkpoint.finished.push(object.to_string());
        self.leave.push(Leave::of(&object, tally, Rest::Unmoved, Some(mark)));
        self.expected.push((object, records));
    }

    fn fail_object(&mut self, object: Arc<str>, code: &'static str, message: String) {
        if let Some(open) = self.open.remove(&object) {
            self.checkpoint.tallies.insert(object.to_string(), open.pass.tally());
            if failpoint::mutant("unfinished_proves_absence") {
                self.absent.extend(open.pass.end(Rest::Gone).absent);
            }
        }
        self.tracker.ended(&object, ObjectState::Failed);
        self.say("error", format!("`{object}` was not read to its end: {message}"));
        self.failed_objects.push((object, code, message));
    }

    fn track(&mut self, object: &str) {
        if let Some(open) = self.open.get(object) {
            self.tracker.reached(object, open.pass.tally());
        }
    }

    fn note_error(&mut self, object: &str, source_key: String, stage: &'static str, code: &str, message: String) {
        if self.errors.len() < PENDING_ERRORS {
            self.errors.push(SyncErrorRow {
                object: object.to_owned(),
                key: source_key,
                stage: stage.to_owned(),
                code: code.to_owned(),
                message,
            });
        }
    }

    fn say(&mut self, level: &str, message: String) {
        self.log.push(LogLine { level: level.to_owned(), message });
    }

    fn warn(&mut self, code: &str, message: String, object: Option<&str>, count: i64) {
        self.say(
            "warning",
            match object {
                Some(object) => format!("`{object}`: {message}"),
                None => message.clone(),
            },
        );
        self.warnings.push(Warning { code: code.to_owned(), message, object: object.map(str::to_owned), count });
    }
}

/// The object that a message speaks of; a connector that speaks of another has a
/// bug, which ends the sync.
fn opened<'o>(open: &'o mut BTreeMap<Arc<str>, Open>, object: &Arc<str>) -> Result<&'o mut Open, PassError> {
    open.get_mut(object).ok_or_else(|| PassError::Failed(Error::internal("a message came outside its object")))
}

/// Waits until the pass is to stop; for ever, if nobody can say so any more.
async fn stopped(stop: &mut watch::Receiver<Option<Stop>>) -> Stop {
    let told = stop.wait_for(Option::is_some).await.ok().and_then(|reason| *reason);
    match told {
        Some(reason) => reason,
        None => std::future::pending().await,
    }
}

fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
