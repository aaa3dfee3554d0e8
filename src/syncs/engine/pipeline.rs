//! Bringing content, decoding and indexing, beside the reading: a batch's work runs
//! on threads of its own, a few batches at once, and is settled in the order read.

use std::any::Any;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Engine, PassError};
use crate::connectors::RecordError;
use crate::connectors::erased::Session;
use crate::connectors::loading;
use crate::error::Error;
use crate::failpoint;
use crate::index::{Epoch, Target};
use crate::record::{Change, Entry, Fingerprint, Key, RawRecord};
use crate::syncs::batch::Decision;

/// Batches on their way at once. More would only wait for the index, in memory.
const MOST: usize = 3;

/// A record that the index does not have as it is.
pub(super) struct Pending {
    pub(super) decision: Decision,
    pub(super) key: Key,
    pub(super) fingerprint: Fingerprint,
    pub(super) record: RawRecord,
}

/// What is to be done of one batch.
pub(super) struct Work {
    pub(super) object: Arc<str>,
    pub(super) shape: Arc<dyn Any + Send + Sync>,
    pub(super) position: Option<Value>,
    pub(super) changed: Vec<Pending>,
}

/// What was done of one batch.
pub(super) struct Applied {
    pub(super) object: Arc<str>,
    /// Decisions that were carried out.
    pub(super) done: Vec<Decision>,
    /// Records that could not be taken in.
    pub(super) failed: Vec<(String, RecordError)>,
    /// Where a later attempt may go on.
    pub(super) position: Option<Value>,
}

/// The batches on their way.
#[derive(Default)]
pub(super) struct Pipeline {
    jobs: FuturesOrdered<JoinHandle<Result<Option<Applied>, PassError>>>,
    /// Told to what still waits for the source.
    cut: CancellationToken,
    /// A batch was not taken in: no place behind it is one to go on from.
    is_broken: bool,
}

impl Pipeline {
    /// True when another batch may come.
    pub(super) fn has_room(&self) -> bool {
        self.jobs.len() < MOST
    }

    /// Begins the work of a batch.
    pub(super) fn push(
        &mut self,
        engine: &Engine,
        session: &Arc<dyn Session>,
        target: &Target,
        epoch: Epoch,
        work: Work,
    ) {
        let (index, session, target) = (engine.index.clone(), session.clone(), target.clone());
        let cut = self.cut.clone();
        self.jobs.push_back(tokio::spawn(async move {
            let Work { object, shape, position, changed } = work;
            let Some((changes, done, failed)) = decode(session, &object, &shape, changed, cut).await? else {
                return Ok(None);
            };
            failpoint::reach("batch.decoded");
            index.apply(&target, epoch, changes).await?;
            failpoint::reach("batch.applied");
            Ok(Some(Applied { object, done, failed, position }))
        }));
    }

    /// The next batch that is done, in the order read; waits for ever when none
    /// is on its way.
    pub(super) async fn next(&mut self) -> Result<Applied, PassError> {
        match self.finish_next().await {
            Some(applied) => applied,
            None => std::future::pending().await,
        }
    }

    /// The same; none when nothing is on its way any more.
    pub(super) async fn finish_next(&mut self) -> Option<Result<Applied, PassError>> {
        while let Some(job) = self.jobs.next().await {
            match job.unwrap_or_else(|panicked| Err(PassError::Failed(Error::internal(panicked)))) {
                Ok(Some(applied)) => {
                    let position = applied.position.filter(|_| !self.is_broken);
                    return Some(Ok(Applied { position, ..applied }));
                }
                Ok(None) => self.is_broken = true,
                // The others fail by the same source, and it was told once.
                Err(PassError::Source(_)) if self.is_broken => {}
                Err(error) => {
                    self.is_broken = true;
                    self.cut();
                    return Some(Err(error));
                }
            }
        }
        None
    }

    /// Has no more content brought from the source. What waits for it is dropped.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }

    /// Waits until nothing is on its way, whatever becomes of it.
    pub(super) async fn abandon(&mut self) {
        self.cut();
        while self.jobs.next().await.is_some() {}
    }
}

type Decoded = (Vec<Change>, Vec<Decision>, Vec<(String, RecordError)>);

/// Brings content where there is any to bring, and decodes on the blocking pool.
/// Nothing when that was cut off.
async fn decode(
    session: Arc<dyn Session>,
    object: &Arc<str>,
    shape: &Arc<dyn Any + Send + Sync>,
    pending: Vec<Pending>,
    cut: CancellationToken,
) -> Result<Option<Decoded>, PassError> {
    let (mut decided, mut records) = (Vec::with_capacity(pending.len()), Vec::with_capacity(pending.len()));
    for Pending { decision, key, fingerprint, record } in pending {
        decided.push((decision, key, fingerprint));
        records.push(record);
    }
    let waits_for_the_source = loading::is_needed(&*session, &**shape, &records);
    let documents = loading::documents(&session, object, shape, records);
    let documents = if waits_for_the_source {
        tokio::select! {
            biased;
            () = cut.cancelled() => return Ok(None),
            documents = documents => documents?,
        }
    } else {
        documents.await?
    };
    let (mut changes, mut done, mut failed) = (Vec::with_capacity(documents.len()), Vec::new(), Vec::new());
    for ((decision, key, fingerprint), (record, document)) in decided.into_iter().zip(documents) {
        match document {
            Ok(document) => {
                let RawRecord { source_key, .. } = record;
                let entry = Entry { key, fingerprint, object: object.clone(), source_key, document };
                changes.push(if decision == Decision::Insert || failpoint::mutant("insert_for_update") {
                    Change::Insert(entry)
                } else {
                    Change::Upsert(entry)
                });
                done.push(decision);
            }
            Err(error) => failed.push((record.source_key, error)),
        }
    }
    Ok(Some((changes, done, failed)))
}
