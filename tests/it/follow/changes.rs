//! What happens to rows and tables while they are followed.

use super::fixture::{Fixture, PATIENT, PROMPT};

const ROWS: &str = "CREATE TABLE t (id int PRIMARY KEY, name text, n int);
    INSERT INTO t SELECT n, 'name ' || n, n FROM generate_series(1, 200) n;";

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_searchable_within_two_seconds_of_their_commit() {
    let fixture = Fixture::followed(ROWS).await;
    fixture.until_exact(&["t"], PATIENT).await;
    let mut took = Vec::new();
    let syncs = fixture.syncs().await;
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
        "DELETE FROM t WHERE id > 100",
        "INSERT INTO t SELECT n, 'name ' || n, n FROM generate_series(10001, 10800) n",
    ];
    for change in changes {
        fixture.execute(change).await;
        took.push(fixture.until_exact(&["t"], PATIENT).await);
    }
    // A machine that is busy with something else may be late now and then.
    took.sort_unstable();
    assert!(took[took.len() / 2] < PROMPT, "{took:?}");
    assert_eq!(fixture.syncs().await, syncs, "no sync was needed");
    fixture.assert_untouched_by_a_full_sync().await;
    fixture.until_followed().await;
    fixture.execute("UPDATE t SET name = 'after a sync' WHERE id = 11").await;
    fixture.until_exact(&["t"], PATIENT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_key_and_value_is_followed() {
    let statements = r#"CREATE SCHEMA "Odd one";
        CREATE TYPE mood AS ENUM ('sad', 'happy');
        CREATE TABLE "Odd one"."the ""table""" ("a 'key" text, "Tab	" timestamptz, n numeric(12, 3), v bytea,
            mood mood, d double precision, PRIMARY KEY ("a 'key", "Tab	", n));
        CREATE TABLE toast (id uuid PRIMARY KEY, big text, small int, doubled int GENERATED ALWAYS AS (small * 2) STORED);
        ALTER TABLE toast ALTER big SET STORAGE EXTERNAL;
        CREATE TABLE whole (id int PRIMARY KEY, name text); ALTER TABLE whole REPLICA IDENTITY FULL;
        CREATE TABLE parts (id int, at int, name text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
        CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
        CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
        CREATE TABLE parent (id int PRIMARY KEY, name text);
        CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent);"#;
    let fixture = Fixture::followed(statements).await;
    let odd = r#""Odd one"."the ""table""""#;
    let tables = [odd, "toast", "whole", "parts", "ONLY parent", "child"];
    let syncs = fixture.syncs().await;
    let changes = [
        r#"INSERT INTO "Odd one"."the ""table""" VALUES
            (E'it''s \\ "this"	\n', '2024-02-03 04:05:06.789+02', 1.500, NULL, 'sad', 0.1),
            ('', '-infinity', -0.001, NULL, 'happy', 2.5), ('π', 'infinity', 0.5, NULL, NULL, 'NaN')"#,
        r#"UPDATE "Odd one"."the ""table""" SET mood = 'happy', n = n + 1"#,
        r#"DELETE FROM "Odd one"."the ""table""" WHERE n > 2"#,
        "INSERT INTO toast SELECT gen_random_uuid(), repeat(md5(n::text), 500), n FROM generate_series(1, 20) n",
        "UPDATE toast SET small = small + 100",
        "INSERT INTO whole SELECT n, 'w' FROM generate_series(1, 9) n",
        "UPDATE whole SET id = id + 100 WHERE id < 4; DELETE FROM whole WHERE id = 5",
        "INSERT INTO parts VALUES (1, 1, 'a'), (2, 11, 'b'), (3, 5, 'c')",
        "UPDATE parts SET at = at + 10 WHERE at < 10",
        "DELETE FROM parts WHERE id = 3",
        "INSERT INTO parent VALUES (1, 'p'); INSERT INTO child VALUES (1, 'c'), (2, 'c')",
        "UPDATE parent SET name = 'both'",
    ];
    for change in changes {
        fixture.execute(change).await;
        fixture.until_exact(&tables, PATIENT).await;
    }
    assert_eq!(fixture.syncs().await, syncs, "no sync was needed");
    fixture.assert_untouched_by_a_full_sync().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_open_for_long_is_seen_when_it_commits() {
    let fixture = Fixture::followed(ROWS).await;
    let early = fixture.database.connect().await;
    early.batch_execute("BEGIN; UPDATE t SET name = 'early' WHERE id < 50").await.unwrap();
    for number in 0..20 {
        fixture.execute(&format!("UPDATE t SET name = 'late {number}' WHERE id = {}", 100 + number)).await;
    }
    fixture.until_exact(&["t"], PATIENT).await;
    early.batch_execute("COMMIT").await.unwrap();
    fixture.until_exact(&["t"], PATIENT).await;
    fixture.execute("BEGIN; UPDATE t SET name = 'prepared' WHERE id < 9; PREPARE TRANSACTION 'p'").await;
    fixture.execute("DELETE FROM t WHERE id = 10").await;
    fixture.until_exact(&["t"], PATIENT).await;
    fixture.execute("COMMIT PREPARED 'p'").await;
    fixture.until_exact(&["t"], PATIENT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_table_is_emptied_without_the_brake() {
    let fixture = Fixture::followed(ROWS).await;
    fixture.execute("TRUNCATE t").await;
    fixture.until_exact(&["t"], PATIENT).await;
    fixture
        .execute("BEGIN; INSERT INTO t VALUES (1, 'a', 1); TRUNCATE t; INSERT INTO t VALUES (2, 'b', 2); COMMIT")
        .await;
    fixture.until_exact(&["t"], PATIENT).await;
    let body = fixture.server.get(&fixture.path("")).await.ok();
    assert!(body["sourceConnection"].get("deletionHold").is_none(), "{body:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_stream_cannot_tell_is_brought_by_syncs() {
    let statements = "CREATE TYPE mood AS ENUM ('sad', 'happy');
        CREATE TABLE t (id int PRIMARY KEY, name text, mood mood); INSERT INTO t VALUES (1, 'a', 'sad'), (2, 'b', 'happy');
        CREATE TABLE keyless (name text); INSERT INTO keyless VALUES ('x'), ('x');
        CREATE TABLE full_keyless (name text); ALTER TABLE full_keyless REPLICA IDENTITY FULL;
        CREATE VIEW v AS SELECT id, upper(name) AS name FROM t;";
    let fixture = Fixture::followed(statements).await;
    let tables = ["t", "keyless", "full_keyless", "v"];
    fixture.until_exact(&tables, PATIENT).await;
    let changes = [
        // Nobody may be kept from changing rows.
        "INSERT INTO keyless VALUES ('x'), ('y'); UPDATE keyless SET name = 'z' WHERE name = 'y'",
        "INSERT INTO full_keyless VALUES ('x'), ('x'); DELETE FROM full_keyless WHERE ctid = '(0,1)'",
        "UPDATE t SET name = 'seen through the view' WHERE id = 1",
        "ALTER TABLE t ADD COLUMN extra int DEFAULT 7",
        "UPDATE t SET extra = 8 WHERE id = 2",
        "ALTER TABLE t ALTER extra TYPE int USING extra + 1",
        "ALTER TABLE t RENAME COLUMN extra TO renamed",
        "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'",
        "ALTER TABLE t DROP COLUMN renamed",
        "CREATE TABLE later (id int PRIMARY KEY, name text); INSERT INTO later VALUES (1, 'new table')",
    ];
    for change in changes {
        fixture.execute(change).await;
        fixture.until_exact(if change.starts_with("CREATE") { &WITH_LATER } else { &tables }, PATIENT).await;
    }
    fixture.until_followed().await;
    fixture.execute("INSERT INTO later VALUES (2, 'followed')").await;
    fixture.until_exact(&WITH_LATER, PATIENT).await;
    fixture.execute("DROP TABLE later").await;
    fixture.until_exact(&tables, PATIENT).await;
}

const WITH_LATER: [&str; 5] = ["t", "keyless", "full_keyless", "v", "later"];

/// A commit that waits for a standby is in the log, and told, long before anybody
/// sees it: read at once, the row would be the old one, and never read again.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_waits_for_a_standby_is_taken_in_once_others_see_it() {
    let fixture = Fixture::followed(ROWS).await;
    let set = "ALTER SYSTEM SET synchronous_standby_names = 'nobody'";
    let reset = "ALTER SYSTEM RESET synchronous_standby_names";
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    fixture.execute(set).await;
    fixture.execute("SELECT pg_reload_conf()").await;
    until_shown(&fixture, "SHOW synchronous_standby_names", "nobody").await;
    let writer = fixture.database.connect().await;
    let writing =
        tokio::spawn(async move { writer.batch_execute("UPDATE t SET name = 'waits' WHERE id < 9").await.unwrap() });
    until_shown(&fixture, &format!("SELECT ({waiting})::text"), "1").await;
    // What the follower does meanwhile shows the server that it has been told.
    let confirmed =
        "SELECT coalesce(bool_and(sent_lsn >= pg_current_wal_flush_lsn()), false)::text FROM pg_stat_replication";
    until_shown(&fixture, confirmed, "true").await;
    fixture.until_exact(&["t"], PATIENT).await;
    fixture.execute(reset).await;
    fixture.execute("SELECT pg_reload_conf()").await;
    writing.await.unwrap();
    fixture.until_exact(&["t"], PATIENT).await;
}

async fn until_shown(fixture: &Fixture, question: &str, answer: &str) {
    let deadline = std::time::Instant::now() + PATIENT;
    loop {
        let shown: String = fixture.client.query_one(question, &[]).await.unwrap().get(0);
        if shown == answer {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{question}: {shown}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Beyond what is told up to one place.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_any_size_is_followed() {
    let fixture = Fixture::followed(ROWS).await;
    for (change, expected) in [
        ("INSERT INTO t SELECT n, 'name ' || n, n FROM generate_series(1001, 31000) n", "30200"),
        ("DELETE FROM t WHERE id > 200", "200"),
    ] {
        fixture.execute(change).await;
        let deadline = std::time::Instant::now() + PATIENT;
        while fixture.count().await != expected {
            assert!(std::time::Instant::now() < deadline, "{change}: {}", fixture.count().await);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    fixture.until_exact(&["t"], PATIENT).await;
}
