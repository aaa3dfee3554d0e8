//! A store in a SQLite file.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::{OLDER, Rows, Used, Variables, dies, lives};

const FILE: &str = "tributary.db";

/// Names of the tables that hold rows of ours, with their columns.
fn tables(store: &Connection) -> Vec<(String, String)> {
    let sql = "SELECT m.name, group_concat('\"' || c.name || '\"', ', ')
        FROM sqlite_master m, pragma_table_info(m.name) c
        WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'seaql_migrations' GROUP BY 1 ORDER BY 1";
    let mut statement = store.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// The rows of these columns.
fn rows(store: &Connection, tables: &[(String, String)]) -> Rows {
    let of_table = |(table, columns): &(String, String)| {
        let mut statement = store.prepare(&format!("SELECT {columns} FROM {table}")).unwrap();
        let count = statement.column_count();
        let values = statement
            .query_map([], |row| (0..count).map(|column| row.get::<_, Value>(column)).collect::<Result<Vec<_>, _>>())
            .unwrap();
        let mut lines: Vec<String> = values.map(|values| format!("{:?}", values.unwrap())).collect();
        lines.sort();
        (table.clone(), lines)
    };
    tables.iter().map(of_table).collect()
}

/// What the schema consists of, and which migrations it says to have had.
fn schema(path: &Path) -> Vec<String> {
    let store = Connection::open(path).unwrap();
    let sql = "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master
        UNION ALL SELECT version FROM seaql_migrations ORDER BY 1";
    let mut statement = store.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Makes of the store what the older build would have left: its schema, and of the
/// rows what it has columns for.
async fn age(data_dir: &Path) {
    let (path, new) = (data_dir.join(FILE), data_dir.join("new.db"));
    // Its last user brings everything into the file itself.
    Connection::open(&path).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    fs::rename(&path, &new).unwrap();
    let older = sea_orm::Database::connect(format!("sqlite://{}?mode=rwc", path.display())).await.unwrap();
    migrations::up_first(&older, OLDER).await.unwrap();
    older.close().await.unwrap();
    let older = Connection::open(&path).unwrap();
    older.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    older.execute("ATTACH ? AS new", [new.display().to_string()]).unwrap();
    for (table, columns) in tables(&older) {
        let copy = format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}");
        older.execute_batch(&copy).unwrap();
    }
    older.execute_batch("DETACH new; PRAGMA journal_mode = WAL").unwrap();
    drop(older);
    fs::remove_file(new).unwrap();
}

#[tokio::test]
async fn an_upgrade_of_a_sqlite_store_that_is_killed_at_any_step_keeps_every_row() {
    let folder = tempfile::tempdir().unwrap();
    let (data, none) = (folder.path().join("data"), Variables::new());
    let used = Used::with(&data, &none).await;
    let whole = schema(&data.join(FILE));
    age(&data).await;
    let (older, rows_before) = {
        let store = Connection::open(data.join(FILE)).unwrap();
        let older = tables(&store);
        let before = rows(&store, &older);
        (older, before)
    };
    let filled = rows_before.values().filter(|rows| !rows.is_empty()).count();
    assert!(filled >= 5, "{rows_before:?}");
    assert_ne!(schema(&data.join(FILE)), whole);

    let mut step = 1;
    loop {
        let here = folder.path().join(step.to_string());
        fs::create_dir(&here).unwrap();
        fs::copy(data.join(FILE), here.join(FILE)).unwrap();
        if !dies(&here, &none, step) {
            break;
        }
        // Where it begins again, too.
        assert!(dies(&here, &none, 1), "step {step} left nothing to do");
        lives(&here, &none);
        assert_eq!(schema(&here.join(FILE)), whole, "step {step}");
        assert_eq!(rows(&Connection::open(here.join(FILE)).unwrap(), &older), rows_before, "step {step}");
        step += 1;
    }
    assert!(step > 10, "{step}");
    // Always on, with the same one.
    for step in [9, 6, 4, 2, 1] {
        dies(&data, &none, step);
    }
    used.is_whole(&data, &none).await;
}
