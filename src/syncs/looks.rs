//! One look at a row for all who watch it. A watcher costs the store nothing while
//! nothing happens, however many there are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::Syncs;
use crate::ids::SyncId;
use crate::store::syncs::Sync;

/// At most five events of progress a second.
const LEAST_BETWEEN: Duration = Duration::from_millis(200);
/// Changes made on other nodes are found by looking.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What was last seen of the syncs that somebody watches. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Looks(Arc<Mutex<HashMap<SyncId, watch::Sender<Seen>>>>);

/// A sync as it was seen; none before the first look.
pub(super) type Seen = Option<Arc<Sync>>;

impl Looks {
    fn lock(&self) -> MutexGuard<'_, HashMap<SyncId, watch::Sender<Seen>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sync from here on, looked at until nobody watches it any more or it has
    /// ended. The other end goes away then, and also when the store does not answer.
    pub(super) fn of(&self, id: &SyncId, syncs: &Syncs) -> watch::Receiver<Seen> {
        let mut watched = self.lock();
        if let Some(sender) = watched.get(id) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(None);
        watched.insert(id.clone(), sender);
        tokio::spawn(self.clone().look(id.clone(), syncs.clone()));
        receiver
    }

    async fn look(self, id: SyncId, syncs: Syncs) {
        let mut changes = syncs.events.subscribe(&id);
        while self.is_watched(&id) {
            changes.mark_unchanged();
            let sync = syncs.store.sync(&id).await;
            let Ok(Some(sync)) = sync else { return self.forget(&id) };
            let has_ended = sync.state.is_terminal();
            if let Some(sender) = self.lock().get(&id) {
                sender.send_if_modified(|seen| {
                    let is_news = seen.as_ref().is_none_or(|before| before.sequence != sync.sequence);
                    *seen = Some(Arc::new(sync));
                    is_news
                });
            }
            if has_ended {
                return self.forget(&id);
            }
            tokio::time::sleep(LEAST_BETWEEN).await;
            let _ = tokio::time::timeout(LOOK_EVERY, changes.changed()).await;
        }
    }

    fn forget(&self, id: &SyncId) {
        self.lock().remove(id);
    }

    /// False once nobody watches; whoever comes then begins a new look.
    fn is_watched(&self, id: &SyncId) -> bool {
        let mut watched = self.lock();
        let is_watched = watched.get(id).is_some_and(|sender| sender.receiver_count() > 0);
        if !is_watched {
            watched.remove(id);
        }
        is_watched
    }
}
