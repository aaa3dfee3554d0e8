//! How far a pass is: the row that watchers read, and the checkpoint that a later
//! attempt goes on from.

use std::time::{Duration, Instant};

use super::{PROGRESS_EVERY, Pass, PassError, Stop};
use crate::error::Error;
use crate::failpoint;
use crate::store::queue::Commit;
use crate::store::syncs::Counters;
use crate::syncs::progress::Tally;

/// How often the index is committed and the checkpoint written: the most that a
/// crash makes us read again.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(3);
/// The first checkpoint comes sooner, so that there is something to search.
const FIRST_CHECKPOINT: Duration = Duration::from_millis(700);

impl Pass<'_> {
    pub(super) async fn write_if_due(&mut self) -> Result<(), PassError> {
        let due = if self.uncommitted && self.is_first_checkpoint { FIRST_CHECKPOINT } else { CHECKPOINT_EVERY };
        if self.checkpoint_written.elapsed() >= failpoint::checkpoint_every(due) {
            self.write_checkpoint().await
        } else if self.progress_written.elapsed() >= PROGRESS_EVERY {
            self.write_progress().await
        } else {
            Ok(())
        }
    }

    /// Index first, then the checkpoint: never the other way round.
    pub(super) async fn write_checkpoint(&mut self) -> Result<(), PassError> {
        self.settle_all().await?;
        failpoint::reach("checkpoint.settled");
        if failpoint::mutant("checkpoint_before_index") {
            let checkpoint = serde_json::to_value(&self.checkpoint).map_err(Error::internal)?;
            self.write(Some(checkpoint)).await?;
            failpoint::reach("checkpoint.between");
        }
        if self.uncommitted {
            self.engine.index.commit(&self.target.collection).await?;
            self.uncommitted = false;
            self.is_first_checkpoint = false;
        }
        failpoint::reach("checkpoint.between");
        for (object, open) in &self.open {
            self.checkpoint.tallies.insert(object.to_string(), open.pass.tally());
        }
        let checkpoint = serde_json::to_value(&self.checkpoint).map_err(Error::internal)?;
        self.write(Some(checkpoint)).await?;
        self.proved = self.checkpoint.clone();
        self.checkpoint_written = Instant::now();
        failpoint::reach("checkpoint.written");
        Ok(())
    }

    pub(super) async fn write_progress(&mut self) -> Result<(), PassError> {
        let ahead = failpoint::mutant("checkpoint_with_progress").then(|| serde_json::json!(self.checkpoint));
        self.write(ahead).await?;
        failpoint::reach("progress.written");
        Ok(())
    }

    pub(super) async fn write(&mut self, checkpoint: Option<serde_json::Value>) -> Result<(), PassError> {
        let progress = self.tracker.snapshot();
        let commit = Commit {
            counters: self.counters(),
            progress: serde_json::to_value(&progress).map_err(Error::internal)?,
            brief: serde_json::to_value(progress.brief()).map_err(Error::internal)?,
            checkpoint,
            errors: std::mem::take(&mut self.errors),
            log: std::mem::take(&mut self.log),
        };
        let renewed = self.engine.store.commit(self.lease, &commit).await?;
        self.progress_written = Instant::now();
        self.engine.events.changed(&self.lease.sync.id, renewed.sequence);
        if renewed.cancel_requested { Err(PassError::Stopped(Stop::Cancelled)) } else { Ok(()) }
    }

    /// All attempts together; each number only grows, also when a later attempt
    /// has to read again what was not yet committed, and read is always the sum of
    /// the others.
    pub(super) fn counters(&self) -> Counters {
        let mut sum = Tally::default();
        for (object, tally) in &self.checkpoint.tallies {
            if !self.open.contains_key(object.as_str()) {
                sum = sum.plus(*tally);
            }
        }
        for open in self.open.values() {
            sum = sum.plus(open.pass.tally());
        }
        let seen = self.seen_before;
        let inserted = sum.inserted.max(seen.inserted);
        let updated = sum.updated.max(seen.updated);
        // What an earlier attempt wrote and could not note in a checkpoint any more
        // is met again as unchanged: it counts once.
        let met_again = inserted - sum.inserted + updated - sum.updated;
        let unchanged = (sum.unchanged - met_again).max(seen.unchanged);
        let failed = sum.failed.max(seen.failed);
        Counters {
            read: inserted + updated + unchanged + failed,
            inserted,
            updated,
            unchanged,
            failed,
            deleted: self.checkpoint.deleted.max(seen.deleted),
            out_of_scope: self.checkpoint.out_of_scope.max(seen.out_of_scope),
            bytes_read: self.checkpoint.bytes_read.max(seen.bytes_read),
        }
    }
}
