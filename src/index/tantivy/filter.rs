//! Judges records by a filter. What a comparison means is said in
//! `filter/compare.rs`; a test holds the two together.
//!
//! A comparison is decided from the columns of `facts.rs` where they tell: always
//! for numbers, times, truth values and equal texts, and for the order of texts
//! that differ where they begin. Otherwise the record is read and asked, once for
//! each text where the answer hangs on one text alone.

mod columns;
mod record;

use std::sync::Arc;

use tantivy::{DocId, Searcher, SegmentReader};

use crate::filter::{Comparison, Expression, FieldKind, Filter};
use crate::index::IndexError;
use crate::index::tantivy::schema::Fields;

use columns::Columns;
use record::Records;

/// Fields that a filter of documents may have.
pub(crate) const FIELDS: &[(&str, FieldKind)] = &[
    ("source_short_name", FieldKind::Text),
    ("source_connection_id", FieldKind::Text),
    ("object", FieldKind::Text),
    ("type", FieldKind::Text),
    ("title", FieldKind::Text),
    ("url", FieldKind::Text),
    ("created_at", FieldKind::Timestamp),
    ("updated_at", FieldKind::Timestamp),
    ("metadata", FieldKind::Map),
];

/// A filter of the records that a searcher sees.
#[derive(Clone)]
pub(crate) struct RecordFilter {
    filter: Arc<Filter>,
    fields: Fields,
    searcher: Searcher,
}

impl RecordFilter {
    /// Refuses a filter of fields that records do not have.
    pub(crate) fn new(filter: &Filter, fields: &Fields, searcher: &Searcher) -> Result<Self, IndexError> {
        filter.check(FIELDS).map_err(|error| IndexError::Query(error.to_string()))?;
        Ok(Self { filter: Arc::new(filter.clone()), fields: *fields, searcher: searcher.clone() })
    }

    /// The judge of one segment's documents.
    pub(crate) fn judge<'a>(&'a self, segment: &'a SegmentReader) -> tantivy::Result<Judge<'a>> {
        let mut comparisons = Vec::new();
        let condition = condition(&self.filter.expression, segment, &mut comparisons)?;
        let records = Records::new(&self.fields, &self.searcher, segment)?;
        Ok(Judge { segment, filter: &self.filter, condition, comparisons, records })
    }
}

/// Says of documents of one segment whether their records pass.
pub(crate) struct Judge<'a> {
    segment: &'a SegmentReader,
    filter: &'a Filter,
    condition: Condition,
    comparisons: Vec<(&'a Comparison, Columns)>,
    records: Records<'a>,
}

/// An expression whose comparisons are counted off.
enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Comparison(usize),
}

fn condition<'a>(
    expression: &'a Expression,
    segment: &SegmentReader,
    comparisons: &mut Vec<(&'a Comparison, Columns)>,
) -> tantivy::Result<Condition> {
    let mut all = |parts: &'a [Expression]| {
        parts.iter().map(|part| condition(part, segment, comparisons)).collect::<tantivy::Result<Vec<_>>>()
    };
    Ok(match expression {
        Expression::And(parts) => Condition::And(all(parts)?),
        Expression::Or(parts) => Condition::Or(all(parts)?),
        Expression::Not(inner) => Condition::Not(Box::new(condition(inner, segment, comparisons)?)),
        Expression::Comparison(comparison) => {
            comparisons.push((comparison, Columns::open(segment, comparison)?));
            Condition::Comparison(comparisons.len() - 1)
        }
    })
}

impl Judge<'_> {
    /// True when the record of a document passes. A deleted document does not.
    pub(crate) fn passes(&mut self, document: DocId) -> tantivy::Result<bool> {
        if self.segment.is_deleted(document) {
            return Ok(false);
        }
        if let Some(passes) = self.decide(&self.condition, document) {
            return Ok(passes);
        }
        let Some(record) = self.records.get(document)? else { return Ok(false) };
        for (comparison, columns) in &mut self.comparisons {
            columns.learn(document, comparison, &record);
        }
        // What can be read is also what was checked.
        Ok(self.filter.matches(&|path| record.value(path)).unwrap_or(false))
    }

    /// What the columns say; `None` where they do not tell.
    fn decide(&self, condition: &Condition, document: DocId) -> Option<bool> {
        match condition {
            Condition::And(parts) => self.first(parts, document, false),
            Condition::Or(parts) => self.first(parts, document, true),
            Condition::Not(inner) => self.decide(inner, document).map(|holds| !holds),
            Condition::Comparison(number) => {
                let (comparison, columns) = &self.comparisons[*number];
                columns.decide(document, comparison)
            }
        }
    }

    /// One part that decides is enough, whatever the others say.
    fn first(&self, parts: &[Condition], document: DocId, decisive: bool) -> Option<bool> {
        let mut all_told = true;
        for part in parts {
            match self.decide(part, document) {
                Some(holds) if holds == decisive => return Some(decisive),
                Some(_) => {}
                None => all_told = false,
            }
        }
        all_told.then_some(!decisive)
    }
}
