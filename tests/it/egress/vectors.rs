//! `tests/egress-vectors.txt`, judged and dialled.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, RwLock};

use serde_json::{Value, json};
use tributary::connectors::{ConnectorError, Resources};
use tributary::egress::{DialError, Policy};
use tributary::report::Report;

use super::{dialer, name_server_address, namespace};
use crate::connectors::passes::connector;
use crate::support::names::{Answer, NameServer};

const DATABASE: &str = "tributary";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Public,
    Local,
    Denied,
    Invalid,
    Own,
    Database,
}

struct Vector {
    line: usize,
    host: String,
    port: u16,
    verdict: Verdict,
    addresses: Vec<IpAddr>,
}

fn vectors() -> Vec<Vector> {
    let text = include_str!("../../egress-vectors.txt");
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(index, line)| parsed(index + 1, line)).collect()
}

fn parsed(line: usize, text: &str) -> Vector {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let host = values.next().expect("a host").unwrap_or_else(|error| panic!("line {line}: {error}"));
    let mut words = text[values.byte_offset()..].split_whitespace();
    let verdict = words.next().unwrap_or_else(|| panic!("line {line} has no verdict"));
    let (verdict, port) = verdict.split_once(':').unwrap_or((verdict, "5431"));
    let verdict = match verdict {
        "public" => Verdict::Public,
        "local" => Verdict::Local,
        "denied" => Verdict::Denied,
        "invalid" => Verdict::Invalid,
        "own" => Verdict::Own,
        "database" => Verdict::Database,
        other => panic!("line {line}: `{other}` is no verdict"),
    };
    let addresses = words.map(|word| word.parse().unwrap_or_else(|_| panic!("line {line}: {word}"))).collect();
    Vector { line, host, port: port.parse().unwrap(), verdict, addresses }
}

fn policy(name: &str) -> Policy {
    let everything = vec!["0.0.0.0/0".parse().unwrap(), "[::]/0".parse().unwrap()];
    let at = |text: &str| -> SocketAddr { text.parse().unwrap() };
    Policy {
        local_allowed: name == "local",
        allowed: if name == "listed" { everything } else { Vec::new() },
        denied: vec![at("127.0.0.1:8420"), at("0.0.0.0:8421")],
        denied_databases: vec![(at("127.0.0.1:5432"), DATABASE.to_owned())],
    }
}

/// What is in the answers of the name server, by name.
type Zone = Arc<RwLock<HashMap<String, Vec<IpAddr>>>>;

async fn zone() -> (Zone, NameServer) {
    let zone = Zone::default();
    let answers = zone.clone();
    let server = NameServer::start(name_server_address(), move |name, _| {
        Answer::Addresses(answers.read().unwrap().get(name).cloned().unwrap_or_default())
    });
    (zone, server.await)
}

fn teach(zone: &Zone, vector: &Vector) {
    let name = vector.host.trim_end_matches('.').to_lowercase();
    zone.write().unwrap().insert(name, vector.addresses.clone());
}

/// `None` where the host may be dialled.
fn expected(verdict: Verdict, policy: &str) -> Option<&'static str> {
    match verdict {
        Verdict::Public => None,
        Verdict::Local if policy != "closed" => None,
        Verdict::Local | Verdict::Denied | Verdict::Own | Verdict::Database => Some("address_blocked"),
        Verdict::Invalid => Some("unreachable"),
    }
}

#[tokio::test]
async fn every_vector_is_judged_as_listed_under_every_policy() {
    let (zone, server) = zone().await;
    let vectors = vectors();
    assert!(vectors.len() >= 150, "{} vectors", vectors.len());
    for name in ["closed", "local", "listed"] {
        let dialer = dialer(policy(name), &server);
        for vector in &vectors {
            teach(&zone, vector);
            let resolved = dialer.resolve(&vector.host, vector.port).await;
            let resolved = match resolved {
                Ok(resolved) if dialer.denies_database(&resolved, DATABASE) => Err(DialError::AddressBlocked),
                other => other,
            };
            let place = format!("line {}, {:?}, policy {name}", vector.line, vector.host);
            match resolved {
                Ok(resolved) => {
                    assert_eq!(expected(vector.verdict, name), None, "{place}");
                    for address in resolved.addresses() {
                        assert!(dialer.would_allow(*address), "{place}: {address}");
                    }
                }
                Err(error) => {
                    assert_eq!(expected(vector.verdict, name), Some(error.code()), "{place}: {error:?}");
                    let invalid = matches!(error, DialError::InvalidHost);
                    assert_eq!(invalid, vector.verdict == Verdict::Invalid, "{place}: {error:?}");
                }
            }
            if vector.verdict == Verdict::Database && name != "closed" {
                let resolved = dialer.resolve(&vector.host, vector.port).await.expect("it is on this machine");
                assert!(!dialer.denies_database(&resolved, "shop"), "{place}");
            }
        }
    }
}

/// Through the connector, as a connection test does. Outside of the namespace only
/// what must be refused is tried: the rest would go to other people's machines.
#[tokio::test]
async fn every_vector_is_dialled_or_refused() {
    let (zone, server) = zone().await;
    let chosen = namespace();
    let name = chosen.as_deref().unwrap_or("closed");
    let dialer = Arc::new(dialer(policy(name), &server));
    let mut let_through = 0;
    let mut refused = 0;
    for vector in vectors() {
        // In the namespace every address is this machine's, and our database is there.
        let is_ours = chosen.is_some() && [8420, 5432].contains(&vector.port);
        let verdict = if is_ours && vector.verdict == Verdict::Local { Verdict::Own } else { vector.verdict };
        let expected = expected(verdict, name);
        if expected.is_none() && chosen.is_none() {
            continue;
        }
        teach(&zone, &vector);
        let credentials = json!({
            "host": vector.host, "port": vector.port, "database": DATABASE, "username": "u", "password": "p",
        });
        let (report, outcome) = check(&dialer, &credentials).await;
        let place = format!("line {}, {:?}, policy {name}", vector.line, vector.host);
        match (expected, outcome) {
            (Some(code), Some(got)) => assert_eq!((code, report.stages.len()), (got, 1), "{place}: {report:?}"),
            // Nothing listens in the namespace.
            (None, Some("unreachable" | "timed_out")) => {
                assert!(report.stages.len() > 1, "{place}: {report:?}");
                let_through += 1;
                continue;
            }
            other => panic!("{place}: {other:?}"),
        }
        refused += 1;
    }
    println!("policy {name}: {refused} refused, {let_through} dialled");
    assert!(refused >= 150, "{refused}");
}

/// The report of a connection test up to its failure, and the failure's code. What
/// the settings refuse has no report; it counts as its first stage.
async fn check(dialer: &Arc<tributary::egress::Dialer>, credentials: &Value) -> (Report, Option<&'static str>) {
    use tributary::report::StageKind;

    let connector = connector("postgresql");
    let mut report = Report::default();
    let Ok(secrets) = connector.credentials(credentials.as_object().unwrap()) else {
        report.failed(StageKind::Resolve, None, std::time::Duration::ZERO, "unreachable", "");
        return (report, Some("unreachable"));
    };
    let config = connector.config(&serde_json::Map::new()).expect("a valid config");
    let resources = Resources { dialer: dialer.clone(), file_roots: Arc::from([]), parsers: Arc::default() };
    let session = connector.open(secrets, config, resources).expect("a session");
    let outcome = session.check(&mut report).await;
    report.stages.retain(|stage| stage.outcome != tributary::report::Outcome::Skipped);
    let code = match outcome {
        Ok(()) => None,
        Err(ConnectorError::Unreachable { code, .. }) => Some(code),
        Err(error) => panic!("{error:?}"),
    };
    (report, code)
}
