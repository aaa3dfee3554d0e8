//! What a record says of itself, where the columns do not tell.

use serde_json::Value;
use tantivy::schema::TantivyDocument;
use tantivy::store::StoreReader;
use tantivy::{DocId, Searcher, SegmentReader};

use crate::index::tantivy::document::{Stored, stored_of};
use crate::index::tantivy::read::{Wide, head};
use crate::index::tantivy::schema::{Fields, KEY};
use crate::record::Key;

/// Blocks of stored records that are kept unpacked.
const BLOCKS: usize = 8;

/// Reads the records of a segment's documents.
pub(super) struct Records<'a> {
    fields: &'a Fields,
    searcher: &'a Searcher,
    store: StoreReader,
    keys: Wide,
}

/// The fields of one record.
pub(super) struct Record(Stored<'static>);

impl<'a> Records<'a> {
    pub(super) fn new(fields: &'a Fields, searcher: &'a Searcher, segment: &SegmentReader) -> tantivy::Result<Self> {
        let (store, keys) = (segment.get_store_reader(BLOCKS)?, Wide::open(segment, KEY)?);
        Ok(Self { fields, searcher, store, keys })
    }

    /// The record of a document, which may be any of its chunks.
    pub(super) fn get(&self, document: DocId) -> tantivy::Result<Option<Record>> {
        let chunk: TantivyDocument = self.store.get(document)?;
        if let Some(stored) = stored_of(self.fields, &chunk) {
            return Ok(Some(Record(stored)));
        }
        let Some(key) = self.keys.get(document) else { return Ok(None) };
        let head = head(self.fields, self.searcher, Key(key))?;
        Ok(head.and_then(|head| stored_of(self.fields, &head)).map(Record))
    }
}

impl Record {
    /// The value that a filter's field has.
    pub(super) fn value(&self, path: &[String]) -> Option<Value> {
        let (name, below) = path.split_first()?;
        let text = |text: &str| Some(Value::String(text.to_owned()));
        let Stored { connection, source, object, kind, title, url, metadata, created_at, updated_at, source_key: _ } =
            &self.0;
        match name.as_str() {
            "source_short_name" => text(source),
            "source_connection_id" => text(connection),
            "object" => text(object),
            "type" => text(kind),
            "title" => text(title),
            "url" => text(url.as_deref()?),
            "created_at" => moment(*created_at),
            "updated_at" => moment(*updated_at),
            "metadata" => {
                let (key, below) = below.split_first()?;
                within(metadata.get(key)?, below)
            }
            _ => None,
        }
    }
}

fn moment(micros: Option<i64>) -> Option<Value> {
    let moment = chrono::DateTime::from_timestamp_micros(micros?)?;
    Some(Value::String(moment.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)))
}

/// What lies below a value; in a list, below each of its elements.
fn within(value: &Value, path: &[String]) -> Option<Value> {
    let Some((key, below)) = path.split_first() else { return Some(value.clone()) };
    match value {
        Value::Object(members) => within(members.get(key)?, below),
        Value::Array(elements) => {
            Some(Value::Array(elements.iter().filter_map(|element| within(element, path)).collect()))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
