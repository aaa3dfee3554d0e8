//! Workers: take a job, hold its lease while the engine works, and leave the job
//! in a state that says what became of it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use rand::Rng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

use super::Syncs;
use super::engine::{Engine, Pass, PassError, Standing, Stop};
use super::events::Events;
use super::progress::{Checkpoint, Progress};
use super::sessions::{Sessions, source_error};
use crate::connectors::ConnectorError;
use crate::error::{Error, Reason};
use crate::failpoint;
use crate::index::{IndexError, Target};
use crate::store::connections::Connection;
use crate::store::queue::{Finish, FinishOutcome, Lease, LeaseError};
use crate::store::syncs::{JobKind, Sync};
use crate::telemetry::trace_context;

/// How long a lease lasts without a heartbeat.
const LEASE: Duration = Duration::from_secs(30);
/// Heartbeats also bring cancellations from other nodes, which must end a sync
/// within five seconds.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(3);
/// Polling finds work when a wake-up was lost or made on another node.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// Transient failures in a row before a sync gives up.
const MOST_RETRIES: u32 = 8;
/// How long a full disk is waited for.
const STORAGE_WAIT: Duration = Duration::from_secs(5);

/// How long a sync waits after a transient failure: somewhere between the least
/// and one that doubles with each failure, up to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Shortest wait.
    pub least: Duration,
    /// Longest wait.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { least: Duration::from_secs(5), most: Duration::from_secs(600) }
    }
}

impl Backoff {
    /// Full jitter: those that failed together do not come back together.
    fn after(self, retries: u32) -> Duration {
        let longest = self.least.saturating_mul(1 << retries.min(10)).min(self.most);
        rand::rng().random_range(self.least..=longest.max(self.least))
    }
}

/// What workers share.
#[derive(Clone)]
pub struct Workshop {
    /// The engine.
    pub engine: Arc<Engine>,
    /// The other syncs.
    pub syncs: Syncs,
    /// Sessions of sources.
    pub sessions: Sessions,
    /// Work of every kind, and the news of it.
    pub events: Events,
    /// Name of this process in leases.
    pub name: String,
    /// How long a sync waits after its source has failed.
    pub backoff: Backoff,
}

impl Workshop {
    /// Works until told to stop, then hands back what is under way and returns.
    /// `kinds` is what this worker takes.
    pub async fn work(self, kinds: &'static [JobKind], stop: CancellationToken) {
        while !stop.is_cancelled() {
            // Listening begins before the look into the queue, so that no wake-up
            // falls between the two.
            let news = self.events.wait_for_work();
            // What clears makes room; a sync would only find that there is none.
            if kinds.contains(&JobKind::Sync) && self.syncs.disk().is_low() {
                stop.run_until_cancelled(tokio::time::sleep(POLL_EVERY)).await;
                continue;
            }
            match self.engine.store.take(&self.name, kinds, LEASE).await {
                Ok(Some(lease)) => {
                    self.events.work();
                    self.carry_out(lease, &stop).await;
                    continue;
                }
                Ok(None) => {}
                Err(error) => warn!(error = &error as &dyn std::error::Error, "the queue does not answer"),
            }
            tokio::select! {
                () = news => {}
                () = tokio::time::sleep(POLL_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn carry_out(&self, lease: Lease, stop: &CancellationToken) {
        let sync = lease.sync.clone();
        let span = info_span!("sync", sync = %sync.id, connection = %sync.connection, attempt = sync.attempt);
        if let Some(traceparent) = &sync.traceparent {
            trace_context::follow(&span, traceparent);
        }
        self.events.changed(&sync.id, sync.sequence);
        let started = Instant::now();
        async {
            info!(kind = ?sync.kind, "job started");
            let outcome = self.hold_and_work(lease, stop).await;
            match outcome {
                Ok(ended) => {
                    metrics::histogram!("tributary_sync_duration_seconds").record(started.elapsed().as_secs_f64());
                    info!(
                        state = ?ended.state,
                        read = ended.counters.read,
                        inserted = ended.counters.inserted,
                        updated = ended.counters.updated,
                        deleted = ended.counters.deleted,
                        unchanged = ended.counters.unchanged,
                        failed = ended.counters.failed,
                        reason = ended.error_reason,
                        "job left"
                    );
                    self.events.changed(&ended.id, ended.sequence);
                    self.events.work();
                }
                Err(LeaseError::Lost) if sync.kind == JobKind::Purge => {
                    // Its row went with that of its connection.
                    info!("job left");
                    self.events.changed(&sync.id, i64::MAX);
                }
                Err(LeaseError::Lost) => warn!("another worker has taken the job over"),
                Err(error) => error!(error = &error as &dyn std::error::Error, "the job's row could not be written"),
            }
        }
        .instrument(span)
        .await;
    }

    /// The work and its heartbeat are two branches of one `select!`.
    async fn hold_and_work(&self, lease: Lease, stop: &CancellationToken) -> Result<Sync, LeaseError> {
        let (tell, told) = watch::channel(None);
        let running = self.events.running(&lease.sync.id);
        let heartbeat = async {
            let mut shutdown = false;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(HEARTBEAT_EVERY) => {}
                    () = running.cancelled() => {}
                    () = stop.cancelled(), if !shutdown => {
                        shutdown = true;
                        tell.send_if_modified(|reason| reason.is_none() && { *reason = Some(Stop::Shutdown); true });
                    }
                }
                match self.engine.store.renew(&lease, LEASE).await {
                    Ok(renewed) if renewed.cancel_requested => {
                        tell.send_replace(Some(Stop::Cancelled));
                    }
                    Ok(_) => {}
                    Err(LeaseError::Lost) => {
                        tell.send_replace(Some(Stop::LeaseLost));
                    }
                    Err(error) => warn!(error = &error as &dyn std::error::Error, "heartbeat failed"),
                }
            }
        };
        let work = AssertUnwindSafe(self.work_on(&lease, told)).catch_unwind();
        let left = tokio::select! {
            left = work => left,
            () = heartbeat => unreachable!("a heartbeat never ends"),
        };
        let left = left.unwrap_or_else(|_| Left::failed(&lease.sync, Reason::Internal, "the job ended in a panic"));
        drop(running);
        if left.lease_lost {
            return Err(LeaseError::Lost);
        }
        self.engine.store.finish(lease, left.finish).await
    }

    async fn work_on(&self, lease: &Lease, stop: watch::Receiver<Option<Stop>>) -> Left {
        let sync = &lease.sync;
        match sync.kind {
            JobKind::Sync => self.sync(lease, stop).await,
            JobKind::Clear | JobKind::Purge => match self.remove(sync).await {
                Ok(removed) => Left::removed(sync, removed),
                Err(error) => {
                    log_cause(&error);
                    // A clear must end with the data gone, so it is tried again.
                    Left::waiting(sync, None, Duration::from_secs(5), "the index could not be cleared yet")
                }
            },
        }
    }

    async fn remove(&self, sync: &Sync) -> Result<u64, Error> {
        if sync.kind == JobKind::Purge {
            self.syncs.end_following(&sync.connection).await?;
        }
        if sync.kind == JobKind::Purge && failpoint::mutant("row_before_documents") {
            self.engine.store.finish_delete(&sync.connection).await?;
            failpoint::reach("removal.row_gone");
        }
        let removed = self.engine.index.clear(&sync.collection, &sync.connection).await.map_err(Error::internal)?;
        failpoint::reach("removal.cleared");
        self.engine.store.lift_hold(&sync.connection).await?;
        failpoint::reach("removal.hold_lifted");
        if sync.kind == JobKind::Purge {
            self.engine.store.finish_delete(&sync.connection).await?;
            failpoint::reach("removal.row_gone");
        }
        Ok(removed)
    }

    async fn sync(&self, lease: &Lease, stop: watch::Receiver<Option<Stop>>) -> Left {
        let sync = &lease.sync;
        let prepared = async {
            let connection = self
                .engine
                .store
                .connection(&sync.connection)
                .await?
                .ok_or_else(|| Error::not_found("sourceConnection", sync.connection.as_str()))?;
            let session = self.sessions.open(&connection).await?;
            let salt = self.sessions.salt(&connection)?;
            Ok::<_, Error>((connection, session, salt))
        };
        let (connection, session, salt) = match prepared.await {
            Ok(prepared) => prepared,
            // A store or the keeper of the keys is away: nothing is wrong with the sync.
            Err(error) if error.reason() == Reason::Unavailable => {
                log_cause(&error);
                return Left::waiting(sync, None, self.backoff.least, error.message());
            }
            Err(error) => {
                log_cause(&error);
                return Left::failed(sync, error.reason(), error.message());
            }
        };
        let target = target_of(&connection);
        let mut pass = Pass::new(&self.engine, lease, session, target, salt, stop);
        let result = pass.run().await;
        let standing = pass.standing();
        match result {
            Ok(()) => Left::succeeded(standing),
            Err(error) => leave(sync, standing, error, self.backoff),
        }
    }
}

/// Runs `count` workers for syncs and one for clears and purges, so that these
/// never wait behind a long sync.
pub fn spawn(workshop: &Workshop, count: usize, stop: &CancellationToken) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    for _ in 0..count.max(1) {
        workers.spawn(workshop.clone().work(&[JobKind::Sync], stop.clone()));
    }
    workers.spawn(workshop.clone().work(&[JobKind::Clear, JobKind::Purge], stop.clone()));
    workers
}

/// Where a connection's documents live.
pub fn target_of(connection: &Connection) -> Target {
    Target {
        collection: connection.collection.clone(),
        connection: connection.id.clone(),
        source: connection.source.clone(),
    }
}

/// How a job is left.
struct Left {
    finish: Finish,
    lease_lost: bool,
}

impl Left {
    fn with(outcome: FinishOutcome, standing: Standing) -> Self {
        let Standing { counters, progress, checkpoint, marks, warnings: _ } = standing;
        Self {
            finish: Finish {
                outcome,
                counters,
                progress: serde_json::to_value(progress).unwrap_or_default(),
                checkpoint: serde_json::to_value(checkpoint).ok(),
                marks,
                login_refused: false,
            },
            lease_lost: false,
        }
    }

    /// The job's own numbers stay as they are.
    fn unchanged(sync: &Sync, outcome: FinishOutcome) -> Self {
        Self {
            finish: Finish {
                outcome,
                counters: sync.counters,
                progress: sync.progress.clone(),
                checkpoint: None,
                marks: Vec::new(),
                login_refused: false,
            },
            lease_lost: false,
        }
    }

    fn succeeded(standing: Standing) -> Self {
        let warnings = serde_json::to_value(&standing.warnings).unwrap_or_default();
        Self::with(FinishOutcome::Succeeded { warnings }, standing)
    }

    fn removed(sync: &Sync, removed: u64) -> Self {
        let mut left = Self::unchanged(sync, FinishOutcome::Succeeded { warnings: serde_json::json!([]) });
        left.finish.counters.deleted = i64::try_from(removed).unwrap_or(i64::MAX);
        left
    }

    fn failed(sync: &Sync, reason: Reason, message: &str) -> Self {
        let outcome = FinishOutcome::Failed { reason: reason.name().to_owned(), message: message.to_owned() };
        Self::unchanged(sync, outcome)
    }

    fn waiting(sync: &Sync, standing: Option<Standing>, wait: Duration, reason: &str) -> Self {
        let outcome = FinishOutcome::Waiting {
            until_ms_from_now: i64::try_from(wait.as_millis()).unwrap_or(i64::MAX),
            reason: reason.to_owned(),
        };
        match standing {
            Some(standing) => Self::with(outcome, standing),
            None => Self::unchanged(sync, outcome),
        }
    }
}

/// What an error means for the job.
fn leave(sync: &Sync, mut standing: Standing, error: PassError, backoff: Backoff) -> Left {
    match error {
        PassError::Stopped(Stop::Cancelled) => Left::with(FinishOutcome::Cancelled, standing),
        PassError::Stopped(Stop::Shutdown) => Left::with(FinishOutcome::HandBack, standing),
        PassError::Stopped(Stop::LeaseLost) => {
            let mut left = Left::with(FinishOutcome::HandBack, standing);
            left.lease_lost = true;
            left
        }
        PassError::Source(ConnectorError::Throttled { retry_after }) => {
            Left::waiting(sync, Some(standing), retry_after, "the source asks to wait")
        }
        PassError::Source(error) if is_transient(&error) => {
            if made_progress(sync, &standing.checkpoint) {
                standing.checkpoint.retries = 0;
            }
            standing.checkpoint.retries += 1;
            if standing.checkpoint.retries > MOST_RETRIES {
                let error = source_error(error);
                log_cause(&error);
                return failed(standing, error.reason(), error.message());
            }
            warn!(
                error = &error as &dyn std::error::Error,
                retries = standing.checkpoint.retries,
                "trying again later"
            );
            let wait = backoff.after(standing.checkpoint.retries);
            let reason = format!("{error}; trying again");
            Left::waiting(sync, Some(standing), wait, &reason)
        }
        PassError::Source(error) => {
            let login_refused = matches!(error, ConnectorError::LoginRefused(_));
            let error = source_error(error);
            log_cause(&error);
            let mut left = failed(standing, error.reason(), error.message());
            left.finish.login_refused = login_refused;
            left
        }
        PassError::Index(error @ IndexError::StorageFull(_)) => {
            warn!(error = &error as &dyn std::error::Error, "storage is full");
            Left::waiting(sync, Some(standing), STORAGE_WAIT, "storage_full: the server's disk is full")
        }
        PassError::Index(IndexError::Superseded) => {
            let mut left = Left::with(FinishOutcome::HandBack, standing);
            left.lease_lost = true;
            left
        }
        PassError::Index(error) => {
            error!(error = &error as &dyn std::error::Error, "the index failed");
            failed(standing, Reason::Internal, "the index failed; the server's log says why")
        }
        PassError::Lease(error) => {
            error!(error = &error as &dyn std::error::Error, "the store failed");
            Left::waiting(sync, Some(standing), backoff.least, "the metadata store did not answer")
        }
        PassError::Failed(error) => {
            log_cause(&error);
            failed(standing, error.reason(), error.message())
        }
    }
}

fn failed(standing: Standing, reason: Reason, message: &str) -> Left {
    let outcome = FinishOutcome::Failed { reason: reason.name().to_owned(), message: message.to_owned() };
    Left::with(outcome, standing)
}

fn is_transient(error: &ConnectorError) -> bool {
    match error {
        ConnectorError::Unreachable { code, .. } => matches!(*code, "unreachable" | "timed_out"),
        ConnectorError::Unexpected(_) | ConnectorError::Throttled { .. } => true,
        ConnectorError::LoginRefused(_)
        | ConnectorError::Invalid { .. }
        | ConnectorError::Forbidden { .. }
        | ConnectorError::Stopped(_) => false,
    }
}

/// A sync that gets further between failures may go on for as long as it does.
fn made_progress(sync: &Sync, now: &Checkpoint) -> bool {
    let before: Checkpoint = serde_json::from_value(sync.checkpoint.clone()).unwrap_or_default();
    let written = |checkpoint: &Checkpoint| -> i64 {
        checkpoint.tallies.values().map(|tally| tally.inserted + tally.updated).sum()
    };
    now.finished.len() > before.finished.len() || now.positions != before.positions || written(now) > written(&before)
}

/// The private cause is logged where the error stops travelling.
fn log_cause(error: &Error) {
    warn!(reason = error.reason().name(), error = error as &dyn std::error::Error, "the job cannot go on");
}

/// The progress document of a row.
pub fn progress_of(sync: &Sync) -> Progress {
    serde_json::from_value(sync.progress.clone()).unwrap_or_default()
}
