//! What a pass yields.

use serde_json::json;
use tributary::connectors::reading::ReadRequest;

use super::*;

const ZOO: &str = r#"
    CREATE EXTENSION IF NOT EXISTS hstore;
    CREATE TYPE mood AS ENUM ('calm', 'very happy');
    CREATE TYPE place AS (street text, number int);
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE DOMAIN moods AS mood[];
    CREATE TABLE zoo (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        small smallint, whole integer, big bigint, huge bigint, exact numeric(10,2), wide numeric, not_a_number numeric,
        single real, double double precision, endless double precision, cash money,
        yes boolean, words text, short varchar(20), padded char(5), tag name,
        uid uuid, day date, clock time, zoned_clock timetz, moment timestamp, zoned timestamptz, forever timestamptz,
        span interval, doc json, docb jsonb, raw bytea, raws bytea[],
        numbers int[], grid int[], texts text[], days date[], boxes box[], shifted int[], moods moods,
        range int4range, ranges int4multirange, feeling mood, count_of positive, home place,
        net inet, block cidr, mac macaddr, bits bit(3), varbits varbit, markup xml, search tsvector, spot point,
        pairs hstore, derived int GENERATED ALWAYS AS (2 * 21) STORED, nothing text
    );
    ALTER TABLE zoo ADD COLUMN gone int; ALTER TABLE zoo DROP COLUMN gone;
    INSERT INTO zoo (small, whole, big, huge, exact, wide, not_a_number, single, double, endless, cash, yes, words,
        short, padded, tag, uid, day, clock, zoned_clock, moment, zoned, forever, span, doc, docb, raw, raws, numbers,
        grid, texts, days, boxes, shifted, moods, range, ranges, feeling, count_of, home, net, block, mac, bits,
        varbits, markup, search, spot, pairs)
    VALUES (-32768, 2147483647, 9007199254740992, 9223372036854775807, 12.50, 123456789012345678.123, 'NaN', 1.1,
        0.1, '-Infinity', 1234.5, true, E'tab\there\nand \\ and ü', 'varying', 'ab', 'tag',
        '0F0E0D0C-0000-4000-8000-000000000001', '2024-02-29', '12:34:56.789', '12:34:56+02', '2024-02-29 01:02:03.5',
        '2024-02-29 01:02:03+02', 'infinity', '1 year 2 days 03:04:05', '{"a": [1, null]}',
        '{"big": 9007199254740993, "t": true}', '\x010203', ARRAY['\x01'::bytea, NULL], '{1,NULL,3}', '{{1,2},{3,4}}',
        ARRAY['a,b', NULL, 'NULL', '"q"', ''], ARRAY['2024-01-01'::date], ARRAY['((0,0),(1,1))'::box],
        '[0:1]={7,8}', '{calm,"very happy"}', '[1,5)', '{[1,2),[4,6)}', 'very happy', 7, ROW('High St', 5),
        '192.168.0.1/24', '10.0.0.0/8', '08:00:2b:01:02:03', B'101', B'1', '<a>b</a>', 'cat & dog', '(1,2)',
        'k => v');
"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_type_becomes_typed_metadata() {
    let pass = read(&database(ZOO).await, json!({})).await;
    let zoo = &pass.read["public.zoo"];
    assert_eq!((zoo.counted, zoo.complete, zoo.keys()), (Some(1), true, vec![r#"["1"]"#]));
    let document = zoo.only();
    let expected = r##"{
        "id": 1, "small": -32768, "whole": 2147483647, "big": 9007199254740992,
        "huge": "9223372036854775807", "exact": 12.5, "wide": "123456789012345678.123", "not_a_number": "NaN",
        "single": 1.1, "double": 0.1, "endless": "-Infinity", "cash": "$1,234.50", "yes": true,
        "words": "tab\there\nand \\ and ü", "short": "varying", "padded": "ab   ", "tag": "tag",
        "uid": "0f0e0d0c-0000-4000-8000-000000000001", "day": "2024-02-29", "clock": "12:34:56.789",
        "zoned_clock": "12:34:56+02", "moment": "2024-02-29T01:02:03.5", "zoned": "2024-02-28T23:02:03Z",
        "forever": "infinity", "span": "1 year 2 days 03:04:05", "doc": {"a": [1, null]},
        "docb": {"t": true, "big": "9007199254740993"}, "raw": {"bytes": 3}, "raws": [{"bytes": 1}, null],
        "numbers": [1, null, 3], "grid": [[1, 2], [3, 4]], "texts": ["a,b", null, "NULL", "\"q\"", ""],
        "days": ["2024-01-01"], "boxes": ["(1,1),(0,0)"], "shifted": [7, 8], "moods": ["calm", "very happy"],
        "range": "[1,5)", "ranges": "{[1,2),[4,6)}", "feeling": "very happy", "count_of": 7,
        "home": "(\"High St\",5)", "net": "192.168.0.1/24", "block": "10.0.0.0/8", "mac": "08:00:2b:01:02:03",
        "bits": "101", "varbits": "1", "markup": "<a>b</a>", "search": "'&' 'cat' 'dog'", "spot": "(1,2)",
        "pairs": "\"k\"=>\"v\"", "derived": 42, "nothing": null
    }"##;
    let expected: Value = serde_json::from_str(expected).unwrap();
    for (name, value) in object(expected.clone()) {
        assert_eq!(document.metadata.get(&name), Some(&value), "{name}");
    }
    assert_eq!(document.metadata.len(), object(expected).len());
    assert!(document.body.contains("whole: 2147483647\n") && document.body.contains("doc: {\"a\":[1,null]}"));
    assert!(!document.body.contains("nothing") && !document.body.contains("raw"), "{}", document.body);
    assert_eq!((document.kind.as_str(), document.title.as_str()), ("row", "tab\there"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_the_primary_key_a_unique_index_or_the_row() {
    let database = database(
        r#"
        CREATE TABLE composite (a int, b text, n int, PRIMARY KEY (b, a));
        INSERT INTO composite VALUES (1, 'x"y', 0), (2, 'x"y', 0);
        CREATE TABLE uniquely (a int NOT NULL, b int, c int NOT NULL, UNIQUE (b));
        CREATE UNIQUE INDEX ON uniquely (c) INCLUDE (a);
        INSERT INTO uniquely VALUES (1, NULL, 7);
        CREATE TABLE partially (a int NOT NULL); CREATE UNIQUE INDEX ON partially (a) WHERE a > 0;
        CREATE TABLE keyless (a int, b text); INSERT INTO keyless VALUES (1, 'x'), (1, 'x'), (2, NULL);
        CREATE TABLE columnless (); INSERT INTO columnless DEFAULT VALUES; INSERT INTO columnless DEFAULT VALUES;
        "#,
    )
    .await;
    let pass = read(&database, json!({})).await;
    assert_eq!(pass.read["public.composite"].keys(), [r#"["x\"y","1"]"#, r#"["x\"y","2"]"#]);
    assert_eq!(pass.read["public.uniquely"].keys(), [r#"["7"]"#]);
    assert_eq!(pass.read["public.columnless"].keys().len(), 2);
    let keyless = pass.read["public.keyless"].keys();
    assert_eq!(keyless.len(), 3);
    assert!(keyless.iter().all(|key| key.starts_with("[\"#") && key.len() == 39), "{keyless:?}");
    assert_eq!(keyless.iter().filter(|key| key.ends_with(",2]")).count(), 1);
    let again = read(&database, json!({})).await;
    assert_eq!(again.read["public.keyless"].fingerprints, pass.read["public.keyless"].fingerprints);
}

#[tokio::test(flavor = "multi_thread")]
async fn views_partitions_children_and_odd_names_are_read_once() {
    let database = database(
        r#"
        CREATE SCHEMA "Odd one";
        CREATE TABLE "Odd one"."a.b ""c""" ("Key" int PRIMARY KEY, "unit price" numeric);
        INSERT INTO "Odd one"."a.b ""c""" VALUES (1, 2.5);
        CREATE TABLE events (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
        CREATE TABLE events_a PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
        CREATE TABLE events_b PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
        INSERT INTO events VALUES (1, '2024-05-05'), (2, '2025-05-05');
        CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent);
        INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1);
        CREATE VIEW seen AS SELECT id, 'n' || id AS name FROM events;
        CREATE MATERIALIZED VIEW kept AS SELECT * FROM seen;
        CREATE TEMPORARY TABLE passing (id int);
        ANALYZE;
        "#,
    )
    .await;
    let pass = read(&database, json!({})).await;
    let listed: Vec<&str> = pass.objects.iter().map(|scope| &*scope.object).collect();
    assert_eq!(
        listed,
        [
            "\"Odd one\".\"a.b \"\"c\"\"\"",
            "public.child",
            "public.events",
            "public.kept",
            "public.parent",
            "public.seen"
        ]
    );
    for (object, read) in &pass.read {
        let rows = if matches!(object.as_str(), "public.events" | "public.seen" | "public.kept") { 2 } else { 1 };
        assert_eq!((read.documents.len(), read.complete), (rows, true), "{object}");
    }
    let events = pass.objects.iter().find(|scope| &*scope.object == "public.events").unwrap();
    assert_eq!(events.estimate, Some(2));
    assert_eq!((pass.read["public.seen"].counted, pass.read["public.events"].counted), (None, Some(2)));
    let odd = pass.read["\"Odd one\".\"a.b \"\"c\"\"\""].only();
    assert_eq!(odd.metadata["unit price"], json!(2.5));

    let some = read(&database, json!({"tables": ["\"Odd one\".*", "public.e*"], "excludeTables": ["*.events"]})).await;
    assert_eq!(some.objects.len(), 1);
    let none = read(&database, json!({"schemas": ["Odd*"], "tables": ["public.*"]})).await;
    assert_eq!(none.objects.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn left_out_columns_are_nowhere_and_a_left_out_key_is_hashed() {
    let database = database(
        "CREATE TABLE people (email text PRIMARY KEY, name text, secret text, raw bytea);
         INSERT INTO people VALUES ('ada@example.com', 'Ada', 'hush', '\\x01');",
    )
    .await;
    let config = json!({"excludeColumns": ["public.people.secret", "*.*.email"]});
    let pass = read(&database, config.clone()).await;
    let people = &pass.read["public.people"];
    let document = people.only();
    assert_eq!(document.metadata.keys().collect::<Vec<_>>(), ["name", "raw"]);
    let all = format!("{document:?} {:?}", people.keys());
    assert!(!all.contains("hush") && !all.contains("ada@"), "{all}");

    let client = database.connect().await;
    client.batch_execute("UPDATE people SET secret = 'more'").await.unwrap();
    assert_eq!(read(&database, config.clone()).await.read["public.people"].fingerprints, people.fingerprints);
    client.batch_execute("UPDATE people SET raw = '\\x02'").await.unwrap();
    let changed = read(&database, config.clone()).await;
    assert_eq!(changed.read["public.people"].keys(), people.keys());
    assert_ne!(changed.read["public.people"].fingerprints, people.fingerprints);
    client.batch_execute("ALTER TABLE people RENAME COLUMN name TO label").await.unwrap();
    let renamed = read(&database, config).await;
    assert_ne!(renamed.read["public.people"].fingerprints, changed.read["public.people"].fingerprints);
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_and_dates_make_the_document() {
    let database = database(
        "CREATE TABLE notes (id int PRIMARY KEY, kind text, name text, note text, created_at timestamptz, updated timestamp);
         INSERT INTO notes VALUES (7, 'k', 'Ada', NULL, '2024-01-01 00:00:00+00', '2024-01-02 00:00:00');",
    )
    .await;
    let plain = read(&database, json!({})).await;
    let document = plain.read["public.notes"].only();
    assert_eq!(document.title, "Ada");
    assert_eq!(document.created_at, Some(1_704_067_200_000_000));
    assert_eq!(document.updated_at, Some(1_704_153_600_000_000));
    let config = json!({
        "titleTemplate": "all", "urlTemplate": "https://example.com/{{ id }}",
        "tableOptions": [{"table": "public.n*", "titleTemplate": "{{ name }} #{{ id }}", "bodyTemplate": "[{{ note }}]"}],
    });
    let pass = read(&database, config).await;
    let document = pass.read["public.notes"].only();
    assert_eq!((document.title.as_str(), document.body.as_str()), ("Ada #7", "[]"));
    assert_eq!(document.url.as_deref(), Some("https://example.com/7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_samples_and_finished_objects_are_heeded() {
    let database = database(
        "CREATE TABLE many (id int PRIMARY KEY, pad text);
         INSERT INTO many SELECT n, repeat('x', 100) FROM generate_series(5000, 1, -1) n;
         CREATE TABLE few (doc json); INSERT INTO few VALUES ('1'), ('2'), ('3');",
    )
    .await;
    let all = read(&database, json!({})).await;
    assert_eq!((all.read["public.many"].documents.len(), all.read["public.many"].counted), (5000, Some(5000)));
    let limited = read(&database, json!({"rowLimit": 2})).await;
    assert_eq!(limited.read["public.many"].keys(), [r#"["1"]"#, r#"["2"]"#]);
    assert_eq!((limited.read["public.few"].documents.len(), limited.read["public.few"].counted), (2, None));

    let session = open(credentials(&database), json!({}));
    let sample = read_with(&session, ReadRequest { sample: Some(1), ..ReadRequest::default() }).await;
    assert!(sample.read.values().all(|read| read.documents.len() == 1 && read.complete));
    let request = ReadRequest { finished: vec!["public.many".to_owned()], ..ReadRequest::default() };
    let rest = read_with(&session, request).await;
    assert_eq!((rest.objects.len(), rest.read.len(), rest.read.contains_key("public.few")), (2, 1, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_fails_does_not_stop_the_others() {
    let database = database(
        "CREATE TABLE a_secret (id int); CREATE TABLE b_part (id int PRIMARY KEY, shown text, hidden text);
         CREATE VIEW c_broken AS SELECT 1 / (n - 2) AS value FROM generate_series(1, 3) n;
         CREATE TABLE d_last (id int PRIMARY KEY, name text);
         INSERT INTO b_part VALUES (1, 's', 'h'); INSERT INTO d_last VALUES (1, repeat('x', 17 << 20)), (2, 'fine');",
    )
    .await;
    let role = format!("reader_{}", database.name);
    let grants = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'pw'; GRANT SELECT ON c_broken, d_last TO {role};
         GRANT SELECT (id, shown) ON b_part TO {role};"
    );
    database.connect().await.batch_execute(&grants).await.unwrap();
    let mut login = credentials(&database);
    (login["username"], login["password"]) = (json!(role), json!("pw"));
    let pass = read_with(&open(login, json!({})), ReadRequest::default()).await;
    pass.outcome.expect("the pass goes to its end");
    assert_eq!(pass.objects.len(), 4);
    assert_eq!(pass.read["public.a_secret"].failed, Some("permission_missing"));
    assert_eq!(pass.read["public.b_part"].only().metadata.keys().collect::<Vec<_>>(), ["id", "shown"]);
    assert_eq!(pass.read["public.c_broken"].failed, Some("read_failed"));
    let last = &pass.read["public.d_last"];
    assert_eq!(
        (last.keys(), last.failed_records.as_slice(), last.complete),
        (vec![r#"["2"]"#], &["too_large"][..], true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_whose_listener_is_gone_stops() {
    let database = database("CREATE TABLE many AS SELECT n FROM generate_series(1, 200000) n").await;
    let (output, mut messages) = Output::channel(1);
    let session = open(credentials(&database), json!({}));
    let reader = tokio::spawn(async move { session.read(ReadRequest::default(), output).await });
    assert!(matches!(messages.recv().await, Some(Message::Objects(_))));
    drop(messages);
    assert!(matches!(reader.await.unwrap(), Err(ConnectorError::Stopped(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_object_is_interrupted_and_the_others_go_on() {
    let database = database(
        "CREATE VIEW a_slow AS SELECT pg_sleep(600)::text AS nothing;
         CREATE TABLE b_quick (id int PRIMARY KEY); INSERT INTO b_quick VALUES (1);",
    )
    .await;
    // The server holds back even the start of its answer until there is a row.
    let timeouts = Timeouts { first_byte: std::time::Duration::from_secs(5), ..Timeouts::default() };
    let session = open_with(credentials(&database), json!({}), timeouts);
    let pass = read_with(&session, ReadRequest::default()).await;
    pass.outcome.expect("the pass goes to its end");
    assert_eq!(pass.read["public.a_slow"].failed, Some("timed_out"));
    assert!(pass.read["public.b_quick"].complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_never_analysed_has_an_estimate_too() {
    let database = database("CREATE TABLE fresh AS SELECT n FROM generate_series(1, 10000) n").await;
    let pass = read(&database, json!({})).await;
    let estimate = pass.objects[0].estimate.expect("there is an estimate");
    assert!((1_000..100_000).contains(&estimate), "{estimate}");
}
