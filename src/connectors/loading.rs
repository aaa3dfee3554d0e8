//! From raw records to documents. Where a listing gave only names and versions, the
//! content is brought first: of what is new or changed alone, a few records at
//! once, within a number of bytes that everything in the process shares.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::erased::Session;
use super::{ConnectorError, RecordError};
use crate::record::{Document, RawRecord};

/// Records of one batch whose content is on its way at once.
const AT_ONCE: usize = 4;
/// What is counted: a record takes one of these at least.
const UNIT: u64 = 16 * 1024;

/// Why the content of a record was not brought.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// This one cannot be had: it is gone, or not any more what was listed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The source fails, so that no other could be had either. The pass ends, to
    /// go on later, and no record is counted as failed.
    #[error(transparent)]
    Source(#[from] ConnectorError),
}

/// Bytes that content on its way may take, of all sessions together.
#[derive(Debug, Clone)]
pub struct Budget {
    room: Arc<Semaphore>,
    units: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(128 * 1024 * 1024)
    }
}

impl Budget {
    /// Room for so many bytes.
    pub fn of(bytes: u64) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
        Self { room: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Waits until there is room. What is larger than all the room takes all of it,
    /// and so comes alone.
    pub async fn reserve(&self, bytes: u64) -> Reserved {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.units);
        // It is never closed.
        Reserved { _permit: self.room.clone().acquire_many_owned(units).await.ok() }
    }
}

/// Room for content; given back when dropped.
#[derive(Debug)]
pub struct Reserved {
    _permit: Option<OwnedSemaphorePermit>,
}

/// A record, its payload dropped, and what it became.
pub type Decoded = (RawRecord, Result<Document, RecordError>);

/// True when content has to be brought for any of the records.
pub fn is_needed(session: &dyn Session, shape: &(dyn Any + Send + Sync), records: &[RawRecord]) -> bool {
    records.iter().any(|record| session.content_size(shape, record).is_some())
}

/// The documents of one batch, in its order. Where this is dropped, nothing is
/// brought any more.
pub async fn documents(
    session: &Arc<dyn Session>,
    object: &Arc<str>,
    shape: &Arc<dyn Any + Send + Sync>,
    records: Vec<RawRecord>,
) -> Result<Vec<Decoded>, ConnectorError> {
    let batch = Arc::new(Shared { session: session.clone(), object: object.clone(), shape: shape.clone() });
    if !is_needed(&**session, &**shape, &records) {
        let decode_all = move || records.into_iter().map(|record| batch.decode(record)).collect();
        return tokio::task::spawn_blocking(decode_all).await.map_err(|error| ConnectorError::Unexpected(error.into()));
    }
    // Room is taken one after the other: whoever waits for it has nobody behind it
    // in its batch that has some already, so that two batches cannot wait for each
    // other.
    let with_room = stream::iter(records).then({
        let batch = batch.clone();
        move |record| batch.clone().reserve(record)
    });
    let loads = with_room.map(move |(record, room)| batch.clone().load(record, room));
    loads.buffered(AT_ONCE).try_collect().await
}

/// What the records of a batch have in common.
struct Shared {
    session: Arc<dyn Session>,
    object: Arc<str>,
    shape: Arc<dyn Any + Send + Sync>,
}

impl Shared {
    async fn reserve(self: Arc<Self>, record: RawRecord) -> (RawRecord, Option<Reserved>) {
        match self.session.content_size(&*self.shape, &record) {
            Some(bytes) => {
                let room = self.session.budget().reserve(bytes).await;
                (record, Some(room))
            }
            None => (record, None),
        }
    }

    /// Brings the content, if there is room for any, and decodes it.
    async fn load(self: Arc<Self>, record: RawRecord, room: Option<Reserved>) -> Result<Decoded, ConnectorError> {
        let bare = RawRecord { payload: Bytes::new(), ..record.clone() };
        let record = match room {
            Some(_) => {
                let loaded = self.session.load(&self.object, &*self.shape, record);
                match AssertUnwindSafe(loaded).catch_unwind().await {
                    Ok(Ok(record)) => record,
                    Ok(Err(LoadError::Record(error))) => return Ok((bare, Err(error))),
                    Ok(Err(LoadError::Source(error))) => return Err(error),
                    Err(_panic) => return Ok((bare, Err(given_up()))),
                }
            }
            None => record,
        };
        let decode = move || {
            let decoded = self.decode(record);
            // Until here the content was in memory.
            drop(room);
            decoded
        };
        tokio::task::spawn_blocking(decode).await.map_err(|error| ConnectorError::Unexpected(error.into()))
    }

    /// Decodes one record; a panic in a decoder costs that record.
    fn decode(&self, record: RawRecord) -> Decoded {
        let decoded = AssertUnwindSafe(|| self.session.decode(&self.object, &*self.shape, &record));
        let document = std::panic::catch_unwind(decoded).unwrap_or_else(|_panic| Err(given_up()));
        (RawRecord { payload: Bytes::new(), ..record }, document)
    }
}

fn given_up() -> RecordError {
    RecordError { code: "undecodable", message: "the decoder gave up on it".to_owned() }
}

#[cfg(test)]
mod tests;
