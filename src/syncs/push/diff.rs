//! What each operation is to the index. Pure but for [`parse`] and [`build`], which
//! decode and so belong on the blocking pool.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use super::{Counts, Failure, Operation};
use crate::connectors::RecordError;
use crate::connectors::documents::isolation::Parsers;
use crate::connectors::push::{PushedContent, PushedDocument};
use crate::ids::ConnectionId;
use crate::record::{Change, Document, Entry, Fingerprint, Key};

/// An operation with what identifies it.
pub(super) struct Item {
    pub(super) operation: Operation,
    pub(super) key: Key,
    /// Of a document to put.
    fingerprint: Option<Fingerprint>,
    /// A file that was parsed ahead.
    parsed: Option<Result<Document, RecordError>>,
}

/// What the index is to do, and what it then has.
#[derive(Default)]
pub(super) struct Built {
    pub(super) changes: Vec<Change>,
    /// What each changed key has afterwards.
    pub(super) after: Vec<(Key, Option<Fingerprint>)>,
    pub(super) counts: Counts,
    pub(super) failures: Vec<Failure>,
}

/// The operations as items.
pub(super) fn items(connection: &ConnectionId, salt: u64, operations: Vec<Operation>) -> Vec<Item> {
    let item = |operation: Operation| {
        let key = operation.key(connection);
        let fingerprint = match &operation {
            Operation::Put(document) => Some(document.fingerprint().salted(salt)),
            Operation::Delete { .. } => None,
        };
        Item { operation, key, fingerprint, parsed: None }
    };
    operations.into_iter().map(item).collect()
}

/// True when there is a file to parse: worth a look ahead.
pub(super) fn has_files(items: &[Item]) -> bool {
    items.iter().any(|item| item.file().is_some())
}

/// Parses the files that the index does not have, before it is anybody's turn.
pub(super) fn parse(items: &mut [Item], known: &[Option<Fingerprint>], parsers: &Parsers) {
    for (item, known) in items.iter_mut().zip(known) {
        let parsed = match item.file() {
            Some(document) if *known != item.fingerprint => decoded(document, parsers),
            _ => continue,
        };
        item.parsed = Some(parsed);
    }
}

/// What is to be done, given what the index has.
pub(super) fn build(items: &[Item], known: &[Option<Fingerprint>], parsers: &Parsers) -> Built {
    let mut built = Built::default();
    for (position, (item, known)) in items.iter().zip(known).enumerate() {
        match &item.operation {
            Operation::Delete { .. } if known.is_none() => built.counts.missing += 1,
            Operation::Delete { .. } => {
                built.changes.push(Change::Delete { key: item.key });
                built.after.push((item.key, None));
                built.counts.deleted += 1;
            }
            Operation::Put(_) if *known == item.fingerprint => built.counts.unchanged += 1,
            Operation::Put(document) => match item.decoded(document, parsers) {
                Ok(decoded) => built.put(item, document, decoded, known.is_none()),
                Err(error) => built.fail(position, document, error),
            },
        }
    }
    built
}

impl Item {
    fn file(&self) -> Option<&PushedDocument> {
        match &self.operation {
            Operation::Put(document) => {
                let is_file = matches!(document.content, PushedContent::File { .. });
                is_file.then_some(document)
            }
            Operation::Delete { .. } => None,
        }
    }

    fn decoded(&self, document: &PushedDocument, parsers: &Parsers) -> Result<Document, RecordError> {
        self.parsed.clone().unwrap_or_else(|| decoded(document, parsers))
    }
}

impl Built {
    fn put(&mut self, item: &Item, pushed: &PushedDocument, document: Document, is_new: bool) {
        let Item { key, fingerprint, .. } = *item;
        let Some(fingerprint) = fingerprint else { return };
        let (object, source_key) = (Arc::from(pushed.object.as_str()), pushed.id.clone());
        let entry = Entry { key, fingerprint, object, source_key, document };
        self.after.push((key, Some(fingerprint)));
        if is_new {
            self.counts.inserted += 1;
            self.changes.push(Change::Insert(entry));
        } else {
            self.counts.updated += 1;
            self.changes.push(Change::Upsert(entry));
        }
    }

    fn fail(&mut self, position: usize, document: &PushedDocument, error: RecordError) {
        let (object, id) = (document.object.clone(), document.id.clone());
        self.counts.failed += 1;
        self.failures.push(Failure { position, object, id, error });
    }
}

/// Decodes one document; a panic costs that one.
fn decoded(document: &PushedDocument, parsers: &Parsers) -> Result<Document, RecordError> {
    std::panic::catch_unwind(AssertUnwindSafe(|| document.document(parsers)))
        .unwrap_or_else(|_| Err(RecordError { code: "undecodable", message: "the decoder gave up on it".to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> ConnectionId {
        "sc_1".parse().expect("an id")
    }

    fn put(id: &str, body: &str) -> Operation {
        let content = PushedContent::Text(body.to_owned());
        let object = "documents".to_owned();
        Operation::Put(PushedDocument { id: id.to_owned(), object, content, ..PushedDocument::default() })
    }

    fn delete(id: &str) -> Operation {
        Operation::Delete { object: "documents".to_owned(), id: id.to_owned() }
    }

    #[test]
    fn each_operation_is_judged_by_what_the_index_has() {
        let before = items(&connection(), 7, vec![put("a", "old"), put("b", "same"), put("d", "goes")]);
        let [old, same, goes] = [0, 1, 2].map(|position| before[position].fingerprint);
        let operations = vec![put("a", "new"), put("b", "same"), put("c", "first"), delete("d"), delete("e")];
        let after = items(&connection(), 7, operations);
        let built = build(&after, &[old, same, None, goes, None], &Parsers::default());
        let counts = Counts { inserted: 1, updated: 1, unchanged: 1, deleted: 1, missing: 1, failed: 0 };
        assert_eq!(built.counts, counts);
        assert!(matches!(built.changes.as_slice(), [Change::Upsert(_), Change::Insert(_), Change::Delete { .. }]));
        assert_eq!(built.after.len(), 3);
    }

    #[test]
    fn another_mapping_makes_another_fingerprint() {
        let fingerprint = |salt| items(&connection(), salt, vec![put("a", "text")])[0].fingerprint;
        assert_ne!(fingerprint(1), fingerprint(2));
    }
}
