//! Tables and views of a server.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tributary::connectors::ConnectorError;
use tributary::connectors::reading::Rest;
use tributary::report::Report;

use super::Mirror;
use crate::connectors::postgresql::{credentials, open};
use crate::support::postgres::{Database, OwnCluster};

/// A partitioned table, whose rows nothing proves unmoved; the rows are of years
/// ago, so that none is within an overlap.
const ORDERS: &str = "
    CREATE TABLE orders (id int PRIMARY KEY, item text, changed timestamptz, n bigint) PARTITION BY RANGE (id);
    CREATE TABLE orders_low PARTITION OF orders FOR VALUES FROM (MINVALUE) TO (1000);
    CREATE TABLE orders_high PARTITION OF orders FOR VALUES FROM (1000) TO (MAXVALUE);
    INSERT INTO orders SELECT n, 'item ' || n, timestamptz '2020-01-01' + n * interval '1 minute', n * 100
        FROM generate_series(1, 2000) n;";
const OBJECT: &str = "public.orders";

async fn fixture(database: &Database, statements: &str, config: Value) -> (tokio_postgres::Client, Mirror) {
    let client = database.connect().await;
    client.batch_execute(statements).await.expect("the statements are right");
    (client, Mirror::of(open(credentials(database), config)))
}

fn by(column: &str) -> Value {
    json!({ "cursorColumns": [format!("public.orders.{column}")], "cursorOverlapSeconds": 120 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_a_proof_is_read_from_the_last_change_on() {
    let database = Database::create().await;
    let (client, mut mirror) = fixture(&database, ORDERS, by("changed")).await;
    let whole = mirror.exact_sync().await;
    client.batch_execute("UPDATE orders SET item = 'other', changed = now() WHERE id IN (3, 9)").await.unwrap();
    let told = mirror.exact_sync().await;
    // Those of the last two minutes before, that of the bound among them.
    assert_eq!(told.read(OBJECT), ["[\"1998\"]", "[\"1999\"]", "[\"2000\"]", "[\"3\"]", "[\"9\"]"]);
    assert_eq!(told.rest[OBJECT], Rest::Unknown, "nothing is proved of the others");
    assert!(told.bytes * 100 < whole.bytes, "{} of {}", told.bytes, whole.bytes);
    // A deletion is found by the count, and named by the keys.
    client
        .batch_execute("DELETE FROM orders WHERE id = 100; INSERT INTO orders VALUES (9000, 'new', now())")
        .await
        .unwrap();
    let told = mirror.exact_sync().await;
    assert_eq!(told.rest[OBJECT], Rest::Listed);
    assert!(told.read(OBJECT).len() < 10 && told.present[OBJECT].len() > 1_900);
    // A new row with an old value is found by the count too.
    client.batch_execute("INSERT INTO orders VALUES (9001, 'old', '2019-01-01')").await.unwrap();
    assert_eq!(mirror.exact_sync().await.rest[OBJECT], Rest::Gone);
    // Rows without a value are read in every pass.
    client.batch_execute("UPDATE orders SET changed = NULL WHERE id = 50").await.unwrap();
    mirror.known.get_mut(OBJECT).unwrap().proved_at = 0;
    mirror.exact_sync().await;
    for _ in 0..2 {
        client.batch_execute("UPDATE orders SET item = item || '!' WHERE id = 50").await.unwrap();
        let told = mirror.exact_sync().await;
        assert!(told.rest[OBJECT] == Rest::Unknown && told.read(OBJECT).contains(&"[\"50\"]"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_read_again_when_it_is_due() {
    let database = Database::create().await;
    let mut config = by("changed");
    config["reconcileHours"] = json!(2);
    let (client, mut mirror) = fixture(&database, ORDERS, config).await;
    mirror.exact_sync().await;
    client.batch_execute("UPDATE orders SET item = 'forgot its stamp' WHERE id = 5").await.unwrap();
    assert_eq!(mirror.sync().await.rest[OBJECT], Rest::Unknown);
    mirror.known.get_mut(OBJECT).unwrap().proved_at -= 3 * 3_600_000;
    assert_eq!(mirror.exact_sync().await.rest[OBJECT], Rest::Gone);
    client.batch_execute("UPDATE orders SET item = 'forgot again' WHERE id = 5").await.unwrap();
    client.batch_execute("ALTER TABLE orders ADD COLUMN more int").await.unwrap();
    assert_eq!(mirror.exact_sync().await.rest[OBJECT], Rest::Gone, "the rows have another shape");
}

/// Each takes its number in another order than that in which they commit. On a
/// server of its own the late one has the id with which snapshots end.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_commits_late_is_seen() {
    let cluster = OwnCluster::start_new();
    let database = cluster.database().await;
    let (client, mut mirror) = fixture(&database, ORDERS, by("n")).await;
    assert_eq!(mirror.exact_sync().await.rest[OBJECT], Rest::Gone);
    // What may have been under way in the first sync is known to have ended only now.
    assert_eq!(mirror.exact_sync().await.rest[OBJECT], Rest::Gone);
    assert_eq!(mirror.exact_sync().await.rest[OBJECT], Rest::Unknown);
    let insert = |id: u32, number: u32| format!("INSERT INTO orders VALUES ({id}, 'new', NULL, {number})");
    for (is_late_first, late_id, late_number, gone) in [(true, 9000, 300_000, 1), (false, 9002, 500_000, 2)] {
        let late = database.connect().await;
        late.batch_execute("BEGIN").await.unwrap();
        if is_late_first {
            late.batch_execute(&insert(late_id, late_number)).await.unwrap();
        }
        client.batch_execute(&insert(late_id + 1, late_number + 100_000)).await.unwrap();
        if !is_late_first {
            late.batch_execute(&insert(late_id, late_number)).await.unwrap();
        }
        for _ in 0..3 {
            assert_eq!(mirror.exact_sync().await.rest[OBJECT], Rest::Unknown);
        }
        late.batch_execute("COMMIT").await.unwrap();
        // The count must not be what finds it.
        client.batch_execute(&format!("DELETE FROM orders WHERE id = {gone}")).await.unwrap();
        let told = mirror.exact_sync().await;
        assert!(told.read(OBJECT).contains(&format!("[\"{late_id}\"]").as_str()), "{:?}", told.rest);
    }
    for _ in 0..2 {
        mirror.exact_sync().await;
    }
    let since = mirror.known[OBJECT].mark["cursor"]["since"].clone();
    assert_eq!(since, json!("599000"), "and once all have committed the window is small again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_is_capped_by_the_oldest_transaction_that_runs() {
    let database = Database::create().await;
    let (client, mut mirror) = fixture(&database, ORDERS, by("changed")).await;
    let late = database.connect().await;
    // It has written nothing yet, so that no transaction id tells of it.
    late.batch_execute("BEGIN; SELECT now()").await.unwrap();
    let future = "INSERT INTO orders VALUES (9001, 'a clock ahead', now() + interval '1 hour')";
    client.batch_execute(future).await.unwrap();
    mirror.exact_sync().await;
    let since = mirror.known[OBJECT].mark["cursor"]["since"].as_str().unwrap().to_owned();
    let capped = "SELECT $1::text::timestamptz + interval '120 s' - now() BETWEEN '-1 ms' AND '10 us'";
    assert!(late.query_one(capped, &[&since]).await.unwrap().get::<_, bool>(0), "{since}");
    late.batch_execute("UPDATE orders SET item = 'late', changed = now() WHERE id = 7; COMMIT").await.unwrap();
    assert!(mirror.exact_sync().await.read(OBJECT).contains(&"[\"7\"]"));
    // A role that does not see what others do: what runs counts all the same, by its id.
    let role = format!("reader_{}", database.name);
    let grant = format!("CREATE ROLE {role} LOGIN PASSWORD 'pw'; GRANT SELECT ON orders TO {role}");
    client.batch_execute(&grant).await.unwrap();
    let mut login = credentials(&database);
    (login["username"], login["password"]) = (json!(role), json!("pw"));
    let mut mirror = Mirror::of(open(login, by("changed")));
    late.batch_execute("BEGIN; UPDATE orders SET changed = now() WHERE id = 8").await.unwrap();
    mirror.exact_sync().await;
    let cursor = &mirror.known[OBJECT].mark["cursor"];
    assert!(cursor["since"].is_null() && cursor["fence"]["since"].is_string(), "{cursor}");
    late.batch_execute("COMMIT").await.unwrap();
    for _ in 0..3 {
        mirror.exact_sync().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_read_by_its_cursor_while_rows_are_only_added() {
    let database = Database::create().await;
    let view = format!("{ORDERS} CREATE VIEW shown AS SELECT item, changed::timestamp AS at FROM orders");
    let config = json!({ "tables": ["public.shown"], "cursorColumns": ["public.shown.at"] });
    let (client, mut mirror) = fixture(&database, &view, config).await;
    mirror.exact_sync().await;
    // Equal rows are told apart by how many they are.
    client.batch_execute("INSERT INTO orders VALUES (9000, 'new', now()), (9001, 'new', now())").await.unwrap();
    let told = mirror.exact_sync().await;
    assert_eq!((told.rest["public.shown"], told.read("public.shown").len()), (Rest::Unknown, 8));
    client.batch_execute("UPDATE orders SET item = 'other', changed = now() WHERE id = 5").await.unwrap();
    assert_eq!(mirror.exact_sync().await.rest["public.shown"], Rest::Gone, "a row without a key is another");
    // The window over local times is twelve hours, which has the new rows.
    client
        .batch_execute(
            "CREATE OR REPLACE VIEW shown AS SELECT upper(item) AS item, changed::timestamp AS at FROM orders",
        )
        .await
        .unwrap();
    assert_eq!(mirror.exact_sync().await.rest["public.shown"], Rest::Gone, "another definition");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_column_that_is_none_is_named() {
    let database = Database::create().await;
    let odd = "CREATE TABLE odd (id int PRIMARY KEY, data jsonb, ratio float8, name text, at timestamp)";
    let (_client, _) = fixture(&database, odd, json!({})).await;
    for (columns, position) in [
        (json!(["public.odd.at", "public.odd.nowhere"]), 1),
        (json!(["public.nowhere.at"]), 0),
        (json!(["public.odd.data"]), 0),
        (json!(["public.odd.ratio"]), 0),
        (json!(["public.odd.id", "public.odd.name"]), 1),
    ] {
        let session = open(credentials(&database), json!({ "cursorColumns": columns }));
        let mut report = Report::default();
        let named = format!("config.cursorColumns[{position}]");
        let is_named =
            |error: &ConnectorError| matches!(error, ConnectorError::Invalid { field, .. } if *field == named);
        let error = session.check(&mut report).await.unwrap_err();
        assert!(is_named(&error), "{columns} {error:?}");
        assert_eq!(report.first_failure().and_then(|stage| stage.code), Some("cursor_unusable"));
        let error = Mirror::of(session).take(Default::default(), usize::MAX).await.err();
        assert!(error.as_ref().is_some_and(is_named), "a sync says so too: {error:?}");
    }
    let session = open(credentials(&database), json!({ "cursorColumns": ["public.*.at"] }));
    session.check(&mut Report::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_goes_on_inside_a_table_and_sees_what_moved_before() {
    let cluster = OwnCluster::start_new();
    let database = cluster.database().await;
    let client = database.connect().await;
    let rows = "CREATE TABLE t (id int PRIMARY KEY, name text);
        INSERT INTO t SELECT n, 'name ' || n FROM generate_series(1, 5000) n";
    client.batch_execute(rows).await.unwrap();
    let mut mirror = Mirror::of(open(credentials(&database), json!({})));
    let broken_off = mirror.attempt(BTreeMap::new(), 3).await;
    assert_eq!(broken_off.read("public.t").len(), 3_000);
    let changes = "UPDATE t SET name = 'moved' WHERE id IN (10, 4000); DELETE FROM t WHERE id IN (20, 4500);
        INSERT INTO t VALUES (9000, 'new')";
    client.batch_execute(changes).await.unwrap();

    let resumed = mirror.attempt(broken_off.positions, usize::MAX).await;
    let read = &resumed.read["public.t"];
    let key = |id: u32| format!("[\"{id}\"]");
    // What moved, wherever it was, and what the first attempt had not come to.
    for id in [10, 4000, 9000, 3001, 5000] {
        assert!(read.contains(&key(id)), "{id}");
    }
    let repeated: BTreeSet<_> = read.intersection(&broken_off.read["public.t"]).collect();
    assert!(repeated.len() < 1_000, "at most one batch is read again, not {}", repeated.len());
    assert!(!read.contains(&key(1)) && !read.contains(&key(1_500)), "what has not moved is not read again");
    // A row is gone, so the keys of those not read were listed, without it.
    let present = &resumed.present["public.t"];
    assert!(present.contains(&key(1)) && !present.contains(&key(20)));
    assert_eq!(resumed.rest["public.t"], Rest::Gone);
    mirror.assert_exact().await;
    assert!(mirror.exact_sync().await.unmoved.contains("public.t"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_that_goes_on_where_nothing_moved_reads_the_rest_alone() {
    let cluster = OwnCluster::start_new();
    let database = cluster.database().await;
    let rows = "CREATE TABLE t (id int PRIMARY KEY, name text);
        INSERT INTO t SELECT n, 'name ' || n FROM generate_series(1, 5000) n";
    database.connect().await.batch_execute(rows).await.unwrap();
    let mut mirror = Mirror::of(open(credentials(&database), json!({})));
    let broken_off = mirror.attempt(BTreeMap::new(), 3).await;
    let resumed = mirror.attempt(broken_off.positions, usize::MAX).await;
    assert_eq!(resumed.rest["public.t"], Rest::Unmoved);
    assert!(resumed.read("public.t").len() < 3_000 && resumed.present.is_empty());
    mirror.assert_exact().await;
}
