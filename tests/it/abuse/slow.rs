//! Peers in no hurry: each is given up after its time, and holds up nobody.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{PATIENCE, Victim};
use crate::support::h2::{CONTINUATION, END_HEADERS, END_STREAM, HEADERS, Raw, frame, request};
use crate::support::server::ADMIN_KEY;

/// Much less than the server's patience for the whole.
const NOW_AND_THEN: Duration = Duration::from_millis(100);

/// Sends the beginning, then again and again the same few bytes, until the server
/// ends it; what it had answered.
async fn drip(address: &str, beginning: &[u8], drop: &[u8]) -> String {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    writer.write_all(beginning).await.unwrap();
    let dripping = async {
        let mut pace = tokio::time::interval(NOW_AND_THEN);
        while writer.write_all(drop).await.is_ok() {
            pace.tick().await;
        }
        std::future::pending().await
    };
    let answer = async {
        let mut answer = Vec::new();
        let _ = reader.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let ended = async {
        tokio::select! {
            answer = answer => answer,
            () = dripping => unreachable!("it has no end"),
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the server ends it")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_and_bodies_of_http_1_have_to_arrive_in_time() {
    let victim = Victim::start().await;
    let body = format!(
        "POST /api/v1/collections HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN_KEY}\r\ncontent-type: \
         application/json\r\ncontent-length: 100000\r\n\r\n{{"
    );
    let (silence, head, preface, body) = victim
        .endures(async {
            tokio::join!(
                drip(victim.address(), b"", b""),
                drip(victim.address(), b"GET /healthz HTTP/1.1\r\n", b"x-slow: 1\r\n"),
                drip(victim.address(), b"PRI * HTT", b""),
                drip(victim.address(), body.as_bytes(), b" "),
            )
        })
        .await;
    for answer in [silence, head, preface] {
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert!(body.starts_with("HTTP/1.1 408"), "{body}");
    assert!(body.contains("request_timeout"), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_and_bodies_of_http_2_have_to_arrive_in_time() {
    let victim = Victim::start().await;
    let key = format!("Bearer {ADMIN_KEY}");
    victim
        .endures(async {
            // A header block that goes on and on is no call, so the connection is idle.
            let mut raw = Raw::connect(victim.address(), 65_535).await;
            let stream = raw.stream();
            raw.write(&frame(HEADERS, END_STREAM, stream, &request("GET", "/healthz", &[]))).await.unwrap();
            let dripping = async {
                let mut pace = tokio::time::interval(NOW_AND_THEN);
                let part = frame(CONTINUATION, 0, stream, &crate::support::h2::block(&[("x", "y")]));
                while raw.write(&part).await.is_ok() {
                    pace.tick().await;
                }
            };
            tokio::time::timeout(PATIENCE, dripping).await.expect("the server ends it");

            // A body that does not come.
            let mut raw = Raw::connect(victim.address(), 65_535).await;
            let stream = raw.stream();
            let more = [("authorization", key.as_str()), ("content-type", "application/json")];
            let head = request("POST", "/api/v1/collections", &more);
            raw.write(&frame(HEADERS, END_HEADERS, stream, &head)).await.unwrap();
            assert_eq!(raw.status(stream).await, Some(408));
            let stream = raw.stream();
            let more = [("authorization", key.as_str()), ("content-type", "application/grpc"), ("te", "trailers")];
            let head = request("POST", "/tributary.v1.SourceService/ListSources", &more);
            raw.write(&frame(HEADERS, END_HEADERS, stream, &head)).await.unwrap();
            assert_eq!(raw.status(stream).await, Some(200), "a status of gRPC");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_told_to_leave() {
    let victim = Victim::start().await;
    let mut raw = Raw::connect(victim.address(), 65_535).await;
    let stream = raw.stream();
    let head = request("GET", "/healthz", &[]);
    raw.write(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &head)).await.unwrap();
    assert_eq!(raw.status(stream).await, Some(200));
    assert_eq!(raw.ended(PATIENCE).await, Some(0), "a GOAWAY without an error");
}
