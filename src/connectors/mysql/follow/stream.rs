//! The stream of changes: reads the log and passes on which rows changed.
//!
//! It runs beside the reading of rows. The server is told nothing: where we are is
//! known here alone, as the transactions that were read.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use tracing::warn;

use super::events::{self, Decoder, Deed, Malformed, Rows, Said};
use super::gtid::{Id, Position};
use super::images::{self, Field, Logged, Reader};
use super::statement::{Statement, names_any};
use super::tables::{Role, Tables};
use super::wire::{Packet, Wire};
use crate::connectors::ConnectorError;
use crate::connectors::following::FollowEnd;
use crate::connectors::following::gathering::{self, LONGEST_KEY, RowKey};
use crate::connectors::mysql::failure::Failure;
use crate::connectors::reading::Stopped;

/// Tables, and columns of all of them, that a log describes between two ends of
/// statements.
const MOST_TABLES: usize = 1024;
const MOST_COLUMNS: usize = 64 * 1024;

pub(super) const PURGED: FollowEnd = FollowEnd::OutOfStep("the server's log has not what comes next any more");
const DEFINED: FollowEnd = FollowEnd::OutOfStep("the definition of tables has changed");
const LOST: FollowEnd = FollowEnd::OutOfStep("the server's log has something that cannot be followed");

/// What the stream says.
pub(super) type Event = gathering::Event<Mark, Place>;

/// By what a transaction is recognized once others see it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// None was heard of.
    #[default]
    None,
    /// Where it stands in the log: the number of the file, and a place behind its
    /// beginning.
    Logged { file: u64, place: u64 },
    /// It is part of this set, as MySQL writes it.
    Named(String),
}

/// Up to where the log was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// How many transactions that were.
    pub(super) count: u64,
    pub(super) position: Arc<str>,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.position)
    }
}

/// A table of the log that matters.
struct Known {
    role: Role,
    /// None when the log describes another table than the catalogue.
    columns: Option<Vec<Logged>>,
}

/// A transaction under way.
struct Group {
    id: Id,
    is_alone: bool,
}

/// The stream.
pub(super) struct Stream {
    wire: Wire,
    decoder: Decoder,
    tables: Arc<Tables>,
    known: HashMap<u64, Known>,
    position: Position,
    count: u64,
    group: Option<Group>,
    /// Number of the file, and where the last event ended in it.
    file: u64,
    end: u64,
    events: mpsc::Sender<Event>,
    /// Something was defined anew that may be selected.
    is_defined: Arc<AtomicBool>,
}

impl Stream {
    /// A stream that has begun at a position.
    pub(super) fn new(
        wire: Wire,
        tables: Arc<Tables>,
        position: Position,
        events: mpsc::Sender<Event>,
        is_defined: Arc<AtomicBool>,
    ) -> Self {
        let (decoder, known) = (Decoder::default(), HashMap::new());
        Self { wire, decoder, tables, known, position, count: 0, group: None, file: 0, end: 0, events, is_defined }
    }

    /// Reads until the stream or the interest in it ends.
    pub(super) async fn run(mut self) -> Result<FollowEnd, ConnectorError> {
        loop {
            let packet = match self.wire.next().await {
                Ok(Some(packet)) => packet,
                Ok(None) => return Err(Failure::broken("the server ended the stream").into_error()),
                Err(failure) if failure.is_purged() => return Ok(PURGED),
                Err(failure) => return Err(failure.into_stream_error()),
            };
            if let Some(end) = self.take(&packet).await? {
                return Ok(end);
            }
        }
    }

    async fn take(&mut self, packet: &Packet) -> Result<Option<FollowEnd>, ConnectorError> {
        let event = self.decoder.decode(&packet.event, packet.is_cut).map_err(malformed)?;
        self.advance(event.end);
        let at_micros = i64::from(event.at) * 1_000_000;
        match event.said {
            Said::File { name } => {
                self.file = number_of_file(name).unwrap_or(0);
                self.end = 0;
            }
            Said::Group { id, is_alone } => {
                self.group = Some(Group { id, is_alone });
                let mark = match id {
                    Id::MariaDb { .. } => Mark::Logged { file: self.file, place: self.end },
                    Id::MySql { .. } => Mark::Named(name_of(id)),
                };
                self.send(gathering::Event::Transaction(mark)).await?;
            }
            Said::Statement { database, text } => return self.statement(database, text, at_micros).await,
            Said::Table { id, table } => {
                self.known.remove(&id);
                if let Some(role) = self.tables.role(table.database, table.name) {
                    let columns = self.recognized(&role, table.columns);
                    let known = self.known.values().filter_map(|known| known.columns.as_ref()).map(Vec::len);
                    if self.known.len() >= MOST_TABLES || known.sum::<usize>() > MOST_COLUMNS {
                        return Err(malformed(Malformed));
                    }
                    self.known.insert(id, Known { role, columns });
                }
            }
            Said::Rows { table, rows, is_last } => {
                self.rows(table, rows.as_ref()).await?;
                if is_last {
                    self.known.clear();
                }
            }
            Said::Commit => self.end_of_group(at_micros).await?,
            Said::Unread => {
                self.is_defined.store(true, Ordering::Relaxed);
                self.send(gathering::Event::Untold).await?;
                if self.group.as_ref().is_some_and(|group| group.is_alone) {
                    self.end_of_group(at_micros).await?;
                }
            }
            Said::Lost => return Ok(Some(LOST)),
            Said::Nothing => {}
        }
        Ok(None)
    }

    /// The log says only the lower half of where an event ends.
    fn advance(&mut self, end: u32) {
        // What a server makes up has no place.
        if end == 0 {
            return;
        }
        let upper = self.end >> 32 << 32;
        let next = upper | u64::from(end);
        self.end = if next + (1 << 31) < self.end { next + (1 << 32) } else { next };
    }

    /// What the log says of the columns, where it is what the catalogue says.
    fn recognized(&self, role: &Role, columns: Option<Vec<Logged>>) -> Option<Vec<Logged>> {
        let columns = columns?;
        let is_same = role.table.is_none_or(|table| {
            // Columns that no statement shows come last.
            let table = &self.tables.followed[table];
            (table.columns..=table.columns + 2).contains(&columns.len())
        });
        is_same.then_some(columns)
    }

    async fn statement(
        &mut self,
        database: &[u8],
        text: &[u8],
        at_micros: i64,
    ) -> Result<Option<FollowEnd>, ConnectorError> {
        match Statement::of(text) {
            Statement::Begin => {
                if let Some(group) = &mut self.group {
                    group.is_alone = false;
                }
                return Ok(None);
            }
            Statement::End => {
                self.end_of_group(at_micros).await?;
                return Ok(None);
            }
            Statement::Harmless => {}
            Statement::Data => self.send(gathering::Event::Untold).await?,
            Statement::PreparedEnds => {
                self.send(gathering::Event::Untold).await?;
                self.end_of_group(at_micros).await?;
                return Ok(None);
            }
            Statement::Emptied { database: named, table } => {
                let database = named.map_or_else(|| database.to_vec(), String::into_bytes);
                let role = self.tables.role(&database, table.as_bytes());
                // Where case does not matter, it may be written otherwise.
                let is_selected = self.tables.names.contains(&table.to_lowercase());
                match role.and_then(|role| role.table) {
                    Some(table) => self.send(gathering::Event::Emptied { table }).await?,
                    None if is_selected => self.send(gathering::Event::Untold).await?,
                    None => {}
                }
            }
            Statement::Definition if self.is_of_ours(database, text) => return Ok(Some(DEFINED)),
            Statement::Definition => self.is_defined.store(true, Ordering::Relaxed),
        }
        if self.group.as_ref().is_some_and(|group| group.is_alone) {
            self.end_of_group(at_micros).await?;
        }
        Ok(None)
    }

    /// A definition may be about a table that matters: it names one, and is made in its
    /// database or names that too.
    fn is_of_ours(&self, database: &[u8], text: &[u8]) -> bool {
        let Tables { names, databases, .. } = &*self.tables;
        let is_there = databases.contains(&String::from_utf8_lossy(database).to_lowercase());
        (is_there || names_any(text, databases)) && names_any(text, names)
    }

    async fn end_of_group(&mut self, at_micros: i64) -> Result<(), ConnectorError> {
        self.known.clear();
        let Some(Group { id, is_alone: _ }) = self.group.take() else { return Ok(()) };
        if !self.position.add(id) {
            return Err(malformed(Malformed));
        }
        self.count += 1;
        let place = Place { count: self.count, position: self.position.to_string().into() };
        self.send(gathering::Event::Reached { place, at_micros: Some(at_micros) }).await
    }

    /// Passes on which rows of a table changed.
    async fn rows(&self, table: u64, rows: Option<&Rows<'_>>) -> Result<(), ConnectorError> {
        let Some(Known { role, columns }) = self.known.get(&table) else { return Ok(()) };
        let reader = rows
            .zip(columns.as_ref())
            .and_then(|(rows, columns)| Some((rows.deed, columns, Reader::new(rows, columns)?)));
        let Some((deed, columns, mut reader)) = reader else {
            warn!("a change is too large or not what the catalogue says, so a sync has to look what it was");
            return self.send(gathering::Event::Untold).await;
        };
        let mut is_untold = false;
        loop {
            let (old, new) = match reader.next(columns) {
                Ok(Some(change)) => change,
                Ok(None) => break,
                Err(Malformed) => {
                    is_untold = true;
                    break;
                }
            };
            let (old, new) = (old.as_deref(), new.as_deref());
            is_untold |= takes_others(role, deed, old, new);
            let Some(table) = role.table else { continue };
            for image in [old, new].into_iter().flatten() {
                match self.key(table, columns, image, old) {
                    Some(key) => self.send(gathering::Event::Row { table, key }).await?,
                    None => is_untold = true,
                }
            }
        }
        if is_untold { self.send(gathering::Event::Untold).await } else { Ok(()) }
    }

    /// The key of a row; what is not written is what it was in the old one.
    fn key(&self, table: usize, columns: &[Logged], image: &[Field<'_>], old: Option<&[Field<'_>]>) -> Option<RowKey> {
        let table = &self.tables.followed[table];
        let text = |(position, column)| {
            let position: &usize = position;
            let value = match (image.get(*position)?, old.and_then(|old| old.get(*position))) {
                (Field::Value(value), _) | (Field::Absent, Some(Field::Value(value))) => value,
                (Field::Null | Field::Absent, _) => return None,
            };
            images::key_text(column, columns.get(*position)?, value)
        };
        let key: RowKey = table.positions.iter().zip(table.key()).map(text).collect::<Option<_>>()?;
        (key.iter().map(String::len).sum::<usize>() <= LONGEST_KEY).then_some(key)
    }

    async fn send(&self, event: Event) -> Result<(), ConnectorError> {
        self.events.send(event).await.map_err(|_| ConnectorError::Stopped(Stopped))
    }
}

/// Rows of other tables may have gone or changed with it.
fn takes_others(role: &Role, deed: Deed, old: Option<&[Field<'_>]>, new: Option<&[Field<'_>]>) -> bool {
    let Some(positions) = &role.watched else { return false };
    match (deed, old, new) {
        (Deed::Inserted, ..) => false,
        (Deed::Updated, Some(old), Some(new)) => positions.as_ref().is_none_or(|positions| {
            positions
                .iter()
                .any(|position| new.get(*position) != Some(&Field::Absent) && new.get(*position) != old.get(*position))
        }),
        (Deed::Deleted | Deed::Updated, ..) => true,
    }
}

fn malformed(_: events::Malformed) -> ConnectorError {
    Failure::broken("the server sent changes that cannot be read").into_error()
}

/// The name of a transaction, as a set.
fn name_of(id: Id) -> String {
    let mut alone = Position::MySql(std::collections::BTreeMap::new());
    let _ = alone.add(id);
    alone.to_string()
}

/// `bin.000012` is 12.
pub(super) fn number_of_file(name: &[u8]) -> Option<u64> {
    let digits = name.rsplit(|byte| *byte == b'.').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_their_numbers() {
        assert_eq!(number_of_file(b"bin.000012"), Some(12));
        assert_eq!(number_of_file(b"odd.name.1000000"), Some(1_000_000));
        assert_eq!(number_of_file(b"bin.x"), None);
        assert!(Mark::Logged { file: 2, place: 4 } > Mark::Logged { file: 1, place: 900 });
    }

    #[test]
    fn rows_take_others_with_them_when_they_go_or_what_is_referred_to_changes() {
        let role = |watched| Role { table: None, watched };
        let (old, same, other) = (
            [Field::Value(b"1"), Field::Null],
            [Field::Value(b"1"), Field::Value(b"x")],
            [Field::Value(b"2"), Field::Null],
        );
        let watched = role(Some(Some(vec![0])));
        assert!(takes_others(&watched, Deed::Deleted, Some(&old), None));
        assert!(!takes_others(&watched, Deed::Updated, Some(&old), Some(&same)));
        assert!(takes_others(&watched, Deed::Updated, Some(&old), Some(&other)));
        assert!(!takes_others(&watched, Deed::Updated, Some(&old), Some(&[Field::Absent, Field::Null])));
        assert!(takes_others(&role(Some(None)), Deed::Updated, Some(&old), Some(&same)));
        assert!(!takes_others(&role(None), Deed::Deleted, Some(&old), None));
        assert!(!takes_others(&watched, Deed::Inserted, None, Some(&old)));
    }
}
