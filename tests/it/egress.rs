//! The way out, against names and name servers made to lead it astray.
//!
//! `tests/egress` runs the same in a network namespace, where every address
//! belongs to this machine and `nftables` counts what is sent to denied ones. There
//! `TRIBUTARY_TEST_EGRESS` names the policy, and what may be dialled is dialled.

mod rebinding;
mod vectors;

use std::net::IpAddr;
use std::time::Duration;

use tributary::egress::{Dialer, Names, Policy, Timeouts};

use crate::support::names::NameServer;

/// The namespace that the tests are in, if they are in one.
fn namespace() -> Option<String> {
    std::env::var("TRIBUTARY_TEST_EGRESS").ok()
}

/// Where name servers of the tests are: in the namespace not on a loopback address,
/// since packets to those are counted.
fn name_server_address() -> IpAddr {
    let address = if namespace().is_some() { [1, 1, 1, 53] } else { [127, 0, 0, 1] };
    address.into()
}

/// A dialer that asks that name server, and has no hosts file.
fn dialer(policy: Policy, server: &NameServer) -> Dialer {
    let timeouts = Timeouts { connect: Duration::from_secs(2), ..Timeouts::default() };
    Dialer::new(policy, timeouts).with_names(Names::new("/nonexistent/hosts".into(), vec![server.address]))
}
