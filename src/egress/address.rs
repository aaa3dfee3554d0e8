//! What kind of place an address is. IPv4 by deny-list, IPv6 by allow-list: most
//! of IPv6 is not in use, and what comes into use there is not for us to guess.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Kind of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// On the open internet.
    Public,
    /// Loopback, or a network of one's own: allowed by policy only.
    Local,
    /// Never to be reached: cloud metadata, link-local, multicast, reserved.
    Denied,
}

/// Networks of one's own.
const LOCAL_V4: &[([u8; 4], u32)] =
    &[([10, 0, 0, 0], 8), ([100, 64, 0, 0], 10), ([127, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16)];

/// Never to be reached; looked at before the local ones.
const DENIED_V4: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),
    // Metadata services that sit outside link-local.
    ([100, 100, 100, 200], 32),
    ([168, 63, 129, 16], 32),
    ([169, 254, 0, 0], 16),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    // AS112, whose servers anybody may run; AMT; 6to4 relays; AS112 again.
    ([192, 31, 196, 0], 24),
    ([192, 52, 193, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 175, 48, 0], 24),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// Parts of 2000::/3 that are not ordinary addresses: protocol assignments (with
/// Teredo, benchmarking, AMT, ORCHID), documentation, 6to4, AS112, documentation
/// again.
const DENIED_GLOBAL_V6: &[([u16; 8], u32)] = &[
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    ([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// Metadata services within fc00::/7: of Amazon, Google, Scaleway and Linode.
const METADATA_V6: &[([u16; 8], u32)] = &[
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32),
    ([0xfd20, 0xce, 0, 0, 0, 0, 0, 0], 32),
    ([0xfd00, 0x42, 0, 0, 0, 0, 0, 0], 32),
    ([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 0], 48),
];

/// The kind of an address.
pub fn classify(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

/// The address that a packet would really go to: IPv4 written as IPv6 is IPv4.
pub fn unwrapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn classify_v4(address: Ipv4Addr) -> Class {
    let within = |networks: &[([u8; 4], u32)]| {
        networks.iter().any(|(network, length)| contains_v4(Ipv4Addr::from(*network), *length, address))
    };
    if within(DENIED_V4) {
        Class::Denied
    } else if within(LOCAL_V4) {
        Class::Local
    } else {
        Class::Public
    }
}

fn classify_v6(address: Ipv6Addr) -> Class {
    if let Some(embedded) = address.to_ipv4_mapped() {
        return classify_v4(embedded);
    }
    if let Some(translated) = translated_by_nat64(address) {
        // A translator that leads into a private network is not for us to use.
        return if classify_v4(translated) == Class::Public { Class::Public } else { Class::Denied };
    }
    if is_isatap(address) {
        return Class::Denied;
    }
    let within = |networks: &[([u16; 8], u32)]| {
        networks.iter().any(|(network, length)| contains_v6(Ipv6Addr::from(*network), *length, address))
    };
    if address.is_loopback() {
        Class::Local
    } else if contains_v6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, address) {
        if within(METADATA_V6) { Class::Denied } else { Class::Local }
    } else if contains_v6(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, address) && !within(DENIED_GLOBAL_V6) {
        Class::Public
    } else {
        Class::Denied
    }
}

fn translated_by_nat64(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let prefix = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);
    contains_v6(prefix, 96, address).then(|| {
        let [.., a, b, c, d] = address.octets();
        Ipv4Addr::new(a, b, c, d)
    })
}

/// A tunnel to the IPv4 address in its last half (RFC 5214).
fn is_isatap(address: Ipv6Addr) -> bool {
    let [_, _, _, _, group, tag, ..] = address.segments();
    tag == 0x5efe && matches!(group, 0 | 0x200)
}

/// True when the first `length` bits of both are the same.
pub(super) fn contains_v4(network: Ipv4Addr, length: u32, address: Ipv4Addr) -> bool {
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    network.to_bits() & mask == address.to_bits() & mask
}

/// The same for IPv6.
pub(super) fn contains_v6(network: Ipv6Addr, length: u32, address: Ipv6Addr) -> bool {
    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    network.to_bits() & mask == address.to_bits() & mask
}
