//! The metadata database goes away and comes back.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde_json::json;
use tributary::config::{Database as Kind, KeySource};
use tributary::secrets::KeyRing;

use super::Source;
use crate::support::postgres::OwnCluster;
use crate::support::server::Server;

async fn until_ready_gives(server: &Server, status: u16) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let reply = server.get("/readyz").await;
        if reply.status == status {
            return;
        }
        assert!(Instant::now() < deadline, "{}", reply.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_calls_say_so_and_a_sync_goes_on_when_it_is_back() {
    let source = Source::slow(600, 5).await;
    let mut cluster = tokio::task::spawn_blocking(OwnCluster::start_new).await.unwrap();
    let url = cluster.database().await.url();
    let key = Mutex::new(KeyRing::generate().1);
    let server = Server::start_with(move |config| {
        config.database = Kind::Postgres;
        config.database_url = SecretString::from(url.clone());
        config.encryption_key = KeySource::Given(key.lock().unwrap().clone());
    })
    .await;
    let collection = server.collection("Notes").await;
    let config = json!({"tables": ["public.notes"]});
    let connection = server.postgres_connection(&collection, &source.database, config).await;
    let run = server.post(&format!("/api/v1/source-connections/{connection}/run"), json!({})).await.ok();
    let sync = run["syncId"].as_str().unwrap().to_owned();
    let deadline = Instant::now() + Duration::from_secs(60);
    let path = format!("/api/v1/syncs/{sync}");
    while server.get(&path).await.ok()["sync"]["progress"]["itemsRead"] == "0" {
        assert!(Instant::now() < deadline, "it reads nothing");
    }

    let mut cluster = tokio::task::spawn_blocking(move || {
        cluster.stop();
        cluster
    })
    .await
    .unwrap();
    until_ready_gives(&server, 503).await;
    assert_eq!(server.get("/healthz").await.status, 200);
    server.get("/api/v1/collections").await.error(503, "unavailable");
    server.post("/api/v1/collections", json!({"name": "Meanwhile"})).await.error(503, "unavailable");

    let _cluster = tokio::task::spawn_blocking(move || {
        cluster.start();
        cluster
    })
    .await
    .unwrap();
    until_ready_gives(&server, 200).await;
    let ended = loop {
        let found = server.get(&path).await.ok()["sync"].clone();
        if !found["finishedAt"].is_null() {
            break found;
        }
        assert!(Instant::now() < deadline + Duration::from_secs(120), "{found}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(ended["status"], "succeeded", "{ended}");
    let texts = server.items(&collection).await;
    let texts = texts.iter().map(|item| item["metadata"]["text"].as_str().unwrap().to_owned());
    assert_eq!(texts.collect::<std::collections::BTreeSet<_>>(), source.titles().await);
}
