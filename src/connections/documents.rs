//! Documents that are pushed to a connection, and what is there of them.

use std::collections::HashSet;

use super::Connections;
use super::trial::{Discovered, OBJECTS};
use crate::access::Caller;
use crate::connectors::{ObjectKind, SourceObject};
use crate::error::{Error, Reason};
use crate::paging::Wanted;
use crate::record::Key;
use crate::store::connections::Connection;
use crate::syncs::push::{Counts, Failure, Operation, Pusher, Rest, Ticket, Written};

/// Operations of a stream that are applied together.
const GROUP: usize = 1_000;
/// Bytes of them.
const GROUP_BYTES: usize = 1024 * 1024;
/// Operations of a stream between two commits: so much is remembered of each.
const BETWEEN_COMMITS: usize = 50_000;
/// Documents that one replacement may bring: the key of each is remembered.
const MOST_REPLACING: usize = 5_000_000;
/// Failures of a stream that are told.
const MOST_FAILURES: usize = 1_000;

impl Connections {
    /// Puts and deletes documents, each once; durable and searchable when this returns.
    pub async fn write_documents(&self, connection: &Connection, operations: Vec<Operation>) -> Result<Written, Error> {
        self.require_pushed(connection)?;
        self.syncs.pusher(connection).write(operations).await
    }

    /// Begins a stream of operations. With `replace`, what does not come goes at its
    /// end: of one object, or of all where that is none.
    pub async fn push(&self, caller: &Caller, id: &str, replace: Option<Replace>) -> Result<Pushing, Error> {
        let connection = self.find(caller, id).await?;
        self.require_pushed(&connection)?;
        let pusher = self.syncs.pusher(&connection);
        Ok(Pushing {
            pusher,
            connection,
            replace: replace.map(|replace| (replace, HashSet::new())),
            group: Vec::new(),
            grouped: HashSet::new(),
            group_bytes: 0,
            since_commit: 0,
            taken: 0,
            last: None,
            sum: Written::default(),
        })
    }

    /// Fails for a connection that documents are not pushed to.
    fn require_pushed(&self, connection: &Connection) -> Result<(), Error> {
        match self.syncs.takes_pushes(&connection.source) {
            true => Ok(()),
            false => Err(not_for_this_source(connection, "documents are read from its source, and cannot be pushed")),
        }
    }

    /// Fails for a connection that has no source to read.
    pub(super) fn require_readable(&self, connection: &Connection) -> Result<(), Error> {
        match self.syncs.takes_pushes(&connection.source) {
            false => Ok(()),
            true => Err(not_for_this_source(connection, "documents are pushed to it; there is nothing to read")),
        }
    }

    /// The objects that documents were pushed to, with how many there are.
    pub(super) async fn discover_pushed(
        &self,
        connection: &Connection,
        parent: &str,
        wanted: Wanted<'_>,
    ) -> Result<Discovered, Error> {
        let arguments = [connection.id.as_str(), parent];
        let after: Option<String> = self.pages.open(OBJECTS, &arguments, wanted.token)?;
        let size = wanted.size(100, 1000);
        let mut objects = self.syncs.pushed_objects(connection).await?;
        objects.retain(|(path, _)| parent.is_empty() && after.as_ref().is_none_or(|after| path > after));
        objects.sort_unstable();
        let object = |(path, records)| SourceObject {
            path,
            kind: ObjectKind::Folder,
            has_children: false,
            selected: true,
            estimated_items: Some(records),
        };
        let page = objects.into_iter().take(size + 1).map(object).collect();
        self.pages.cut(OBJECTS, &arguments, page, size, |object| object.path.clone())
    }
}

fn not_for_this_source(connection: &Connection, why: &str) -> Error {
    Error::new(Reason::NotForThisSource, format!("connection `{}`: {why}", connection.id))
        .with("sourceConnectionId", connection.id.as_str())
        .with("sourceShortName", connection.source.as_str())
}

/// What a stream replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replace {
    /// Only of this object.
    pub object: Option<String>,
    /// However many documents go.
    pub release: bool,
}

/// A stream of operations on its way. Dropped before [`Pushing::end`], it has done
/// some of them and replaces nothing.
pub struct Pushing {
    pusher: Pusher,
    connection: Connection,
    /// And the keys that have come.
    replace: Option<(Replace, HashSet<Key>)>,
    group: Vec<Operation>,
    grouped: HashSet<Key>,
    group_bytes: usize,
    since_commit: usize,
    taken: usize,
    last: Option<Ticket>,
    sum: Written,
}

impl Pushing {
    /// Does one more thing, after those before it.
    pub async fn take(&mut self, operation: Operation) -> Result<(), Error> {
        let key = operation.key(&self.connection.id);
        // In one group each document comes once.
        if self.grouped.contains(&key) {
            self.apply().await?;
        }
        if let Some((_, keys)) = &mut self.replace {
            match operation {
                Operation::Put(_) => drop(keys.insert(key)),
                Operation::Delete { .. } => drop(keys.remove(&key)),
            }
            if keys.len() > MOST_REPLACING {
                let message = format!("a replacement may have at most {MOST_REPLACING} documents");
                return Err(Error::new(Reason::PayloadTooLarge, message));
            }
        }
        self.grouped.insert(key);
        self.group_bytes += operation.size();
        self.group.push(operation);
        if self.group.len() >= GROUP || self.group_bytes >= GROUP_BYTES {
            self.apply().await?;
        }
        Ok(())
    }

    /// The last has come: all is durable and searchable when this returns, and what a
    /// replacement did not bring is gone, or held.
    pub async fn end(mut self) -> Result<(Written, Rest), Error> {
        self.apply().await?;
        self.settle().await?;
        let Some((Replace { object, release }, keys)) = self.replace else { return Ok((self.sum, Rest::default())) };
        let rest = self.pusher.remove_others(object, keys, release).await?;
        let deleted = Counts { deleted: rest.deleted, ..Counts::default() };
        self.sum.counts = self.sum.counts.plus(deleted);
        Ok((self.sum, rest))
    }

    async fn apply(&mut self) -> Result<(), Error> {
        let group = std::mem::take(&mut self.group);
        self.grouped.clear();
        self.group_bytes = 0;
        if group.is_empty() {
            return Ok(());
        }
        let (count, before) = (group.len(), self.taken);
        let (written, ticket) = self.pusher.apply(group).await?;
        self.taken += count;
        self.since_commit += count;
        self.last = Some(ticket);
        self.sum.counts = self.sum.counts.plus(written.counts);
        let room = MOST_FAILURES.saturating_sub(self.sum.failures.len());
        let placed = |failure: Failure| Failure { position: before + failure.position, ..failure };
        self.sum.failures.extend(written.failures.into_iter().take(room).map(placed));
        if self.since_commit >= BETWEEN_COMMITS { self.settle().await } else { Ok(()) }
    }

    async fn settle(&mut self) -> Result<(), Error> {
        self.since_commit = 0;
        match self.last.take() {
            Some(ticket) => self.pusher.settle(ticket).await,
            None => Ok(()),
        }
    }
}
