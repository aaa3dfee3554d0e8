//! A store in a PostgreSQL.

use std::process::Command;

use serde_json::Value;
use tokio_postgres::Client;

use super::{OLDER, Rows, Used, Variables, dies, lives};
use crate::support::postgres::Database;

/// Names of the tables that hold rows of ours, with their columns, those first that
/// others refer to.
async fn tables(client: &Client) -> Vec<(String, String)> {
    let sql = "SELECT c.relname::text, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.relname <> 'seaql_migrations'
        GROUP BY c.oid, c.relname ORDER BY c.oid";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The rows of these columns.
async fn rows(client: &Client, tables: &[(String, String)]) -> Rows {
    let mut found = Rows::new();
    for (table, columns) in tables {
        let sql = format!("SELECT ROW({columns})::text FROM {table} ORDER BY 1");
        let lines = client.query(&sql, &[]).await.unwrap();
        found.insert(table.clone(), lines.iter().map(|line| line.get(0)).collect());
    }
    found
}

/// What the schema consists of, and which migrations it says to have had.
async fn schema(client: &Client) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', table_name, ordinal_position, column_name, data_type, collation_name,
                is_nullable, column_default) FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT conrelid::regclass::text || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
            WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT version FROM seaql_migrations ORDER BY 1";
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// What the older build would have left: its schema, and of the rows what it has
/// columns for.
async fn aged(store: &Database) -> Database {
    let older = Database::create().await;
    let connection = sea_orm::Database::connect(older.url()).await.unwrap();
    migrations::up_first(&connection, OLDER).await.unwrap();
    connection.close().await.unwrap();
    let (from, to) = (store.connect().await, older.connect().await);
    for (table, columns) in tables(&to).await {
        let sql = format!("SELECT coalesce(json_agg(t), '[]')::text FROM {table} t");
        let all: String = from.query_one(&sql, &[]).await.unwrap().get(0);
        let sql = format!(
            "INSERT INTO {table} ({columns})
                SELECT {columns} FROM json_populate_recordset(NULL::{table}, $1::text::json)"
        );
        to.execute(&sql, &[&all]).await.unwrap();
    }
    older
}

/// A copy of a database that nobody is connected to.
async fn copy(of: &Database, name: String) -> Database {
    let postgres = Database { port: of.port, name: "postgres".to_owned() }.connect().await;
    // Sessions of ours end a moment after their clients.
    let others = format!("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{}'", of.name);
    postgres.batch_execute(&others).await.unwrap();
    postgres.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {}", of.name)).await.unwrap();
    Database { port: of.port, name }
}

fn variables(database: &Database, key: &str) -> Variables {
    vec![("TRIBUTARY_DATABASE_URL", database.url()), ("TRIBUTARY_ENCRYPTION_KEY", key.to_owned())]
}

fn encryption_key() -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    let output = command.args(["keys", "encryption", "--json"]).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let file = said["keyFile"].as_str().unwrap();
    file.lines().rfind(|line| !line.starts_with('#')).expect("a key").to_owned()
}

#[tokio::test]
async fn an_upgrade_of_a_postgresql_store_that_is_killed_at_any_step_keeps_every_row() {
    let (folder, store, key) = (tempfile::tempdir().unwrap(), Database::create().await, encryption_key());
    let data = folder.path();
    let used = Used::with(data, &variables(&store, &key)).await;
    let whole = schema(&store.connect().await).await;
    let older = aged(&store).await;
    let (columns, before) = {
        let client = older.connect().await;
        let columns = tables(&client).await;
        let before = rows(&client, &columns).await;
        assert_ne!(schema(&client).await, whole);
        (columns, before)
    };
    assert!(before.values().filter(|rows| !rows.is_empty()).count() >= 5, "{before:?}");

    let mut step = 1;
    loop {
        let here = copy(&older, format!("{}_step_{step}", older.name)).await;
        let variables = variables(&here, &key);
        if !dies(data, &variables, step) {
            break;
        }
        // Where it begins again, too.
        assert!(dies(data, &variables, 1), "step {step} left nothing to do");
        lives(data, &variables);
        let client = here.connect().await;
        assert_eq!(schema(&client).await, whole, "step {step}");
        assert_eq!(rows(&client, &columns).await, before, "step {step}");
        step += 1;
    }
    assert!(step > 10, "{step}");
    // Always on, with the same one.
    let variables = variables(&older, &key);
    for step in [9, 6, 4, 2, 1] {
        dies(data, &variables, step);
    }
    used.is_whole(data, &variables).await;
}
