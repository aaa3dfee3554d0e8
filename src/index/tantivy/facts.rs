//! What filters go by. Every filterable value of a record becomes a number or two
//! in columns, a handful for each field, from which nearly all comparisons are
//! decided; what a number does not tell is asked of the record itself (see
//! `filter.rs`). A field may hold numbers in one record and text in the next.
//!
//! Only fields at the top of the metadata have columns of their own. What lies
//! deeper may be named by data, with no end of names, so that one column says
//! which of it a record has. All chunks of a record carry its facts, since a
//! filter speaks of the record.

use std::collections::HashSet;

use serde_json::{Map, Value};
use tantivy::{f64_to_u64, u64_to_i64};
use xxhash_rust::xxh3::xxh3_64;

use crate::filter::compare::{as_timestamp, json_number, text_as_number};

/// Name of the field that holds the columns.
pub(crate) const FACTS: &str = "facts";
/// Segments of a path that has columns of its own, at most.
const OWN_COLUMNS: usize = 2;
/// Bytes of a text that its column holds.
const HEAD: usize = 8;
/// Name of the column that says which deeper paths have a value.
const DEEPER: [u8; 17] = *b"deeper-----------";

/// What a column of a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    /// 0 or 1.
    Bool = b'b',
    /// Microseconds of a text that reads as a time.
    Timestamp = b'd',
    /// The order of a text that reads as a number.
    NumberInText = b'm',
    /// The order of a number.
    Number = b'n',
    /// How a text begins.
    TextHead = b't',
    /// Hash of a text.
    TextHash = b'h',
    /// There for an object that has members.
    Members = b'z',
}

/// Name of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name([u8; 17]);

impl Name {
    /// A path is hashed: spelled out, its length would be paid for with every
    /// record, and it may hold anything.
    fn new(path: u64, tag: Tag) -> Self {
        let mut name = [tag as u8; 17];
        for (position, digit) in name.iter_mut().take(16).enumerate() {
            *digit = b"0123456789abcdef"[(path >> (60 - 4 * position)) as usize & 15];
        }
        Self(name)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Where the facts of a path are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In columns of its own; see [`column`].
    Own(u64),
    /// In the column of [`deeper_column`], as this number.
    Deeper(i64),
}

/// The place of a path.
pub(crate) fn place_of(path: &[String]) -> Place {
    let mut spelled = Vec::new();
    path.iter().for_each(|segment| push_segment(&mut spelled, segment));
    let hash = xxh3_64(&spelled);
    if path.len() <= OWN_COLUMNS { Place::Own(hash) } else { Place::Deeper(hash.cast_signed()) }
}

/// The column of a path and tag.
pub(crate) fn column(path: u64, tag: Tag) -> String {
    format!("{FACTS}.{}", Name::new(path, tag).as_str())
}

/// The column of what lies deeper.
pub(crate) fn deeper_column() -> String {
    format!("{FACTS}.{}", Name(DEEPER).as_str())
}

/// A double in the order of numbers.
pub(crate) fn order_of(double: f64) -> i64 {
    u64_to_i64(f64_to_u64(double))
}

/// How a text begins, in the order of texts; a short one is filled up with zeros.
pub(crate) fn head_of(text: &str) -> i64 {
    let mut head = [0; HEAD];
    let length = text.len().min(HEAD);
    head[..length].copy_from_slice(&text.as_bytes()[..length]);
    u64_to_i64(u64::from_be_bytes(head))
}

/// Lowest and highest head of texts that begin so; the flag is true when any text
/// between them does.
pub(crate) fn heads_beginning(start: &str) -> (i64, i64, bool) {
    let mut last = [u8::MAX; HEAD];
    let length = start.len().min(HEAD);
    last[..length].copy_from_slice(&start.as_bytes()[..length]);
    (head_of(start), u64_to_i64(u64::from_be_bytes(last)), start.len() <= HEAD && !start.contains('\0'))
}

/// Hash of a text.
pub(crate) fn hash_of(text: &str) -> i64 {
    xxh3_64(text.as_bytes()).cast_signed()
}

/// Collects the facts of one record.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    found: Vec<(Name, i64)>,
    /// Those of the column of what lies deeper.
    deeper: HashSet<i64>,
    /// Path that a value is met at, and how long it is.
    path: Vec<u8>,
    depth: usize,
}

impl Facts {
    /// Every column and its value.
    pub(crate) fn columns(&self) -> Columns<'_> {
        Columns(self.found.iter())
    }

    /// What they take in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.found.capacity() * size_of::<(Name, i64)>()
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.below(name, |facts| facts.any_text(text));
    }

    /// A time, in microseconds since 1970 UTC.
    pub(crate) fn timestamp(&mut self, name: &str, micros: i64) {
        self.below(name, |facts| facts.insert(Tag::Timestamp, micros));
    }

    /// The members of an object, and all below them.
    pub(crate) fn members(&mut self, name: &str, members: &Map<String, Value>) {
        self.below(name, |facts| {
            for (key, member) in members {
                facts.below(key, |facts| facts.value(member));
            }
        });
    }

    fn below(&mut self, segment: &str, note: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        push_segment(&mut self.path, segment);
        self.depth += 1;
        note(self);
        self.depth -= 1;
        self.path.truncate(length);
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => {}
            Value::Array(elements) => elements.iter().for_each(|element| self.value(element)),
            Value::Object(members) => self.object(members),
            Value::Bool(_) | Value::Number(_) | Value::String(_) if self.depth > OWN_COLUMNS => self.note_deeper(),
            Value::Bool(bool) => self.insert(Tag::Bool, i64::from(*bool)),
            Value::Number(number) => {
                if let Some(number) = json_number(number) {
                    self.insert(Tag::Number, order_of(number.double));
                }
            }
            Value::String(text) => self.any_text(text),
        }
    }

    fn object(&mut self, members: &Map<String, Value>) {
        if members.is_empty() {
            return;
        }
        if self.depth > OWN_COLUMNS {
            self.note_deeper()
        } else {
            self.insert(Tag::Members, 1)
        }
        for (key, member) in members {
            self.below(key, |facts| facts.value(member));
        }
    }

    fn any_text(&mut self, text: &str) {
        let path = xxh3_64(&self.path);
        self.found.push((Name::new(path, Tag::TextHead), head_of(text)));
        self.found.push((Name::new(path, Tag::TextHash), hash_of(text)));
        if let Some(micros) = as_timestamp(text) {
            self.found.push((Name::new(path, Tag::Timestamp), micros));
        }
        if let Some(number) = text_as_number(text) {
            self.found.push((Name::new(path, Tag::NumberInText), order_of(number.double)));
        }
    }

    fn insert(&mut self, tag: Tag, value: i64) {
        self.found.push((Name::new(xxh3_64(&self.path), tag), value));
    }

    /// Once for a path: lists of objects have the same paths over and over.
    fn note_deeper(&mut self) {
        let path = xxh3_64(&self.path).cast_signed();
        if self.deeper.insert(path) {
            self.found.push((Name(DEEPER), path));
        }
    }
}

/// Lengths keep segments apart, whatever is in them.
fn push_segment(path: &mut Vec<u8>, segment: &str) {
    path.extend_from_slice(&(segment.len() as u64).to_le_bytes());
    path.extend_from_slice(segment.as_bytes());
}

/// Columns of one record, by name.
pub(crate) struct Columns<'a>(std::slice::Iter<'a, (Name, i64)>);

impl<'a> Iterator for Columns<'a> {
    type Item = (&'a str, i64);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, value)| (name.as_str(), *value))
    }
}
