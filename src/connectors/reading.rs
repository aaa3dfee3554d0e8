//! What a connector says while it reads, and what it is told before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::ConnectorError;
use crate::record::Batch;

/// Part of a source that is read to an end by itself: a table, a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Path of the object.
    pub object: Arc<str>,
    /// How many records it has, if cheap to know.
    pub estimate: Option<u64>,
}

/// What a connector says while it reads. The order for one object is: `Started`,
/// any number of batches, then `Complete` or `Failed`; or `Unmoved` alone. Several
/// objects may be on their way at once.
pub enum Message {
    /// Which objects this pass will read; sent once, first, after the listing was
    /// read to its end without error. What the index has beyond them is gone at
    /// the source, or out of scope by config.
    Objects(Vec<Scope>),
    /// An object begins.
    Started(Scope),
    /// Records. Each key comes once while an object is read.
    Batch(Batch),
    /// Records that are there and as the index has them, by their keys.
    Present {
        /// Object.
        object: Arc<str>,
        /// Canonical keys.
        source_keys: Vec<String>,
    },
    /// Asks what has become of the object so far.
    Ask {
        /// Object.
        object: Arc<str>,
        /// Where the answer goes.
        answer: oneshot::Sender<Reached>,
    },
    /// The whole object is proved to be as it was when its mark was made.
    Unmoved {
        /// The object.
        object: Arc<str>,
        /// How many records it has.
        records: u64,
        /// Mark that takes the place of the other.
        mark: Value,
    },
    /// A record that could not be read; the rest goes on. The engine keeps its
    /// document as it is.
    RecordFailed {
        /// Object.
        object: Arc<str>,
        /// Canonical key.
        source_key: String,
        /// Machine-readable cause.
        code: &'static str,
        /// For people; never a value.
        message: String,
    },
    /// The object was read to its end without error.
    Complete {
        /// Object.
        object: Arc<str>,
        /// Rows that the source says the object has, counted in the same
        /// snapshot, if it can say so cheaply.
        counted: Option<u64>,
        /// What is known of the records that were not met.
        rest: Rest,
        /// What the connector wants to know the next time; see [`Known`].
        mark: Option<Value>,
    },
    /// The object could not be read to its end; the others go on.
    Failed {
        /// Object.
        object: Arc<str>,
        /// Machine-readable cause: `permission_missing`, `key_changed`, ...
        code: &'static str,
        /// For people, without anything that the source sent.
        message: String,
    },
    /// The source asks for patience.
    Waiting {
        /// Until when.
        until: SystemTime,
        /// Why, for people.
        reason: String,
    },
}

/// What is known, at the end of an object, of the records that were not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// All there is was read: they are gone at the source.
    Gone,
    /// They are gone at the source, since all keys were listed; but of what was met
    /// by its key alone, the content was not compared.
    Listed,
    /// They are there, proved to be as the index has them.
    Unmoved,
    /// Nothing; they stay as they are. Only changes were asked for.
    Unknown,
}

/// What has become of an object so far: see [`Message::Ask`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reached {
    /// Records that the index had when the object began.
    pub known: u64,
    /// Records met that it did not have.
    pub new: u64,
}

/// What a connector left of an object when it was last brought in line, given
/// back only where the index still has, record by record, what it had then, and
/// where config and mapping are the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// What the connector said.
    pub mark: Value,
    /// Records that the index has of the object.
    pub records: u64,
    /// When the object was last read whole or proved unmoved: milliseconds since
    /// 1970 UTC.
    pub proved_at: i64,
}

/// The receiving side went away: the sync was cancelled or lost its lease.
#[derive(Debug, thiserror::Error)]
#[error("the reader of this source has stopped")]
pub struct Stopped;

/// Where a connector sends its messages. Bounded: `send` waits while the engine
/// is busy.
#[derive(Clone)]
pub struct Output(mpsc::Sender<Message>);

impl Output {
    /// An output and its other end, with room for `capacity` messages.
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self(sender), receiver)
    }

    /// Sends one message; waits while the other end is busy.
    pub async fn send(&self, message: Message) -> Result<(), ConnectorError> {
        self.0.send(message).await.map_err(|_| ConnectorError::Stopped(Stopped))
    }

    /// The same from a blocking thread.
    pub fn blocking_send(&self, message: Message) -> Result<(), ConnectorError> {
        self.0.blocking_send(message).map_err(|_| ConnectorError::Stopped(Stopped))
    }

    /// Asks what has become of an object so far, once all that was sent for it is
    /// applied.
    pub async fn ask(&self, object: &Arc<str>) -> Result<Reached, ConnectorError> {
        let (answer, answered) = oneshot::channel();
        self.send(Message::Ask { object: object.clone(), answer }).await?;
        answered.await.map_err(|_| ConnectorError::Stopped(Stopped))
    }

    /// The same from a blocking thread.
    pub fn blocking_ask(&self, object: &Arc<str>) -> Result<Reached, ConnectorError> {
        let (answer, answered) = oneshot::channel();
        self.blocking_send(Message::Ask { object: object.clone(), answer })?;
        answered.blocking_recv().map_err(|_| ConnectorError::Stopped(Stopped))
    }

    /// Waits until the other end is gone, so that work which sends nothing for a
    /// long time can be stopped too.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

/// What a pass reads.
#[derive(Debug, Clone, Default)]
pub struct ReadRequest {
    /// Objects that an earlier attempt of this sync finished: listed, not read.
    pub finished: Vec<String>,
    /// Given when the index had nothing of the connection before this sync: then
    /// the batches may say where a later attempt can go on, and here is where the
    /// earlier one left the objects that it did not finish, [`Batch::position`]
    /// of the last batch that is in the index.
    pub positions: Option<BTreeMap<String, Value>>,
    /// What earlier syncs left of the objects. None when everything is to be
    /// read again.
    pub known: BTreeMap<String, Known>,
    /// Most objects and records wanted, for a test (`1` row an object); none
    /// means all.
    pub sample: Option<u64>,
}
