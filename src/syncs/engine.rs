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

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{Instrument, info_span};

use super::batch::{Decision, ObjectPass, Verdict, judge};
use super::events::Events;
use super::progress::{Checkpoint, ObjectState, Progress, Tally, Tracker, Warning};
use crate::connectors::erased::Session;
use crate::connectors::{ConnectorError, Message, Output, ReadRequest, RecordError, Scope};
use crate::error::{Error, Reason};
use crate::index::{Index, IndexError, Target};
use crate::record::{Batch, Change, Document, Fingerprint, Key, RawRecord};
use crate::store::Store;
use crate::store::connections::DeletionHold;
use crate::store::queue::{Commit, Lease, LeaseError};
use crate::store::syncs::{Counters, LogLine, SyncErrorRow};

/// Messages between reader and engine. A batch is about a megabyte, so this also
/// bounds memory.
const MESSAGES_IN_FLIGHT: usize = 4;
/// How often the row tells watchers how far the pass is.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// How often the index is committed and the checkpoint written: the most that a
/// crash makes us read again.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(3);
/// Deletions in one change set.
const DELETIONS_AT_ONCE: usize = 10_000;
/// Failures that a pass may have beside a fifth of what it read.
const FAILURE_BUDGET: i64 = 1_000;
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
    seen_before: Counters,
    current: Option<Current>,
    listed: Option<HashSet<Arc<str>>>,
    absent: Vec<Key>,
    expected: Vec<(Arc<str>, u64)>,
    failed_objects: Vec<(Arc<str>, &'static str, String)>,
    errors: Vec<SyncErrorRow>,
    log: Vec<LogLine>,
    warnings: Vec<Warning>,
    uncommitted: bool,
    progress_written: Instant,
    checkpoint_written: Instant,
}

struct Current {
    object: Arc<str>,
    pass: ObjectPass,
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
            checkpoint,
            seen_before: lease.sync.counters,
            current: None,
            listed: None,
            absent: Vec::new(),
            expected: Vec::new(),
            failed_objects: Vec::new(),
            errors: Vec::new(),
            log: Vec::new(),
            warnings: Vec::new(),
            uncommitted: false,
            progress_written: Instant::now(),
            checkpoint_written: Instant::now(),
        }
    }

    /// Reads everything, brings the index in line and proves it.
    pub async fn run(&mut self) -> Result<(), PassError> {
        if self.checkpoint.indexed_at_start.is_none() {
            let indexed = self.engine.index.count(&self.target.collection, Some(&self.target.connection)).await?;
            self.checkpoint.indexed_at_start = Some(indexed);
        }
        self.read().instrument(info_span!("read")).await?;
        self.write_checkpoint().await?;
        self.remove_what_is_gone().instrument(info_span!("delete")).await?;
        self.write_checkpoint().await?;
        self.compare().await?;
        self.judge_failures()
    }

    /// What the pass has come to.
    pub fn standing(&mut self) -> Standing {
        Standing {
            counters: self.counters(),
            progress: self.tracker.snapshot(),
            checkpoint: self.checkpoint.clone(),
            warnings: std::mem::take(&mut self.warnings),
        }
    }

    async fn read(&mut self) -> Result<(), PassError> {
        let (output, mut messages) = Output::channel(MESSAGES_IN_FLIGHT);
        let request = ReadRequest { finished: self.checkpoint.finished.clone(), sample: None };
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
                message = messages.recv() => message,
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
            Message::Batch(batch) => self.apply(batch).await?,
            Message::RecordFailed { object, source_key, code, message } => {
                let key = Key::of(&self.target.connection, &object, source_key.as_bytes());
                if let Some(current) = &mut self.current {
                    current.pass.unreadable(key);
                }
                self.note_error(&object, source_key, "read", code, message);
                self.track();
            }
            Message::Complete { object, counted } => self.complete(object, counted),
            Message::Failed { object, code, message } => self.fail_object(object, code, message),
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
        let manifest = self.engine.index.manifest(&self.target, &scope.object).await?;
        let before = self.checkpoint.tallies.get(&*scope.object).copied().unwrap_or_default();
        self.tracker.started(&scope.object, scope.estimate.map(to_i64));
        self.current = Some(Current { object: scope.object, pass: ObjectPass::new(manifest, before) });
        Ok(())
    }

    async fn apply(&mut self, batch: Batch) -> Result<(), PassError> {
        self.checkpoint.bytes_read += to_i64(batch.bytes_read);
        let Some(current) = self.current.as_mut().filter(|current| current.object == batch.object) else {
            return Err(PassError::Failed(Error::internal("a batch came outside its object")));
        };
        let mut changed = Vec::new();
        for record in batch.records {
            let key = Key::of(&self.target.connection, &batch.object, record.source_key.as_bytes());
            let fingerprint = record.fingerprint.salted(self.salt);
            let decision = current.pass.decide(key, fingerprint);
            if decision != Decision::Keep {
                changed.push(Pending { decision, key, fingerprint, record });
            }
        }
        if !changed.is_empty() {
            let decoded = decode(self.session.clone(), batch.object.clone(), batch.shape, changed).await?;
            self.apply_decoded(&batch.object, decoded).await?;
        }
        self.track();
        Ok(())
    }

    async fn apply_decoded(&mut self, object: &Arc<str>, decoded: Vec<Decoded>) -> Result<(), PassError> {
        let mut changes = Vec::with_capacity(decoded.len());
        let mut decisions = Vec::with_capacity(decoded.len());
        for Decoded { decision, key, fingerprint, source_key, document } in decoded {
            match document {
                Ok(document) => {
                    decisions.push(decision);
                    let object = object.clone();
                    changes.push(Change::Upsert { key, fingerprint, object, source_key, document });
                }
                Err(error) => {
                    if let Some(current) = &mut self.current {
                        current.pass.failed(decision);
                    }
                    self.note_error(object, source_key, "decode", error.code, error.message);
                }
            }
        }
        if !changes.is_empty() {
            self.uncommitted = true;
            self.engine.index.apply(&self.target, changes).await?;
        }
        if let Some(current) = &mut self.current {
            decisions.into_iter().for_each(|decision| current.pass.applied(decision));
        }
        Ok(())
    }

    fn complete(&mut self, object: Arc<str>, counted: Option<u64>) {
        let Some(current) = self.current.take().filter(|current| current.object == object) else {
            return;
        };
        let tally = current.pass.tally();
        self.tracker.reached(&object, tally);
        self.tracker.ended(&object, ObjectState::Complete);
        self.checkpoint.tallies.insert(object.to_string(), tally);
        let met = current.pass.met();
        if let Some(counted) = counted.filter(|counted| *counted != met) {
            let message = format!("the source counts {counted} rows and gave {met}");
            self.warn("count_mismatch", message, Some(&object), to_i64(counted.abs_diff(met)));
        }
        let indexed = current.pass.indexed();
        let absent = current.pass.absent();
        // An object with something absent is read again by a later attempt: its
        // absences are known only to this one.
        if absent.is_empty() {
            self.checkpoint.finished.push(object.to_string());
        }
        self.expected.push((object, indexed));
        self.absent.extend(absent);
    }

    fn fail_object(&mut self, object: Arc<str>, code: &'static str, message: String) {
        if let Some(current) = self.current.take_if(|current| current.object == object) {
            self.checkpoint.tallies.insert(object.to_string(), current.pass.tally());
        }
        self.tracker.ended(&object, ObjectState::Failed);
        self.say("error", format!("`{object}` was not read to its end: {message}"));
        self.failed_objects.push((object, code, message));
    }

    /// Deletes what this pass proved gone, as far as the brake allows, and what
    /// the config put out of scope.
    async fn remove_what_is_gone(&mut self) -> Result<(), PassError> {
        let Some(listed) = self.listed.take() else {
            return Ok(());
        };
        let mut absent = std::mem::take(&mut self.absent);
        let mut out_of_scope = Vec::new();
        for (object, _) in self.engine.index.objects(&self.target).await? {
            if listed.contains(object.as_str()) {
                continue;
            }
            let keys = self.engine.index.manifest(&self.target, &object).await?.into_keys();
            if self.session.selects(&object) { absent.extend(keys) } else { out_of_scope.extend(keys) }
        }
        self.delete(out_of_scope, true).await?;
        let indexed = self.checkpoint.indexed_at_start.unwrap_or(0);
        let gone = absent.len() as u64;
        match judge(gone, indexed, self.lease.sync.release_deletions) {
            Verdict::Hold => self.hold(gone, indexed).await,
            Verdict::Delete => {
                self.delete(absent, false).await?;
                self.engine.store.set_hold(&self.target.connection, None).await.map_err(Error::from)?;
                Ok(())
            }
        }
    }

    async fn hold(&mut self, gone: u64, indexed: u64) -> Result<(), PassError> {
        let created_at = self.engine.store.now().await.map_err(Error::from)?;
        let hold = DeletionHold {
            items: to_i64(gone),
            indexed_items: to_i64(indexed),
            sync: self.lease.sync.id.clone(),
            created_at,
        };
        self.engine.store.set_hold(&self.target.connection, Some(&hold)).await.map_err(Error::from)?;
        let message = format!(
            "{gone} of {indexed} documents are no longer at the source; that many at once are kept until the deletions \
             are released or discarded"
        );
        self.warn("deletions_held", message, None, to_i64(gone));
        Ok(())
    }

    async fn delete(&mut self, keys: Vec<Key>, out_of_scope: bool) -> Result<(), PassError> {
        for keys in keys.chunks(DELETIONS_AT_ONCE) {
            if let Some(stop) = *self.stop.borrow() {
                return Err(PassError::Stopped(stop));
            }
            self.uncommitted = true;
            let changes = keys.iter().map(|key| Change::Delete { key: *key }).collect();
            self.engine.index.apply(&self.target, changes).await?;
            self.checkpoint.deleted += keys.len() as i64;
            if out_of_scope {
                self.checkpoint.out_of_scope += keys.len() as i64;
            }
            self.write_if_due().await?;
        }
        Ok(())
    }

    /// The proof at the end: what the index has against what was met.
    async fn compare(&mut self) -> Result<(), PassError> {
        let held = self.warnings.iter().any(|warning| warning.code == "deletions_held");
        let indexed: std::collections::HashMap<String, u64> =
            self.engine.index.objects(&self.target).await?.into_iter().collect();
        for (object, expected) in std::mem::take(&mut self.expected) {
            let found = indexed.get(&*object).copied().unwrap_or(0);
            if found != expected && !(held && found > expected) {
                let message = format!("{expected} documents were expected in the index, {found} are there");
                self.warn("index_mismatch", message, Some(&object), to_i64(found.abs_diff(expected)));
            }
        }
        Ok(())
    }

    fn judge_failures(&mut self) -> Result<(), PassError> {
        let counters = self.counters();
        if counters.failed > 0 {
            let message = "items could not be taken in; the list of errors names them".to_owned();
            self.warn("items_failed", message, None, counters.failed);
        }
        if let Some((object, code, message)) = self.failed_objects.first() {
            let reason = match *code {
                "permission_missing" => Reason::SourcePermissionDenied,
                "unreachable" | "timed_out" => Reason::SourceUnreachable,
                _ => Reason::Internal,
            };
            let others = self.failed_objects.len() - 1;
            let more = if others > 0 { format!(" ({others} more objects failed)") } else { String::new() };
            return Err(PassError::Failed(Error::new(reason, format!("`{object}`: {message}{more}"))));
        }
        if counters.failed > FAILURE_BUDGET.max(counters.read / 5) {
            let message = format!("{} of {} items could not be taken in", counters.failed, counters.read);
            return Err(PassError::Failed(Error::new(Reason::Internal, message)));
        }
        Ok(())
    }

    async fn write_if_due(&mut self) -> Result<(), PassError> {
        if self.checkpoint_written.elapsed() >= CHECKPOINT_EVERY {
            self.write_checkpoint().await
        } else if self.progress_written.elapsed() >= PROGRESS_EVERY {
            self.write_progress().await
        } else {
            Ok(())
        }
    }

    /// Index first, then the checkpoint: never the other way round.
    async fn write_checkpoint(&mut self) -> Result<(), PassError> {
        if self.uncommitted {
            self.engine.index.commit(&self.target.collection).await?;
            self.uncommitted = false;
        }
        if let Some(Current { object, pass }) = &self.current {
            self.checkpoint.tallies.insert(object.to_string(), pass.tally());
        }
        let checkpoint = serde_json::to_value(&self.checkpoint).map_err(Error::internal)?;
        self.write(Some(checkpoint)).await?;
        self.checkpoint_written = Instant::now();
        Ok(())
    }

    async fn write_progress(&mut self) -> Result<(), PassError> {
        self.write(None).await
    }

    async fn write(&mut self, checkpoint: Option<serde_json::Value>) -> Result<(), PassError> {
        let commit = Commit {
            counters: self.counters(),
            progress: serde_json::to_value(self.tracker.snapshot()).map_err(Error::internal)?,
            checkpoint,
            errors: std::mem::take(&mut self.errors),
            log: std::mem::take(&mut self.log),
        };
        let renewed = self.engine.store.commit(self.lease, &commit).await?;
        self.progress_written = Instant::now();
        self.engine.events.changed(&self.lease.sync.id, renewed.sequence);
        if renewed.cancel_requested { Err(PassError::Stopped(Stop::Cancelled)) } else { Ok(()) }
    }

    /// All attempts together; each number only grows, also when a later attempt
    /// has to read again what was not yet committed.
    fn counters(&self) -> Counters {
        let mut sum = Tally::default();
        for (object, tally) in &self.checkpoint.tallies {
            if self.current.as_ref().is_none_or(|current| *current.object != **object) {
                sum = sum.plus(*tally);
            }
        }
        if let Some(current) = &self.current {
            sum = sum.plus(current.pass.tally());
        }
        let seen = self.seen_before;
        Counters {
            read: sum.read().max(seen.read),
            inserted: sum.inserted.max(seen.inserted),
            updated: sum.updated.max(seen.updated),
            unchanged: sum.unchanged.max(seen.unchanged),
            failed: sum.failed.max(seen.failed),
            deleted: self.checkpoint.deleted.max(seen.deleted),
            out_of_scope: self.checkpoint.out_of_scope.max(seen.out_of_scope),
            bytes_read: self.checkpoint.bytes_read.max(seen.bytes_read),
        }
    }

    fn track(&mut self) {
        if let Some(current) = &self.current {
            self.tracker.reached(&current.object, current.pass.tally());
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

/// A record that the index does not have as it is.
struct Pending {
    decision: Decision,
    key: Key,
    fingerprint: Fingerprint,
    record: RawRecord,
}

/// The same, decoded.
struct Decoded {
    decision: Decision,
    key: Key,
    fingerprint: Fingerprint,
    source_key: String,
    document: Result<Document, RecordError>,
}

/// Decodes on the blocking pool. A panic in a decoder costs one record.
async fn decode(
    session: Arc<dyn Session>,
    object: Arc<str>,
    shape: Arc<dyn std::any::Any + Send + Sync>,
    records: Vec<Pending>,
) -> Result<Vec<Decoded>, PassError> {
    let decode_one = move |pending: Pending| {
        let Pending { decision, key, fingerprint, record } = pending;
        let decoded = std::panic::catch_unwind(AssertUnwindSafe(|| session.decode(&object, &*shape, &record)));
        let document = decoded.unwrap_or_else(|_| {
            Err(RecordError { code: "undecodable", message: "the decoder gave up on it".to_owned() })
        });
        Decoded { decision, key, fingerprint, source_key: record.source_key, document }
    };
    tokio::task::spawn_blocking(move || records.into_iter().map(decode_one).collect())
        .await
        .map_err(|panicked| PassError::Failed(Error::internal(panicked)))
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
