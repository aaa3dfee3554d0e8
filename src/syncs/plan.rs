//! What a sync would do, found by reading the source and changing nothing. The
//! decisions are those of a sync ([`batch`](super::batch)), and records are decoded
//! as a sync would, so that the numbers are the same.

mod samples;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Syncs;
use super::batch::{Decision, Ended, ObjectPass, Verdict, judge, judge_empty_listing};
use super::engine::marks::still_known;
use super::progress::Tally;
use super::sessions::source_error;
use super::worker::target_of;
use crate::connectors::erased::Session;
use crate::connectors::reading::{Message, Output, ReadRequest, Rest};
use crate::connectors::{ConnectorError, loading};
use crate::error::Error;
use crate::index::{Index, Item, Target};
use crate::record::{Batch, Document, Key, ObjectKeys};
use crate::store::connections::Connection;

use samples::Samples;
pub use samples::{PlannedChange, PlannedItem};

/// The most that a plan may take.
const PLAN_TIME: Duration = Duration::from_secs(60);

/// What a sync would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Object by object.
    pub objects: Vec<PlannedObject>,
    /// Examples: a few of each kind and object.
    pub samples: Vec<PlannedItem>,
    /// False when time ran out, or an object could not be read to its end.
    pub complete: bool,
    /// The brake would hold the deletions that are not out of scope.
    pub would_hold: bool,
}

/// What a sync would do with one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedObject {
    /// Path of the object.
    pub path: Arc<str>,
    /// What would become of the records that were met.
    pub tally: Tally,
    /// Documents that would go.
    pub to_delete: u64,
    /// The config does not select it.
    pub out_of_scope: bool,
    /// It was read to its end, or is not there any more.
    pub complete: bool,
}

impl Plan {
    /// All objects together.
    pub fn tally(&self) -> Tally {
        self.objects.iter().fold(Tally::default(), |sum, object| sum.plus(object.tally))
    }

    /// Documents that would go.
    pub fn to_delete(&self) -> u64 {
        self.objects.iter().map(|object| object.to_delete).sum()
    }

    /// Of these, what the config does not select.
    pub fn out_of_scope(&self) -> u64 {
        self.objects.iter().filter(|object| object.out_of_scope).map(|object| object.to_delete).sum()
    }
}

impl Syncs {
    /// Plans a sync of a connection that has no active job.
    pub async fn plan(&self, connection: &Connection) -> Result<Plan, Error> {
        if let Some(job) = self.store.active_job(&connection.id).await? {
            return Err(super::busy(&connection.id, &job.id, job.kind));
        }
        let session = self.sessions.open(connection).await?;
        let salt = self.sessions.salt(connection)?;
        let target = target_of(connection);
        let known = still_known(&self.store, &*self.index, &target, salt, &[]).await?;
        let (output, messages) = Output::channel(2);
        let reading = session.clone();
        let mut reader = JoinSet::new();
        reader.spawn(async move { reading.read(ReadRequest { known, ..ReadRequest::default() }, output).await });
        let mut survey = Survey::new(&*self.index, session, target, salt);
        let surveyed = async {
            survey.take(messages).await?;
            if let Some(ended) = reader.join_next().await {
                ended.map_err(Error::internal)?.map_err(|error: ConnectorError| source_error(error))?;
            }
            survey.beyond_the_listing().await
        };
        let in_time = match tokio::time::timeout(PLAN_TIME, surveyed).await {
            Ok(ended) => ended.map(|()| true)?,
            Err(_out_of_time) => false,
        };
        let indexed = self.index.count(&connection.collection, Some(&connection.id)).await.map_err(Error::internal)?;
        Ok(survey.plan(in_time, indexed))
    }
}

/// What has been seen so far.
struct Survey<'a> {
    index: &'a dyn Index,
    session: Arc<dyn Session>,
    target: Target,
    salt: u64,
    objects: Vec<PlannedObject>,
    open: BTreeMap<Arc<str>, (ObjectPass, ObjectKeys)>,
    listed: Option<HashSet<Arc<str>>>,
    samples: Samples,
}

impl<'a> Survey<'a> {
    fn new(index: &'a dyn Index, session: Arc<dyn Session>, target: Target, salt: u64) -> Self {
        Self {
            index,
            session,
            target,
            salt,
            objects: Vec::new(),
            open: BTreeMap::new(),
            listed: None,
            samples: Samples::default(),
        }
    }

    async fn take(&mut self, mut messages: mpsc::Receiver<Message>) -> Result<(), Error> {
        while let Some(message) = messages.recv().await {
            match message {
                Message::Objects(scopes) => {
                    self.listed = Some(scopes.into_iter().map(|scope| scope.object).collect());
                }
                Message::Started(scope) => {
                    let manifest = self.index.manifest(&self.target, &scope.object).await.map_err(Error::internal)?;
                    let keys = ObjectKeys::new(&self.target.connection, &scope.object);
                    self.open.insert(scope.object, (ObjectPass::new(manifest, Tally::default()), keys));
                }
                Message::Batch(batch) => self.weigh(batch).await?,
                Message::RecordFailed { object, source_key, .. } => {
                    if let Some((pass, keys)) = self.open.get_mut(&object) {
                        pass.unreadable(keys.key(source_key.as_bytes()));
                    }
                }
                Message::Present { object, source_keys } => {
                    if let Some((pass, keys)) = self.open.get_mut(&object) {
                        source_keys.iter().for_each(|source_key| pass.present(keys.key(source_key.as_bytes())));
                    }
                }
                Message::Ask { object, answer } => {
                    let reached = self.open.get(&object).map(|(pass, _)| pass.reached()).unwrap_or_default();
                    // Nobody hears the answer when the reader has failed meanwhile.
                    let _ = answer.send(reached);
                }
                Message::Unmoved { object, records, mark: _ } => {
                    let unchanged = i64::try_from(records).unwrap_or(i64::MAX);
                    self.note(object, Tally { unchanged, ..Tally::default() }, 0, true);
                }
                Message::Complete { object, rest, .. } => self.complete(object, rest).await?,
                Message::Failed { object, .. } => {
                    let tally = self.open.remove(&object).map(|(pass, _)| pass.tally()).unwrap_or_default();
                    self.note(object, tally, 0, false);
                }
                Message::Waiting { .. } => {}
            }
        }
        Ok(())
    }

    /// Decides for each record, and decodes what is new or changed: one that
    /// cannot be would not be taken in. Content that would have to be brought is
    /// brought for samples only, and else believed to be what it should be.
    async fn weigh(&mut self, batch: Batch) -> Result<(), Error> {
        let Batch { object, records, shape, bytes_read: _, position: _ } = batch;
        let Some((pass, keys)) = self.open.get_mut(&object) else { return Ok(()) };
        let (mut decided, mut changed) = (Vec::new(), Vec::new());
        let mut wanted = [PlannedChange::Insert, PlannedChange::Update].map(|kind| self.samples.room(&object, kind));
        for record in records {
            let key = keys.key(record.source_key.as_bytes());
            let decision = pass.decide(key, record.fingerprint.salted(self.salt));
            let wanted = match decision {
                Decision::Insert => &mut wanted[0],
                Decision::Update => &mut wanted[1],
                Decision::Keep => continue,
            };
            if *wanted == 0 && self.session.content_size(&*shape, &record).is_some() {
                pass.applied(decision);
                continue;
            }
            *wanted = wanted.saturating_sub(1);
            decided.push((decision, key));
            changed.push(record);
        }
        let documents = loading::documents(&self.session, &object, &shape, changed).await.map_err(source_error)?;
        for ((decision, key), (record, document)) in decided.into_iter().zip(documents) {
            let Some((pass, _)) = self.open.get_mut(&object) else { return Ok(()) };
            match document {
                Ok(document) => {
                    pass.applied(decision);
                    self.sample(&object, decision, key, record.source_key, &document).await?;
                }
                Err(_) => pass.failed(),
            }
        }
        Ok(())
    }

    async fn sample(
        &mut self,
        object: &Arc<str>,
        decision: Decision,
        key: Key,
        source_key: String,
        document: &Document,
    ) -> Result<(), Error> {
        match decision {
            Decision::Insert if self.samples.room(object, PlannedChange::Insert) > 0 => {
                self.samples.insert(object, source_key, document);
            }
            Decision::Update if self.samples.room(object, PlannedChange::Update) > 0 => {
                let before = self.indexed(key).await?;
                self.samples.update(object, source_key, document, before.as_ref());
            }
            Decision::Insert | Decision::Update | Decision::Keep => {}
        }
        Ok(())
    }

    async fn complete(&mut self, object: Arc<str>, rest: Rest) -> Result<(), Error> {
        let Some((pass, _)) = self.open.remove(&object) else { return Ok(()) };
        let Ended { tally, absent, .. } = pass.end(rest);
        self.sample_deletions(&object, absent.iter().copied()).await?;
        self.note(object, tally, absent.len() as u64, true);
        Ok(())
    }

    /// What the index has of objects that are gone, or not selected any more.
    async fn beyond_the_listing(&mut self) -> Result<(), Error> {
        let Some(listed) = self.listed.clone() else { return Ok(()) };
        for (object, records) in self.index.objects(&self.target).await.map_err(Error::internal)? {
            if listed.contains(object.as_str()) {
                continue;
            }
            let manifest = self.index.manifest(&self.target, &object).await.map_err(Error::internal)?;
            self.sample_deletions(&object, manifest.keys()).await?;
            let out_of_scope = !self.session.selects(&object);
            self.note(Arc::from(object), Tally::default(), records, true);
            if let Some(noted) = self.objects.last_mut() {
                noted.out_of_scope = out_of_scope;
            }
        }
        Ok(())
    }

    async fn sample_deletions(&mut self, object: &str, keys: impl Iterator<Item = Key>) -> Result<(), Error> {
        let room = self.samples.room(object, PlannedChange::Delete);
        for key in keys.take(room) {
            if let Some(item) = self.indexed(key).await? {
                self.samples.delete(object, item);
            }
        }
        Ok(())
    }

    async fn indexed(&self, key: Key) -> Result<Option<Item>, Error> {
        self.index.get(&self.target.collection, &Item::id_of(key)).await.map_err(Error::internal)
    }

    fn note(&mut self, path: Arc<str>, tally: Tally, to_delete: u64, complete: bool) {
        self.objects.push(PlannedObject { path, tally, to_delete, out_of_scope: false, complete });
    }

    /// What it comes to. `indexed` is what the brake is measured against.
    fn plan(mut self, in_time: bool, indexed: u64) -> Plan {
        for (object, (pass, _)) in std::mem::take(&mut self.open) {
            self.note(object, pass.tally(), 0, false);
        }
        // They end in any order, since several are read at once.
        self.objects.sort_by(|one, other| one.path.cmp(&other.path));
        let complete = in_time && self.objects.iter().all(|object| object.complete);
        let mut plan = Plan { objects: self.objects, samples: self.samples.into_items(), complete, would_hold: false };
        let gone = plan.to_delete() - plan.out_of_scope();
        let verdict = match self.listed.is_some_and(|listed| listed.is_empty()) {
            true => judge_empty_listing(gone, false),
            false => judge(gone, indexed, false),
        };
        plan.would_hold = verdict == Verdict::Hold;
        plan
    }
}
