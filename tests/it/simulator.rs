//! The simulated source: what its script says happens, to the record.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tributary::server::Options;
use tributary::syncs::worker::Backoff;

use crate::support::server::{Server, id_of};

fn hasty() -> Options {
    let backoff = Backoff { least: Duration::from_millis(50), most: Duration::from_millis(200) };
    Options { backoff, ..Options::default() }
}

struct Bench {
    server: Server,
    collection: String,
}

impl Bench {
    async fn start() -> Self {
        let server = Server::start_with_options(|config| config.enable_simulator = true, hasty).await;
        let collection = server.collection("Simulated").await;
        Self { server, collection }
    }

    async fn connect(&self, config: Value) -> String {
        let body = json!({"collectionId": self.collection, "sourceShortName": "simulator", "name": "Simulated",
            "credentials": {}, "config": config});
        id_of(&self.server.post("/api/v1/source-connections", body).await.ok()["sourceConnection"])
    }

    async fn count(&self) -> usize {
        self.server.items(&self.collection).await.len()
    }
}

/// Inserted, updated, unchanged, deleted, failed.
fn counts(sync: &Value) -> [u64; 5] {
    ["itemsInserted", "itemsUpdated", "itemsUnchanged", "itemsDeleted", "itemsFailed"].map(|name| {
        let count = &sync["progress"][name];
        count.as_str().unwrap_or_else(|| panic!("no {name} in {sync:#}")).parse().expect("a number")
    })
}

#[track_caller]
fn ended(sync: &Value, status: &str, expected: [u64; 5]) {
    assert_eq!((sync["status"].as_str(), counts(sync)), (Some(status), expected), "{sync:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_there_only_when_the_server_is_told_so() {
    let server = Server::start().await;
    server.get("/api/v1/sources/simulator").await.error(404, "not_found");
    let bench = Bench::start().await;
    assert_eq!(bench.server.get("/api/v1/sources/simulator").await.ok()["source"]["name"], "Simulator");
    let config = json!({"objects": 5_000, "faults": [{"kind": "nope"}, {"kind": "wait", "seconds": 1}]});
    let body = json!({"collectionId": bench.collection, "sourceShortName": "simulator", "name": "Simulated",
        "credentials": {}, "config": config});
    bench.server.post("/api/v1/source-connections", body).await.error(400, "invalid_argument");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sync_finds_the_changes_that_the_config_says() {
    let bench = Bench::start().await;
    let config = json!({"objects": 3, "records": 40, "inserts": 5, "updates": 4, "deletes": 2});
    let connection = bench.connect(config).await;
    ended(&bench.server.sync(&connection).await, "succeeded", [120, 0, 0, 0, 0]);
    for round in 1..5 {
        let there = 120 + 9 * (round - 1);
        let expected = [15, 12, there - 6 - 12, 6, 0];
        ended(&bench.server.sync(&connection).await, "succeeded", expected);
    }
    assert_eq!(bench.count().await, 120 + 9 * 4);
    let path = format!("/api/v1/source-connections/{connection}");
    let found = bench.server.get(&format!("{path}/objects")).await.ok();
    assert_eq!(found["objects"].as_array().map(Vec::len), Some(3), "{found}");
    bench.server.post(&format!("{path}/test"), json!({})).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_by_script_costs_what_it_would_of_a_real_source() {
    let bench = Bench::start().await;
    let connection = bench
        .connect(json!({"objects": 2, "records": 500, "faults": [
            {"kind": "record_failed", "pass": 0, "after": 7},
            {"kind": "object_failed", "pass": 1, "object": 1, "after": 300},
            {"kind": "lost", "pass": 2, "after": 10},
            {"kind": "empty_listing", "pass": 3},
            {"kind": "login_refused", "pass": 4},
        ]}))
        .await;
    let path = format!("/api/v1/source-connections/{connection}");
    ended(&bench.server.sync(&connection).await, "succeeded", [999, 0, 0, 0, 1]);
    let failed = bench.server.sync(&connection).await;
    assert_eq!(failed["status"], "failed", "{failed:#}");
    assert_eq!(bench.count().await, 1_000, "what failed before was read this time");
    // Half of all seems to be gone: the brake holds it, as with an empty listing.
    for held in [490, 1_000] {
        let sync = bench.server.sync(&connection).await;
        assert_eq!((&sync["status"], counts(&sync)[3]), (&json!("succeeded"), 0), "{sync:#}");
        let hold = bench.server.get(&path).await.ok()["sourceConnection"]["deletionHold"].clone();
        assert_eq!(hold["items"], held.to_string(), "{hold}");
        assert_eq!(bench.count().await, 1_000);
    }
    bench.server.post(&format!("{path}/test"), json!({})).await.error(400, "invalid_credentials");
    assert_eq!(bench.server.sync(&connection).await["status"], "failed");
    assert_eq!(bench.server.get(&path).await.ok()["sourceConnection"]["status"], "needs_attention");
    // It is over, and nothing was lost.
    ended(&bench.server.sync(&connection).await, "succeeded", [0, 0, 1_000, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_and_a_throttled_sync_go_on_and_end_exact() {
    let bench = Bench::start().await;
    let connection = bench
        .connect(json!({"objects": 3, "records": 400, "faults": [
            {"kind": "cut", "pass": 0, "object": 1, "after": 150},
            {"kind": "listing_failed", "pass": 1},
            {"kind": "throttled", "pass": 2, "object": 2, "after": 20, "seconds": 1},
        ]}))
        .await;
    let begun = Instant::now();
    let sync = bench.server.sync(&connection).await;
    ended(&sync, "succeeded", [1_200, 0, 0, 0, 0]);
    assert!(begun.elapsed() >= Duration::from_secs(1), "it was asked to wait");
    assert_eq!(bench.count().await, 1_200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_source_shows_how_far_it_is_and_why_it_waits() {
    let bench = Bench::start().await;
    let config = json!({"records": 100, "recordDelayMs": 10, "faults": [{"kind": "wait", "after": 50, "seconds": 1}]});
    let connection = bench.connect(config).await;
    let run = bench.server.post(&format!("/api/v1/source-connections/{connection}/run"), json!({})).await.ok();
    let events = bench.server.events(run["syncId"].as_str().expect("an id"), None).await;
    let read: Vec<u64> = events
        .iter()
        .filter_map(|event| event.data["progress"]["itemsRead"].as_str())
        .map(|count| count.parse().expect("a number"))
        .collect();
    assert!(read.iter().any(|count| (1..100).contains(count)), "{read:?}");
    assert!(read.is_sorted(), "{read:?}");
    let said = events.iter().any(|event| event.data.to_string().contains("asks to wait"));
    assert!(said, "{events:#?}");
    ended(&events.last().expect("an end").data["finished"], "succeeded", [100, 0, 0, 0, 0]);
}
