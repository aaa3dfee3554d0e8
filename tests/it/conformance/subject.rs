//! What the suite asks of a real server.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use serde_json::Value;

/// Every secret that a subject gives its server and its settings: each server of
/// the tests is searched for it, in all its forms (`support::canary`).
pub const SECRET: &str = crate::support::postgres::PASSWORD;

/// Credentials and config of a connection.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `credentials`.
    pub credentials: Value,
    /// `config`.
    pub config: Value,
}

/// Settings that are wrong in one way, and what must be said of them.
#[derive(Debug)]
pub struct Wrong {
    /// In a word, for the test's output.
    pub what: &'static str,
    /// The settings.
    pub settings: Settings,
    /// Stage of the report that fails: `connect`, `login`, `permission`, `read`, ...
    pub stage: &'static str,
    /// Its code: `login_refused`, `permission_missing`, ...
    pub code: &'static str,
    /// Status and word of the error.
    pub error: (u16, &'static str),
}

/// What is there: a text of each item by object and key. The text must be found in
/// the item's title, content or metadata.
pub type Truth = BTreeMap<(String, String), String>;

/// A real server with items of its own, and what the suite may do with it.
#[async_trait]
pub trait Subject: Send + Sync + Sized + 'static {
    /// Short name of the source.
    const SOURCE: &'static str;

    /// Starts a server of its own on a free port, with at least three objects of at
    /// least five items each. A source of files may use the folder, which the
    /// service may read.
    async fn start(files: &Path) -> Self;

    /// Name and version as the server's program says it, for the table of results.
    async fn version(&self) -> String;

    /// Loopback port of the server; none if there is no network in between.
    fn port(&self) -> Option<u16>;

    /// Settings that read everything, over that port or the one given.
    fn settings(&self, port: Option<u16>) -> Settings;

    /// Wrong credentials, a wrong object, a missing right. A closed port is tried by
    /// the suite itself.
    async fn wrong(&self) -> Vec<Wrong>;

    /// What the server has now, by a plain client of it.
    async fn truth(&self) -> Truth;

    /// Adds at least two items to objects that exist.
    async fn insert(&self);

    /// Changes at least two items, each so that its text in `truth` is another.
    async fn update(&self);

    /// Removes at least two items, and leaves some in their object.
    async fn delete_some(&self);

    /// Removes all items.
    async fn delete_all(&self);

    /// Adds an item that is larger than the source takes whole, of 100 MiB or as
    /// much as the server allows. Answers its bytes.
    async fn insert_large(&self) -> u64;

    /// Makes the source unreadable in a way that a network does not: its listing
    /// fails, the right is taken away. True when it did; only cut connections are
    /// tried else.
    async fn break_listing(&self) -> bool {
        false
    }
}
