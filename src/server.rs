//! The composition root: opens the stores, puts the parts together, listens.
//! Nothing else sees all of it.

pub mod admission;
pub mod front;
pub mod listen;
pub mod tls;
pub mod traffic;
mod way_out;

use std::fs::{self, File, TryLockError};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::service_fn;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer, ExposeHeaders};
use tracing::{info, warn};

use crate::api;
use crate::audit::Audit;
use crate::auth::allowances::{self, Allowances};
use crate::auth::{Authenticator, Gate};
use crate::catalog::Catalog;
use crate::collections::Collections;
use crate::config::{Config, Limits};
use crate::connections::Connections;
use crate::connectors::documents::isolation::Parsers;
use crate::connectors::simulator::Simulator;
use crate::connectors::{self, Registry, Resources};
use crate::disk::Disk;
use crate::egress::Timeouts;
use crate::error::Reason;
use crate::failpoint;
use crate::gateway::openapi::OpenApiSettings;
use crate::gateway::{self, Gateway};
use crate::history::History;
use crate::index::Index;
use crate::index::tantivy::TantivyIndex;
use crate::keys::Keys;
use crate::keys::encryption::{CANARY, Encryption};
use crate::oidc::Provider;
use crate::paging;
use crate::proto;
use crate::search::Search;
use crate::secrets::{Vault, VaultError};
use crate::store::{Store, StoreError};
use crate::syncs::Syncs;
use crate::syncs::engine::Engine;
use crate::syncs::events::Events;
use crate::syncs::follow::{Followers, Pace};
use crate::syncs::sessions::Sessions;
use crate::syncs::worker::{self, Backoff, Workshop};

use admission::Admission;
use front::{Front, Manners, Pages};
use tls::{Tls, TlsError};
use traffic::request::Timely;

/// What a server is started with beside its configuration.
pub struct Options {
    /// The catalogue.
    pub registry: Registry,
    /// How long each step towards a source may take.
    pub timeouts: Timeouts,
    /// How long a sync waits after its source has failed.
    pub backoff: Backoff,
    /// How often followed connections sync.
    pub pace: Pace,
    /// What takes documents apart.
    pub parsers: Arc<Parsers>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            registry: Registry::new(connectors::builtin()),
            timeouts: Timeouts::default(),
            backoff: Backoff::default(),
            pace: Pace::default(),
            parsers: Arc::default(),
        }
    }
}

/// Why a server does not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("the data directory `{path}` cannot be used")]
    DataDir {
        /// Directory.
        path: PathBuf,
        /// Cause.
        #[source]
        cause: std::io::Error,
    },
    /// Another server has the data directory.
    #[error("another server is running on the data directory `{0}`; stop it, or name another with --data-dir")]
    InUse(PathBuf),
    /// The store cannot be opened.
    #[error("the metadata store cannot be opened")]
    Store(#[source] StoreError),
    /// The encryption key is missing or wrong.
    #[error("the encryption key cannot be used")]
    Key(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The encryption key is not the one that this store was written with.
    #[error("this store was written with another encryption key")]
    WrongKey(#[source] VaultError),
    /// The index cannot be opened.
    #[error("the index cannot be opened")]
    Index(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}; is another server there? choose another with --listen")]
    Listen {
        /// Address.
        address: SocketAddr,
        /// Cause.
        #[source]
        cause: std::io::Error,
    },
    /// The files of TLS cannot be used.
    #[error("the files that `tls_certificate`, `tls_key` and `tls_client_ca` name cannot be used")]
    Tls(#[source] TlsError),
    /// A setting that only the server can judge.
    #[error("{0}")]
    Setting(String),
    /// The parts do not fit: our fault.
    #[error("the server cannot be put together")]
    Parts(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A running server.
pub struct Running {
    addresses: Vec<SocketAddr>,
    admin_key: Option<SecretString>,
    tls: Option<Arc<Tls>>,
    stop: CancellationToken,
    doors: JoinSet<()>,
    workers: JoinSet<()>,
    health: api::health::Health,
    keys: Arc<Keys>,
    audit: Arc<Audit>,
    encryption: Encryption,
    store: Store,
    grace: Duration,
    _lock: File,
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

/// Starts a server; returns when it listens on every address.
pub async fn start(config: Config, options: Options) -> Result<Running, StartError> {
    let lock = prepare_data_dir(&config)?;
    let store = Store::open(config.database_url.expose_secret()).await.map_err(StartError::Store)?;
    store.check().await.map_err(StartError::Store)?;
    failpoint::reach("start.store_opened");
    store.expire_leases_of_previous_run().await.map_err(StartError::Store)?;
    store.forget_requests_of_previous_run().await.map_err(StartError::Store)?;
    failpoint::reach("start.leases_expired");
    let vault = Arc::new(open_vault(&config, &store).await?);
    let disk = Arc::new(Disk::of(&config.data_dir));
    let files = TantivyIndex::open_on(&config.data_dir, disk.clone());
    let files = files.map_err(|error| StartError::Index(error.into()))?;
    let index: Arc<dyn Index> = Arc::new(files.clone());
    let known = store.collection_ids().await.map_err(StartError::Store)?;
    index.retain(&known).await.map_err(|error| StartError::Index(error.into()))?;
    failpoint::reach("start.leftovers_gone");

    let tls = config.tls.as_ref().map(Tls::open).transpose().map_err(StartError::Tls)?.map(Arc::new);
    let mut listeners = Vec::new();
    for address in &config.listen {
        let listening = TcpListener::bind(address).await;
        listeners.push(listening.map_err(|cause| StartError::Listen { address: *address, cause })?);
    }
    let addresses = local_addresses(&listeners)?;
    let dialer = Arc::new(way_out::dialer(&config, options.timeouts, &addresses)?);
    let provider = way_out::provider(&config, options.timeouts, &addresses, &dialer)?;
    let resources = Resources {
        dialer: dialer.clone(),
        file_roots: config.file_roots.clone().into(),
        parsers: options.parsers.clone(),
    };

    let stop = CancellationToken::new();
    let events = Events::default();
    let registry = match config.enable_simulator {
        true => options.registry.with(Arc::new(Simulator::default())),
        false => options.registry,
    };
    let sessions = Sessions::new(store.clone(), vault.clone(), registry.clone(), resources);
    let syncs = Syncs::new(store.clone(), index.clone(), sessions.clone(), events.clone(), disk.clone());
    let base = addresses.first().map(|address| format!("{}://{address}", scheme(tls.is_some())));
    let base = base.unwrap_or_default();
    let pages = paging::Pages::new(vault.page_tokens());
    let audit = Arc::new(Audit::new(store.clone(), pages.clone(), config.audit_retention));
    let parts = Parts {
        config: &config,
        store: &store,
        vault: &vault,
        index: &index,
        syncs: &syncs,
        audit: &audit,
        provider: &provider,
        stop: &stop,
        pages,
        base,
    };
    let (front, health, keys) = parts.doors(&registry)?;
    let admin_key = keys.bootstrap().await.map_err(|error| StartError::Parts(error.into()))?;

    let mut doors = JoinSet::new();
    let limits = Arc::new(config.limits.clone());
    let admission = Admission::new(limits.max_connections, limits.max_connections_per_peer_behind(config.behind_proxy));
    let shared = listen::Doors {
        tls: tls.clone(),
        behind_proxy: config.behind_proxy,
        admission,
        limits,
        grace: config.shutdown_grace,
    };
    let service = service_fn(move |request: http::Request<Timely<Incoming>>| front.clone().handle(request));
    for listener in listeners {
        doors.spawn(listen::serve(listener, shared.clone(), service.clone(), stop.clone()));
    }

    let engine = Arc::new(Engine { store: store.clone(), index, events: events.clone() });
    let name = format!("worker-{}", ulid::Ulid::new());
    let followers = Followers::new(engine.clone(), syncs.clone(), name.clone(), options.pace);
    let workshop = Workshop { engine, syncs: syncs.clone(), sessions, events, name, backoff: options.backoff };
    let mut workers = worker::spawn(&workshop, config.workers, &stop);
    workers.spawn(syncs.clone().refill(stop.clone()));
    workers.spawn(syncs.look_after(stop.clone()));
    let verified = stop.clone().run_until_cancelled_owned(async move { files.verify(known).await });
    workers.spawn(async move {
        if let Some(Err(error)) = verified.await {
            warn!(error = &error as &dyn std::error::Error, "the indexes could not be read from end to end");
        }
    });
    workers.spawn(followers.look_after(stop.clone()));
    workers.spawn(audit.clone().look_after(stop.clone()));
    if let Some(provider) = provider {
        workers.spawn(provider.look_after(stop.clone()));
    }
    workers.spawn(disk.look_after(stop.clone()));
    let encryption = Encryption::new(store.clone(), vault);
    workers.spawn(encryption.clone().look_after(stop.clone()));
    if let Some(tls) = &tls {
        workers.spawn(tls.clone().look_after(stop.clone()));
    }
    if !config.is_loopback_only() {
        let survey = way_out::name_blocked(store.clone(), workshop.sessions.clone(), dialer);
        let stop = stop.clone();
        workers.spawn(async move { stop.run_until_cancelled(survey).await.unwrap_or_default() });
    }
    health.set_serving(true);
    info!(addresses = ?addresses, store = store.backend(), "listening");
    Ok(Running {
        addresses,
        admin_key,
        tls,
        stop,
        doors,
        workers,
        health,
        keys,
        audit,
        encryption,
        store,
        grace: config.shutdown_grace,
        _lock: lock,
    })
}

struct Parts<'a> {
    config: &'a Config,
    store: &'a Store,
    vault: &'a Arc<Vault>,
    index: &'a Arc<dyn Index>,
    syncs: &'a Syncs,
    audit: &'a Arc<Audit>,
    provider: &'a Option<Arc<Provider>>,
    stop: &'a CancellationToken,
    pages: paging::Pages,
    base: String,
}

impl Parts<'_> {
    /// The services behind their doors.
    fn doors(&self, registry: &Registry) -> Result<(Front, api::health::Health, Arc<Keys>), StartError> {
        let pages = self.pages.clone();
        let catalog = Arc::new(Catalog::new(registry).map_err(|error| StartError::Parts(error.into()))?);
        let keys = Arc::new(Keys::new(self.store.clone(), pages.clone(), self.config.admin_key.as_ref()));
        let authenticator = Authenticator::new(keys.clone(), self.provider.clone());
        let connections = Arc::new(Connections::new(
            self.store.clone(),
            catalog.clone(),
            self.vault.clone(),
            self.syncs.clone(),
            pages.clone(),
        ));
        let collections = Arc::new(Collections::new(
            self.store.clone(),
            self.index.clone(),
            self.syncs.clone(),
            connections.clone(),
            keys.clone(),
            pages.clone(),
        ));
        let domain = api::Domain {
            store: self.store.clone(),
            catalog,
            connections,
            collections,
            search: Arc::new(Search::new(self.store.clone(), self.index.clone(), pages.clone())),
            keys: keys.clone(),
            history: Arc::new(History::new(self.store.clone(), pages.clone())),
            syncs: self.syncs.clone(),
            audit: self.audit.clone(),
            pages,
            stop: self.stop.clone(),
        };
        let (health, health_service) = api::health::Health::new(api::service_names());
        let limits = &self.config.limits;
        let allowances = Arc::new(allowances(limits));
        let gate = Gate::new(authenticator.clone(), self.audit.clone(), allowances.clone());
        let sizes = api::Sizes { request: limits.max_body, answer: limits.max_answer };
        let grpc = api::router(domain, health_service, gate, sizes).map_err(|error| StartError::Parts(error.into()))?;
        let settings = gateway::Settings {
            options_extension: "tributary.v1.rest",
            error_domain: "tributary",
            prefix_aliases: vec![("/v1", "/api/v1")],
            status_of_reason,
            max_body: limits.max_body,
            max_answer: limits.max_answer,
            max_uri: limits.max_uri,
            max_json_depth: limits.max_json_depth,
            authenticate: authenticator.pre_check(allowances),
        };
        let gateway = Gateway::new(settings, proto::DESCRIPTORS, grpc.clone())
            .map_err(|error| StartError::Parts(error.into()))?;
        let openapi = openapi(gateway.table());
        let pages = Pages {
            docs: gateway::docs::page(&openapi, &self.base).map_err(|error| StartError::Parts(error.into()))?,
            openapi: serde_json::to_vec_pretty(&openapi).map_err(|error| StartError::Parts(error.into()))?.into(),
        };
        let cors = cors(&self.config.cors_origins)?;
        let manners = Manners { cors, max_headers: limits.max_headers, has_tls: self.config.tls.is_some() };
        Ok((
            Front::new(grpc, gateway, pages, manners, self.store.clone(), self.audit.clone(), self.stop.clone()),
            health,
            keys,
        ))
    }
}

/// The OpenAPI document of the routes that a server serves.
pub fn openapi(table: &gateway::rules::Table) -> serde_json::Value {
    let settings = OpenApiSettings {
        title: "Tributary".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
        servers: vec!["/".to_owned()],
        examples: api::examples::examples(),
        services: api::examples::services(),
        reasons: api::examples::reasons(),
        role_name: api::examples::role_name,
    };
    gateway::openapi::document(table, &settings)
}

/// The HTTP status of an error reason.
fn status_of_reason(name: &str) -> Option<u16> {
    Reason::ALL.iter().find(|reason| reason.name() == name).map(|reason| reason.http_status())
}

fn allowances(limits: &Limits) -> Allowances {
    Allowances::new(allowances::Limits {
        calls_a_minute: limits.calls_a_minute,
        refused_a_minute: limits.refused_a_minute,
        calls_at_once: limits.max_calls_per_key,
        streams_at_once: limits.max_streams_per_key,
        call_time: limits.call_time,
    })
}

fn scheme(has_tls: bool) -> &'static str {
    if has_tls { "https" } else { "http" }
}

/// A directory for its owner only, and no second server on it.
fn prepare_data_dir(config: &Config) -> Result<File, StartError> {
    let path = &config.data_dir;
    let failed = |cause| StartError::DataDir { path: path.clone(), cause };
    fs::create_dir_all(path).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    let lock = File::create(path.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse(path.clone())),
        Err(TryLockError::Error(cause)) => Err(failed(cause)),
    }
}

/// Opens the vault and proves with the canary that its key is the one that the
/// store was written with: with another, every stored credential would be lost.
async fn open_vault(config: &Config, store: &Store) -> Result<Vault, StartError> {
    let vault = Vault::load(&config.encryption_key, config.transit.as_ref()).await;
    let vault = vault.map_err(|error| StartError::Key(error.into()))?;
    let fresh = vault.canary().await.map_err(|error| StartError::Key(error.into()))?;
    let stored = store.put_setting_if_absent(CANARY, &fresh).await.map_err(StartError::Store)?;
    vault.check_canary(&stored).await.map_err(StartError::WrongKey)?;
    Ok(vault)
}

fn local_addresses(listeners: &[TcpListener]) -> Result<Vec<SocketAddr>, StartError> {
    listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<_, _>>()
        .map_err(|cause| StartError::Parts(cause.into()))
}

/// Browsers of these origins may call. Credentials travel in headers, never in
/// cookies, so none are allowed.
fn cors(origins: &[String]) -> Result<CorsLayer, StartError> {
    let mut allowed = Vec::new();
    for origin in origins {
        let value = origin.parse::<http::HeaderValue>();
        allowed.push(value.map_err(|_| StartError::Setting(format!("`{origin}` is no origin for --cors-origins")))?);
    }
    let exposed = [
        "grpc-status",
        "grpc-message",
        "grpc-status-details-bin",
        "etag",
        "retry-after",
        "ratelimit",
        "ratelimit-policy",
        "x-request-id",
    ];
    Ok(CorsLayer::new()
        .allow_origin(if origins == ["*"] { AllowOrigin::any() } else { AllowOrigin::list(allowed) })
        .allow_methods([
            http::Method::GET,
            http::Method::HEAD,
            http::Method::POST,
            http::Method::PUT,
            http::Method::PATCH,
            http::Method::DELETE,
        ])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::list(exposed.map(http::HeaderName::from_static)))
        .max_age(Duration::from_secs(7200)))
}
