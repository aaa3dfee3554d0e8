//! What answers say beside their content.

use super::{Raw, get, send};
use crate::support::server::Server;

fn has(answer: &Raw, name: &str, value: &str) {
    assert_eq!(answer.header(name).as_deref(), Some(value), "{name}");
}

#[tokio::test]
async fn pages_load_nothing_stand_in_no_frame_and_tell_nothing() {
    let server = Server::start().await;
    for path in ["/", "/docs", "/openapi.json", "/metrics", "/healthz", "/readyz"] {
        let page = get(&server, path, &[]).await;
        let policy = page.header("content-security-policy").unwrap_or_else(|| panic!("{path} has no policy"));
        for rule in ["default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{path}: {policy}");
        has(&page, "x-content-type-options", "nosniff");
        has(&page, "x-frame-options", "DENY");
        has(&page, "referrer-policy", "no-referrer");
        has(&page, "cross-origin-opener-policy", "same-origin");
        assert!(page.header("permissions-policy").is_some_and(|policy| policy.contains("camera=()")), "{path}");
        assert_eq!(page.header("strict-transport-security"), None, "there is no TLS here");
    }
}

#[tokio::test]
async fn answers_are_in_no_cache_but_the_callers_own_where_that_asks_each_time() {
    let server = Server::start().await;
    let collection = server.collection("Kept").await;
    let connection = server.files_connection(&collection, serde_json::json!({})).await;
    let path = format!("/api/v1/source-connections/{connection}");
    for path in ["/api/v1/nothing", "/api/v1/collections", "/api/v1/syncs", path.as_str()] {
        let answer = get(&server, path, &[]).await;
        has(&answer, "cache-control", "no-store");
        has(&answer, "x-content-type-options", "nosniff");
    }
    let source = get(&server, "/api/v1/sources/files", &[]).await;
    has(&source, "cache-control", "private, no-cache");
    let etag = source.header("etag").expect("an etag");
    let known = get(&server, "/api/v1/sources/files", &[("if-none-match", &etag)]).await;
    assert_eq!(known.status, 304);
    has(&known, "cache-control", "private, no-cache");
    let refused = send(&server, "POST", "/api/v1/collections", &[], b"{").await;
    assert!(refused.status >= 400);
    has(&refused, "cache-control", "no-store");
}
