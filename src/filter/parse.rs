//! From words to conditions.
//!
//! ```text
//! filter   = sequence, { "AND", sequence } ;     (* juxtaposition is AND too *)
//! sequence = factor, { "OR", factor } ;          (* OR binds tighter *)
//! factor   = [ "NOT" | "-" ], ( "(", filter, ")" | field, operator, value ) ;
//! ```

use crate::filter::lex::{Placed, Token, tokens};
use crate::filter::{Comparison, Expression, FilterError, Literal, MAX_COMPARISONS, MAX_DEPTH, MAX_LENGTH};

/// Reads a whole filter.
pub(crate) fn filter(text: &str) -> Result<Expression, FilterError> {
    if text.len() > MAX_LENGTH {
        return Err(FilterError::TooLarge { what: "bytes", limit: MAX_LENGTH });
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, comparisons: 0, end: text.chars().count() + 1 };
    if parser.tokens.is_empty() {
        return Ok(Expression::And(Vec::new()));
    }
    let expression = parser.conjunction()?;
    match parser.peek() {
        None => Ok(expression),
        Some(_) => Err(parser.error("`)` closes nothing")),
    }
}

struct Parser {
    tokens: Vec<Placed>,
    at: usize,
    depth: usize,
    comparisons: usize,
    end: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|placed| &placed.token)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += 1;
        token
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(text)) if text == word);
        if found {
            self.at += 1;
        }
        found
    }

    fn conjunction(&mut self) -> Result<Expression, FilterError> {
        let mut parts = vec![self.disjunction()?];
        while self.take_word("AND") || !matches!(self.peek(), None | Some(Token::Close)) {
            parts.push(self.disjunction()?);
        }
        Ok(single_or(parts, Expression::And))
    }

    fn disjunction(&mut self) -> Result<Expression, FilterError> {
        let mut parts = vec![self.factor()?];
        while self.take_word("OR") {
            parts.push(self.factor()?);
        }
        Ok(single_or(parts, Expression::Or))
    }

    fn factor(&mut self) -> Result<Expression, FilterError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(FilterError::TooLarge { what: "levels of nesting", limit: MAX_DEPTH });
        }
        let factor = self.negation_or_simple();
        self.depth -= 1;
        factor
    }

    fn negation_or_simple(&mut self) -> Result<Expression, FilterError> {
        if self.take_word("NOT") || self.take_minus() {
            return Ok(Expression::Not(Box::new(self.factor()?)));
        }
        if matches!(self.peek(), Some(Token::Open)) {
            self.at += 1;
            return self.parenthesized();
        }
        self.comparison()
    }

    fn take_minus(&mut self) -> bool {
        let found = matches!(self.peek(), Some(Token::Minus));
        if found {
            self.at += 1;
        }
        found
    }

    fn parenthesized(&mut self) -> Result<Expression, FilterError> {
        let inner = self.conjunction()?;
        match self.peek() {
            Some(Token::Close) => {
                self.at += 1;
                Ok(inner)
            }
            Some(_) | None => Err(self.error("a `)` is missing")),
        }
    }

    fn comparison(&mut self) -> Result<Expression, FilterError> {
        let field = self.field()?;
        let operator = match self.peek() {
            Some(Token::Operator(operator)) => *operator,
            Some(_) | None => {
                return Err(self.error(&format!(
                    "`{}` needs an operator and a value after it: words to search for go into the query",
                    field.join(".")
                )));
            }
        };
        self.at += 1;
        let value = self.value()?;
        self.comparisons += 1;
        if self.comparisons > MAX_COMPARISONS {
            return Err(FilterError::TooLarge { what: "comparisons", limit: MAX_COMPARISONS });
        }
        Ok(Expression::Comparison(Comparison { field, operator, value }))
    }

    /// Segments are words joined by dots; a segment in quotes may hold anything.
    fn field(&mut self) -> Result<Vec<String>, FilterError> {
        let Some(Token::Word(word)) = self.peek() else {
            return Err(self.error("a field is expected"));
        };
        if matches!(word.as_str(), "AND" | "OR" | "NOT") {
            return Err(self.error(&format!("a field is expected before `{word}`")));
        }
        let mut path: Vec<String> = word.split('.').map(str::to_owned).collect();
        self.at += 1;
        while path.last().is_some_and(String::is_empty) {
            let Some(Token::Quoted(segment)) = self.peek().cloned() else { break };
            self.at += 1;
            path.pop();
            path.push(segment);
            self.rest_of_path(&mut path);
        }
        if path.iter().any(String::is_empty) {
            self.at -= 1;
            return Err(self.error("a part of the field's name is empty"));
        }
        Ok(path)
    }

    fn rest_of_path(&mut self, path: &mut Vec<String>) {
        let Some(Token::Word(word)) = self.peek() else { return };
        if let Some(rest) = word.strip_prefix('.') {
            path.extend(rest.split('.').map(str::to_owned));
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result<Literal, FilterError> {
        match self.peek() {
            Some(Token::Word(_) | Token::Quoted(_)) => {}
            Some(_) | None => return Err(self.error("a value is expected")),
        }
        match self.take() {
            Some(Token::Quoted(text)) => Ok(Literal { text, quoted: true }),
            Some(Token::Word(text)) => Ok(Literal { text, quoted: false }),
            Some(_) | None => Err(self.error("a value is expected")),
        }
    }

    fn error(&self, message: &str) -> FilterError {
        let position = self.tokens.get(self.at).map_or(self.end, |placed| placed.position);
        FilterError::Syntax { position, message: message.to_owned() }
    }
}

fn single_or(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.remove(0),
        _ => many(parts),
    }
}
