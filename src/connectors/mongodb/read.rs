//! A pass over the selected collections, one after the other, each in the order of
//! `_id`.
//!
//! A document keeps its `_id` while it lives, so a scan in that order meets every
//! document that is there all the time, once. There is no snapshot: what comes and goes
//! while the scan is under way is found by the next one.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use mongodb::bson::raw::{RawBsonRef, RawDocument, RawDocumentBuf};
use mongodb::bson::{Bson, Document, doc};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use super::catalog::{self, Collection};
use super::selection::Selection;
use super::session::Session;
use super::{MongoDb, Shape, session, values};
use crate::connectors::reading::{Message, Output, ReadRequest, Rest, Scope};
use crate::connectors::rows::RowMapping;
use crate::connectors::{Account, ConnectorError};
use crate::egress::Timeouts;
use crate::record::{Batch, Fingerprint, RawRecord};
use crate::report::Report;

const BATCH_RECORDS: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;
/// Largest document that is taken.
const LARGEST: usize = 8 << 20;
/// Documents of one answer.
const ASKED_AT_ONCE: u32 = 1000;

pub(super) const PERMISSION_MISSING: (&str, &str) =
    ("permission_missing", "the login may not read this object; grant it the role `read`");
const MALFORMED: (&str, &str) = ("read_failed", "the server sent documents that are none");

/// Why an object could not be read to its end.
pub(super) enum ObjectError {
    /// Code and words; the others go on.
    Object(&'static str, &'static str),
    /// The session is gone.
    Session(ConnectorError),
}

impl From<ConnectorError> for ObjectError {
    fn from(error: ConnectorError) -> Self {
        Self::Session(error)
    }
}

/// Reads everything that the config selects.
pub(super) async fn read(
    account: &Account<MongoDb>,
    request: ReadRequest,
    output: Output,
) -> Result<(), ConnectorError> {
    let limits = account.resources.dialer.timeouts();
    let session = session::open(account, &mut Report::default()).await?;
    let selection = Selection::new(&account.config);
    let collections = catalog::selected(&session, limits, &selection).await?;
    let mut scopes = Vec::with_capacity(collections.len());
    for collection in &collections {
        let estimate = catalog::estimate(&session, limits, collection).await;
        let estimate = estimate.map(|there| account.config.document_limit.map_or(there, |limit| there.min(limit)));
        scopes.push(Scope { object: collection.path().into(), estimate });
    }
    output.send(Message::Objects(scopes.clone())).await?;
    for (collection, scope) in collections.iter().zip(scopes) {
        if request.finished.iter().any(|finished| **finished == *scope.object) {
            continue;
        }
        let object = scope.object.clone();
        output.send(Message::Started(scope)).await?;
        let pass = Pass { account, session: &session, limits, output: &output, collection, object: object.clone() };
        match pass.run(&selection, &request).await {
            Ok(()) => {}
            Err(ObjectError::Object(code, message)) => {
                output.send(Message::Failed { object, code, message: message.to_owned() }).await?;
            }
            Err(ObjectError::Session(error)) => return Err(error),
        }
    }
    Ok(())
}

/// A collection and the session that reads it.
struct Pass<'a> {
    account: &'a Account<MongoDb>,
    session: &'a Session,
    limits: Timeouts,
    output: &'a Output,
    collection: &'a Collection,
    object: Arc<str>,
}

impl Pass<'_> {
    async fn run(&self, selection: &Selection<'_>, request: &ReadRequest) -> Result<(), ObjectError> {
        let limit = self.account.config.document_limit;
        if let Some(sample) = request.sample {
            let first = limit.map_or(sample, |limit| limit.min(sample));
            // A sample proves nothing, so nothing is said to be complete.
            return self.documents(selection, None, Some(first), false).await;
        }
        let has_places = request.positions.is_some() && limit.is_none() && !self.collection.is_view;
        let place = request.positions.as_ref().filter(|_| has_places).and_then(|places| places.get(&*self.object));
        let behind = place.and_then(behind);
        let rest = match behind {
            None => {
                self.documents(selection, None, limit, has_places).await?;
                Rest::Gone
            }
            Some(behind) => {
                self.documents(selection, Some(behind), None, true).await?;
                // What lies before the place was read by an earlier attempt; where the
                // count is not what the index has by then, it is read again.
                let there = catalog::estimate(self.session, self.limits, self.collection).await;
                let reached = self.output.ask(&self.object).await?;
                if there == Some(reached.known + reached.new) {
                    Rest::Unknown
                } else {
                    let before = place.and_then(up_to).ok_or(ObjectError::Object(MALFORMED.0, MALFORMED.1))?;
                    self.documents(selection, Some(before), None, false).await?;
                    Rest::Gone
                }
            }
        };
        let object = self.object.clone();
        Ok(self.output.send(Message::Complete { object, counted: None, rest, mark: None }).await?)
    }

    async fn documents(
        &self,
        selection: &Selection<'_>,
        filter: Option<Document>,
        limit: Option<u64>,
        has_places: bool,
    ) -> Result<(), ObjectError> {
        if self.collection.is_hidden {
            return Err(ObjectError::Object(PERMISSION_MISSING.0, PERMISSION_MISSING.1));
        }
        let Collection { database, name, is_view, .. } = self.collection;
        let failed = |failure: super::failure::Failure| {
            if failure.fatal {
                return ObjectError::Session(failure.into_error());
            }
            let (code, message) = failure.of_object();
            ObjectError::Object(code, message)
        };
        let collection = self.session.client.database(database).collection::<RawDocumentBuf>(name);
        let mut find = collection.find(filter.unwrap_or_default()).batch_size(ASKED_AT_ONCE);
        if !is_view {
            find = find.sort(doc! {"_id": 1});
        }
        if let Some(limit) = limit.and_then(|limit| i64::try_from(limit).ok()) {
            find = find.limit(limit);
        }
        let cursor = self.session.answered(self.limits.first_byte, find.into_future()).await?;
        let mut cursor = cursor.map_err(failed)?;
        let shape = Arc::new(Shape {
            mapping: self.mapping()?,
            excluded: selection.excluded_fields(),
            database: database.clone(),
            collection: name.clone(),
        });
        let (mut batch, mut bytes, mut place, mut seen) = (Vec::new(), 0, None, HashMap::new());
        while self.session.answered(self.limits.idle, cursor.advance()).await?.map_err(failed)? {
            let document = cursor.current();
            let source_key = match (is_view, document.get("_id")) {
                (false, Ok(Some(id))) => values::source_key(id).map_err(|_| MALFORMED),
                (true, Ok(_)) => Ok(hashed_key(document.as_bytes(), &mut seen)),
                (false, Ok(None)) | (_, Err(_)) => Err(MALFORMED),
            };
            let source_key = source_key.map_err(|(code, message)| ObjectError::Object(code, message))?;
            let length = document.as_bytes().len();
            if length > LARGEST {
                let message = "the document is larger than 8 MiB".to_owned();
                let object = self.object.clone();
                self.output.send(Message::RecordFailed { object, source_key, code: "too_large", message }).await?;
                continue;
            }
            if has_places {
                place = place_of(document);
            }
            bytes += length;
            let payload = Bytes::copy_from_slice(document.as_bytes());
            batch.push(RawRecord { source_key, fingerprint: Fingerprint::of(&payload), payload });
            if batch.len() >= BATCH_RECORDS || bytes >= BATCH_BYTES {
                self.send(std::mem::take(&mut batch), std::mem::take(&mut bytes), place.take(), &shape).await?;
            }
        }
        Ok(self.send(batch, bytes, place, &shape).await?)
    }

    fn mapping(&self) -> Result<RowMapping, ObjectError> {
        // The check of the settings lets no bad template through.
        let failed = ObjectError::Object("template_failed", "a template is not valid");
        self.account.config.mapping().map_err(|_| failed)
    }

    async fn send(
        &self,
        records: Vec<RawRecord>,
        bytes: usize,
        position: Option<Value>,
        shape: &Arc<Shape>,
    ) -> Result<(), ConnectorError> {
        if records.is_empty() {
            return Ok(());
        }
        let (object, bytes_read) = (self.object.clone(), bytes as u64);
        let batch = Batch { object, records, bytes_read, position, shape: shape.clone() };
        self.output.send(Message::Batch(batch)).await
    }
}

/// Document hash + ordinal among equals: equal documents can stand for one another.
fn hashed_key(payload: &[u8], seen: &mut HashMap<u128, u64>) -> String {
    let hash = xxh3_128(payload);
    let ordinal = seen.entry(hash).or_insert(0);
    *ordinal += 1;
    json!([format!("{hash:032x}"), *ordinal]).to_string()
}

/// Types in the order in which the server sorts them, as far as places are kept.
const AFTER_NUMBERS: &[&str] =
    &["string", "symbol", "object", "array", "binData", "objectId", "bool", "date", "timestamp", "regex", "maxKey"];
const AFTER_STRINGS: &[&str] =
    &["object", "array", "binData", "objectId", "bool", "date", "timestamp", "regex", "maxKey"];
const AFTER_IDS: &[&str] = &["bool", "date", "timestamp", "regex", "maxKey"];

/// Where a document lies, if its `_id` is of a kind whose order is plain.
fn place_of(document: &RawDocument) -> Option<Value> {
    match document.get("_id").ok()?? {
        RawBsonRef::Int32(number) => Some(json!({"number": number.to_string()})),
        RawBsonRef::Int64(number) => Some(json!({"number": number.to_string()})),
        RawBsonRef::String(text) => Some(json!({"string": text})),
        RawBsonRef::ObjectId(id) => Some(json!({"id": id.to_hex()})),
        _ => None,
    }
}

fn placed(place: &Value) -> Option<(Bson, &'static [&'static str])> {
    if let Some(number) = place["number"].as_str() {
        return Some((Bson::Int64(number.parse().ok()?), AFTER_NUMBERS));
    }
    if let Some(text) = place["string"].as_str() {
        return Some((Bson::String(text.to_owned()), AFTER_STRINGS));
    }
    let id = mongodb::bson::oid::ObjectId::parse_str(place["id"].as_str()?).ok()?;
    Some((Bson::ObjectId(id), AFTER_IDS))
}

/// A condition for what lies behind a place. Comparisons stay within a type, so those
/// that come later are named.
fn behind(place: &Value) -> Option<Document> {
    let (value, later) = placed(place)?;
    let later: Vec<Bson> = later.iter().map(|name| Bson::from(*name)).collect();
    Some(doc! {"$or": [{"_id": {"$gt": value}}, {"_id": {"$type": later}}]})
}

/// The opposite.
fn up_to(place: &Value) -> Option<Document> {
    Some(doc! {"$nor": behind(place)?.remove("$or")?})
}

/// Reads one document as a pass would.
pub(super) async fn read_one(
    account: &Account<MongoDb>,
    session: &Session,
    collection: &Collection,
) -> Result<(), ObjectError> {
    let (output, mut messages) = Output::channel(4);
    let selection = Selection::new(&account.config);
    let limits = account.resources.dialer.timeouts();
    let pass = Pass { account, session, limits, output: &output, collection, object: collection.path().into() };
    let request = ReadRequest { sample: Some(1), ..ReadRequest::default() };
    pass.run(&selection, &request).await?;
    drop(output);
    while let Some(message) = messages.recv().await {
        let Message::Batch(batch) = message else { continue };
        let shape = batch.shape.downcast_ref::<Shape>();
        for record in &batch.records {
            let decoded = shape.and_then(|shape| shape.decode(&batch.object, record).ok());
            if decoded.is_none() {
                let message = "a document was read, but cannot become one of the index";
                return Err(ObjectError::Object("undecodable", message));
            }
        }
    }
    Ok(())
}
