//! Adds the stem of a word behind the word, at its position, where the two
//! differ: one field finds words as written and words of the same stem, for
//! little more than the price of the words alone.
//!
//! A stem is marked, so that a phrase, which is looked for as written, does not
//! find another form of its words.

use frostem::{Algorithm, Stemmer};
use tantivy::tokenizer::{Token, TokenFilter, TokenStream, Tokenizer};
use xxhash_rust::xxh3::xxh3_64;

/// What a stem begins with; no word does.
const MARK: char = '\u{1}';
/// Longer words are names or noise, which have no endings.
const LONGEST: usize = 32;
/// Words whose stems are remembered: few words make up most of a text.
const REMEMBERED: usize = 2048;

/// The filter; wants words in lower case.
#[derive(Clone)]
pub(crate) struct WithStems;

/// The tokenizer below the filter.
#[derive(Clone)]
pub(crate) struct Stemming<T> {
    inner: T,
    stem: Token,
    stems: Stems,
}

/// Finds stems, and remembers those of the words met last.
#[derive(Clone, Default)]
struct Stems {
    slots: Vec<Option<Remembered>>,
}

/// A word, and its stem where it has one of its own.
#[derive(Clone)]
struct Remembered {
    word: Box<str>,
    stem: Option<Box<str>>,
}

impl Stems {
    /// The stem of a word that may have endings, where it has one of its own.
    fn of(&mut self, word: &str) -> Option<&str> {
        if self.slots.is_empty() {
            self.slots.resize(REMEMBERED, None);
        }
        let slot = &mut self.slots[xxh3_64(word.as_bytes()) as usize % REMEMBERED];
        match slot {
            Some(remembered) if *remembered.word == *word => {}
            _ => *slot = Some(Remembered { word: word.into(), stem: stem(word).map(String::into_boxed_str) }),
        }
        slot.as_ref().and_then(|remembered| remembered.stem.as_deref())
    }
}

/// Words and stems of one text.
pub(crate) struct StemStream<'a, T> {
    inner: T,
    stems: &'a mut Stems,
    stem: &'a mut Token,
    /// The stem of the current word comes next.
    follows: bool,
    /// The stem is the current token.
    is_stem: bool,
}

/// The term that stands for a stem.
pub(crate) fn marked(stem: &str) -> String {
    format!("{MARK}{stem}")
}

/// The stem of a word in lower case, where it has one of its own.
pub(crate) fn stem(word: &str) -> Option<String> {
    let stemmer = Stemmer::new(Algorithm::English);
    has_endings(word).then(|| stemmer.stem(word)).filter(|stem| *stem != word).map(|stem| stem.into_owned())
}

/// English endings are of letters.
fn has_endings(word: &str) -> bool {
    word.len() > 2 && word.len() <= LONGEST && word.bytes().all(|byte| byte.is_ascii_lowercase())
}

impl TokenFilter for WithStems {
    type Tokenizer<T: Tokenizer> = Stemming<T>;

    fn transform<T: Tokenizer>(self, inner: T) -> Stemming<T> {
        Stemming { inner, stem: Token::default(), stems: Stems::default() }
    }
}

impl<T: Tokenizer> Tokenizer for Stemming<T> {
    type TokenStream<'a> = StemStream<'a, T::TokenStream<'a>>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Self::TokenStream<'a> {
        let inner = self.inner.token_stream(text);
        StemStream { inner, stems: &mut self.stems, stem: &mut self.stem, follows: false, is_stem: false }
    }
}

impl<T: TokenStream> TokenStream for StemStream<'_, T> {
    fn advance(&mut self) -> bool {
        if self.follows {
            self.follows = false;
            self.is_stem = true;
            return true;
        }
        self.is_stem = false;
        if !self.inner.advance() {
            return false;
        }
        let word = self.inner.token();
        let stem = if has_endings(&word.text) { self.stems.of(&word.text) } else { None };
        if let Some(stem) = stem {
            self.stem.text.clear();
            self.stem.text.push(MARK);
            self.stem.text.push_str(stem);
            self.stem.position = word.position;
            self.stem.offset_from = word.offset_from;
            self.stem.offset_to = word.offset_to;
            self.follows = true;
        }
        true
    }

    fn token(&self) -> &Token {
        if self.is_stem { self.stem } else { self.inner.token() }
    }

    fn token_mut(&mut self) -> &mut Token {
        if self.is_stem { self.stem } else { self.inner.token_mut() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tantivy::schema::words_and_stems;

    #[test]
    fn a_stem_stands_behind_its_word_where_it_differs() {
        let mut analyzer = words_and_stems();
        let mut found = Vec::new();
        analyzer.token_stream("Running dogs, a dog; r2d2s").process(&mut |token| {
            found.push((token.position, token.text.replace(MARK, "~"), token.offset_from, token.offset_to));
        });
        let expected = [
            (0, "running", 0, 7),
            (0, "~run", 0, 7),
            (1, "dogs", 8, 12),
            (1, "~dog", 8, 12),
            (2, "a", 14, 15),
            (3, "dog", 16, 19),
            (4, "r2d2s", 21, 26),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(at, word, from, to)| (*at, word.to_string(), *from, *to)).collect();
        assert_eq!(found, expected);
        assert_eq!((stem("dogs").as_deref(), stem("dog"), stem("r2d2s")), (Some("dog"), None, None));
    }
}
