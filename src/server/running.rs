//! A server that runs, and how it stops.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::tls::Tls;
use crate::api;
use crate::audit::Audit;
use crate::keys::Keys;
use crate::keys::encryption::Encryption;
use crate::store::Store;

/// A running server.
pub struct Running {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) admin_key: Option<SecretString>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) stop: CancellationToken,
    pub(super) doors: JoinSet<()>,
    pub(super) workers: JoinSet<()>,
    pub(super) health: api::health::Health,
    pub(super) keys: Arc<Keys>,
    pub(super) audit: Arc<Audit>,
    pub(super) encryption: Encryption,
    pub(super) store: Store,
    pub(super) grace: Duration,
    pub(super) _lock: File,
}

impl Running {
    /// Addresses that it listens on, with real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first admin key, if this start has made it: shown once.
    pub fn admin_key(&self) -> Option<&SecretString> {
        self.admin_key.as_ref()
    }

    /// Reads the encryption keys anew from where they come from.
    pub async fn reload_encryption_keys(&self) {
        self.encryption.reload().await;
    }

    /// What URLs of it begin with: `https` where it speaks TLS, else `http`.
    pub fn scheme(&self) -> &'static str {
        scheme(self.tls.is_some())
    }

    /// Takes the TLS files as they are now, if it speaks TLS. Files that cannot be
    /// used change nothing but the log.
    pub fn reload_tls(&self) {
        if let Some(tls) = &self.tls {
            tls.reload();
        }
    }

    /// Stops in good order: says that it is not serving, ends streams with
    /// UNAVAILABLE, finishes calls, hands syncs back at their next batch.
    pub async fn shutdown(mut self) {
        self.health.set_serving(false);
        self.stop.cancel();
        let ended = async {
            while self.doors.join_next().await.is_some() {}
            while self.workers.join_next().await.is_some() {}
        };
        if tokio::time::timeout(self.grace + Duration::from_secs(5), ended).await.is_err() {
            warn!("work was cut off at the end of the grace; leases will bring it back");
        }
        self.keys.close().await;
        self.audit.close().await;
        self.store.close().await;
    }
}

/// What URLs of a server begin with.
pub(super) fn scheme(has_tls: bool) -> &'static str {
    if has_tls { "https" } else { "http" }
}
