//! What a plan says is what a sync then does, and saying it changes nothing.

use std::path::Path;

use prost::Message as _;
use serde_json::{Value, json};
use tributary::proto::tributary::v1::{PlanSyncRequest, PlanSyncResponse};

use crate::support::grpc::{Client, method};
use crate::support::postgres::Database;
use crate::support::server::{ADMIN_KEY, Server};

/// A plan over REST.
async fn plan(server: &Server, connection: &str) -> Value {
    server.post(&format!("/api/v1/source-connections/{connection}/plan"), json!({})).await.ok()
}

fn number(object: &Value, member: &str) -> i64 {
    object[member].as_str().unwrap_or_else(|| panic!("{member} in {object}")).parse().unwrap()
}

/// The numbers of a plan: insert, update, delete, unchanged, out of scope, failing.
fn numbers(plan: &Value) -> [i64; 6] {
    ["itemsToInsert", "itemsToUpdate", "itemsToDelete", "itemsUnchanged", "itemsOutOfScope", "itemsFailing"]
        .map(|member| number(plan, member))
}

/// The same of a sync.
fn done(sync: &Value) -> [i64; 6] {
    assert_eq!(sync["status"], "succeeded", "{sync:#}");
    ["itemsInserted", "itemsUpdated", "itemsDeleted", "itemsUnchanged", "itemsOutOfScope", "itemsFailed"]
        .map(|member| number(&sync["progress"], member))
}

/// Everything that a caller can see of the index and of the store.
async fn seen(server: &Server, collection: &str, connection: &str) -> (Vec<Value>, Value, Value) {
    let items = server.items(collection).await;
    let view = server.get(&format!("/api/v1/source-connections/{connection}")).await.ok();
    let syncs = server.get("/api/v1/syncs").await.ok();
    (items, view, syncs)
}

/// Plans, checks that nothing has changed, runs and checks that the sync did just
/// what the plan said.
async fn plan_then_sync(server: &Server, collection: &str, connection: &str) -> Value {
    let before = seen(server, collection, connection).await;
    let plan = plan(server, connection).await;
    assert_eq!(seen(server, collection, connection).await, before, "a plan has changed something");
    assert_eq!(plan["complete"], json!(true), "{plan:#}");
    let objects = plan["objects"].as_array().unwrap();
    for (total, each) in [
        ("itemsToInsert", "itemsToInsert"),
        ("itemsToUpdate", "itemsToUpdate"),
        ("itemsToDelete", "itemsToDelete"),
        ("itemsUnchanged", "itemsUnchanged"),
        ("itemsFailing", "itemsFailing"),
    ] {
        let sum: i64 = objects.iter().map(|object| number(object, each)).sum();
        assert_eq!(sum, number(&plan, total), "{total} of {plan:#}");
    }
    let sync = server.sync(connection).await;
    let (mut planned, done) = (numbers(&plan), done(&sync));
    if plan["deletionsWouldBeHeld"] == json!(true) {
        assert_eq!(sync["warnings"][0]["code"], "deletions_held", "{sync:#}");
        planned[2] = planned[4];
    }
    assert_eq!(planned, done, "{plan:#}\n{sync:#}");
    plan
}

/// The examples of a kind: object, key, title, changed fields.
fn samples(plan: &Value, change: &str) -> Vec<(String, String, String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let samples = plan["samples"].as_array().unwrap().iter().filter(|sample| sample["change"] == change);
    samples
        .map(|sample| {
            let fields = sample["changedFields"].as_array().unwrap().iter().map(text).collect();
            (text(&sample["object"]), text(&sample["sourceKey"]), text(&sample["title"]), fields)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_a_database_is_what_the_sync_then_does() {
    let database = Database::create().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TABLE a (id int PRIMARY KEY, name text, price numeric(8,2), at timestamptz, data jsonb, ratio float8);
             INSERT INTO a SELECT i, 'row ' || i, i * 1.25, timestamptz '2024-01-01 10:00+00' + i * interval '1 h',
                 jsonb_build_object('n', i, 'big', 12345678901234567890), i / 7.0 FROM generate_series(1, 400) i;
             CREATE TABLE b (id int PRIMARY KEY, name text); INSERT INTO b SELECT i, 'b' FROM generate_series(1, 30) i",
        )
        .await
        .unwrap();
    let server = Server::start().await;
    let collection = server.collection("Plan").await;
    let connection = server.postgres_connection(&collection, &database, json!({})).await;

    let first = plan_then_sync(&server, &collection, &connection).await;
    assert_eq!(numbers(&first), [430, 0, 0, 0, 0, 0]);
    let inserts = samples(&first, "insert");
    assert_eq!(inserts.len(), 20, "ten of each object");
    assert_eq!(inserts[0], ("public.a".to_owned(), "[\"1\"]".to_owned(), "row 1".to_owned(), Vec::new()));
    assert_eq!(first["objects"][0]["path"], "public.a");
    let nothing = plan_then_sync(&server, &collection, &connection).await;
    assert_eq!((numbers(&nothing), nothing["samples"].as_array().unwrap().len()), ([0, 0, 0, 430, 0, 0], 0));

    client
        .batch_execute(
            "INSERT INTO a (id, name) SELECT i, 'new ' || i FROM generate_series(501, 503) i;
             UPDATE a SET price = price + 1 WHERE id <= 15;
             UPDATE a SET name = 'other', data = '{}' WHERE id = 20;
             DELETE FROM a WHERE id BETWEEN 30 AND 59;
             DROP TABLE b",
        )
        .await
        .unwrap();
    let changed = plan_then_sync(&server, &collection, &connection).await;
    assert_eq!(numbers(&changed), [3, 16, 60, 354, 0, 0]);
    let updates = samples(&changed, "update");
    assert_eq!(updates.len(), 10);
    // Which ten of the sixteen are shown is the order of the rows on disk.
    let priced = updates.iter().filter(|(_, key, ..)| key != "[\"20\"]");
    assert!(priced.clone().all(|(_, _, _, fields)| *fields == ["content", "price"]), "{updates:?}");
    assert!(priced.count() >= 9, "{updates:?}");
    let deletes = samples(&changed, "delete");
    assert_eq!(deletes.iter().filter(|(object, ..)| object == "public.a").count(), 10);
    assert_eq!(deletes.iter().filter(|(object, ..)| object == "public.b").count(), 10);
    assert!(deletes.iter().all(|(object, _, title, _)| object != "public.a" || title.starts_with("row ")));
    assert!(!samples(&changed, "insert").is_empty());

    client.batch_execute("UPDATE a SET name = 'more', data = '[]', ratio = NULL WHERE id = 20").await.unwrap();
    let one = plan_then_sync(&server, &collection, &connection).await;
    let [(object, key, title, fields)] = &samples(&one, "update")[..] else { panic!("{one:#}") };
    assert_eq!((object.as_str(), key.as_str(), title.as_str()), ("public.a", "[\"20\"]", "more"));
    assert_eq!(fields, &["content", "data", "name", "ratio", "title"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_knows_the_brake_and_what_is_out_of_scope() {
    let database = Database::create().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 500);
             CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b SELECT generate_series(1, 200)",
        )
        .await
        .unwrap();
    let server = Server::start().await;
    let collection = server.collection("Brake").await;
    let connection = server.postgres_connection(&collection, &database, json!({})).await;
    server.sync(&connection).await;
    client.batch_execute("DELETE FROM a WHERE id > 100").await.unwrap();
    let path = format!("/api/v1/source-connections/{connection}");
    server.put(&format!("{path}/config"), json!({"config": {"tables": ["public.a"]}})).await.ok();

    let plan = plan_then_sync(&server, &collection, &connection).await;
    assert_eq!(plan["deletionsWouldBeHeld"], json!(true));
    // Another config is another fingerprint: what stays is put anew, and as it was.
    assert_eq!(numbers(&plan), [0, 100, 600, 0, 200, 0]);
    assert!(samples(&plan, "update").iter().all(|(.., fields)| fields.is_empty()), "{plan:#}");
    let scope = |object: &str| {
        let objects = plan["objects"].as_array().unwrap();
        objects.iter().find(|planned| planned["path"] == object).unwrap()["outOfScope"].clone()
    };
    assert_eq!((scope("public.a"), scope("public.b")), (json!(false), json!(true)));

    // The held ones are still to go, and a plan says so again.
    let again = plan_then_sync(&server, &collection, &connection).await;
    assert_eq!((numbers(&again), &again["deletionsWouldBeHeld"]), ([0, 0, 400, 100, 0, 0], &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_a_sqlite_file_and_of_files_is_what_the_sync_then_does() {
    let server = Server::start().await;
    let collection = server.collection("Files").await;
    let folder = server.files();
    let file = folder.join("shop.db");
    let sqlite = rusqlite::Connection::open(&file).unwrap();
    let fill = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, size REAL);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)
        INSERT INTO t SELECT i, 'name ' || i, i / 3.0 FROM n;";
    sqlite.execute_batch(fill).unwrap();
    let body = json!({"collectionId": collection, "sourceShortName": "sqlite", "name": "Shop", "credentials": {},
        "config": {"path": file}});
    let body = server.post("/api/v1/source-connections", body).await.ok();
    let connection = body["sourceConnection"]["id"].as_str().unwrap().to_owned();
    assert_eq!(numbers(&plan_then_sync(&server, &collection, &connection).await), [50, 0, 0, 0, 0, 0]);
    sqlite
        .execute_batch(
            "UPDATE t SET size = 9 WHERE id = 7; DELETE FROM t WHERE id > 45; INSERT INTO t VALUES (99, 'x', 1)",
        )
        .unwrap();
    let changed = plan_then_sync(&server, &collection, &connection).await;
    assert_eq!(numbers(&changed), [1, 1, 5, 44, 0, 0]);
    assert_eq!(samples(&changed, "update")[0].3, ["content", "size"]);

    let texts = folder.join("texts");
    std::fs::create_dir(&texts).unwrap();
    write(&texts, "a.md", "# Tents\n\nA tent.");
    write(&texts, "b.txt", "plain");
    write(&texts, "broken.docx", "not a document");
    let body = json!({"collectionId": collection, "sourceShortName": "files", "name": "Texts", "credentials": {},
        "config": {"path": texts}});
    let body = server.post("/api/v1/source-connections", body).await.ok();
    let connection = body["sourceConnection"]["id"].as_str().unwrap().to_owned();
    let first = plan_then_sync(&server, &collection, &connection).await;
    assert_eq!(numbers(&first), [2, 0, 0, 0, 0, 1], "what cannot be decoded is not taken in");
    write(&texts, "a.md", "# Tents\n\nA tent, and another.");
    std::fs::remove_file(texts.join("b.txt")).unwrap();
    let changed = plan_then_sync(&server, &collection, &connection).await;
    assert_eq!(numbers(&changed), [0, 1, 1, 0, 0, 1]);
    let [(_, key, title, fields)] = &samples(&changed, "update")[..] else { panic!("{changed:#}") };
    assert!(key.contains("a.md") && title == "Tents", "{key} {title}");
    assert!(fields.contains(&"content".to_owned()) && !fields.contains(&"title".to_owned()), "{fields:?}");
    assert!(!changed.to_string().contains("and another"), "a plan shows no content");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_the_same_through_all_three_doors() {
    let server = Server::start().await;
    let collection = server.collection("Doors").await;
    write(&server.files(), "a.txt", "text");
    let connection = server.files_connection(&collection, json!({})).await;
    let rest = plan(&server, &connection).await;
    assert_eq!(numbers(&rest), [1, 0, 0, 0, 0, 0]);

    let client = Client::connect(&server.base).await;
    let grpc = client.call(&method("PlanSync"), &json!({"id": connection}), Some(ADMIN_KEY)).await.unwrap();
    assert_eq!(grpc["itemsToInsert"], rest["itemsToInsert"]);
    assert_eq!(grpc["samples"][0]["sourceKey"], rest["samples"][0]["sourceKey"]);
    assert_eq!(grpc["samples"][0]["change"], "CHANGE_INSERT");

    let message = PlanSyncRequest { id: connection }.encode_to_vec();
    let frame = [&[0], u32::try_from(message.len()).unwrap().to_be_bytes().as_slice(), &message].concat();
    let request = server.request("POST", "/tributary.v1.SourceConnectionService/PlanSync");
    let answer = request.header("content-type", "application/grpc-web+proto").body(frame).send().await.unwrap();
    let bytes = answer.bytes().await.unwrap();
    let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
    let web = PlanSyncResponse::decode(&bytes[5..5 + length]).unwrap();
    assert_eq!((web.items_to_insert, web.complete, web.samples.len()), (1, true, 1));
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}
