//! Syncs: starting, cancelling, watching and scheduling them, and the other jobs
//! that take a connection's one slot (clear, purge).
//!
//! The row of a job is the truth; [`events`] only says when to look again. So a
//! watcher that comes late, reconnects, or asks another node sees the same.

pub mod batch;
pub mod engine;
pub mod events;
pub mod follow;
mod looks;
pub mod plan;
pub mod progress;
pub mod push;
pub mod refill;
pub mod schedule;
pub mod scheduler;
pub mod sessions;
pub mod watch;
pub mod worker;

use std::sync::Arc;
use std::time::Duration;

use crate::connectors::erased::Session;
use crate::disk::Disk;
use crate::error::{Error, Reason};
use crate::ids::{CollectionId, ConnectionId, SyncId};
use crate::index::Index;
use crate::store::connections::Connection;
use crate::store::idempotency::Completion;
use crate::store::queue::{CancelError, EnqueueError, NewSync};
use crate::store::syncs::{JobKind, Sync, Trigger};
use crate::store::{Store, StoreError};
use crate::telemetry::trace_context;

use events::Events;
use follow::Posts;
use looks::Looks;
use push::Lanes;
use sessions::Sessions;

/// How long a caller waits for a clear or a purge; the rest goes on without it.
const REMOVAL_WAIT: Duration = Duration::from_secs(30);

/// Starts, stops and follows jobs.
#[derive(Clone)]
pub struct Syncs {
    store: Store,
    index: Arc<dyn Index>,
    sessions: Sessions,
    events: Events,
    looks: Looks,
    posts: Posts,
    lanes: Lanes,
    disk: Arc<Disk>,
}

impl Syncs {
    /// Jobs of this store, working on this index.
    pub fn new(store: Store, index: Arc<dyn Index>, sessions: Sessions, events: Events, disk: Arc<Disk>) -> Self {
        let (looks, posts, lanes) = (Looks::default(), Posts::default(), Lanes::default());
        Self { store, index, sessions, events, looks, posts, lanes, disk }
    }

    /// The disk that everything is kept on.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Starts a sync. Of many calls at once, one succeeds.
    pub async fn run(
        &self,
        connection: &ConnectionId,
        trigger: Trigger,
        full: bool,
        release_deletions: bool,
        id: SyncId,
        completes: Option<Completion>,
    ) -> Result<SyncId, Error> {
        self.disk.require_room()?;
        let new = NewSync {
            id,
            connection: connection.clone(),
            kind: JobKind::Sync,
            trigger,
            full,
            release_deletions,
            traceparent: current_trace(),
            completes,
        };
        let sync = self.enqueue(&new).await?;
        metrics::counter!("tributary_syncs_started_total").increment(1);
        Ok(sync.id)
    }

    /// Asks a sync to stop.
    pub async fn cancel(&self, id: &SyncId) -> Result<Sync, Error> {
        let sync = self.store.request_cancel(id).await.map_err(|error| match error {
            CancelError::NotFound => Error::not_found("sync", id.as_str()),
            CancelError::NotRunning => {
                Error::new(Reason::SyncNotRunning, format!("sync `{id}` has ended")).with("syncId", id.as_str())
            }
            CancelError::Store(error) => error.into(),
        })?;
        self.events.cancel(id);
        self.events.changed(id, sync.sequence);
        Ok(sync)
    }

    /// Removes a connection's documents and keeps the connection.
    pub async fn clear(&self, connection: &ConnectionId) -> Result<(), Error> {
        let id = SyncId::mint();
        let new = NewSync {
            id: id.clone(),
            connection: connection.clone(),
            kind: JobKind::Clear,
            trigger: Trigger::Manual,
            full: false,
            release_deletions: false,
            traceparent: current_trace(),
            completes: None,
        };
        self.enqueue(&new).await?;
        self.wait_for_end(&id).await
    }

    /// Waits for the end of a clear or purge, at most 30 s; the rest goes on.
    pub async fn wait_for_end(&self, id: &SyncId) -> Result<(), Error> {
        self.events.work();
        let ended = async {
            let mut changes = self.events.subscribe(id);
            loop {
                // A purge takes its job's row with the connection's.
                match self.store.sync(id).await? {
                    Some(sync) if sync.state.is_active() => {}
                    _ => return Ok::<_, StoreError>(()),
                }
                let _ = tokio::time::timeout(Duration::from_secs(1), changes.changed()).await;
            }
        };
        match tokio::time::timeout(REMOVAL_WAIT, ended).await {
            Ok(ended) => Ok(ended?),
            Err(_still_going_on) => Ok(()),
        }
    }

    /// Clears each connection of a collection and what removed ones left.
    pub async fn clear_collection(&self, collection: &CollectionId, connections: &[ConnectionId]) -> Result<(), Error> {
        if let Some(job) = self.store.active_jobs(connections).await?.into_values().next() {
            return Err(busy(&job.connection, &job.id, job.kind));
        }
        for connection in connections {
            self.clear(connection).await?;
        }
        self.index.clear_collection(collection).await.map_err(Error::internal)?;
        // One that was cleared first may have been in step again by now.
        Ok(self.store.put_out_of_step(connections).await?)
    }

    /// A session with what is stored for the connection.
    pub async fn session(&self, connection: &Connection) -> Result<Arc<dyn Session>, Error> {
        self.sessions.open(connection).await
    }

    /// Opens sessions, also with settings that are not stored.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    async fn enqueue(&self, new: &NewSync) -> Result<Sync, Error> {
        let sync = self.store.enqueue(new).await.map_err(|error| match error {
            EnqueueError::NotFound => Error::not_found("sourceConnection", new.connection.as_str()),
            EnqueueError::Deleting => {
                Error::new(Reason::SyncInProgress, format!("connection `{}` is being deleted", new.connection))
                    .with("operation", "delete")
            }
            EnqueueError::Busy { id, kind } => busy(&new.connection, &id, kind),
            EnqueueError::Store(error) => error.into(),
        })?;
        self.events.work();
        Ok(sync)
    }
}

fn current_trace() -> Option<String> {
    trace_context::traceparent(&tracing::Span::current())
}

/// The 409 of a connection whose one slot is taken.
pub fn busy(connection: &ConnectionId, id: &SyncId, kind: JobKind) -> Error {
    let (what, operation) = match kind {
        JobKind::Sync => ("a sync of it is on its way", None),
        JobKind::Clear => ("its data is being cleared", Some("clear")),
        JobKind::Purge => ("it is being deleted", Some("delete")),
    };
    let error = Error::new(Reason::SyncInProgress, format!("connection `{connection}` cannot be changed now: {what}"));
    match operation {
        None => error.with("syncId", id.as_str()),
        Some(operation) => error.with("operation", operation),
    }
}
