//! Cuts text into words: runs of letters and digits. Scripts that are written
//! without blanks have no runs worth looking for, so each of their characters
//! is a word, and a search for several of them is a search for a phrase.

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

/// The tokenizer.
#[derive(Clone, Default)]
pub(crate) struct Words {
    token: Token,
}

/// Words of one text.
pub(crate) struct WordStream<'a> {
    text: &'a str,
    at: usize,
    token: &'a mut Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        self.token.reset();
        WordStream { text, at: 0, token: &mut self.token }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        self.token.text.clear();
        self.token.position = self.token.position.wrapping_add(1);
        while let Some(character) = self.next_character() {
            let from = self.at;
            self.at += character.len_utf8();
            if character.is_alphanumeric() {
                if !stands_alone(character) {
                    self.go_to_end_of_run();
                }
                self.token.offset_from = from;
                self.token.offset_to = self.at;
                self.token.text.push_str(&self.text[from..self.at]);
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
    /// Most text is ASCII, where a byte is a character.
    fn next_character(&self) -> Option<char> {
        match *self.text.as_bytes().get(self.at)? {
            byte if byte.is_ascii() => Some(char::from(byte)),
            _ => self.text[self.at..].chars().next(),
        }
    }

    fn go_to_end_of_run(&mut self) {
        while let Some(character) = self.next_character() {
            let goes_on = if character.is_ascii() {
                character.is_ascii_alphanumeric()
            } else {
                (character.is_alphanumeric() || is_mark(character)) && !stands_alone(character)
            };
            if !goes_on {
                return;
            }
            self.at += character.len_utf8();
        }
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
    use crate::index::tantivy::schema;

    fn words(text: &str) -> Vec<String> {
        let mut analyzer = schema::words();
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
