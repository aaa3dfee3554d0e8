//! The index against real folders. [`suite`] is what any index must do.

mod on_disk;
mod suite;

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::ids::CollectionId;
use crate::index::tantivy::TantivyIndex;
use crate::index::{Hits, Index, Listing, Query, Target};
use crate::record::{Change, Document, Entry, Fingerprint, Key};

fn target() -> Target {
    target_in("col_1", "sc_1")
}

fn target_in(collection: &str, connection: &str) -> Target {
    Target {
        collection: collection.parse().unwrap(),
        connection: connection.parse().unwrap(),
        source: "postgres".to_owned(),
    }
}

fn key(target: &Target, object: &str, source_key: &str) -> Key {
    Key::of(&target.connection, object, source_key.as_bytes())
}

fn id(target: &Target, object: &str, source_key: &str) -> String {
    format!("itm_{}", key(target, object, source_key))
}

fn document(title: &str, body: &str) -> Document {
    Document { title: title.to_owned(), body: body.to_owned(), kind: "row".to_owned(), ..Document::default() }
}

fn with_metadata(document: Document, metadata: Value) -> Document {
    let metadata: Map<String, Value> = serde_json::from_value(metadata).unwrap();
    Document { metadata, ..document }
}

fn put(target: &Target, object: &str, source_key: &str, document: Document) -> Change {
    Change::Upsert(entry(target, object, source_key, document))
}

fn entry(target: &Target, object: &str, source_key: &str, document: Document) -> Entry {
    Entry {
        key: key(target, object, source_key),
        fingerprint: fingerprint(&document),
        object: Arc::from(object),
        source_key: source_key.to_owned(),
        document,
    }
}

fn fingerprint(document: &Document) -> Fingerprint {
    Fingerprint::of(format!("{document:?}").as_bytes())
}

fn delete(target: &Target, object: &str, source_key: &str) -> Change {
    Change::Delete { key: key(target, object, source_key) }
}

/// Applies as a writer that has just begun.
async fn apply(index: &dyn Index, target: &Target, changes: Vec<Change>) {
    let epoch = index.begin(target).await.unwrap();
    index.apply(target, epoch, changes).await.unwrap();
}

async fn apply_and_commit(index: &dyn Index, target: &Target, changes: Vec<Change>) {
    apply(index, target, changes).await;
    index.commit(&target.collection).await.unwrap();
}

fn query(text: &str) -> Query {
    Query { text: text.to_owned(), filter: None, offset: 0, limit: 100, min_score: None }
}

fn filtered(text: &str, filter: &str) -> Query {
    Query { filter: Some(crate::filter::parse(filter).unwrap()), ..query(text) }
}

async fn search(index: &dyn Index, collection: &CollectionId, query: &Query) -> Hits {
    index.search(collection, query).await.unwrap()
}

/// Titles of what is found, in alphabetical order.
async fn titles(index: &dyn Index, collection: &CollectionId, query: &Query) -> Vec<String> {
    let mut titles: Vec<String> =
        search(index, collection, query).await.hits.into_iter().map(|hit| hit.item.title).collect();
    titles.sort();
    titles
}

fn everything() -> Listing {
    Listing { limit: 1000, ..Listing::default() }
}

fn open(folder: &tempfile::TempDir) -> TantivyIndex {
    TantivyIndex::open(folder.path()).unwrap()
}
