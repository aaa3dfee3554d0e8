//! A sync that has ended can be watched again, and its errors listed page by page.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::grpc::{Client, method};
use crate::support::postgres::Database;
use crate::support::server::{ADMIN_KEY, Event, Server};

/// In no error, line or event: what the items hold.
const MARKER: &str = "value-that-nobody-may-see";

fn sequences(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.id.parse().unwrap()).collect()
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_has_ended_is_told_again_from_its_beginning_or_its_middle() {
    let database = Database::create().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TABLE a (id int PRIMARY KEY, name text);
             INSERT INTO a SELECT i, 'name ' || i FROM generate_series(1, 3000) i;
             CREATE FUNCTION slow() RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.5); RETURN 'x'; END $$;
             CREATE VIEW z AS SELECT slow() AS id",
        )
        .await
        .unwrap();
    let mut server = Server::start().await;
    let collection = server.collection("Again").await;
    let connection = server.postgres_connection(&collection, &database, json!({})).await;
    let run = server.post(&format!("/api/v1/source-connections/{connection}/run"), json!({})).await.ok();
    let sync = run["syncId"].as_str().unwrap().to_owned();
    let live = server.events(&sync, None).await;
    assert_eq!(live.last().unwrap().name, "finished");

    let told = server.events(&sync, None).await;
    let order = sequences(&told);
    assert!(order.windows(2).all(|pair| pair[0] < pair[1]), "{order:?}");
    assert_eq!((told[0].name.as_str(), order[0]), ("snapshot", 1));
    assert_eq!(told[0].data["snapshot"]["status"], "pending");
    assert_eq!(told[0].data["snapshot"]["progress"]["itemsRead"], "0");
    assert_eq!(told.last().unwrap().data["finished"], live.last().unwrap().data["finished"]);
    assert_eq!(names(&told).iter().filter(|name| **name == "finished").count(), 1);
    let progress: Vec<&Event> = told.iter().filter(|event| event.name == "progress").collect();
    assert!(progress.len() >= 4, "a second and a half at four a second: {:?}", names(&told));
    let read: Vec<i64> =
        progress.iter().map(|event| event.data["progress"]["itemsRead"].as_str().unwrap().parse().unwrap()).collect();
    assert!(read.is_sorted() && read.contains(&3000), "{read:?}");
    assert!(progress.iter().any(|event| event.data["progress"]["currentObject"] == "public.z"), "{progress:?}");
    let times: Vec<&str> = told.iter().map(|event| event.data["emittedAt"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    // Whoever followed it live saw nothing that is not kept.
    let kept: BTreeSet<i64> = order.iter().copied().collect();
    assert!(sequences(&live)[1..].iter().all(|sequence| kept.contains(sequence)), "{live:?}\n{told:?}");

    let middle = &told[told.len() / 2];
    let rest = server.events(&sync, Some(&middle.id)).await;
    assert_eq!(sequences(&rest), order[told.len() / 2 + 1..]);
    assert!(server.events(&sync, Some(&told.last().unwrap().id)).await.is_empty());
    assert!(server.events(&sync, Some("999999")).await.is_empty());

    let grpc = Client::connect(&server.base).await;
    let over_grpc = grpc.stream(&method("WatchSync"), &json!({"id": sync}), Some(ADMIN_KEY)).await.unwrap();
    let same: Vec<i64> = over_grpc.iter().map(|event| event["sequence"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(same, order);

    server = server.restart().await;
    assert_eq!(sequences(&server.events(&sync, None).await), order, "it is kept across restarts");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_kept_for_a_hundred_syncs_of_a_connection() {
    let server = Server::start().await;
    std::fs::write(server.files().join("a.txt"), "text").unwrap();
    let collection = server.collection("Old").await;
    let connection = server.files_connection(&collection, json!({})).await;
    let first = server.sync(&connection).await["id"].as_str().unwrap().to_owned();
    let told = server.events(&first, None).await;
    assert!(told.len() > 2, "{told:?}");
    for _ in 0..99 {
        server.sync(&connection).await;
    }
    assert_eq!(sequences(&server.events(&first, None).await), sequences(&told), "the hundredth is still there");
    server.sync(&connection).await;

    let short = server.events(&first, None).await;
    assert_eq!(names(&short), ["snapshot", "finished"]);
    assert_eq!(short[0].data["snapshot"]["status"], "succeeded");
    assert_eq!(short[1].data["finished"], told.last().unwrap().data["finished"]);
    assert!(server.events(&first, Some(&told.last().unwrap().id)).await.is_empty());
    let request = server.request("GET", &format!("/api/v1/syncs/{first}/events")).header("last-event-id", "1");
    crate::support::server::send(request).await.error(400, "events_expired");
    let grpc = Client::connect(&server.base).await;
    let request = json!({"id": first, "afterSequence": "1"});
    let refused = grpc.stream(&method("WatchSync"), &request, Some(ADMIN_KEY)).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
}

/// All pages of a sync's errors, over REST.
async fn errors_over_rest(server: &Server, sync: &str, size: usize) -> Vec<Value> {
    let (mut errors, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/syncs/{sync}/errors?pageSize={size}&pageToken={token}");
        let mut page = server.get(&path).await.ok();
        let found = page["errors"].as_array_mut().unwrap();
        assert!(found.len() <= size);
        errors.append(found);
        match page["nextPageToken"].as_str() {
            Some(next) => token = next.to_owned(),
            None => return errors,
        }
    }
}

/// The same over gRPC: keys of the items.
async fn errors_over_grpc(server: &Server, sync: &str, size: usize) -> Vec<String> {
    let client = Client::connect(&server.base).await;
    let (mut keys, mut token) = (Vec::new(), String::new());
    loop {
        let request = json!({"id": sync, "pageSize": size, "pageToken": token});
        let page = client.call(&method("ListSyncErrors"), &request, Some(ADMIN_KEY)).await.unwrap();
        let errors = page["errors"].as_array().unwrap();
        keys.extend(errors.iter().map(|error| error["sourceKey"].as_str().unwrap().to_owned()));
        match page["nextPageToken"].as_str() {
            Some(next) => token = next.to_owned(),
            None => return keys,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_errors_of_a_sync_come_in_pages_and_never_hold_values() {
    const BROKEN: usize = 130;
    let server = Server::start().await;
    for number in 0..BROKEN {
        std::fs::write(server.files().join(format!("{number:03}.docx")), format!("{MARKER} {number}")).unwrap();
    }
    let collection = server.collection("Errors").await;
    let connection = server.files_connection(&collection, json!({})).await;
    let sync = server.sync(&connection).await;
    assert_eq!(sync["progress"]["itemsFailed"], BROKEN.to_string(), "{sync:#}");
    assert_eq!(sync["warnings"][0]["code"], "items_failed");
    let sync = sync["id"].as_str().unwrap();

    let errors = errors_over_rest(&server, sync, 40).await;
    assert_eq!(errors.len(), BROKEN);
    let keys: BTreeSet<&str> = errors.iter().map(|error| error["sourceKey"].as_str().unwrap()).collect();
    assert_eq!(keys.len(), BROKEN, "no page repeats or leaves out");
    for error in &errors {
        assert_eq!(error["stage"], "decode", "{error}");
        assert!(error["occurredAt"].is_string() && error["code"].is_string(), "{error}");
        assert!(!error.to_string().contains(MARKER), "{error}");
    }
    let in_order: Vec<&str> = errors.iter().map(|error| error["sourceKey"].as_str().unwrap()).collect();
    assert_eq!(errors_over_grpc(&server, sync, 40).await, in_order);
    let first = server.get(&format!("/api/v1/syncs/{sync}/errors")).await.ok();
    assert_eq!(first["errors"].as_array().unwrap().len(), 50, "the default");
    let token = first["nextPageToken"].as_str().unwrap();
    let other = server.sync(&connection).await["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/syncs/{other}/errors?pageToken={token}");
    server.get(&path).await.error(400, "invalid_argument");
    for event in server.events(sync, None).await {
        assert!(!event.data.to_string().contains(MARKER), "{event:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_errors_of_a_running_sync_are_there_at_once() {
    let database = Database::create().await;
    database
        .connect()
        .await
        .batch_execute(&format!(
            "CREATE TABLE a (id int PRIMARY KEY, body text);
             INSERT INTO a SELECT i, repeat('{MARKER}', 800000) FROM generate_series(1, 3) i;
             INSERT INTO a VALUES (4, 'small');
             CREATE VIEW z AS SELECT pg_sleep(600)::text AS id"
        ))
        .await
        .unwrap();
    let server = Server::start().await;
    let collection = server.collection("Running").await;
    let connection = server.postgres_connection(&collection, &database, json!({})).await;
    let run = server.post(&format!("/api/v1/source-connections/{connection}/run"), json!({})).await.ok();
    let sync = run["syncId"].as_str().unwrap();
    let response = server.request("GET", &format!("/api/v1/syncs/{sync}/events")).send().await.unwrap();
    let mut body = response.bytes_stream();
    let mut seen = String::new();
    while !seen.contains("\"itemsFailed\":\"3\"") {
        seen.push_str(std::str::from_utf8(&body.next().await.expect("it goes on").unwrap()).unwrap());
    }
    drop(body);
    assert_eq!(server.get(&format!("/api/v1/syncs/{sync}")).await.ok()["sync"]["status"], "running");
    let errors = errors_over_rest(&server, sync, 1).await;
    let keys: Vec<&str> = errors.iter().map(|error| error["sourceKey"].as_str().unwrap()).collect();
    assert_eq!(keys, [r#"["1"]"#, r#"["2"]"#, r#"["3"]"#]);
    assert_eq!(errors_over_grpc(&server, sync, 2).await, keys);
    assert!(!errors.iter().any(|error| error.to_string().contains(MARKER)), "{errors:?}");
    server.post(&format!("/api/v1/syncs/{sync}/cancel"), json!({})).await.ok();
    assert_eq!(server.finished(sync).await["status"], "cancelled");
    assert_eq!(errors_over_rest(&server, sync, 2).await.len(), 3, "and stay");
}
