//! A database of MariaDB that is followed, and what is asked of it.

use std::ops::Deref;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};

use crate::follow::connected::{Connected, PATIENT};
use crate::support::mariadb::Database;
use crate::support::postgres::PASSWORD;
use crate::support::server::id_of;

/// What a login needs beside reading, so that it can follow.
pub const RIGHTS: &str = "REPLICATION SLAVE, BINLOG MONITOR";

/// A database, a server, a collection and a connection that follows it.
pub struct Fixture {
    pub database: Database,
    pub connected: Connected,
}

impl Deref for Fixture {
    type Target = Connected;

    fn deref(&self) -> &Connected {
        &self.connected
    }
}

impl Fixture {
    /// Makes all of it, without following yet; the login may only read.
    pub async fn on(database: Database, statements: &str, config: Value) -> Self {
        database.grant().await;
        database.run(statements).await;
        let connected = Connected::new(async |server, collection| {
            let body = json!({
                "collectionId": collection, "sourceShortName": "mysql", "name": "Database", "config": config,
                "credentials": {
                    "host": "127.0.0.1", "port": database.port, "username": database.reader, "password": PASSWORD,
                },
            });
            id_of(&server.post("/api/v1/source-connections", body).await.ok()["sourceConnection"])
        });
        Self { connected: connected.await, database }
    }

    /// Makes all of it, and waits until changes are followed.
    pub async fn followed(statements: &str) -> Self {
        let fixture = Self::on(Database::create().await, statements, json!({})).await;
        fixture.allow().await;
        fixture.follow().await;
        fixture.until_followed().await;
        fixture
    }

    /// Gives the login what following needs.
    pub async fn allow(&self) {
        self.execute(&format!("GRANT {RIGHTS} ON *.* TO {}@'%'", self.database.reader)).await;
    }

    pub async fn execute(&self, statements: &str) {
        self.database.run(statements).await;
    }

    /// The rows of these tables, as the index should have them.
    async fn source(&self, client: &mut Conn, tables: &[&str]) -> Vec<Value> {
        let mut source = Vec::new();
        for table in tables {
            let names = format!(
                "SELECT GROUP_CONCAT(CONCAT('\\'', COLUMN_NAME, '\\', `', COLUMN_NAME, '`') SEPARATOR ', ') \
                 FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '{}' AND TABLE_NAME = '{table}'",
                self.database.name
            );
            let names: Option<String> = client.query_first(names).await.unwrap();
            let rows: Vec<String> =
                client.query(format!("SELECT JSON_OBJECT({}) FROM `{table}`", names.unwrap())).await.unwrap();
            source.extend(rows.iter().map(|row| serde_json::from_str::<Value>(row).unwrap()));
        }
        source
    }

    /// Waits until the index is exactly what the tables are; answers how long that took.
    pub async fn until_exact(&self, tables: &[&str]) -> Duration {
        let client = tokio::sync::Mutex::new(self.database.connect().await);
        self.until_same(async || self.source(&mut *client.lock().await, tables).await, PATIENT).await
    }

    /// Waits until the index has so many items, the rows of a table among them, and
    /// nothing comes any more.
    pub async fn until_exact_after(&self, items: i64, table: &str) {
        let mut client = self.database.connect().await;
        let rows = self.source(&mut client, &[table]).await;
        let deadline = std::time::Instant::now() + PATIENT;
        loop {
            let indexed = self.indexed().await;
            if indexed.len() as i64 == items && rows.iter().all(|row| indexed.contains(row)) {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{items} items, not {indexed:#?}; {}", self.message().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Removes all files of the log but the last.
    pub async fn purge(&self) {
        let mut client = self.database.connect().await;
        let deadline = std::time::Instant::now() + PATIENT;
        loop {
            let logs: Vec<(String, u64)> = client.query("SHOW BINARY LOGS").await.unwrap();
            if logs.len() == 1 {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{logs:?}");
            // What somebody still reads is not purged.
            self.end_sessions().await;
            let (last, _) = logs.last().unwrap();
            client.query_drop(format!("PURGE BINARY LOGS TO '{last}'")).await.unwrap();
        }
    }

    /// Ends the sessions of our login at the server.
    pub async fn end_sessions(&self) {
        self.execute(&format!("KILL USER {}@'%'", self.database.reader)).await;
    }
}
