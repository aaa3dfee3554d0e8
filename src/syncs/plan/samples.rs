//! Examples of what a sync would change: which items, and which of their fields.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::index::Item;
use crate::record::Document;

/// Examples of one kind and object.
const EACH: usize = 10;
/// Examples in all.
const ALL: usize = 1_000;

/// What would become of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlannedChange {
    /// It would be new.
    Insert,
    /// It would be put anew.
    Update,
    /// It would be removed.
    Delete,
}

/// One item that would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedItem {
    /// What would become of it.
    pub change: PlannedChange,
    /// Object that it is in.
    pub object: String,
    /// Key within the object.
    pub source_key: String,
    /// Title.
    pub title: String,
    /// Names of the fields that differ, of an item to update.
    pub changed_fields: Vec<String>,
}

/// The examples so far.
#[derive(Debug, Default)]
pub(super) struct Samples {
    items: Vec<PlannedItem>,
    /// How many there are of each object and kind.
    counts: HashMap<String, [usize; 3]>,
}

impl Samples {
    /// How many more are wanted of a kind in an object.
    pub(super) fn room(&self, object: &str, change: PlannedChange) -> usize {
        let of_it = self.counts.get(object).map_or(0, |counts| counts[change as usize]);
        EACH.saturating_sub(of_it).min(ALL - self.items.len())
    }

    pub(super) fn insert(&mut self, object: &Arc<str>, source_key: String, document: &Document) {
        self.add(PlannedChange::Insert, object, source_key, document.title.clone(), Vec::new());
    }

    /// `before` is what the index has.
    pub(super) fn update(&mut self, object: &Arc<str>, source_key: String, document: &Document, before: Option<&Item>) {
        let changed = before.map(|before| changed_fields(before, document)).unwrap_or_default();
        self.add(PlannedChange::Update, object, source_key, document.title.clone(), changed);
    }

    pub(super) fn delete(&mut self, object: &str, item: Item) {
        let Item { source_key, title, .. } = item;
        self.add(PlannedChange::Delete, object, source_key, title, Vec::new());
    }

    /// All of them, object by object.
    pub(super) fn into_items(mut self) -> Vec<PlannedItem> {
        self.items.sort_by(|one, other| (&one.object, one.change).cmp(&(&other.object, other.change)));
        self.items
    }

    fn add(
        &mut self,
        change: PlannedChange,
        object: &str,
        source_key: String,
        title: String,
        changed_fields: Vec<String>,
    ) {
        self.counts.entry(object.to_owned()).or_default()[change as usize] += 1;
        self.items.push(PlannedItem { change, object: object.to_owned(), source_key, title, changed_fields });
    }
}

/// Names of what differs: fields of the metadata, and parts of the document.
fn changed_fields(before: &Item, after: &Document) -> Vec<String> {
    let fields = before.metadata.keys().chain(after.metadata.keys());
    let mut names: BTreeSet<&str> =
        fields.filter(|name| before.metadata.get(*name) != after.metadata.get(*name)).map(String::as_str).collect();
    let parts = [
        ("title", before.title != after.title),
        ("content", before.content != after.body),
        ("url", before.url != after.url),
    ];
    names.extend(parts.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name));
    names.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_fields_that_differ_are_named_and_no_others() {
        let fields = |value: serde_json::Value| value.as_object().cloned().unwrap_or_default();
        let before = Item {
            id: String::new(),
            connection: crate::ids::ConnectionId::mint(),
            source: "s".to_owned(),
            object: "o".to_owned(),
            source_key: "k".to_owned(),
            kind: "row".to_owned(),
            title: "one".to_owned(),
            url: None,
            content: "text".to_owned(),
            metadata: fields(json!({"same": 1, "other": "a", "gone": null})),
            created_at: None,
            updated_at: None,
        };
        let after = Document {
            title: "two".to_owned(),
            body: "text".to_owned(),
            metadata: fields(json!({"same": 1, "other": "b", "new": 2})),
            ..Document::default()
        };
        assert_eq!(changed_fields(&before, &after), ["gone", "new", "other", "title"]);
    }

    #[test]
    fn ten_of_a_kind_and_object_are_enough() {
        let mut samples = Samples::default();
        let (object, document) = (Arc::from("o"), Document::default());
        for number in 0..7 {
            samples.insert(&object, number.to_string(), &document);
            samples.update(&object, number.to_string(), &document, None);
        }
        assert_eq!(samples.room("o", PlannedChange::Insert), 3);
        assert_eq!(samples.room("p", PlannedChange::Insert), 10);
        assert_eq!(samples.into_items().first().map(|item| item.change), Some(PlannedChange::Insert));
    }
}
