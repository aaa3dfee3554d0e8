//! What filters go by. Every filterable value of a record becomes terms of one
//! field, whose bytes sort as the values do:
//!
//! ```text
//! path, NUL, tag, value
//! ```
//!
//! A range of values is a range of terms, whatever the type, and a field may
//! hold numbers in one record and text in the next. All chunks of a record carry
//! its facts, since a filter speaks of the record.

use std::collections::BTreeSet;

use serde_json::Value;
use tantivy::{f64_to_u64, i64_to_u64};
use xxhash_rust::xxh3::xxh3_128;

use crate::filter::compare::{Number, as_timestamp, json_number, text_as_number};

/// Bytes of a text that filters see; longer ones are told apart by a hash.
pub(crate) const TEXT_BYTES: usize = 512;

const PATH_SEPARATOR: char = '\u{1f}';

/// What a term holds. Their order keeps members last, so that "has a value" is
/// a range without them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    Bool = b'b',
    Timestamp = b'd',
    /// A text that reads as a number.
    NumberInText = b'm',
    Number = b'n',
    Text = b't',
    /// A key of an object.
    Member = b'z',
}

/// The start of all terms of a path.
pub(crate) fn path_prefix(path: &[String]) -> Vec<u8> {
    let separator = PATH_SEPARATOR.to_string();
    let segments: Vec<String> = path.iter().map(|segment| segment.replace(['\0', PATH_SEPARATOR], "")).collect();
    let mut prefix = segments.join(&separator).into_bytes();
    prefix.push(0);
    prefix
}

/// The start of all terms of a path and tag.
pub(crate) fn tag_prefix(path: &[String], tag: Tag) -> Vec<u8> {
    let mut prefix = path_prefix(path);
    prefix.push(tag as u8);
    prefix
}

/// A term.
pub(crate) fn fact(path: &[String], tag: Tag, value: &[u8]) -> Vec<u8> {
    let mut term = tag_prefix(path, tag);
    term.extend_from_slice(value);
    term
}

/// A number in the order of numbers.
pub(crate) fn number_bytes(number: Number) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&f64_to_u64(number.double).to_be_bytes());
    bytes[8..].copy_from_slice(&((number.whole as u128) ^ (1 << 127)).to_be_bytes());
    bytes
}

/// A time in the order of times.
pub(crate) fn timestamp_bytes(micros: i64) -> [u8; 8] {
    i64_to_u64(micros).to_be_bytes()
}

/// A text in the order of its bytes.
pub(crate) fn text_bytes(text: &str) -> Vec<u8> {
    if text.len() <= TEXT_BYTES {
        return text.as_bytes().to_vec();
    }
    let mut bytes = text.as_bytes()[..text.floor_char_boundary(TEXT_BYTES)].to_vec();
    bytes.push(0);
    bytes.extend_from_slice(&xxh3_128(text.as_bytes()).to_be_bytes());
    bytes
}

/// Collects the facts of one record.
#[derive(Default)]
pub(crate) struct Facts {
    terms: BTreeSet<Vec<u8>>,
}

impl Facts {
    /// A text that is never anything else.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.terms.insert(fact(&[name.to_owned()], Tag::Text, &text_bytes(text)));
    }

    /// A time.
    pub(crate) fn timestamp(&mut self, name: &str, micros: i64) {
        self.terms.insert(fact(&[name.to_owned()], Tag::Timestamp, &timestamp_bytes(micros)));
    }

    /// A JSON value and all below it.
    pub(crate) fn value(&mut self, path: &mut Vec<String>, value: &Value) {
        match value {
            Value::Null => {}
            Value::Bool(bool) => self.insert(path, Tag::Bool, &[u8::from(*bool)]),
            Value::Number(number) => {
                if let Some(number) = json_number(number) {
                    self.insert(path, Tag::Number, &number_bytes(number));
                }
            }
            Value::String(text) => self.any_text(path, text),
            Value::Array(elements) => elements.iter().for_each(|element| self.value(path, element)),
            Value::Object(members) => {
                for (key, member) in members.iter().filter(|(_, member)| !member.is_null()) {
                    self.insert(path, Tag::Member, &text_bytes(key));
                    path.push(key.clone());
                    self.value(path, member);
                    path.pop();
                }
            }
        }
    }

    fn any_text(&mut self, path: &[String], text: &str) {
        self.insert(path, Tag::Text, &text_bytes(text));
        if let Some(micros) = as_timestamp(text) {
            self.insert(path, Tag::Timestamp, &timestamp_bytes(micros));
        }
        if let Some(number) = text_as_number(text) {
            self.insert(path, Tag::NumberInText, &number_bytes(number));
        }
    }

    fn insert(&mut self, path: &[String], tag: Tag, value: &[u8]) {
        self.terms.insert(fact(path, tag, value));
    }

    /// The terms.
    pub(crate) fn terms(&self) -> impl Iterator<Item = &[u8]> {
        // Only a key of absurd length makes a term longer than the index takes.
        self.terms.iter().map(Vec::as_slice).filter(|term| term.len() < 32_768)
    }
}
