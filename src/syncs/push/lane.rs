//! The lane of one connection: whoever pushes to it takes turns there.
//!
//! In its turn a push looks what the index has, decides, and applies. Commits are
//! shared: while one goes on, others apply, and the next commit is for all of them. In
//! between, what was applied is in no segment that can be read, so the lane remembers
//! it.
//!
//! An *era* ends when the right to write is lost or a commit fails. What was applied in
//! an era that has ended, and was not committed in it, may be there or not: its callers
//! are told so, and send it again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::diff::{self, Built, Item};
use super::{Operation, Rest, Ticket, Written, index_error, interrupted};
use crate::connectors::documents::isolation::Parsers;
use crate::error::{Error, Reason};
use crate::index::{Epoch, IndexError, Target};
use crate::record::{Change, Fingerprint, Key};
use crate::store::connections::{Connection, Lifecycle};
use crate::syncs::batch::{Verdict, judge};
use crate::syncs::worker::target_of;
use crate::syncs::{Syncs, busy};

/// How often a push whose right to write was taken away asks for it again.
const ATTEMPTS: usize = 3;
/// Deletions in one change set.
const DELETIONS_AT_ONCE: usize = 10_000;

/// The lane of one connection.
#[derive(Default)]
pub(super) struct Lane {
    state: Mutex<State>,
    /// Held by who commits.
    committing: Mutex<()>,
}

#[derive(Default)]
struct State {
    /// The right to write, as far as is known.
    epoch: Option<Epoch>,
    /// What was applied and not committed, with the number of its push.
    pending: HashMap<Key, (u64, Option<Fingerprint>)>,
    /// Number of the last push that was applied.
    applied: u64,
    /// Number up to which pushes of this era are committed.
    committed: u64,
    era: u64,
}

impl State {
    /// What was applied and is not known to be committed is not known at all.
    fn end_era(&mut self) {
        self.epoch = None;
        self.pending.clear();
        self.committed = self.applied;
        self.era += 1;
    }

    /// Remembers what a push has left, under its number. One that changed nothing
    /// waits for those that made it so.
    fn note(&mut self, after: Vec<(Key, Option<Fingerprint>)>) -> Ticket {
        if after.is_empty() {
            let number = if self.pending.is_empty() { self.committed } else { self.applied };
            return Ticket { era: self.era, number };
        }
        self.applied += 1;
        self.pending.extend(after.into_iter().map(|(key, fingerprint)| (key, (self.applied, fingerprint))));
        Ticket { era: self.era, number: self.applied }
    }

    /// Whether a push is committed; an error when nobody can say.
    fn is_settled(&self, ticket: Ticket) -> Result<bool, Error> {
        if self.era == ticket.era { Ok(self.committed >= ticket.number) } else { Err(interrupted()) }
    }

    fn settled(&mut self, up_to: u64) {
        self.committed = self.committed.max(up_to);
        self.pending.retain(|_, (number, _)| *number > up_to);
    }
}

impl Lane {
    /// Decides and applies, in this push's turn.
    pub(super) async fn apply(
        &self,
        syncs: &Syncs,
        connection: &Connection,
        operations: Vec<Operation>,
    ) -> Result<(Written, Ticket), Error> {
        let target = target_of(connection);
        let parsers = syncs.sessions.parsers();
        let items = prepare(syncs, connection, &target, &parsers, operations).await?;
        let keys: Vec<Key> = items.iter().map(|item| item.key).collect();
        let mut state = self.state.lock().await;
        for _ in 0..ATTEMPTS {
            let Some(epoch) = hold(&mut state, syncs, &target).await? else { continue };
            let mut known = syncs.index.fingerprints(&target, keys.clone()).await.map_err(index_error)?;
            for (known, key) in known.iter_mut().zip(&keys) {
                if let Some((_, pending)) = state.pending.get(key) {
                    *known = *pending;
                }
            }
            let Built { changes, after, counts, failures } = built(&items, known, &parsers).await?;
            match syncs.index.apply(&target, epoch, changes).await {
                Ok(()) => return Ok((Written { counts, failures }, state.note(after))),
                Err(IndexError::Superseded) => state.end_era(),
                Err(error) => {
                    give_up(&mut state, syncs, &target, epoch).await;
                    return Err(index_error(error));
                }
            }
        }
        Err(interrupted())
    }

    /// Waits until a push is committed, by this call or another's.
    pub(super) async fn settle(&self, syncs: &Syncs, target: &Target, ticket: Ticket) -> Result<(), Error> {
        if self.state.lock().await.is_settled(ticket)? {
            return Ok(());
        }
        let _turn = self.committing.lock().await;
        let (up_to, epoch) = {
            let state = self.state.lock().await;
            if state.is_settled(ticket)? {
                return Ok(());
            }
            (state.applied, state.epoch)
        };
        let committed = syncs.index.commit(&target.collection).await;
        let mut state = self.state.lock().await;
        match committed {
            // Another push may have found meanwhile that the right to write was gone.
            Ok(()) if state.era == ticket.era => {
                state.settled(up_to);
                Ok(())
            }
            Ok(()) => Err(interrupted()),
            Err(error) => {
                if state.era == ticket.era {
                    give_up(&mut state, syncs, target, epoch.unwrap_or_default()).await;
                }
                Err(index_error(error))
            }
        }
    }

    /// Deletes what the connection has beside these keys.
    pub(super) async fn remove_others(
        &self,
        syncs: &Syncs,
        connection: &Connection,
        object: Option<&str>,
        keys: &HashSet<Key>,
        release: bool,
    ) -> Result<(Rest, Ticket), Error> {
        let target = target_of(connection);
        let mut state = self.state.lock().await;
        for _ in 0..ATTEMPTS {
            let Some(epoch) = hold(&mut state, syncs, &target).await? else { continue };
            // Only what is committed is in a manifest, and nobody else applies now.
            if let Err(error) = syncs.index.commit(&target.collection).await {
                give_up(&mut state, syncs, &target, epoch).await;
                return Err(index_error(error));
            }
            let all = state.applied;
            state.settled(all);
            let (others, indexed) = others(syncs, &target, object, keys).await.map_err(index_error)?;
            let gone = others.len() as u64;
            if judge(gone, indexed, release) == Verdict::Hold {
                let ticket = state.note(Vec::new());
                return Ok((Rest { deleted: 0, held: gone }, ticket));
            }
            match delete(syncs, &target, epoch, &others).await {
                Ok(()) => {
                    let ticket = state.note(others.into_iter().map(|key| (key, None)).collect());
                    return Ok((Rest { deleted: gone, held: 0 }, ticket));
                }
                Err(IndexError::Superseded) => state.end_era(),
                Err(error) => {
                    give_up(&mut state, syncs, &target, epoch).await;
                    return Err(index_error(error));
                }
            }
        }
        Err(interrupted())
    }
}

/// The operations with their keys and fingerprints, and with what is in the files that
/// the index does not have.
async fn prepare(
    syncs: &Syncs,
    connection: &Connection,
    target: &Target,
    parsers: &Arc<Parsers>,
    operations: Vec<Operation>,
) -> Result<Arc<Vec<Item>>, Error> {
    let (id, salt) = (connection.id.clone(), syncs.sessions.salt(connection)?);
    let hashed = tokio::task::spawn_blocking(move || diff::items(&id, salt, operations));
    let mut items = hashed.await.map_err(Error::internal)?;
    if diff::has_files(&items) {
        let keys = items.iter().map(|item| item.key).collect();
        let known = syncs.index.fingerprints(target, keys).await.map_err(index_error)?;
        let parsers = parsers.clone();
        let parsed = tokio::task::spawn_blocking(move || {
            diff::parse(&mut items, &known, &parsers);
            items
        });
        items = parsed.await.map_err(Error::internal)?;
    }
    Ok(Arc::new(items))
}

async fn built(
    items: &Arc<Vec<Item>>,
    known: Vec<Option<Fingerprint>>,
    parsers: &Arc<Parsers>,
) -> Result<Built, Error> {
    let (items, parsers) = (items.clone(), parsers.clone());
    tokio::task::spawn_blocking(move || diff::build(&items, &known, &parsers)).await.map_err(Error::internal)
}

/// The right to write, once it is sure that no job has the connection. None when a job
/// came between the look and the taking: look again.
async fn hold(state: &mut State, syncs: &Syncs, target: &Target) -> Result<Option<Epoch>, Error> {
    let before = match state.epoch {
        // A job that began since has taken it away, and applying tells.
        Some(epoch) => epoch,
        None => syncs.index.epoch(target).await.map_err(index_error)?,
    };
    look(syncs, target).await?;
    if state.epoch.is_some() {
        return Ok(state.epoch);
    }
    match syncs.index.begin_after(target, before).await {
        Ok(epoch) => {
            state.epoch = Some(epoch);
            Ok(Some(epoch))
        }
        Err(IndexError::Superseded) => Ok(None),
        Err(error) => Err(index_error(error)),
    }
}

/// Fails while the connection is cleared or deleted, and once it is gone.
async fn look(syncs: &Syncs, target: &Target) -> Result<(), Error> {
    let id = &target.connection;
    let gone = || Error::not_found("source_connection", id.as_str());
    let connection = syncs.store.connection(id).await?.ok_or_else(gone)?;
    if connection.lifecycle == Lifecycle::Deleting {
        let message = format!("connection `{id}` is being deleted");
        return Err(Error::new(Reason::SyncInProgress, message).with("operation", "delete"));
    }
    match syncs.store.active_job(id).await? {
        Some(job) => Err(busy(id, &job.id, job.kind)),
        None => Ok(()),
    }
}

/// After a failed write: what was pending may be lost. The index is told that we know,
/// so that nobody else waits for us to learn it.
async fn give_up(state: &mut State, syncs: &Syncs, target: &Target, epoch: Epoch) {
    state.end_era();
    // Where this fails too, the index stops waiting by itself.
    let _ = syncs.index.begin_after(target, epoch).await;
}

/// The keys that the index has beside these, and how many records the connection has.
async fn others(
    syncs: &Syncs,
    target: &Target,
    object: Option<&str>,
    keys: &HashSet<Key>,
) -> Result<(Vec<Key>, u64), IndexError> {
    let (mut others, mut indexed) = (Vec::new(), 0);
    for (name, records) in syncs.index.objects(target).await? {
        indexed += records;
        if object.is_none_or(|object| object == name) {
            let manifest = syncs.index.manifest(target, &name).await?;
            others.extend(manifest.keys().filter(|key| !keys.contains(key)));
        }
    }
    Ok((others, indexed))
}

async fn delete(syncs: &Syncs, target: &Target, epoch: Epoch, keys: &[Key]) -> Result<(), IndexError> {
    for keys in keys.chunks(DELETIONS_AT_ONCE) {
        let changes = keys.iter().map(|key| Change::Delete { key: *key }).collect();
        syncs.index.apply(target, epoch, changes).await?;
    }
    Ok(())
}
