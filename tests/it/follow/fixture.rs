//! A database that is followed, and what is asked of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tributary::server::Options;
use tributary::syncs::follow::Pace;

use crate::support::postgres::{Database, OwnCluster};
use crate::support::server::Server;

/// What a followed server needs.
pub const LOGICAL: &str =
    "-c wal_level=logical -c max_replication_slots=4 -c max_wal_senders=6 -c max_prepared_transactions=4";
/// Longest from a commit to the index.
pub const PROMPT: Duration = Duration::from_secs(2);
/// Longest for what takes a sync and more.
pub const PATIENT: Duration = Duration::from_secs(60);

/// A server, a collection and a connection that follows a database.
pub struct Fixture {
    pub cluster: OwnCluster,
    pub database: Database,
    pub client: tokio_postgres::Client,
    pub server: Server,
    pub collection: String,
    pub connection: String,
}

/// Syncs of what cannot be followed come so soon that a test can wait for them.
fn options() -> Options {
    let pace = Pace {
        refresh: Duration::from_secs(3),
        untold: Duration::from_secs(1),
        retry: Duration::from_secs(1),
        ..Pace::default()
    };
    Options { pace, ..Options::default() }
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
        let server = Server::start_with_options(|_| {}, options).await;
        let collection = server.collection("Followed").await;
        let connection = server.postgres_connection(&collection, &database, config).await;
        Self { cluster, database, client, server, collection, connection }
    }

    /// Makes all of it, and waits until changes are followed.
    pub async fn followed(statements: &str) -> Self {
        let fixture = Self::new(statements, json!({})).await;
        fixture.follow().await;
        fixture.until_followed().await;
        fixture
    }

    pub fn path(&self, rest: &str) -> String {
        format!("/api/v1/source-connections/{}{rest}", self.connection)
    }

    /// Sets the schedule to continuous.
    pub async fn follow(&self) {
        self.server.put(&self.path("/schedule"), json!({"continuous": true})).await.ok();
    }

    pub async fn execute(&self, statements: &str) {
        self.client.batch_execute(statements).await.expect("the statements are right");
    }

    pub async fn message(&self) -> String {
        let body = self.server.get(&self.path("")).await.ok();
        body["sourceConnection"]["statusMessage"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the connection says something; answers all of it.
    pub async fn until_said(&self, words: &str) -> String {
        let deadline = Instant::now() + PATIENT;
        loop {
            let message = self.message().await;
            if message.contains(words) {
                return message;
            }
            assert!(Instant::now() < deadline, "`{words}` is not said: {message}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn until_followed(&self) {
        self.until_said("changes are followed").await;
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
        source.sort_by_key(members);
        source
    }

    async fn indexed(&self) -> Vec<Value> {
        let items = self.server.items(&self.collection).await;
        let mut indexed: Vec<Value> = items.iter().map(|item| item["metadata"].clone()).collect();
        indexed.sort_by_key(members);
        indexed
    }

    /// Waits until the index is exactly what the tables are; answers how long
    /// that took.
    pub async fn until_exact(&self, tables: &[&str], within: Duration) -> Duration {
        let began = Instant::now();
        loop {
            let (source, indexed) = (self.source(tables).await, self.indexed().await);
            if source == indexed {
                return began.elapsed();
            }
            if began.elapsed() > within {
                let lacking: Vec<_> = source.iter().filter(|row| !indexed.contains(row)).take(5).collect();
                let left: Vec<_> = indexed.iter().filter(|row| !source.contains(row)).take(5).collect();
                panic!(
                    "after {within:?}: {} rows, {} indexed; lacking {lacking:#?}, left over {left:#?}; {}",
                    source.len(),
                    indexed.len(),
                    self.message().await
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A sync that reads everything again finds nothing to do.
    pub async fn assert_untouched_by_a_full_sync(&self) {
        let run = self.server.post(&self.path("/run"), json!({"full": true})).await.ok();
        let sync = self.server.finished(run["syncId"].as_str().unwrap()).await;
        assert_eq!((&sync["status"], &sync["warnings"]), (&json!("succeeded"), &json!([])), "{sync:#}");
        assert_eq!(sync["progress"]["itemsUnchanged"], sync["progress"]["itemsRead"], "{sync:#}");
        assert_eq!(sync["progress"]["itemsDeleted"], "0", "{sync:#}");
    }

    /// How many syncs there were.
    pub async fn syncs(&self) -> usize {
        let path = format!("/api/v1/syncs?sourceConnectionId={}&pageSize=1000", self.connection);
        self.server.get(&path).await.ok()["syncs"].as_array().expect("syncs").len()
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

/// What a row has, in whatever order its columns are written.
fn members(row: &Value) -> Vec<String> {
    let row = row.as_object().expect("a row is an object");
    let mut members: Vec<String> = row.iter().map(|(name, value)| format!("{name}={value}")).collect();
    members.sort();
    members
}
