//! What a user may give as a host: one plain name, or one address.

use std::fmt;
use std::net::IpAddr;

/// Names of metadata services of clouds. Their addresses are denied as well, where
/// they are known; some are ordinary addresses that answer differently from within.
const METADATA_SERVICES: &[&str] = &[
    "instance-data",
    "instance-data.ec2.internal",
    "metadata",
    "metadata.azure.internal",
    "metadata.goog",
    "metadata.google.internal",
    "metadata.packet.net",
    "metadata.platformequinix.com",
    "metadata.tencentyun.com",
];

/// One host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name, without the root dot at its end.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl Host {
    /// Refuses socket paths, lists, zones, names outside ASCII (a name in another
    /// script is given as its `xn--` form: how it is mapped there is a matter of
    /// taste, and full-width digits and dots would become addresses) and the short
    /// spellings of IPv4 (`127.1`, `0x7f000001`), which resolvers read in
    /// different ways.
    pub fn parse(host: &str) -> Option<Self> {
        let unbracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(inner) = unbracketed {
            return inner.parse().ok().map(|address| Self::Address(IpAddr::V6(address)));
        }
        if let Ok(address) = host.parse() {
            return Some(Self::Address(address));
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
            || (last.to_ascii_lowercase().starts_with("0x")
                && last.bytes().skip(2).all(|byte| byte.is_ascii_hexdigit()));
        (name.len() <= 253 && labels_are_plain && !reads_as_number).then(|| Self::Name(name.to_owned()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Address(address) => write!(formatter, "{address}"),
        }
    }
}

/// True for the name of a metadata service.
pub(super) fn is_metadata_service(name: &str) -> bool {
    METADATA_SERVICES.iter().any(|service| service.eq_ignore_ascii_case(name))
}
