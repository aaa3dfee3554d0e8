//! Replacing, repeating, clearing and deleting, and the limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt as _;
use serde_json::{Value, json};

use super::{Bench, connect, counts, put, text, with_key};
use crate::support::server::{Server, send};

fn numbered(range: std::ops::Range<u32>) -> Vec<Value> {
    range.map(|number| json!({"put": {"id": number.to_string(), "title": format!("Title {number}")}})).collect()
}

fn replacing(mut lines: Vec<Value>, replace: Value) -> Vec<Value> {
    lines.insert(0, json!({"replace": replace}));
    lines.push(json!({"commit": true}));
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_takes_away_what_did_not_come_and_only_at_its_end() {
    let bench = Bench::start().await;
    bench.lines(&numbered(0..500)).await.ok();
    bench.batch(json!({"documents": [{"id": "kept", "object": "other"}]})).await.ok();
    // Of one object.
    let lines = replacing(numbered(100..600), json!({"object": "documents"}));
    let reply = bench.lines(&lines).await.ok();
    assert_eq!(counts(&reply), [100, 0, 400, 100, 0, 0]);
    assert_eq!(bench.titles().await.len(), 501);
    // Broken off: at a wrong line, and by a caller who goes away.
    let mut lines = replacing(numbered(100..200), json!({"releaseDeletions": true}));
    lines.insert(50, json!({"put": {"title": "no id"}}));
    bench.lines(&lines).await.error(400, "invalid_argument");
    // An end that is not said to be one may be a line that broke.
    let mut lines = replacing(numbered(100..200), json!({"releaseDeletions": true}));
    lines.pop();
    let refused = bench.lines(&lines).await.error(400, "invalid_argument");
    assert!(refused.to_string().contains("\"commit\""), "{refused}");
    assert_eq!(bench.titles().await.len(), 501);
    let mut client = bench.grpc().await;
    let first = tributary::proto::v1::PushDocumentsRequest {
        replace: Some(tributary::proto::v1::DocumentReplacement { object: String::new(), release_deletions: true }),
        operation: None,
        ..put(&bench.connection, text("100", "", ""))
    };
    let endless = futures::stream::iter([first]).chain(futures::stream::pending());
    let call = client.push_documents(with_key(endless));
    assert!(tokio::time::timeout(std::time::Duration::from_millis(300), call).await.is_err());
    assert_eq!(bench.titles().await.len(), 501);
    // So many at once look like an accident.
    let lines = replacing(numbered(100..200), json!({}));
    let reply = bench.lines(&lines).await.ok();
    assert_eq!((counts(&reply), &reply["itemsHeld"]), ([0, 0, 100, 0, 0, 0], &json!("401")));
    assert_eq!(bench.titles().await.len(), 501);
    let lines = replacing(numbered(100..200), json!({"releaseDeletions": true}));
    let reply = bench.lines(&lines).await.ok();
    assert_eq!((counts(&reply), &reply["itemsHeld"]), ([0, 0, 100, 401, 0, 0], &json!("0")));
    assert_eq!(bench.titles().await.len(), 100);
    // A document that came and went in the stream is not kept by having come.
    let mut lines = replacing(numbered(100..200), json!({}));
    lines.insert(150 - 100 + 2, json!({"delete": {"id": "150"}}));
    assert_eq!(counts(&bench.lines(&lines).await.ok()), [0, 0, 100, 1, 0, 0]);
    for odd in [[json!({}), json!({"replace": {}})], [json!({"commit": true}), json!({})]] {
        bench.lines(&odd).await.error(400, "invalid_argument");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_idempotency_key_has_one_effect_and_one_answer() {
    let bench = Bench::start().await;
    let call = async |body: Value| {
        let request = bench.server.request("POST", &bench.path("/documents:batch")).json(&body);
        send(request.header("idempotency-key", "once")).await
    };
    let body = json!({"documents": [{"id": "a", "title": "A"}]});
    assert_eq!(counts(&call(body.clone()).await.ok()), [1, 0, 0, 0, 0, 0]);
    bench.server.delete(&bench.path("/documents/a")).await.ok();
    assert_eq!(counts(&call(body).await.ok()), [1, 0, 0, 0, 0, 0], "the answer of the first");
    assert!(bench.titles().await.is_empty(), "and no second effect");
    call(json!({"documents": [{"id": "b"}]})).await.error(422, "idempotency_key_reused");
    // A call that did nothing gives its key back.
    let refused = bench.server.request("POST", "/api/v1/source-connections/sc_none/documents:batch");
    send(refused.header("idempotency-key", "free").json(&json!({}))).await.error(404, "not_found");
    let request = bench.server.request("POST", &bench.path("/documents:batch")).json(&json!({}));
    send(request.header("idempotency-key", "free")).await.ok();
}

/// Writes on and on until told to stop; answers which codes there were.
async fn write_on(bench: &Bench, name: &str, stop: &AtomicBool) -> Vec<u16> {
    let mut codes = Vec::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let body = json!({"documents": [{"id": format!("{name}-{number}"), "title": "T"}]});
        let reply = bench.batch(body).await;
        assert!(matches!(reply.status, 200 | 404 | 409 | 503), "{}", reply.text);
        codes.push(reply.status);
    }
    codes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_comes_between_batches_and_leaves_nothing_of_those_before() {
    let bench = Bench::start().await;
    let bench = Arc::new(bench);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (bench, stop) = (bench.clone(), stop.clone());
            tokio::spawn(async move { write_on(&bench, &format!("w{writer}"), &stop).await })
        })
        .collect();
    for _ in 0..5 {
        while bench.titles().await.is_empty() {}
        bench.server.delete(&bench.path("/data")).await.ok();
    }
    stop.store(true, Ordering::Relaxed);
    let mut answered = 0;
    for writer in writers {
        answered += writer.await.expect("it writes").iter().filter(|code| **code == 200).count();
    }
    bench.server.delete(&bench.path("/data")).await.ok();
    assert!(bench.titles().await.is_empty());
    assert!(answered > 0);
    // And it goes on.
    let body = json!({"documents": [{"id": "a", "title": "A"}]});
    assert_eq!(counts(&bench.batch(body).await.ok()), [1, 0, 0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_delete_nothing_new_is_written() {
    let bench = Arc::new(Bench::start().await);
    for purge in [true, false, true, false] {
        let connection = connect(&bench.server, &bench.collection).await;
        let path = format!("/api/v1/source-connections/{connection}");
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (bench, stop, batch) = (bench.clone(), stop.clone(), format!("{path}/documents:batch"));
                tokio::spawn(async move {
                    let mut number = 0;
                    while !stop.load(Ordering::Relaxed) {
                        number += 1;
                        let body = json!({"documents": [{"id": format!("{writer}-{number}"), "title": "T"}]});
                        let reply = bench.server.post(&batch, body).await;
                        assert!(matches!(reply.status, 200 | 404 | 409 | 503), "{}", reply.text);
                    }
                })
            })
            .collect();
        while bench.titles().await.is_empty() {}
        bench.server.delete(&format!("{path}?deleteData={purge}")).await.ok();
        let at_once = bench.titles().await;
        for _ in 0..3 {
            let reply =
                bench.server.post(&format!("{path}/documents:batch"), json!({"documents": [{"id": "z"}]})).await;
            reply.error(404, "not_found");
        }
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.expect("it writes");
        }
        assert_eq!(bench.titles().await, at_once);
        assert_eq!(at_once.is_empty(), purge);
        bench.server.delete(&format!("/api/v1/collections/{}/data", bench.collection)).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_for_pushes_too() {
    let server = Server::start_with(|config| {
        config.limits.max_body = 100_000;
        config.limits.calls_a_minute = 20;
    })
    .await;
    let bench = Bench::on(server).await;
    let long = json!({"documents": [{"id": "a", "body": "x".repeat(100_000)}]});
    bench.batch(long).await.error(413, "payload_too_large");
    bench
        .lines(&[json!({}), json!({"put": {"id": "a", "body": "x".repeat(100_000)}})])
        .await
        .error(413, "payload_too_large");
    // Together they may be longer.
    let lines: Vec<Value> =
        (0..10).map(|number| json!({"put": {"id": number.to_string(), "body": "x ".repeat(20_000)}})).collect();
    assert_eq!(counts(&bench.lines(&lines).await.ok()), [10, 0, 0, 0, 0, 0]);
    let mut last = 200;
    for _ in 0..60 {
        last = bench.batch(json!({})).await.status;
        if last == 429 {
            break;
        }
    }
    assert_eq!(last, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_ten_thousand_at_most() {
    let bench = Bench::start().await;
    let documents = |count: u32| (0..count).map(|number| json!({"id": number.to_string()})).collect::<Vec<_>>();
    let refused = bench.batch(json!({"documents": documents(10_001)})).await.error(400, "invalid_argument");
    assert!(refused["message"].as_str().expect("a message").contains("`documents`"), "{refused}");
    let body = json!({"documents": documents(9_999), "deletes": [{"id": "x"}, {"id": "y"}]});
    bench.batch(body).await.error(400, "invalid_argument");
    assert!(bench.titles().await.is_empty());
    assert_eq!(counts(&bench.batch(json!({"documents": documents(10_000)})).await.ok()), [10_000, 0, 0, 0, 0, 0]);
    assert_eq!(bench.titles().await.len(), 10_000);
}
