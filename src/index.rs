//! The seam below which documents are kept and searched.

pub mod manifest;
pub mod tantivy;

use std::collections::HashSet;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::filter::Filter;
use crate::ids::{CollectionId, ConnectionId};
use crate::index::manifest::{Digest, Manifest};
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
    /// Another pass of the connection has begun, or it was cleared: what was to
    /// be written belongs to the past.
    #[error("another pass of the connection has begun")]
    Superseded,
    /// Anything else.
    #[error("index failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The right to write for a connection, until somebody else begins to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Epoch(pub u64);

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

impl Item {
    /// What all items' ids start with.
    pub const ID_PREFIX: &'static str = "itm_";

    /// The id of a record's item.
    pub fn id_of(key: Key) -> String {
        format!("{}{key}", Self::ID_PREFIX)
    }
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
    /// Key -> fingerprint of all that the index has of one object: the index is
    /// its own manifest, so the two cannot disagree after a crash.
    async fn manifest(&self, target: &Target, object: &str) -> Result<Manifest, IndexError>;

    /// The digest of an object's manifest, in memory that does not grow with it.
    async fn digest(&self, target: &Target, object: &str) -> Result<Digest, IndexError>;

    /// The fingerprints of these records as they were committed, in the same order:
    /// for few of many, where a manifest would be read in vain.
    async fn fingerprints(&self, target: &Target, keys: Vec<Key>) -> Result<Vec<Option<Fingerprint>>, IndexError>;

    /// A connection begins to write: what was applied for it before and is not
    /// committed is committed first, so that the manifests know of it. Whoever
    /// wrote for the connection before cannot any more.
    async fn begin(&self, target: &Target) -> Result<Epoch, IndexError>;

    /// Who writes for a connection now; none is the default.
    async fn epoch(&self, target: &Target) -> Result<Epoch, IndexError>;

    /// As `begin`, but only while nobody has begun since `before`: whoever may
    /// write only when no sync does looks for syncs between the two calls.
    async fn begin_after(&self, target: &Target, before: Epoch) -> Result<Epoch, IndexError>;

    /// The objects that a connection has documents of, with how many records.
    async fn objects(&self, target: &Target) -> Result<Vec<(String, u64)>, IndexError>;

    /// Applies changes, in order; all of them or, where the epoch has passed,
    /// none. But for inserts it is idempotent: a key decides its document, so a
    /// batch applied twice leaves the same index. Not durable before `commit`.
    async fn apply(&self, target: &Target, epoch: Epoch, changes: Vec<Change>) -> Result<(), IndexError>;

    /// All that was applied is durable and searchable from here on.
    async fn commit(&self, collection: &CollectionId) -> Result<(), IndexError>;

    /// Removes all that a connection has, durably; answers how many records.
    /// Whoever wrote for the connection before cannot any more.
    async fn clear(&self, collection: &CollectionId, connection: &ConnectionId) -> Result<u64, IndexError>;

    /// Removes all of a collection; answers how many records.
    async fn clear_collection(&self, collection: &CollectionId) -> Result<u64, IndexError>;

    /// Notes that a collection's index is to go, so that [`retain`](Self::retain)
    /// removes it where its deletion is cut short. To be called before the
    /// collection is forgotten.
    async fn condemn(&self, collection: &CollectionId) -> Result<(), IndexError>;

    /// Removes a collection's index itself.
    async fn drop_collection(&self, collection: &CollectionId) -> Result<(), IndexError>;

    /// Removes what was to go and is not known any more: its deletion was cut short.
    /// What is merely unknown stays, since the store may be the wrong one. Nobody else
    /// may use the index meanwhile.
    async fn retain(&self, known: &HashSet<CollectionId>) -> Result<(), IndexError>;

    /// Records (not chunks) of a collection, or of one connection in it.
    async fn count(&self, collection: &CollectionId, connection: Option<&ConnectionId>) -> Result<u64, IndexError>;

    /// Searches. A record is found once, by its best chunk.
    async fn search(&self, collection: &CollectionId, query: &Query) -> Result<Hits, IndexError>;

    /// One item, whole.
    async fn get(&self, collection: &CollectionId, id: &str) -> Result<Option<Item>, IndexError>;

    /// Items ordered by id, keyset paged by `Listing::after`; one more than
    /// `limit` is never returned.
    async fn list(&self, collection: &CollectionId, listing: &Listing) -> Result<Vec<Item>, IndexError>;

    /// The collections whose index was found damaged and was set aside since the
    /// last call: syncs must fill a new one.
    async fn set_aside(&self) -> Result<Vec<CollectionId>, IndexError>;

    /// Does what was put off while an index was filled, and closes writers that
    /// nobody has used for a while. To be called every second or so.
    async fn tend(&self) -> Result<(), IndexError>;
}
