//! The MySQL source against a real MariaDB.

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use serde_json::{Value, json};
use tributary::connectors::erased::Session;
use tributary::connectors::reading::{Message, Output, ReadRequest};
use tributary::connectors::{ObjectPage, Resources};
use tributary::egress::{Dialer, Policy, Timeouts};
use tributary::report::{Outcome, Report, StageKind};

use super::passes::{Pass, connector, pass};
use crate::support::mariadb::{Database, root};
use crate::support::postgres::PASSWORD;

/// A session of the login of a database.
pub fn open(database: &Database, config: Value) -> Arc<dyn Session> {
    open_at(database, "127.0.0.1", config)
}

fn open_at(database: &Database, host: &str, config: Value) -> Arc<dyn Session> {
    let connector = connector("mysql");
    let credentials = json!({"host": host, "port": database.port, "username": database.reader, "password": PASSWORD});
    let credentials = connector.credentials(credentials.as_object().unwrap()).expect("valid credentials");
    let config = connector.config(config.as_object().unwrap()).expect("a valid config");
    let policy = Policy { local_allowed: true, ..Policy::default() };
    let dialer = Arc::new(Dialer::new(policy, Timeouts::default()));
    let resources = Resources { dialer, file_roots: Arc::from([]), parsers: Arc::default() };
    connector.open(credentials, config, resources).expect("a session")
}

async fn database(sql: &str) -> Database {
    let database = Database::create().await;
    database.run(sql).await;
    database.grant().await;
    database
}

async fn read(database: &Database, config: Value) -> Pass {
    let read = pass(&open(database, config), ReadRequest::default()).await;
    read.outcome.as_ref().expect("it ended").as_ref().expect("it ended well");
    read
}

#[tokio::test]
async fn every_type_is_kept_as_it_is() {
    let database = database(
        "CREATE TABLE t (
            id bigint unsigned PRIMARY KEY, tiny tinyint(1), big bigint, zero int(5) zerofill,
            exact decimal(30,10), short decimal(6,2), single float, twice double, bits bit(12),
            day date, moment datetime(6), stamp timestamp(3) NULL, span time(2), y year,
            fixed char(5), word varchar(20) CHARACTER SET latin1, long_text longtext CHARACTER SET ucs2,
            choice enum('small', 'large'), several set('a', 'b', 'c'),
            bytes varbinary(20), blob_ longblob, doc json, place point, who uuid, address inet6,
            made bigint GENERATED ALWAYS AS (big + 1) VIRTUAL);
         SET sql_mode = '';
         INSERT INTO t (id, tiny, big, zero, exact, short, single, twice, bits, day, moment, stamp, span, y, fixed,
            word, long_text, choice, several, bytes, blob_, doc, place, who, address) VALUES
            (18446744073709551615, 1, -9007199254740993, 42, 12345678901234567890.0123456789, 12.50, 1.1, 0.1,
             b'101', '2024-02-29', '2024-02-29 12:00:00.000001', '2024-02-29 12:00:00.5', '-838:59:59', 1999, 'ab',
             'größe', 'Ωmega 😀', 'large', 'a,c', x'00ff', REPEAT('x', 1000), '{\"a\": [1, 18446744073709551615]}',
             ST_GeomFromText('POINT(1 2.5)'), '123e4567-e89b-12d3-a456-426655440000', '::1'),
            (1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '0000-00-00', '0000-00-00 00:00:00', NULL, NULL, NULL,
             NULL, NULL, NULL, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL)",
    )
    .await;
    let read = read(&database, json!({})).await;
    let object = format!("{}.t", database.name);
    let mut row = read.document(&object, "[18446744073709551615]").metadata.clone();
    assert!(row["long_text"].as_str().is_some_and(|text| text.starts_with('Ω')), "{row:?}");
    row.remove("long_text");
    let expected = json!({
        "id": "18446744073709551615", "tiny": 1, "big": "-9007199254740993", "zero": 42,
        "exact": "12345678901234567890.0123456789", "short": 12.5, "single": 1.1, "twice": 0.1, "bits": 5,
        "day": "2024-02-29", "moment": "2024-02-29T12:00:00.000001", "stamp": "2024-02-29T12:00:00.500Z",
        "span": "-838:59:59.00", "y": 1999, "fixed": "ab", "word": "größe", "choice": "large", "several": ["a", "c"],
        "bytes": {"bytes": 2}, "blob_": {"bytes": 1000}, "doc": {"a": [1, "18446744073709551615"]},
        "place": "POINT(1 2.5)", "who": "123e4567-e89b-12d3-a456-426655440000", "address": "::1",
        "made": -9_007_199_254_740_992_i64,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&row[name], value, "{name}");
    }
    let empty = &read.document(&object, "[1]").metadata;
    assert_eq!(empty["day"], "0000-00-00");
    assert_eq!(empty["moment"], "0000-00-00 00:00:00.000000");
    assert_eq!((&empty["several"], &empty["doc"]), (&json!([]), &Value::Null));
}

#[tokio::test]
async fn rows_are_named_by_their_key_or_by_their_content() {
    let database = database(
        "CREATE TABLE pair (a varchar(10) COLLATE utf8mb4_bin, b binary(2), c int, PRIMARY KEY (a, b));
         INSERT INTO pair VALUES ('x', x'00ff', 1), ('X', x'00ff', 2);
         CREATE TABLE u (n int, e varchar(5) NOT NULL, UNIQUE KEY (n), UNIQUE KEY e (e));
         INSERT INTO u VALUES (NULL, 'one'), (NULL, 'two');
         CREATE TABLE loose (word text); INSERT INTO loose VALUES ('same'), ('same'), ('other');
         CREATE VIEW v AS SELECT c FROM pair; CREATE SEQUENCE s; CREATE TABLE `odd.name``` (`a b` int PRIMARY KEY)",
    )
    .await;
    let read = read(&database, json!({})).await;
    let object = |name: &str| format!("{}.{name}", database.name);
    assert_eq!(read.keys(&object("pair")), [r#"["X",{"hex":"00FF"}]"#, r#"["x",{"hex":"00FF"}]"#]);
    assert_eq!(read.keys(&object("u")), [r#"["one"]"#, r#"["two"]"#]);
    assert_eq!((read.keys(&object("loose")).len(), read.keys(&object("v")).len()), (3, 2));
    let names: Vec<_> = read.objects.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["loose", "\"odd.name`\"", "pair", "u", "v"].map(object));
    assert_eq!(read.complete[&object("loose")], Some(3));
}

#[tokio::test]
async fn the_config_chooses_what_is_read() {
    let database = database(
        "CREATE TABLE people (id int PRIMARY KEY, name text, secret text);
         INSERT INTO people VALUES (1, 'Ada', 'x'), (2, 'Bob', 'y'), (3, 'Cyd', 'z');
         CREATE TABLE people_log (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY)",
    )
    .await;
    let config = json!({
        "databases": [database.name], "tables": ["*.people*"], "excludeTables": ["*.*_log"],
        "excludeColumns": ["*.*.secret"], "rowLimit": 2, "titleTemplate": "{{ name }}!",
        "tableOptions": [{"table": "*.people", "urlTemplate": "https://example.com/{{ id }}"}],
    });
    let read = read(&database, config.clone()).await;
    let object = format!("{}.people", database.name);
    assert_eq!(read.keys(&object), ["[1]", "[2]"]);
    assert_eq!(read.objects.len(), 1);
    let document = read.document(&object, "[1]");
    assert_eq!((document.title.as_str(), document.url.as_deref()), ("Ada!", Some("https://example.com/1")));
    assert!(!document.metadata.contains_key("secret"));
    let session = open(&database, config);
    let page = ObjectPage { after: None, limit: 10 };
    let top = session.discover(None, page).await.unwrap();
    assert_eq!(top.iter().map(|object| object.path.as_str()).collect::<Vec<_>>(), [database.name.as_str()]);
    let tables = session.discover(Some(&database.name), page).await.unwrap();
    let selected: Vec<_> = tables.iter().filter(|table| table.selected).map(|table| table.path.clone()).collect();
    assert_eq!((tables.len(), selected), (3, vec![object]));
}

#[tokio::test]
async fn rows_that_are_too_large_fail_alone() {
    let database = database(
        "CREATE TABLE t (id int PRIMARY KEY, body longtext);
         INSERT INTO t VALUES (1, 'small'), (2, REPEAT('x', 8000000)), (3, REPEAT('ö', 3000000)), (4, REPEAT('ö', 3800000))",
    )
    .await;
    let read = read(&database, json!({})).await;
    let object = format!("{}.t", database.name);
    assert_eq!(read.keys(&object), ["[1]", "[3]"]);
    let failed: Vec<_> = read.failed_records.iter().map(|((_, key), code)| (key.as_str(), *code)).collect();
    assert_eq!(failed, [("[2]", "too_large"), ("[4]", "too_large")]);
    assert_eq!(read.complete[&object], Some(4));
}

#[tokio::test]
async fn all_objects_are_of_one_snapshot_and_a_table_that_changes_shape_fails_alone() {
    let database = database(
        "CREATE TABLE a (id int PRIMARY KEY, body text); INSERT INTO a SELECT seq, REPEAT('x', 1000) FROM seq_1_to_9000;
         CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1);
         CREATE TABLE c (id int PRIMARY KEY); INSERT INTO c VALUES (1)",
    )
    .await;
    let session = open(&database, json!({}));
    let (output, mut messages) = Output::channel(1);
    let reader = session.clone();
    let reading = tokio::spawn(async move { reader.read(ReadRequest::default(), output).await });
    let (mut of_b, mut failed, mut changed) = (0, Vec::new(), false);
    while let Some(message) = messages.recv().await {
        match message {
            Message::Batch(batch) if batch.object.ends_with(".a") && !changed => {
                changed = true;
                database
                    .run("INSERT INTO b VALUES (2); DELETE FROM a; ALTER TABLE c ADD COLUMN more int, ALGORITHM=COPY")
                    .await;
            }
            Message::Batch(batch) if batch.object.ends_with(".b") => of_b += batch.records.len(),
            Message::Complete { object, counted, .. } if object.ends_with(".a") => assert_eq!(counted, Some(9_000)),
            Message::Failed { object, code, .. } => failed.push((object.to_string(), code)),
            _ => {}
        }
    }
    reading.await.unwrap().unwrap();
    assert_eq!(of_b, 1, "the second row is younger than the snapshot");
    assert_eq!(failed, [(format!("{}.c", database.name), "object_changed")]);
}

#[tokio::test]
async fn a_right_that_is_missing_costs_one_object() {
    let database = Database::create().await;
    database
        .run(&format!(
            "CREATE TABLE a (id int PRIMARY KEY, secret text); CREATE TABLE b (id int PRIMARY KEY);
             INSERT INTO a VALUES (1, 'x'); GRANT SELECT (id) ON {0}.a TO {1}@'%'; GRANT INSERT ON {0}.b TO {1}@'%'",
            database.name, database.reader
        ))
        .await;
    let read = read(&database, json!({"tables": [format!("{}.*", database.name)]})).await;
    let object = format!("{}.a", database.name);
    assert_eq!(read.keys(&object), ["[1]"]);
    assert!(!read.document(&object, "[1]").metadata.contains_key("secret"));
    assert_eq!(read.failed[&format!("{}.b", database.name)], "permission_missing");
    // What is named and hidden is not gone.
    let hidden = format!("{}.hidden", database.name);
    let read = pass(&open(&database, json!({"tables": [&hidden]})), ReadRequest::default()).await;
    assert_eq!(read.failed[&hidden], "permission_missing");
}

#[tokio::test]
async fn nobody_can_write_over_a_session() {
    let database = database("CREATE TABLE t (id int PRIMARY KEY)").await;
    database.run("SET GLOBAL log_bin_trust_function_creators = 1").await;
    let mut client = database.connect().await;
    client.query_drop("CREATE FUNCTION f() RETURNS int BEGIN INSERT INTO t VALUES (1); RETURN 1; END").await.unwrap();
    database.run("CREATE VIEW v AS SELECT f() AS n").await;
    let read = read(&database, json!({})).await;
    assert!(read.failed.contains_key(&format!("{}.v", database.name)), "{:?}", read.failed);
    let rows: Option<u64> = client.query_first("SELECT COUNT(*) FROM t").await.unwrap();
    assert_eq!(rows, Some(0));
}

#[tokio::test]
async fn tls_is_verified_and_never_given_up() {
    let database = database("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let check = async |host: &str, config: Value| {
        let mut report = Report::default();
        let outcome = open_at(&database, host, config).check(&mut report).await;
        let failed = report.stages.iter().find(|stage| stage.outcome == Outcome::Failed);
        let failed = failed.map(|stage| (stage.kind, stage.code.unwrap_or_default()));
        assert_eq!(outcome.is_err(), failed.is_some(), "{report:?}");
        failed
    };
    for mode in ["require", "verify-full"] {
        assert_eq!(check("localhost", json!({"sslMode": mode, "rootCertificate": root()})).await, None, "{mode}");
        let refused = Some((StageKind::Tls, "tls_failed"));
        assert_eq!(check("localhost", json!({"sslMode": mode})).await, refused, "{mode}: an unknown authority");
    }
    let by_address = |mode: &str| check("127.0.0.1", json!({"sslMode": mode, "rootCertificate": root()}));
    assert_eq!(by_address("require").await, None);
    assert_eq!(by_address("verify-full").await, Some((StageKind::Tls, "tls_failed")), "another name");
    database.run(&format!("ALTER USER {}@'%' REQUIRE SSL", database.reader)).await;
    assert_eq!(by_address("require").await, None);
    assert_eq!(check("127.0.0.1", json!({})).await, Some((StageKind::Login, "login_refused")));
}

#[tokio::test]
async fn a_method_of_login_that_is_not_known_is_refused() {
    let database = database("CREATE TABLE t (id int PRIMARY KEY); INSTALL SONAME 'auth_ed25519'").await;
    let account = format!("ALTER USER {}@'%' IDENTIFIED VIA ed25519 USING PASSWORD('{PASSWORD}')", database.reader);
    database.run(&account).await;
    let mut report = Report::default();
    open(&database, json!({})).check(&mut report).await.unwrap_err();
    assert_eq!(report.first_failure().and_then(|stage| stage.code), Some("login_refused"), "{report:?}");
}
