//! What a failed attempt leaves behind for the next.

use serde_json::json;

use crate::support::postgres::Database;
use crate::support::server::Server;

/// The session of whoever reads `z` is ended, until the gate is open.
const SOURCE: &str = "\
    CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 500);
    CREATE TABLE gate (open boolean); INSERT INTO gate VALUES (false);
    CREATE FUNCTION pass() RETURNS text LANGUAGE plpgsql AS $$ BEGIN
        IF NOT (SELECT open FROM gate) THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN 'x'; END $$;
    CREATE VIEW z AS SELECT pass() AS id";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_waiting_sync_will_not_read_again_is_in_the_index() {
    let database = Database::create().await;
    let client = database.connect().await;
    client.batch_execute(SOURCE).await.unwrap();
    let server = Server::start().await;
    let collection = server.collection("Attempts").await;
    // One after the other, so that the first is read when the second fails.
    let config = json!({"tables": ["public.a", "public.z"], "parallelTables": 1});
    let connection = server.postgres_connection(&collection, &database, config).await;
    let run = server.post(&format!("/api/v1/source-connections/{connection}/run"), json!({})).await.ok();
    let sync = run["syncId"].as_str().unwrap().to_owned();
    let waiting = loop {
        let body = server.get(&format!("/api/v1/syncs/{sync}")).await.ok();
        match body["sync"]["status"].as_str().unwrap() {
            "waiting" => break body["sync"].clone(),
            "pending" | "running" => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            other => panic!("{other}: {body:#}"),
        }
    };
    assert_eq!(waiting["progress"]["itemsRead"], "500", "{waiting:#}");
    assert_eq!(server.items(&collection).await.len(), 500, "and searchable, before the sync goes on");

    let server = server.restart().await;
    client.batch_execute("UPDATE gate SET open = true").await.unwrap();
    let finished = server.finished(&sync).await;
    assert_eq!((&finished["status"], &finished["progress"]["itemsRead"]), (&json!("succeeded"), &json!("501")));
    assert_eq!(server.items(&collection).await.len(), 501);
}
