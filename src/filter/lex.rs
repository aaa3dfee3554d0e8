//! Words and signs of a filter.

use crate::filter::{FilterError, Operator};

/// A piece of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// `(`
    Open,
    /// `)`
    Close,
    /// `-` before something that it negates.
    Minus,
    /// A comparison.
    Operator(Operator),
    /// A bare word: a field, a keyword, a number, a time.
    Word(String),
    /// A text in quotes, escapes resolved.
    Quoted(String),
}

/// A piece and where it starts, in characters from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) token: Token,
    pub(crate) position: usize,
}

/// Cuts a filter into its pieces.
pub(crate) fn tokens(text: &str) -> Result<Vec<Placed>, FilterError> {
    let mut lexer = Lexer { characters: text.chars().collect(), at: 0 };
    let mut found: Vec<Placed> = Vec::new();
    while lexer.skip_blanks() {
        let position = lexer.at + 1;
        let after_operator = matches!(found.last(), Some(Placed { token: Token::Operator(_), .. }));
        let token = lexer.token(after_operator)?;
        found.push(Placed { token, position });
    }
    Ok(found)
}

struct Lexer {
    characters: Vec<char>,
    at: usize,
}

impl Lexer {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    /// False at the end.
    fn skip_blanks(&mut self) -> bool {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
        self.peek().is_some()
    }

    /// A value may hold signs that end a field: a time has colons.
    fn token(&mut self, is_value: bool) -> Result<Token, FilterError> {
        let Some(character) = self.peek() else { return Err(self.error("nothing is left")) };
        match character {
            '(' => Ok(self.sign(Token::Open)),
            ')' => Ok(self.sign(Token::Close)),
            '"' | '\'' => self.quoted(character),
            '-' if !is_value => Ok(self.sign(Token::Minus)),
            '=' | '!' | '<' | '>' | ':' => self.operator(character),
            _ => match self.word(is_value) {
                // What begins nothing: without a step there would be no end.
                word if word.is_empty() => Err(self.error(&format!("`{character}` is not expected"))),
                word => Ok(Token::Word(word)),
            },
        }
    }

    fn sign(&mut self, token: Token) -> Token {
        self.at += 1;
        token
    }

    fn operator(&mut self, character: char) -> Result<Token, FilterError> {
        let has_equals = self.characters.get(self.at + 1) == Some(&'=');
        let operator = match (character, has_equals) {
            ('=', false) => Operator::Equal,
            ('!', true) => Operator::NotEqual,
            ('<', false) => Operator::Less,
            ('<', true) => Operator::LessOrEqual,
            ('>', false) => Operator::Greater,
            ('>', true) => Operator::GreaterOrEqual,
            (':', false) => Operator::Has,
            ('=', true) => return Err(self.error("`==` is not an operator, `=` is")),
            _ => return Err(self.error(&format!("`{character}` is not expected"))),
        };
        self.at += if has_equals { 2 } else { 1 };
        Ok(Token::Operator(operator))
    }

    fn word(&mut self, is_value: bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(|character| continues_word(character, is_value)) {
            self.at += 1;
        }
        self.characters[start..self.at].iter().collect()
    }

    fn quoted(&mut self, quote: char) -> Result<Token, FilterError> {
        let unclosed = self.error("the quote that opens is not closed");
        self.at += 1;
        let mut text = String::new();
        loop {
            let character = self.peek().ok_or_else(|| unclosed.clone())?;
            self.at += 1;
            match character {
                '\\' => text.push(self.escaped()?),
                _ if character == quote => return Ok(Token::Quoted(text)),
                _ => text.push(character),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, FilterError> {
        let resolved = match self.peek() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some(character @ ('"' | '\'' | '\\')) => character,
            Some(_) | None => {
                return Err(self.error("`\\` must be followed by one of `\"`, `'`, `\\`, `n`, `r`, `t`"));
            }
        };
        self.at += 1;
        Ok(resolved)
    }

    fn error(&self, message: &str) -> FilterError {
        FilterError::Syntax { position: self.at + 1, message: message.to_owned() }
    }
}

fn continues_word(character: char, is_value: bool) -> bool {
    match character {
        '(' | ')' | '"' | '\'' | ',' => false,
        ':' => is_value,
        '=' | '!' | '<' | '>' => false,
        _ => !character.is_whitespace(),
    }
}
