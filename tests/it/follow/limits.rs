//! What following needs, what it may cost the source, and how it ends.

use std::time::{Duration, Instant};

use serde_json::json;

use super::fixture::{Fixture, PATIENT};
use crate::support::postgres::OwnCluster;

const ROWS: &str = "CREATE TABLE t (id int PRIMARY KEY, name text, n int);
    INSERT INTO t SELECT n, 'name ' || n, n FROM generate_series(1, 200) n;";

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_keeps_too_much_is_freed_and_syncs_take_over() {
    let fixture = Fixture::new(ROWS, json!({"maxRetainedWalMb": 20})).await;
    fixture.follow().await;
    fixture.until_followed().await;
    let found = fixture.stages().await;
    assert!(found.iter().any(|(code, hint)| code == "slot_healthy" && hint.contains("of 20 MB")), "{found:?}");
    // A transaction that stays open keeps the log from where it began.
    let open = fixture.database.connect().await;
    open.batch_execute("BEGIN; INSERT INTO t VALUES (-1, 'open', 0)").await.unwrap();
    fixture
        .execute("CREATE UNLOGGED TABLE u (id int); CREATE TABLE filler AS SELECT repeat(md5(n::text), 30) AS f FROM generate_series(1, 40000) n")
        .await;
    fixture.execute("DROP TABLE filler; DROP TABLE u").await;
    let said = fixture.until_said("`maxRetainedWalMb`").await;
    assert!(said.contains("syncs bring changes"), "{said}");
    fixture.until_at_the_source(0).await;
    open.batch_execute("ROLLBACK").await.unwrap();
    fixture.execute("UPDATE t SET name = 'brought by a sync' WHERE id = 1").await;
    fixture.until_exact(&["t"], PATIENT).await;
    fixture.follow().await;
    fixture.until_followed().await;
    fixture.until_at_the_source(2).await;
    fixture.execute("UPDATE t SET name = 'followed anew' WHERE id = 2").await;
    fixture.until_exact(&["t"], PATIENT).await;
}

/// Larger than a row may be: a sync says that it is too large, all others are told,
/// and what is before it is confirmed, so that nothing is told again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_too_large_costs_a_sync_and_following_goes_on() {
    let fixture = Fixture::followed(ROWS).await;
    let syncs = fixture.syncs().await;
    let large = "INSERT INTO t SELECT 900, string_agg(md5(n::text), ''), 0 FROM generate_series(1, 1200000) n";
    fixture.execute(&format!("{large}; UPDATE t SET name = 'beside it' WHERE id = 1")).await;
    let path = format!("/api/v1/syncs?sourceConnectionId={}", fixture.connection);
    let deadline = Instant::now() + PATIENT;
    loop {
        let body = fixture.server.get(&path).await.ok();
        let newest = &body["syncs"][0];
        if newest["progress"]["itemsFailed"] == "1" && !newest["finishedAt"].is_null() {
            let id = newest["id"].as_str().expect("an id");
            let errors = fixture.server.get(&format!("/api/v1/syncs/{id}/errors")).await.ok();
            assert_eq!(errors["errors"][0]["code"], "too_large", "{errors:#}");
            break;
        }
        assert!(Instant::now() < deadline, "{newest:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fixture.execute("DELETE FROM t WHERE id = 900").await;
    fixture.until_exact(&["t"], PATIENT).await;
    assert!(fixture.syncs().await > syncs);
    fixture.until_followed().await;
    fixture.execute("UPDATE t SET name = 'followed on' WHERE id = 2").await;
    fixture.until_exact(&["t"], PATIENT).await;
    let behind = "SELECT count(*) FROM pg_replication_slots
        WHERE pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) > 16 * 1024 * 1024";
    let deadline = Instant::now() + PATIENT;
    while fixture.client.query_one(behind, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(Instant::now() < deadline, "the large change is not confirmed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_rights_says_what_is_missing_until_it_has_them() {
    let statements = format!("{ROWS} CREATE ROLE weak LOGIN; GRANT SELECT ON t TO weak;");
    let fixture = Fixture::new(&statements, json!({})).await;
    let credentials = json!({"credentials": {
        "host": "127.0.0.1", "port": fixture.database.port, "database": fixture.database.name,
        "username": "weak", "password": "any",
    }});
    fixture.server.put(&fixture.path("/credentials"), credentials).await.ok();
    fixture.follow().await;
    fixture.until_said("ALTER ROLE ... REPLICATION").await;
    fixture.until_exact(&["t"], PATIENT).await;
    let found = fixture.stages().await;
    assert_eq!(found[0].0, "replication_right_missing", "{found:?}");
    fixture.execute("UPDATE t SET name = 'brought by a sync' WHERE id = 1").await;
    fixture.until_exact(&["t"], PATIENT).await;

    fixture.execute("ALTER ROLE weak REPLICATION").await;
    let said = fixture.until_said("CREATE PUBLICATION").await;
    assert!(said.contains("owns none of the selected tables"), "{said}");
    let found = fixture.stages().await;
    assert_eq!(found[0].0, "publication_right_missing", "{found:?}");
    // The owner does as it is told.
    let statement = said.split(": ").last().unwrap();
    assert!(statement.starts_with("CREATE PUBLICATION"), "{said}");
    fixture.execute(statement).await;
    fixture.until_followed().await;
    fixture.execute("UPDATE t SET name = 'followed' WHERE id = 2").await;
    fixture.until_exact(&["t"], PATIENT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_writes_no_logical_log_says_so() {
    let fixture = Fixture::on(OwnCluster::start_new(), ROWS, json!({})).await;
    fixture.follow().await;
    fixture.until_said("`wal_level` is not `logical`").await;
    fixture.until_exact(&["t"], PATIENT).await;
    assert_eq!(fixture.stages().await[0].0, "wal_level");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_at_the_source_when_following_ends() {
    tributary::telemetry::metrics::install();
    let fixture = Fixture::followed(ROWS).await;
    fixture.until_at_the_source(2).await;
    let metrics = fixture.server.get("/metrics").await.text;
    for name in ["tributary_followers", "tributary_follow_retained_wal_bytes"] {
        assert!(metrics.contains(name), "{metrics}");
    }
    fixture.server.put(&fixture.path("/schedule"), json!({"cron": "0 3 * * *"})).await.ok();
    fixture.until_at_the_source(0).await;
    fixture.follow().await;
    fixture.until_followed().await;
    fixture.until_at_the_source(2).await;
    let gone = fixture.server.delete(&fixture.path("?deleteData=true")).await;
    gone.ok();
    assert_eq!(fixture.at_the_source().await, Vec::<String>::new());
    assert!(fixture.server.items(&fixture.collection).await.is_empty());
}
