//! A source whose listing fails, or comes back empty by error, deletes nothing.

use std::path::Path;

use serde_json::{Value, json};

use super::impatient;
use super::proxy::{Direction, Fault, Proxy, Step};
use crate::support::postgres::Database;
use crate::support::server::{Server, id_of};

/// Documents of a collection.
async fn count(server: &Server, collection: &str) -> usize {
    server.items(collection).await.len()
}

async fn failed_with(server: &Server, connection: &str, reason: &str) {
    let sync = server.sync(connection).await;
    assert_eq!(
        (&sync["status"], &sync["error"]["details"][0]["reason"]),
        (&json!("failed"), &json!(reason)),
        "{sync:#}"
    );
}

#[track_caller]
fn unchanged(sync: &Value, items: usize) {
    assert_eq!(sync["status"], "succeeded", "{sync:#}");
    let progress = &sync["progress"];
    assert_eq!(progress["itemsUnchanged"], items.to_string(), "{sync:#}");
    for counter in ["itemsInserted", "itemsUpdated", "itemsDeleted", "itemsFailed"] {
        assert_eq!(progress[counter], "0", "{counter}: {sync:#}");
    }
}

async fn start() -> Server {
    Server::start_with_options(|_| {}, impatient).await
}

async fn connection(server: &Server, collection: &str, source: &str, config: Value, credentials: Value) -> String {
    let body = json!({
        "collectionId": collection, "sourceShortName": source, "name": source, "config": config,
        "credentials": credentials,
    });
    let body = server.post("/api/v1/source-connections", body).await.ok();
    id_of(&body["sourceConnection"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_lost_its_rights_deletes_nothing() {
    let database = Database::create().await;
    let client = database.connect().await;
    let role = format!("reader_{}", database.name);
    client
        .batch_execute(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'reading';
             CREATE SCHEMA shop; GRANT USAGE ON SCHEMA shop TO {role};
             CREATE TABLE shop.a (id int PRIMARY KEY); INSERT INTO shop.a SELECT generate_series(1, 40);
             CREATE TABLE shop.b (id int PRIMARY KEY); INSERT INTO shop.b SELECT generate_series(1, 40);
             GRANT SELECT ON ALL TABLES IN SCHEMA shop TO {role}"
        ))
        .await
        .unwrap();
    let server = start().await;
    let collection = server.collection("Rights").await;
    let credentials = json!({
        "host": "127.0.0.1", "port": database.port, "database": database.name, "username": role, "password": "reading",
    });
    let connection = connection(&server, &collection, "postgresql", json!({}), credentials).await;
    assert_eq!(server.sync(&connection).await["status"], "succeeded");

    client
        .batch_execute(&format!("REVOKE SELECT ON shop.b FROM {role}; DELETE FROM shop.a WHERE id = 1"))
        .await
        .unwrap();
    failed_with(&server, &connection, "SOURCE_PERMISSION_DENIED").await;
    assert_eq!(count(&server, &collection).await, 79, "the table that can be read is brought up to date");
    client.batch_execute(&format!("REVOKE USAGE ON SCHEMA shop FROM {role}")).await.unwrap();
    failed_with(&server, &connection, "SOURCE_PERMISSION_DENIED").await;
    assert_eq!(count(&server, &collection).await, 79);
    client.batch_execute(&format!("ALTER ROLE {role} NOLOGIN")).await.unwrap();
    failed_with(&server, &connection, "INVALID_CREDENTIALS").await;
    assert_eq!(count(&server, &collection).await, 79);

    let back =
        format!("ALTER ROLE {role} LOGIN; GRANT USAGE ON SCHEMA shop TO {role}; GRANT SELECT ON shop.b TO {role}");
    client.batch_execute(&back).await.unwrap();
    unchanged(&server.sync(&connection).await, 79);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_deletes_nothing() {
    let database = Database::create().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 40);
             CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b SELECT generate_series(1, 40)",
        )
        .await
        .unwrap();
    let server = start().await;
    let collection = server.collection("Locked").await;
    let connection = server.postgres_connection(&collection, &database, json!({})).await;
    assert_eq!(server.sync(&connection).await["status"], "succeeded");
    client.batch_execute("BEGIN; LOCK TABLE a IN ACCESS EXCLUSIVE MODE").await.unwrap();
    failed_with(&server, &connection, "SOURCE_UNREACHABLE").await;
    assert_eq!(count(&server, &collection).await, 80);
    client.batch_execute("COMMIT").await.unwrap();
    unchanged(&server.sync(&connection).await, 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_is_cut_off_deletes_nothing() {
    let database = Database::create().await;
    let client = database.connect().await;
    for table in 1..=30 {
        let rows = format!(
            "CREATE TABLE t{table} (id int PRIMARY KEY, name text); INSERT INTO t{table} VALUES (1, 'one'), (2, 'two')"
        );
        client.batch_execute(&rows).await.unwrap();
    }
    let server = start().await;
    let collection = server.collection("Cut").await;
    let proxy = Proxy::start(database.port, 0);
    let through = Database { port: proxy.port, name: database.name.clone() };
    let connection = server.postgres_connection(&collection, &through, json!({})).await;
    assert_eq!(server.sync(&connection).await["status"], "succeeded");
    let whole = proxy.traffic().down;
    for direction in [Direction::Down, Direction::Up] {
        let cut = |part| Step::Connection(Fault::HalfOpen { direction, after: whole * part / 40 });
        proxy.follow((1..=7).map(cut).collect());
        unchanged(&server.sync(&connection).await, 60);
        assert_eq!(count(&server, &collection).await, 60);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_reading_lacks_are_not_gone() {
    let database = Database::create().await;
    let client = database.connect().await;
    // Two rows of the same length can be told for one.
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t SELECT i, 'x' FROM generate_series(1001, 1050) i",
        )
        .await
        .unwrap();
    let server = start().await;
    let collection = server.collection("Lacks").await;
    let proxy = Proxy::start(database.port, 0);
    let through = Database { port: proxy.port, name: database.name.clone() };
    let connection = server.postgres_connection(&collection, &through, json!({})).await;
    assert_eq!(server.sync(&connection).await["status"], "succeeded");
    // `1021`, tab, `x`, line end, and the length itself: 11. Together with the
    // message behind it: 23.
    proxy.follow(vec![Step::Connection(Fault::RowLength { row: 20, with: 11 ^ 23 })]);
    let path = format!("/api/v1/source-connections/{connection}/run");
    let run = server.post(&path, json!({"full": true})).await.ok();
    let sync = server.finished(run["syncId"].as_str().unwrap()).await;
    assert_eq!(proxy.struck(), 1, "{sync:#}");
    assert_eq!((&sync["status"], &sync["progress"]["itemsDeleted"]), (&json!("succeeded"), &json!("0")), "{sync:#}");
    let codes: Vec<_> = sync["warnings"].as_array().unwrap().iter().map(|warning| &warning["code"]).collect();
    assert!(codes.contains(&&json!("count_mismatch")), "{sync:#}");
    assert_eq!(count(&server, &collection).await, 50);
    unchanged(&server.sync(&connection).await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_listing_is_held_until_somebody_has_looked() {
    let database = Database::create().await;
    let client = database.connect().await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 40)")
        .await
        .unwrap();
    let server = start().await;
    let collection = server.collection("Empty").await;
    let connection = server.postgres_connection(&collection, &database, json!({})).await;
    let path = format!("/api/v1/source-connections/{connection}");
    assert_eq!(server.sync(&connection).await["status"], "succeeded");

    client
        .batch_execute(
            "ALTER TABLE t RENAME TO pg_temporarily; ALTER SCHEMA public RENAME TO away; CREATE SCHEMA public",
        )
        .await
        .unwrap();
    client.batch_execute("DROP SCHEMA away CASCADE").await.unwrap();
    let plan = server.post(&format!("{path}/plan"), json!({})).await.ok();
    assert_eq!((&plan["itemsToDelete"], &plan["deletionsWouldBeHeld"]), (&json!("40"), &json!(true)), "{plan}");
    let sync = server.sync(&connection).await;
    assert_eq!((&sync["status"], &sync["warnings"][0]["code"]), (&json!("succeeded"), &json!("deletions_held")));
    assert_eq!(count(&server, &collection).await, 40);

    let released = server.post(&format!("{path}/deletions/release"), json!({})).await.ok();
    let released = server.finished(released["syncId"].as_str().unwrap()).await;
    assert_eq!(released["progress"]["itemsDeleted"], "40", "{released:#}");
    assert_eq!(count(&server, &collection).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_away_or_cannot_be_listed_deletes_nothing() {
    let server = start().await;
    let docs = server.files().join("docs");
    for number in 0..30 {
        let folder = docs.join(format!("f{}", number % 3));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{number}.txt")), format!("text {number}")).unwrap();
    }
    let collection = server.collection("Folder").await;
    let connection = connection(&server, &collection, "files", json!({"path": docs}), json!({})).await;
    assert_eq!(server.sync(&connection).await["progress"]["itemsInserted"], "30");

    let elsewhere = server.files().join("elsewhere");
    std::fs::rename(&docs, &elsewhere).unwrap();
    failed_with(&server, &connection, "INVALID_ARGUMENT").await;
    std::fs::write(&docs, "a file where the folder was").unwrap();
    failed_with(&server, &connection, "INVALID_ARGUMENT").await;
    std::fs::remove_file(&docs).unwrap();
    assert_eq!(count(&server, &collection).await, 30);

    // No path of the system is that long, and root may list all others.
    std::fs::rename(&elsewhere, &docs).unwrap();
    let too_deep = docs.join("f1").join("d/".repeat(70));
    std::fs::create_dir_all(&too_deep).unwrap();
    std::fs::rename(docs.join("f1/1.txt"), too_deep.join("1.txt")).unwrap();
    failed_with(&server, &connection, "SOURCE_UNREACHABLE").await;
    assert_eq!(count(&server, &collection).await, 30);
    std::fs::rename(too_deep.join("1.txt"), docs.join("f1/1.txt")).unwrap();
    std::fs::remove_dir_all(docs.join("f1/d")).unwrap();
    unchanged(&server.sync(&connection).await, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_file_that_is_away_locked_damaged_or_cut_off_deletes_nothing() {
    let server = start().await;
    let path = server.files().join("shop.db");
    let open = || rusqlite::Connection::open(&path).unwrap();
    open()
        .execute_batch(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60) INSERT INTO t SELECT i, 'n' FROM n",
        )
        .unwrap();
    let collection = server.collection("File").await;
    let connection = connection(&server, &collection, "sqlite", json!({"path": path}), json!({})).await;
    assert_eq!(server.sync(&connection).await["progress"]["itemsInserted"], "60");

    let elsewhere = server.files().join("elsewhere.db");
    std::fs::rename(&path, &elsewhere).unwrap();
    failed_with(&server, &connection, "INVALID_ARGUMENT").await;
    for content in [&b""[..], b"no database at all, only a text that is long enough to be looked at"] {
        std::fs::write(&path, content).unwrap();
        failed_with(&server, &connection, "INVALID_ARGUMENT").await;
    }
    assert_eq!(count(&server, &collection).await, 60);

    cut_off(&elsewhere, &path);
    let sync = server.sync(&connection).await;
    assert_eq!(sync["status"], "failed", "{sync:#}");
    assert_eq!(count(&server, &collection).await, 60);

    std::fs::rename(&elsewhere, &path).unwrap();
    let locked = open();
    locked.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let run = server.post(&format!("/api/v1/source-connections/{connection}/run"), json!({})).await.ok();
    let sync = run["syncId"].as_str().unwrap();
    let waiting = waiting(&server, sync).await;
    assert_eq!(waiting["waitingReason"], "the source cannot be reached; trying again", "{waiting:#}");
    assert_eq!(count(&server, &collection).await, 60);
    locked.execute_batch("ROLLBACK").unwrap();
    unchanged(&server.finished(sync).await, 60);
}

/// As a copy that was broken off: the header promises more than there is.
fn cut_off(whole: &Path, to: &Path) {
    let bytes = std::fs::read(whole).unwrap();
    std::fs::write(to, &bytes[..bytes.len() / 2]).unwrap();
}

/// Follows a sync until it waits.
async fn waiting(server: &Server, sync: &str) -> Value {
    loop {
        let body = server.get(&format!("/api/v1/syncs/{sync}")).await.ok();
        match body["sync"]["status"].as_str().unwrap() {
            "waiting" => return body["sync"].clone(),
            "pending" | "running" => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            other => panic!("{other}: {body:#}"),
        }
    }
}
