//! A database that is followed, and what is asked of it.

use std::ops::Deref;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::connected::Connected;
pub use super::connected::{PATIENT, PROMPT};
use crate::support::postgres::{Database, OwnCluster};

/// What a followed server needs.
pub const LOGICAL: &str =
    "-c wal_level=logical -c max_replication_slots=4 -c max_wal_senders=6 -c max_prepared_transactions=4";
/// A server, a collection and a connection that follows a database.
pub struct Fixture {
    pub cluster: OwnCluster,
    pub database: Database,
    pub client: tokio_postgres::Client,
    pub connected: Connected,
}

impl Deref for Fixture {
    type Target = Connected;

    fn deref(&self) -> &Connected {
        &self.connected
    }
}

impl Fixture {
    /// Makes all of it, without following yet.
    pub async fn new(statements: &str, config: Value) -> Self {
        Self::on(OwnCluster::start_with(LOGICAL), statements, config).await
    }

    /// The same on a cluster.
    pub async fn on(cluster: OwnCluster, statements: &str, config: Value) -> Self {
        let database = cluster.database().await;
        let client = database.connect().await;
        client.batch_execute(statements).await.expect("the statements are right");
        let connected = Connected::new(async |server, collection| {
            server.postgres_connection(collection, &database, config.clone()).await
        });
        Self { cluster, client, connected: connected.await, database }
    }

    /// Makes all of it, and waits until changes are followed.
    pub async fn followed(statements: &str) -> Self {
        let fixture = Self::new(statements, json!({})).await;
        fixture.follow().await;
        fixture.until_followed().await;
        fixture
    }

    pub async fn execute(&self, statements: &str) {
        self.client.batch_execute(statements).await.expect("the statements are right");
    }

    /// The rows of these tables, as the index should have them.
    async fn source(&self, tables: &[&str]) -> Vec<Value> {
        let mut source = Vec::new();
        for table in tables {
            for row in self.client.query(&format!("SELECT to_jsonb(t)::text FROM {table} t"), &[]).await.unwrap() {
                // Both are ways to write the same moment.
                let row: String = row.get(0);
                source.push(serde_json::from_str(&row.replace("+00:00\"", "Z\"")).unwrap());
            }
        }
        source
    }

    /// Waits until the index is exactly what the tables are; answers how long
    /// that took.
    pub async fn until_exact(&self, tables: &[&str], within: Duration) -> Duration {
        self.until_same(async || self.source(tables).await, within).await
    }

    /// Names of slots and publications of ours at the source.
    pub async fn at_the_source(&self) -> Vec<String> {
        let ours = "SELECT slot_name::text FROM pg_replication_slots WHERE slot_name LIKE 'tributary%' \
            UNION ALL SELECT pubname::text FROM pg_publication WHERE pubname LIKE 'tributary%'";
        self.client.query(ours, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// Waits until so many of them are there.
    pub async fn until_at_the_source(&self, count: usize) {
        let deadline = Instant::now() + PATIENT;
        loop {
            let found = self.at_the_source().await;
            if found.len() == count {
                return;
            }
            assert!(Instant::now() < deadline, "{found:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
