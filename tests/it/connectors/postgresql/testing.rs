//! The staged report of a connection test.

use serde_json::json;
use tributary::report::{Outcome, Report, StageKind};

use super::*;

async fn check(credentials: Value, config: Value) -> (Report, Result<(), ConnectorError>) {
    let mut report = Report::default();
    let outcome = open(credentials, config).check(&mut report).await;
    (report, outcome)
}

fn stages(report: &Report) -> Vec<(StageKind, Outcome, Option<&'static str>)> {
    report.stages.iter().map(|stage| (stage.kind, stage.outcome, stage.code)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_connection_passes_every_stage() {
    let database =
        database("CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1); CREATE TABLE b (id int)").await;
    let (report, outcome) = check(credentials(&database), json!({})).await;
    outcome.unwrap();
    use Outcome::Ok;
    assert_eq!(
        stages(&report),
        [
            (StageKind::Resolve, Ok, None),
            (StageKind::Connect, Ok, None),
            (StageKind::Tls, Ok, Some("plain_text_allowed")),
            (StageKind::Login, Ok, None),
            (StageKind::Permission, Ok, None),
            (StageKind::Read, Ok, None),
            (StageKind::Permission, Ok, None),
            (StageKind::Read, Ok, None),
        ]
    );
    assert_eq!(report.stages[7].object.as_deref(), Some("public.b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_is_said_for_password_role_and_database() {
    let database = database("").await;
    for (field, value) in [("password", "wrong-s3cret"), ("username", "nobody_s3cret"), ("database", "no_s3cret")] {
        let mut credentials = credentials(&database);
        credentials[field] = json!(value);
        let (report, outcome) = check(credentials, json!({})).await;
        let error = outcome.unwrap_err();
        assert!(matches!(error, ConnectorError::LoginRefused(_)), "{field}: {error:?}");
        assert_eq!(report.first_failure().and_then(|stage| stage.code), Some("login_refused"), "{field}");
        assert!(!format!("{report:?} {error:?}").contains("s3cret"), "{report:?} {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_port_is_unreachable_and_the_rest_is_skipped() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let credentials = json!({"host": "127.0.0.1", "port": free, "database": "d", "username": "u", "password": "p"});
    let (report, outcome) = check(credentials, json!({})).await;
    assert!(matches!(outcome, Err(ConnectorError::Unreachable { code: "unreachable", .. })));
    let outcomes: Vec<Outcome> = report.stages.iter().map(|stage| stage.outcome).collect();
    assert_eq!(outcomes, [Outcome::Ok, Outcome::Failed, Outcome::Skipped, Outcome::Skipped]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_address_is_blocked_before_any_packet() {
    let credentials =
        json!({"host": "169.254.169.254", "port": 5432, "database": "d", "username": "u", "password": "p"});
    let (report, outcome) = check(credentials, json!({})).await;
    assert!(matches!(outcome, Err(ConnectorError::Unreachable { code: "address_blocked", .. })));
    assert_eq!(report.first_failure().map(|stage| stage.kind), Some(StageKind::Resolve));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_and_a_missing_table_are_named() {
    let database = database("CREATE TABLE shown (id int); CREATE TABLE hidden (id int)").await;
    let role = format!("tester_{}", database.name);
    let grants = format!("CREATE ROLE {role} LOGIN PASSWORD 'pw'; GRANT SELECT ON shown TO {role}");
    database.connect().await.batch_execute(&grants).await.unwrap();
    let mut login = credentials(&database);
    (login["username"], login["password"]) = (json!(role), json!("pw"));

    let (report, outcome) = check(login.clone(), json!({})).await;
    outcome.unwrap();
    assert!(report.stages.iter().any(|stage| stage.code == Some("some_not_readable")));

    let (report, outcome) = check(login.clone(), json!({"tables": ["public.*"]})).await;
    assert!(matches!(outcome, Err(ConnectorError::Forbidden { object }) if object == "public.hidden"));
    let failure = report.first_failure().unwrap();
    assert_eq!((failure.kind, failure.code), (StageKind::Permission, Some("permission_missing")));

    let (report, outcome) = check(login, json!({"tables": ["public.shown", "public.nowhere"]})).await;
    assert!(matches!(outcome, Err(ConnectorError::Invalid { field, .. }) if field == "config.tables[1]"));
    assert_eq!(report.first_failure().and_then(|stage| stage.code), Some("object_missing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_asked_for_where_the_config_wants_it_and_never_given_up() {
    let database = database("").await;
    for mode in ["require", "verify-full"] {
        let (report, outcome) = check(credentials(&database), json!({"sslMode": mode})).await;
        assert!(matches!(outcome, Err(ConnectorError::Unreachable { code: "tls_failed", .. })), "{mode}");
        assert_eq!(report.first_failure().map(|stage| stage.kind), Some(StageKind::Tls), "{mode}");
    }
}
