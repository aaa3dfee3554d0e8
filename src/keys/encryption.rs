//! The encryption keys of a running server: read anew when it is told, or when it
//! meets a key that it does not know, and counted.
//!
//! A new primary key reaches several servers in this order: first every one can
//! read it (a second line in the key file), then each seals with it (the first
//! line), then [`rotation`](super::rotation) brings the old records under it, and
//! the old key goes last. A server that knows of a new key later than another still
//! opens what that one sealed, if the key is where its own keys come from.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::secrets::Vault;
use crate::store::{Store, StoreError};

/// Where the canary of the encryption key is kept.
pub const CANARY: &str = "encryption_canary";

/// How often the credentials are counted.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Looks after the keys.
#[derive(Clone)]
pub struct Encryption {
    store: Store,
    vault: Arc<Vault>,
}

impl Encryption {
    /// For the vault of this store.
    pub fn new(store: Store, vault: Arc<Vault>) -> Self {
        Self { store, vault }
    }

    /// Reads the keys anew. Where they are not usable, the old ones stay in use.
    pub async fn reload(&self) {
        let prepared = async {
            let canary = self.store.get_setting(CANARY).await?.unwrap_or_default();
            let in_use: Vec<String> = self.store.credentials_by_key().await?.into_iter().map(|(key, _)| key).collect();
            Ok::<_, StoreError>((canary, in_use))
        };
        let (canary, in_use) = match prepared.await {
            Ok(prepared) => prepared,
            Err(error) => {
                return error!(error = &error as &dyn std::error::Error, "the encryption keys stay as they were");
            }
        };
        match self.vault.reload(&canary, &in_use).await {
            Ok(kept) => {
                info!(keys = ?self.vault.key_ids(), "read the encryption keys anew");
                if !kept.is_empty() {
                    warn!(keys = ?kept, "keys that are gone still seal credentials and stay until the next start");
                }
                self.look().await;
            }
            Err(error) => error!(error = &error as &dyn std::error::Error, "the encryption keys stay as they were"),
        }
    }

    /// Counts the credentials that need an old key, at once and then every minute.
    pub async fn look_after(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            self.look().await;
        }
    }

    async fn look(&self) {
        let counted = self.count().await;
        // What a reader kept in the log when it was deleted goes now.
        let outcome = match counted {
            Ok(()) => self.store.forget_overwritten().await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            warn!(error = &error as &dyn std::error::Error, "the encryption keys in use could not be counted");
        }
    }

    async fn count(&self) -> Result<(), StoreError> {
        let groups = self.store.credentials_by_key().await?;
        for (key, records) in &groups {
            if !self.vault.has(key).await {
                error!(key, records, "credentials are sealed with a key that is not at hand, and do not open");
            }
        }
        let primary = match self.vault.primary().await {
            Ok(primary) => primary,
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "which encryption key seals now could not be found out"
                );
                return Ok(());
            }
        };
        let old: u64 = groups.iter().filter(|(key, _)| *key != primary).map(|(_, records)| records).sum();
        metrics::gauge!("tributary_credentials_under_old_keys").set(old as f64);
        Ok(())
    }
}
