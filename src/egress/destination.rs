//! What an operator lists as reachable: `10.0.0.0/8`, `127.0.0.1/32:5432`,
//! `[fd00::]/8:5432`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::address::{contains_v4, contains_v6};

/// A network, and the port if only one is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// First address of the network.
    pub network: IpAddr,
    /// How many leading bits belong to the network.
    pub prefix_length: u8,
    /// The only port; none means all.
    pub port: Option<u16>,
}

/// The text is no destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a network such as `10.0.0.0/8`, `127.0.0.1/32:5432` or `[fd00::]/8:5432`")]
pub struct DestinationError(String);

impl Destination {
    /// True when the address is in the network and the port fits.
    pub fn contains(&self, target: SocketAddr) -> bool {
        let length = u32::from(self.prefix_length);
        let in_network = match (self.network, target.ip()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => contains_v4(network, length, address),
            (IpAddr::V6(network), IpAddr::V6(address)) => contains_v6(network, length, address),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        };
        in_network && self.port.is_none_or(|port| port == target.port())
    }
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text.trim()).ok_or_else(|| DestinationError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Destination> {
    let (address, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            let (address, rest) = inner.split_once(']')?;
            (IpAddr::V6(address.parse().ok()?), rest)
        }
        // Without brackets, a colon after the slash can only begin the port.
        None => {
            let end = text.find('/').or_else(|| text.parse::<IpAddr>().is_err().then(|| text.find(':'))?);
            let (address, rest) = text.split_at(end.unwrap_or(text.len()));
            (address.parse().ok()?, rest)
        }
    };
    let (length, port) = match rest.split_once(':') {
        Some((length, port)) => (length, Some(port.parse().ok().filter(|port| *port != 0)?)),
        None => (rest, None),
    };
    let full = if address.is_ipv4() { 32 } else { 128 };
    let prefix_length = match length {
        "" => full,
        length => length.strip_prefix('/')?.parse().ok().filter(|length| *length <= full)?,
    };
    Some(Destination { network: address, prefix_length, port })
}

impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.network {
            IpAddr::V4(network) => write!(formatter, "{network}/{}", self.prefix_length)?,
            IpAddr::V6(network) => write!(formatter, "[{network}]/{}", self.prefix_length)?,
        }
        match self.port {
            Some(port) => write!(formatter, ":{port}"),
            None => Ok(()),
        }
    }
}
