//! TLS towards the server.

use serde_json::json;
use tributary::report::{Report, StageKind};

use super::*;
use crate::support::tls::{Certificates, front};

async fn check(database: &Database, port: u16, config: Value) -> (Report, Result<(), ConnectorError>) {
    let mut credentials = credentials(database);
    credentials["port"] = json!(port);
    let mut report = Report::default();
    let outcome = open(credentials, config).check(&mut report).await;
    (report, outcome)
}

fn assert_tls_failed((report, outcome): (Report, Result<(), ConnectorError>)) {
    assert!(matches!(outcome, Err(ConnectorError::Unreachable { code: "tls_failed", .. })), "{outcome:?}");
    assert_eq!(report.first_failure().map(|stage| stage.kind), Some(StageKind::Tls));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_and_the_name_are_verified_as_asked() {
    let database = database("CREATE TABLE a (id int)").await;
    let right = Certificates::make("IP:127.0.0.1");
    let port = front(Some(&right), database.port).await;
    for mode in ["verify-full", "require"] {
        let (report, outcome) = check(&database, port, json!({"sslMode": mode, "rootCertificate": right.root()})).await;
        outcome.unwrap_or_else(|error| panic!("{mode}: {error} {report:?}"));
        assert_eq!(report.stages[2].code, None, "{mode}");
    }
    assert_tls_failed(check(&database, port, json!({"sslMode": "verify-full"})).await);
    assert_tls_failed(check(&database, port, json!({"sslMode": "require"})).await);

    let other_name = Certificates::make("DNS:db.example.com");
    let port = front(Some(&other_name), database.port).await;
    let root = other_name.root();
    let (_, outcome) = check(&database, port, json!({"sslMode": "require", "rootCertificate": root})).await;
    outcome.unwrap();
    assert_tls_failed(check(&database, port, json!({"sslMode": "verify-full", "rootCertificate": root})).await);
    assert_tls_failed(check(&database, port, json!({"sslMode": "require", "rootCertificate": right.root()})).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_certificate_is_taken_where_it_is_the_root() {
    let database = database("").await;
    let own = Certificates::self_signed("IP:127.0.0.1");
    let port = front(Some(&own), database.port).await;
    let (_, outcome) = check(&database, port, json!({"sslMode": "verify-full", "rootCertificate": own.root()})).await;
    outcome.unwrap();
    let stranger = Certificates::self_signed("IP:127.0.0.1");
    let config = json!({"sslMode": "require", "rootCertificate": stranger.root()});
    assert_tls_failed(check(&database, port, config).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_refused() {
    let database = database("").await;
    let port = front(None, database.port).await;
    for mode in ["require", "verify-full"] {
        assert_tls_failed(check(&database, port, json!({"sslMode": mode})).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_is_taken_where_it_is_asked_for_and_said() {
    let database = database("").await;
    for mode in ["auto", "disable"] {
        let (report, outcome) = check(&database, database.port, json!({"sslMode": mode})).await;
        outcome.unwrap();
        assert_eq!(report.stages[2].code, Some("plain_text_allowed"));
    }
}
