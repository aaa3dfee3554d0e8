//! Database files made to break what reads them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, json};
use tributary::connectors::erased::Session;
use tributary::connectors::reading::ReadRequest;
use tributary::connectors::{ConnectorError, Resources};
use tributary::egress::{Dialer, Policy, Timeouts};
use tributary::report::Report;

use super::service::Service;
use crate::connectors::passes::{connector, pass};

fn database(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

/// A session whose statements may be silent for a second.
fn session(root: &Path, file: &str) -> Arc<dyn Session> {
    let connector = connector("sqlite");
    let config = connector.config(json!({"path": file}).as_object().unwrap()).expect("a valid config");
    let timeouts = Timeouts { idle: Duration::from_millis(200), ..Timeouts::default() };
    let dialer = Arc::new(Dialer::new(Policy::default(), timeouts));
    let resources = Resources { dialer, file_roots: Arc::from([root.to_owned()]), parsers: Arc::default() };
    connector.open(Map::new(), config, resources).expect("a session")
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    (folder, root)
}

#[tokio::test(flavor = "multi_thread")]
async fn views_that_never_end_or_make_too_much_fail_alone() {
    let (_folder, root) = folder();
    database(
        &root.join("views.db"),
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b');
         CREATE VIEW silent AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
             SELECT count(*) AS many FROM n;
         CREATE VIEW zeros AS SELECT zeroblob(900000000) AS v;
         CREATE VIEW hexes AS SELECT hex(zeroblob(19000000)) AS v;
         CREATE VIEW printed AS SELECT printf('%.*c', 900000000, 'x') AS v;
         CREATE VIEW replaced AS SELECT replace(hex(zeroblob(9000000)), '0', hex(zeroblob(1000))) AS v;
         CREATE VIEW grouped AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 40)
             SELECT group_concat(hex(zeroblob(1000000))) AS v FROM n;
         CREATE VIEW extension AS SELECT load_extension('/tmp/x') AS v;
         CREATE VIEW circle AS SELECT * FROM circle2;
         CREATE VIEW circle2 AS SELECT * FROM circle;
         CREATE VIEW gone AS SELECT * FROM nowhere;
         CREATE VIEW pattern AS SELECT v LIKE replace(hex(zeroblob(30000)), '0', '%') AS v FROM t;",
    );
    let pass = pass(&session(&root, "views.db"), ReadRequest::default()).await;
    assert!(matches!(pass.outcome, Some(Ok(()))), "{:?}", pass.outcome);
    assert_eq!(pass.complete.get("t"), Some(&Some(2)));
    assert_eq!(pass.failed.get("silent"), Some(&"timed_out"));
    for view in ["zeros", "hexes", "replaced", "grouped"] {
        assert_eq!(pass.failed.get(view), Some(&"too_large"), "{view}: {:?}", pass.complete.get(view));
    }
    for view in ["extension", "circle", "gone", "pattern"] {
        assert!(pass.failed.contains_key(view), "{view}: {:?}", pass.failed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_test_does_not_wait_for_a_view_without_end() {
    let (_folder, root) = folder();
    database(
        &root.join("silent.db"),
        "CREATE VIEW silent AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
         SELECT count(*) AS many FROM n;",
    );
    let mut report = Report::default();
    assert!(session(&root, "silent.db").check(&mut report).await.is_err());
    assert_eq!(report.first_failure().and_then(|stage| stage.code), Some("timed_out"));
}

#[cfg(unix)]
#[tokio::test]
async fn links_beside_a_database_are_not_followed() {
    let (_folder, root) = folder();
    let outside = tempfile::tempdir().unwrap();
    let log = outside.path().join("secret.db-wal");
    std::fs::write(&log, "another's log").unwrap();
    for suffix in ["-wal", "-shm", "-journal"] {
        let path = root.join(format!("linked{suffix}.db"));
        database(&path, "CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1);");
        let mut beside = path.clone().into_os_string();
        beside.push(suffix);
        std::os::unix::fs::symlink(&log, &beside).unwrap();
        let mut report = Report::default();
        let outcome = session(&root, &format!("linked{suffix}.db")).check(&mut report).await;
        assert!(matches!(outcome, Err(ConnectorError::Invalid { .. })), "{suffix}: {outcome:?}");
        assert_eq!(report.first_failure().and_then(|stage| stage.code), Some("not_a_file"), "{suffix}");
    }
    assert_eq!(std::fs::read(&log).unwrap(), b"another's log");
}

/// Bits of a file that were turned: rows or a failure, never a crash or a hang.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_end_in_words() {
    let (_folder, root) = folder();
    let path = root.join("whole.db");
    database(
        &path,
        "PRAGMA page_size = 512; CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE w(k TEXT PRIMARY KEY) WITHOUT ROWID;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
         INSERT INTO t SELECT i, hex(randomblob(i * 5)) FROM n;
         INSERT INTO w SELECT v FROM t; CREATE VIEW v AS SELECT * FROM t JOIN w ON v = k;",
    );
    let whole = std::fs::read(&path).unwrap();
    let mut random = StdRng::seed_from_u64(4);
    let mut failures = 0;
    for number in 0..120 {
        let mut bytes = whole.clone();
        for _ in 0..random.random_range(1..20) {
            // The header and the first pages are where everything hangs on.
            let end = if random.random_bool(0.5) { 1024 } else { bytes.len() };
            let place = random.random_range(0..end);
            bytes[place] = random.random();
        }
        if random.random_bool(0.1) {
            bytes.truncate(random.random_range(0..whole.len()));
        }
        let name = format!("{number}.db");
        std::fs::write(root.join(&name), bytes).unwrap();
        let session = session(&root, &name);
        let checked = session.check(&mut Report::default()).await;
        let (output, mut messages) = tributary::connectors::reading::Output::channel(64);
        let reading = tokio::spawn(async move { session.read(ReadRequest::default(), output).await });
        while messages.recv().await.is_some() {}
        let read = reading.await.expect("no panic");
        failures += usize::from(checked.is_err() || read.is_err());
    }
    assert!(failures > 20, "{failures} of 120 were found to be damaged");
}

#[tokio::test(flavor = "multi_thread")]
async fn huge_values_cost_their_own_rows_and_no_memory() {
    let service = Service::start().await;
    let path = service.files().join("huge.db");
    database(
        &path,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v);
         INSERT INTO t VALUES (1, 'small'), (2, zeroblob(300000000)), (3, 'small too'), (4, CAST(zeroblob(100000000) AS TEXT)),
             (5, zeroblob(16777216)), (6, 'last');
         CREATE TABLE g(id INTEGER PRIMARY KEY, v AS (hex(zeroblob(400000000))));
         INSERT INTO g(id) VALUES (1);",
    );
    let before = service.measure();
    let connection = service.connect_files("sqlite", json!({"path": path})).await;
    let sync = service.run(&connection).await;
    let ended = service.until(&sync, &["succeeded", "failed", "waiting"]).await;
    service.assert_rise(before, "huge values");
    let errors = service.call("GET", &format!("/api/v1/syncs/{sync}/errors"), None).await;
    assert!(errors.text.matches("too_large").count() >= 2, "{} {ended}", errors.text);
    assert_eq!(ended["progress"]["itemsInserted"], "4", "{ended}");
    service.assert_silent();
}
