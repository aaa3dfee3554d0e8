//! Starts what is due, takes over what dead workers left, and finishes deletes
//! that a crash cut short.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Syncs, schedule};
use crate::error::{Error, Reason};
use crate::ids::SyncId;
use crate::store::connections::Connection;
use crate::store::syncs::Trigger;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Worker deaths after which a sync is given up as poisoned.
const MOST_CRASHES: i32 = 5;
/// Schedules started in one look.
const DUE_AT_ONCE: u64 = 100;

impl Syncs {
    /// Looks after jobs until told to stop.
    pub async fn look_after(self, stop: CancellationToken) {
        let mut failing = false;
        while !stop.is_cancelled() {
            match self.look().await {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    warn!(error = &error as &dyn std::error::Error, "schedules and leases cannot be looked after");
                }
                Err(_still_failing) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn look(&self) -> Result<(), Error> {
        for id in self.store.reap(MOST_CRASHES).await? {
            info!(sync = %id, "a dead worker's job is taken over");
            self.events.changed(&id, i64::MAX);
            self.events.work();
        }
        for connection in self.store.due_connections(DUE_AT_ONCE).await? {
            self.start_due(&connection).await?;
        }
        for stranded in self.store.stranded_deletes().await? {
            if stranded.purge {
                self.index_cleared(&stranded.connection).await?;
            }
            self.finish_delete(&stranded.connection).await?;
        }
        self.index.tend().await.map_err(Error::internal)
    }

    async fn index_cleared(&self, connection: &crate::ids::ConnectionId) -> Result<(), Error> {
        if let Some(connection) = self.store.connection(connection).await? {
            self.index.clear(&connection.collection, &connection.id).await.map_err(Error::internal)?;
        }
        Ok(())
    }

    /// Moves the schedule on first: whoever moves it starts the sync, so that
    /// several nodes start it once, and a missed time is not caught up twice.
    async fn start_due(&self, connection: &Connection) -> Result<(), Error> {
        let now = self.store.now().await?;
        let next = next_run(connection, now);
        if !self.store.set_next_run(&connection.id, connection.next_run_at, next).await? {
            return Ok(());
        }
        let started = self.run(&connection.id, Trigger::Schedule, false, false, SyncId::mint(), None).await;
        match started {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.reason(), Reason::SyncInProgress | Reason::NotFound) => {
                info!(connection = %connection.id, "a scheduled start was skipped: the connection is busy");
                Ok(())
            }
            Err(error) if error.reason() == Reason::StorageFull => {
                info!(connection = %connection.id, "a scheduled start was skipped: the disk is nearly full");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// When a connection's schedule starts next.
fn next_run(connection: &Connection, now: i64) -> Option<i64> {
    let schedule = connection.schedule.as_ref()?;
    schedule::parse(schedule.cron.as_deref()?, &schedule.time_zone).ok()?.next_after(now)
}
