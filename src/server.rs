//! The composition root: opens the stores, puts the parts together, listens.
//! Nothing else sees all of it.

pub mod front;
pub mod listen;

use std::fs::{self, File, TryLockError};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer, ExposeHeaders};
use tracing::{info, warn};

use crate::access::Caller;
use crate::api;
use crate::auth::Authenticator;
use crate::catalog::Catalog;
use crate::collections::Collections;
use crate::config::Config;
use crate::connections::Connections;
use crate::connectors::{self, Registry, Resources};
use crate::egress::{Dialer, Policy, Timeouts};
use crate::error::Reason;
use crate::gateway::{self, Gateway};
use crate::index::Index;
use crate::index::tantivy::TantivyIndex;
use crate::keys::Keys;
use crate::proto;
use crate::search::Search;
use crate::secrets::{KeyRing, Vault, VaultError};
use crate::store::{Store, StoreError};
use crate::syncs::engine::Engine;
use crate::syncs::events::Events;
use crate::syncs::sessions::Sessions;
use crate::syncs::worker::{self, Workshop};
use crate::syncs::Syncs;

use front::{Front, Pages};

/// Where the canary of the encryption key is kept.
const CANARY: &str = "encryption_canary";
