//! What did not move is not read, and no change can hide behind that.
//!
//! Rows count as moved from the oldest transaction that was open on the server when
//! they were last read. So where a test says that nothing is read, it has a server
//! of its own: on the one that the tests share, others have transactions open.

use serde_json::{Value, json};

use crate::support::postgres::{Database, OwnCluster};
use crate::support::server::Server;

/// A server, a collection and a connection to a database.
struct Fixture {
    server: Server,
    collection: String,
    connection: String,
    client: tokio_postgres::Client,
}

impl Fixture {
    async fn new(database: &Database, statements: &str) -> Self {
        let client = database.connect().await;
        client.batch_execute(statements).await.expect("the statements are right");
        let server = Server::start().await;
        let collection = server.collection("Unmoved").await;
        let connection = server.postgres_connection(&collection, database, json!({})).await;
        Self { server, collection, connection, client }
    }

    async fn execute(&self, statements: &str) {
        self.client.batch_execute(statements).await.expect("the statements are right");
    }

    /// Runs a sync; answers how many bytes of rows it read.
    async fn sync(&self) -> u64 {
        let sync = self.server.sync(&self.connection).await;
        assert_eq!((&sync["status"], &sync["warnings"]), (&json!("succeeded"), &json!([])), "{sync:#}");
        sync["progress"]["bytesRead"].as_str().expect("a number").parse().expect("a number")
    }

    /// Fails unless the index has exactly the rows of these tables.
    #[track_caller]
    fn assert_same(indexed: &[Value], source: Vec<Value>) {
        let mut indexed: Vec<Value> = indexed.iter().map(|item| item["metadata"].clone()).collect();
        let mut source = source;
        indexed.sort_by_key(members);
        source.sort_by_key(members);
        assert_eq!(indexed, source);
    }

    async fn assert_exact(&self, tables: &[&str]) {
        let mut source = Vec::new();
        for table in tables {
            for row in self.client.query(&format!("SELECT to_jsonb(t)::text FROM {table} t"), &[]).await.unwrap() {
                source.push(serde_json::from_str(row.get(0)).unwrap());
            }
        }
        Self::assert_same(&self.server.items(&self.collection).await, source);
    }
}

/// What a row has, in whatever order its columns are written.
fn members(row: &Value) -> Vec<String> {
    let row = row.as_object().expect("a row is an object");
    let mut members: Vec<String> = row.iter().map(|(name, value)| format!("{name}={value}")).collect();
    members.sort();
    members
}

const ROWS: &str = "CREATE TABLE t (id int PRIMARY KEY, name text, n int);
    INSERT INTO t SELECT n, 'name ' || n, n FROM generate_series(1, 2000) n;";

#[tokio::test(flavor = "multi_thread")]
async fn only_what_moved_is_read() {
    let cluster = OwnCluster::start_new();
    let fixture = Fixture::new(&cluster.database().await, ROWS).await;
    let whole = fixture.sync().await;
    assert!(whole > 20_000);
    assert_eq!(fixture.sync().await, 0, "nothing changed");
    fixture.execute("UPDATE t SET name = 'other' WHERE id % 100 = 0").await;
    let read = fixture.sync().await;
    assert!((1..whole / 10).contains(&read), "{read} of {whole}");
    fixture.assert_exact(&["t"]).await;
    fixture.execute("DELETE FROM t WHERE id % 50 = 7; INSERT INTO t VALUES (9000, 'new', 1)").await;
    let read = fixture.sync().await;
    assert!((1..whole / 10).contains(&read), "{read} of {whole}");
    fixture.assert_exact(&["t"]).await;
    fixture
        .execute("DELETE FROM t WHERE id = 3; INSERT INTO t VALUES (3, 'back', 3); UPDATE t SET id = -1 WHERE id = 4")
        .await;
    fixture.sync().await;
    fixture.assert_exact(&["t"]).await;
    fixture.execute("DELETE FROM t WHERE id = 5").await;
    fixture.sync().await;
    fixture.assert_exact(&["t"]).await;
    assert_eq!(fixture.sync().await, 0);
    // `full` reads everything again.
    let run = format!("/api/v1/source-connections/{}/run", fixture.connection);
    let run = fixture.server.post(&run, json!({"full": true})).await.ok();
    let sync = fixture.server.finished(run["syncId"].as_str().unwrap()).await;
    assert_ne!(sync["progress"]["bytesRead"], "0", "{sync:#}");
    assert_eq!(sync["progress"]["itemsUnchanged"], sync["progress"]["itemsRead"], "{sync:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_was_open_during_a_sync_is_seen_by_the_next() {
    let database = Database::create().await;
    let fixture = Fixture::new(&database, ROWS).await;
    let early = database.connect().await;
    early.batch_execute("BEGIN; UPDATE t SET name = 'early, committed late' WHERE id = 10").await.unwrap();
    fixture.execute("UPDATE t SET name = 'late, committed early' WHERE id = 11").await;
    fixture.sync().await;
    fixture.assert_exact(&["t"]).await;
    early.batch_execute("COMMIT").await.unwrap();
    fixture.sync().await;
    fixture.assert_exact(&["t"]).await;
    let prepared = database.connect().await;
    prepared
        .batch_execute("BEGIN; DELETE FROM t WHERE id = 12; SAVEPOINT s; UPDATE t SET n = 0 WHERE id = 13")
        .await
        .unwrap();
    fixture.sync().await;
    prepared.batch_execute("RELEASE SAVEPOINT s; COMMIT").await.unwrap();
    fixture.sync().await;
    fixture.assert_exact(&["t"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_rows_without_writing_them_is_read_whole() {
    let statements = "CREATE TYPE mood AS ENUM ('sad', 'happy');
        CREATE TABLE e (id int PRIMARY KEY, mood mood); INSERT INTO e VALUES (1, 'sad'), (2, 'happy');
        CREATE TABLE p (id int PRIMARY KEY, name text); INSERT INTO p VALUES (1, 'a'), (2, 'b');
        CREATE TABLE c (id int PRIMARY KEY, name text); INSERT INTO c VALUES (1, 'a'), (2, 'b');
        CREATE VIEW v AS SELECT id, upper(name) AS name FROM c;";
    let fixture = Fixture::new(&Database::create().await, statements).await;
    fixture.sync().await;
    fixture.assert_exact(&["e", "p", "c", "v"]).await;
    let changes = [
        // The label changes, and no row.
        "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'",
        // The table is another one, whose rows are older than the last sync.
        "CREATE TABLE other (id int PRIMARY KEY, name text); INSERT INTO other VALUES (1, 'x'), (2, 'y')",
        "DROP TABLE p; ALTER TABLE other RENAME TO p",
        // A value that no row was written for.
        "ALTER TABLE c ADD COLUMN extra int DEFAULT 7",
        "ALTER TABLE c DROP COLUMN extra; ALTER TABLE c ADD COLUMN extra int DEFAULT 8",
        "ALTER TABLE c RENAME COLUMN extra TO renamed",
        "VACUUM FULL c",
        "VACUUM (FREEZE) p",
        "UPDATE c SET name = 'changed' WHERE id = 1",
        "TRUNCATE p; INSERT INTO p VALUES (1, 'x'), (2, 'z')",
    ];
    for change in changes {
        fixture.execute(change).await;
        fixture.sync().await;
        let tables = ["e", "p", "c", "v"];
        let with_other = ["e", "p", "c", "v", "other"];
        let is_other = change.starts_with("CREATE TABLE other");
        fixture.assert_exact(if is_other { &with_other } else { &tables }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rewritten_while_a_pass_waits_for_it_loses_nothing() {
    let statements =
        "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT n, n FROM generate_series(1, 50) n;
        CREATE TABLE base (id int PRIMARY KEY, n int); INSERT INTO base SELECT n, n FROM generate_series(1, 50) n;
        CREATE VIEW v AS SELECT id, n FROM base;";
    let database = Database::create().await;
    let fixture = Fixture::new(&database, statements).await;
    fixture.sync().await;
    let other = database.connect().await;
    let full = format!("/api/v1/source-connections/{}/run", fixture.connection);
    for (name, rewrite) in [
        ("t", "ALTER TABLE t ALTER n TYPE bigint USING n + 1"),
        // A view cannot stay while the type of its column changes.
        ("base", "ALTER TABLE base ADD noise float DEFAULT random()"),
    ] {
        other.batch_execute(&format!("BEGIN; LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")).await.unwrap();
        let run = fixture.server.post(&full, json!({"full": true})).await.ok();
        // Its snapshot is taken once it waits.
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $1::text::regclass";
        while fixture.client.query_one(waiting, &[&name]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        other.batch_execute(&format!("{rewrite}; COMMIT")).await.unwrap();
        let sync = fixture.server.finished(run["syncId"].as_str().unwrap()).await;
        assert_eq!(
            (&sync["status"], &sync["progress"]["itemsDeleted"]),
            (&json!("succeeded"), &json!("0")),
            "{sync:#}"
        );
        fixture.sync().await;
        fixture.assert_exact(&["t", "base", "v"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_not_what_it_was_is_filled_again() {
    let cluster = OwnCluster::start_new();
    let fixture = Fixture::new(&cluster.database().await, ROWS).await;
    fixture.sync().await;
    assert_eq!(fixture.sync().await, 0);
    let clear = format!("/api/v1/source-connections/{}/data", fixture.connection);
    fixture.server.delete(&clear).await.ok();
    assert!(fixture.sync().await > 0);
    fixture.assert_exact(&["t"]).await;
    let config = format!("/api/v1/source-connections/{}/config", fixture.connection);
    fixture.server.put(&config, json!({"config": {"excludeColumns": ["public.t.n"]}})).await.ok();
    assert!(fixture.sync().await > 0);
    assert!(fixture.server.items(&fixture.collection).await.iter().all(|item| item["metadata"].get("n").is_none()));
}

/// The ids of transactions come round here: the first sync is before, the next
/// after, and rows of both times change.
#[tokio::test(flavor = "multi_thread")]
async fn changes_are_found_where_transaction_ids_come_round() {
    let mut cluster = OwnCluster::start_new();
    cluster.freeze();
    cluster.stop();
    cluster.set_next_transaction(u32::MAX - 300);
    cluster.start();
    let database = cluster.database().await;
    let fixture = Fixture::new(&database, ROWS).await;
    fixture.sync().await;
    for round in 0..8 {
        // A transaction each, so that the ids go on.
        for step in 0..60 {
            let id = 1 + (round * 60 + step) % 2000;
            fixture.execute(&format!("UPDATE t SET n = {round} WHERE id = {id}")).await;
        }
        fixture.sync().await;
        fixture.assert_exact(&["t"]).await;
        assert_eq!(fixture.sync().await, 0, "round {round}");
    }
    let row = fixture.client.query_one("SELECT txid_current() >> 32", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1, "the ids came round");
}

/// A copy of the data directory comes back, and the same transaction ids write
/// other rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_went_back_in_time_is_read_whole() {
    let mut cluster = OwnCluster::start_new();
    let database = cluster.database().await;
    let mut fixture = Fixture::new(&database, ROWS).await;
    cluster.stop();
    cluster.copy();
    cluster.start();
    fixture.client = database.connect().await;
    fixture.execute("UPDATE t SET name = 'first history' WHERE id = 20").await;
    fixture.sync().await;
    fixture.assert_exact(&["t"]).await;
    cluster.stop();
    cluster.restore();
    cluster.start();
    fixture.client = database.connect().await;
    fixture.execute("UPDATE t SET name = 'second history' WHERE id = 20").await;
    fixture.sync().await;
    fixture.assert_exact(&["t"]).await;
}

/// A crash loses commits that nobody waited for; their ids are used again.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashed_is_read_whole() {
    let cluster = OwnCluster::start_new();
    let database = cluster.database().await;
    let mut fixture = Fixture::new(&database, ROWS).await;
    fixture.sync().await;
    assert_eq!(fixture.sync().await, 0);
    cluster.crash(&fixture.client).await;
    fixture.client = database.connect().await;
    let read = fixture.sync().await;
    assert!(read > 0, "the server has crashed since");
    fixture.assert_exact(&["t"]).await;
    assert_eq!(fixture.sync().await, 0);
}
