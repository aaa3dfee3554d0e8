//! One comparison and the columns of its field in one segment.

use std::cmp::Ordering;
use std::collections::HashMap;

use tantivy::columnar::Column;
use tantivy::{DocId, SegmentReader};

use super::record::Record;
use crate::filter::compare::{self, Number, Reading, TextPattern, as_bool, as_number, is_anything};
use crate::filter::{Comparison, Literal, Operator};
use crate::index::tantivy::facts::{
    Place, Tag, column, deeper_column, hash_of, head_of, heads_beginning, order_of, place_of,
};

/// Doubles of this size and more may stand for several whole numbers.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Texts whose answers are kept.
const ANSWERS: usize = 200_000;

/// The columns, and what was learnt beyond them.
pub(super) enum Columns {
    Own(Box<Own>),
    /// Which deeper paths a record has, and which one is asked for.
    Deeper(Option<Column<i64>>, i64),
}

/// Columns of a field at the top.
pub(super) struct Own {
    bools: Option<Column<i64>>,
    timestamps: Option<Column<i64>>,
    numbers_in_text: Option<Column<i64>>,
    numbers: Option<Column<i64>>,
    heads: Option<Column<i64>>,
    hashes: Option<Column<i64>>,
    members: Option<Column<i64>>,
    wanted: Wanted,
    /// Answers by the hash of a text.
    answers: HashMap<i64, bool>,
}

/// The literal, read once.
struct Wanted {
    bool: Option<i64>,
    number: Option<Number>,
    reading: Reading,
    pattern: TextPattern,
    head: i64,
    hash: i64,
    anything: bool,
}

impl Wanted {
    fn new(operator: Operator, literal: &Literal) -> Self {
        let pattern = TextPattern::new(operator, literal);
        Self {
            bool: as_bool(&literal.text).map(i64::from),
            number: as_number(&literal.text),
            reading: Reading::of(literal),
            head: head_of(&literal.text),
            hash: hash_of(if operator.is_ordering() { &literal.text } else { &pattern.part }),
            pattern,
            anything: is_anything(literal),
        }
    }
}

/// What is known of several values, one of which is enough.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    No,
    Perhaps,
    Yes,
}

impl Found {
    fn certain(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }

    fn or(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Yes => Self::Yes,
            Self::Perhaps => {
                if other() == Self::Yes {
                    Self::Yes
                } else {
                    Self::Perhaps
                }
            }
            Self::No => other(),
        }
    }

    fn told(self) -> Option<bool> {
        match self {
            Self::No => Some(false),
            Self::Perhaps => None,
            Self::Yes => Some(true),
        }
    }
}

impl Columns {
    /// Opens what the comparison goes by.
    pub(super) fn open(segment: &SegmentReader, comparison: &Comparison) -> tantivy::Result<Self> {
        let readers = segment.fast_fields();
        Ok(match place_of(&comparison.field) {
            Place::Deeper(path) => Self::Deeper(readers.column_opt(&deeper_column())?, path),
            Place::Own(path) => {
                let open = |tag| readers.column_opt::<i64>(&column(path, tag));
                Self::Own(Box::new(Own {
                    bools: open(Tag::Bool)?,
                    timestamps: open(Tag::Timestamp)?,
                    numbers_in_text: open(Tag::NumberInText)?,
                    numbers: open(Tag::Number)?,
                    heads: open(Tag::TextHead)?,
                    hashes: open(Tag::TextHash)?,
                    members: open(Tag::Members)?,
                    wanted: Wanted::new(comparison.operator, &comparison.value),
                    answers: HashMap::new(),
                }))
            }
        })
    }

    /// Whether the comparison holds for a document, if that can be told.
    pub(super) fn decide(&self, document: DocId, comparison: &Comparison) -> Option<bool> {
        let negated = comparison.operator == Operator::NotEqual;
        let found = match self {
            Self::Deeper(paths, path) => match any(paths, document, |found| Found::certain(found == *path)) {
                Found::Yes => Found::Perhaps,
                missing => missing,
            },
            Self::Own(own) => match comparison.operator {
                Operator::Equal | Operator::NotEqual | Operator::Has => own.equal(document, comparison.operator),
                Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
                    own.ordered(document, comparison.operator)
                }
            },
        };
        found.told().map(|holds| holds != negated)
    }

    /// Keeps the answer for the text of a record, where it is all that counts.
    pub(super) fn learn(&mut self, document: DocId, comparison: &Comparison, record: &Record) {
        let Self::Own(own) = self else { return };
        let Some(text) = own.only_text(document) else { return };
        if own.answers.len() < ANSWERS && !own.answers.contains_key(&text) {
            // Kept as for `=`; whoever asks negates.
            let operator = match comparison.operator {
                Operator::NotEqual => Operator::Equal,
                operator => operator,
            };
            let value = record.value(&comparison.field);
            own.answers.insert(text, compare::holds(value.as_ref(), operator, &comparison.value));
        }
    }
}

impl Own {
    fn equal(&self, document: DocId, operator: Operator) -> Found {
        let Wanted { bool, number, reading, anything, .. } = &self.wanted;
        let has = operator == Operator::Has;
        if *anything {
            let members = self.members.as_ref().filter(|_| has);
            let columns = [&self.bools, &self.numbers, &self.hashes, &self.timestamps];
            let mut columns = columns.into_iter().flatten().chain(members);
            return Found::certain(columns.any(|column| column.first(document).is_some()));
        }
        let is = |value: i64, wanted: i64| Found::certain(value == wanted);
        let mut found = match bool {
            Some(wanted) => any(&self.bools, document, |value| is(value, *wanted)),
            None => Found::No,
        };
        if let Some(number) = number {
            found = found.or(|| any(&self.numbers, document, |value| number_is(value, number, Ordering::is_eq)));
        }
        found = match reading {
            Reading::Timestamp(micros) => found.or(|| any(&self.timestamps, document, |value| is(value, *micros))),
            Reading::Number(number) => {
                let is_equal = |value| number_is(value, number, Ordering::is_eq);
                found.or(|| any(&self.numbers_in_text, document, is_equal))
            }
            Reading::Text => found,
        };
        let members = || if has { any(&self.members, document, |_| Found::Perhaps) } else { Found::No };
        found.or(|| self.text(document)).or(members)
    }

    /// Texts that are as the pattern asks.
    fn text(&self, document: DocId) -> Found {
        let TextPattern { part, open_start, open_end, folded } = &self.wanted.pattern;
        if *folded || *open_start {
            return any(&self.hashes, document, |hash| self.answer(document, hash));
        }
        if !open_end {
            return any(&self.hashes, document, |hash| Found::certain(hash == self.wanted.hash));
        }
        let (low, high, is_certain) = heads_beginning(part);
        let begins = any(&self.heads, document, |head| match (low..=high).contains(&head) {
            false => Found::No,
            true if is_certain => Found::Yes,
            true => Found::Perhaps,
        });
        match (begins, self.only_text(document)) {
            (Found::Perhaps, Some(hash)) => self.answer(document, hash),
            (begins, _) => begins,
        }
    }

    fn ordered(&self, document: DocId, operator: Operator) -> Found {
        let holds = |order: Ordering| compare::order_holds(order, operator);
        let numbers = |column, number: &Number| any(column, document, |value| number_is(value, number, holds));
        match &self.wanted.reading {
            Reading::Timestamp(micros) => {
                any(&self.timestamps, document, |value| Found::certain(holds(value.cmp(micros))))
            }
            Reading::Number(number) => numbers(&self.numbers, number).or(|| numbers(&self.numbers_in_text, number)),
            Reading::Text => {
                let in_numbers = match &self.wanted.number {
                    Some(number) => numbers(&self.numbers, number),
                    None => Found::No,
                };
                in_numbers.or(|| self.text_ordered(document, holds))
            }
        }
    }

    fn text_ordered(&self, document: DocId, holds: impl Fn(Ordering) -> bool) -> Found {
        let by_head = any(&self.heads, document, |head| match head.cmp(&self.wanted.head) {
            Ordering::Equal => Found::Perhaps,
            order => Found::certain(holds(order)),
        });
        match (by_head, self.only_text(document)) {
            (Found::Perhaps, Some(hash)) if hash == self.wanted.hash => Found::certain(holds(Ordering::Equal)),
            (Found::Perhaps, Some(hash)) => self.answer(document, hash),
            (by_head, _) => by_head,
        }
    }

    fn answer(&self, document: DocId, hash: i64) -> Found {
        match self.answers.get(&hash).filter(|_| self.only_text(document).is_some()) {
            Some(holds) => Found::certain(*holds),
            None => Found::Perhaps,
        }
    }

    /// The hash of the field's text, where that is its only value.
    fn only_text(&self, document: DocId) -> Option<i64> {
        let others = [&self.bools, &self.numbers, &self.members];
        if others.into_iter().flatten().any(|column| column.first(document).is_some()) {
            return None;
        }
        let mut texts = self.hashes.as_ref()?.values_for_doc(document);
        texts.next().filter(|_| texts.next().is_none())
    }
}

/// The best that is found among a document's values.
fn any(column: &Option<Column<i64>>, document: DocId, judge: impl Fn(i64) -> Found) -> Found {
    let Some(column) = column else { return Found::No };
    column.values_for_doc(document).fold(Found::No, |found, value| found.or(|| judge(value)))
}

/// Doubles that differ tell; where they are equal, whole numbers may still differ.
fn number_is(value: i64, wanted: &Number, holds: impl Fn(Ordering) -> bool) -> Found {
    match value.cmp(&order_of(wanted.double)) {
        Ordering::Equal if wanted.double.abs() >= EXACT => Found::Perhaps,
        order => Found::certain(holds(order)),
    }
}
