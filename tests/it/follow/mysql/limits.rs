//! What following needs, and what it may not cost.

use serde_json::json;

use super::fixture::Fixture;
use crate::support::mariadb::Database;

const ROWS: &str = "CREATE TABLE t (id int PRIMARY KEY, name longtext, n int);
    INSERT INTO t SELECT seq, concat('name ', seq), seq FROM seq_1_to_50;";

#[tokio::test(flavor = "multi_thread")]
async fn a_login_without_rights_says_what_is_missing_until_it_has_them() {
    let fixture = Fixture::on(Database::create().await, ROWS, json!({})).await;
    fixture.follow().await;
    fixture.until_said("GRANT REPLICATION SLAVE, REPLICATION CLIENT").await;
    fixture.until_exact(&["t"]).await;
    let found = fixture.stages().await;
    assert_eq!(found[0].0, "replication_right_missing", "{found:?}");
    let reader = &fixture.database.reader;
    // The right to see the log is not the right to read it.
    fixture.execute(&format!("GRANT BINLOG MONITOR ON *.* TO {reader}@'%'")).await;
    assert_eq!(fixture.stages().await, found);
    fixture.execute(&format!("GRANT REPLICATION SLAVE ON *.* TO {reader}@'%'")).await;
    fixture.until_followed().await;
    let found = fixture.stages().await;
    assert_eq!(found[0].0, "ready", "{found:?}");
    fixture.execute("UPDATE t SET name = 'followed' WHERE id = 2").await;
    fixture.until_exact(&["t"]).await;
    fixture.execute("CREATE TABLE keyless (name text)").await;
    fixture.until_said("but for 1 objects").await;
    assert_eq!(fixture.stages().await[0].0, "some_not_followed");
}

/// Larger than a row may be: a sync says that it is too large, all others are told, and
/// following goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_too_large_costs_a_sync_and_following_goes_on() {
    let fixture = Fixture::followed(ROWS).await;
    let syncs = fixture.syncs().await;
    fixture
        .execute("INSERT INTO t VALUES (900, repeat('x', 40000000), 0); UPDATE t SET name = 'beside it' WHERE id = 1")
        .await;
    let newest = async || {
        let path = format!("/api/v1/syncs?sourceConnectionId={}", fixture.connection);
        fixture.server.get(&path).await.ok()["syncs"][0].clone()
    };
    let deadline = std::time::Instant::now() + crate::follow::connected::PATIENT;
    loop {
        let sync = newest().await;
        if sync["progress"]["itemsFailed"] == "1" && !sync["finishedAt"].is_null() {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{sync:#}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    fixture.execute("DELETE FROM t WHERE id = 900").await;
    fixture.until_exact(&["t"]).await;
    assert!(fixture.syncs().await > syncs);
    fixture.until_followed().await;
    fixture.execute("UPDATE t SET name = 'followed on' WHERE id = 2").await;
    fixture.until_exact(&["t"]).await;
}
