//! The only way out: resolve, check against the address policy, connect.
//!
//! A name is resolved once; every address that it has is judged, and one denied
//! address refuses the whole name. The connection then goes to a judged address,
//! never to the name again, so that a second look-up cannot give another answer.

pub mod address;
pub mod destination;
pub mod tls;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use address::Class;
pub use destination::{Destination, DestinationError};

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
            Self::InvalidHost | Self::NotFound(_) | Self::Refused(_) | Self::Failed(_) => "unreachable",
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
}

impl Dialer {
    /// A dialer with its policy.
    pub fn new(policy: Policy, timeouts: Timeouts) -> Self {
        Self { policy, timeouts }
    }

    /// How long each step may take.
    pub fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Looks a host up and judges all its addresses; one that is denied refuses
    /// the whole host.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Resolved, DialError> {
        let host = parse_host(host).ok_or(DialError::InvalidHost)?;
        if port == 0 {
            return Err(DialError::InvalidHost);
        }
        let addresses = match host {
            Host::Address(address) => vec![SocketAddr::new(address, port)],
            Host::Name(name) => self.look_up(name, port).await?,
        };
        let mut judged: Vec<SocketAddr> = Vec::with_capacity(addresses.len());
        for address in addresses {
            let address = address::unwrapped(address);
            if !self.would_allow(address) {
                return Err(DialError::AddressBlocked);
            }
            if !judged.contains(&address) {
                judged.push(address);
            }
        }
        let host = match host {
            Host::Address(address) => address.to_string(),
            Host::Name(name) => name.trim_end_matches('.').to_owned(),
        };
        Ok(Resolved { host, addresses: judged })
    }

    /// Connects to the first judged address that answers.
    pub async fn connect(&self, resolved: &Resolved) -> Result<TcpStream, DialError> {
        match timeout(self.timeouts.connect, connect_to_any(&resolved.addresses)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(DialError::TimedOut),
        }
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

/// True when a connection to `target` would end at `listener`.
fn is_same_listener(listener: SocketAddr, target: SocketAddr) -> bool {
    let listener = address::unwrapped(listener);
    if listener.port() != target.port() {
        return false;
    }
    if listener.ip().is_unspecified() {
        return target.ip().is_loopback() || is_own_address(target);
    }
    // All of 127.0.0.0/8 is this machine, and another address of it may well be
    // forwarded to the listener.
    listener.ip() == target.ip() || (listener.ip().is_loopback() && target.ip().is_loopback())
}

/// True when the address is one of this machine: the system would then use that
/// address as our own end too. A UDP socket is asked, which sends nothing.
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

async fn connect_to_any(addresses: &[SocketAddr]) -> Result<TcpStream, DialError> {
    let mut last = DialError::NotFound(None);
    for address in addresses {
        match connect_to(*address).await {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => last = DialError::Refused(error),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => last = DialError::TimedOut,
            Err(error) => last = DialError::Failed(error),
        }
    }
    Err(last)
}

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

impl Dialer {
    async fn look_up(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        let found = timeout(self.timeouts.resolve, tokio::net::lookup_host((name, port)))
            .await
            .map_err(|_| DialError::TimedOut)?
            .map_err(|error| DialError::NotFound(Some(error)))?;
        let addresses: Vec<SocketAddr> = found.collect();
        if addresses.is_empty() { Err(DialError::NotFound(None)) } else { Ok(addresses) }
    }
}

enum Host<'a> {
    Name(&'a str),
    Address(IpAddr),
}

/// One host: a plain name or an address. Refuses socket paths, lists, zones,
/// names outside ASCII and the short spellings of IPv4 (`127.1`, `0x7f000001`),
/// which resolvers read in different ways.
fn parse_host(host: &str) -> Option<Host<'_>> {
    let unbracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(inner) = unbracketed {
        return inner.parse().ok().map(|address| Host::Address(IpAddr::V6(address)));
    }
    if let Ok(address) = host.parse() {
        return Some(Host::Address(address));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let labels_are_plain = name.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    });
    // The last label of a real name is never a number; where it is, resolvers
    // take the name for an IPv4 address.
    let last = name.rsplit('.').next().unwrap_or_default();
    let reads_as_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || (last.to_ascii_lowercase().starts_with("0x") && last.bytes().skip(2).all(|byte| byte.is_ascii_hexdigit()));
    (name.len() <= 253 && labels_are_plain && !reads_as_number).then_some(Host::Name(host))
}

#[cfg(test)]
mod tests;
