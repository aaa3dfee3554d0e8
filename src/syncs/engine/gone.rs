//! The end of a pass: what goes, what is held, and whether the index has what was
//! met.

use std::collections::HashMap;

use super::marks::Leave;
use super::{Pass, PassError, to_i64};
use crate::error::{Error, Reason};
use crate::failpoint;
use crate::record::{Change, Key};
use crate::store::connections::DeletionHold;
use crate::syncs::batch::{Verdict, judge, judge_empty_listing};

/// Deletions in one change set.
const DELETIONS_AT_ONCE: usize = 10_000;
/// Failures that a pass may have beside a fifth of what it read.
const FAILURE_BUDGET: i64 = 1_000;

impl Pass<'_> {
    /// Deletes what this pass proved gone, as far as the brake allows, and what
    /// the config put out of scope.
    pub(super) async fn remove_what_is_gone(&mut self) -> Result<(), PassError> {
        let Some(listed) = self.listed.take() else {
            return Ok(());
        };
        let mut absent = std::mem::take(&mut self.absent);
        let mut out_of_scope = Vec::new();
        for (object, _) in self.engine.index.objects(&self.target).await? {
            if listed.contains(object.as_str()) {
                continue;
            }
            let manifest = self.engine.index.manifest(&self.target, &object).await?;
            let gone = if self.session.selects(&object) { &mut absent } else { &mut out_of_scope };
            gone.extend(manifest.keys());
        }
        self.delete(out_of_scope, true).await?;
        let indexed = self.checkpoint.indexed_at_start.unwrap_or(0);
        let gone = absent.len() as u64;
        let released = self.lease.sync.release_deletions;
        let verdict = match listed.is_empty() {
            true => judge_empty_listing(gone, released),
            false => judge(gone, indexed, released),
        };
        match verdict {
            Verdict::Hold => self.hold(gone, indexed).await,
            Verdict::Delete => {
                self.delete(absent, false).await?;
                failpoint::reach("deletions.applied");
                // A hold stands until a pass has looked at everything anew: what it
                // holds back may be in an object that was not, or not wholly, read.
                if self.failed_objects.is_empty() && self.leave.iter().all(Leave::is_proof) {
                    self.engine.store.set_hold(self.lease, None).await?;
                    failpoint::reach("hold.lifted");
                }
                Ok(())
            }
        }
    }

    async fn hold(&mut self, gone: u64, indexed: u64) -> Result<(), PassError> {
        let created_at = self.engine.store.now().await.map_err(Error::from)?;
        let hold = DeletionHold {
            items: to_i64(gone),
            indexed_items: to_i64(indexed),
            sync: self.lease.sync.id.clone(),
            created_at,
        };
        self.engine.store.set_hold(self.lease, Some(&hold)).await?;
        failpoint::reach("deletions.held");
        let message = format!(
            "{gone} of {indexed} documents are no longer at the source; that many at once are kept until the deletions \
             are released or discarded"
        );
        self.warn("deletions_held", message, None, to_i64(gone));
        Ok(())
    }

    async fn delete(&mut self, keys: Vec<Key>, out_of_scope: bool) -> Result<(), PassError> {
        for keys in keys.chunks(DELETIONS_AT_ONCE) {
            if let Some(stop) = *self.stop.borrow() {
                return Err(PassError::Stopped(stop));
            }
            self.uncommitted = true;
            let changes = keys.iter().map(|key| Change::Delete { key: *key }).collect();
            self.engine.index.apply(&self.target, self.epoch, changes).await?;
            self.checkpoint.deleted += keys.len() as i64;
            if out_of_scope {
                self.checkpoint.out_of_scope += keys.len() as i64;
            }
            self.write_if_due().await?;
        }
        Ok(())
    }

    /// The proof at the end: what the index has against what was met.
    pub(super) async fn compare(&mut self) -> Result<(), PassError> {
        let held = self.is_held();
        let indexed: HashMap<String, u64> = self.engine.index.objects(&self.target).await?.into_iter().collect();
        for (object, expected) in std::mem::take(&mut self.expected) {
            let found = indexed.get(&*object).copied().unwrap_or(0);
            if found != expected && !(held && found > expected) {
                let message = format!("{expected} documents were expected in the index, {found} are there");
                self.warn("index_mismatch", message, Some(&object), to_i64(found.abs_diff(expected)));
            }
        }
        Ok(())
    }

    pub(super) fn is_held(&self) -> bool {
        self.warnings.iter().any(|warning| warning.code == "deletions_held")
    }

    pub(super) fn judge_failures(&mut self) -> Result<(), PassError> {
        let counters = self.counters();
        if counters.failed > 0 {
            let message = "items could not be taken in; the list of errors names them".to_owned();
            self.warn("items_failed", message, None, counters.failed);
        }
        if let Some((object, code, message)) = self.failed_objects.first() {
            let reason = match *code {
                "permission_missing" => Reason::SourcePermissionDenied,
                "internal" => Reason::Internal,
                _ => Reason::SourceUnreachable,
            };
            let others = self.failed_objects.len() - 1;
            let more = if others > 0 { format!(" ({others} more objects failed)") } else { String::new() };
            return Err(PassError::Failed(Error::new(reason, format!("`{object}`: {message}{more}"))));
        }
        if counters.failed > FAILURE_BUDGET.max(counters.read / 5) {
            let message = format!("{} of {} items could not be taken in", counters.failed, counters.read);
            return Err(PassError::Failed(Error::new(Reason::Internal, message)));
        }
        Ok(())
    }
}
