//! MySQL and MariaDB.

use std::collections::BTreeMap;

use mysql_async::prelude::Queryable;
use serde_json::{Value, json};
use tributary::connectors::ConnectorError;
use tributary::connectors::reading::Rest;
use tributary::report::Report;

use super::Mirror;
use crate::connectors::mysql::open;
use crate::support::mariadb::Database;

/// Rows of years ago, so that none is within an overlap.
const ORDERS: &str = "
    CREATE TABLE orders (id int PRIMARY KEY, item text, changed datetime, stamp timestamp NULL, version bigint);
    INSERT INTO orders SELECT seq, concat('item ', seq), '2020-01-01' + INTERVAL seq MINUTE,
        '2020-01-01' + INTERVAL seq MINUTE, seq FROM seq_1_to_3500;";

async fn shop(may_look: bool) -> (Database, String) {
    let database = Database::create().await;
    database.run(ORDERS).await;
    database.grant().await;
    if may_look {
        database.run(&format!("GRANT PROCESS ON *.* TO {}@'%'", database.reader)).await;
    }
    let orders = format!("{}.orders", database.name);
    (database, orders)
}

fn by(column: &str) -> Value {
    json!({"cursorColumns": [format!("*.*.{column}")]})
}

#[tokio::test]
async fn only_what_changed_is_read_and_what_is_gone_is_found() {
    for column in ["changed", "stamp"] {
        let (database, orders) = shop(true).await;
        let mut mirror = Mirror::of(open(&database, by(column)));
        assert_eq!(mirror.exact_sync().await.rest[&orders], Rest::Gone);
        assert_eq!(mirror.exact_sync().await.rest[&orders], Rest::Unknown);
        database
            .run(&format!(
                "UPDATE orders SET item = 'new', {column} = now() WHERE id = 5; DELETE FROM orders WHERE id = 7;
                 INSERT INTO orders (id, item, {column}) VALUES (9000, 'more', now()), (9001, 'none', NULL)"
            ))
            .await;
        let told = mirror.exact_sync().await;
        assert!(told.read(&orders).contains(&"[5]") && told.read(&orders).len() < 100, "{column}");
        database.run("DELETE FROM orders WHERE id IN (8, 9)").await;
        assert_eq!(mirror.exact_sync().await.rest[&orders], Rest::Listed, "{column}");
        // A change that forgot its stamp is not seen, until everything is read again.
        database.run("UPDATE orders SET item = 'forgot' WHERE id = 15").await;
        assert_eq!(mirror.sync().await.rest[&orders], Rest::Unknown);
        mirror.known.get_mut(&orders).unwrap().proved_at -= 25 * 3_600_000;
        assert_eq!(mirror.exact_sync().await.rest[&orders], Rest::Gone);
        database.run("UPDATE orders SET item = 'again' WHERE id = 15; ALTER TABLE orders ADD COLUMN more int").await;
        assert_eq!(mirror.exact_sync().await.rest[&orders], Rest::Gone, "another table");
    }
}

#[tokio::test]
async fn a_transaction_that_commits_late_is_not_missed() {
    for column in ["stamp", "version"] {
        let (database, orders) = shop(true).await;
        let config = json!({"cursorColumns": [format!("*.*.{column}")], "cursorOverlapSeconds": 1});
        let mut mirror = Mirror::of(open(&database, config));
        mirror.exact_sync().await;
        let mut late = database.connect().await;
        late.query_drop("BEGIN").await.unwrap();
        let value = if column == "stamp" { "now()" } else { "100000" };
        late.query_drop(format!("UPDATE orders SET item = 'late', {column} = {value} WHERE id = 5")).await.unwrap();
        // Others come after it, and a pass sees only them.
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        let later = if column == "stamp" { "now()" } else { "200000" };
        database.run(&format!("UPDATE orders SET item = 'later', {column} = {later} WHERE id = 6")).await;
        mirror.exact_sync().await;
        mirror.exact_sync().await;
        late.query_drop("COMMIT").await.unwrap();
        let told = mirror.exact_sync().await;
        assert!(told.read(&orders).contains(&"[5]"), "{column}");
        drop(late);
    }
}

#[tokio::test]
async fn without_a_look_at_transactions_everything_is_read() {
    let (database, orders) = shop(false).await;
    let mut mirror = Mirror::of(open(&database, by("stamp")));
    for _ in 0..2 {
        assert_eq!(mirror.exact_sync().await.rest[&orders], Rest::Gone);
    }
    let mut report = Report::default();
    open(&database, by("stamp")).check(&mut report).await.unwrap();
    assert!(report.stages.iter().any(|stage| stage.code == Some("cursor_unused")), "{report:?}");
}

#[tokio::test]
async fn a_cursor_column_that_is_none_is_named() {
    let (database, _) = shop(true).await;
    for (cursors, position) in [(json!(["*.*.changed", "*.*.nothing"]), 1), (json!(["*.orders.item"]), 0)] {
        let mut report = Report::default();
        let error = open(&database, json!({"cursorColumns": cursors})).check(&mut report).await.unwrap_err();
        let named = format!("config.cursorColumns[{position}]");
        assert!(matches!(&error, ConnectorError::Invalid { field, .. } if *field == named), "{cursors} {error:?}");
        assert_eq!(report.first_failure().and_then(|stage| stage.code), Some("cursor_unusable"), "{cursors}");
    }
}

#[tokio::test]
async fn views_are_followed_by_their_definition() {
    let (database, _) = shop(true).await;
    database.run("CREATE VIEW v AS SELECT id, item, stamp FROM orders WHERE id < 3000").await;
    let object = format!("{}.v", database.name);
    let mut mirror = Mirror::of(open(&database, json!({"tables": ["*.v"], "cursorColumns": ["*.v.stamp"]})));
    mirror.exact_sync().await;
    database.run("UPDATE orders SET item = 'new', stamp = now() WHERE id = 5").await;
    // Rows without a key are told apart by their content.
    assert!(!mirror.exact_sync().await.read(&object).is_empty());
    database.run("ALTER VIEW v AS SELECT id, concat(item, '!') AS item, stamp FROM orders").await;
    assert_eq!(mirror.exact_sync().await.rest[&object], Rest::Gone);
}

#[tokio::test]
async fn a_first_sync_goes_on_inside_a_table() {
    let keyed = "CREATE TABLE keyed (a varchar(10), b binary(4), PRIMARY KEY (a, b)) CHARACTER SET latin1;
        INSERT INTO keyed SELECT concat('k', seq % 7), LPAD(seq, 4, '0') FROM seq_1_to_3500;";
    let (database, orders) = shop(false).await;
    database.run(keyed).await;
    for (table, position) in [("orders", 2), ("keyed", 2)] {
        let object = format!("{}.{table}", database.name);
        let mut mirror = Mirror::of(open(&database, json!({"tables": [object]})));
        let broken_off = mirror.attempt(BTreeMap::new(), position).await;
        assert_eq!(broken_off.read(&object).len(), 2_000, "{table}");
        let resumed = mirror.attempt(broken_off.positions.clone(), usize::MAX).await;
        assert_eq!(resumed.rest[&object], Rest::Unknown, "{table}");
        assert!(resumed.read[&object].is_disjoint(&broken_off.read[&object]), "no row is read twice");
        mirror.assert_exact().await;
    }
    // What went before the place is found by the count.
    for (change, rest) in [
        ("DELETE FROM orders WHERE id = 8", Rest::Listed),
        ("INSERT INTO orders (id, item) VALUES (-5, 'before')", Rest::Gone),
        ("DROP TABLE orders; CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders VALUES (1)", Rest::Gone),
    ] {
        let mut mirror = Mirror::of(open(&database, json!({"tables": [orders]})));
        let broken_off = mirror.attempt(BTreeMap::new(), 2).await;
        database.run(change).await;
        let resumed = mirror.attempt(broken_off.positions, usize::MAX).await;
        assert_eq!(resumed.rest[&orders], rest, "{change}");
        mirror.assert_exact().await;
    }
}
