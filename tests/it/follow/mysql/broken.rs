//! Whatever stops a follower, nothing is lost.

use std::time::Duration;

use serde_json::json;

use super::fixture::{Fixture, RIGHTS};
use crate::follow::connected::PATIENT;
use crate::support::mariadb::{Database, OwnServer};
use crate::support::postgres::PASSWORD;
use crate::support::process::Process;

const ROWS: &str = "CREATE TABLE t (id int PRIMARY KEY, name text, n int);
    INSERT INTO t SELECT seq, concat('name ', seq), seq FROM seq_1_to_200;";
const LOGGING: &str = "--log-bin=bin --binlog-format=ROW --binlog-row-image=FULL";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_taken_in_without_a_sync_unless_the_log_has_it_no_more() {
    let mut fixture = Fixture::followed(ROWS).await;
    let syncs = fixture.syncs().await;
    for round in 0..3 {
        fixture.end_sessions().await;
        fixture.execute(&format!("UPDATE t SET name = 'killed {round}' WHERE id < 20")).await;
        fixture.until_exact(&["t"]).await;
    }
    fixture.connected.server.stop().await;
    fixture.execute("UPDATE t SET n = -1 WHERE id % 7 = 1; DELETE FROM t WHERE id = 50; FLUSH BINARY LOGS").await;
    fixture.execute("INSERT INTO t VALUES (300, 'in the next file', 0)").await;
    fixture.connected.server = fixture.connected.server.restart().await;
    fixture.until_exact(&["t"]).await;
    assert_eq!(fixture.syncs().await, syncs, "no sync was needed");
    fixture.assert_untouched_by_a_full_sync().await;
    fixture.until_followed().await;

    let syncs = fixture.syncs().await;
    fixture.connected.server.stop().await;
    fixture.execute("DELETE FROM t WHERE id = 60; FLUSH BINARY LOGS; INSERT INTO t VALUES (301, 'left', 0)").await;
    fixture.execute("FLUSH BINARY LOGS; FLUSH BINARY LOGS").await;
    fixture.purge().await;
    fixture.connected.server = fixture.connected.server.restart().await;
    fixture.until_exact(&["t"]).await;
    assert_eq!(fixture.syncs().await, syncs + 1, "{}", fixture.message().await);
    fixture.until_followed().await;
    fixture.execute("UPDATE t SET name = 'followed on' WHERE id = 1").await;
    fixture.until_exact(&["t"]).await;
    assert_eq!(fixture.syncs().await, syncs + 1);
}

/// Also where a server that was killed has forgotten what it had said.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_logs_too_little_says_so_and_one_that_was_started_again_is_followed_again() {
    let mut server = OwnServer::start("--skip-log-bin");
    let fixture = Fixture::on(server.database().await, ROWS, json!({})).await;
    fixture.allow().await;
    fixture.follow().await;
    let said = fixture.until_said("`log_bin`").await;
    assert!(said.contains("`binlog_format` is not `ROW`"), "{said}");
    fixture.until_exact(&["t"]).await;
    assert_eq!(fixture.stages().await[0].0, "log_bin");
    server.restart(LOGGING);
    fixture.until_followed().await;
    fixture.execute("UPDATE t SET name = 'followed' WHERE id = 1").await;
    fixture.until_exact(&["t"]).await;
    let syncs = fixture.syncs().await;
    server.restart(LOGGING);
    fixture.execute("UPDATE t SET name = 'followed again' WHERE id = 2").await;
    fixture.until_exact(&["t"]).await;
    assert!(fixture.syncs().await > syncs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_while_changes_come_loses_none() {
    let database = Database::create().await;
    database.grant().await;
    database.run(&format!("{ROWS} GRANT {RIGHTS} ON *.* TO {}@'%'", database.reader)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(&folder.path().join("data"));
    let collection = process.call("POST", "/api/v1/collections", Some(json!({"name": "Killed"}))).await;
    let collection = collection["collection"]["id"].as_str().unwrap().to_owned();
    let body = json!({
        "collectionId": collection, "sourceShortName": "mysql", "name": "Killed", "config": {},
        "schedule": {"continuous": true},
        "credentials": {
            "host": "127.0.0.1", "port": database.port, "username": database.reader, "password": PASSWORD,
        },
    });
    process.call("POST", "/api/v1/source-connections", Some(body)).await;
    let items = format!("/api/v1/collections/{collection}/items?pageSize=1000");
    let mut client = database.connect().await;
    let mut until = async |process: &Process| {
        let deadline = std::time::Instant::now() + PATIENT;
        loop {
            let names = "SELECT name FROM t ORDER BY CAST(name AS BINARY)";
            let source: Vec<String> = mysql_async::prelude::Queryable::query(&mut client, names).await.unwrap();
            let found = process.call("GET", &items, None).await;
            let names = found["items"].as_array().unwrap().iter();
            let mut indexed: Vec<&str> = names.map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
            indexed.sort_unstable();
            if source == indexed {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{source:?} {indexed:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until(&process).await;
    for round in 0..3u64 {
        let changes: Vec<String> = (0..40)
            .map(|number| {
                format!(
                    "UPDATE t SET name = 'r{round} n{number}' WHERE id % 40 = {number}; \
                     DELETE FROM t WHERE id = {number} + {round} * 20; \
                     INSERT INTO t VALUES (1000 + {round} * 40 + {number}, 'new {round} {number}', 0)"
                )
            })
            .collect();
        let changes = changes.join(";");
        let writing = database.run(&changes);
        let killing = async {
            tokio::time::sleep(Duration::from_millis(30 + 70 * round)).await;
            process.kill();
        };
        tokio::join!(writing, killing);
        process = Process::start(&folder.path().join("data"));
        until(&process).await;
    }
}
