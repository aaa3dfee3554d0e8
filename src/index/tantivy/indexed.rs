//! A record as the index takes it: one document a chunk, which all refer to the
//! record. Nothing is copied for the index to read it.

use std::ops::Range;
use std::sync::Arc;

use tantivy::schema::document::{ReferenceValue, ReferenceValueLeaf};
use tantivy::schema::{Document, Field, Value as TantivyValue};

use crate::index::tantivy::facts::{Columns, Facts};
use crate::index::tantivy::room::Place;
use crate::index::tantivy::schema::Fields;

/// What the chunks of a record share.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) fields: Fields,
    pub(crate) key: [u8; 16],
    pub(crate) key_halves: [u64; 2],
    pub(crate) fingerprint: [u64; 2],
    pub(crate) connection: String,
    /// Connection and object.
    pub(crate) head: String,
    pub(crate) kind: String,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) facts: Facts,
    /// The rest as JSON.
    pub(crate) stored: String,
}

/// One chunk of a record.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) record: Arc<Record>,
    /// Zero is the head.
    pub(crate) number: u64,
    /// Where in the body it is.
    pub(crate) body: Range<usize>,
    /// Its place among what waits for the writer.
    pub(crate) place: Option<Place>,
}

impl Chunk {
    /// Roughly what it takes in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let Record { head, title, body, facts, stored, .. } = &*self.record;
        let shared = if self.number == 0 { body.len() + stored.len() + title.len() + head.len() } else { 0 };
        size_of::<Record>() + shared + facts.bytes()
    }
}

impl Document for Chunk {
    type Value<'a> = Held<'a>;
    type FieldsValuesIter<'a> = Values<'a>;

    fn iter_fields_and_values(&self) -> Values<'_> {
        Values { chunk: self, at: 0 }
    }
}

/// The values of a chunk, field by field.
pub(crate) struct Values<'a> {
    chunk: &'a Chunk,
    at: usize,
}

impl<'a> Iterator for Values<'a> {
    type Item = (Field, Held<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let Chunk { record, number, body, place: _ } = self.chunk;
        let Fields { fingerprint: [high, low], .. } = record.fields;
        let fields = &record.fields;
        self.at += 1;
        // What only a head has comes last.
        Some(match self.at {
            1 => (fields.record, Held::Bytes(&record.key)),
            2 => (fields.key[0], Held::Number(record.key_halves[0])),
            3 => (fields.key[1], Held::Number(record.key_halves[1])),
            4 => (fields.chunk, Held::Number(*number)),
            5 => (fields.connection, Held::Text(&record.connection)),
            6 => (fields.kind, Held::Text(&record.kind)),
            7 => (fields.title, Held::Text(&record.title)),
            8 => (fields.body, Held::Text(&record.body[body.clone()])),
            9 => (fields.facts, Held::Facts(&record.facts)),
            10 if *number == 0 => (fields.head, Held::Text(&record.head)),
            11 if *number == 0 => (high, Held::Number(record.fingerprint[0])),
            12 if *number == 0 => (low, Held::Number(record.fingerprint[1])),
            13 if *number == 0 => (fields.stored, Held::Text(&record.stored)),
            _ => return None,
        })
    }
}

/// One value of a chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Held<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    Number(u64),
    /// An object with a member for each column.
    Facts(&'a Facts),
    Fact(i64),
}

impl<'a> TantivyValue<'a> for Held<'a> {
    type ArrayIter = std::iter::Empty<Self>;
    type ObjectIter = FactsHeld<'a>;

    fn as_value(&self) -> ReferenceValue<'a, Self> {
        ReferenceValue::Leaf(match *self {
            Self::Facts(facts) => return ReferenceValue::Object(FactsHeld(facts.columns())),
            Self::Text(text) => ReferenceValueLeaf::Str(text),
            Self::Bytes(bytes) => ReferenceValueLeaf::Bytes(bytes),
            Self::Number(number) => ReferenceValueLeaf::U64(number),
            Self::Fact(fact) => ReferenceValueLeaf::I64(fact),
        })
    }
}

/// The columns of a record's facts.
pub(crate) struct FactsHeld<'a>(Columns<'a>);

impl<'a> Iterator for FactsHeld<'a> {
    type Item = (&'a str, Held<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, fact)| (name, Held::Fact(fact)))
    }
}
