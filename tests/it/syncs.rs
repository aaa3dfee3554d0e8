//! After a sync the index is the source: exactly, with counters that say what
//! happened.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::postgres::Database;
use crate::support::server::Server;

#[track_caller]
fn counts(sync: &Value) -> BTreeMap<&'static str, i64> {
    assert_eq!(sync["status"], "succeeded", "{sync:#}");
    ["read", "inserted", "updated", "deleted", "unchanged", "failed"]
        .into_iter()
        .map(|name| {
            let member = format!("items{}{}", name[..1].to_uppercase(), &name[1..]);
            (name, sync["progress"][&member].as_str().unwrap_or_else(|| panic!("{member} in {sync}")).parse().unwrap())
        })
        .collect()
}

fn expected(inserted: i64, updated: i64, deleted: i64, unchanged: i64) -> BTreeMap<&'static str, i64> {
    BTreeMap::from([
        ("read", inserted + updated + unchanged),
        ("inserted", inserted),
        ("updated", updated),
        ("deleted", deleted),
        ("unchanged", unchanged),
        ("failed", 0),
    ])
}

/// What the source has, by object and key: each column as the database writes it.
async fn source_rows(client: &tokio_postgres::Client, tables: &[String]) -> BTreeMap<(String, String), Value> {
    let mut rows = BTreeMap::new();
    for table in tables {
        let query = format!("SELECT jsonb_build_array(id::text)::text, to_jsonb(t)::text FROM {table} t");
        for row in client.query(&query, &[]).await.unwrap() {
            let key: String = row.get(0);
            let text: String = row.get(1);
            let key: Value = serde_json::from_str(&key).unwrap();
            rows.insert((table.clone(), key[0].as_str().unwrap().to_owned()), serde_json::from_str(&text).unwrap());
        }
    }
    rows
}

/// The same from the index, through ListItems.
async fn indexed_rows(server: &Server, collection: &str) -> BTreeMap<(String, String), Value> {
    let mut rows = BTreeMap::new();
    for item in server.items(collection).await {
        let key: Value = serde_json::from_str(item["sourceKey"].as_str().unwrap()).unwrap();
        let key = key[0].as_str().map_or_else(|| key[0].to_string(), str::to_owned);
        let before = rows.insert((item["object"].as_str().unwrap().to_owned(), key), item["metadata"].clone());
        assert!(before.is_none(), "twice in the index: {item}");
    }
    rows
}

/// Numbers and times have several spellings; compare what they mean.
fn same(source: &Value, indexed: &Value) -> bool {
    match (source, indexed) {
        (Value::Number(number), Value::String(text)) => text.parse::<f64>().ok() == number.as_f64(),
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::String(one), Value::String(other)) => {
            one == other
                || match (chrono::DateTime::parse_from_rfc3339(one), chrono::DateTime::parse_from_rfc3339(other)) {
                    (Ok(one), Ok(other)) => one == other,
                    _ => false,
                }
        }
        // A bytea is a marker in the index: never its content.
        (Value::String(hex), Value::Object(marker)) if hex.starts_with("\\x") => {
            marker.get("bytes").and_then(Value::as_u64) == Some((hex.len() as u64 - 2) / 2)
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        _ => source == indexed,
    }
}

async fn assert_exact(client: &tokio_postgres::Client, tables: &[String], server: &Server, collection: &str) {
    let source = source_rows(client, tables).await;
    let indexed = indexed_rows(server, collection).await;
    assert_eq!(source.len(), indexed.len());
    for (key, row) in &source {
        let found = indexed.get(key).unwrap_or_else(|| panic!("{key:?} is not in the index"));
        assert!(same(row, found), "{key:?}\nsource:  {row}\nindexed: {found}");
    }
}

fn table_sql(table: &str, rows: u32) -> String {
    format!(
        "CREATE TABLE {table} (id bigint PRIMARY KEY, name text, amount numeric(12,2), ratio float8, small smallint,
            active boolean, token uuid, day date, at timestamptz, local timestamp, tags text[], numbers int[],
            data jsonb, span int4range, feeling mood, raw bytea, address inet, nothing text);
         INSERT INTO {table} SELECT i, 'row ' || i || ' of {table}', i * 1.25, i / 7.0, i % 100, i % 2 = 0,
            md5(i::text)::uuid, date '2024-01-01' + i % 500, timestamptz '2024-01-01 10:00:00+00' + i * interval '1 min',
            timestamp '2024-01-01 10:00:00' + i * interval '1 s', ARRAY['t' || i % 5, NULL, 'q\"uo,te'],
            ARRAY[i, NULL, -i], jsonb_build_object('n', i, 'deep', jsonb_build_array(1, 'two', NULL)),
            int4range(i, i + 10), (ARRAY['sad','ok','happy'])[1 + i % 3]::mood, decode(md5(i::text), 'hex'),
            '10.0.0.1', NULL FROM generate_series(1, {rows}) i;"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_thousand_rows_of_twenty_tables_are_exact_before_and_after_changes() {
    const TABLES: u32 = 20;
    const ROWS: u32 = 10_000;
    let database = Database::create().await;
    let client = database.connect().await;
    client.batch_execute("CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')").await.unwrap();
    let tables: Vec<String> = (1..=TABLES).map(|number| format!("public.table_{number}")).collect();
    for table in &tables {
        client.batch_execute(&table_sql(table, ROWS)).await.unwrap();
    }
    let server = Server::start().await;
    let collection = server.collection("Exact").await;
    let connection = server.postgres_connection(&collection, &database, json!({})).await;

    let all = i64::from(TABLES * ROWS);
    assert_eq!(counts(&server.sync(&connection).await), expected(all, 0, 0, 0));
    assert_exact(&client, &tables, &server, &collection).await;

    assert_eq!(counts(&server.sync(&connection).await), expected(0, 0, 0, all));

    client
        .batch_execute(
            "INSERT INTO table_1 (id, name) SELECT i, 'new' FROM generate_series(100001, 100250) i;
             UPDATE table_2 SET name = name || ' changed' WHERE id <= 300;
             DELETE FROM table_3 WHERE id <= 400;
             UPDATE table_4 SET id = id + 500000 WHERE id <= 50;",
        )
        .await
        .unwrap();
    let changed = counts(&server.sync(&connection).await);
    assert_eq!(changed, expected(250 + 50, 300, 400 + 50, all - 300 - 400 - 50));
    assert_exact(&client, &tables, &server, &collection).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_deletions_at_once_are_held_until_released() {
    let database = Database::create().await;
    let client = database.connect().await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t SELECT i, 'n' FROM generate_series(1, 500) i")
        .await
        .unwrap();
    let server = Server::start().await;
    let collection = server.collection("Brake").await;
    let connection = server.postgres_connection(&collection, &database, json!({})).await;
    let path = format!("/api/v1/source-connections/{connection}");
    assert_eq!(counts(&server.sync(&connection).await), expected(500, 0, 0, 0));

    server.post(&format!("{path}/deletions/release"), json!({})).await.error(400, "no_deletion_hold");
    client.batch_execute("DELETE FROM t").await.unwrap();
    let held = server.sync(&connection).await;
    assert_eq!(counts(&held), expected(0, 0, 0, 0));
    assert_eq!(held["warnings"][0]["code"], "deletions_held", "{held}");
    let seen = server.get(&path).await.ok();
    assert_eq!(seen["sourceConnection"]["deletionHold"]["items"], "500");
    assert_eq!(server.items(&collection).await.len(), 500);

    let plan = server.post(&format!("{path}/plan"), json!({})).await.ok();
    assert_eq!((&plan["itemsToDelete"], &plan["deletionsWouldBeHeld"]), (&json!("500"), &json!(true)));

    server.post(&format!("{path}/deletions/discard"), json!({})).await.ok();
    assert!(server.get(&path).await.ok()["sourceConnection"].get("deletionHold").is_none());
    server.post(&format!("{path}/deletions/discard"), json!({})).await.error(400, "no_deletion_hold");
    assert_eq!(server.items(&collection).await.len(), 500, "discarding keeps the documents");
    // The next sync looks anew, deletes nothing and asks again.
    let again = server.sync(&connection).await;
    assert_eq!(counts(&again), expected(0, 0, 0, 0));
    assert_eq!(again["warnings"][0]["code"], "deletions_held", "{again}");
    let seen = server.get(&path).await.ok();
    assert_eq!(seen["sourceConnection"]["deletionHold"]["syncId"], again["id"]);
    assert_eq!(server.items(&collection).await.len(), 500);
    let released = server.post(&format!("{path}/deletions/release"), json!({})).await.ok();
    let released = server.finished(released["syncId"].as_str().unwrap()).await;
    assert_eq!(counts(&released), expected(0, 0, 500, 0));
    assert!(server.items(&collection).await.is_empty());
    assert!(server.get(&path).await.ok()["sourceConnection"].get("deletionHold").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_hold_is_over_once_the_rows_are_back() {
    let database = Database::create().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t SELECT i, 'n' FROM generate_series(1, 500) i;
             CREATE TABLE kept AS TABLE t",
        )
        .await
        .unwrap();
    let server = Server::start().await;
    let collection = server.collection("Back").await;
    let connection = server.postgres_connection(&collection, &database, json!({"tables": ["public.t"]})).await;
    let path = format!("/api/v1/source-connections/{connection}");
    server.sync(&connection).await;
    client.batch_execute("DELETE FROM t WHERE id > 50").await.unwrap();
    assert_eq!(server.sync(&connection).await["warnings"][0]["code"], "deletions_held");
    server.post(&format!("{path}/deletions/discard"), json!({})).await.ok();
    client.batch_execute("INSERT INTO t SELECT * FROM kept WHERE id > 60").await.unwrap();
    // Ten are gone: that is no accident, and the rest is as the index kept it.
    assert_eq!(counts(&server.sync(&connection).await), expected(0, 0, 10, 490));
    assert!(server.get(&path).await.ok()["sourceConnection"].get("deletionHold").is_none());
    assert_eq!(counts(&server.sync(&connection).await), expected(0, 0, 0, 490));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_stands_when_a_later_sync_could_not_look() {
    let database = Database::create().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 500);
             CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1);
             CREATE ROLE looker LOGIN PASSWORD 'looker'; GRANT SELECT ON a, b TO looker",
        )
        .await
        .unwrap();
    let server = Server::start().await;
    let collection = server.collection("Look").await;
    let body = json!({"collectionId": collection, "sourceShortName": "postgresql", "name": "D",
        "config": {"tables": ["public.a", "public.b"]},
        "credentials": {"host": "127.0.0.1", "port": database.port, "database": database.name,
            "username": "looker", "password": "looker"}});
    let body = server.post("/api/v1/source-connections", body).await.ok();
    let connection = body["sourceConnection"]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/source-connections/{connection}");
    server.sync(&connection).await;
    client.batch_execute("DELETE FROM a").await.unwrap();
    assert_eq!(server.sync(&connection).await["warnings"][0]["code"], "deletions_held");
    client.batch_execute("REVOKE SELECT ON a FROM looker").await.unwrap();
    assert_eq!(server.sync(&connection).await["status"], "failed");
    assert_eq!(server.get(&path).await.ok()["sourceConnection"]["deletionHold"]["items"], "500");
    assert_eq!(server.items(&collection).await.len(), 501);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowed_config_removes_what_fell_out_of_scope() {
    let database = Database::create().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 300);
             CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b SELECT generate_series(1, 10)",
        )
        .await
        .unwrap();
    let server = Server::start().await;
    let collection = server.collection("Scope").await;
    let connection = server.postgres_connection(&collection, &database, json!({})).await;
    server.sync(&connection).await;
    server
        .put(&format!("/api/v1/source-connections/{connection}/config"), json!({"config": {"tables": ["public.b"]}}))
        .await
        .ok();
    let narrowed = server.sync(&connection).await;
    assert_eq!(narrowed["progress"]["itemsOutOfScope"], "300", "{narrowed:#}");
    assert_eq!(narrowed["progress"]["itemsDeleted"], "300");
    assert_eq!(server.items(&collection).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_without_data_keeps_the_documents_and_clearing_the_collection_removes_them() {
    let server = Server::start().await;
    std::fs::write(server.files().join("a.md"), "# Tents\n\nA waterproof tent.").unwrap();
    let collection = server.collection("Kept").await;
    let connection = server.files_connection(&collection, json!({})).await;
    assert_eq!(counts(&server.sync(&connection).await)["inserted"], 1);
    server.delete(&format!("/api/v1/source-connections/{connection}")).await.ok();
    server.get(&format!("/api/v1/source-connections/{connection}")).await.error(404, "not_found");

    let search = format!("/api/v1/collections/{collection}/search?query=waterproof%20tent");
    let found = server.get(&search).await.ok();
    assert_eq!(found["results"][0]["item"]["title"], "Tents", "{found:#}");
    server.delete(&format!("/api/v1/collections/{collection}/data?sourceConnectionId={connection}")).await.ok();
    assert!(server.get(&search).await.ok()["results"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_sync_ends_within_five_seconds_and_keeps_what_it_committed() {
    let database = Database::create().await;
    database.connect().await.batch_execute("CREATE VIEW slow AS SELECT pg_sleep(120)::text AS id").await.unwrap();
    let server = Server::start().await;
    let collection = server.collection("Cancel").await;
    let connection = server.postgres_connection(&collection, &database, json!({})).await;
    let path = format!("/api/v1/source-connections/{connection}");
    let run = server.post(&format!("{path}/run"), json!({})).await.ok();
    let sync = run["syncId"].as_str().unwrap();
    assert_eq!(server.get(&path).await.ok()["sourceConnection"]["status"], "syncing");
    let asked = std::time::Instant::now();
    server.post(&format!("/api/v1/syncs/{sync}/cancel"), json!({})).await.ok();
    assert_eq!(server.finished(sync).await["status"], "cancelled");
    assert!(asked.elapsed().as_secs_f64() < 5.0, "{:?}", asked.elapsed());
    server.post(&format!("/api/v1/syncs/{sync}/cancel"), json!({})).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_fails_the_sync_and_asks_for_attention() {
    let database = Database::create().await;
    let server = Server::start().await;
    let collection = server.collection("Login").await;
    let connection = server.postgres_connection(&collection, &database, json!({})).await;
    let path = format!("/api/v1/source-connections/{connection}");
    let wrong = json!({"host": "127.0.0.1", "port": database.port, "database": database.name, "username": "postgres",
        "password": "not-the-password"});
    server.put(&format!("{path}/credentials"), wrong).await.ok();
    let body = server.post(&format!("{path}/test"), json!({})).await.error(400, "invalid_credentials");
    let report = body["details"].as_array().unwrap().iter().find(|detail| detail.get("stages").is_some()).unwrap();
    let login = report["stages"].as_array().unwrap().iter().find(|stage| stage["kind"] == "login").unwrap();
    assert_eq!((&login["outcome"], &login["code"]), (&json!("failed"), &json!("login_refused")));
    assert_eq!(server.get(&path).await.ok()["sourceConnection"]["status"], "needs_attention");
    let run = server.post(&format!("{path}/run"), json!({})).await.ok();
    let finished = server.finished(run["syncId"].as_str().unwrap()).await;
    assert_eq!(finished["status"], "failed", "{finished}");
    assert!(!finished.to_string().contains("not-the-password"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_can_be_resumed_and_ends_with_no_content_after_the_end() {
    let server = Server::start().await;
    std::fs::write(server.files().join("a.txt"), "text").unwrap();
    let collection = server.collection("Watch").await;
    let connection = server.files_connection(&collection, json!({})).await;
    let sync = server.sync(&connection).await;
    let sync = sync["id"].as_str().unwrap();
    let events = server.events(sync, None).await;
    let sequences: Vec<i64> = events.iter().map(|event| event.id.parse().unwrap()).collect();
    assert!(sequences.windows(2).all(|pair| pair[0] < pair[1]), "{sequences:?}");
    assert_eq!(events[0].name, "snapshot");
    let resumed = server.events(sync, Some(&events[0].id)).await;
    assert_eq!(resumed.last().unwrap().name, "finished");
    assert!(server.events(sync, Some(&events.last().unwrap().id)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_hands_its_sync_back_and_the_next_start_ends_it() {
    let database = Database::create().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 2000);
             CREATE TABLE gate (open boolean); INSERT INTO gate VALUES (false);
             CREATE FUNCTION wait() RETURNS text LANGUAGE plpgsql AS $$ BEGIN
                 IF NOT (SELECT open FROM gate) THEN PERFORM pg_sleep(600); END IF; RETURN 'x'; END $$;
             CREATE VIEW z AS SELECT wait() AS id",
        )
        .await
        .unwrap();
    let mut server = Server::start().await;
    let collection = server.collection("Hand back").await;
    let connection =
        server.postgres_connection(&collection, &database, json!({"tables": ["public.a", "public.z"]})).await;
    let run = server.post(&format!("/api/v1/source-connections/{connection}/run"), json!({})).await.ok();
    let sync = run["syncId"].as_str().unwrap().to_owned();
    server.stop().await;
    client.batch_execute("UPDATE gate SET open = true").await.unwrap();
    let server = server.restart().await;
    let finished = server.finished(&sync).await;
    assert_eq!(counts(&finished)["read"], 2001, "{finished:#}");
    assert_eq!(server.items(&collection).await.len(), 2001);
}
