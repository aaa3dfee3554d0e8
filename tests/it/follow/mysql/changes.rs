//! What happens to rows and tables while they are followed.

use super::fixture::Fixture;
use crate::follow::connected::{PATIENT, PROMPT};

const ROWS: &str = "CREATE TABLE t (id int PRIMARY KEY, name text, n int);
    INSERT INTO t SELECT seq, concat('name ', seq), seq FROM seq_1_to_200;";

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_searchable_within_two_seconds_of_their_commit() {
    let fixture = Fixture::followed(ROWS).await;
    fixture.until_exact(&["t"]).await;
    let (mut took, syncs) = (Vec::new(), fixture.syncs().await);
    let changes = [
        "INSERT INTO t VALUES (9000, 'new', 1)",
        "UPDATE t SET name = 'other' WHERE id = 7",
        "UPDATE t SET name = 'many' WHERE id % 10 = 3",
        "DELETE FROM t WHERE id = 8",
        "UPDATE t SET id = -id WHERE id BETWEEN 20 AND 30",
        "BEGIN; DELETE FROM t WHERE id = 40; INSERT INTO t VALUES (40, 'back', 40); COMMIT",
        "BEGIN; INSERT INTO t VALUES (9001, 'never', 1); ROLLBACK",
        "BEGIN; SAVEPOINT a; UPDATE t SET n = 0 WHERE id = 41; SAVEPOINT b; DELETE FROM t WHERE id = 42; \
            ROLLBACK TO b; COMMIT",
        "REPLACE INTO t VALUES (43, 'replaced', 1)",
        "DELETE FROM t WHERE id > 100",
        "INSERT INTO t SELECT seq, concat('name ', seq), seq FROM seq_10001_to_10800",
        "FLUSH BINARY LOGS",
        "UPDATE t SET name = 'in the next file' WHERE id = 1",
        "SET STATEMENT binlog_row_image = MINIMAL FOR UPDATE t SET n = -1 WHERE id = 2",
        "SET STATEMENT binlog_row_image = MINIMAL FOR UPDATE t SET id = 3000 WHERE id = 4",
    ];
    for change in changes {
        fixture.execute(change).await;
        took.push(fixture.until_exact(&["t"]).await);
    }
    // A machine that is busy with something else may be late now and then.
    took.sort_unstable();
    assert!(took[took.len() / 2] < PROMPT, "{took:?}");
    assert_eq!(fixture.syncs().await, syncs, "no sync was needed");
    fixture.assert_untouched_by_a_full_sync().await;
    fixture.until_followed().await;
    fixture.execute("UPDATE t SET name = 'after a sync' WHERE id = 11").await;
    fixture.until_exact(&["t"]).await;
    // An emptied table is emptied without the brake.
    fixture.execute("TRUNCATE TABLE t; INSERT INTO t VALUES (1, 'the first again', 1)").await;
    fixture.until_exact(&["t"]).await;
    let body = fixture.server.get(&fixture.path("")).await.ok();
    assert!(body["sourceConnection"].get("deletionHold").is_none(), "{body:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_key_and_value_is_followed() {
    let statements = "
        CREATE TABLE numbers (a tinyint, b smallint unsigned, c mediumint, d bigint unsigned, y year, name text,
            PRIMARY KEY (a, b, c, d, y));
        CREATE TABLE texts (a varchar(300), b char(9) CHARACTER SET ascii, c varchar(20) CHARACTER SET utf8mb3,
            name text, PRIMARY KEY (b, c));
        CREATE TABLE letters (a varchar(64) COLLATE utf8mb4_general_ci PRIMARY KEY, name text);
        CREATE TABLE bits (a binary(16), b varbinary(20), name text, PRIMARY KEY (a, b));
        CREATE TABLE moments (a date, b datetime(3), c timestamp(6), d datetime, name text, PRIMARY KEY (a, b, c, d));
        CREATE TABLE `odd ``one``` (`the key` int unsigned zerofill NOT NULL, v decimal(12, 3), w bit(9), e enum('x', 'y'),
            s set('p', 'q'), f float, g double, j json, h longblob, i time(2), u uuid, p point, z char(200),
            o varchar(5000), k int AS (`the key` + 1) VIRTUAL, l int AS (`the key` + 2) STORED, UNIQUE (`the key`));
        CREATE TABLE parts (id int, at int, name text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)
            (PARTITION a VALUES LESS THAN (10), PARTITION b VALUES LESS THAN MAXVALUE);
        CREATE TABLE versions (id int PRIMARY KEY, name text) WITH SYSTEM VERSIONING";
    let fixture = Fixture::followed(statements).await;
    let syncs = fixture.syncs().await;
    let changes = [
        "INSERT INTO numbers VALUES (-128, 65535, -8388608, 18446744073709551615, 2024, 'a'), (1, 2, 3, 4, 0, 'b')",
        "UPDATE numbers SET b = b - 1, name = 'c'",
        "INSERT INTO texts VALUES ('', 'it''s', 'π', 'a'), ('x', '', '', 'b'), ('x', '\\\\\"', ' y ', 'c')",
        "UPDATE texts SET b = concat(b, 'x') WHERE c = 'π'; DELETE FROM texts WHERE b = ''",
        "INSERT INTO letters VALUES ('straße', 'a'), ('Ärger', 'b'), ('a b ', 'c')",
        "UPDATE letters SET a = 'ärger' WHERE a = 'Ärger'; UPDATE letters SET a = 'STRASSE' WHERE name = 'a'",
        "INSERT INTO bits VALUES (x'0102000000000000000000000000ff00', x'', 'a'), (x'00', x'00ff', 'b')",
        "UPDATE bits SET b = x'27' WHERE name = 'b'; DELETE FROM bits WHERE name = 'a'",
        "INSERT INTO moments VALUES ('2024-02-29', '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.000001', \
            '1000-01-01 00:00:00', 'a'), ('0000-00-00', '9999-12-31 23:59:59.999', 0, 0, 'b')",
        "UPDATE moments SET b = '2000-01-01 00:00:00.010' WHERE name = 'b'; DELETE FROM moments WHERE name = 'a'",
        "INSERT INTO `odd ``one``` (`the key`, v, w, e, s, f, g, j, h, i, u, p, z, o) VALUES (7, 1.5, 3, 'y', 'p,q', 0.1, \
            2.5, '{\"a\": [1]}', repeat('x', 70000), '-12:34:56.78', uuid(), point(1, 2), 'é', repeat('y', 300)), \
            (8, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
            (9, -1.5, 256, 'x', '', -1, -1, '[]', '', '00:00:00', uuid(), NULL, '', '')",
        "UPDATE `odd ``one``` SET `the key` = `the key` + 100 WHERE `the key` < 9; DELETE FROM `odd ``one``` WHERE `the key` = 9",
        "INSERT INTO parts VALUES (1, 1, 'a'), (2, 11, 'b'), (3, 5, 'c')",
        "UPDATE parts SET at = at + 10 WHERE at < 10; DELETE FROM parts WHERE id = 3",
        "INSERT INTO versions VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "UPDATE versions SET name = 'x' WHERE id = 1; DELETE FROM versions WHERE id = 2; UPDATE versions SET id = 9 WHERE id = 3",
    ];
    for change in changes {
        fixture.execute(&format!("SET sql_mode = ''; SET time_zone = '+00:00'; {change}")).await;
    }
    let counted = "SELECT (SELECT count(*) FROM numbers) + (SELECT count(*) FROM texts) + (SELECT count(*) FROM letters) \
        + (SELECT count(*) FROM bits) + (SELECT count(*) FROM moments) + (SELECT count(*) FROM `odd ``one```) \
        + (SELECT count(*) FROM parts) + (SELECT count(*) FROM versions)";
    let mut client = fixture.database.connect().await;
    let expected: Option<i64> = mysql_async::prelude::Queryable::query_first(&mut client, counted).await.unwrap();
    fixture.until_exact_after(expected.unwrap(), "versions").await;
    assert_eq!(fixture.syncs().await, syncs, "no sync was needed");
    fixture.assert_untouched_by_a_full_sync().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_does_not_tell_is_brought_by_syncs() {
    let statements = "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a'), (2, 'b');
        CREATE TABLE keyless (name text); INSERT INTO keyless VALUES ('x'), ('x');
        CREATE VIEW v AS SELECT id, upper(name) AS name FROM t;
        CREATE TABLE child (id int PRIMARY KEY, t int, name text,
            FOREIGN KEY (t) REFERENCES t (id) ON DELETE CASCADE ON UPDATE CASCADE);
        INSERT INTO child VALUES (1, 2, 'goes'), (2, 1, 'stays')";
    let fixture = Fixture::followed(statements).await;
    let tables = ["t", "keyless", "v", "child"];
    fixture.until_exact(&tables).await;
    let changes = [
        "INSERT INTO keyless VALUES ('x'), ('y'); UPDATE keyless SET name = 'z' WHERE name = 'y'",
        "UPDATE t SET name = 'seen through the view' WHERE id = 1",
        "UPDATE t SET id = 3 WHERE id = 1; DELETE FROM t WHERE id = 2",
        "ALTER TABLE t ADD COLUMN extra int DEFAULT 7",
        "UPDATE t SET extra = 8 WHERE id = 3; ALTER TABLE t RENAME COLUMN extra TO renamed",
        "CREATE TABLE other LIKE t; INSERT INTO other VALUES (9, 'swapped', 1); \
            RENAME TABLE child TO away, t TO old, other TO t, away TO child; DROP TABLE child; DROP TABLE old; \
            CREATE TABLE child (id int PRIMARY KEY)",
        "SET SESSION binlog_format = STATEMENT; INSERT INTO t VALUES (10, 'in words', 2)",
        "CREATE TABLE later (id int PRIMARY KEY, name text); INSERT INTO later VALUES (1, 'new table')",
    ];
    for change in changes {
        fixture.execute(change).await;
        fixture.until_exact(if change.starts_with("CREATE TABLE later") { &WITH_LATER } else { &tables }).await;
    }
    fixture.until_followed().await;
    let syncs = fixture.syncs().await;
    fixture.execute("INSERT INTO later VALUES (2, 'followed')").await;
    fixture.until_exact(&WITH_LATER).await;
    assert!(fixture.syncs().await <= syncs + 1);
    fixture.execute("DROP TABLE later").await;
    fixture.until_exact(&tables).await;
}

const WITH_LATER: [&str; 5] = ["t", "keyless", "v", "child", "later"];

/// Beyond what is told up to one place.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_any_size_is_followed() {
    let fixture = Fixture::followed(ROWS).await;
    let syncs = fixture.syncs().await;
    for (change, expected) in [
        ("INSERT INTO t SELECT seq, concat('name ', seq), seq FROM seq_1001_to_31000", "30200"),
        ("DELETE FROM t WHERE id > 200", "200"),
    ] {
        fixture.execute(change).await;
        let deadline = std::time::Instant::now() + PATIENT;
        while fixture.count().await != expected {
            assert!(std::time::Instant::now() < deadline, "{change}: {}", fixture.count().await);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    fixture.until_exact(&["t"]).await;
    assert_eq!(fixture.syncs().await, syncs, "no sync was needed");
}
