//! Peers that ask and do not read, or ask for too much.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{PATIENCE, Victim};
use crate::support::h2::{END_HEADERS, END_STREAM, HEADERS, Raw, block, frame, request};
use crate::support::server::ADMIN_KEY;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_with_no_window_is_given_up_and_its_answers_with_it() {
    let victim = Victim::start().await;
    let key = format!("Bearer {ADMIN_KEY}");
    for path in ["/openapi.json", "/docs", "/api/v1/sources/postgresql"] {
        victim
            .endures(async {
                let mut raw = Raw::connect(victim.address(), 0).await;
                let head = request("GET", path, &[("authorization", &key)]);
                for _ in 0..200 {
                    let stream = raw.stream();
                    raw.write(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &head)).await.expect("it is taken");
                }
                raw.ended(PATIENCE).await;
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_reads_from_the_socket_is_given_up() {
    let victim = Victim::start().await;
    victim
        .endures(async {
            let mut stream = TcpStream::connect(victim.address()).await.unwrap();
            let ask = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(50);
            let asking = async { while stream.write_all(&ask).await.is_ok() {} };
            tokio::time::timeout(PATIENCE, asking).await.expect("the server ends it");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_lists_that_are_too_long_are_refused() {
    let victim = Victim::start().await;
    victim
        .endures(async {
            // Too many of them.
            let mut raw = Raw::connect(victim.address(), 65_535).await;
            let many: Vec<(String, &str)> = (0..150).map(|number| (format!("x-{number}"), "v")).collect();
            let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            let stream = raw.stream();
            let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &request("GET", "/healthz", &many));
            raw.write(&head).await.unwrap();
            assert_eq!(raw.status(stream).await, Some(431));
            // Too long together, in one frame of a list that says it over and over: the
            // connection or the stream ends.
            let long = block(&[("x-long", &"a".repeat(4_000))]).repeat(4);
            for _ in 0..200 {
                let stream = raw.stream();
                let head = [request("GET", "/healthz", &[]), long.clone()].concat();
                let mut parts = frame(HEADERS, END_STREAM, stream, &head[..16_000]);
                let rest = [&head[16_000..], &long, &long].concat();
                for part in rest.chunks(16_000) {
                    parts.extend(frame(crate::support::h2::CONTINUATION, 0, stream, part));
                }
                parts.extend(frame(crate::support::h2::CONTINUATION, END_HEADERS, stream, &[]));
                if raw.write(&parts).await.is_err() {
                    break;
                }
            }
        })
        .await;
}
