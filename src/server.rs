//! The composition root: opens the stores, puts the parts together, listens.
//! Nothing else sees all of it.

pub mod admission;
mod cors;
mod failure;
pub mod front;
pub mod listen;
mod parts;
mod running;
mod stores;
pub mod tls;
pub mod traffic;
mod way_out;

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::service_fn;
use tracing::{info, warn};

use crate::audit::Audit;
use crate::config::Config;
use crate::connectors::documents::isolation::Parsers;
use crate::connectors::simulator::Simulator;
use crate::connectors::{self, Registry, Resources};
use crate::disk::Disk;
use crate::egress::Timeouts;
use crate::failpoint;
use crate::index::Index;
use crate::index::tantivy::TantivyIndex;
use crate::keys::encryption::Encryption;
use crate::paging;
use crate::store::Store;
use crate::syncs::Syncs;
use crate::syncs::engine::Engine;
use crate::syncs::events::Events;
use crate::syncs::follow::{Followers, Pace};
use crate::syncs::sessions::Sessions;
use crate::syncs::worker::{self, Backoff, Workshop};

use admission::{Admission, Allowance};
pub use failure::StartError;
use parts::Parts;
pub use parts::openapi;
pub use running::Running;
use running::scheme;
use stores::{open_vault, prepare_data_dir};
use tls::Tls;
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
    let admission = Admission::new(Allowance {
        most: limits.max_connections,
        most_a_peer: limits.max_connections_per_peer_behind(config.behind_proxy),
        new_a_peer: limits.new_connections_per_peer_behind(config.behind_proxy),
    });
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

fn local_addresses(listeners: &[TcpListener]) -> Result<Vec<SocketAddr>, StartError> {
    listeners
        .iter()
        .map(TcpListener::local_addr)
        .collect::<Result<_, _>>()
        .map_err(|cause| StartError::Parts(cause.into()))
}
