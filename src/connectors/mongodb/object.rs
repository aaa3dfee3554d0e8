//! One collection, read in the order of `_id`.
//!
//! A document keeps its `_id` while it lives, so a scan in that order meets every
//! document that is there all the time, once. What changes meanwhile may be met or not:
//! the next sync compares again.

use std::collections::HashMap;
use std::sync::Arc;

use bson::raw::{RawBsonRef, RawDocument, RawDocumentBuf};
use bson::{Document, doc};
use bytes::Bytes;
use serde_json::Value;

use super::catalog::{self, Collection};
use super::failure::Failure;
use super::read::{ObjectError, PERMISSION_MISSING};
use super::session::{Cursor, Session};
use super::{MongoDb, Shape, values};
use crate::connectors::reading::{Message, Output, ReadRequest, Rest};
use crate::connectors::rows::keys;
use crate::connectors::{Account, ConnectorError};
use crate::record::{Batch, Fingerprint, RawRecord};

const BATCH_RECORDS: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;
/// Largest document that is taken.
const LARGEST: usize = 8 << 20;
/// Documents of one answer.
const ASKED_AT_ONCE: i32 = 1000;
/// Largest place that is kept, in bytes.
const LARGEST_PLACE: usize = 1024;

/// A collection and the session that reads it.
pub(super) struct Pass<'a> {
    session: &'a mut Session,
    output: &'a Output,
    collection: &'a Collection,
    object: Arc<str>,
    shape: Arc<Shape>,
    limit: Option<u64>,
}

/// Which documents are read, and what is known of them.
#[derive(Default)]
struct Span {
    /// `_id` of the first, the bounds included; a document with that alone.
    from: Option<RawDocumentBuf>,
    /// `_id` behind the last.
    before: Option<RawDocumentBuf>,
    limit: Option<u64>,
    has_places: bool,
}

/// Documents on their way to the output.
#[derive(Default)]
struct Gathered {
    records: Vec<RawRecord>,
    bytes: usize,
    place: Option<Value>,
    seen: HashMap<u128, u64>,
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        account: &Account<MongoDb>,
        session: &'a mut Session,
        output: &'a Output,
        collection: &'a Collection,
    ) -> Result<Self, ConnectorError> {
        // The check of the settings lets no bad template through.
        let mapping = account.config.mapping().map_err(|error| ConnectorError::Invalid {
            field: format!("config.{}", error.setting),
            reason: "is not valid".to_owned(),
        })?;
        Ok(Self {
            session,
            output,
            collection,
            object: collection.path().into(),
            shape: Arc::new(Shape::new(mapping, collection, &account.config)),
            limit: account.config.document_limit,
        })
    }

    pub(super) async fn run(&mut self, request: &ReadRequest) -> Result<(), ObjectError> {
        if self.collection.is_hidden {
            return Err(ObjectError::Object(PERMISSION_MISSING.0, PERMISSION_MISSING.1));
        }
        if let Some(sample) = request.sample {
            let limit = Some(self.limit.map_or(sample, |limit| limit.min(sample)));
            // A sample proves nothing, so nothing is said to be complete.
            return self.documents(Span { limit, ..Span::default() }).await;
        }
        let has_places = request.positions.is_some() && self.limit.is_none() && !self.collection.is_view;
        let place =
            request.positions.as_ref().filter(|_| has_places).and_then(|places| placed(places.get(&*self.object)?));
        let rest = match place {
            None => {
                self.documents(Span { limit: self.limit, has_places, ..Span::default() }).await?;
                Rest::Gone
            }
            Some(place) => {
                self.documents(Span { from: Some(place.clone()), has_places, ..Span::default() }).await?;
                // What lies before the place was read by an earlier attempt; where the
                // count is not what the index has by then, it is read again.
                let there = catalog::estimate(self.session, self.collection).await?;
                let reached = self.output.ask(&self.object).await?;
                if there == Some(reached.known + reached.new) {
                    Rest::Unknown
                } else {
                    self.documents(Span { before: Some(place), ..Span::default() }).await?;
                    Rest::Gone
                }
            }
        };
        let object = self.object.clone();
        Ok(self.output.send(Message::Complete { object, counted: None, rest, mark: None }).await?)
    }

    /// Reads a span. Where the server loses the cursor the collection was not read to its
    /// end, and another attempt begins behind the last place.
    async fn documents(&mut self, span: Span) -> Result<(), ObjectError> {
        let mut gathered = Gathered::default();
        let mut next = Some(self.find(&span).await?);
        while let Some(cursor) = next {
            for document in cursor.documents()? {
                self.take(document?, &span, &mut gathered).await?;
            }
            next = cursor.next(self.session, &self.collection.name, ASKED_AT_ONCE).await?;
        }
        Ok(self.send(&mut gathered).await?)
    }

    async fn take(&self, document: &RawDocument, span: &Span, gathered: &mut Gathered) -> Result<(), ObjectError> {
        let source_key = match (self.collection.is_view, document.get("_id")) {
            (false, Ok(Some(id))) => values::source_key(id),
            (true, _) => keys::hashed(document.as_bytes(), &mut gathered.seen),
            (false, Ok(None) | Err(_)) => return Err(Failure::MALFORMED.into()),
        };
        let length = document.as_bytes().len();
        if length > LARGEST {
            let (object, message) = (self.object.clone(), "the document is larger than 8 MiB".to_owned());
            let failed = Message::RecordFailed { object, source_key, code: "too_large", message };
            return Ok(self.output.send(failed).await?);
        }
        if span.has_places {
            gathered.place = place_of(document);
        }
        gathered.bytes += length;
        let payload = Bytes::copy_from_slice(document.as_bytes());
        gathered.records.push(RawRecord { source_key, fingerprint: Fingerprint::of(&payload), payload });
        if gathered.records.len() >= BATCH_RECORDS || gathered.bytes >= BATCH_BYTES {
            self.send(gathered).await?;
        }
        Ok(())
    }

    /// Begins to read a span.
    async fn find(&mut self, span: &Span) -> Result<Cursor, ObjectError> {
        let mut command = doc! {"find": self.collection.name.as_str(), "batchSize": ASKED_AT_ONCE};
        if !self.collection.is_view {
            command.insert("sort", doc! {"_id": 1});
            // The same index whatever the bounds: whoever goes on does so in the same order.
            command.insert("hint", doc! {"_id": 1});
        }
        for (bound, id) in [("min", &span.from), ("max", &span.before)] {
            if let (Some(id), false) = (id, self.collection.is_view) {
                command.insert(bound, Document::try_from(id.as_ref()).map_err(|_| Failure::MALFORMED)?);
            }
        }
        if let Some(limit) = span.limit.and_then(|limit| i64::try_from(limit).ok()) {
            command.insert("limit", limit);
        }
        Ok(self.session.begin(&self.collection.database, command).await?)
    }

    async fn send(&self, gathered: &mut Gathered) -> Result<(), ConnectorError> {
        let records = std::mem::take(&mut gathered.records);
        let (bytes_read, position) = (std::mem::take(&mut gathered.bytes) as u64, gathered.place.take());
        if records.is_empty() {
            return Ok(());
        }
        let (object, shape) = (self.object.clone(), self.shape.clone());
        self.output.send(Message::Batch(Batch { object, records, bytes_read, position, shape })).await
    }
}

/// Where a document lies; none where the `_id` is too large to be kept, or a document
/// itself: about the order of those, not all servers agree with themselves.
fn place_of(document: &RawDocument) -> Option<Value> {
    let id = values::lone_id(document).ok()??;
    let is_plain = !matches!(document.get("_id"), Ok(Some(RawBsonRef::Document(_) | RawBsonRef::Array(_))));
    let is_kept = is_plain && id.as_bytes().len() <= LARGEST_PLACE;
    is_kept.then(|| Value::from(values::hexadecimal(id.as_bytes())))
}

fn placed(place: &Value) -> Option<RawDocumentBuf> {
    let digits = place.as_str().filter(|text| text.is_ascii() && text.len() <= 2 * LARGEST_PLACE)?.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    RawDocumentBuf::from_bytes(bytes?).ok()
}

#[cfg(test)]
mod tests {
    use bson::Bson;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_place_of_any_kind_is_kept_and_found_again() {
        for id in [Bson::from(7), Bson::from("a"), Bson::Null, Bson::MinKey] {
            let document = RawDocumentBuf::try_from(&doc! {"name": "x", "_id": id.clone()}).unwrap();
            let place = place_of(&document).unwrap();
            assert_eq!(Document::try_from(placed(&place).unwrap().as_ref()).unwrap(), doc! {"_id": id});
        }
        let large = RawDocumentBuf::try_from(&doc! {"_id": "x".repeat(2000)}).unwrap();
        let inner = RawDocumentBuf::try_from(&doc! {"_id": {"a": [1, 2]}}).unwrap();
        assert_eq!((place_of(&large), place_of(&inner)), (None, None));
        for odd in [json!("zz"), json!("0"), json!(7), json!("é")] {
            assert_eq!(placed(&odd), None);
        }
    }
}
