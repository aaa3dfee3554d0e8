//! Statements in the log: what they mean to a follower. They are not understood, only
//! told apart; what is in doubt counts as a change.

use std::collections::HashSet;

/// Longest statement that is looked into.
const LONGEST: usize = 256 * 1024;

/// What a statement does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    /// A transaction begins.
    Begin,
    /// The transaction ends, with or without what it did.
    End,
    /// Rows are what they were.
    Harmless,
    /// A table loses all rows: its database, if it says, and its name.
    Emptied { database: Option<String>, table: String },
    /// Rows change that nobody names.
    Data,
    /// A transaction that was prepared long ago ends.
    PreparedEnds,
    /// Something is defined anew.
    Definition,
}

/// A part of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A word without quotes.
    Word(String),
    /// A name in quotes.
    Name(String),
    /// Anything else.
    Sign(char),
}

impl Token {
    /// True when it is this word, in whatever case.
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(text) if text.eq_ignore_ascii_case(word))
    }

    /// The name that it may be.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Word(text) | Self::Name(text) => Some(text),
            Self::Sign(_) => None,
        }
    }
}

/// The parts of a statement, without its comments, but with what is in comments that
/// servers run.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '`' | '"' | '\'' => {
                let (name, end) = quoted(rest, first);
                tokens.push(if first == '\'' { Token::Sign('\'') } else { Token::Name(name) });
                end
            }
            '#' => line(rest),
            '-' if rest.starts_with("--") => line(rest),
            '/' if rest.starts_with("/*!") || rest.starts_with("/*M!") => 3,
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            _ if is_of_word(first) => {
                let end = rest.find(|letter| !is_of_word(letter)).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].to_owned()));
                end
            }
            _ => {
                if !first.is_whitespace() {
                    tokens.push(Token::Sign(first));
                }
                first.len_utf8()
            }
        };
        rest = &rest[end..];
    }
    tokens
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '$' || !letter.is_ascii()
}

fn line(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// What is within quotes, and where it ends.
fn quoted(text: &str, quote: char) -> (String, usize) {
    let mut inside = String::new();
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == quote {
            if letters.next_if(|(_, next)| *next == quote).is_none() {
                return (inside, at + 1);
            }
        } else if letter == '\\' && quote != '`' {
            letters.next();
        }
        inside.push(letter);
    }
    (inside, text.len())
}

impl Statement {
    /// Tells what it is.
    pub(super) fn of(text: &[u8]) -> Self {
        // Those of transactions are the most frequent by far.
        match text {
            b"BEGIN" => return Self::Begin,
            b"COMMIT" => return Self::End,
            _ if text.len() > LONGEST => return Self::Definition,
            _ => {}
        }
        let tokens = tokens(&String::from_utf8_lossy(text));
        let Some(first) = tokens.first() else { return Self::Harmless };
        let is_second = |words: &[&str]| tokens.get(1).is_some_and(|token| words.iter().any(|word| token.is(word)));
        let is_first = |words: &[&str]| words.iter().any(|word| first.is(word));
        if is_first(&["BEGIN"]) || (is_first(&["START"]) && is_second(&["TRANSACTION"])) {
            Self::Begin
        } else if is_first(&["COMMIT"]) || (is_first(&["ROLLBACK"]) && !is_second(&["TO"])) {
            Self::End
        } else if is_first(&["XA"]) {
            match () {
                () if is_second(&["START", "BEGIN"]) => Self::Begin,
                () if is_second(&["COMMIT"]) => Self::PreparedEnds,
                () if is_second(&["ROLLBACK"]) => Self::End,
                () => Self::Harmless,
            }
        } else if is_first(&["ROLLBACK", "SAVEPOINT", "RELEASE", "FLUSH", "ANALYZE", "OPTIMIZE", "CHECK"])
            || (is_first(&["CREATE", "DROP"]) && is_second(&["TEMPORARY"]))
        {
            Self::Harmless
        } else if is_first(&["INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "CALL", "WITH", "DO", "SELECT"]) {
            Self::Data
        } else if is_first(&["TRUNCATE"]) {
            emptied(&tokens[1..]).unwrap_or(Self::Definition)
        } else {
            Self::Definition
        }
    }
}

/// `[TABLE] [database.]table` and nothing else.
fn emptied(tokens: &[Token]) -> Option<Statement> {
    let rest = match tokens {
        [first, rest @ ..] if first.is("TABLE") && !rest.is_empty() => rest,
        _ => tokens,
    };
    let rest = match rest {
        [rest @ .., Token::Sign(';')] => rest,
        _ => rest,
    };
    match rest {
        [table] => Some(Statement::Emptied { database: None, table: table.name()?.to_owned() }),
        [database, Token::Sign('.'), table] => {
            Some(Statement::Emptied { database: Some(database.name()?.to_owned()), table: table.name()?.to_owned() })
        }
        _ => None,
    }
}

/// True when a definition may be about one of these names, which are in lower case.
pub(super) fn names_any(text: &[u8], names: &HashSet<String>) -> bool {
    // In other character sets, names are written otherwise.
    if text.len() > LONGEST || !text.is_ascii() {
        return true;
    }
    let tokens = tokens(&String::from_utf8_lossy(text));
    tokens.iter().filter_map(Token::name).any(|name| names.contains(&name.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_apart() {
        let emptied = |database: Option<&str>, table: &str| Statement::Emptied {
            database: database.map(str::to_owned),
            table: table.to_owned(),
        };
        for (text, expected) in [
            ("BEGIN", Statement::Begin),
            ("start transaction", Statement::Begin),
            ("COMMIT", Statement::End),
            ("ROLLBACK", Statement::End),
            ("ROLLBACK TO `s`", Statement::Harmless),
            ("SAVEPOINT `s`", Statement::Harmless),
            ("XA START X'61',X'',1", Statement::Begin),
            ("XA COMMIT X'61',X'',1", Statement::PreparedEnds),
            ("# Dummy event replacing event type 160", Statement::Harmless),
            ("FLUSH TABLES", Statement::Harmless),
            ("CREATE TEMPORARY TABLE x (a int)", Statement::Harmless),
            ("TRUNCATE TABLE t", emptied(None, "t")),
            ("/* a comment */ truncate `Odd``db`.`t` ;", emptied(Some("Odd`db"), "t")),
            ("TRUNCATE t WAIT 5", Statement::Definition),
            ("-- one\nINSERT INTO t VALUES (1)", Statement::Data),
            ("/*!40000 ALTER TABLE t DISABLE KEYS */", Statement::Definition),
            ("CREATE TABLE t (a int)", Statement::Definition),
            ("GRANT SELECT ON *.* TO u", Statement::Definition),
        ] {
            assert_eq!(Statement::of(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn names_are_found_whatever_their_quotes_and_case() {
        let names = HashSet::from(["orders".to_owned(), "od`d".to_owned()]);
        for text in ["ALTER TABLE Orders ADD x int", "RENAME TABLE shop.`orders` TO o", "DROP TABLE `Od``d`", "ö"] {
            assert!(names_any(text.as_bytes(), &names), "{text}");
        }
        for text in ["ALTER TABLE orders2 ADD x int", "CREATE TABLE x (a int COMMENT 'of orders')", "/* orders */"] {
            assert!(!names_any(text.as_bytes(), &names), "{text}");
        }
    }

    #[test]
    fn no_statement_is_one_too_many() {
        let known = vec![b"TRUNCATE `a``b`.c /* x */ -- y\n 'it\\'s' \"n\"".to_vec(), "ö#`".as_bytes().to_vec()];
        crate::tests::fuzz("mysql statements", crate::tests::tampered(known), |bytes| {
            drop(Statement::of(&bytes));
            names_any(&bytes, &HashSet::new());
            Ok(())
        });
    }
}
