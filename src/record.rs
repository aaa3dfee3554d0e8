//! What connectors yield and the index takes.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::Xxh3;

use crate::ids::ConnectionId;

/// Identity of a record: a 128-bit hash of connection, object and canonical
/// key, each length-prefixed so that no two triples write the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u128);

impl Key {
    /// The key of a record.
    pub fn of(connection: &ConnectionId, object: &str, source_key: &[u8]) -> Self {
        let mut hasher = Xxh3::new();
        for part in [connection.as_str().as_bytes(), object.as_bytes(), source_key] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.digest128())
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
        Self(xxhash_rust::xxh3::xxh3_128(content))
    }

    /// Mixes in what else decides the document: a changed mapping re-indexes.
    pub fn salted(self, salt: u64) -> Self {
        let mut hasher = Xxh3::with_seed(salt);
        hasher.update(&self.0.to_le_bytes());
        Self(hasher.digest128())
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

/// One change to the index.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "nearly all changes are upserts")]
pub enum Change {
    /// Put the document in the place of whatever the key had.
    Upsert {
        /// Identity.
        key: Key,
        /// Content hash, kept beside the document: the index is its own manifest.
        fingerprint: Fingerprint,
        /// Object that it is in.
        object: Arc<str>,
        /// Canonical key within the object.
        source_key: String,
        /// The document.
        document: Document,
    },
    /// Remove what the key has.
    Delete {
        /// Identity.
        key: Key,
    },
}
