//! The audit log: nothing that changes something is missing from it, refusals
//! cannot fill it, and it says nothing that is secret.

mod commands;

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tonic::Code;
use tributary::config::{Config, Database};

use crate::support::grpc::{Client, method};
use crate::support::server::{ADMIN_KEY, Server, id_of, send};

/// Events that fit a query, newest first.
async fn events(server: &Server, query: &str) -> Vec<Value> {
    let body = server.get(&format!("/api/v1/audit-events?{query}")).await.ok();
    body["events"].as_array().expect("events").clone()
}

/// Waits until an event fits, and answers it.
async fn awaited(server: &Server, query: &str, fits: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..300 {
        if let Some(event) = events(server, query).await.into_iter().find(|event| fits(event)) {
            return event;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no such event: {:#?}", events(server, "").await);
}

/// A server with its store in a file of SQLite, whatever store the other tests
/// use, and a way past it.
async fn with_a_file() -> (Server, rusqlite::Connection, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("store.db");
    let url = format!("sqlite://{}", file.display());
    let server = Server::start_with(move |config: &mut Config| {
        config.database = Database::Sqlite;
        config.database_url = SecretString::from(url.clone());
    })
    .await;
    let behind = rusqlite::Connection::open(file).expect("it opens");
    behind.busy_timeout(Duration::from_secs(10)).expect("it takes a limit");
    (server, behind, folder)
}

async fn key(server: &Server, role: &str, collection: &str) -> (String, String) {
    let body = json!({"name": role, "role": role, "collectionIds": [collection]});
    let body = server.post("/api/v1/api-keys", body).await.ok();
    (id_of(&body["apiKey"]), body["secret"].as_str().expect("a secret").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_says_who_what_when_from_where_and_how_it_ended() {
    let server = Server::start().await;
    let collection = server.collection("Audited").await;
    let (editor, secret) = key(&server, "editor", &collection).await;
    let body = json!({
        "collectionId": collection, "sourceShortName": "files", "name": "marker-in-a-body",
        "credentials": {}, "config": {"path": server.files()},
    });
    let call = server.anonymous("POST", "/api/v1/source-connections").bearer_auth(&secret).json(&body);
    let reply = send(call.header("x-request-id", "made-by-hand")).await;
    let connection = id_of(&reply.ok()["sourceConnection"]);

    let made = &events(&server, &format!("actor={editor}")).await[0];
    assert_eq!(made["method"], "tributary.v1.SourceConnectionService/CreateSourceConnection");
    assert_eq!((&made["actorType"], &made["outcome"]), (&json!("api_key"), &json!("OK")));
    assert_eq!((&made["sourceConnectionId"], &made["collectionId"]), (&json!(connection), &json!(collection)));
    assert_eq!((&made["peerAddress"], &made["requestId"]), (&json!("127.0.0.1"), &json!("made-by-hand")));
    assert!(made["occurredAt"].as_str().expect("a time").ends_with('Z'), "{made}");

    let sync = server.sync(&connection).await;
    let cancelled = server.post(&format!("/api/v1/syncs/{}/cancel", id_of(&sync)), json!({})).await;
    cancelled.error(400, "sync_not_running");
    let client = Client::connect(&server.base).await;
    let pause = method("PauseSourceConnection");
    client.call(&pause, &json!({"id": connection}), Some(ADMIN_KEY)).await.expect("it is paused");
    server.delete(&format!("/api/v1/source-connections/{connection}?deleteData=true")).await.ok();
    server.delete(&format!("/api/v1/api-keys/{editor}")).await.ok();

    let about: Vec<(String, String)> = events(&server, &format!("collectionId={collection}"))
        .await
        .iter()
        .map(|event| {
            let name = event["method"].as_str().expect("a method").rsplit('/').next().expect("a name").to_owned();
            (name, event["outcome"].as_str().expect("an outcome").to_owned())
        })
        .collect();
    let wanted = [
        ("DeleteSourceConnection", "OK"),
        ("PauseSourceConnection", "OK"),
        ("CancelSync", "SYNC_NOT_RUNNING"),
        ("RunSourceConnection", "OK"),
        ("CreateSourceConnection", "OK"),
        ("CreateApiKey", "OK"),
        ("CreateCollection", "OK"),
    ];
    assert_eq!(about, wanted.map(|(name, outcome)| (name.to_owned(), outcome.to_owned())));
    let of_the_sync = events(&server, &format!("syncId={}", id_of(&sync))).await;
    assert_eq!(of_the_sync.len(), 2, "{of_the_sync:?}");
    assert!(of_the_sync.iter().all(|event| event["sourceConnectionId"] == json!(connection)), "{of_the_sync:?}");
    let of_the_key = events(&server, &format!("apiKeyId={editor}&outcome=OK")).await;
    assert_eq!(of_the_key.len(), 2, "{of_the_key:?}");

    let everything = format!("{:?}", events(&server, "pageSize=1000").await);
    assert!(!everything.contains(&secret) && !everything.contains(ADMIN_KEY) && !everything.contains("marker-in-a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_in_pages_and_by_time() {
    let server = Server::start().await;
    for number in 0..5 {
        server.collection(&format!("Number {number}")).await;
    }
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let body = server.get(&format!("/api/v1/audit-events?pageSize=2&pageToken={token}")).await.ok();
        seen.extend(body["events"].as_array().expect("events").iter().map(id_of));
        match body["nextPageToken"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    let whole = events(&server, "").await;
    assert_eq!(seen, whole.iter().map(id_of).collect::<Vec<_>>());
    assert_eq!(seen.len(), 5);
    server.get(&format!("/api/v1/audit-events?outcome=OK&pageToken={token}x")).await.error(400, "invalid_argument");
    let middle = whole[2]["occurredAt"].as_str().expect("a time");
    let later = events(&server, &format!("occurredFrom={middle}")).await;
    let earlier = events(&server, &format!("occurredBefore={middle}")).await;
    assert_eq!(later.len() + earlier.len(), 5);
    assert!(later.contains(&whole[2]) && !earlier.contains(&whole[2]));
    assert!(events(&server, "occurredBefore=2020-01-01T00:00:00Z").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_counted_by_minute_and_not_listed_one_by_one() {
    let mut server = Server::start().await;
    let collection = server.collection("Guarded").await;
    let (viewer, secret) = key(&server, "viewer", &collection).await;
    let other = server.collection("Other").await;
    let client = Client::connect(&server.base).await;
    for _ in 0..20 {
        send(server.anonymous("GET", "/api/v1/sources").bearer_auth("trb_nothing")).await.error(401, "unauthorized");
        let refused = client.call(&method("ListSources"), &json!({}), Some("trb_nothing")).await;
        assert_eq!(refused.expect_err("it is no key").code(), Code::Unauthenticated);
        let create = server.anonymous("POST", "/api/v1/collections").bearer_auth(&secret).json(&json!({"name": "No"}));
        send(create).await.error(403, "forbidden");
        let foreign = server.anonymous("GET", &format!("/api/v1/collections/{other}")).bearer_auth(&secret);
        send(foreign).await.error(403, "forbidden");
    }
    // What is counted is written when the server stops, too.
    server = server.restart().await;
    let times = |events: &[Value], method: &str| -> i64 {
        let of_it = events.iter().filter(|event| event["method"].as_str().expect("a method").ends_with(method));
        of_it.map(|event| event["count"].as_str().and_then(|count| count.parse::<i64>().ok()).expect("a count")).sum()
    };
    let strangers = events(&server, "outcome=UNAUTHORIZED").await;
    assert!(strangers.iter().all(|event| event["actorType"] == "anonymous" && event["peerAddress"] == "127.0.0.1"));
    assert_eq!(times(&strangers, ""), 40, "{strangers:?}");
    let refused = events(&server, &format!("outcome=FORBIDDEN&actor={viewer}")).await;
    assert_eq!(times(&refused, "/CreateCollection"), 20, "{refused:?}");
    assert_eq!(times(&refused, "/GetCollection"), 20, "{refused:?}");
    // A minute may turn while the test runs.
    assert!(strangers.len() <= 2 && refused.len() <= 4, "{strangers:?} {refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_of_some_collections_sees_only_what_is_about_them() {
    let server = Server::start().await;
    let mine = server.collection("Mine").await;
    let other = server.collection("Other").await;
    let (_, secret) = key(&server, "admin", &mine).await;
    let (_, owner) = key(&server, "owner", &other).await;
    send(server.anonymous("GET", "/api/v1/audit-events").bearer_auth(&owner)).await.error(403, "forbidden");
    let body = send(server.anonymous("GET", "/api/v1/audit-events").bearer_auth(&secret)).await.ok();
    let seen = body["events"].as_array().expect("events");
    assert_eq!(seen.len(), 2, "{body}");
    assert!(seen.iter().all(|event| event["collectionId"] == json!(mine)), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_the_log_does_not_take_is_refused_and_not_made() {
    let (server, behind, _folder) = with_a_file().await;
    behind.execute_batch("ALTER TABLE audit_events RENAME TO away").expect("it is renamed");
    server.post("/api/v1/collections", json!({"name": "Unseen"})).await.error(500, "internal");
    let body = server.get("/api/v1/collections").await.ok();
    assert_eq!(body["collections"], json!([]), "reading goes on, and nothing was made");
    behind.execute_batch("ALTER TABLE away RENAME TO audit_events").expect("it is renamed");
    server.collection("Seen").await;
    assert_eq!(events(&server, "").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_could_not_be_written_is_written_later() {
    let (server, behind, _folder) = with_a_file().await;
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON audit_events BEGIN SELECT RAISE(ABORT, 'not now'); END";
    behind.execute_batch(refuse).expect("a trigger");
    server.collection("Made").await;
    let event = &events(&server, "").await[0];
    assert_eq!(event["outcome"], "UNKNOWN", "{event}");
    behind.execute_batch("DROP TRIGGER refuse").expect("it is dropped");
    let event = awaited(&server, "", |event| event["outcome"] == "OK").await;
    assert!(event["collectionId"].is_string(), "{event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_leaves_an_event_with_an_end() {
    let server = Server::start().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let collection = server.collection("Left").await;
    let body = json!({
        "collectionId": collection, "sourceShortName": "postgresql", "name": "Silent", "config": {},
        "credentials": {"host": "127.0.0.1", "port": silent.local_addr().expect("an address").port(),
            "database": "d", "username": "u", "password": "p"},
    });
    let connection = id_of(&server.post("/api/v1/source-connections", body).await.ok()["sourceConnection"]);
    let call = server.request("POST", &format!("/api/v1/source-connections/{connection}/test"));
    let call = tokio::spawn(call.send());
    // The test of the connection has begun once somebody connects.
    let (_held, _) = silent.accept().await.expect("a connection");
    call.abort();
    let of_it = format!("sourceConnectionId={connection}&outcome=CANCELLED");
    let event = awaited(&server, &of_it, |_| true).await;
    assert_eq!(event["method"], "tributary.v1.SourceConnectionService/TestSourceConnection");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_the_first_start_is_in_the_log() {
    let server = Server::start_with(|config: &mut Config| config.admin_key = None).await;
    let key = server.running().admin_key().expect("the first start makes one").expose_secret().to_owned();
    let body = send(server.anonymous("GET", "/api/v1/audit-events").bearer_auth(key)).await.ok();
    let [event] = body["events"].as_array().expect("events").as_slice() else { panic!("{body}") };
    assert_eq!((&event["actorType"], &event["outcome"]), (&json!("operator"), &json!("OK")), "{event}");
    assert!(event["apiKeyId"].is_string(), "{event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_events_go_and_the_operator_is_in_the_log() {
    let (mut server, behind, folder) = with_a_file().await;
    server.collection("Old").await;
    server.stop().await;
    behind.execute_batch("UPDATE audit_events SET occurred_at = occurred_at - 366 * 86400000").expect("they are old");
    let url = format!("sqlite://{}", folder.path().join("store.db").display());
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_tributary"))
        .args(["keys", "create", "--name", "by hand", "--role", "admin", "--json", "--database-url", &url])
        .arg("--data-dir")
        .arg(folder.path())
        .output()
        .await
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let server = server.restart().await;
    let made = awaited(&server, "method=keys%20create", |_| true).await;
    assert_eq!((&made["actorType"], &made["apiKeyId"]), (&json!("operator"), &printed["apiKey"]["id"]));
    for _ in 0..300 {
        if events(&server, "").await.len() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("old events stay: {:?}", events(&server, "").await);
}
