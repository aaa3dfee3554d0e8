//! Cuts text into words: runs of letters and digits. Scripts that are written
//! without blanks have no runs worth looking for, so each of their characters
//! is a word, and a search for several of them is a search for a phrase.

use std::iter::Peekable;
use std::str::CharIndices;

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

/// The tokenizer.
#[derive(Clone, Default)]
pub(crate) struct Words {
    token: Token,
}

/// Words of one text.
pub(crate) struct WordStream<'a> {
    text: &'a str,
    characters: Peekable<CharIndices<'a>>,
    token: &'a mut Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        self.token.reset();
        WordStream { text, characters: text.char_indices().peekable(), token: &mut self.token }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        self.token.text.clear();
        self.token.position = self.token.position.wrapping_add(1);
        while let Some((from, character)) = self.characters.next() {
            if character.is_alphanumeric() {
                let to = if stands_alone(character) { from + character.len_utf8() } else { self.end_of_run() };
                self.token.offset_from = from;
                self.token.offset_to = to;
                self.token.text.push_str(&self.text[from..to]);
                return true;
            }
        }
        false
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

impl WordStream<'_> {
    fn end_of_run(&mut self) -> usize {
        while let Some((at, character)) = self.characters.peek().copied() {
            if !character.is_alphanumeric() && !is_mark(character) || stands_alone(character) {
                return at;
            }
            self.characters.next();
        }
        self.text.len()
    }
}

/// Accents written as characters of their own belong to the letter before.
fn is_mark(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36f}')
}

/// Han, kana, Thai, Lao, Khmer and Burmese.
fn stands_alone(character: char) -> bool {
    matches!(character,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3005}'..='\u{3007}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use crate::index::tantivy::schema::exact;

    fn words(text: &str) -> Vec<String> {
        let mut analyzer = exact();
        let mut stream = analyzer.token_stream(text);
        let mut found = Vec::new();
        stream.process(&mut |token| found.push(token.text.clone()));
        found
    }

    #[test]
    fn words_are_runs_and_characters_of_scripts_without_blanks() {
        assert_eq!(words("Crème brûlée, 24-hour!"), ["creme", "brulee", "24", "hour"]);
        assert_eq!(words("v2東京タワーok"), ["v2", "東", "京", "タ", "ワ", "ー", "ok"]);
        assert_eq!(words("Приве́т мир"), ["приве\u{301}т", "мир"]);
        assert!(words("??? -- ...").is_empty());
    }
}
