//! Searches: chunks are ranked, records are answered.

use std::collections::HashSet;

use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, Occur, Query as TantivyQuery, TermQuery};
use tantivy::schema::{IndexRecordOption, TantivyDocument};
use tantivy::snippet::SnippetGenerator;
use tantivy::{DocAddress, Searcher, SegmentOrdinal};

use crate::index::tantivy::collection::Collection;
use crate::index::tantivy::document::{body, item, record_term};
use crate::index::tantivy::filter::RecordFilter;
use crate::index::tantivy::filtered::Filtered;
use crate::index::tantivy::read::{Wide, head};
use crate::index::tantivy::schema::{Fields, KEY};
use crate::index::tantivy::text::{self, TextQuery};
use crate::index::{Hit, Hits, IndexError, Query};
use crate::record::Key;

/// Results that can be paged to.
pub(crate) const DEEPEST: usize = 1000;

const SNIPPET_CHARACTERS: usize = 240;

/// Answers a search.
pub(crate) fn search(collection: &Collection, query: &Query) -> Result<Hits, IndexError> {
    let searcher = collection.searcher();
    let filter = query.filter.as_ref().map(|wanted| RecordFilter::new(wanted, &collection.fields, &searcher));
    let filter = filter.transpose()?;
    let Some(text) = text::parse(&collection.fields, &query.text) else {
        return Ok(Hits { hits: Vec::new(), more: false });
    };
    let search = Search { fields: &collection.fields, searcher, text };
    search.hits(filter, query).map_err(|cause| collection.failure(cause))
}

struct Search<'a> {
    fields: &'a Fields,
    searcher: Searcher,
    text: TextQuery,
}

/// A record and its best chunk.
struct Found {
    key: Key,
    score: f64,
    best: DocAddress,
}

impl Search<'_> {
    fn hits(&self, filter: Option<RecordFilter>, query: &Query) -> tantivy::Result<Hits> {
        let end = query.offset.saturating_add(query.limit).min(DEEPEST);
        let ranked = self.ranked(&*self.chunk_query(filter), query.min_score, end + 1)?;
        let more = ranked.len() > end && end < DEEPEST && query.limit > 0;
        let snippets = Snippets::new(self)?;
        let mut hits = Vec::new();
        for found in ranked.into_iter().take(end).skip(query.offset) {
            hits.extend(self.hit(&snippets, found)?);
        }
        Ok(Hits { hits, more })
    }

    fn chunk_query(&self, filter: Option<RecordFilter>) -> Box<dyn TantivyQuery> {
        let mut query = self.text.wanted.box_clone();
        if let Some(excluded) = &self.text.excluded {
            query = Box::new(BooleanQuery::new(vec![(Occur::Must, query), (Occur::MustNot, excluded.box_clone())]));
        }
        match filter {
            // A filter decides, it does not rank.
            Some(filter) => Box::new(Filtered::new(query, filter)),
            None => query,
        }
    }

    /// The best records, by their best chunks. How many chunks that takes is not
    /// known before, so more are fetched until it is enough.
    fn ranked(&self, query: &dyn TantivyQuery, min_score: Option<f64>, wanted: usize) -> tantivy::Result<Vec<Found>> {
        let all = usize::try_from(self.searcher.num_docs()).unwrap_or(usize::MAX).max(1);
        let mut depth = wanted.saturating_mul(2).max(64);
        loop {
            depth = depth.min(all);
            let chunks = self.searcher.search(query, &TopDocs::with_limit(depth).order_by_score())?;
            // What comes after a chunk below the floor is below it too.
            let is_below = |(score, _): &(f32, DocAddress)| min_score.is_some_and(|least| f64::from(*score) < least);
            let is_all = chunks.len() < depth || depth == all || chunks.last().is_some_and(is_below);
            let found = self.records(chunks, min_score, wanted)?;
            if is_all || found.len() >= wanted {
                return Ok(found);
            }
            depth = depth.saturating_mul(4);
        }
    }

    fn records(
        &self,
        chunks: Vec<(f32, DocAddress)>,
        min_score: Option<f64>,
        wanted: usize,
    ) -> tantivy::Result<Vec<Found>> {
        let mut columns: Vec<Option<Wide>> = self.searcher.segment_readers().iter().map(|_| None).collect();
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for (score, best) in chunks {
            let score = f64::from(score);
            if found.len() >= wanted || min_score.is_some_and(|least| score < least) {
                break;
            }
            let Some(key) = self.key(&mut columns, best)? else { continue };
            if seen.insert(key) && !self.is_excluded(key)? {
                found.push(Found { key, score, best });
            }
        }
        Ok(found)
    }

    fn key(&self, columns: &mut [Option<Wide>], address: DocAddress) -> tantivy::Result<Option<Key>> {
        let ordinal: SegmentOrdinal = address.segment_ord;
        let slot = &mut columns[ordinal as usize];
        let column = match slot {
            Some(column) => column,
            None => slot.insert(Wide::open(self.searcher.segment_reader(ordinal), KEY)?),
        };
        Ok(column.get(address.doc_id).map(Key))
    }

    /// A word is excluded from the record, also where another chunk has it.
    fn is_excluded(&self, key: Key) -> tantivy::Result<bool> {
        let Some(excluded) = &self.text.excluded else { return Ok(false) };
        let record = TermQuery::new(record_term(self.fields, key), IndexRecordOption::Basic);
        let both = BooleanQuery::intersection(vec![Box::new(record), excluded.box_clone()]);
        Ok(both.count(&self.searcher)? > 0)
    }

    fn hit(&self, snippets: &Snippets, found: Found) -> tantivy::Result<Option<Hit>> {
        let chunk: TantivyDocument = self.searcher.doc(found.best)?;
        let content = body(self.fields, &chunk);
        let item = match item(self.fields, found.key, &chunk, content.clone()) {
            Some(item) => Some(item),
            None => {
                let head = head(self.fields, &self.searcher, found.key)?;
                head.and_then(|head| item(self.fields, found.key, &head, content.clone()))
            }
        };
        Ok(item.map(|item| Hit { score: found.score, snippets: snippets.of(&item.title, &content), item }))
    }
}

/// Cuts out what matched.
struct Snippets {
    body: SnippetGenerator,
    title: SnippetGenerator,
}

impl Snippets {
    fn new(search: &Search<'_>) -> tantivy::Result<Self> {
        let generator = |field| {
            let mut generator = SnippetGenerator::create(&search.searcher, &*search.text.wanted, field)?;
            generator.set_max_num_chars(SNIPPET_CHARACTERS);
            tantivy::Result::Ok(generator)
        };
        Ok(Self { body: generator(search.fields.body)?, title: generator(search.fields.title)? })
    }

    /// From the body, else from the title, else how the body starts.
    fn of(&self, title: &str, body: &str) -> Vec<String> {
        let matched = cut_out(&self.body, body).or_else(|| cut_out(&self.title, title));
        let snippet = matched.unwrap_or_else(|| body.chars().take(SNIPPET_CHARACTERS).collect());
        let snippet = snippet.trim();
        if snippet.is_empty() { Vec::new() } else { vec![snippet.to_owned()] }
    }
}

fn cut_out(generator: &SnippetGenerator, text: &str) -> Option<String> {
    let snippet = generator.snippet(text);
    (!snippet.highlighted().is_empty()).then(|| snippet.fragment().to_owned())
}
