//! A search for words, of which any finds and all find better.
//!
//! As a query of queries it would score every document that has a frequent word.
//! Here the terms stand side by side, so that whole blocks of documents which cannot
//! be among the best are passed over; whether a document has all words, which
//! doubles its score, is asked only of those that may be.

use tantivy::postings::SegmentPostings;
use tantivy::query::{BooleanQuery, BoostQuery, EnableScoring, Explanation, Query, Scorer, TermQuery, Weight};
use tantivy::schema::{IndexRecordOption, Term};
use tantivy::{DocId, DocSet, Score, Searcher, SegmentReader};

/// What having all words multiplies a score with.
const ALL: Score = 2.0;

/// The terms that stand for one word, and what each counts.
pub(crate) type Word = Vec<(Term, Score)>;

/// The query.
#[derive(Debug)]
pub(crate) struct Ranking {
    words: Vec<Word>,
    /// The same as a query of queries, for who asks for every match.
    plain: Box<dyn Query>,
}

impl Ranking {
    /// A search for words; `plain` has the same matches and scores.
    pub(crate) fn new(words: Vec<Word>, plain: Box<dyn Query>) -> Self {
        Self { words, plain }
    }

    /// Every term once.
    fn any(&self) -> BooleanQuery {
        let mut terms: Word = Vec::new();
        for (term, counts) in self.words.iter().flatten() {
            add(&mut terms, term.clone(), *counts);
        }
        let query = |(term, counts): (Term, Score)| -> Box<dyn Query> {
            Box::new(BoostQuery::new(Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)), counts))
        };
        BooleanQuery::union(terms.into_iter().map(query).collect())
    }
}

/// Adds a term to those of a word, once.
pub(crate) fn add(word: &mut Word, term: Term, counts: Score) {
    match word.iter_mut().find(|(known, _)| *known == term) {
        Some((_, known)) => *known += counts,
        None => word.push((term, counts)),
    }
}

impl Clone for Ranking {
    fn clone(&self) -> Self {
        Self { words: self.words.clone(), plain: self.plain.box_clone() }
    }
}

impl Query for Ranking {
    fn weight(&self, scoring: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        match scoring {
            EnableScoring::Enabled { searcher, .. } => Ok(Box::new(RankingWeight {
                any: self.any().weight(scoring)?,
                ranking: self.clone(),
                searcher: searcher.clone(),
            })),
            EnableScoring::Disabled { .. } => self.plain.weight(scoring),
        }
    }

    fn query_terms<'a>(&'a self, visitor: &mut dyn FnMut(&'a Term, bool)) {
        self.words.iter().flatten().for_each(|(term, _)| visitor(term, false));
    }
}

struct RankingWeight {
    any: Box<dyn Weight>,
    ranking: Ranking,
    searcher: Searcher,
}

impl RankingWeight {
    fn plain(&self) -> tantivy::Result<Box<dyn Weight>> {
        self.ranking.plain.weight(EnableScoring::enabled_from_searcher(&self.searcher))
    }
}

impl Weight for RankingWeight {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        self.plain()?.scorer(reader, boost)
    }

    fn explain(&self, reader: &SegmentReader, document: DocId) -> tantivy::Result<Explanation> {
        self.plain()?.explain(reader, document)
    }

    fn for_each_pruning(
        &self,
        threshold: Score,
        reader: &SegmentReader,
        callback: &mut dyn FnMut(DocId, Score) -> Score,
    ) -> tantivy::Result<()> {
        let mut words = Words::open(&self.ranking.words, reader)?;
        let most = if words.can_be_all() { ALL } else { 1.0 };
        let mut threshold = threshold;
        self.any.for_each_pruning(threshold / most, reader, &mut |document, score| {
            let score = if most > 1.0 && words.all(document) { score * ALL } else { score };
            if score > threshold {
                threshold = callback(document, score);
            }
            threshold / most
        })
    }
}

/// Where each word is in a segment. Documents are asked for in their order.
struct Words(Vec<Vec<SegmentPostings>>);

impl Words {
    fn open(words: &[Word], reader: &SegmentReader) -> tantivy::Result<Self> {
        let mut opened = Vec::new();
        for word in words {
            let mut postings = Vec::new();
            for (term, _) in word {
                postings.extend(reader.inverted_index(term.field())?.read_postings(term, IndexRecordOption::Basic)?);
            }
            opened.push(postings);
        }
        Ok(Self(opened))
    }

    fn can_be_all(&self) -> bool {
        self.0.len() > 1 && self.0.iter().all(|postings| !postings.is_empty())
    }

    fn all(&mut self, document: DocId) -> bool {
        let has = |postings: &mut SegmentPostings| {
            postings.doc() == document || (postings.doc() < document && postings.seek(document) == document)
        };
        self.0.iter_mut().all(|postings| postings.iter_mut().any(has))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tantivy::collector::TopDocs;

    use super::*;
    use crate::index::Target;
    use crate::index::tantivy::collection::Collection;
    use crate::index::tantivy::{append, text};
    use crate::record::{Change, Document, Entry, Fingerprint, Key};

    const VOCABULARY: [&str; 12] =
        ["tent", "tents", "dog", "dogs", "running", "run", "red", "pending", "item", "items", "rare", "hall"];

    /// Words of which the first are in nearly every text, and the last in few.
    fn some_words(number: u64, most: u64) -> String {
        let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let count = 1 + next(most);
        let word = |_| VOCABULARY[(next(12) * next(12) / 11) as usize];
        (0..count).map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_best_are_those_of_the_query_of_queries() {
        let folder = tempfile::tempdir().unwrap();
        let target = Target {
            collection: "col_1".parse().unwrap(),
            connection: "sc_1".parse().unwrap(),
            source: "files".into(),
        };
        let collection = Collection::open(target.collection.clone(), folder.path()).unwrap();
        let epoch = collection.begin(&target.connection, None).unwrap();
        for segment in 0..3 {
            let mut operations = Vec::new();
            for number in 0..1500 {
                let key = Key(segment * 1000 + number);
                let document = Document {
                    title: some_words(key.0 as u64 + 7, 3),
                    body: some_words(key.0 as u64, 40),
                    ..Document::default()
                };
                let entry = Entry {
                    key,
                    fingerprint: Fingerprint(1),
                    object: "a".into(),
                    source_key: key.to_string(),
                    document,
                };
                append(&collection, &target, Change::Upsert(entry), &mut operations).unwrap();
            }
            collection.apply(&target.connection, epoch, operations).unwrap();
            collection.commit().unwrap();
        }
        let searcher = collection.searcher();
        for wanted in [
            "tent",
            "dogs",
            "running rare",
            "red tents",
            "items item pending",
            "hall \"dogs\" nothing",
            "rare hall run",
        ] {
            let query = text::parse(&collection.fields, wanted).unwrap().wanted;
            let ranking = query.downcast_ref::<Ranking>().expect("there are only words");
            let all = TopDocs::with_limit(5000).order_by_score();
            let plain = searcher.search(&*ranking.plain, &all).unwrap();
            let scores: HashMap<_, _> = plain.iter().map(|(score, address)| (*address, *score)).collect();
            for limit in [1, 10, 400] {
                let best = searcher.search(&*query, &TopDocs::with_limit(limit).order_by_score()).unwrap();
                assert_eq!(best.len(), limit.min(plain.len()), "{wanted}");
                for ((score, address), (expected, _)) in best.iter().zip(&plain) {
                    let is_close = |other: f32| (score - other).abs() < 1e-4 * score;
                    assert!(is_close(*expected) && is_close(scores[address]), "{wanted}: {score}, {expected}");
                }
            }
        }
    }
}
