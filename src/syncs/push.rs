//! Documents that callers bring. The same diff as a sync's: a fingerprint that the
//! index has already costs nothing more.
//!
//! A push is no job: many may go on at once, and each is over before its caller is
//! answered. Those on one connection take turns in its [`lane`]. A job (a clear, the
//! end of the connection) takes the right to write away, as everywhere: see
//! [`Epoch`](crate::index::Epoch).

mod diff;
mod lane;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tracing::Instrument;

use super::Syncs;
use super::worker::target_of;
use crate::connectors::RecordError;
use crate::connectors::push::PushedDocument;
use crate::error::{Error, Reason};
use crate::ids::ConnectionId;
use crate::index::IndexError;
use crate::record::Key;
use crate::store::connections::{AuthState, Connection, Outcome};

use lane::Lane;

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "nearly all operations bring a document")]
pub enum Operation {
    /// Puts a document in the place of whatever its id has.
    Put(PushedDocument),
    /// Deletes a document.
    Delete {
        /// Its object.
        object: String,
        /// Its id.
        id: String,
    },
}

impl Operation {
    /// Object and id.
    pub fn name(&self) -> (&str, &str) {
        match self {
            Self::Put(document) => (&document.object, &document.id),
            Self::Delete { object, id } => (object, id),
        }
    }

    /// The key of the document.
    pub fn key(&self, connection: &ConnectionId) -> Key {
        let (object, id) = self.name();
        Key::of(connection, object, id.as_bytes())
    }

    /// Roughly what it takes in memory, in bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Put(document) => document.size(),
            Self::Delete { .. } => 256,
        }
    }
}

/// What became of documents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// New in the index.
    pub inserted: u64,
    /// Changed in the index.
    pub updated: u64,
    /// The same as before.
    pub unchanged: u64,
    /// Deleted.
    pub deleted: u64,
    /// To be deleted, and not there.
    pub missing: u64,
    /// Not taken in.
    pub failed: u64,
}

impl Counts {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            inserted: self.inserted + other.inserted,
            updated: self.updated + other.updated,
            unchanged: self.unchanged + other.unchanged,
            deleted: self.deleted + other.deleted,
            missing: self.missing + other.missing,
            failed: self.failed + other.failed,
        }
    }
}

/// A document that was not taken in.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Its place among the operations, from 0.
    pub position: usize,
    /// Its object.
    pub object: String,
    /// Its id.
    pub id: String,
    /// Why.
    pub error: RecordError,
}

/// What became of the operations of one call.
#[derive(Debug, Default)]
pub struct Written {
    /// How many of what.
    pub counts: Counts,
    /// What was not taken in.
    pub failures: Vec<Failure>,
}

/// What is in the index, and not yet known to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    era: u64,
    number: u64,
}

/// What a replacement did with the documents that did not come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rest {
    /// Deleted.
    pub deleted: u64,
    /// Kept, since they are so many.
    pub held: u64,
}

/// The lanes in use, by connection.
#[derive(Clone, Default)]
pub(super) struct Lanes(Arc<Mutex<HashMap<ConnectionId, Weak<Lane>>>>);

impl Lanes {
    fn of(&self, connection: &ConnectionId) -> Arc<Lane> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(connection).and_then(Weak::upgrade) {
            return lane;
        }
        lanes.retain(|_, lane| lane.strong_count() > 0);
        let lane = Arc::new(Lane::default());
        lanes.insert(connection.clone(), Arc::downgrade(&lane));
        lane
    }
}

/// The pushes of one caller to one connection. While it is kept, the connection's lane
/// is.
pub struct Pusher {
    syncs: Syncs,
    connection: Connection,
    lane: Arc<Lane>,
}

impl Syncs {
    /// True when documents are pushed to a source.
    pub fn takes_pushes(&self, source: &str) -> bool {
        self.sessions.takes_pushes(source)
    }

    /// Begins to push to a connection.
    pub fn pusher(&self, connection: &Connection) -> Pusher {
        let lane = self.lanes.of(&connection.id);
        Pusher { syncs: self.clone(), connection: connection.clone(), lane }
    }

    /// The objects of a connection that is pushed to, with how many documents.
    pub async fn pushed_objects(&self, connection: &Connection) -> Result<Vec<(String, u64)>, Error> {
        self.index.objects(&target_of(connection)).await.map_err(index_error)
    }

    /// Whoever pushes to a connection that goes must not write any more: what comes
    /// too late finds that it is gone.
    pub(super) async fn end_pushes(&self, connection: &Connection) -> Result<(), Error> {
        if self.takes_pushes(&connection.source) {
            self.index.begin(&target_of(connection)).await.map_err(index_error)?;
        }
        Ok(())
    }
}

impl Pusher {
    /// Does all of it, in order; durable and searchable when this returns. Each
    /// document comes once.
    pub async fn write(&self, operations: Vec<Operation>) -> Result<Written, Error> {
        let (written, ticket) = self.apply(operations).await?;
        self.settle(ticket).await?;
        Ok(written)
    }

    /// Does all of it, in order, without waiting until it is durable. Each document
    /// comes once.
    pub async fn apply(&self, operations: Vec<Operation>) -> Result<(Written, Ticket), Error> {
        self.syncs.disk.require_room()?;
        let (syncs, connection, lane) = (self.syncs.clone(), self.connection.clone(), self.lane.clone());
        let (written, ticket) = finished(async move { lane.apply(&syncs, &connection, operations).await }).await?;
        count(&written.counts);
        self.note_success().await?;
        Ok((written, ticket))
    }

    /// Waits until that is durable and searchable. It may not be where this fails.
    pub async fn settle(&self, ticket: Ticket) -> Result<(), Error> {
        let (syncs, connection, lane) = (self.syncs.clone(), self.connection.clone(), self.lane.clone());
        finished(async move { lane.settle(&syncs, &target_of(&connection), ticket).await }).await
    }

    /// Deletes what the connection has beside these keys, of one object or of all; so
    /// many that it looks like an accident only when `release` says so.
    pub async fn remove_others(
        &self,
        object: Option<String>,
        keys: HashSet<Key>,
        release: bool,
    ) -> Result<Rest, Error> {
        let (syncs, connection, lane) = (self.syncs.clone(), self.connection.clone(), self.lane.clone());
        let (rest, ticket) = finished(async move {
            let object = object.as_deref();
            lane.remove_others(&syncs, &connection, object, &keys, release).await
        })
        .await?;
        self.settle(ticket).await?;
        count(&Counts { deleted: rest.deleted, ..Counts::default() });
        Ok(rest)
    }

    /// The connection works: said once.
    async fn note_success(&self) -> Result<(), Error> {
        let Connection { id, config_version, credentials_version, outcome, .. } = &self.connection;
        if *outcome != Outcome::Succeeded {
            let noted = (AuthState::Ok, Outcome::Succeeded);
            self.syncs.store.note_outcome(id, *config_version, *credentials_version, noted.0, noted.1, None).await?;
        }
        Ok(())
    }
}

/// Comes to its end also when the caller goes away meanwhile: what is half done would
/// be half known.
async fn finished<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    tokio::spawn(work.in_current_span()).await.map_err(Error::internal)?
}

fn count(counts: &Counts) {
    let Counts { inserted, updated, unchanged, deleted, missing, failed } = *counts;
    let all = [
        ("inserted", inserted),
        ("updated", updated),
        ("unchanged", unchanged),
        ("deleted", deleted),
        ("missing", missing),
        ("failed", failed),
    ];
    for (result, number) in all {
        metrics::counter!("tributary_pushed_documents_total", "result" => result).increment(number);
    }
}

fn index_error(error: IndexError) -> Error {
    match error {
        IndexError::StorageFull(_) => {
            Error::new(Reason::StorageFull, "the disk of the server is full; nothing new is written").caused_by(error)
        }
        IndexError::Superseded => interrupted(),
        error => Error::internal(error),
    }
}

/// Something took the right to write away, or a commit failed: what was applied may be
/// there or not.
fn interrupted() -> Error {
    let message = "something else came between; what was sent may be there or not, and can be sent again";
    Error::new(Reason::Unavailable, message).retry_after(std::time::Duration::from_secs(1))
}
