//! The conversation with a connector: what each of its messages does to a pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument;

use super::marks::Leave;
use super::pipeline::{self, Applied, Pending};
use super::{Open, PROGRESS_EVERY, Pass, PassError, Stop, to_i64};
use crate::connectors::reading::{Message, Output, ReadRequest, Rest, Scope};
use crate::error::Error;
use crate::failpoint;
use crate::record::{Batch, ObjectKeys};
use crate::syncs::batch::{Decision, Ended, ObjectPass};
use crate::syncs::progress::{ObjectState, Tally};

/// Messages between reader and engine. A batch is about a megabyte, so this also
/// bounds memory.
const MESSAGES_IN_FLIGHT: usize = 4;

impl Pass<'_> {
    /// Takes in what the connector says, to its end.
    pub(super) async fn read(&mut self) -> Result<(), PassError> {
        let (output, mut messages) = Output::channel(MESSAGES_IN_FLIGHT);
        let request = ReadRequest {
            finished: self.checkpoint.finished.clone(),
            positions: (self.checkpoint.indexed_at_start == Some(0)).then(|| self.checkpoint.positions.clone()),
            known: self.known().await?,
            sample: None,
        };
        let session = self.session.clone();
        // Reading has a task, and so a core, of its own; dropping the set ends it.
        let mut reader = JoinSet::new();
        reader.spawn(async move { session.read(request, output).await }.in_current_span());
        let mut tick = tokio::time::interval(PROGRESS_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                biased;
                stop = stopped(&mut self.stop) => return Err(PassError::Stopped(stop)),
                applied = self.pipeline.next() => {
                    self.settle(applied?);
                    continue;
                }
                message = messages.recv(), if self.pipeline.has_room() => message,
                _ = tick.tick() => {
                    self.write_if_due().await?;
                    continue;
                }
            };
            match message {
                Some(message) => self.take(message).await?,
                None => break,
            }
            self.write_if_due().await?;
        }
        self.settle_all().await?;
        match reader.join_next().await {
            Some(Ok(result)) => Ok(result?),
            Some(Err(panicked)) => Err(PassError::Failed(Error::internal(panicked))),
            None => Err(PassError::Failed(Error::internal("the reader was lost"))),
        }
    }

    async fn take(&mut self, message: Message) -> Result<(), PassError> {
        match message {
            Message::Objects(scopes) => self.expect(scopes),
            Message::Started(scope) => self.start(scope).await?,
            Message::Batch(batch) => {
                let ahead = failpoint::mutant("position_before_batch")
                    .then(|| (batch.object.to_string(), batch.position.clone()));
                self.apply(batch)?;
                if let Some((object, Some(position))) = ahead {
                    self.checkpoint.positions.insert(object, position);
                    self.write(Some(serde_json::json!(self.checkpoint))).await?;
                    failpoint::reach("checkpoint.written");
                }
            }
            Message::Present { object, source_keys } => {
                let open = opened(&mut self.open, &object)?;
                source_keys.iter().for_each(|key| open.pass.present(open.keys.key(key.as_bytes())));
                self.track(&object);
            }
            Message::Ask { object, answer } => {
                self.settle_all().await?;
                // Nobody hears the answer when the reader has failed meanwhile.
                let _ = answer.send(opened(&mut self.open, &object)?.pass.reached());
            }
            Message::RecordFailed { object, source_key, code, message } => {
                let open = opened(&mut self.open, &object)?;
                open.pass.unreadable(open.keys.key(source_key.as_bytes()));
                self.note_error(&object, source_key, "read", code, message);
                self.track(&object);
            }
            Message::Unmoved { object, records, mark } => self.unmoved(object, records, mark),
            Message::Complete { object, counted, rest, mark } => {
                self.settle_all().await?;
                self.complete(object, counted, rest, mark);
            }
            Message::Failed { object, code, message } => {
                self.settle_all().await?;
                self.fail_object(object, code, message);
            }
            Message::Waiting { until, reason } => {
                let seconds = until.duration_since(SystemTime::now()).unwrap_or_default().as_secs();
                self.say("warning", format!("the source asks to wait {seconds} s: {reason}"));
            }
        }
        Ok(())
    }

    fn expect(&mut self, scopes: Vec<Scope>) {
        let estimates = scopes.iter().map(|scope| (scope.object.to_string(), scope.estimate.map(to_i64)));
        self.tracker.expect(estimates);
        for object in self.checkpoint.finished.clone() {
            let tally = self.checkpoint.tallies.get(&object).copied().unwrap_or_default();
            self.tracker.reached(&object, tally);
            self.tracker.ended(&object, ObjectState::Complete);
        }
        self.listed = Some(scopes.into_iter().map(|scope| scope.object).collect());
    }

    async fn start(&mut self, scope: Scope) -> Result<(), PassError> {
        let Scope { object, estimate } = scope;
        let manifest = self.engine.index.manifest(&self.target, &object).await?;
        let before = self.checkpoint.tallies.get(&*object).copied().unwrap_or_default();
        self.tracker.started(&object, estimate.map(to_i64));
        let keys = ObjectKeys::new(&self.target.connection, &object);
        self.open.insert(object, Open { pass: ObjectPass::new(manifest, before), keys });
        failpoint::reach("object.started");
        Ok(())
    }

    /// Decides for each record; what is new or changed goes down the pipeline.
    fn apply(&mut self, batch: Batch) -> Result<(), PassError> {
        self.checkpoint.bytes_read += to_i64(batch.bytes_read);
        let Batch { object, records, bytes_read: _, position, shape } = batch;
        let open = opened(&mut self.open, &object)?;
        let mut changed = Vec::new();
        for record in records {
            let key = open.keys.key(record.source_key.as_bytes());
            let fingerprint = record.fingerprint.salted(self.salt);
            let decision = open.pass.decide(key, fingerprint);
            if decision != Decision::Keep {
                changed.push(Pending { decision, key, fingerprint, record });
            }
        }
        if !changed.is_empty() || position.is_some() {
            self.uncommitted |= !changed.is_empty();
            let work = pipeline::Work { object: object.clone(), shape, position, changed };
            self.pipeline.push(self.engine, &self.session, &self.target, self.epoch, work);
        }
        self.track(&object);
        Ok(())
    }

    /// Counts what has been applied.
    fn settle(&mut self, applied: Applied) {
        let Applied { object, done, failed, position, bytes_loaded } = applied;
        self.checkpoint.bytes_read += to_i64(bytes_loaded);
        let Some(open) = self.open.get_mut(&object) else { return };
        done.into_iter().for_each(|decision| open.pass.applied(decision));
        for _ in &failed {
            open.pass.failed();
        }
        match position {
            // What failed is known to this attempt only.
            Some(position) if open.pass.tally().failed == 0 => {
                self.checkpoint.positions.insert(object.to_string(), position);
            }
            Some(_) => drop(self.checkpoint.positions.remove(&*object)),
            None => {}
        }
        for (source_key, error) in failed {
            self.note_error(&object, source_key, "decode", error.code, error.message);
        }
        self.track(&object);
        failpoint::reach("batch.settled");
    }

    /// Counts all that is under way. A document may take long, so that a word to stop
    /// is heard meanwhile; a pass that has ended already then cuts off what is slow.
    pub(super) async fn settle_all(&mut self) -> Result<(), PassError> {
        loop {
            let applied = tokio::select! {
                biased;
                stop = stopped(&mut self.stop), if !self.pipeline.is_cut() => {
                    if !self.has_ended {
                        return Err(PassError::Stopped(stop));
                    }
                    self.pipeline.cut();
                    continue;
                }
                applied = self.pipeline.finish_next() => applied,
            };
            let Some(applied) = applied else { return Ok(()) };
            self.settle(applied?);
        }
    }

    fn complete(&mut self, object: Arc<str>, counted: Option<u64>, rest: Rest, mark: Option<serde_json::Value>) {
        let Some(open) = self.open.remove(&object) else { return };
        let Ended { tally, there, indexed, absent } = open.pass.end(rest);
        self.tracker.reached(&object, tally);
        self.tracker.ended(&object, ObjectState::Complete);
        self.checkpoint.tallies.insert(object.to_string(), tally);
        self.checkpoint.positions.remove(&*object);
        let mut mark = mark;
        if let (Some(counted), Some(there)) = (counted, there)
            && counted != there
        {
            let message = format!("the source counts {counted} rows and gave {there}");
            self.warn("count_mismatch", message, Some(&object), to_i64(counted.abs_diff(there)));
            // Nothing is known for sure, so the next sync is to read everything.
            mark = None;
            if counted > there && !absent.is_empty() {
                // Rows are missing from the reading, so none is proved gone.
                self.leave.push(Leave::of(&object, tally, Rest::Unknown, None));
                return;
            }
        }
        self.leave.push(Leave::of(&object, tally, rest, mark));
        // An object with something absent is read again by a later attempt: its
        // absences are known only to this one.
        if absent.is_empty() || failpoint::mutant("finished_though_absent") {
            self.checkpoint.finished.push(object.to_string());
        }
        self.expected.push((object, indexed));
        self.absent.extend(absent);
        failpoint::reach("object.completed");
    }

    /// The whole object is as it was; the index was compared before its mark was
    /// given to the connector.
    fn unmoved(&mut self, object: Arc<str>, records: u64, mark: serde_json::Value) {
        let before = self.checkpoint.tallies.get(&*object).copied().unwrap_or_default();
        let met_again = before.inserted + before.updated;
        let tally = Tally { unchanged: (to_i64(records) - met_again).max(0), failed: 0, ..before };
        self.tracker.started(&object, Some(to_i64(records)));
        self.tracker.reached(&object, tally);
        self.tracker.ended(&object, ObjectState::Complete);
        self.checkpoint.tallies.insert(object.to_string(), tally);
        self.checkpoint.finished.push(object.to_string());
        self.leave.push(Leave::of(&object, tally, Rest::Unmoved, Some(mark)));
        self.expected.push((object, records));
    }

    fn fail_object(&mut self, object: Arc<str>, code: &'static str, message: String) {
        if let Some(open) = self.open.remove(&object) {
            self.checkpoint.tallies.insert(object.to_string(), open.pass.tally());
            if failpoint::mutant("unfinished_proves_absence") {
                self.absent.extend(open.pass.end(Rest::Gone).absent);
            }
        }
        self.tracker.ended(&object, ObjectState::Failed);
        self.say("error", format!("`{object}` was not read to its end: {message}"));
        self.failed_objects.push((object, code, message));
    }
}

/// The object that a message speaks of; a connector that speaks of another has a
/// bug, which ends the sync.
fn opened<'o>(open: &'o mut BTreeMap<Arc<str>, Open>, object: &Arc<str>) -> Result<&'o mut Open, PassError> {
    open.get_mut(object).ok_or_else(|| PassError::Failed(Error::internal("a message came outside its object")))
}

/// Waits until the pass is to stop; for ever, if nobody can say so any more.
async fn stopped(stop: &mut watch::Receiver<Option<Stop>>) -> Stop {
    let told = stop.wait_for(Option::is_some).await.ok().and_then(|reason| *reason);
    match told {
        Some(reason) => reason,
        None => std::future::pending().await,
    }
}
