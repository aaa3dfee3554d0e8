//! Tables of addresses, hosts and destinations.

mod fuzz;

use std::net::SocketAddr;
use std::time::Duration;

use super::address::{Class, classify};
use super::*;

fn dialer(policy: Policy) -> Dialer {
    Dialer::new(policy, Timeouts { connect: Duration::from_secs(2), ..Timeouts::default() })
}

#[test]
fn every_address_is_of_its_kind() {
    use Class::{Denied, Local, Public};
    let table = [
        ("1.1.1.1", Public),
        ("8.8.4.4", Public),
        ("9.255.255.255", Public),
        ("11.0.0.0", Public),
        ("100.63.255.255", Public),
        ("100.128.0.0", Public),
        ("126.255.255.255", Public),
        ("128.0.0.0", Public),
        ("169.253.255.255", Public),
        ("169.255.0.0", Public),
        ("172.15.255.255", Public),
        ("172.32.0.0", Public),
        ("192.167.255.255", Public),
        ("192.169.0.0", Public),
        ("198.17.255.255", Public),
        ("198.20.0.0", Public),
        ("223.255.255.255", Public),
        ("10.0.0.0", Local),
        ("10.255.255.255", Local),
        ("100.64.0.1", Local),
        ("127.0.0.1", Local),
        ("127.255.255.254", Local),
        ("172.16.0.0", Local),
        ("172.31.255.255", Local),
        ("192.168.0.1", Local),
        ("192.168.255.255", Local),
        ("0.0.0.0", Denied),
        ("0.1.2.3", Denied),
        ("100.100.100.200", Denied),
        ("168.63.129.16", Denied),
        ("169.254.0.1", Denied),
        ("169.254.169.254", Denied),
        ("169.254.170.2", Denied),
        ("192.0.0.192", Denied),
        ("192.0.2.1", Denied),
        ("192.88.99.1", Denied),
        ("198.18.0.1", Denied),
        ("198.19.255.255", Denied),
        ("198.51.100.7", Denied),
        ("203.0.113.9", Denied),
        ("224.0.0.1", Denied),
        ("239.255.255.250", Denied),
        ("240.0.0.1", Denied),
        ("255.255.255.255", Denied),
        ("2606:4700::1111", Public),
        ("2a00:1450::1", Public),
        ("2001:200::1", Public),
        ("64:ff9b::808:808", Public),
        ("::ffff:8.8.8.8", Public),
        ("::1", Local),
        ("fc00::1", Local),
        ("fd12:3456::1", Local),
        ("::ffff:127.0.0.1", Local),
        ("::ffff:10.1.2.3", Local),
        ("::", Denied),
        ("::2", Denied),
        ("::7f00:1", Denied),
        ("::ffff:169.254.169.254", Denied),
        ("::ffff:0.0.0.0", Denied),
        ("::ffff:0:127.0.0.1", Denied),
        ("64:ff9b::7f00:1", Denied),
        ("64:ff9b::a9fe:a9fe", Denied),
        ("64:ff9b:1::1", Denied),
        ("100::1", Denied),
        ("2001::1", Denied),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", Denied),
        ("2001:10::1", Denied),
        ("2001:db8::1", Denied),
        ("2002:7f00:1::1", Denied),
        ("2002:808:808::1", Denied),
        ("3fff::1", Denied),
        ("4000::1", Denied),
        ("5f00::1", Denied),
        ("fe80::1", Denied),
        ("febf::1", Denied),
        ("fec0::1", Denied),
        ("ff02::1", Denied),
        ("ff0e::1", Denied),
        ("fd00:ec2::254", Denied),
        ("fd20:ce::254", Denied),
    ];
    for (address, class) in table {
        assert_eq!(classify(address.parse().unwrap()), class, "{address}");
    }
}

#[test]
fn only_plain_hosts_are_parsed() {
    for host in ["localhost", "db.example.com", "db.example.com.", "a_b.example", "127.0.0.1", "::1", "[::1]", "x1"] {
        assert!(Host::parse(host).is_some(), "{host}");
    }
    let long = "a.".repeat(130) + "b";
    for host in [
        "",
        ".",
        "..",
        "a..b",
        "a b",
        "/var/run/postgresql",
        "@abstract",
        "a,b",
        "127.0.0.1,8.8.8.8",
        "a/b",
        "a%00b",
        "fe80::1%eth0",
        "[::1",
        "::1]",
        "[127.0.0.1]",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "1.2.3.4.5",
        "0177.0.0.1",
        "256.1.1.1",
        "-a.example",
        "a-.example",
        "bücher.example",
        "user@host",
        "host:5432",
        "a\0b",
        "a\nb",
        "host=evil",
        "postgres://h",
        &long,
    ] {
        assert!(Host::parse(host).is_none(), "{host:?}");
    }
}

#[test]
fn destinations_are_read_and_written() {
    let table = [
        ("10.0.0.0/8", "10.0.0.0/8", Some("10.9.8.7:5432"), Some("11.0.0.1:5432")),
        ("127.0.0.1/32:5432", "127.0.0.1/32:5432", Some("127.0.0.1:5432"), Some("127.0.0.1:5433")),
        ("127.0.0.1:5432", "127.0.0.1/32:5432", Some("127.0.0.1:5432"), Some("127.0.0.2:5432")),
        ("192.168.1.5", "192.168.1.5/32", Some("192.168.1.5:1"), Some("192.168.1.6:1")),
        ("0.0.0.0/0", "0.0.0.0/0", Some("10.0.0.1:1"), Some("[::1]:1")),
        ("[fd00::]/8:5432", "[fd00::]/8:5432", Some("[fd12::1]:5432"), Some("[fc12::1]:5432")),
        ("fd00::/8", "[fd00::]/8", Some("[fd12::1]:5432"), None),
        ("[::1]:80", "[::1]/128:80", Some("[::1]:80"), Some("[::1]:81")),
        ("::1", "[::1]/128", Some("[::1]:80"), None),
    ];
    for (text, written, inside, outside) in table {
        let destination: Destination = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(destination.to_string(), written);
        if let Some(inside) = inside {
            assert!(destination.contains(inside.parse().unwrap()), "{text} {inside}");
        }
        if let Some(outside) = outside {
            assert!(!destination.contains(outside.parse().unwrap()), "{text} {outside}");
        }
    }
    for text in ["", "10.0.0.0/33", "10.0.0/8", "[fd00::]/129", "10.0.0.0/8:0", "10.0.0.0/8:x", "[fd00::/8", "host/8"] {
        assert!(text.parse::<Destination>().is_err(), "{text}");
    }
}

#[test]
fn local_networks_need_the_policy_and_metadata_is_never_allowed() {
    let at = |text: &str| -> SocketAddr { text.parse().unwrap() };
    let closed = dialer(Policy::default());
    assert!(closed.would_allow(at("8.8.8.8:5432")));
    assert!(!closed.would_allow(at("127.0.0.1:5432")));
    assert!(!closed.would_allow(at("[::ffff:10.0.0.1]:5432")));

    let local = dialer(Policy { local_allowed: true, ..Policy::default() });
    assert!(local.would_allow(at("127.0.0.1:5432")));
    assert!(local.would_allow(at("[fd12::1]:5432")));
    assert!(!local.would_allow(at("169.254.169.254:80")));

    let listed = dialer(Policy {
        allowed: vec!["10.1.0.0/16:5432".parse().unwrap(), "169.254.0.0/16".parse().unwrap()],
        ..Policy::default()
    });
    assert!(listed.would_allow(at("10.1.2.3:5432")));
    assert!(!listed.would_allow(at("10.1.2.3:22")));
    assert!(!listed.would_allow(at("10.2.2.3:5432")));
    assert!(!listed.would_allow(at("169.254.169.254:80")));
}

#[test]
fn our_own_listeners_are_denied_however_they_are_written() {
    let at = |text: &str| -> SocketAddr { text.parse().unwrap() };
    let policy = |denied: &str| dialer(Policy { local_allowed: true, denied: vec![at(denied)], ..Policy::default() });
    let bound = policy("127.0.0.1:8080");
    for target in ["127.0.0.1:8080", "127.9.9.9:8080", "[::1]:8080", "[::ffff:127.0.0.1]:8080"] {
        assert!(!bound.would_allow(at(target)), "{target}");
    }
    assert!(bound.would_allow(at("127.0.0.1:5432")));
    assert!(bound.would_allow(at("10.0.0.1:8080")));
    let everywhere = policy("0.0.0.0:8080");
    assert!(!everywhere.would_allow(at("127.0.0.1:8080")));
    assert!(!everywhere.would_allow(at("[::1]:8080")));
}

#[test]
fn our_own_database_is_denied_by_its_name_too() {
    let own = dialer(Policy {
        local_allowed: true,
        denied_databases: vec![("127.0.0.1:5432".parse().unwrap(), "tributary".to_owned())],
        ..Policy::default()
    });
    let resolved = |port| Resolved { host: "x".to_owned(), addresses: vec![([127, 0, 0, 1], port).into()] };
    assert!(own.denies_database(&resolved(5432), "tributary"));
    assert!(!own.denies_database(&resolved(5432), "shop"));
    assert!(!own.denies_database(&resolved(5433), "tributary"));
}

#[tokio::test]
async fn a_judged_host_is_connected_and_a_closed_port_is_unreachable() {
    let dialer = dialer(Policy { local_allowed: true, ..Policy::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let resolved = dialer.resolve("127.0.0.1", port).await.unwrap();
    assert!(resolved.is_loopback());
    assert_eq!(dialer.connect(&resolved).await.unwrap().peer_addr().unwrap().port(), port);
    drop(listener);
    let error = dialer.connect(&resolved).await.unwrap_err();
    assert_eq!((error.code(), error.to_string().contains("127")), ("unreachable", false));
}

#[tokio::test]
async fn a_blocked_host_gets_no_packet() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let error = dialer(Policy::default()).resolve("localhost", port).await.unwrap_err();
    assert_eq!(error.code(), "address_blocked");
    assert!(matches!(dialer(Policy::default()).resolve("127.0.0.1", 0).await, Err(DialError::InvalidHost)));
}

#[test]
fn a_root_certificate_must_be_pem() {
    assert!(matches!(tls::check_root("hello"), Err(tls::TlsError::InvalidRoot)));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(tls::check_root(broken), Err(tls::TlsError::InvalidRoot)));
}
