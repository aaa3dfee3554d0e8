//! What a connector leaves of an object for the next sync, and the proof that the
//! index is still what it was when the connector said so.
//!
//! A mark is about the source and the index together: "the source was like this
//! when the index had exactly that". So it is kept with the digest of what the
//! index had, and given back only where the digest is still the same, whatever
//! happened meanwhile: a sync that broke off, a clear, an index that came from a
//! backup. Without a mark everything is read, which is never wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Engine, Pass, PassError};
use crate::connectors::reading::{Known, Rest};
use crate::error::Error;
use crate::failpoint;
use crate::index::{Index, Target};
use crate::store::Store;
use crate::store::marks::ObjectMark;
use crate::syncs::progress::Tally;

/// What is to be left of an object that was read without error.
pub(super) struct Leave {
    object: Arc<str>,
    /// None when the next sync is to read everything.
    mark: Option<Value>,
    /// The index was brought in line with all of the object.
    proved: bool,
}

impl Leave {
    /// A record that could not be taken in is tried again by the next sync, so
    /// an object with one leaves nothing.
    pub(super) fn of(object: &Arc<str>, tally: Tally, rest: Rest, mark: Option<Value>) -> Self {
        let mark = mark.filter(|_| tally.failed == 0);
        Self { object: object.clone(), mark, proved: matches!(rest, Rest::Gone | Rest::Unmoved) }
    }

    /// The index was brought in line with all of the object.
    pub(super) fn is_proof(&self) -> bool {
        self.proved
    }
}

/// What earlier syncs left of the objects of a target, where the index still has
/// what it had then; but for the objects that are `finished`.
pub(in crate::syncs) async fn still_known(
    store: &Store,
    index: &dyn Index,
    target: &Target,
    salt: u64,
    finished: &[String],
) -> Result<BTreeMap<String, Known>, Error> {
    let mut known = BTreeMap::new();
    for kept in store.marks(&target.connection).await? {
        let ObjectMark { object, mark: Some(mark), salt: marked, records, digest, proved_at } = kept else { continue };
        if marked != salt || finished.contains(&object) {
            continue;
        }
        let found = index.digest(target, &object).await.map_err(Error::internal)?;
        let is_same = found.records == records && found.text() == digest;
        if is_same || failpoint::mutant("mark_without_digest") {
            known.insert(object, Known { mark, records, proved_at });
        }
    }
    Ok(known)
}

impl Pass<'_> {
    /// What earlier syncs left and still holds. Deletions are released with a look
    /// at everything.
    pub(super) async fn known(&self) -> Result<BTreeMap<String, Known>, PassError> {
        if self.lease.sync.full || self.lease.sync.release_deletions {
            return Ok(BTreeMap::new());
        }
        let Engine { store, index, .. } = self.engine;
        let known = still_known(store, &**index, &self.target, self.salt, &self.checkpoint.finished).await?;
        Ok(known)
    }

    /// Prepares what the next sync may know; it is written with this one's end.
    pub(super) async fn leave_marks(&mut self) -> Result<(), PassError> {
        let leave = std::mem::take(&mut self.leave);
        if leave.is_empty() {
            return Ok(());
        }
        // While deletions are held the index is not what the source is.
        let held = self.is_held();
        let now = self.engine.store.now().await.map_err(Error::from)?;
        let before: BTreeMap<String, i64> = self
            .engine
            .store
            .marks(&self.target.connection)
            .await
            .map_err(Error::from)?
            .into_iter()
            .map(|kept| (kept.object, kept.proved_at))
            .collect();
        for Leave { object, mark, proved } in leave {
            let mark = mark.filter(|_| !held);
            let proved_at = if proved { now } else { before.get(&*object).copied().unwrap_or(0) };
            let digest = match &mark {
                Some(_) => self.engine.index.digest(&self.target, &object).await?,
                None => Default::default(),
            };
            self.marks.push(ObjectMark {
                object: object.to_string(),
                mark,
                salt: self.salt,
                records: digest.records,
                digest: digest.text(),
                proved_at,
            });
        }
        Ok(())
    }
}
