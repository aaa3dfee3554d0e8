//! How often, and how many at once.

use std::collections::HashMap;

use prost::Message as _;
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::detail;
use crate::support::grpc::{Client, method};
use crate::support::postgres::Database;
use crate::support::server::{ADMIN_KEY, Server, id_of, send};

/// Quota, what is left, and seconds until all is back, as the draft's headers say.
fn standing(headers: &HashMap<&str, String>) -> (u64, u64, u64) {
    let number = |header: &str, name: &str| {
        let part = headers[header].split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        part.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {headers:?}"))
    };
    assert!(headers["ratelimit"].starts_with("\"key\";") && headers["ratelimit-policy"].ends_with(";w=60"));
    (number("ratelimit-policy", "q"), number("ratelimit", "r"), number("ratelimit", "t"))
}

fn headers_of(reply: &crate::support::server::Reply) -> HashMap<&'static str, String> {
    let pick = |name: &'static str| (name, reply.header(name).unwrap_or_default().to_owned());
    ["ratelimit", "ratelimit-policy", "retry-after"].map(pick).into()
}

#[tokio::test]
async fn a_key_that_calls_too_often_is_told_when_to_come_back_on_every_door() {
    let server = Server::start_with(|config| config.limits.calls_a_minute = 5).await;
    // Every call counts once, good or bad, whichever door it comes through.
    let paths = ["/api/v1/sources", "/api/v1/nothing", "/api/v1/collections/col_none"];
    for (index, path) in paths.iter().enumerate() {
        let reply = server.get(path).await;
        let (quota, left, _) = standing(&headers_of(&reply));
        assert_eq!((quota, left), (5, 4 - index as u64), "{path}: {}", reply.text);
    }
    let client = Client::connect(&server.base).await;
    let list = method("ListSources");
    for _ in 0..2 {
        client.call(&list, &json!({}), Some(ADMIN_KEY)).await.expect("the fourth and the fifth");
    }

    let reply = server.get("/api/v1/sources").await;
    let headers = headers_of(&reply);
    let (_, left, full_in) = standing(&headers);
    assert_eq!((reply.status, left), (429, 0), "{}", reply.text);
    let wait: u64 = headers["retry-after"].parse().expect("seconds");
    assert!((1..=12).contains(&wait) && full_in <= 60, "{headers:?}");
    let body = reply.error(429, "rate_limited");
    assert_eq!(detail(&body, "google.rpc.ErrorInfo")["reason"], "RATE_LIMITED");
    assert!(detail(&body, "google.rpc.RetryInfo")["retryDelay"].as_str().is_some());

    let problem = send(server.request("GET", "/api/v1/sources").header("accept", "application/problem+json")).await;
    assert_eq!(problem.header("content-type"), Some("application/problem+json"));
    assert_eq!((problem.body["status"].as_u64(), problem.header("retry-after").is_some()), (Some(429), true));

    let refused = client.call(&list, &json!({}), Some(ADMIN_KEY)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let retry = refused.get_details_retry_info().expect("RetryInfo").retry_delay.expect("a delay");
    assert!(!retry.is_zero() && retry.as_secs() <= 12, "{retry:?}");
    assert!(refused.metadata().get("ratelimit").is_some(), "{:?}", refused.metadata());

    // Refused keys, pages and probes are not the key's calls.
    send(server.anonymous("GET", "/api/v1/sources")).await.error(401, "unauthorized");
    assert_eq!(send(server.anonymous("GET", "/healthz")).await.status, 200);
}

#[tokio::test]
async fn who_tries_keys_is_slowed_and_who_has_one_is_not() {
    let server = Server::start_with(|config| config.limits.refused_a_minute = 3).await;
    let guess = || send(server.anonymous("GET", "/api/v1/sources").bearer_auth("trb_guess"));
    for _ in 0..3 {
        guess().await.error(401, "unauthorized");
    }
    let reply = guess().await;
    assert!(reply.header("retry-after").is_some(), "{:?}", reply.headers);
    reply.error(429, "rate_limited");
    let client = Client::connect(&server.base).await;
    let refused = client.call(&method("ListSources"), &json!({}), Some("trb_guess")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    server.get("/api/v1/sources").await.ok();
}

#[tokio::test]
async fn behind_a_proxy_callers_are_told_apart_by_what_it_says() {
    let server = Server::start_with(|config| {
        config.limits.refused_a_minute = 1;
        config.behind_proxy = true;
    })
    .await;
    let guess = |said: &str| send(server.anonymous("GET", "/api/v1/sources").header("x-forwarded-for", said));
    guess("192.0.2.1").await.error(401, "unauthorized");
    guess("192.0.2.1").await.error(429, "rate_limited");
    // What the caller itself wrote stands before what the proxy has added.
    guess("198.51.100.7, 192.0.2.1").await.error(429, "rate_limited");
    guess("192.0.2.1, 192.0.2.2").await.error(401, "unauthorized");
}

#[tokio::test]
async fn calls_and_streams_at_once_are_bounded_by_key() {
    let database = Database::create().await;
    database.connect().await.batch_execute("CREATE VIEW slow AS SELECT pg_sleep(60)::text AS id").await.unwrap();
    let server = Server::start_with(|config| config.limits.max_streams_per_key = 1).await;
    let collection = server.collection("Busy").await;
    let connection = server.postgres_connection(&collection, &database, json!({})).await;
    let run = server.post(&format!("/api/v1/source-connections/{connection}/run"), json!({})).await.ok();
    let path = format!("/api/v1/syncs/{}/events", run["syncId"].as_str().unwrap());
    let first = server.request("GET", &path).send().await.expect("a stream");
    assert_eq!(first.status(), 200);
    let body = server.get(&path).await.error(429, "rate_limited");
    assert_eq!(detail(&body, "google.rpc.ErrorInfo")["metadata"]["limit"], "streams");
    // Other calls go on, and so does another key.
    server.get("/api/v1/sources").await.ok();
    let other = server.post("/api/v1/api-keys", json!({"name": "other", "role": "viewer"})).await.ok();
    let secret = other["secret"].as_str().unwrap();
    let second = server.anonymous("GET", &path).bearer_auth(secret).send().await.expect("a stream");
    assert_eq!(second.status(), 200);
    drop(first);
    let again = async {
        while server.request("GET", &path).send().await.expect("an answer").status() != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), again).await.expect("the place comes back");
    let sync = run["syncId"].as_str().unwrap();
    server.post(&format!("/api/v1/syncs/{sync}/cancel"), json!({})).await.ok();
    assert_eq!(id_of(&server.finished(sync).await), sync);
}

#[tokio::test]
async fn the_details_of_a_refusal_are_a_status_of_google() {
    let server = Server::start_with(|config| config.limits.max_calls_per_key = 0).await;
    let client = Client::connect(&server.base).await;
    let refused: Status = client.call(&method("ListSources"), &json!({}), Some(ADMIN_KEY)).await.unwrap_err();
    let details = tributary::proto::google::rpc::Status::decode(refused.details()).expect("a Status");
    assert_eq!(details.code, Code::ResourceExhausted as i32);
    assert_eq!(refused.get_details_error_info().expect("ErrorInfo").metadata["limit"], "calls");
}
