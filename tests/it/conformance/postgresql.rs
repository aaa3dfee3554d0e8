//! PostgreSQL, as the system has it.

use std::path::Path;

use async_trait::async_trait;
use serde_json::json;

use super::subject::{SECRET, Settings, Subject, Truth, Wrong};
use crate::support::postgres::Database;

const TABLES: [&str; 3] = ["customers", "orders", "products"];

/// A database of three tables, and a login that may only read.
pub struct Tables {
    database: Database,
    reader: String,
}

impl Tables {
    async fn run(&self, sql: &str) {
        self.database.connect().await.batch_execute(sql).await.expect("the statements run");
    }

    fn with(&self, port: Option<u16>, username: &str, password: &str, config: serde_json::Value) -> Settings {
        let credentials = json!({
            "host": "127.0.0.1", "port": port.unwrap_or(self.database.port), "database": self.database.name,
            "username": username, "password": password,
        });
        Settings { credentials, config }
    }
}

#[async_trait]
impl Subject for Tables {
    const SOURCE: &'static str = "postgresql";

    async fn start(_files: &Path) -> Self {
        let database = Database::create().await;
        // Logins are the cluster's, not the database's.
        let tables = Self { reader: format!("reader_of_{}", database.name), database };
        for table in TABLES {
            tables
                .run(&format!(
                    "CREATE TABLE {table} (id int PRIMARY KEY, name text, blob bytea);
                     INSERT INTO {table} SELECT id, '{table} number ' || id FROM generate_series(1, 6) AS id"
                ))
                .await;
        }
        let reader = &tables.reader;
        tables
            .run(&format!(
                "CREATE ROLE {reader} LOGIN PASSWORD '{SECRET}'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}"
            ))
            .await;
        tables
    }

    async fn version(&self) -> String {
        let client = self.database.connect().await;
        let row = client.query_one("SELECT 'PostgreSQL ' || current_setting('server_version')", &[]).await;
        row.expect("a row").get(0)
    }

    fn port(&self) -> Option<u16> {
        Some(self.database.port)
    }

    fn settings(&self, port: Option<u16>) -> Settings {
        self.with(port, &self.reader, SECRET, json!({}))
    }

    async fn wrong(&self) -> Vec<Wrong> {
        self.run("CREATE TABLE secrets (id int PRIMARY KEY)").await;
        vec![
            Wrong {
                what: "a wrong password",
                settings: self.with(None, &self.reader, "not-the-password", json!({})),
                stage: "login",
                code: "login_refused",
                error: (400, "invalid_credentials"),
            },
            Wrong {
                what: "a table without the right to read it",
                settings: self.with(None, &self.reader, SECRET, json!({"tables": ["public.secrets"]})),
                stage: "permission",
                code: "permission_missing",
                error: (403, "source_permission_denied"),
            },
        ]
    }

    async fn truth(&self) -> Truth {
        let client = self.database.connect().await;
        let mut truth = Truth::new();
        for table in TABLES {
            for row in client.query(&format!("SELECT id, name FROM {table}"), &[]).await.expect("rows") {
                let place = (format!("public.{table}"), format!("[{}]", row.get::<_, i32>(0)));
                truth.insert(place, row.get(1));
            }
        }
        truth
    }

    async fn insert(&self) {
        self.run("INSERT INTO customers VALUES (7, 'a new customer'); INSERT INTO orders VALUES (7, 'a new order')")
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
        self.run(&format!("INSERT INTO customers VALUES (100, 'large', decode(repeat('00', {bytes}), 'hex'))")).await;
        bytes
    }

    async fn break_listing(&self) -> bool {
        self.run(&format!("ALTER ROLE {} NOLOGIN", self.reader)).await;
        true
    }
}
