//! When keys were last used: noted beside the calls and written together, since a
//! write for each key would make those wait who are looked up behind it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::ids::KeyId;
use crate::store::Store;

/// How long uses are collected before they are written.
const COLLECT: Duration = Duration::from_secs(5);
/// Keys written at once, so that others get their turn in between.
const AT_ONCE: usize = 200;

/// Uses that are not written yet.
#[derive(Clone)]
pub(super) struct Used {
    store: Store,
    keys: Arc<Mutex<HashSet<KeyId>>>,
    closing: CancellationToken,
    background: TaskTracker,
}

impl Used {
    pub(super) fn new(store: Store) -> Self {
        Self { store, keys: Arc::default(), closing: CancellationToken::new(), background: TaskTracker::new() }
    }

    /// Notes a use; the first one sets off the writing of all that follow soon.
    pub(super) fn note(&self, id: KeyId) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(id);
        if keys.len() == 1 {
            let used = self.clone();
            self.background.spawn(async move {
                let _ = tokio::time::timeout(COLLECT, used.closing.cancelled()).await;
                used.write().await;
            });
        }
    }

    /// Writes what is left.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.background.close();
        self.background.wait().await;
    }

    async fn write(&self) {
        let keys = std::mem::take(&mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner));
        let keys: Vec<KeyId> = keys.into_iter().collect();
        for some in keys.chunks(AT_ONCE) {
            if let Err(error) = self.store.touch_keys(some).await {
                warn!(keys = some.len(), error = &error as &dyn std::error::Error, "the use of keys was not noted");
                return;
            }
        }
    }
}
