//! Records to documents, and back to items.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tantivy::schema::{TantivyDocument, Term, Value as _};

use crate::ids::ConnectionId;
use crate::index::tantivy::chunk::chunks;
use crate::index::tantivy::facts::Facts;
use crate::index::tantivy::schema::Fields;
use crate::index::{IndexError, Item, Target};
use crate::record::{Document, Fingerprint, Key};

/// What all items' ids start with.
const ITEM_PREFIX: &str = "itm_";

/// What the head keeps for display.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    connection: String,
    source: String,
    object: String,
    source_key: String,
    kind: String,
    title: String,
    url: Option<String>,
    metadata: Map<String, Value>,
    created_at: Option<i64>,
    updated_at: Option<i64>,
}

/// A record to index.
pub(crate) struct Record<'a> {
    pub(crate) target: &'a Target,
    pub(crate) key: Key,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) object: &'a str,
    pub(crate) source_key: String,
    pub(crate) document: Document,
}

/// The public id of a record.
pub(crate) fn item_id(key: Key) -> String {
    format!("{ITEM_PREFIX}{key}")
}

/// The key that a public id names.
pub(crate) fn key_of(id: &str) -> Option<Key> {
    let digits = id.strip_prefix(ITEM_PREFIX)?;
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
pub(crate) fn documents(fields: &Fields, record: Record<'_>) -> Result<Vec<TantivyDocument>, IndexError> {
    let facts = facts(&record);
    let mut documents: Vec<TantivyDocument> = chunks(&record.document.body)
        .into_iter()
        .enumerate()
        .map(|(number, body)| chunk(fields, &record, &facts, number as u64, body))
        .collect();
    let head = &mut documents[0];
    head.add_text(fields.head, format!("{}{}", head_prefix(&record.target.connection), record.object));
    for (field, half) in fields.fingerprint.into_iter().zip(halves(record.fingerprint.0)) {
        head.add_u64(field, half);
    }
    head.add_text(fields.stored, stored(record)?);
    Ok(documents)
}

fn chunk(fields: &Fields, record: &Record<'_>, facts: &Facts, number: u64, body: &str) -> TantivyDocument {
    let mut document = TantivyDocument::default();
    document.add_bytes(fields.record, &record.key.0.to_be_bytes());
    for (field, half) in fields.key.into_iter().zip(halves(record.key.0)) {
        document.add_u64(field, half);
    }
    document.add_u64(fields.chunk, number);
    document.add_text(fields.connection, record.target.connection.as_str());
    document.add_text(fields.kind, &record.document.kind);
    document.add_text(fields.title, &record.document.title);
    document.add_text(fields.title_stemmed, &record.document.title);
    document.add_text(fields.body, body);
    document.add_text(fields.body_stemmed, body);
    facts.terms().for_each(|term| document.add_bytes(fields.facts, term));
    document
}

fn facts(record: &Record<'_>) -> Facts {
    let Record { target, object, document, .. } = record;
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
    let mut path = vec!["metadata".to_owned()];
    for (key, value) in &document.metadata {
        path.push(key.clone());
        facts.value(&mut path, value);
        path.pop();
    }
    facts
}

fn stored(record: Record<'_>) -> Result<String, IndexError> {
    let Record { target, key: _, fingerprint: _, object, source_key, document } = record;
    let Document { title, body: _, url, kind, created_at, updated_at, metadata } = document;
    let stored = Stored {
        connection: target.connection.as_str().to_owned(),
        source: target.source.clone(),
        object: object.to_owned(),
        source_key,
        kind,
        title,
        url,
        metadata,
        created_at,
        updated_at,
    };
    serde_json::to_string(&stored).map_err(|error| IndexError::Failed(Box::new(error)))
}

/// The body of a chunk.
pub(crate) fn body(fields: &Fields, document: &TantivyDocument) -> String {
    document.get_first(fields.body).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The item of a head with the content given; `None` if the document is no head
/// that we wrote.
pub(crate) fn item(fields: &Fields, key: Key, head: &TantivyDocument, content: String) -> Option<Item> {
    let value = head.get_first(fields.stored)?;
    let stored: Stored = serde_json::from_str(value.as_str()?).ok()?;
    let Stored { connection, source, object, source_key, kind, title, url, metadata, created_at, updated_at } = stored;
    Some(Item {
        id: item_id(key),
        connection: connection.parse().ok()?,
        source,
        object,
        source_key,
        kind,
        title,
        url,
        content,
        metadata,
        created_at,
        updated_at,
    })
}
