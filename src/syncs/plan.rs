//! What a sync would do, found by reading the source and changing nothing.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::Syncs;
use super::batch::{Decision, ObjectPass, Verdict, judge};
use super::progress::Tally;
use super::sessions::source_error;
use super::worker::target_of;
use crate::connectors::{ConnectorError, Message, Output, ReadRequest};
use crate::error::Error;
use crate::index::{IndexError, Target};
use crate::record::Key;
use crate::store::connections::Connection;

/// The most that a plan may take.
const PLAN_TIME: Duration = Duration::from_secs(60);

/// What a sync would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Plan {
    /// Records that the index lacks.
    pub to_insert: u64,
    /// Records that differ.
    pub to_update: u64,
    /// Documents whose record is gone.
    pub to_delete: u64,
    /// Records that are the same.
    pub unchanged: u64,
    /// False when time ran out.
    pub complete: bool,
    /// The brake would hold the deletions.
    pub would_hold: bool,
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
        let (output, messages) = Output::channel(2);
        let reading = session.clone();
        let mut reader = JoinSet::new();
        reader.spawn(async move { reading.read(ReadRequest::default(), output).await });
        let mut survey = Survey { syncs: self, target, salt, plan: Plan::default(), listed: None };
        match tokio::time::timeout(PLAN_TIME, survey.take(messages)).await {
            Ok(taken) => {
                taken.map_err(Error::internal)?;
                if let Some(ended) = reader.join_next().await {
                    ended.map_err(Error::internal)?.map_err(|error: ConnectorError| source_error(error))?;
                }
                survey.beyond_the_listing(&*session).await.map_err(Error::internal)?;
                survey.plan.complete = true;
            }
            Err(_out_of_time) => reader.abort_all(),
        }
        let indexed = self.index.count(&connection.collection, Some(&connection.id)).await.map_err(Error::internal)?;
        survey.plan.would_hold = judge(survey.plan.to_delete, indexed, false) == Verdict::Hold;
        Ok(survey.plan)
    }
}

struct Survey<'a> {
    syncs: &'a Syncs,
    target: Target,
    salt: u64,
    plan: Plan,
    listed: Option<HashSet<Arc<str>>>,
}

impl Survey<'_> {
    async fn take(&mut self, mut messages: tokio::sync::mpsc::Receiver<Message>) -> Result<(), IndexError> {
        let mut current: Option<ObjectPass> = None;
        while let Some(message) = messages.recv().await {
            match message {
                Message::Objects(scopes) => {
                    self.listed = Some(scopes.into_iter().map(|scope| scope.object).collect());
                }
                Message::Started(scope) => {
                    let manifest = self.syncs.index.manifest(&self.target, &scope.object).await?;
                    current = Some(ObjectPass::new(manifest, Tally::default()));
                }
                Message::Batch(batch) => {
                    let Some(pass) = &mut current else { continue };
                    for record in &batch.records {
                        let key = Key::of(&self.target.connection, &batch.object, record.source_key.as_bytes());
                        match pass.decide(key, record.fingerprint.salted(self.salt)) {
                            Decision::Insert => self.plan.to_insert += 1,
                            Decision::Update => self.plan.to_update += 1,
                            Decision::Keep => self.plan.unchanged += 1,
                        }
                    }
                }
                Message::RecordFailed { object, source_key, .. } => {
                    if let Some(pass) = &mut current {
                        pass.unreadable(Key::of(&self.target.connection, &object, source_key.as_bytes()));
                    }
                }
                Message::Complete { .. } => {
                    self.plan.to_delete += current.take().map_or(0, |pass| pass.absent().len() as u64);
                }
                Message::Failed { .. } => current = None,
                Message::Waiting { .. } => {}
            }
        }
        Ok(())
    }

    async fn beyond_the_listing(&mut self, session: &dyn crate::connectors::erased::Session) -> Result<(), IndexError> {
        let Some(listed) = &self.listed else { return Ok(()) };
        for (object, records) in self.syncs.index.objects(&self.target).await? {
            if !listed.contains(object.as_str()) && session.selects(&object) {
                self.plan.to_delete += records;
            }
        }
        Ok(())
    }
}
