//! The only way out: resolve, check against the address policy, connect.
//!
//! A name is resolved once; every address that it has is judged, and one denied
//! address refuses the whole name. The connection then goes to a judged address,
//! never to the name again, so that a second look-up cannot give another answer.

pub mod address;
pub mod bridge;
pub mod destination;
pub mod host;
pub mod http;
pub mod names;
pub mod tls;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use address::Class;
pub use destination::{Destination, DestinationError};
use host::Host;
pub use names::Names;

/// What may be reached.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// The server listens on loopback only, so its user may as well reach the
    /// private and loopback networks through it.
    pub local_allowed: bool,
    /// Private and loopback destinations that the operator lists.
    pub allowed: Vec<Destination>,
    /// Our own listeners and broker. An unspecified address stands for all
    /// addresses of this machine.
    pub denied: Vec<SocketAddr>,
    /// Our own databases: denied by address, port and name, since the same server
    /// may well hold a user's database.
    pub denied_databases: Vec<(SocketAddr, String)>,
}

/// How long each step may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Name to addresses.
    pub resolve: Duration,
    /// TCP connection, over all addresses of a name.
    pub connect: Duration,
    /// TLS handshake.
    pub handshake: Duration,
    /// From the first packet to a session that may be used, login included.
    pub login: Duration,
    /// Until the first byte of an answer.
    pub first_byte: Duration,
    /// Between two bytes of an answer.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            handshake: Duration::from_secs(5),
            login: Duration::from_secs(10),
            first_byte: Duration::from_secs(30),
            idle: Duration::from_secs(60),
        }
    }
}

/// Why a host cannot be reached. `Display` names no address.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Not one plain host name or address.
    #[error("the host is not one plain host name or address")]
    InvalidHost,
    /// The name has no address.
    #[error("the host name has no address")]
    NotFound(#[source] Option<std::io::Error>),
    /// The name has more addresses than anybody needs.
    #[error("the host name has too many addresses")]
    TooManyAddresses,
    /// The policy forbids an address of the name.
    #[error("the address is not allowed by this server's address policy")]
    AddressBlocked,
    /// Nobody listens there.
    #[error("the host refused the connection")]
    Refused(#[source] std::io::Error),
    /// No answer in time.
    #[error("the host did not answer in time")]
    TimedOut,
    /// Anything else.
    #[error("the connection failed")]
    Failed(#[source] std::io::Error),
}

impl DialError {
    /// The public code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidHost | Self::NotFound(_) | Self::TooManyAddresses | Self::Refused(_) | Self::Failed(_) => {
                "unreachable"
            }
            Self::AddressBlocked => "address_blocked",
            Self::TimedOut => "timed_out",
        }
    }
}

/// A host whose addresses have all been judged and found allowed. Only
/// [`Dialer::resolve`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    host: String,
    addresses: Vec<SocketAddr>,
}

impl Resolved {
    /// The host as given, without brackets: the name that a certificate must have.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The judged addresses, never none.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// True when every address is on this machine's loopback.
    pub fn is_loopback(&self) -> bool {
        self.addresses.iter().all(|address| address.ip().is_loopback())
    }
}

/// Opens every socket to a user's host.
#[derive(Debug)]
pub struct Dialer {
    policy: Policy,
    timeouts: Timeouts,
    names: Names,
}

impl Dialer {
    /// A dialer with its policy, that looks names up as this machine is told to.
    pub fn new(policy: Policy, timeouts: Timeouts) -> Self {
        Self { policy, timeouts, names: Names::default() }
    }

    /// The same, looking names up elsewhere.
    pub fn with_names(self, names: Names) -> Self {
        Self { names, ..self }
    }

    /// How long each step may take.
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Looks a host up and judges all its addresses; one that is denied refuses
    /// the whole host.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Resolved, DialError> {
        let host = Host::parse(host).ok_or(DialError::InvalidHost)?;
        if port == 0 {
            return Err(DialError::InvalidHost);
        }
        let addresses = match &host {
            Host::Address(address) => vec![*address],
            Host::Name(name) if host::is_metadata_service(name) => return Err(DialError::AddressBlocked),
            Host::Name(name) => {
                timeout(self.timeouts.resolve, self.names.look_up(name)).await.map_err(|_| DialError::TimedOut)??
            }
        };
        if addresses.is_empty() {
            return Err(DialError::NotFound(None));
        }
        let mut judged: Vec<SocketAddr> = Vec::with_capacity(addresses.len());
        for address in addresses {
            let address = address::unwrapped(SocketAddr::new(address, port));
            if !self.would_allow(address) {
                return Err(DialError::AddressBlocked);
            }
            if !judged.contains(&address) {
                judged.push(address);
            }
        }
        Ok(Resolved { host: host.to_string(), addresses: judged })
    }

    /// Connects to the first judged address that answers.
    pub async fn connect(&self, resolved: &Resolved) -> Result<TcpStream, DialError> {
        connect_to_any(&resolved.addresses, self.timeouts.connect).await
    }

    /// True when the policy lets us connect to the address.
    pub fn would_allow(&self, target: SocketAddr) -> bool {
        let target = address::unwrapped(target);
        if self.policy.denied.iter().any(|denied| is_same_listener(*denied, target)) {
            return false;
        }
        match address::classify(target.ip()) {
            Class::Public => true,
            Class::Denied => false,
            Class::Local => {
                self.policy.local_allowed || self.policy.allowed.iter().any(|destination| destination.contains(target))
            }
        }
    }

    /// True when the database is our own, which nobody may use as a source.
    pub fn denies_database(&self, resolved: &Resolved, database: &str) -> bool {
        self.policy.denied_databases.iter().any(|(listener, name)| {
            name == database && resolved.addresses.iter().any(|address| is_same_listener(*listener, *address))
        })
    }
}

/// True when a connection to `target` would end at `listener`, or may: what
/// listens on one address of this machine may listen on all of them, and all of
/// 127.0.0.0/8 is this machine.
fn is_same_listener(listener: SocketAddr, target: SocketAddr) -> bool {
    let listener = address::unwrapped(listener);
    let is_here =
        |address: SocketAddr| address.ip().is_unspecified() || address.ip().is_loopback() || is_own_address(address);
    listener.port() == target.port() && (listener.ip() == target.ip() || (is_here(listener) && is_here(target)))
}

/// True when the address is one of this machine: the system would then use that
/// address as our own end too. A UDP socket is asked, which sends nothing.
#[expect(clippy::disallowed_methods, reason = "nothing is sent")]
fn is_own_address(target: SocketAddr) -> bool {
    let own_end: SocketAddr = match target {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let asked = UdpSocket::bind(own_end).and_then(|socket| {
        socket.connect(target)?;
        socket.local_addr()
    });
    asked.is_ok_and(|own_end| own_end.ip() == target.ip())
}

/// Each address has its share of the time that is left, so that one that is
/// silent does not take the chance from the next.
async fn connect_to_any(addresses: &[SocketAddr], limit: Duration) -> Result<TcpStream, DialError> {
    let deadline = Instant::now() + limit;
    let mut last = DialError::NotFound(None);
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        last = match timeout(share, connect_to(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => DialError::Refused(error),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::TimedOut => DialError::TimedOut,
            Ok(Err(error)) => DialError::Failed(error),
            Err(_) => DialError::TimedOut,
        };
    }
    Err(last)
}

#[expect(clippy::disallowed_methods, reason = "the one place where a judged address is connected to")]
async fn connect_to(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_keepalive(true)?;
    socket.set_nodelay(true)?;
    let stream = socket.connect(address).await?;
    if stream.peer_addr()? != address {
        return Err(std::io::Error::other("the peer is not the address that was asked for"));
    }
    // With a free port on this machine, a socket can end up connected to itself.
    if stream.local_addr()? == address {
        return Err(std::io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

#[cfg(test)]
mod tests;
