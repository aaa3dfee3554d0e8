//! From what people type to a query. There is no syntax to get wrong: words,
//! `"phrases"`, `-excluded` words and phrases, and a `*` at the end of a word for
//! all words that start so. Any word finds; a document with all of them is better.

use std::ops::Bound;

use tantivy::query::{
    BooleanQuery, BoostQuery, ConstScoreQuery, InvertedIndexRangeQuery, Occur, PhraseQuery, Query, TermQuery,
};
use tantivy::schema::{Field, IndexRecordOption, Term};
use tantivy::tokenizer::TextAnalyzer;

use crate::index::tantivy::ranking::{self, Ranking, Word};
use crate::index::tantivy::schema::{self, Fields};
use crate::index::tantivy::stems::{marked, stem};

/// A word in a title counts as much as this many in a body.
const TITLE_BOOST: f32 = 3.0;
/// Most words and phrases looked at; more would only cost.
const MOST_UNITS: usize = 64;

/// What a text asks for.
#[derive(Debug)]
pub(crate) struct TextQuery {
    /// Documents that match, scored.
    pub(crate) wanted: Box<dyn Query>,
    /// Records that must not be found.
    pub(crate) excluded: Option<Box<dyn Query>>,
}

/// The query of a text; `None` when it has no word to look for.
pub(crate) fn parse(fields: &Fields, text: &str) -> Option<TextQuery> {
    let mut analyzers = Analyzers { fields, words: schema::words() };
    let mut wanted = Vec::new();
    let mut excluded = Vec::new();
    // What there is to rank, as long as there is nothing but words.
    let mut words = Some(Vec::new());
    for unit in units(text).into_iter().take(MOST_UNITS) {
        let Some(query) = analyzers.unit(&unit) else { continue };
        if unit.excluded {
            excluded.push(query);
            continue;
        }
        wanted.push(query);
        words = words.zip(analyzers.word(&unit)).map(|(mut words, word)| {
            words.push(word);
            words
        });
    }
    if wanted.is_empty() {
        return None;
    }
    let excluded = (!excluded.is_empty()).then(|| union(excluded));
    let plain = any_and_better_all(wanted);
    let wanted = match words {
        Some(words) => Box::new(Ranking::new(words, plain)),
        None => plain,
    };
    Some(TextQuery { wanted, excluded })
}

fn any_and_better_all(mut wanted: Vec<Box<dyn Query>>) -> Box<dyn Query> {
    if wanted.len() > 1 {
        let all = wanted.iter().map(|query| (Occur::Must, query.box_clone())).collect();
        wanted.push(Box::new(BooleanQuery::new(all)));
    }
    union(wanted)
}

fn union(mut queries: Vec<Box<dyn Query>>) -> Box<dyn Query> {
    if queries.len() == 1 { queries.remove(0) } else { Box::new(BooleanQuery::union(queries)) }
}

/// A word or phrase as typed.
#[derive(Debug, PartialEq, Eq)]
struct Unit {
    text: String,
    quoted: bool,
    excluded: bool,
}

fn units(text: &str) -> Vec<Unit> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let negated =
            rest.strip_prefix('-').filter(|after| after.starts_with(|c: char| c == '"' || c.is_alphanumeric()));
        let start = negated.unwrap_or(rest);
        let (text, quoted, after) = match start.strip_prefix('"') {
            // A quote that is never closed goes to the end.
            Some(inner) => {
                let (text, after) = inner.split_once('"').unwrap_or((inner, ""));
                (text, true, after)
            }
            None => {
                let end = start.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(start.len());
                (&start[..end], false, &start[end..])
            }
        };
        found.push(Unit { text: text.to_owned(), quoted, excluded: negated.is_some() });
        rest = after.trim_start();
    }
    found
}

struct Analyzers<'a> {
    fields: &'a Fields,
    words: TextAnalyzer,
}

impl Analyzers<'_> {
    fn unit(&mut self, unit: &Unit) -> Option<Box<dyn Query>> {
        let words = words(&mut self.words, &unit.text);
        if let (Some(start), false, [(_, word)]) = (unit.text.strip_suffix('*'), unit.quoted, words.as_slice())
            && !start.is_empty()
        {
            return Some(self.starting_with(word));
        }
        let Fields { title, body, .. } = *self.fields;
        let mut queries = vec![boosted(together(title, &words)?), together(body, &words)?];
        if !unit.quoted {
            queries.extend(all_by_stem(title, &words).map(boosted));
            queries.extend(all_by_stem(body, &words));
        }
        Some(union(queries))
    }

    /// What stands for a unit that is one word; the same as its query.
    fn word(&mut self, unit: &Unit) -> Option<Word> {
        let words = words(&mut self.words, &unit.text);
        let [(_, word)] = words.as_slice() else { return None };
        if !unit.quoted && unit.text.ends_with('*') {
            return None;
        }
        let mut terms = Word::new();
        for (field, counts) in [(self.fields.title, TITLE_BOOST), (self.fields.body, 1.0)] {
            ranking::add(&mut terms, Term::from_field_text(field, word), counts);
            if !unit.quoted {
                for form in forms(word) {
                    ranking::add(&mut terms, Term::from_field_text(field, &form), counts);
                }
            }
        }
        Some(terms)
    }

    fn starting_with(&self, start: &str) -> Box<dyn Query> {
        union(vec![boosted(prefix(self.fields.title, start)), prefix(self.fields.body, start)])
    }
}

fn words(analyzer: &mut TextAnalyzer, text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    analyzer.token_stream(text).process(&mut |token| found.push((token.position, token.text.clone())));
    found
}

/// The words next to each other.
fn together(field: Field, words: &[(usize, String)]) -> Option<Box<dyn Query>> {
    match words {
        [] => None,
        [(_, word)] => Some(term(field, word)),
        words => {
            let terms = words.iter().map(|(position, word)| (*position, Term::from_field_text(field, word)));
            Some(Box::new(PhraseQuery::new_with_offset(terms.collect())))
        }
    }
}

/// All the words anywhere, in any of their forms.
fn all_by_stem(field: Field, words: &[(usize, String)]) -> Option<Box<dyn Query>> {
    match words {
        [] => None,
        [(_, word)] => Some(any_form(field, word)),
        words => {
            Some(Box::new(BooleanQuery::intersection(words.iter().map(|(_, word)| any_form(field, word)).collect())))
        }
    }
}

fn any_form(field: Field, word: &str) -> Box<dyn Query> {
    union(forms(word).iter().map(|form| term(field, form)).collect())
}

/// What words of the same stem are found by. A stem that is a word of its own is
/// indexed as the word only.
fn forms(word: &str) -> [String; 2] {
    let stem = stem(word).unwrap_or_else(|| word.to_owned());
    [marked(&stem), stem]
}

fn term(field: Field, word: &str) -> Box<dyn Query> {
    Box::new(TermQuery::new(Term::from_field_text(field, word), IndexRecordOption::WithFreqs))
}

fn prefix(field: Field, start: &str) -> Box<dyn Query> {
    let lower = Bound::Included(Term::from_field_text(field, start));
    let upper = Bound::Excluded(Term::from_field_text(field, &format!("{start}\u{10ffff}")));
    Box::new(ConstScoreQuery::new(Box::new(InvertedIndexRangeQuery::new(lower, upper)), 1.0))
}

fn boosted(query: Box<dyn Query>) -> Box<dyn Query> {
    Box::new(BoostQuery::new(query, TITLE_BOOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let show = |unit: Unit| {
            let (minus, quote) = (if unit.excluded { "-" } else { "" }, if unit.quoted { "'" } else { "" });
            format!("{minus}{quote}{}{quote}", unit.text)
        };
        units(text).into_iter().map(show).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn any_text_is_cut_into_words_and_phrases() {
        let cases = [
            ("", ""),
            ("one two", "one|two"),
            ("  \"one  two\" three", "'one  two'|three"),
            ("one -two -\"three four\"", "one|-two|-'three four'"),
            ("a - b -- c", "a|-|b|--|c"),
            ("well-known", "well-known"),
            ("\"never closed", "'never closed'"),
            ("x\"y z\"", "x|'y z'"),
            ("title:(a AND b) ^~*", "title:(a|AND|b)|^~*"),
        ];
        for (text, units) in cases {
            assert_eq!(shown(text), units, "{text}");
        }
    }
}
