//! The stream of changes: reads it, answers the server's signs of life, and
//! passes on which rows changed.
//!
//! It runs beside the reading of rows, so that the server always hears from us;
//! the server is told of a place only once everything before it is kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::pgoutput::{self, Decoded, Field, Lsn, Piece, Relation, Tuple};
use super::tables::Tables;
use super::wire::Wire;
use crate::connectors::ConnectorError;
use crate::connectors::following::FollowEnd;
use crate::connectors::following::gathering::{self, LONGEST_KEY, RowKey};
use crate::connectors::postgresql::failure::Failure;
use crate::connectors::postgresql::guard::is_cut;
use crate::connectors::reading::Stopped;

/// How often the server hears from us without having asked.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// A server that was silent for so long is asked whether it is there, and one
/// that was silent for twice that is gone.
const SILENCE: Duration = Duration::from_secs(30);

/// What the stream says.
pub(super) type Event = gathering::Event<u32, Lsn>;

/// The stream.
pub(super) struct Stream {
    wire: Wire,
    tables: Arc<Tables>,
    relations: HashMap<u32, Known>,
    events: mpsc::Sender<Event>,
    kept: watch::Receiver<Lsn>,
    in_transaction: bool,
}

/// What a relation of the stream is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    /// A table, with where the columns of its key are.
    Keyed { table: usize, positions: Vec<usize> },
    /// A table of which rows cannot be told apart by what is sent.
    Unkeyed { table: usize },
}

impl Stream {
    /// A stream that has begun.
    pub(super) fn new(
        wire: Wire,
        tables: Arc<Tables>,
        events: mpsc::Sender<Event>,
        kept: watch::Receiver<Lsn>,
    ) -> Self {
        Self { wire, tables, relations: HashMap::new(), events, kept, in_transaction: false }
    }

    /// Reads until the stream or the interest in it ends.
    pub(super) async fn run(mut self) -> Result<FollowEnd, ConnectorError> {
        let mut status = tokio::time::interval(STATUS_EVERY);
        status.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let events = self.events.clone();
        loop {
            tokio::select! {
                // Read only while there is room for what it says, which keeps
                // memory bounded; the server waits.
                (piece, room) = async {
                    let room = events.reserve().await;
                    (self.wire.next().await, room)
                } => {
                    let Ok(room) = room else { return Err(ConnectorError::Stopped(Stopped)) };
                    drop(room);
                    let piece = piece.map_err(Failure::into_error)?;
                    self.take(piece).await?;
                    heard = Instant::now();
                }
                changed = self.kept.changed() => {
                    if changed.is_err() {
                        return Err(ConnectorError::Stopped(Stopped));
                    }
                    self.tell(false).await?;
                }
                _ = status.tick() => {
                    // While nothing is read, nothing can be heard.
                    if events.capacity() == 0 {
                        heard = Instant::now();
                    }
                    if heard.elapsed() > SILENCE * 2 {
                        return Err(ConnectorError::Unreachable { code: "timed_out", cause: None });
                    }
                    self.tell(heard.elapsed() > SILENCE).await?;
                }
            }
        }
    }

    async fn take(&mut self, piece: Bytes) -> Result<(), ConnectorError> {
        match pgoutput::piece(piece).map_err(malformed)? {
            Piece::Data(data) if is_cut(&data) => self.pass_on_cut(&data).await,
            Piece::Data(data) => {
                let decoded = pgoutput::decode(data).map_err(malformed)?;
                self.pass_on(decoded).await
            }
            Piece::Alive { reached, wants_reply } => {
                if wants_reply {
                    self.tell(false).await?;
                }
                // In the middle of a transaction it is not yet reached.
                if self.in_transaction {
                    Ok(())
                } else {
                    self.send(Event::Reached { place: reached, at_micros: None }).await
                }
            }
        }
    }

    /// Of a change that is larger than a row may be, the beginning.
    async fn pass_on_cut(&mut self, data: &[u8]) -> Result<(), ConnectorError> {
        if !matches!(data.first(), Some(b'I' | b'U' | b'D')) {
            return Err(malformed(pgoutput::Malformed));
        }
        warn!("a change is larger than a row may be, so a sync has to look what it was");
        self.send(Event::Untold).await
    }

    async fn pass_on(&mut self, decoded: Decoded) -> Result<(), ConnectorError> {
        match decoded {
            Decoded::Begin { transaction } => {
                self.in_transaction = true;
                self.send(Event::Transaction(transaction)).await
            }
            Decoded::Commit { end, at_micros } => {
                self.in_transaction = false;
                self.send(Event::Reached { place: end, at_micros: Some(at_micros) }).await
            }
            Decoded::Relation(relation) => {
                // Only what is selected is kept, however many the server tells of.
                match self.recognize(&relation) {
                    Some(known) => self.relations.insert(relation.id, known),
                    None => self.relations.remove(&relation.id),
                };
                Ok(())
            }
            Decoded::Insert { relation, new } => self.row(relation, &[&new]).await,
            Decoded::Update { relation, old: None, new } => self.row(relation, &[&new]).await,
            Decoded::Update { relation, old: Some(old), new } => self.row(relation, &[&old, &new]).await,
            Decoded::Delete { relation, old } => self.row(relation, &[&old]).await,
            Decoded::Truncate { relations } => {
                for relation in relations {
                    if let Some(Known::Keyed { table, .. } | Known::Unkeyed { table }) = self.relations.get(&relation) {
                        let table = *table;
                        self.send(Event::Emptied { table }).await?;
                    }
                }
                Ok(())
            }
            Decoded::Other => Ok(()),
        }
    }

    /// None of what is not selected.
    fn recognize(&self, relation: &Relation) -> Option<Known> {
        let (table, key) = self.tables.by_id(relation.id)?;
        let position =
            |name: &String| relation.columns.iter().position(|column| column.identifies && column.name == *name);
        Some(match key.iter().map(position).collect::<Option<Vec<usize>>>() {
            Some(positions) if !positions.is_empty() => Known::Keyed { table, positions },
            Some(_) | None => Known::Unkeyed { table },
        })
    }

    /// Both keys of a row whose key changed; either may be the same row's.
    async fn row(&mut self, relation: u32, tuples: &[&Tuple]) -> Result<(), ConnectorError> {
        let events = match self.relations.get(&relation) {
            Some(Known::Keyed { table, positions }) => {
                let table = *table;
                let keys = tuples.iter().enumerate().map(|(number, tuple)| {
                    // What is not sent of a new key is what it is in the old.
                    let old = (number > 0).then(|| tuples[0]);
                    key_of(tuple, old, positions)
                });
                keys.map(|key| key.map_or(Event::Untold, |key| Event::Row { table, key })).collect()
            }
            Some(Known::Unkeyed { .. }) => vec![Event::Untold],
            None => Vec::new(),
        };
        for event in events {
            self.send(event).await?;
        }
        Ok(())
    }

    /// Passes an event on. While the other end is busy, the server still hears
    /// from us.
    async fn send(&mut self, event: Event) -> Result<(), ConnectorError> {
        let events = self.events.clone();
        let mut status = tokio::time::interval(STATUS_EVERY);
        status.reset();
        let room = loop {
            tokio::select! {
                room = events.reserve() => break room,
                _ = status.tick() => self.tell(false).await?,
            }
        };
        room.map_err(|_| ConnectorError::Stopped(Stopped))?.send(event);
        Ok(())
    }

    async fn tell(&mut self, wants_reply: bool) -> Result<(), ConnectorError> {
        let kept = *self.kept.borrow_and_update();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        self.wire.reply(&pgoutput::status(kept, now, wants_reply)).await.map_err(Failure::into_error)
    }
}

fn malformed(_: pgoutput::Malformed) -> ConnectorError {
    Failure::broken("the server sent changes that cannot be read").into_error()
}

fn key_of(tuple: &Tuple, old: Option<&Tuple>, positions: &[usize]) -> Option<RowKey> {
    let text = |position: &usize| match tuple.get(*position)? {
        Field::Text(text) => Some(text),
        Field::Unsent => match old?.get(*position)? {
            Field::Text(text) => Some(text),
            Field::Unsent | Field::Null => None,
        },
        Field::Null => None,
    };
    let texts: Vec<&Bytes> = positions.iter().map(text).collect::<Option<_>>()?;
    if texts.iter().map(|text| text.len()).sum::<usize>() > LONGEST_KEY {
        return None;
    }
    texts.into_iter().map(|text| String::from_utf8(text.to_vec()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_whole_and_no_longer_than_an_index_takes() {
        let text = |length: usize| Field::Text(Bytes::from(vec![b'x'; length]));
        let key = |tuple: Tuple, old: Option<Tuple>| key_of(&tuple, old.as_ref(), &[1, 0]);
        assert_eq!(key(vec![text(1), text(2)], None), Some(vec!["xx".to_owned(), "x".to_owned()]));
        assert_eq!(key(vec![Field::Unsent, text(2)], Some(vec![text(1), text(9)])).unwrap()[1], "x");
        assert_eq!(key(vec![Field::Unsent, text(2)], None), None);
        assert_eq!(key(vec![Field::Null, text(2)], None), None);
        assert_eq!(key(vec![text(2)], None), None);
        assert!(key(vec![text(LONGEST_KEY - 1), text(1)], None).is_some());
        assert!(key(vec![text(LONGEST_KEY), text(1)], None).is_none());
    }
}
