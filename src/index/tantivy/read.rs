//! Reads that go by terms and columns: manifests, counts, lists, single items.

use std::collections::BTreeMap;

use tantivy::columnar::Column;
use tantivy::postings::{SegmentPostings, TermInfo};
use tantivy::schema::{IndexRecordOption, TantivyDocument, Term};
use tantivy::termdict::TermStreamer;
use tantivy::{DocAddress, DocId, DocSet, InvertedIndexReader, Searcher, SegmentReader, TERMINATED};

use crate::ids::ConnectionId;
use crate::index::manifest::{Digest, Manifest};
use crate::index::tantivy::document::{body, head_prefix, item, key_of, record_term, whole};
use crate::index::tantivy::schema::{CHUNK, CONNECTION, FINGERPRINT, Fields, KEY, KIND};
use crate::index::{Item, Listing};
use crate::record::{Fingerprint, Key};

/// Two columns that hold one 128-bit number.
pub(crate) struct Wide([Column<u64>; 2]);

impl Wide {
    /// Opens the columns of a segment.
    pub(crate) fn open(segment: &SegmentReader, names: [&str; 2]) -> tantivy::Result<Self> {
        let [high, low] = names;
        Ok(Self([segment.fast_fields().u64(high)?, segment.fast_fields().u64(low)?]))
    }

    /// The number of a document.
    pub(crate) fn get(&self, document: DocId) -> Option<u128> {
        let [high, low] = &self.0;
        Some(whole([high.first(document)?, low.first(document)?]))
    }
}

/// Keys and fingerprints of one object.
pub(crate) fn manifest(
    fields: &Fields,
    searcher: &Searcher,
    connection: &ConnectionId,
    object: &str,
) -> tantivy::Result<Manifest> {
    let mut entries = Vec::new();
    entries_of(fields, searcher, connection, object, |key, fingerprint| entries.push((key, fingerprint)))?;
    Ok(Manifest::new(entries))
}

/// The digest of the same.
pub(crate) fn digest(
    fields: &Fields,
    searcher: &Searcher,
    connection: &ConnectionId,
    object: &str,
) -> tantivy::Result<Digest> {
    let mut digest = Digest::default();
    entries_of(fields, searcher, connection, object, |key, fingerprint| digest.add(key, fingerprint))?;
    Ok(digest)
}

/// The fingerprints of some records.
pub(crate) fn fingerprints(
    fields: &Fields,
    searcher: &Searcher,
    keys: &[Key],
) -> tantivy::Result<Vec<Option<Fingerprint>>> {
    let mut found = vec![None; keys.len()];
    // In the order of the terms, so that what lies together is read together.
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_unstable_by_key(|position| keys[*position]);
    for segment in searcher.segment_readers() {
        let inverted = segment.inverted_index(fields.record)?;
        let fingerprints = Wide::open(segment, FINGERPRINT)?;
        for position in &order {
            let term = record_term(fields, keys[*position]);
            let Some(postings) = inverted.read_postings(&term, IndexRecordOption::Basic)? else { continue };
            // Only the head has one.
            let fingerprint = alive(segment, postings).find_map(|document| fingerprints.get(document));
            if let Some(fingerprint) = fingerprint {
                found[*position] = Some(Fingerprint(fingerprint));
            }
        }
    }
    Ok(found)
}

/// Hands out the keys and fingerprints of one object, from columns alone.
fn entries_of(
    fields: &Fields,
    searcher: &Searcher,
    connection: &ConnectionId,
    object: &str,
    mut take: impl FnMut(Key, Fingerprint),
) -> tantivy::Result<()> {
    let term = Term::from_field_text(fields.head, &format!("{}{object}", head_prefix(connection)));
    for segment in searcher.segment_readers() {
        let inverted = segment.inverted_index(fields.head)?;
        let Some(postings) = inverted.read_postings(&term, IndexRecordOption::Basic)? else { continue };
        let (keys, fingerprints) = (Wide::open(segment, KEY)?, Wide::open(segment, FINGERPRINT)?);
        for document in alive(segment, postings) {
            if let (Some(key), Some(fingerprint)) = (keys.get(document), fingerprints.get(document)) {
                take(Key(key), Fingerprint(fingerprint));
            }
        }
    }
    Ok(())
}

/// Records by what their heads say after the prefix: with the prefix of a
/// connection, by object.
pub(crate) fn heads(fields: &Fields, searcher: &Searcher, prefix: &str) -> tantivy::Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    for segment in searcher.segment_readers() {
        let inverted = segment.inverted_index(fields.head)?;
        let mut terms = inverted.terms().range().ge(prefix.as_bytes()).into_stream()?;
        while terms.advance() && terms.key().starts_with(prefix.as_bytes()) {
            let count = alive_count(segment, &inverted, terms.value())?;
            if count > 0 {
                let rest = String::from_utf8_lossy(&terms.key()[prefix.len()..]).into_owned();
                *counts.entry(rest).or_default() += count;
            }
        }
    }
    Ok(counts)
}

fn alive_count(segment: &SegmentReader, inverted: &InvertedIndexReader, info: &TermInfo) -> tantivy::Result<u64> {
    if !segment.has_deletes() {
        return Ok(u64::from(info.doc_freq));
    }
    let postings = inverted.read_postings_from_terminfo(info, IndexRecordOption::Basic)?;
    Ok(alive(segment, postings).count() as u64)
}

fn alive(segment: &SegmentReader, mut postings: SegmentPostings) -> impl Iterator<Item = DocId> + '_ {
    std::iter::from_fn(move || {
        let document = postings.doc();
        if document == TERMINATED {
            return None;
        }
        postings.advance();
        Some(document)
    })
    .filter(|document| !segment.is_deleted(*document))
}

/// One item with its whole text.
pub(crate) fn get(fields: &Fields, searcher: &Searcher, key: Key) -> tantivy::Result<Option<Item>> {
    let term = record_term(fields, key);
    let mut found = Vec::new();
    for (ordinal, segment) in searcher.segment_readers().iter().enumerate() {
        let inverted = segment.inverted_index(fields.record)?;
        if let Some(postings) = inverted.read_postings(&term, IndexRecordOption::Basic)? {
            found.extend(alive(segment, postings).map(|document| DocAddress::new(ordinal as u32, document)));
        }
    }
    join(fields, searcher, key, &found)
}

/// The item of all its chunks.
fn join(fields: &Fields, searcher: &Searcher, key: Key, chunks: &[DocAddress]) -> tantivy::Result<Option<Item>> {
    let mut numbered = Vec::with_capacity(chunks.len());
    for address in chunks {
        let numbers = searcher.segment_reader(address.segment_ord).fast_fields().u64(CHUNK)?;
        numbered.push((numbers.first(address.doc_id), *address));
    }
    numbered.sort_unstable();
    let mut head = None;
    let mut text = String::new();
    for (_, address) in numbered {
        let document: TantivyDocument = searcher.doc(address)?;
        text.push_str(&body(fields, &document));
        head.get_or_insert(document);
    }
    Ok(head.and_then(|head| item(fields, key, &head, text)))
}

/// The head of a record, without the text of further chunks.
pub(crate) fn head(fields: &Fields, searcher: &Searcher, key: Key) -> tantivy::Result<Option<TantivyDocument>> {
    let term = record_term(fields, key);
    for (ordinal, segment) in searcher.segment_readers().iter().enumerate() {
        let inverted = segment.inverted_index(fields.record)?;
        let Some(postings) = inverted.read_postings(&term, IndexRecordOption::Basic)? else { continue };
        let numbers = segment.fast_fields().u64(CHUNK)?;
        let head = alive(segment, postings).find(|document| numbers.first(*document) == Some(0));
        if let Some(document) = head {
            return searcher.doc(DocAddress::new(ordinal as u32, document)).map(Some);
        }
    }
    Ok(None)
}

/// Items in the order of their keys. Walks the sorted terms of all segments side
/// by side from the last key on, so a page costs what it holds.
pub(crate) fn list(
    fields: &Fields,
    searcher: &Searcher,
    listing: &Listing,
    after: Option<Key>,
) -> tantivy::Result<Vec<Item>> {
    let segments = searcher.segment_readers();
    let wanted = segments.iter().map(|segment| Wanted::open(segment, listing)).collect::<tantivy::Result<Vec<_>>>()?;
    let inverted =
        segments.iter().map(|segment| segment.inverted_index(fields.record)).collect::<tantivy::Result<Vec<_>>>()?;
    let mut cursors =
        inverted.iter().map(|inverted| Cursor::open(inverted, after)).collect::<tantivy::Result<Vec<_>>>()?;
    let mut items = Vec::new();
    while items.len() < listing.limit {
        let Some(key) = cursors.iter().filter_map(|cursor| cursor.key).min() else { break };
        let mut chunks = Vec::new();
        for (ordinal, cursor) in cursors.iter_mut().enumerate().filter(|(_, cursor)| cursor.key == Some(key)) {
            let info = cursor.terms.value();
            let postings = inverted[ordinal].read_postings_from_terminfo(info, IndexRecordOption::Basic)?;
            let documents = alive(&segments[ordinal], postings).filter(|document| wanted[ordinal].has(*document));
            chunks.extend(documents.map(|document| DocAddress::new(ordinal as u32, document)));
            cursor.advance();
        }
        items.extend(join(fields, searcher, Key(key), &chunks)?);
    }
    Ok(items)
}

/// The record terms of a segment.
struct Cursor<'a> {
    terms: TermStreamer<'a>,
    key: Option<u128>,
}

impl<'a> Cursor<'a> {
    fn open(inverted: &'a InvertedIndexReader, after: Option<Key>) -> tantivy::Result<Self> {
        let range = inverted.terms().range();
        let range = match after {
            Some(key) => range.gt(key.0.to_be_bytes()),
            None => range,
        };
        let mut cursor = Self { terms: range.into_stream()?, key: None };
        cursor.advance();
        Ok(cursor)
    }

    fn advance(&mut self) {
        let more = self.terms.advance();
        self.key = more.then(|| <[u8; 16]>::try_from(self.terms.key()).ok().map(u128::from_be_bytes)).flatten();
    }
}

/// Which documents of a segment a listing is after.
struct Wanted {
    filters: Vec<Option<(Column<u64>, u64)>>,
}

impl Wanted {
    fn open(segment: &SegmentReader, listing: &Listing) -> tantivy::Result<Self> {
        let mut filters = Vec::new();
        if let Some(connection) = &listing.connection {
            filters.push(ordinal(segment, CONNECTION, connection.as_str())?);
        }
        if let Some(kind) = &listing.kind {
            filters.push(ordinal(segment, KIND, kind)?);
        }
        Ok(Self { filters })
    }

    /// A filter whose value the segment does not know lets nothing through.
    fn has(&self, document: DocId) -> bool {
        let lets_through = |filter: &Option<(Column<u64>, u64)>| {
            filter.as_ref().is_some_and(|(column, wanted)| column.first(document) == Some(*wanted))
        };
        self.filters.iter().all(lets_through)
    }
}

fn ordinal(segment: &SegmentReader, name: &str, value: &str) -> tantivy::Result<Option<(Column<u64>, u64)>> {
    let Some(column) = segment.fast_fields().str(name)? else { return Ok(None) };
    let ordinal = column.dictionary().term_ord(value.as_bytes())?;
    Ok(ordinal.map(|ordinal| (column.ords().clone(), ordinal)))
}

/// The key after which a listing goes on.
pub(crate) fn position(listing: &Listing) -> Result<Option<Key>, crate::index::IndexError> {
    match &listing.after {
        None => Ok(None),
        Some(id) => key_of(id).map(Some).ok_or(crate::index::IndexError::PageToken),
    }
}
