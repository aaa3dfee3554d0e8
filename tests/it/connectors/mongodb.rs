//! The MongoDB source against SecantusDB.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tributary::connectors::erased::Session;
use tributary::connectors::reading::{Message, Output, ReadRequest};
use tributary::connectors::{ConnectorError, ObjectPage, Resources};
use tributary::egress::{Dialer, Policy, Timeouts};
use tributary::report::{Report, StageKind};

use super::passes::{Pass, connector, pass};
use crate::support::mongodb::{Database, Secured};
use crate::support::postgres::PASSWORD;
use crate::support::tls::Certificates;

fn open(database: &Database, config: Value) -> Arc<dyn Session> {
    let mut config = config;
    // The login may not list databases.
    if config.get("databases").is_none() {
        config["databases"] = json!([database.name]);
    }
    open_at("127.0.0.1", database.port, &database.reader, config)
}

fn open_at(host: &str, port: u16, reader: &str, config: Value) -> Arc<dyn Session> {
    let connector = connector("mongodb");
    let credentials = json!({"host": host, "port": port, "username": reader, "password": PASSWORD});
    let credentials = connector.credentials(credentials.as_object().unwrap()).expect("valid credentials");
    let config = connector.config(config.as_object().unwrap()).expect("a valid config");
    let policy = Policy { local_allowed: true, ..Policy::default() };
    let dialer = Arc::new(Dialer::new(policy, Timeouts::default()));
    let resources = Resources { dialer, file_roots: Arc::from([]), parsers: Arc::default() };
    connector.open(credentials, config, resources).expect("a session")
}

async fn read(database: &Database, config: Value) -> Pass {
    let read = pass(&open(database, config), ReadRequest::default()).await;
    read.outcome.as_ref().expect("it ended").as_ref().expect("it ended well");
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_kept_as_it_is() {
    let database = Database::create().await;
    let object = format!("{}.t", database.name);
    database.insert(
        "t",
        json!([{
            "_id": 1, "whole": {"$numberLong": "9007199254740993"}, "small": {"$numberLong": "7"}, "half": 0.5,
            "odd": {"$numberDouble": "NaN"}, "exact": {"$numberDecimal": "12345678901234567.5"},
            "short": {"$numberDecimal": "12.5"}, "text": "größe 😀", "yes": true, "none": null,
            "who": {"$oid": "65f000000000000000000001"}, "at": {"$date": "2024-02-29T12:30:00.5Z"},
            "bytes": {"$binary": {"base64": "AAECAw==", "subType": "00"}},
            "uuid": {"$uuid": "123e4567-e89b-12d3-a456-426655440000"},
            "pattern": {"$regularExpression": {"pattern": "a.b", "options": "i"}},
            "stamp": {"$timestamp": {"t": 5, "i": 6}}, "list": [1, [2, {"a": "b"}]], "inner": {"a": {"b": {}}},
            "min": {"$minKey": 1}, "max": {"$maxKey": 1}, "code": {"$code": "x = 1"},
        }]),
    );
    let read = read(&database, json!({})).await;
    let document = read.document(&object, "[1]");
    let expected = json!({
        "_id": 1, "whole": "9007199254740993", "small": 7, "half": 0.5, "odd": "NaN", "exact": "12345678901234567.5",
        "short": 12.5, "text": "größe 😀", "yes": true, "none": null, "who": "65f000000000000000000001",
        "at": "2024-02-29T12:30:00.500Z", "bytes": {"bytes": 4}, "uuid": "123e4567-e89b-12d3-a456-426655440000",
        "pattern": "/a.b/i", "stamp": {"t": 5, "i": 6}, "list": [1, [2, {"a": "b"}]], "inner": {"a": {"b": {}}},
        "min": "MinKey", "max": "MaxKey", "code": "x = 1",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&document.metadata[name], value, "{name}");
    }
    assert_eq!((document.kind.as_str(), read.complete.contains_key(&object)), ("document", true));
}

/// A document for each kind of `_id`.
fn with_all_ids() -> Value {
    json!([
        {"_id": 1}, {"_id": 2.5}, {"_id": "1"}, {"_id": null}, {"_id": true}, {"_id": {"a": 1, "b": [1]}},
        {"_id": {"a": "1"}}, {"_id": {"$oid": "65f000000000000000000001"}}, {"_id": "65f000000000000000000001"},
        {"_id": {"$date": "2024-02-29T12:30:00.5Z"}}, {"_id": {"$binary": {"base64": "AAECAw==", "subType": "00"}}},
        {"_id": {"$uuid": "123e4567-e89b-12d3-a456-426655440000"}}, {"_id": {"$timestamp": {"t": 5, "i": 6}}},
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_named_by_an_id_of_any_kind_and_those_of_views_by_their_content() {
    let database = Database::create().await;
    let object = |name: &str| format!("{}.{name}", database.name);
    database.insert("ids", with_all_ids());
    database.insert("loose", json!([{"_id": 1, "word": "same"}, {"_id": 2, "word": "same"}, {"_id": 3, "word": "x"}]));
    database.run(json!({"create": "words", "viewOn": "loose", "pipeline": [{"$project": {"_id": 0, "word": 1}}]}));
    database.insert("odd.na\"me", json!([{"_id": 1}]));
    let first = read(&database, json!({})).await;
    assert_eq!(first.keys(&object("ids")).len(), 13);
    for key in ["[1]", r#"["1"]"#, "[null]", "[true]", r#"[{"$oid":"65f000000000000000000001"}]"#] {
        assert!(first.keys(&object("ids")).contains(&key), "{key}");
    }
    assert_eq!(first.keys(&object("words")).len(), 3, "equal documents are counted");
    let names: Vec<_> = first.objects.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["ids", "loose", "\"odd.na\"\"me\"", "words"].map(object));
    assert_eq!(first.objects[0].1, Some(13));
    let second = read(&database, json!({})).await;
    assert_eq!(first.keys(&object("words")), second.keys(&object("words")), "names stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_config_chooses_what_is_read() {
    let database = Database::create().await;
    let people = json!([
        {"_id": 1, "name": "Ada", "secret": "x"}, {"_id": 2, "name": "Bob", "secret": "y"}, {"_id": 3, "name": "Cyd"},
    ]);
    database.insert("people", people);
    database.insert("people_log", json!([{"_id": 1}]));
    database.insert("other", json!([{"_id": 1}]));
    let config = json!({
        "databases": [database.name], "collections": ["*.people*"], "excludeCollections": ["*.*_log"],
        "excludeFields": ["*.*.secret"], "documentLimit": 2, "titleTemplate": "{{ name }}!",
        "urlTemplate": "https://example.com/{{ key }}",
    });
    let read = read(&database, config.clone()).await;
    let object = format!("{}.people", database.name);
    assert_eq!((read.keys(&object), read.objects.len()), (vec!["[1]", "[2]"], 1));
    let document = read.document(&object, "[1]");
    assert_eq!((document.title.as_str(), document.url.as_deref()), ("Ada!", Some("https://example.com/1")));
    assert!(!document.metadata.contains_key("secret"));
    let session = open(&database, config);
    let page = ObjectPage { after: None, limit: 10 };
    let top = session.discover(None, page).await.unwrap();
    assert_eq!(top.iter().map(|object| object.path.as_str()).collect::<Vec<_>>(), [database.name.as_str()]);
    let below = session.discover(Some(&database.name), page).await.unwrap();
    let selected: Vec<_> = below.iter().filter(|one| one.selected).map(|one| one.path.clone()).collect();
    assert_eq!((below.len(), selected), (3, vec![object]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_listed_is_not_taken_for_gone() {
    let (database, other) = (Database::create().await, Database::create().await);
    database.insert("people", json!([{"_id": 1}]));
    other.insert("secrets", json!([{"_id": 1}]));
    // All databases: the login may not list them, so nobody knows which there are.
    let session = open(&database, json!({"databases": ["*"]}));
    let listed = pass(&session, ReadRequest::default()).await;
    assert!(matches!(listed.outcome, Some(Err(ConnectorError::Forbidden { .. }))) && listed.objects.is_empty());
    // A collection by its name: it is there, and cannot be read.
    let path = format!("{}.secrets", other.name);
    let config = json!({"databases": [database.name, other.name], "collections": ["*.people", path]});
    let named = pass(&open(&database, config), ReadRequest::default()).await;
    assert_eq!((named.objects.len(), named.failed.get(&path)), (2, Some(&"permission_missing")));
    assert!(named.complete.contains_key(&format!("{}.people", database.name)));
    // A database by its name: the pass ends before it lists anything.
    let config = json!({"databases": [database.name, other.name]});
    let refused = pass(&open(&database, config), ReadRequest::default()).await;
    assert!(matches!(refused.outcome, Some(Err(ConnectorError::Forbidden { .. }))) && refused.objects.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_is_read_in_many_answers_while_it_grows() {
    let database = Database::create().await;
    let numbers =
        |from: i32, to: i32| Value::from_iter((from..to).map(|id| json!({"_id": id, "name": "x".repeat(900)})));
    database.insert("first", numbers(0, 2500));
    database.insert("second", numbers(0, 10));
    let session = open(&database, json!({}));
    let (output, mut messages) = Output::channel(1);
    let reading = tokio::spawn(async move { session.read(ReadRequest::default(), output).await });
    let mut keys: BTreeMap<String, usize> = BTreeMap::new();
    let mut is_begun = false;
    while let Some(message) = messages.recv().await {
        let Message::Batch(batch) = message else { continue };
        *keys.entry(batch.object.to_string()).or_default() += batch.records.len();
        if !std::mem::replace(&mut is_begun, true) {
            // The pass has begun: this is for the next one.
            database.insert("second", numbers(10, 20));
            database.insert("first", numbers(9000, 9010));
        }
    }
    reading.await.unwrap().unwrap();
    // What comes while it is read may be met or not.
    let (first, second) = (keys[&format!("{}.first", database.name)], keys[&format!("{}.second", database.name)]);
    assert!(matches!(first, 2500..=2510) && matches!(second, 10..=20), "{first}, {second}");
    assert_eq!(read(&database, json!({})).await.keys(&format!("{}.first", database.name)).len(), 2510);
    assert_eq!(read(&database, json!({})).await.keys(&format!("{}.second", database.name)).len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_reading_goes_on_where_it_was_left() {
    let database = Database::create().await;
    let object = format!("{}.ids", database.name);
    database.insert("ids", with_all_ids());
    // Each document is a batch of its own, for each has half a megabyte and more.
    let change = json!([{"q": {}, "u": {"$set": {"filler": "x".repeat(1 << 20)}}, "multi": true}]);
    database.run(json!({"update": "ids", "updates": change}));
    let mut places = Vec::new();
    let whole = resumed(&database, None, &mut places).await;
    assert_eq!((whole.len(), places.len()), (13, 11), "each has a place but those whose `_id` is a document");
    for (index, place) in &places {
        let rest = resumed(&database, Some((&object, place.clone())), &mut Vec::new()).await;
        assert_eq!(rest, whole[*index..], "from place {index} on, in the same order");
    }
}

/// Keys in the order read, and the places; the index has all that it should have.
async fn resumed(database: &Database, from: Option<(&str, Value)>, places: &mut Vec<(usize, Value)>) -> Vec<String> {
    let session = open(database, json!({}));
    let positions = from.into_iter().map(|(object, place)| (object.to_owned(), place)).collect();
    let request = ReadRequest { positions: Some(positions), ..ReadRequest::default() };
    let (output, mut messages) = Output::channel(1);
    let reading = tokio::spawn(async move { session.read(request, output).await });
    let mut keys = Vec::new();
    while let Some(message) = messages.recv().await {
        match message {
            Message::Batch(batch) => {
                keys.extend(batch.records.iter().map(|record| record.source_key.clone()));
                places.extend(batch.position.map(|place| (keys.len() - 1, place)));
            }
            Message::Ask { answer, .. } => {
                let reached = tributary::connectors::reading::Reached { known: 13, new: 0 };
                answer.send(reached).expect("it waits");
            }
            _ => {}
        }
    }
    reading.await.unwrap().unwrap();
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_verified_and_never_left_out() {
    let certificates = Certificates::make("DNS:localhost");
    let server = Secured::start(&certificates).await;
    let config = |mode: &str, root: Option<String>| {
        let mut config = json!({"sslMode": mode, "databases": ["shop"]});
        if let Some(root) = root {
            config["rootCertificate"] = Value::from(root);
        }
        config
    };
    let root = certificates.root();
    for (host, mode, root) in [("localhost", "verify-full", root.clone()), ("127.0.0.1", "require", root.clone())] {
        let read = pass(&open_at(host, server.port, "reader", config(mode, Some(root))), ReadRequest::default()).await;
        read.outcome.as_ref().unwrap().as_ref().expect("it ended well");
        assert_eq!(read.document("shop.things", "[1]").metadata["name"], "under TLS");
    }
    for (host, mode, root) in
        [("localhost", "verify-full", None), ("127.0.0.1", "verify-full", Some(root)), ("localhost", "require", None)]
    {
        let mut report = Report::default();
        let session = open_at(host, server.port, "reader", config(mode, root));
        session.check(&mut report).await.expect_err("not trusted");
        let failed = report.first_failure().expect("a failed stage");
        assert_eq!((failed.kind, failed.code), (StageKind::Tls, Some("tls_failed")), "{host} {mode}");
    }
}
