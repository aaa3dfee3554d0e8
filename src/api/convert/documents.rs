//! Documents as callers write them.

use std::collections::HashSet;

use prost_types::Timestamp;
use serde_json::Map;

use super::object;
use crate::connections::Replace;
use crate::connectors::push::{DEFAULT_OBJECT, PushedContent, PushedDocument, id_violations};
use crate::error::{Error, Reason, Violation};
use crate::proto::v1;
use crate::proto::v1::document::Content;
use crate::syncs::push::{Counts, Failure, Operation};

/// Most documents of one batch.
const MOST: usize = 10_000;
/// First and last second of `google.protobuf.Timestamp`.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// The operations of a batch, or everything that is wrong with them.
pub fn batch(documents: Vec<v1::Document>, deletes: Vec<v1::DocumentReference>) -> Result<Vec<Operation>, Error> {
    if documents.len() + deletes.len() > MOST {
        let description = format!("must have at most {MOST} items together with `deletes`");
        return Err(Error::invalid("documents", "TOO_MANY", description));
    }
    let (mut operations, mut violations) = (Vec::with_capacity(documents.len() + deletes.len()), Vec::new());
    for (position, document) in documents.into_iter().enumerate() {
        operations.extend(put(&format!("documents[{position}]"), document, &mut violations));
    }
    for (position, reference) in deletes.into_iter().enumerate() {
        operations.push(delete(&format!("deletes[{position}].id"), reference, &mut violations));
    }
    refused(violations)?;
    once(&operations)?;
    Ok(operations)
}

/// One document to put.
pub fn one(path: &str, document: v1::Document) -> Result<Operation, Error> {
    let mut violations = Vec::new();
    let operation = put(path, document, &mut violations);
    refused(violations)?;
    operation.ok_or_else(|| Error::internal("a document without violations"))
}

/// One document to delete, whose id was given there.
pub fn one_to_delete(path: &str, reference: v1::DocumentReference) -> Result<Operation, Error> {
    let mut violations = Vec::new();
    let operation = delete(path, reference, &mut violations);
    refused(violations)?;
    Ok(operation)
}

/// What a message of a stream asks for.
pub fn operation(message: v1::push_documents_request::Operation) -> Result<Operation, Error> {
    match message {
        v1::push_documents_request::Operation::Put(document) => one("put", document),
        v1::push_documents_request::Operation::Delete(reference) => one_to_delete("delete.id", reference),
    }
}

/// What a stream replaces.
pub fn replace(replacement: v1::DocumentReplacement) -> Replace {
    let v1::DocumentReplacement { object, release_deletions } = replacement;
    Replace { object: Some(object).filter(|object| !object.is_empty()), release: release_deletions }
}

/// How many of what.
pub fn counts(counts: Counts) -> v1::DocumentCounts {
    let Counts { inserted, updated, unchanged, deleted, missing, failed } = counts;
    v1::DocumentCounts {
        items_inserted: whole(inserted),
        items_updated: whole(updated),
        items_unchanged: whole(unchanged),
        items_deleted: whole(deleted),
        items_missing: whole(missing),
        items_failed: whole(failed),
    }
}

/// A document that was not taken in.
pub fn failure(failure: Failure) -> v1::DocumentFailure {
    let Failure { position, object, id, error } = failure;
    v1::DocumentFailure {
        position: i64::try_from(position).unwrap_or(i64::MAX),
        object,
        document_id: id,
        code: error.code.to_owned(),
        message: error.message,
    }
}

/// A count on the wire.
pub fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn refused(violations: Vec<Violation>) -> Result<(), Error> {
    if violations.is_empty() { Ok(()) } else { Err(Error::violations(Reason::InvalidArgument, violations)) }
}

/// A document that comes twice in one request could mean either.
fn once(operations: &[Operation]) -> Result<(), Error> {
    let mut seen = HashSet::with_capacity(operations.len());
    let is_put = |operation: &&Operation| matches!(operation, Operation::Put(_));
    let puts = operations.iter().filter(is_put).count();
    let mut violations = Vec::new();
    for (position, operation) in operations.iter().enumerate() {
        if !seen.insert(operation.name()) {
            let path = match position.checked_sub(puts) {
                None => format!("documents[{position}].id"),
                Some(position) => format!("deletes[{position}].id"),
            };
            violations.push(Violation::new(path, "DUPLICATE", "is in the request before"));
        }
    }
    refused(violations)
}

fn put(path: &str, document: v1::Document, violations: &mut Vec<Violation>) -> Option<Operation> {
    let v1::Document { id, object: group, title, content, url, created_at, updated_at, metadata } = document;
    let metadata = match metadata.map(|given| object(&format!("{path}.metadata"), &given)).transpose() {
        Ok(metadata) => metadata.unwrap_or_else(Map::new),
        Err(error) => {
            violations.extend(error.field_violations().iter().cloned());
            return None;
        }
    };
    let document = PushedDocument {
        id,
        object: in_object(group),
        title,
        content: match content {
            None => PushedContent::Nothing,
            Some(Content::Body(text)) => PushedContent::Text(text),
            Some(Content::File(v1::DocumentFile { content, name, media_type })) => {
                PushedContent::File { bytes: content.into(), name, media_type }
            }
        },
        url,
        created_at: microseconds(&format!("{path}.created_at"), created_at, violations),
        updated_at: microseconds(&format!("{path}.updated_at"), updated_at, violations),
        metadata,
    };
    violations.extend(document.violations(path));
    Some(Operation::Put(document))
}

fn delete(path: &str, reference: v1::DocumentReference, violations: &mut Vec<Violation>) -> Operation {
    let v1::DocumentReference { id, object } = reference;
    violations.extend(id_violations(&id, path));
    Operation::Delete { object: in_object(object), id }
}

fn in_object(object: String) -> String {
    if object.is_empty() { DEFAULT_OBJECT.to_owned() } else { object }
}

fn microseconds(path: &str, time: Option<Timestamp>, violations: &mut Vec<Violation>) -> Option<i64> {
    let Timestamp { seconds, nanos } = time?;
    if SECONDS.contains(&seconds) && (0..1_000_000_000).contains(&nanos) {
        return Some(seconds * 1_000_000 + i64::from(nanos) / 1_000);
    }
    violations.push(Violation::new(path, "OUT_OF_RANGE", "must be a time from the year 1 to 9999"));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(id: &str) -> v1::Document {
        v1::Document { id: id.to_owned(), ..v1::Document::default() }
    }

    fn fields(error: &Error) -> Vec<&str> {
        error.field_violations().iter().map(|violation| violation.field.as_str()).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_by_its_place() {
        let late = Timestamp { seconds: i64::MAX, nanos: 0 };
        let documents = vec![
            document("a"),
            v1::Document { created_at: Some(late), ..document("b") },
            v1::Document { updated_at: Some(Timestamp { seconds: 0, nanos: -1 }), ..document(&"ä".repeat(257)) },
        ];
        let error = batch(documents, Vec::new()).expect_err("three are wrong");
        assert_eq!(fields(&error), ["documents[1].created_at", "documents[2].updated_at", "documents[2].id"]);
    }

    #[test]
    fn a_document_comes_once_in_a_batch() {
        let other = v1::DocumentReference { id: "a".to_owned(), object: "other".to_owned() };
        let same = v1::DocumentReference { id: "a".to_owned(), object: DEFAULT_OBJECT.to_owned() };
        assert_eq!(batch(vec![document("a")], vec![other.clone()]).expect("two documents").len(), 2);
        let error = batch(vec![document("a"), document("a")], vec![other, same]).expect_err("a comes thrice");
        assert_eq!(fields(&error), ["documents[1].id", "deletes[1].id"]);
    }
}
