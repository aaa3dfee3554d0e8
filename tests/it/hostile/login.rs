//! Rogue servers up to the login.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tributary::egress::Timeouts;
use tributary::report::StageKind;

use super::rogue::{Rogue, Server};
use super::service::Service;
use super::{MARKER, PASSWORD, refusal};

const LOGIN: Duration = Duration::from_secs(5);

/// What a connection test says: the failed stage and its code, and the whole report
/// as text, with the error's.
async fn check(port: u16, config: Value) -> (StageKind, &'static str, String) {
    let credentials = json!({
        "host": "127.0.0.1", "port": port, "database": "shop", "username": "reader", "password": PASSWORD,
    });
    let limits = Timeouts { login: LOGIN, handshake: LOGIN, first_byte: LOGIN, ..Timeouts::default() };
    refusal::of("postgresql", credentials, config, limits).await
}

const TABLE: &[(Rogue, StageKind, &[&str])] = &[
    (Rogue::ClearText, StageKind::Login, &["login_refused"]),
    (Rogue::Md5, StageKind::Login, &["login_refused"]),
    (Rogue::Scram, StageKind::Login, &["login_refused"]),
    (Rogue::Length(0), StageKind::Login, &["unreachable"]),
    (Rogue::Length(3), StageKind::Login, &["unreachable"]),
    (Rogue::Length(0x7fff_ffff), StageKind::Login, &["unreachable"]),
    (Rogue::Length(u32::MAX), StageKind::Login, &["unreachable"]),
    (Rogue::Silent, StageKind::Login, &["timed_out"]),
    (Rogue::Drip, StageKind::Login, &["timed_out"]),
    (Rogue::Settings, StageKind::Login, &["unreachable"]),
    (Rogue::Notices, StageKind::Login, &["unreachable"]),
    (Rogue::Refusal, StageKind::Login, &["login_refused"]),
    (Rogue::Failure, StageKind::Login, &["unreachable"]),
    (Rogue::Http, StageKind::Login, &["unreachable"]),
    (Rogue::Noise, StageKind::Login, &["unreachable"]),
    (Rogue::Open, StageKind::Login, &["unreachable"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_rogue_has_its_code_within_the_deadline_and_learns_no_password() {
    for (rogue, stage, codes) in TABLE {
        let server = Server::start(*rogue).await;
        let began = Instant::now();
        let (failed, code, said) = check(server.port, json!({})).await;
        assert!(began.elapsed() < 6 * LOGIN, "{rogue:?} took {:?}", began.elapsed());
        assert_eq!(failed, *stage, "{rogue:?}: {said}");
        assert!(codes.contains(&code), "{rogue:?}: {code}");
        assert!(!said.contains(MARKER) && !said.contains('\u{1b}'), "{rogue:?}: {said}");
        assert!(!server.heard(PASSWORD), "{rogue:?} was told the password");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_talks_its_way_out_of_tls_is_left() {
    let long: &[u8] = &[b'S'; 40_000];
    for answer in [&b"N"[..], b"E", b"", b"S", b"Sgarbage that is no TLS record", b"SN", b"N\0\0\0\x08\0", long] {
        for mode in ["require", "verify-full"] {
            let server = Server::start(Rogue::Tls(answer)).await;
            let (failed, code, said) = check(server.port, json!({"sslMode": mode})).await;
            assert_eq!(failed, StageKind::Tls, "{mode}: {said}");
            assert!(["tls_failed", "timed_out"].contains(&code), "{mode}: {code}");
            assert!(!server.heard("reader") && !server.heard(PASSWORD), "{mode}: it was told who we are");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rogues_leave_no_word_in_answers_and_logs_and_take_no_memory() {
    let service = Service::start().await;
    let mut servers = Vec::new();
    let mut connections = Vec::new();
    for (rogue, ..) in TABLE {
        let server = Server::start(*rogue).await;
        connections.push((rogue, service.connect_rogue(server.port).await));
        servers.push(server);
    }
    let before = service.measure();
    let tests = connections.iter().map(|(rogue, connection)| {
        let service = &service;
        async move {
            let path = format!("/api/v1/source-connections/{connection}/test");
            let answer = service.call("POST", &path, Some(json!({}))).await;
            assert!((400..500).contains(&answer.status), "{rogue:?}: {} {}", answer.status, answer.text);
            let sync = service.run(connection).await;
            let ended = service.until(&sync, &["failed", "waiting"]).await;
            assert!(!answer.text.contains(MARKER) && !answer.text.contains("hunter2"), "{rogue:?}: {}", answer.text);
            assert!(!ended.to_string().contains(MARKER), "{rogue:?}: {ended}");
            let path = format!("/api/v1/syncs/{sync}/cancel");
            if ended["status"] == "waiting" {
                service.call("POST", &path, Some(json!({}))).await.ok();
                service.until(&sync, &["cancelled"]).await;
            }
        }
    });
    futures::future::join_all(tests).await;
    service.assert_rise(before, "all rogues at once");
    service.assert_silent();
    // It serves others as before.
    assert_eq!(service.call("GET", "/api/v1/sources", None).await.status, 200);
}
