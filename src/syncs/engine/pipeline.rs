//! Decoding and indexing, beside the reading: a batch's work runs on threads of
//! its own, a few batches at once, and is settled in the order read.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{Engine, PassError};
use crate::connectors::RecordError;
use crate::connectors::erased::Session;
use crate::error::Error;
use crate::failpoint;
use crate::index::{Epoch, Target};
use crate::record::{Change, Document, Entry, Fingerprint, Key, RawRecord};
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
    jobs: FuturesOrdered<JoinHandle<Result<Applied, PassError>>>,
}

impl Pipeline {
    /// True when another batch may come.
    pub(super) fn has_room(&self) -> bool {
        self.jobs.len() < MOST
    }

    /// True when nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
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
        self.jobs.push_back(tokio::spawn(async move {
            let Work { object, shape, position, changed } = work;
            let (changes, done, failed) = decode(session, object.clone(), shape, changed).await?;
            failpoint::reach("batch.decoded");
            index.apply(&target, epoch, changes).await?;
            failpoint::reach("batch.applied");
            Ok(Applied { object, done, failed, position })
        }));
    }

    /// The next batch that is done, in the order read; waits for ever when none
    /// is on its way.
    pub(super) async fn next(&mut self) -> Result<Applied, PassError> {
        match self.jobs.next().await {
            Some(Ok(applied)) => applied,
            Some(Err(panicked)) => Err(PassError::Failed(Error::internal(panicked))),
            None => std::future::pending().await,
        }
    }

    /// Waits until nothing is on its way, whatever becomes of it.
    pub(super) async fn abandon(&mut self) {
        while self.jobs.next().await.is_some() {}
    }
}

type Decoded = (Vec<Change>, Vec<Decision>, Vec<(String, RecordError)>);

/// Decodes on the blocking pool.
async fn decode(
    session: Arc<dyn Session>,
    object: Arc<str>,
    shape: Arc<dyn Any + Send + Sync>,
    records: Vec<Pending>,
) -> Result<Decoded, PassError> {
    let decode_all = move || {
        let (mut changes, mut done, mut failed) = (Vec::with_capacity(records.len()), Vec::new(), Vec::new());
        for Pending { decision, key, fingerprint, record } in records {
            match decode_one(&*session, &object, &*shape, &record) {
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
        (changes, done, failed)
    };
    tokio::task::spawn_blocking(decode_all).await.map_err(|panicked| PassError::Failed(Error::internal(panicked)))
}

/// Decodes one record; a panic in a decoder costs that record.
pub(in crate::syncs) fn decode_one(
    session: &dyn Session,
    object: &str,
    shape: &(dyn Any + Send + Sync),
    record: &RawRecord,
) -> Result<Document, RecordError> {
    std::panic::catch_unwind(AssertUnwindSafe(|| session.decode(object, shape, record)))
        .unwrap_or_else(|_| Err(RecordError { code: "undecodable", message: "the decoder gave up on it".to_owned() }))
}
