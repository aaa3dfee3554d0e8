//! Hosts as a forger would write them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use proptest::prelude::*;

use crate::egress::host::Host;
use crate::egress::{Dialer, Names, Policy, Timeouts};
use crate::tests::{fuzz, worded};

const HOST: &[&str] = &[
    "127.0.0.1",
    "127.1",
    "0x7f",
    "0177",
    "2130706433",
    ".",
    "..",
    ":",
    "::",
    "::1",
    "[",
    "]",
    "[::1]",
    "::ffff:",
    "64:ff9b::",
    "169.254.169.254",
    "a9fe:a9fe",
    "localhost",
    "metadata.google.internal",
    "%",
    "%eth0",
    "@",
    "/",
    "\\",
    "\0",
    ",",
    " ",
    "\u{ff11}",
    "\u{3002}",
    "xn--",
    "-",
    "_",
    "0",
    "00",
    "255",
    "256",
    "10.0.0.1",
    "8.8.8.8",
    "db",
    "example",
];

/// Differential: whatever the parser takes leads to an allowed address only, and
/// where others see an address in it, we see the same one or none.
#[test]
fn an_accepted_host_only_ever_dials_an_allowed_address() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, "8.8.8.8 db\n10.0.0.1 example\n169.254.169.254 db.example\n").unwrap();
    // Nobody is asked: there are no servers.
    let timeouts = Timeouts { resolve: Duration::from_millis(50), ..Timeouts::default() };
    let dialer = Dialer::new(Policy::default(), timeouts).with_names(Names::new(hosts, vec![]));
    fuzz("hosts", worded(HOST), |text| {
        let parsed = Host::parse(&text);
        if let Ok(resolved) = runtime.block_on(dialer.resolve(&text, 5432)) {
            prop_assert!(parsed.is_some());
            for address in resolved.addresses() {
                prop_assert!(dialer.would_allow(*address), "{text:?} leads to {address}");
                let is_private = match address.ip() {
                    IpAddr::V4(address) => address.is_private() || address.is_loopback() || address.is_link_local(),
                    IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
                };
                prop_assert!(!is_private, "{text:?} leads to {address}");
            }
        }
        // What other programs take for an IPv4 address is one for us, or nothing.
        if let Some(number) = as_inet_aton(&text) {
            let ours = matches!(parsed, Some(Host::Address(IpAddr::V4(address))) if address == number);
            prop_assert!(parsed.is_none() || ours, "{text:?} is {number} for others");
        }
        Ok(())
    });
}

/// As the C library reads addresses: one to four numbers, each decimal, octal or
/// hexadecimal, the last one filling what is left.
fn as_inet_aton(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() > 4 {
        return None;
    }
    let number = |part: &str| -> Option<u64> {
        let lower = part.to_ascii_lowercase();
        if let Some(digits) = lower.strip_prefix("0x") {
            return if digits.is_empty() { None } else { u64::from_str_radix(digits, 16).ok() };
        }
        let radix = if part.len() > 1 && part.starts_with('0') { 8 } else { 10 };
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| u64::from_str_radix(part, radix).ok())?
    };
    let numbers: Vec<u64> = parts.iter().map(|part| number(part)).collect::<Option<_>>()?;
    let (last, first) = numbers.split_last()?;
    if first.iter().any(|number| *number > 255) || *last >= 1 << (8 * (4 - first.len())) {
        return None;
    }
    let high = first.iter().enumerate().map(|(place, number)| number << (24 - 8 * place)).sum::<u64>();
    u32::try_from(high + last).ok().map(Ipv4Addr::from)
}
