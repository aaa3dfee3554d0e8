//! A SQLite file; there is no server but the disk.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rusqlite::Connection;
use serde_json::json;

use super::subject::{Settings, Subject, Truth, Wrong};

const TABLES: [&str; 3] = ["customers", "orders", "products"];

/// A database of three tables.
pub struct File {
    path: PathBuf,
}

impl File {
    fn run(&self, sql: &str) {
        let connection = Connection::open(&self.path).expect("the file opens");
        connection.execute_batch(sql).expect("the statements run");
    }

    fn with_path(path: &Path) -> Settings {
        Settings { credentials: json!({}), config: json!({"path": path}) }
    }
}

#[async_trait]
impl Subject for File {
    const SOURCE: &'static str = "sqlite";

    async fn start(files: &Path) -> Self {
        let file = Self { path: files.join("shop.db") };
        for table in TABLES {
            file.run(&format!("CREATE TABLE {table} (id INTEGER PRIMARY KEY, name TEXT, blob BLOB)"));
            for id in 1..=6 {
                file.run(&format!("INSERT INTO {table} (id, name) VALUES ({id}, '{table} number {id}')"));
            }
        }
        file
    }

    async fn version(&self) -> String {
        format!("SQLite {}", rusqlite::version())
    }

    fn port(&self) -> Option<u16> {
        None
    }

    fn settings(&self, _port: Option<u16>) -> Settings {
        Self::with_path(&self.path)
    }

    async fn wrong(&self) -> Vec<Wrong> {
        let text = self.path.with_file_name("text.db");
        std::fs::write(&text, "no database").expect("a file");
        vec![
            Wrong {
                what: "a file that is not there",
                settings: Self::with_path(&self.path.with_file_name("nothing.db")),
                stage: "connect",
                code: "not_found",
                error: (400, "validation_error"),
            },
            Wrong {
                what: "a file that is no database",
                settings: Self::with_path(&text),
                stage: "connect",
                code: "not_a_database",
                error: (400, "validation_error"),
            },
        ]
    }

    async fn truth(&self) -> Truth {
        let connection = Connection::open(&self.path).expect("the file opens");
        let mut truth = Truth::new();
        for table in TABLES {
            let mut rows = connection.prepare(&format!("SELECT id, name FROM {table}")).expect("the table");
            let rows = rows.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))).expect("rows");
            truth.extend(
                rows.map(|row| row.expect("a row")).map(|(id, name)| ((table.to_owned(), format!("[{id}]")), name)),
            );
        }
        truth
    }

    async fn insert(&self) {
        self.run(
            "INSERT INTO customers (id, name) VALUES (7, 'a new customer');
            INSERT INTO orders (id, name) VALUES (7, 'a new order')",
        );
    }

    async fn update(&self) {
        self.run(
            "UPDATE customers SET name = 'another customer' WHERE id = 1;
            UPDATE products SET name = 'another product' WHERE id = 2",
        );
    }

    async fn delete_some(&self) {
        self.run("DELETE FROM customers WHERE id = 3; DELETE FROM orders WHERE id = 4");
    }

    async fn delete_all(&self) {
        TABLES.iter().for_each(|table| self.run(&format!("DELETE FROM {table}")));
    }

    async fn insert_large(&self) -> u64 {
        let bytes = 100 << 20;
        self.run(&format!("INSERT INTO customers (id, name, blob) VALUES (100, 'large', zeroblob({bytes}))"));
        bytes
    }

    async fn break_listing(&self) -> bool {
        std::fs::rename(&self.path, self.path.with_extension("away")).expect("it moves");
        true
    }
}
