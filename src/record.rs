//! What connectors yield and the index takes.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use crate::ids::ConnectionId;

/// Identity of a record: a 128-bit hash of connection, object and canonical
/// key, each length-prefixed so that no two triples write the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u128);

impl Key {
    /// The key of a record.
    pub fn of(connection: &ConnectionId, object: &str, source_key: &[u8]) -> Self {
        ObjectKeys::new(connection, object).key(source_key)
    }
}

/// Makes the keys of one object's records; what they share is written once.
#[derive(Debug, Clone)]
pub struct ObjectKeys {
    buffer: Vec<u8>,
    shared: usize,
}

impl ObjectKeys {
    /// For an object of a connection.
    pub fn new(connection: &ConnectionId, object: &str) -> Self {
        let mut buffer = Vec::new();
        for part in [connection.as_str(), object] {
            buffer.extend_from_slice(&(part.len() as u64).to_le_bytes());
            buffer.extend_from_slice(part.as_bytes());
        }
        Self { shared: buffer.len(), buffer }
    }

    /// The key of a record.
    pub fn key(&mut self, source_key: &[u8]) -> Key {
        self.buffer.truncate(self.shared);
        self.buffer.extend_from_slice(&(source_key.len() as u64).to_le_bytes());
        self.buffer.extend_from_slice(source_key);
        Key(xxh3_128(&self.buffer))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

/// What a record's content hashes to. Equal means unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fingerprint(pub u128);

impl Fingerprint {
    /// The fingerprint of raw content.
    pub fn of(content: &[u8]) -> Self {
        Self(xxh3_128(content))
    }

    /// The fingerprint of raw content whose meaning this decides: the same bytes
    /// under another salt are other content.
    pub fn of_salted(content: &[u8], salt: u64) -> Self {
        Self(xxh3_128_with_seed(content, salt))
    }

    /// Mixes in what else decides the document: a changed mapping re-indexes.
    pub fn salted(self, salt: u64) -> Self {
        Self(xxh3_128_with_seed(&self.0.to_le_bytes(), salt))
    }
}

/// One record as the source gave it. Decoded only when it is new or changed.
#[derive(Clone)]
pub struct RawRecord {
    /// Canonical key within the object: the JSON array of a row's primary key,
    /// a file's path.
    pub source_key: String,
    /// Hash of the raw content.
    pub fingerprint: Fingerprint,
    /// What `Connector::decode` needs.
    pub payload: Bytes,
}

/// Records of one object, in the order read.
pub struct Batch {
    /// Object that they are in.
    pub object: Arc<str>,
    /// The records.
    pub records: Vec<RawRecord>,
    /// Bytes that were read for them from the source.
    pub bytes_read: u64,
    /// Where a later attempt of the same sync may go on once these are in the
    /// index, if the connector can go on in the middle of an object.
    pub position: Option<Value>,
    /// What the connector needs to decode them (column types, ...).
    pub shape: Arc<dyn Any + Send + Sync>,
}

/// A searchable document: one record, whole. The index cuts long bodies.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document {
    /// Title or first line.
    pub title: String,
    /// Text to search.
    pub body: String,
    /// Address at the source.
    pub url: Option<String>,
    /// Kind as the source names it: `row`, `file`.
    pub kind: String,
    /// Creation time at the source, microseconds since 1970 UTC.
    pub created_at: Option<i64>,
    /// Change time at the source, microseconds since 1970 UTC.
    pub updated_at: Option<i64>,
    /// Typed fields for filters and display.
    pub metadata: Map<String, Value>,
}

/// A document with what the index keeps beside it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Identity.
    pub key: Key,
    /// Content hash: the index is its own manifest.
    pub fingerprint: Fingerprint,
    /// Object that it is in.
    pub object: Arc<str>,
    /// Canonical key within the object.
    pub source_key: String,
    /// The document.
    pub document: Document,
}

/// One change to the index.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "nearly all changes bring a document")]
pub enum Change {
    /// Put a document whose key the index does not have, neither committed nor
    /// pending: nothing has to be looked for and removed.
    Insert(Entry),
    /// Put the document in the place of whatever the key has.
    Upsert(Entry),
    /// Remove what the key has.
    Delete {
        /// Identity.
        key: Key,
    },
}
