//! Wakes whoever waits for a sync. Only a hint: the row is the truth, so a lost
//! wake-up costs latency and nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};

use crate::ids::SyncId;

/// Wake-ups inside this process.
#[derive(Clone, Default)]
pub struct Events(Arc<Inner>);

#[derive(Default)]
struct Inner {
    work: Notify,
    syncs: Mutex<HashMap<SyncId, watch::Sender<i64>>>,
    running: Mutex<HashMap<SyncId, Arc<Notify>>>,
}

/// A sync that this process works on; ends with the value.
pub struct Running {
    events: Events,
    sync: SyncId,
    cancel: Arc<Notify>,
}

impl Running {
    /// Waits until somebody in this process cancels the sync.
    pub async fn cancelled(&self) {
        self.cancel.notified().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.events.0.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.sync);
    }
}

impl Events {
    /// There is work in the queue.
    pub fn work(&self) {
        self.0.work.notify_waiters();
    }

    /// Waits for work.
    pub async fn wait_for_work(&self) {
        self.0.work.notified().await;
    }

    /// This process works on a sync from here on.
    pub fn running(&self, sync: &SyncId) -> Running {
        let cancel = Arc::new(Notify::new());
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(sync.clone(), cancel.clone());
        Running { events: self.clone(), sync: sync.clone(), cancel }
    }

    /// Wakes the worker of a sync that was cancelled, where it is in this process;
    /// elsewhere the next heartbeat brings the news.
    pub fn cancel(&self, sync: &SyncId) {
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cancel) = running.get(sync) {
            cancel.notify_one();
        }
    }

    /// A sync's row has changed.
    pub fn changed(&self, sync: &SyncId, sequence: i64) {
        let mut syncs = self.0.syncs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = syncs.get(sync) {
            if sender.receiver_count() == 0 {
                syncs.remove(sync);
            } else {
                sender.send_modify(|latest| *latest = sequence.max(*latest));
            }
        }
    }

    /// Follows the row of a sync. Subscribe first, then read the row.
    pub fn subscribe(&self, sync: &SyncId) -> watch::Receiver<i64> {
        let mut syncs = self.0.syncs.lock().unwrap_or_else(PoisonError::into_inner);
        syncs.retain(|_, sender| sender.receiver_count() > 0);
        syncs.entry(sync.clone()).or_insert_with(|| watch::channel(0).0).subscribe()
    }
}
