//! Fills an index that was found damaged: every connection of its collection that
//! had synced syncs again, whatever its schedule.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Syncs;
use crate::error::{Error, Reason};
use crate::ids::{CollectionId, ConnectionId, SyncId};
use crate::store::Visible;
use crate::store::connections::{AuthState, Lifecycle, Order};
use crate::store::syncs::Trigger;

const LOOK_EVERY: Duration = Duration::from_secs(1);
const PAGE: u64 = 100;

impl Syncs {
    /// Fills what is set aside, until told to stop.
    pub async fn refill(self, stop: CancellationToken) {
        let mut left: Vec<ConnectionId> = Vec::new();
        let mut tick = tokio::time::interval(LOOK_EVERY);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            if let Err(error) = self.refill_once(&mut left).await {
                warn!(error = &error as &dyn std::error::Error, "a damaged index cannot be filled again yet");
            }
        }
    }

    async fn refill_once(&self, left: &mut Vec<ConnectionId>) -> Result<(), Error> {
        for collection in self.index.set_aside().await.map_err(Error::internal)? {
            left.extend(self.synced(&collection).await?);
        }
        let mut waiting = Vec::new();
        for id in left.drain(..) {
            match self.run(&id, Trigger::Schedule, true, false, SyncId::mint(), None).await {
                Ok(sync) => info!(connection = %id, %sync, "a sync fills the index again"),
                // One that was under way has lost what it wrote; and a disk or a store
                // may have room and be there later.
                Err(error) if is_for_later(error.reason()) => waiting.push(id),
                Err(error) => warn!(connection = %id, error = &error as &dyn std::error::Error, "is not filled again"),
            }
        }
        *left = waiting;
        Ok(())
    }

    /// The connections of a collection that have synced before, and whose login was
    /// not refused.
    async fn synced(&self, collection: &CollectionId) -> Result<Vec<ConnectionId>, Error> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let order = Order::CreatedAsc;
            let page = self.store.connections(&Visible::All, Some(collection), order, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(found) };
            after = Some((order.sort_value(last), last.id.clone()));
            let usable =
                page.iter().filter(|found| found.lifecycle == Lifecycle::Active && found.auth != AuthState::Failed);
            let ids: Vec<ConnectionId> = usable.map(|connection| connection.id.clone()).collect();
            let synced = self.store.last_sync(&ids).await?;
            found.extend(ids.into_iter().filter(|id| synced.contains_key(id)));
        }
    }
}

fn is_for_later(reason: Reason) -> bool {
    matches!(reason, Reason::SyncInProgress | Reason::StorageFull | Reason::Unavailable)
}
