//! The SQLite source on real database files.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Map, Value, json};
use tributary::connectors::reading::ReadRequest;
use tributary::connectors::{ConnectorError, ObjectPage};
use tributary::report::Report;

use super::passes::{Pass, connector, open, pass};

struct Shop {
    folder: tempfile::TempDir,
    connection: Connection,
}

impl Shop {
    fn with(sql: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("shop.db")).unwrap();
        connection.execute_batch(sql).unwrap();
        Self { folder, connection }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    async fn pass(&self, config: Value) -> Pass {
        let mut whole = json!({ "path": "shop.db" });
        whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        let session = open("sqlite", whole, &self.root());
        let pass = pass(&session, ReadRequest::default()).await;
        assert!(matches!(pass.outcome, Some(Ok(()))), "{:?}", pass.outcome);
        pass
    }
}

#[tokio::test]
async fn every_kind_of_value_becomes_a_document() {
    let shop = Shop::with(
        "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT, big INTEGER, ratio REAL, picture BLOB, empty TEXT,
                              twice INTEGER GENERATED ALWAYS AS (id * 2), created_at TEXT);
         INSERT INTO things (id, name, big, ratio, picture, created_at)
             VALUES (1, 'Größe 🚲', 9223372036854775807, 0.5, x'010203', '2024-03-01 10:00:00');
         INSERT INTO things (id, name) VALUES (2, CAST(x'61ff62' AS TEXT));",
    );
    let pass = shop.pass(json!({})).await;
    let document = pass.document("things", "[1]");
    assert_eq!(document.title, "Größe 🚲");
    assert_eq!(document.created_at, Some(1_709_287_200_000_000));
    assert_eq!(
        Value::Object(document.metadata.clone()),
        json!({ "id": 1, "name": "Größe 🚲", "big": "9223372036854775807", "ratio": 0.5, "picture": { "bytes": 3 },
                "empty": null, "twice": 2, "created_at": "2024-03-01 10:00:00" })
    );
    assert_eq!(pass.document("things", "[2]").title, "a\u{fffd}b");
    assert_eq!(pass.complete["things"], Some(2));
    assert_eq!(pass.objects, [("things".to_owned(), Some(2))]);
}

#[tokio::test]
async fn every_way_to_name_a_row_gives_keys_that_stay() {
    let shop = Shop::with(
        "CREATE TABLE lines (orders INTEGER, line TEXT, PRIMARY KEY (line, orders)) WITHOUT ROWID;
         INSERT INTO lines VALUES (7, 'a'), (7, 'b');
         CREATE TABLE loose (word TEXT); INSERT INTO loose VALUES ('x'), ('x'), ('y');
         CREATE TABLE holes (code TEXT PRIMARY KEY); INSERT INTO holes VALUES (NULL), (NULL), ('k');
         CREATE TABLE taken (rowid TEXT, oid TEXT, _rowid_ TEXT); INSERT INTO taken VALUES ('1', '2', '3');
         CREATE TABLE bytes (id BLOB PRIMARY KEY); INSERT INTO bytes VALUES (x'00ff'), ('00ff'), (1);
         CREATE VIEW words AS SELECT word FROM loose;",
    );
    let before = shop.pass(json!({})).await;
    assert_eq!(before.keys("lines"), ["[\"a\",7]", "[\"b\",7]"]);
    assert_eq!(before.keys("loose"), ["[1]", "[2]", "[3]"]);
    assert_eq!(before.keys("holes"), ["[\"k\"]", "[null,{\"rowid\":1}]", "[null,{\"rowid\":2}]"]);
    assert_eq!(before.keys("bytes"), ["[\"00ff\"]", "[1]", "[{\"blob\":\"00ff\"}]"]);
    assert_eq!((before.keys("taken").len(), before.keys("words").len()), (1, 3));
    assert_eq!(before.complete["words"], None, "views are not counted");
    shop.connection.execute_batch("DELETE FROM loose WHERE word = 'y'; INSERT INTO loose VALUES ('z')").unwrap();
    let after = shop.pass(json!({})).await;
    let kept = after.keys("words").into_iter().filter(|key| before.keys("words").contains(key)).count();
    assert_eq!(kept, 2, "the equal rows keep their keys, the new one has another");
}

#[tokio::test]
async fn a_fingerprint_changes_with_any_value_and_with_nothing_else() {
    let shop = Shop::with(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b BLOB);
         INSERT INTO t VALUES (1, 'one', x'01'), (2, 'two', x'02'), (3, 'three', x'03');",
    );
    let before = shop.pass(json!({})).await;
    let again = shop.pass(json!({})).await;
    let print = |pass: &Pass, key: &str| pass.records["t"][key].fingerprint;
    for key in ["[1]", "[2]", "[3]"] {
        assert_eq!(print(&before, key), print(&again, key));
    }
    shop.connection.execute_batch("UPDATE t SET a = NULL WHERE id = 1; UPDATE t SET b = x'04' WHERE id = 2").unwrap();
    shop.connection.execute_batch("DELETE FROM t WHERE id = 3").unwrap();
    let after = shop.pass(json!({})).await;
    assert_ne!(print(&before, "[1]"), print(&after, "[1]"));
    assert_ne!(print(&before, "[2]"), print(&after, "[2]"));
    assert_eq!(after.keys("t"), ["[1]", "[2]"], "what is deleted is not yielded");
    assert_eq!(after.complete["t"], Some(2), "and the table was read to its end");
}

#[tokio::test]
async fn tables_columns_rows_and_templates_are_chosen_by_the_config() {
    let shop = Shop::with(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, password TEXT, email TEXT);
         INSERT INTO users VALUES (1, 'Ada', 'p', 'a@example.com'), (2, 'Bo', 'q', 'b@example.com');
         CREATE TABLE user_log (id INTEGER PRIMARY KEY, line TEXT); INSERT INTO user_log VALUES (1, 'in');
         CREATE TABLE other (id INTEGER PRIMARY KEY);
         CREATE TABLE \"odd \"\" table; --\" (\"odd \"\" column\" TEXT); INSERT INTO \"odd \"\" table; --\" VALUES ('v');",
    );
    let config = json!({
        "tables": ["user*", "odd*"], "excludeTables": ["*_log"], "excludeColumns": ["password", "users.em*"],
        "urlTemplate": "https://shop.example/{{ object }}/{{ key }}",
        "tableOptions": [{ "table": "users", "rowLimit": 1, "titleTemplate": "User {{ name }}" }],
    });
    let pass = shop.pass(config.clone()).await;
    assert_eq!(pass.started, ["odd \" table; --", "users"]);
    assert_eq!(pass.keys("users"), ["[1]"]);
    assert_eq!(pass.complete["users"], Some(1));
    let document = pass.document("users", "[1]");
    assert_eq!((document.title.as_str(), document.body.as_str()), ("User Ada", "id: 1\nname: Ada"));
    assert_eq!(document.url.as_deref(), Some("https://shop.example/users/1"));
    assert_eq!(pass.document("odd \" table; --", "[1]").metadata["odd \" column"], "v");
    let config = config.as_object().unwrap();
    assert!(connector("sqlite").selects(config, "users"));
    assert!(!connector("sqlite").selects(config, "user_log"));
}

#[test]
fn a_wrong_template_is_refused_with_its_field() {
    let config =
        json!({ "path": "x", "bodyTemplate": "{{", "tableOptions": [{ "table": "t", "urlTemplate": "{% if" }] });
    let violations = connector("sqlite").config(config.as_object().unwrap()).unwrap_err();
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["config.bodyTemplate", "config.tableOptions[0].urlTemplate"]);
}

#[tokio::test]
async fn a_table_that_fails_leaves_the_others_alone() {
    let shop = Shop::with(
        "CREATE TABLE good (id INTEGER PRIMARY KEY); INSERT INTO good VALUES (1);
         CREATE TABLE base (id INTEGER PRIMARY KEY); CREATE VIEW broken AS SELECT id FROM base; DROP TABLE base;",
    );
    let pass = shop.pass(json!({})).await;
    assert_eq!(pass.failed.get("broken"), Some(&"query_failed"));
    assert!(!pass.complete.contains_key("broken"), "nothing is proved of it");
    assert_eq!(pass.complete["good"], Some(1));
    let session = open("sqlite", json!({ "path": "shop.db" }), &shop.root());
    let mut report = Report::default();
    assert!(session.check(&mut report).await.is_err());
    assert_eq!(report.first_failure().unwrap().object.as_deref(), Some("broken"));
}

#[tokio::test]
async fn finished_objects_are_listed_and_not_read_and_a_sample_proves_nothing() {
    let shop = Shop::with(
        "CREATE TABLE a (id INTEGER PRIMARY KEY); INSERT INTO a VALUES (1), (2);
         CREATE TABLE b (id INTEGER PRIMARY KEY); INSERT INTO b VALUES (1), (2);",
    );
    let session = open("sqlite", json!({ "path": "shop.db" }), &shop.root());
    let request = ReadRequest { finished: vec!["a".to_owned()], sample: Some(1), ..ReadRequest::default() };
    let pass = pass(&session, request).await;
    assert_eq!(pass.objects.len(), 2);
    assert_eq!(pass.started, ["b"]);
    assert_eq!(pass.keys("b"), ["[1]"]);
    assert!(pass.complete.is_empty());
}

#[tokio::test]
async fn tables_are_discovered_in_pages() {
    let shop =
        Shop::with("CREATE TABLE a (x); CREATE TABLE b (x); INSERT INTO b VALUES (1); CREATE VIEW c AS SELECT 1");
    let session = open("sqlite", json!({ "path": "shop.db", "tables": ["b"] }), &shop.root());
    let first = session.discover(None, ObjectPage { after: None, limit: 2 }).await.unwrap();
    let found: Vec<_> = first.iter().map(|object| (object.path.as_str(), object.selected)).collect();
    assert_eq!(found, [("a", false), ("b", true)]);
    assert_eq!(first[1].estimated_items, Some(1));
    let rest = session.discover(None, ObjectPage { after: Some("b"), limit: 2 }).await.unwrap();
    assert_eq!(rest.iter().map(|object| object.path.as_str()).collect::<Vec<_>>(), ["c"]);
}

async fn refusal(path: &str, root: &Path) -> (ConnectorError, Option<&'static str>) {
    let session = open("sqlite", json!({ "path": path }), root);
    let mut report = Report::default();
    let error = session.check(&mut report).await.unwrap_err();
    let reading = pass(&session, ReadRequest::default()).await;
    assert!(reading.objects.is_empty() && reading.outcome.unwrap().is_err(), "a pass ends before it lists anything");
    (error, report.first_failure().and_then(|stage| stage.code))
}

#[tokio::test]
async fn files_outside_the_roots_and_files_that_are_no_database_are_refused() {
    let shop = Shop::with("CREATE TABLE t (x); INSERT INTO t VALUES (1)");
    let root = shop.root().join("root");
    std::fs::create_dir(&root).unwrap();
    let outside = shop.root().join("shop.db");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&outside, root.join("link.db")).unwrap();
    std::fs::write(root.join("text.db"), "no database at all, only a text that is long enough to be looked at")
        .unwrap();
    std::fs::write(root.join("empty.db"), "").unwrap();
    for (path, code) in [
        (outside.to_str().unwrap(), "outside_roots"),
        ("link.db", "outside_roots"),
        ("../shop.db", "invalid_path"),
        ("none.db", "not_found"),
        (".", "not_a_file"),
        ("text.db", "damaged"),
        ("empty.db", "damaged"),
    ] {
        let (error, found) = refusal(path, &root).await;
        assert_eq!(found, Some(code), "{path}");
        assert!(matches!(error, ConnectorError::Invalid { .. }), "{path}: {error:?}");
        assert!(!error.to_string().contains("shop"), "{error}");
    }
    let resources_without_roots = open("sqlite", json!({ "path": "shop.db" }), Path::new("/nonexistent"));
    assert!(resources_without_roots.check(&mut Report::default()).await.is_err());
}

#[tokio::test]
async fn a_database_damaged_in_the_middle_fails_the_object_and_does_not_prove_deletes() {
    let shop = Shop::with(
        "PRAGMA page_size=1024; VACUUM; CREATE TABLE t (id INTEGER PRIMARY KEY, filler TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
         INSERT INTO t SELECT i, hex(randomblob(100)) FROM n;",
    );
    let path = shop.root().join("shop.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 20_000].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let pass = shop.pass(json!({})).await;
    assert_eq!(pass.failed.get("t"), Some(&"damaged"), "{:?}", pass.complete);
    assert!(pass.complete.is_empty());
}

#[tokio::test]
async fn a_view_without_end_stops_when_the_reader_is_dropped() {
    stops_endless_view(true).await;
}

#[tokio::test]
async fn a_view_without_end_stops_when_nobody_listens_any_more() {
    stops_endless_view(false).await;
}

async fn stops_endless_view(aborted: bool) {
    let shop = Shop::with(
        "CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
         SELECT count(*) AS many FROM n;",
    );
    let session = open("sqlite", json!({ "path": "shop.db" }), &shop.root());
    let (output, mut messages) = tributary::connectors::reading::Output::channel(4);
    let reading = tokio::spawn(async move { session.read(ReadRequest::default(), output).await });
    while let Some(message) = messages.recv().await {
        if matches!(message, tributary::connectors::reading::Message::Started(_)) {
            break;
        }
    }
    if aborted {
        reading.abort();
        assert!(reading.await.unwrap_err().is_cancelled());
        // The blocking thread lets go of its output only when the statement ends.
        while messages.recv().await.is_some() {}
    } else {
        drop(messages);
        assert!(matches!(reading.await.unwrap(), Err(ConnectorError::Stopped(_))));
    }
}

#[tokio::test]
async fn the_sample_database_reads_whole() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    tributary::demo_data::write_database(&root.join("shop.db")).unwrap();
    let session = open("sqlite", json!({ "path": "shop.db" }), &root);
    let pass = pass(&session, ReadRequest::default()).await;
    assert_eq!(pass.complete.len(), 7);
    for (object, counted) in &pass.complete {
        assert_eq!(*counted, Some(pass.keys(object).len() as u64), "{object}");
    }
    assert!(pass.documents.values().all(Result::is_ok));
    assert!(connector("sqlite").credentials(&Map::new()).is_ok());
}
