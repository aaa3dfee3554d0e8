//! Whatever stops a follower, nothing is lost.

use std::time::{Duration, Instant};

use serde_json::json;

use super::fixture::{Fixture, LOGICAL, PATIENT};
use crate::support::postgres::{self, OwnCluster};
use crate::support::process::Process;

const ROWS: &str = "CREATE TABLE t (id int PRIMARY KEY, name text, n int);
    INSERT INTO t SELECT n, 'name ' || n, n FROM generate_series(1, 200) n;";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_takes_in_what_it_missed_without_a_sync() {
    let mut fixture = Fixture::followed(ROWS).await;
    let syncs = fixture.syncs().await;
    for round in 0..2 {
        fixture.connected.server.stop().await;
        let change =
            format!("UPDATE t SET n = -{round} - 1 WHERE id % 7 = {round}; DELETE FROM t WHERE id = {round} + 50");
        fixture.execute(&change).await;
        fixture.connected.server = fixture.connected.server.restart().await;
        fixture.until_exact(&["t"], PATIENT).await;
    }
    assert_eq!(fixture.syncs().await, syncs, "no sync was needed");
    fixture.assert_untouched_by_a_full_sync().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn run_clear_and_edits_work_while_changes_are_followed() {
    let fixture = Fixture::followed(ROWS).await;
    let sync = fixture.server.sync(&fixture.connection).await;
    assert_eq!(sync["status"], "succeeded", "{sync:#}");
    fixture.execute("UPDATE t SET name = 'after a run' WHERE id = 1").await;
    fixture.until_exact(&["t"], PATIENT).await;

    fixture.server.delete(&fixture.path("/data")).await.ok();
    fixture.until_exact(&["t"], PATIENT).await;
    fixture.until_followed().await;
    fixture.execute("UPDATE t SET name = 'after a clear' WHERE id = 2").await;
    fixture.until_exact(&["t"], PATIENT).await;

    let config = json!({"config": {"titleTemplate": "{{ name }}!"}});
    until_taken(async || fixture.server.put(&fixture.path("/config"), config.clone()).await).await;
    fixture.execute("UPDATE t SET name = 'after an edit' WHERE id = 3").await;
    fixture.until_exact(&["t"], PATIENT).await;
    let deadline = Instant::now() + PATIENT;
    loop {
        let items = fixture.server.items(&fixture.collection).await;
        if items.iter().all(|item| item["title"].as_str().is_some_and(|title| title.ends_with('!'))) {
            break;
        }
        assert!(Instant::now() < deadline, "{:#}", items[0]);
    }

    let credentials = json!({"credentials": {
        "host": "127.0.0.1", "port": fixture.database.port, "database": fixture.database.name,
        "username": postgres::USER, "password": "another one",
    }});
    until_taken(async || fixture.server.put(&fixture.path("/credentials"), credentials.clone()).await).await;
    fixture.until_followed().await;
    fixture.execute("UPDATE t SET name = 'after new credentials' WHERE id = 4").await;
    fixture.until_exact(&["t"], PATIENT).await;
    fixture.until_at_the_source(2).await;

    fixture.server.post(&fixture.path("/pause"), json!({})).await.ok();
    fixture.execute("UPDATE t SET name = 'while paused' WHERE id = 5").await;
    fixture.server.post(&fixture.path("/resume"), json!({})).await.ok();
    fixture.until_exact(&["t"], PATIENT).await;
}

/// A sync of the follower's own refuses an edit as any other does.
async fn until_taken(edit: impl AsyncFn() -> crate::support::server::Reply) {
    let deadline = Instant::now() + PATIENT;
    loop {
        let reply = edit().await;
        if reply.status != 409 {
            reply.ok();
            return;
        }
        assert!(Instant::now() < deadline, "{}", reply.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_place_is_made_again_and_nothing_is_missed() {
    let fixture = Fixture::followed(ROWS).await;
    let broken = [
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots",
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots; \
            SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tributary'",
    ];
    for (number, statement) in (1..).zip(broken) {
        // The slot may be taken again before it is dropped.
        drop(fixture.client.batch_execute(statement).await);
        fixture.execute(&format!("UPDATE t SET name = 'broken {number}' WHERE id < 20")).await;
        fixture.until_exact(&["t"], PATIENT).await;
    }
    let publication = fixture.at_the_source().await.remove(0);
    fixture.execute(&format!("DROP PUBLICATION {publication}")).await;
    fixture.execute("UPDATE t SET name = 'without a publication' WHERE id < 30").await;
    fixture.until_exact(&["t"], PATIENT).await;
    fixture.until_followed().await;
    fixture.execute("UPDATE t SET name = 'at last' WHERE id < 40").await;
    fixture.until_exact(&["t"], PATIENT).await;
}

/// Also where the data directory is the copy of an earlier day: in the history
/// that comes after, the rows that the index has of the other never were.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_stopped_or_went_back_in_time_is_followed_again() {
    let mut fixture = Fixture::followed(ROWS).await;
    fixture.cluster.stop();
    fixture.cluster.copy();
    fixture.cluster.start();
    fixture.client = fixture.database.connect().await;
    fixture.execute("UPDATE t SET name = 'first history' WHERE id < 20; DELETE FROM t WHERE id = 30").await;
    fixture.until_exact(&["t"], PATIENT).await;
    fixture.cluster.stop();
    fixture.cluster.restore();
    fixture.cluster.start();
    fixture.client = fixture.database.connect().await;
    fixture.execute("UPDATE t SET name = 'second history' WHERE id = 40").await;
    fixture.until_exact(&["t"], PATIENT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_while_changes_come_loses_none() {
    let cluster = OwnCluster::start_with(LOGICAL);
    let database = cluster.database().await;
    let client = database.connect().await;
    client.batch_execute(ROWS).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(&folder.path().join("data"));
    let collection = process.call("POST", "/api/v1/collections", Some(json!({"name": "Killed"}))).await;
    let collection = collection["collection"]["id"].as_str().unwrap().to_owned();
    let body = json!({
        "collectionId": collection, "sourceShortName": "postgresql", "name": "Killed", "config": {},
        "schedule": {"continuous": true},
        "credentials": {
            "host": "127.0.0.1", "port": database.port, "database": database.name,
            "username": postgres::USER, "password": postgres::PASSWORD,
        },
    });
    process.call("POST", "/api/v1/source-connections", Some(body)).await;
    let items = format!("/api/v1/collections/{collection}/items?pageSize=1000");
    let until = async |process: &Process| {
        let deadline = Instant::now() + PATIENT;
        loop {
            let rows = client.query("SELECT name FROM t ORDER BY 1", &[]).await.unwrap();
            let source: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            let found = process.call("GET", &items, None).await;
            let names = found["items"].as_array().unwrap().iter();
            let mut indexed: Vec<&str> = names.map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
            indexed.sort_unstable();
            if source == indexed {
                return;
            }
            assert!(Instant::now() < deadline, "{source:?} {indexed:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until(&process).await;
    for round in 0..6 {
        let writer = database.connect().await;
        let writing = tokio::spawn(async move {
            for number in 0..40 {
                let change = format!(
                    "UPDATE t SET name = 'r{round} n{number}' WHERE id % 40 = {number}; \
                     DELETE FROM t WHERE id = {number} + {round} * 20; \
                     INSERT INTO t VALUES (1000 + {round} * 40 + {number}, 'new {round} {number}', 0)"
                );
                writer.batch_execute(&change).await.unwrap();
            }
        });
        tokio::time::sleep(Duration::from_millis(30 + 70 * round)).await;
        process.kill();
        writing.await.unwrap();
        process = Process::start(&folder.path().join("data"));
        until(&process).await;
    }
    client.batch_execute("UPDATE t SET name = 'still followed' WHERE id > 1100").await.unwrap();
    until(&process).await;
}
