//! Database files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rusqlite::Connection;
use serde_json::{Value, json};
use tributary::connectors::ConnectorError;
use tributary::connectors::reading::Rest;
use tributary::report::Report;

use super::Mirror;
use crate::connectors::passes::{connector, open};
use crate::support::server::{Server, id_of};

struct Shop {
    folder: tempfile::TempDir,
    connection: Connection,
}

/// Rows of years ago, so that none is within an overlap.
const ORDERS: &str = "
    CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT, changed TEXT);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3500)
    INSERT INTO orders SELECT i, 'item ' || i, datetime('2020-01-01', i || ' minutes') FROM n;";

impl Shop {
    fn with(sql: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("shop.db")).unwrap();
        let shop = Self { folder, connection };
        shop.execute(sql);
        shop
    }

    fn root(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    fn execute(&self, sql: &str) {
        self.connection.execute_batch(sql).unwrap();
    }

    fn mirror(&self, config: Value) -> Mirror {
        let mut whole = json!({ "path": "shop.db" });
        whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        Mirror::of(open("sqlite", whole, &self.root()))
    }
}

fn by_changed() -> Value {
    json!({ "cursorColumns": ["orders.changed"] })
}

#[tokio::test]
async fn a_file_that_nobody_wrote_to_is_not_read() {
    let shop = Shop::with(&format!("{ORDERS} CREATE VIEW late AS SELECT * FROM orders WHERE id > 3498"));
    let mut mirror = shop.mirror(json!({}));
    assert_eq!(mirror.exact_sync().await.read("orders").len(), 3500);
    let again = mirror.exact_sync().await;
    assert!(again.unmoved.contains("orders") && again.read("orders").is_empty());
    assert_eq!(again.read("late").len(), 2, "a view may depend on more than the file");
    // A change of the same length, which no count shows.
    shop.execute("UPDATE orders SET item = 'item 8' WHERE id = 7");
    assert_eq!(mirror.exact_sync().await.read("orders").len(), 3500, "without a cursor column it is read whole");
    assert!(mirror.exact_sync().await.unmoved.contains("orders"));
    // The same transactions, and so the same change counter, in another copy.
    drop(shop.connection);
    let path = shop.folder.path().join("shop.db");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    assert!(!mirror.exact_sync().await.unmoved.contains("orders"), "somebody wrote it");
}

#[tokio::test]
async fn a_log_with_something_in_it_proves_nothing_until_it_is_put_away() {
    let shop = Shop::with(&format!("PRAGMA journal_mode = WAL; {ORDERS}"));
    let mut mirror = shop.mirror(json!({}));
    mirror.exact_sync().await;
    assert!(mirror.exact_sync().await.unmoved.is_empty(), "a commit may be under way");
    shop.execute("UPDATE orders SET item = 'item 8' WHERE id = 7");
    mirror.exact_sync().await;
    shop.execute("PRAGMA wal_checkpoint(TRUNCATE)");
    mirror.exact_sync().await;
    assert!(mirror.exact_sync().await.unmoved.contains("orders"));
    shop.execute("UPDATE orders SET item = 'item 7' WHERE id = 7");
    assert!(mirror.exact_sync().await.unmoved.is_empty());
}

#[tokio::test]
async fn a_changed_file_is_read_from_the_last_change_on() {
    let shop = Shop::with(ORDERS);
    let mut mirror = shop.mirror(by_changed());
    let whole = mirror.exact_sync().await;
    shop.execute("UPDATE orders SET item = 'other', changed = datetime('now') WHERE id IN (3, 9)");
    let told = mirror.exact_sync().await;
    // Those of the last five minutes before, that of the bound among them.
    assert_eq!(told.read("orders"), ["[3495]", "[3496]", "[3497]", "[3498]", "[3499]", "[3500]", "[3]", "[9]"]);
    assert_eq!(told.rest["orders"], Rest::Unknown);
    assert!(told.bytes * 100 < whole.bytes, "{} of {}", told.bytes, whole.bytes);
    // Nothing is proved by a cursor, so an unchanged file is not said to be; but
    // nothing is read either.
    let told = mirror.exact_sync().await;
    assert_eq!((told.rest["orders"], told.bytes), (Rest::Unknown, 0));
    // A deletion is found by the count, and named by the keys.
    shop.execute("DELETE FROM orders WHERE id = 100; INSERT INTO orders VALUES (9000, 'new', datetime('now'))");
    let told = mirror.exact_sync().await;
    assert_eq!(told.rest["orders"], Rest::Listed);
    assert!(told.read("orders").len() < 20 && told.present["orders"].len() > 3400);
    // A new row with an old stamp is found by the count too.
    shop.execute("INSERT INTO orders VALUES (9001, 'old', '2019-01-01 00:00:00')");
    assert_eq!(mirror.exact_sync().await.rest["orders"], Rest::Gone);
}

#[tokio::test]
async fn equal_values_at_the_bound_and_rows_without_a_value_are_read() {
    let shop = Shop::with(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT, changed INTEGER);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
         INSERT INTO orders SELECT i, 'item ' || i, 5000 + i * 100 FROM n;
         INSERT INTO orders VALUES (200, 'unstamped', NULL);",
    );
    let mut mirror = shop.mirror(by_changed());
    mirror.exact_sync().await;
    // The highest is 15000, less 1000: a row that gets just that value is seen.
    shop.execute("UPDATE orders SET item = 'equal', changed = 14000 WHERE id = 5");
    shop.execute("UPDATE orders SET item = 'still unstamped' WHERE id = 200");
    let told = mirror.exact_sync().await;
    assert!(told.read("orders").len() < 20);
    for _ in 0..2 {
        shop.execute("UPDATE orders SET item = item || '!' WHERE id = 200");
        assert!(mirror.exact_sync().await.read("orders").contains(&"[200]"));
    }
}

#[tokio::test]
async fn everything_is_read_again_when_it_is_due_and_when_the_schema_changed() {
    let shop = Shop::with(ORDERS);
    let mut mirror = shop.mirror(by_changed());
    mirror.exact_sync().await;
    // A change that forgot its stamp is not seen, until everything is read again.
    shop.execute("UPDATE orders SET item = 'forgot' WHERE id = 5");
    assert_eq!(mirror.sync().await.rest["orders"], Rest::Unknown);
    mirror.known.get_mut("orders").unwrap().proved_at -= 25 * 3_600_000;
    assert_eq!(mirror.exact_sync().await.rest["orders"], Rest::Gone);
    shop.execute("UPDATE orders SET item = 'forgot again' WHERE id = 5; ALTER TABLE orders ADD COLUMN more");
    assert_eq!(mirror.exact_sync().await.rest["orders"], Rest::Gone);
    shop.execute("UPDATE orders SET item = 'once more' WHERE id = 5; VACUUM");
    assert_eq!(mirror.exact_sync().await.rest["orders"], Rest::Gone, "rows may have other numbers");
}

#[tokio::test]
async fn values_of_the_future_and_columns_that_are_empty_hide_nothing() {
    let shop = Shop::with(&format!("{ORDERS} INSERT INTO orders VALUES (9000, 'far', '2999-01-01 00:00:00')"));
    let mut mirror = shop.mirror(by_changed());
    mirror.exact_sync().await;
    shop.execute("UPDATE orders SET item = 'now', changed = datetime('now') WHERE id = 5");
    assert!(mirror.exact_sync().await.read("orders").contains(&"[5]"));
    let shop = Shop::with(&format!("{ORDERS} UPDATE orders SET changed = NULL"));
    let mut mirror = shop.mirror(by_changed());
    for _ in 0..2 {
        shop.execute("UPDATE orders SET item = item || '!' WHERE id = 5");
        assert_eq!(mirror.exact_sync().await.rest["orders"], Rest::Gone, "an empty cursor is none");
    }
}

#[tokio::test]
async fn rows_without_a_key_are_read_whole_when_one_of_them_changed() {
    let shop = Shop::with(&format!("{ORDERS} CREATE VIEW shown AS SELECT item, changed FROM orders"));
    let mut mirror = shop.mirror(json!({ "tables": ["shown"], "cursorColumns": ["shown.changed"] }));
    mirror.exact_sync().await;
    shop.execute("INSERT INTO orders VALUES (9000, 'new', datetime('now')), (9001, 'new', datetime('now'))");
    let told = mirror.exact_sync().await;
    assert_eq!((told.rest["shown"], told.read("shown").len()), (Rest::Unknown, 8));
    shop.execute("UPDATE orders SET item = 'other', changed = datetime('now') WHERE id = 5");
    assert_eq!(mirror.exact_sync().await.rest["shown"], Rest::Gone);
}

#[tokio::test]
async fn a_first_sync_goes_on_inside_a_table_where_the_file_is_as_it_was() {
    let keyed = "CREATE TABLE keyed (a TEXT, b INTEGER, PRIMARY KEY (a, b)) WITHOUT ROWID;
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3500)
        INSERT INTO keyed SELECT 'k' || (i % 7), i FROM n;";
    let loose = "CREATE TABLE loose (word TEXT);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3500)
        INSERT INTO loose SELECT 'word ' || i FROM n; DELETE FROM loose WHERE rowid % 3 = 0";
    for (journal, table, sql) in [
        ("DELETE", "orders", ORDERS),
        ("WAL", "orders", ORDERS),
        ("DELETE", "keyed", keyed),
        ("DELETE", "loose", loose),
    ] {
        let shop = Shop::with(&format!("PRAGMA journal_mode = {journal}; {sql}"));
        shop.execute("PRAGMA wal_checkpoint(TRUNCATE)");
        let mut mirror = shop.mirror(json!({}));
        let broken_off = mirror.attempt(BTreeMap::new(), 2).await;
        assert_eq!(broken_off.read(table).len(), 2_000, "{journal} {table}");
        let resumed = mirror.attempt(broken_off.positions.clone(), usize::MAX).await;
        assert_eq!(resumed.rest[table], Rest::Unmoved, "{journal} {table}");
        assert!(resumed.read[table].is_disjoint(&broken_off.read[table]), "no row is read twice");
        mirror.assert_exact().await;
        assert!(mirror.exact_sync().await.unmoved.contains(table), "and the whole table is proved");
    }
}

#[tokio::test]
async fn what_changed_behind_the_place_of_a_broken_off_sync_is_seen() {
    let changes = "UPDATE orders SET item = 'item 8' WHERE id = 7; DELETE FROM orders WHERE id = 8;
        INSERT INTO orders VALUES (-5, 'before', NULL); UPDATE orders SET item = 'later' WHERE id = 3000";
    for journal in ["DELETE", "TRUNCATE", "PERSIST", "WAL"] {
        for is_put_away in [true, false] {
            let shop = Shop::with(&format!("PRAGMA journal_mode = {journal}; {ORDERS}"));
            shop.execute("PRAGMA wal_checkpoint(TRUNCATE)");
            let mut mirror = shop.mirror(json!({}));
            let broken_off = mirror.attempt(BTreeMap::new(), 2).await;
            shop.execute(changes);
            if is_put_away {
                shop.execute("PRAGMA wal_checkpoint(TRUNCATE)");
            }
            let resumed = mirror.attempt(broken_off.positions, usize::MAX).await;
            assert_eq!(resumed.rest["orders"], Rest::Gone, "{journal}: it is read from the beginning");
            mirror.assert_exact().await;
        }
    }
}

#[tokio::test]
async fn a_cursor_column_that_is_none_is_named() {
    let shop = Shop::with(&format!(
        "{ORDERS} CREATE TABLE odd (id INTEGER PRIMARY KEY, mixed, ratio REAL);
         INSERT INTO odd VALUES (1, '2024-01-01', 0.5), (2, 7, 1.5)"
    ));
    let session = |cursors: Value| open("sqlite", json!({ "path": "shop.db", "cursorColumns": cursors }), &shop.root());
    for (cursors, position) in [
        (json!(["orders.changed", "orders.nowhere"]), 1),
        (json!(["nowhere.changed"]), 0),
        (json!(["odd.mixed"]), 0),
        (json!(["orders.id", "odd.ratio"]), 1),
    ] {
        let mut report = Report::default();
        let error = session(cursors.clone()).check(&mut report).await.unwrap_err();
        let named = format!("config.cursorColumns[{position}]");
        assert!(matches!(&error, ConnectorError::Invalid { field, .. } if *field == named), "{cursors} {error:?}");
        assert_eq!(report.first_failure().and_then(|stage| stage.code), Some("cursor_unusable"), "{cursors}");
    }
    let error = Mirror::of(session(json!(["nowhere.*"]))).take(Default::default(), usize::MAX).await.err();
    assert!(matches!(error, Some(ConnectorError::Invalid { .. })), "a sync says so too");
    session(json!(["*.changed", "odd.id"])).check(&mut Report::default()).await.unwrap();
    // Values may turn odd at any time; a sync then reads everything.
    let mut mirror = Mirror::of(session(json!(["odd.mixed"])));
    mirror.exact_sync().await;
    shop.execute("UPDATE odd SET ratio = 2.5 WHERE id = 1");
    assert_eq!(mirror.exact_sync().await.rest["odd"], Rest::Gone);
}

#[test]
fn numbers_out_of_range_are_refused() {
    let config = json!({ "path": "x", "cursorOverlapSeconds": 0, "reconcileHours": 169 });
    let violations = connector("sqlite").config(config.as_object().unwrap()).unwrap_err();
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["config.cursorOverlapSeconds", "config.reconcileHours"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_of_a_file_reads_what_changed_and_is_exact() {
    let server = Server::start().await;
    let collection = server.collection("Files").await;
    let path = server.files().join("shop.db");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(ORDERS).unwrap();
    let body = json!({
        "collectionId": collection, "sourceShortName": "sqlite", "name": "Shop", "credentials": {},
        "config": { "path": path, "cursorColumns": ["orders.changed"] },
    });
    let source = id_of(&server.post("/api/v1/source-connections", body).await.ok()["sourceConnection"]);
    let progress = async |full: bool| {
        let run = format!("/api/v1/source-connections/{source}/run");
        let run = server.post(&run, json!({ "full": full })).await.ok();
        let sync = server.finished(run["syncId"].as_str().unwrap()).await;
        assert_eq!((&sync["status"], &sync["warnings"]), (&json!("succeeded"), &json!([])), "{sync:#}");
        let number = |name: &str| sync["progress"][name].as_str().unwrap().parse::<u64>().unwrap();
        (number("bytesRead"), number("itemsUpdated"), number("itemsDeleted"))
    };
    let (whole, ..) = progress(false).await;
    assert_eq!(progress(false).await, (0, 0, 0), "nothing changed");
    let changes = "UPDATE orders SET item = 'other', changed = datetime('now') WHERE id < 10;
        DELETE FROM orders WHERE id BETWEEN 20 AND 22";
    connection.execute_batch(changes).unwrap();
    let plan = format!("/api/v1/source-connections/{source}/plan");
    let plan = server.post(&plan, json!({})).await.ok();
    assert_eq!((&plan["itemsToUpdate"], &plan["itemsToDelete"]), (&json!("9"), &json!("3")), "{plan:#}");
    let (read, updated, deleted) = progress(false).await;
    assert!(read * 20 < whole, "{read} of {whole}");
    assert_eq!((updated, deleted), (9, 3));
    assert_eq!(server.items(&collection).await.len(), 3497);
    assert_eq!(progress(false).await, (0, 0, 0));
    assert!(progress(true).await.0 > whole / 2, "`full` reads everything");
}
