//! MariaDB, as the system has it. MySQL itself is in no registry that the tests can
//! reach.

use std::path::Path;

use async_trait::async_trait;
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use super::subject::{SECRET, Settings, Subject, Truth, Wrong};
use crate::support::mariadb::Database;

const TABLES: [&str; 3] = ["customers", "orders", "products"];

/// A database of three tables, and a login that may only read them.
pub struct Tables {
    database: Database,
}

impl Tables {
    async fn run(&self, sql: &str) {
        self.database.run(sql).await;
    }

    fn with(&self, port: Option<u16>, password: &str, config: Value) -> Settings {
        let credentials = json!({
            "host": "127.0.0.1", "port": port.unwrap_or(self.database.port), "username": self.database.reader,
            "password": password,
        });
        Settings { credentials, config }
    }

    fn path(&self, table: &str) -> String {
        format!("{}.{table}", self.database.name)
    }
}

#[async_trait]
impl Subject for Tables {
    const SOURCE: &'static str = "mysql";

    async fn start(_files: &Path) -> Self {
        let tables = Self { database: Database::create().await };
        for table in TABLES {
            let (database, reader) = (&tables.database.name, &tables.database.reader);
            tables
                .run(&format!(
                    "CREATE TABLE {table} (id int PRIMARY KEY, name text, content longblob);
                     INSERT INTO {table} SELECT seq, concat('{table} number ', seq), NULL FROM seq_1_to_6;
                     GRANT SELECT ON {database}.{table} TO {reader}@'%'"
                ))
                .await;
        }
        tables
    }

    async fn version(&self) -> String {
        let mut client = self.database.connect().await;
        let version: Option<String> = client.query_first("SELECT VERSION()").await.expect("a row");
        version.expect("a version")
    }

    fn port(&self) -> Option<u16> {
        Some(self.database.port)
    }

    fn settings(&self, port: Option<u16>) -> Settings {
        self.with(port, SECRET, json!({}))
    }

    async fn wrong(&self) -> Vec<Wrong> {
        self.run("CREATE TABLE secrets (id int PRIMARY KEY)").await;
        vec![
            Wrong {
                what: "a wrong password",
                settings: self.with(None, "not-the-password", json!({})),
                stage: "login",
                code: "login_refused",
                error: (400, "invalid_credentials"),
            },
            Wrong {
                what: "a table without the right to read it",
                settings: self.with(None, SECRET, json!({"tables": [self.path("secrets")]})),
                stage: "permission",
                code: "permission_missing",
                error: (400, "source_permission_denied"),
            },
        ]
    }

    async fn truth(&self) -> Truth {
        let mut client = self.database.connect().await;
        let mut truth = Truth::new();
        for table in TABLES {
            let rows: Vec<(i64, String)> = client.query(format!("SELECT id, name FROM {table}")).await.expect("rows");
            truth.extend(rows.into_iter().map(|(id, name)| ((self.path(table), format!("[{id}]")), name)));
        }
        truth
    }

    async fn insert(&self) {
        self.run(
            "INSERT INTO customers VALUES (7, 'a new customer', NULL); INSERT INTO orders VALUES (7, 'a new order', NULL)",
        )
        .await;
    }

    async fn update(&self) {
        self.run(
            "UPDATE customers SET name = 'another customer' WHERE id = 1;
             UPDATE products SET name = 'another product' WHERE id = 2",
        )
        .await;
    }

    async fn delete_some(&self) {
        self.run("DELETE FROM customers WHERE id = 3; DELETE FROM orders WHERE id = 4").await;
    }

    async fn delete_all(&self) {
        self.run(&format!("DELETE FROM {}", TABLES.join("; DELETE FROM "))).await;
    }

    async fn insert_large(&self) -> u64 {
        let bytes = 100 << 20;
        self.run(&format!("INSERT INTO customers VALUES (100, 'large', REPEAT('x', {bytes}))")).await;
        bytes
    }

    async fn break_listing(&self) -> bool {
        self.run(&format!("ALTER USER {}@'%' ACCOUNT LOCK", self.database.reader)).await;
        true
    }
}
