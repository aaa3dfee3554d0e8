//! The seam below which documents are kept and searched.

pub mod tantivy;

use std::collections::HashMap;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::filter::Filter;
use crate::ids::{CollectionId, ConnectionId};
use crate::record::{Change, Fingerprint, Key};

/// Where a connection's documents live.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Collection.
    pub collection: CollectionId,
    /// Connection.
    pub connection: ConnectionId,
    /// Source of the connection, stored with each document.
    pub source: String,
}

/// Why the index could not do it.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The query or filter cannot be read.
    #[error("{0}")]
    Query(String),
    /// The page token is not one of this list.
    #[error("page token is not valid here")]
    PageToken,
    /// No room left on the disk.
    #[error("storage is full")]
    StorageFull(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The index cannot be opened or is damaged.
    #[error("index of collection `{collection}` is damaged")]
    Damaged {
        /// Collection.
        collection: CollectionId,
        /// What was found.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Anything else.
    #[error("index failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What the index holds of one object of a connection.
pub type Manifest = HashMap<Key, Fingerprint>;

/// Something indexed. A record that is stored in chunks is one item.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// `itm_` and the key in hex: stable for a record.
    pub id: String,
    /// Connection that brought it.
    pub connection: ConnectionId,
    /// Source that it comes from.
    pub source: String,
    /// Object that it is in.
    pub object: String,
    /// Canonical key within the object.
    pub source_key: String,
    /// Kind: `row`, `file`.
    pub kind: String,
    /// Title.
    pub title: String,
    /// Address at the source.
    pub url: Option<String>,
    /// Text: whole, or in a hit the best chunk.
    pub content: String,
    /// Typed fields.
    pub metadata: Map<String, Value>,
    /// Microseconds since 1970 UTC.
    pub created_at: Option<i64>,
    /// Microseconds since 1970 UTC.
    pub updated_at: Option<i64>,
}

/// A search.
#[derive(Debug, Clone)]
pub struct Query {
    /// What to look for.
    pub text: String,
    /// What a result must fulfil besides.
    pub filter: Option<Filter>,
    /// First result wanted, from 0.
    pub offset: usize,
    /// Most results wanted.
    pub limit: usize,
    /// Least score wanted.
    pub min_score: Option<f64>,
}

/// One result.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The item, its content being the best chunk.
    pub item: Item,
    /// Higher is better; comparable within one answer.
    pub score: f64,
    /// Plain text around matches.
    pub snippets: Vec<String>,
}

/// Results, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Hits {
    /// The page.
    pub hits: Vec<Hit>,
    /// True when another page would have results.
    pub more: bool,
}

/// Which items to list.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Only of this connection.
    pub connection: Option<ConnectionId>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only after this item id.
    pub after: Option<String>,
    /// Most items wanted.
    pub limit: usize,
}

/// Keeps documents and finds them. One index a collection; its one writer is
/// shared by the connections that sync into it, so nothing is ever rolled back:
/// what a batch wrote stays pending until somebody's commit, and writing it
/// again changes nothing.
#[async_trait]
pub trait Index: Send + Sync + 'static {
    /// Key -> fingerprint of all that is committed for one object: the index is
    /// its own manifest, so the two cannot disagree after a crash.
    async fn manifest(&self, target: &Target, object: &str) -> Result<Manifest, IndexError>;

    /// The objects that a connection has documents of, with how many records.
    async fn objects(&self, target: &Target) -> Result<Vec<(String, u64)>, IndexError>;

    /// Applies changes. Idempotent: a key decides its document, so a batch
    /// applied twice leaves the same index. Not durable before `commit`.
    async fn apply(&self, target: &Target, changes: Vec<Change>) -> Result<(), IndexError>;

    /// All that was applied is durable and searchable from here on.
    async fn commit(&self, collection: &CollectionId) -> Result<(), IndexError>;

    /// Removes all that a connection has, durably; answers how many records.
    async fn clear(&self, collection: &CollectionId, connection: &ConnectionId) -> Result<u64, IndexError>;

    /// Removes all of a collection; answers how many records.
    async fn clear_collection(&self, collection: &CollectionId) -> Result<u64, IndexError>;

    /// Removes a collection's index itself.
    async fn drop_collection(&self, collection: &CollectionId) -> Result<(), IndexError>;

    /// Records (not chunks) of a collection, or of one connection in it.
    async fn count(&self, collection: &CollectionId, connection: Option<&ConnectionId>) -> Result<u64, IndexError>;

    /// Searches. A record is found once, by its best chunk.
    async fn search(&self, collection: &CollectionId, query: &Query) -> Result<Hits, IndexError>;

    /// One item, whole.
    async fn get(&self, collection: &CollectionId, id: &str) -> Result<Option<Item>, IndexError>;

    /// Items ordered by id, keyset paged by `Listing::after`; one more than
    /// `limit` is never returned.
    async fn list(&self, collection: &CollectionId, listing: &Listing) -> Result<Vec<Item>, IndexError>;

    /// Closes writers that nobody has used for a while.
    async fn close_idle(&self) -> Result<(), IndexError>;
}
