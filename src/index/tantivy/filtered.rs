//! A query whose matches must also pass a filter. The filter is asked only of
//! documents that match and score high enough, so that it costs what is looked at
//! and not what is indexed.

use tantivy::query::{EnableScoring, Explanation, Query, Scorer, Weight};
use tantivy::{DocId, DocSet, Score, SegmentReader, TERMINATED, TantivyError};

use crate::index::tantivy::filter::RecordFilter;

/// The query.
pub(crate) struct Filtered {
    query: Box<dyn Query>,
    filter: RecordFilter,
}

impl Filtered {
    /// What matches a query and passes a filter, with the scores of the query.
    pub(crate) fn new(query: Box<dyn Query>, filter: RecordFilter) -> Self {
        Self { query, filter }
    }
}

impl Clone for Filtered {
    fn clone(&self) -> Self {
        Self { query: self.query.box_clone(), filter: self.filter.clone() }
    }
}

impl std::fmt::Debug for Filtered {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Filtered").field("query", &self.query).finish_non_exhaustive()
    }
}

impl Query for Filtered {
    fn weight(&self, scoring: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(FilteredWeight { weight: self.query.weight(scoring)?, filter: self.filter.clone() }))
    }
}

struct FilteredWeight {
    weight: Box<dyn Weight>,
    filter: RecordFilter,
}

impl Weight for FilteredWeight {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let mut scorer = self.weight.scorer(reader, boost)?;
        let mut judge = self.filter.judge(reader)?;
        let mut passing = Vec::new();
        while scorer.doc() != TERMINATED {
            if judge.passes(scorer.doc())? {
                passing.push((scorer.doc(), scorer.score()));
            }
            scorer.advance();
        }
        Ok(Box::new(Passing { documents: passing, at: 0 }))
    }

    fn for_each_pruning(
        &self,
        threshold: Score,
        reader: &SegmentReader,
        callback: &mut dyn FnMut(DocId, Score) -> Score,
    ) -> tantivy::Result<()> {
        let mut judge = self.filter.judge(reader)?;
        let mut threshold = threshold;
        let mut failed = None;
        self.weight.for_each_pruning(threshold, reader, &mut |document, score| {
            match judge.passes(document) {
                Ok(true) => threshold = callback(document, score),
                Ok(false) => {}
                Err(error) => {
                    // Nothing scores higher, so that the rest is passed over.
                    threshold = Score::INFINITY;
                    failed.get_or_insert(error);
                }
            }
            threshold
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn explain(&self, reader: &SegmentReader, document: DocId) -> tantivy::Result<Explanation> {
        if self.filter.judge(reader)?.passes(document)? {
            return self.weight.explain(reader, document);
        }
        Err(TantivyError::InvalidArgument(format!("document {document} does not pass the filter")))
    }
}

/// What passed, for those who go through it one by one.
struct Passing {
    documents: Vec<(DocId, Score)>,
    at: usize,
}

impl DocSet for Passing {
    fn advance(&mut self) -> DocId {
        self.at += 1;
        self.doc()
    }

    fn doc(&self) -> DocId {
        self.documents.get(self.at).map_or(TERMINATED, |(document, _)| *document)
    }

    fn size_hint(&self) -> u32 {
        u32::try_from(self.documents.len()).unwrap_or(u32::MAX)
    }
}

impl Scorer for Passing {
    fn score(&mut self) -> Score {
        self.documents.get(self.at).map_or(0.0, |(_, score)| *score)
    }
}
