//! Other callers, while hostile sources are being synced. `benches/doors` measures it
//! on a release build; here it must only not be out of all proportion, since a debug
//! build shares the machine with other tests.

use std::time::{Duration, Instant};

use serde_json::json;

use super::documents;
use super::rogue::{Rogue, Server};
use super::service::Service;
use super::stream::{Tampering, source, tampered};
use crate::support::postgres;
use crate::support::server::id_of;

/// Calls of each kind in one measurement.
const CALLS: usize = 150;
/// How much longer than quiet, at most.
const TIMES: u32 = 10;
/// What is never too long.
const SHORT: Duration = Duration::from_secs(1);

/// The longest of all but one in a hundred.
fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100 - 1]
}

/// How long gets and searches take, one after another; none fails.
async fn measured(service: &Service, collection: &str) -> [Duration; 2] {
    let (mut gets, mut searches) = (Vec::new(), Vec::new());
    for number in 0..CALLS {
        let began = Instant::now();
        service.call("GET", "/api/v1/sources/postgresql", None).await.ok();
        gets.push(began.elapsed());
        let began = Instant::now();
        let query = json!({"query": format!("ferry word{}", number % 50)});
        let found = service.call("POST", &format!("/api/v1/collections/{collection}/search"), Some(query)).await.ok();
        searches.push(began.elapsed());
        assert!(!found["results"].as_array().expect("results").is_empty(), "{found}");
    }
    [p99(gets), p99(searches)]
}

#[tokio::test(flavor = "multi_thread")]
async fn others_are_served_while_hostile_sources_are_synced() {
    let service = Service::start_with(&["--log-level", "warn", "--workers", "8"]).await;
    let files = service.files();
    for number in 0..200 {
        let text = format!("# Note {number}\n\nThe ferry leaves at noon, word{} says so.\n", number % 50);
        std::fs::write(files.join(format!("good-{number}.md")), text).unwrap();
    }
    let made = service.call("POST", "/api/v1/collections", Some(json!({"name": "Good"}))).await.ok();
    let good = id_of(&made["collection"]);
    let body = json!({
        "collectionId": good, "sourceShortName": "files", "name": "Good", "credentials": {},
        "config": {"path": files, "include": ["good-*.md"]},
    });
    let made = service.call("POST", "/api/v1/source-connections", Some(body)).await.ok();
    let sync = service.run(&id_of(&made["sourceConnection"])).await;
    service.until(&sync, &["succeeded"]).await;
    measured(&service, &good).await;
    let quiet = measured(&service, &good).await;

    let endless = documents::pages(2_000, documents::stream(b"q Q 0 0 m 1 1 l S ", 200_000));
    std::fs::create_dir(files.join("hostile")).unwrap();
    let hostile = documents::hostile();
    for round in 0..20 {
        std::fs::write(files.join(format!("hostile/{round}-endless.pdf")), &endless).unwrap();
        for (name, content) in &hostile {
            std::fs::write(files.join(format!("hostile/{round}-{name}")), content).unwrap();
        }
    }
    let database = source().await;
    let (endless, _endless) = tampered(&database, Tampering::Endless).await;
    let (large, _large) = tampered(&database, Tampering::Large).await;
    let (drip, lengths) = (Server::start(Rogue::Drip).await, Server::start(Rogue::Length(0x7fff_ffff)).await);
    let mut connections = vec![service.connect_files("files", json!({"path": files.join("hostile")})).await];
    for port in [endless, large] {
        let login = (postgres::USER, postgres::PASSWORD);
        let config = json!({"tables": ["public.v"]});
        connections.push(service.connect(port, &database.name, login, config).await);
    }
    for rogue in [&drip, &lengths] {
        connections.push(service.connect_rogue(rogue.port).await);
    }
    let mut syncs = Vec::new();
    for connection in &connections {
        syncs.push(service.run(connection).await);
    }
    for sync in &syncs[..2] {
        service.until(sync, &["running"]).await;
    }
    let beside = measured(&service, &good).await;
    // They were all the time: what was measured was measured beside them.
    for sync in &syncs[..2] {
        service.until(sync, &["running"]).await;
    }
    for (what, quiet, beside) in [("get", quiet[0], beside[0]), ("search", quiet[1], beside[1])] {
        println!("{what}: p99 {beside:?}, quiet {quiet:?}");
        assert!(beside < (quiet * TIMES).max(SHORT), "{what}: p99 {beside:?}, quiet {quiet:?}");
    }
    for sync in &syncs {
        // One that has failed meanwhile need not be cancelled.
        service.call("POST", &format!("/api/v1/syncs/{sync}/cancel"), Some(json!({}))).await;
        service.until(sync, &["cancelled", "failed", "succeeded"]).await;
    }
}
