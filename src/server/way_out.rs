//! The way out of a server, as its configuration allows for it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use secrecy::ExposeSecret;
use tracing::warn;

use super::StartError;
use crate::config::{Config, Database};
use crate::egress::{Destination, DialError, Dialer, Policy, Timeouts};
use crate::oidc::Provider;
use crate::store::connections::Order;
use crate::store::{Store, Visible};
use crate::syncs::sessions::Sessions;

/// The way out, with the policy that follows from where we listen: who can reach
/// a server on loopback only can reach this machine and its networks anyhow.
pub(super) fn dialer(config: &Config, timeouts: Timeouts, addresses: &[SocketAddr]) -> Result<Dialer, StartError> {
    let mut allowed = Vec::new();
    for destination in &config.allow_destinations {
        let parsed: Result<Destination, _> = destination.parse();
        allowed.push(parsed.map_err(|error| StartError::Setting(format!("--allow-destinations: {error}")))?);
    }
    let policy = Policy {
        local_allowed: config.is_loopback_only(),
        allowed,
        denied: addresses.to_vec(),
        denied_databases: own_databases(config)?,
    };
    Ok(Dialer::new(policy, timeouts))
}

/// The identity provider, if one is named. The operator who names it may mean one
/// on a network of one's own; what it names in turn goes the way of everybody.
pub(super) fn provider(
    config: &Config,
    timeouts: Timeouts,
    addresses: &[SocketAddr],
    others: &Arc<Dialer>,
) -> Result<Option<Arc<Provider>>, StartError> {
    let Some(oidc) = &config.oidc else { return Ok(None) };
    let policy = Policy { local_allowed: true, denied: addresses.to_vec(), ..Policy::default() };
    let operators = Arc::new(Dialer::new(policy, timeouts));
    let provider = Provider::new(oidc, operators, others.clone());
    provider
        .map(|provider| Some(Arc::new(provider)))
        .map_err(|error| StartError::Setting(format!("--oidc-roles: {error}")))
}

/// Names the connections that cannot be reached from a server that listens beyond
/// loopback, and the flag that lets them: better at the start than at night.
pub(super) async fn name_blocked(store: Store, sessions: Sessions, dialer: Arc<Dialer>) {
    let mut after = None;
    loop {
        let page = store.connections(&Visible::All, None, Order::CreatedAsc, after, 100).await.unwrap_or_default();
        let Some(last) = page.last() else { return };
        after = Some((Order::CreatedAsc.sort_value(last), last.id.clone()));
        for connection in page {
            let Ok(session) = sessions.open(&connection).await else { continue };
            let Some((host, port)) = session.destination() else { continue };
            if matches!(dialer.resolve(&host, port).await, Err(DialError::AddressBlocked)) {
                warn!(
                    connection = %connection.id,
                    "the address policy refuses this connection now that the server listens beyond loopback; \
                     name its destination with --allow-destinations CIDR:PORT"
                );
            }
        }
    }
}

/// Our own metadata database: by address, port and name, since the same server
/// may well hold a user's database.
#[expect(clippy::disallowed_methods, reason = "the operator's own host, which is looked up to be denied")]
fn own_databases(config: &Config) -> Result<Vec<(SocketAddr, String)>, StartError> {
    if config.database == Database::Sqlite {
        return Ok(Vec::new());
    }
    let url: tokio_postgres::Config = config
        .database_url
        .expose_secret()
        .parse()
        .map_err(|_| StartError::Setting("--database-url cannot be read".to_owned()))?;
    let name = url.get_dbname().or(url.get_user()).unwrap_or_default().to_owned();
    let mut databases = Vec::new();
    for (position, host) in url.get_hosts().iter().enumerate() {
        let port = url.get_ports().get(position).or(url.get_ports().first()).copied().unwrap_or(5432);
        if let tokio_postgres::config::Host::Tcp(host) = host {
            let addresses = (host.as_str(), port).to_socket_addrs().map_err(|error| StartError::Parts(error.into()))?;
            databases.extend(addresses.map(|address| (address, name.clone())));
        }
    }
    Ok(databases)
}
