//! The REST door and the pages beside it.

use serde_json::json;

use super::raw::{anonymous, unpack};
use super::{Raw, get, send};
use crate::support::server::{Server, id_of};

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn odd_paths_are_missing_or_malformed() {
    let server = Server::start().await;
    let cases = [
        ("/api/v1/sources", 200),
        ("/api/v1/sources/", 200),
        ("/v1/sources", 200),
        ("/api/v1//sources", 404),
        ("//api/v1/sources", 404),
        ("/api/v1/./sources", 404),
        ("/api/v1/../v1/sources", 404),
        ("/api/v1/sources/%2e%2e", 404),
        ("/api/v1/sources/a%2Fb", 404),
        ("/api/v1/sources/%zz", 400),
        ("/api/v1/sources/%2", 400),
        ("/api/v1/sources/%ff", 400),
        ("/api/v1/sources/%00", 400),
        ("/api/v1/nothing", 404),
        ("/nothing", 404),
    ];
    for (path, status) in cases {
        let answer = get(&server, path, &[]).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_eq!(answer.json()["success"], json!(status == 200), "{path}");
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_keeps_a_good_one() {
    let server = Server::start().await;
    let pages = ["/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"];
    for path in pages.into_iter().chain(["/api/v1/sources", "/api/v1/nothing", "/api/v1/sources/%zz"]) {
        let answer = get(&server, path, &[("x-request-id", "mine-1.2_3")]).await;
        assert_eq!(answer.header("x-request-id").as_deref(), Some("mine-1.2_3"), "{path}");
        let answer = anonymous(&server, "GET", path, &[("x-request-id", "not good")], b"").await;
        let id = answer.header("x-request-id").unwrap_or_default();
        assert!(id.starts_with("req_"), "{path}: `{id}`");
    }
    let answer = send(&server, "POST", "/healthz", &[], b"").await;
    assert_eq!((answer.status, answer.header("allow").as_deref()), (405, Some("GET, HEAD")));
    assert!(answer.header("x-request-id").is_some());
}

#[tokio::test]
async fn the_pages_need_no_key() {
    let server = Server::start().await;
    let cases = [
        ("/healthz", "text/plain"),
        ("/readyz", "text/plain"),
        ("/metrics", "text/plain; version=0.0.4"),
        ("/openapi.json", "application/json"),
        ("/docs", "text/html"),
    ];
    for (path, kind) in cases {
        let answer = anonymous(&server, "GET", path, &[], b"").await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("content-type").unwrap().starts_with(kind), "{path}");
        let head = anonymous(&server, "HEAD", path, &[], b"").await;
        assert_eq!((head.status, head.body.len()), (200, 0), "HEAD {path}");
    }
    let document = anonymous(&server, "GET", "/openapi.json", &[], b"").await.json();
    assert_eq!(document["openapi"], "3.1.0");
}

#[tokio::test]
async fn methods_types_and_sizes_are_told_apart() {
    let server = Server::start_with(|config| config.limits.max_body = 2_000).await;
    let head = send(&server, "HEAD", "/api/v1/sources", &[], b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let options = send(&server, "OPTIONS", "/api/v1/collections", &[], b"").await;
    assert_eq!((options.status, options.header("allow").as_deref()), (204, Some("GET, HEAD, OPTIONS, POST")));
    let wrong = send(&server, "DELETE", "/api/v1/sources", &[], b"").await;
    assert_eq!(wrong.error(), (405, "method_not_allowed".to_owned()));
    assert_eq!(wrong.header("allow").as_deref(), Some("GET, HEAD, OPTIONS"));
    let wrong = get(&server, "/api/v1/sources", &[("accept", "image/png")]).await;
    assert_eq!(wrong.error(), (406, "not_acceptable".to_owned()));
    let wrong = send(&server, "POST", "/api/v1/collections", &[("content-type", "text/plain")], b"{}").await;
    assert_eq!(wrong.error(), (415, "unsupported_media_type".to_owned()));
    assert_eq!(wrong.header("accept").as_deref(), Some("application/json"));
    let wrong = send(&server, "POST", "/api/v1/collections", &[JSON], &[b' '; 2_001]).await;
    assert_eq!(wrong.error(), (413, "payload_too_large".to_owned()));
    let wrong = get(&server, &format!("/api/v1/sources?label={}", "x".repeat(9_000)), &[]).await;
    assert_eq!(wrong.error(), (414, "uri_too_long".to_owned()));
    let wrong = get(&server, "/api/v1/sources", &[("x-long", &"x".repeat(100_000))]).await;
    assert_eq!(wrong.status, 431, "{}", wrong.text());
    let wrong = get(&server, "/api/v1/sources?labels=x", &[]).await;
    assert_eq!(wrong.error(), (400, "invalid_argument".to_owned()));
    assert!(wrong.text().contains("labels"), "{}", wrong.text());
}

#[tokio::test]
async fn answers_are_packed_for_those_who_take_it() {
    let server = Server::start().await;
    let plain = get(&server, "/api/v1/sources", &[]).await;
    assert_eq!(plain.header("content-encoding"), None);
    let packed = get(&server, "/api/v1/sources", &[("accept-encoding", "br, gzip")]).await;
    assert_eq!(packed.header("content-encoding").as_deref(), Some("gzip"));
    assert_eq!(unpack(&packed.body), plain.body);
    for answer in [plain, packed] {
        assert!(varies_by(&answer, "accept-encoding"), "{answer:?}");
    }
}

fn varies_by(answer: &Raw, name: &str) -> bool {
    answer.header("vary").unwrap_or_default().to_ascii_lowercase().split(',').any(|one| one.trim() == name)
}

#[tokio::test]
async fn browsers_of_the_listed_origins_may_call() {
    let server = Server::start_with(|config| config.cors_origins = vec!["https://app.example".to_owned()]).await;
    let asked = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "authorization,content-type,x-grpc-web"),
    ];
    let preflight = anonymous(&server, "OPTIONS", "/api/v1/collections", &asked, b"").await;
    assert!([200, 204].contains(&preflight.status), "{preflight:?}");
    assert_eq!(preflight.header("access-control-allow-origin").as_deref(), Some("https://app.example"));
    assert_eq!(preflight.header("access-control-max-age").as_deref(), Some("7200"));
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("PATCH"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("x-grpc-web"));
    assert!(varies_by(&preflight, "origin"), "{preflight:?}");

    let answer = get(&server, "/api/v1/sources", &[("origin", "https://app.example")]).await;
    let exposed = answer.header("access-control-expose-headers").unwrap_or_default();
    for header in ["grpc-status", "grpc-message", "grpc-status-details-bin", "etag", "x-request-id", "retry-after"] {
        assert!(exposed.contains(header), "{header} in {exposed}");
    }
    assert!(varies_by(&answer, "origin") && varies_by(&answer, "accept-encoding"), "{answer:?}");
    let refused = anonymous(&server, "GET", "/api/v1/sources", &[("origin", "https://app.example")], b"").await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("access-control-allow-origin").is_some(), "a page must be able to read the error");
    let other = get(&server, "/api/v1/sources", &[("origin", "https://evil.example")]).await;
    assert_eq!(other.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn etags_guard_changes_and_spare_reads() {
    let server = Server::start().await;
    let path = format!("/api/v1/collections/{}", server.collection("Guarded").await);
    let etag = get(&server, &path, &[]).await.header("etag").expect("an ETag");
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    let known = get(&server, &path, &[("if-none-match", &etag)]).await;
    assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, Some(etag.clone())));
    let body = br#"{"description":"changed"}"#;
    let stale = send(&server, "PATCH", &path, &[JSON, ("if-match", "\"other\"")], body).await;
    assert_eq!(stale.error(), (412, "etag_mismatch".to_owned()));
    let changed = send(&server, "PATCH", &path, &[JSON, ("if-match", &etag)], body).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_ne!(changed.header("etag"), Some(etag.clone()));
    // Who names no version changes whatever there is.
    let changed = send(&server, "PATCH", &path, &[JSON], br#"{"description":null}"#).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(get(&server, &path, &[("if-none-match", &etag)]).await.status, 200);
}

#[tokio::test]
async fn an_idempotency_key_gives_the_first_answer_again() {
    let server = Server::start().await;
    let create = async |body: &str, key: &str| {
        send(&server, "POST", "/api/v1/collections", &[JSON, ("idempotency-key", key)], body.as_bytes()).await
    };
    let first = create(r#"{"name":"Once"}"#, "\"a key\"").await;
    assert_eq!(first.status, 200, "{}", first.text());
    let again = create(r#"{ "name": "Once" }"#, "\"a key\"").await;
    assert_eq!(id_of(&again.json()["collection"]), id_of(&first.json()["collection"]));
    let other = create(r#"{"name":"Twice"}"#, "\"a key\"").await;
    assert_eq!(other.error(), (422, "idempotency_key_reused".to_owned()));
}

#[tokio::test]
async fn errors_and_streams_come_in_the_form_that_is_asked_for() {
    let server = Server::start().await;
    let wrong = get(&server, "/api/v1/syncs/sync_none", &[("accept", "application/problem+json")]).await;
    assert_eq!(wrong.header("content-type").as_deref(), Some("application/problem+json"));
    let problem = wrong.json();
    assert_eq!((problem["status"].as_u64(), problem["error"].as_str()), (Some(404), Some("not_found")));

    let collection = server.collection("Streamed").await;
    let connection = server.files_connection(&collection, json!({})).await;
    let sync = id_of(&server.sync(&connection).await);
    let path = format!("/api/v1/syncs/{sync}/events");
    let lines = get(&server, &path, &[("accept", "application/x-ndjson")]).await;
    assert_eq!(lines.header("content-type").as_deref(), Some("application/x-ndjson"));
    let last: serde_json::Value = serde_json::from_str(lines.text().lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["finished"]["status"], "succeeded", "{}", lines.text());
    let events = get(&server, &path, &[("accept", "text/event-stream")]).await;
    assert_eq!(events.header("content-type").as_deref(), Some("text/event-stream"));
    assert_eq!(events.header("cache-control").as_deref(), Some("no-store"));
    let sequence = last["sequence"].as_str().unwrap();
    let ended = get(&server, &path, &[("last-event-id", sequence)]).await;
    assert_eq!((ended.status, ended.body.len()), (204, 0));
}
