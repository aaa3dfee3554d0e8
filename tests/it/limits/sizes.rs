//! How large, how deep, how many, how long.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tonic::Code;

use crate::support::grpc::{Client, method};
use crate::support::server::{ADMIN_KEY, Server, send};

#[tokio::test]
async fn bodies_and_messages_are_bounded_both_ways() {
    let server = Server::start_with(|config| {
        config.limits.max_body = 2_000;
        config.limits.max_answer = 2_000;
    })
    .await;
    let long = json!({"name": "x", "description": "y".repeat(2_000)});
    server.post("/api/v1/collections", long.clone()).await.error(413, "payload_too_large");
    let client = Client::connect(&server.base).await;
    let create = method("CreateCollection");
    let refused = client.call(&create, &long, Some(ADMIN_KEY)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");

    // The whole catalogue is longer than an answer may be here; one source of it is not.
    let body = server.get("/api/v1/sources/postgresql").await;
    let body = body.error(413, "payload_too_large");
    assert!(body["message"].as_str().unwrap().contains("smaller page"), "{body}");
    let refused = client.call(&method("GetSource"), &json!({"shortName": "postgresql"}), Some(ADMIN_KEY)).await;
    assert!(matches!(refused.unwrap_err().code(), Code::ResourceExhausted | Code::OutOfRange));
    server.get("/api/v1/collections").await.ok();
}

#[tokio::test]
async fn json_is_nested_no_deeper_than_the_setting_says() {
    let server = Server::start_with(|config| config.limits.max_json_depth = 10).await;
    let nested = |depth: usize| {
        format!("{{\"name\":\"x\",\"config\":{}1{}}}", "{\"a\":".repeat(depth - 1), "}".repeat(depth - 1))
    };
    for (depth, is_too_deep) in [(10, false), (11, true)] {
        let request = server.request("POST", "/api/v1/source-connections").header("content-type", "application/json");
        let reply = send(request.body(nested(depth))).await;
        let message = reply.error(400, "invalid_argument")["message"].as_str().unwrap().to_owned();
        assert_eq!(message.contains("deep"), is_too_deep, "{depth}: {message}");
    }
}

#[tokio::test]
async fn one_peer_has_its_share_of_connections_and_gets_it_back() {
    let server = Server::start_with(|config| config.limits.max_connections_per_peer = 3).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpStream::connect(server.address()).await.unwrap());
    }
    let mut more = TcpStream::connect(server.address()).await.unwrap();
    assert!(matches!(more.read(&mut [0; 1]).await, Ok(0) | Err(_)), "the fourth is closed at once");
    drop(held);
    let back = async {
        while server.anonymous("GET", "/healthz").send().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), back).await.expect("there is room again");
}

#[tokio::test]
async fn a_call_takes_no_longer_than_the_setting_or_its_caller_says() {
    let short = Server::start_with(|config| config.limits.call_time = Duration::ZERO).await;
    short.get("/api/v1/sources").await.error(504, "deadline_exceeded");
    let client = Client::connect(&short.base).await;
    let late = client.call(&method("ListSources"), &json!({}), Some(ADMIN_KEY)).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    // Streams are as long as what they tell of.
    let collection = client.stream(&method("WatchSync"), &json!({"id": "sync_none"}), Some(ADMIN_KEY)).await;
    assert_eq!(collection.unwrap_err().code(), Code::NotFound);
}
