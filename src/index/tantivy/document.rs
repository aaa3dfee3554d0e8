//! Records to documents, and back to items.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tantivy::schema::{TantivyDocument, Term, Value as _};

use crate::ids::ConnectionId;
use crate::index::tantivy::chunk::chunks;
use crate::index::tantivy::facts::Facts;
use crate::index::tantivy::indexed::{Chunk, Record};
use crate::index::tantivy::schema::Fields;
use crate::index::{IndexError, Item, Target};
use crate::record::{Document, Entry, Key};

/// What the head keeps for display.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stored<'a> {
    pub(crate) connection: Cow<'a, str>,
    pub(crate) source: Cow<'a, str>,
    pub(crate) object: Cow<'a, str>,
    pub(crate) source_key: Cow<'a, str>,
    pub(crate) kind: Cow<'a, str>,
    pub(crate) title: Cow<'a, str>,
    pub(crate) url: Option<Cow<'a, str>>,
    pub(crate) metadata: Cow<'a, Map<String, Value>>,
    pub(crate) created_at: Option<i64>,
    pub(crate) updated_at: Option<i64>,
}

/// The key that a public id names.
pub(crate) fn key_of(id: &str) -> Option<Key> {
    let digits = id.strip_prefix(Item::ID_PREFIX)?;
    let is_canonical = digits.len() == 32 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_canonical.then(|| u128::from_str_radix(digits, 16).ok().map(Key)).flatten()
}

/// The term that all chunks of a record carry.
pub(crate) fn record_term(fields: &Fields, key: Key) -> Term {
    Term::from_field_bytes(fields.record, &key.0.to_be_bytes())
}

/// What heads of a connection's objects start with.
pub(crate) fn head_prefix(connection: &ConnectionId) -> String {
    format!("{connection}\0")
}

/// High and low half.
pub(crate) fn halves(number: u128) -> [u64; 2] {
    [(number >> 64) as u64, number as u64]
}

/// The number of two halves.
pub(crate) fn whole([high, low]: [u64; 2]) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

/// The documents of a record, its head first.
pub(crate) fn documents(fields: &Fields, target: &Target, entry: Entry) -> Result<Vec<Chunk>, IndexError> {
    let facts = facts(target, &entry);
    let stored = stored(target, &entry)?;
    let Entry { key, fingerprint, object, source_key: _, document } = entry;
    let Document { title, body, kind, url: _, created_at: _, updated_at: _, metadata: _ } = document;
    let record = Arc::new(Record {
        fields: *fields,
        key: key.0.to_be_bytes(),
        key_halves: halves(key.0),
        fingerprint: halves(fingerprint.0),
        connection: target.connection.as_str().to_owned(),
        head: format!("{}{object}", head_prefix(&target.connection)),
        kind,
        title,
        body,
        facts,
        stored,
    });
    let mut end = 0;
    let chunk = |(number, text): (usize, &str)| {
        let start = end;
        end += text.len();
        Chunk { record: Arc::clone(&record), number: number as u64, body: start..end, place: None }
    };
    Ok(chunks(&record.body).into_iter().enumerate().map(chunk).collect())
}

fn facts(target: &Target, entry: &Entry) -> Facts {
    let Entry { object, document, .. } = entry;
    let mut facts = Facts::default();
    facts.text("source_short_name", &target.source);
    facts.text("source_connection_id", target.connection.as_str());
    facts.text("object", object);
    facts.text("type", &document.kind);
    facts.text("title", &document.title);
    if let Some(url) = &document.url {
        facts.text("url", url);
    }
    if let Some(created_at) = document.created_at {
        facts.timestamp("created_at", created_at);
    }
    if let Some(updated_at) = document.updated_at {
        facts.timestamp("updated_at", updated_at);
    }
    facts.members("metadata", &document.metadata);
    facts
}

fn stored(target: &Target, entry: &Entry) -> Result<String, IndexError> {
    let Entry { key: _, fingerprint: _, object, source_key, document } = entry;
    let Document { title, body: _, url, kind, created_at, updated_at, metadata } = document;
    let stored = Stored {
        connection: Cow::Borrowed(target.connection.as_str()),
        source: Cow::Borrowed(&target.source),
        object: Cow::Borrowed(object),
        source_key: Cow::Borrowed(source_key),
        kind: Cow::Borrowed(kind),
        title: Cow::Borrowed(title),
        url: url.as_deref().map(Cow::Borrowed),
        metadata: Cow::Borrowed(metadata),
        created_at: *created_at,
        updated_at: *updated_at,
    };
    serde_json::to_string(&stored).map_err(|error| IndexError::Failed(Box::new(error)))
}

/// The body of a chunk.
pub(crate) fn body(fields: &Fields, document: &TantivyDocument) -> String {
    document.get_first(fields.body).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What a head keeps; `None` if the document is no head that we wrote.
pub(crate) fn stored_of(fields: &Fields, head: &TantivyDocument) -> Option<Stored<'static>> {
    serde_json::from_str(head.get_first(fields.stored)?.as_str()?).ok()
}

/// The item of a head with the content given; `None` if the document is no head
/// that we wrote.
pub(crate) fn item(fields: &Fields, key: Key, head: &TantivyDocument, content: String) -> Option<Item> {
    let Stored { connection, source, object, source_key, kind, title, url, metadata, created_at, updated_at } =
        stored_of(fields, head)?;
    Some(Item {
        id: Item::id_of(key),
        connection: connection.parse().ok()?,
        source: source.into_owned(),
        object: object.into_owned(),
        source_key: source_key.into_owned(),
        kind: kind.into_owned(),
        title: title.into_owned(),
        url: url.map(Cow::into_owned),
        content,
        metadata: metadata.into_owned(),
        created_at,
        updated_at,
    })
}
