//! A query for the documents that have a fact in a range of terms, and whose
//! text is as a pattern asks. Reads terms, not documents.

use std::ops::Bound;

use tantivy::query::{BitSetDocSet, ConstScorer, EnableScoring, Explanation, Query, Scorer, Weight};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{BitSet, DocId, DocSet, Score, SegmentReader, TantivyError};

use crate::filter::compare::TextPattern;

/// The query.
#[derive(Debug, Clone)]
pub(crate) struct FactQuery {
    pub(crate) field: Field,
    pub(crate) lower: Bound<Vec<u8>>,
    pub(crate) upper: Bound<Vec<u8>>,
    /// Asked of what follows the first bytes of the term, as many as given.
    pub(crate) pattern: Option<(usize, TextPattern)>,
}

impl FactQuery {
    /// All terms that start so.
    pub(crate) fn starting_with(field: Field, prefix: Vec<u8>) -> Self {
        let upper = after_all_with(&prefix);
        Self { field, lower: Bound::Included(prefix), upper, pattern: None }
    }
}

/// The bound just after all terms that start so.
pub(crate) fn after_all_with(prefix: &[u8]) -> Bound<Vec<u8>> {
    let Some(last) = prefix.iter().rposition(|byte| *byte < u8::MAX) else { return Bound::Unbounded };
    let mut bound = prefix[..=last].to_vec();
    bound[last] += 1;
    Bound::Excluded(bound)
}

impl Query for FactQuery {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(FactWeight(self.clone())))
    }
}

struct FactWeight(FactQuery);

impl FactWeight {
    fn matches(&self, term: &[u8]) -> bool {
        let Some((skipped, pattern)) = &self.0.pattern else { return true };
        let text = term.get(*skipped..).unwrap_or_default();
        // A long text ends with a NUL and a hash, which is no part of it.
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        std::str::from_utf8(text).is_ok_and(|text| pattern.matches(text))
    }

    fn documents(&self, reader: &SegmentReader) -> tantivy::Result<BitSet> {
        let mut documents = BitSet::with_max_value(reader.max_doc());
        let inverted = reader.inverted_index(self.0.field)?;
        let range = inverted.terms().range();
        let range = match &self.0.lower {
            Bound::Included(bound) => range.ge(bound),
            Bound::Excluded(bound) => range.gt(bound),
            Bound::Unbounded => range,
        };
        let range = match &self.0.upper {
            Bound::Included(bound) => range.le(bound),
            Bound::Excluded(bound) => range.lt(bound),
            Bound::Unbounded => range,
        };
        let mut terms = range.into_stream()?;
        while terms.advance() {
            if self.matches(terms.key()) {
                let mut postings = inverted.read_postings_from_terminfo(terms.value(), IndexRecordOption::Basic)?;
                while postings.doc() != tantivy::TERMINATED {
                    documents.insert(postings.doc());
                    postings.advance();
                }
            }
        }
        Ok(documents)
    }
}

impl Weight for FactWeight {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        Ok(Box::new(ConstScorer::new(BitSetDocSet::from(self.documents(reader)?), boost)))
    }

    fn explain(&self, reader: &SegmentReader, document: DocId) -> tantivy::Result<Explanation> {
        if self.documents(reader)?.contains(document) {
            return Ok(Explanation::new("FactQuery", 1.0));
        }
        Err(TantivyError::InvalidArgument(format!("document {document} does not match")))
    }
}
