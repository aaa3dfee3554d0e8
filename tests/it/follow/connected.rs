//! A connection that is followed, whatever its source, and what is asked of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tributary::server::Options;
use tributary::syncs::follow::Pace;

use crate::support::server::Server;

/// Longest from a commit to the index.
pub const PROMPT: Duration = Duration::from_secs(2);
/// Longest for what takes a sync and more.
pub const PATIENT: Duration = Duration::from_secs(60);

/// A server, a collection and a connection.
pub struct Connected {
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

impl Connected {
    /// Starts a server with a collection; `connect` makes the connection in it.
    pub async fn new(connect: impl AsyncFn(&Server, &str) -> String) -> Self {
        let server = Server::start_with_options(|_| {}, options).await;
        let collection = server.collection("Followed").await;
        let connection = connect(&server, &collection).await;
        Self { server, collection, connection }
    }

    pub fn path(&self, rest: &str) -> String {
        format!("/api/v1/source-connections/{}{rest}", self.connection)
    }

    /// Sets the schedule to continuous.
    pub async fn follow(&self) {
        self.server.put(&self.path("/schedule"), json!({"continuous": true})).await.ok();
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

    /// Metadata of all items, in an order.
    pub async fn indexed(&self) -> Vec<Value> {
        let items = self.server.items(&self.collection).await;
        let mut indexed: Vec<Value> = items.iter().map(|item| item["metadata"].clone()).collect();
        indexed.sort_by_key(members);
        indexed
    }

    /// Waits until the index is exactly what the source is; answers how long that took.
    pub async fn until_same(&self, source: impl AsyncFn() -> Vec<Value>, within: Duration) -> Duration {
        let began = Instant::now();
        loop {
            let (mut source, indexed) = (source().await, self.indexed().await);
            source.sort_by_key(members);
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

    /// The stages of a test that are about following: code and hint.
    pub async fn stages(&self) -> Vec<(String, String)> {
        let body = self.server.post(&self.path("/test"), json!({})).await.ok();
        let stages = body["report"]["stages"].as_array().unwrap_or_else(|| panic!("{body:#}")).iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        stages
            .filter(|stage| stage["kind"] == "follow")
            .map(|stage| (text(&stage["code"]), text(&stage["hint"])))
            .collect()
    }

    /// How many items the collection has.
    pub async fn count(&self) -> String {
        let path = format!("/api/v1/collections/{}", self.collection);
        let body = self.server.get(&path).await.ok();
        body["collection"]["itemCount"].as_str().unwrap_or_else(|| panic!("{body:#}")).to_owned()
    }
}

/// What a row has, in whatever order its columns are written.
fn members(row: &Value) -> Vec<String> {
    let row = row.as_object().expect("a row is an object");
    let mut members: Vec<String> = row.iter().map(|(name, value)| format!("{name}={value}")).collect();
    members.sort();
    members
}
