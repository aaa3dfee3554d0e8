//! AIP-160 filters, a subset: comparisons of fields with `AND`, `OR`, `NOT` and
//! parentheses. `OR` binds tighter than `AND`, as the AIP has it.
//!
//! A filter is parsed once at the edge, checked against the fields that exist,
//! and then either evaluated in memory ([`Filter::matches`]) or translated by
//! the index. Both follow the rules of [`compare`].

pub mod compare;
mod lex;
mod parse;
#[cfg(test)]
pub(crate) mod tests;

use serde_json::Value;

use crate::filter::compare::{as_bool, as_number, as_timestamp};

/// Longest filter that is read, in bytes.
pub const MAX_LENGTH: usize = 4096;
/// Deepest nesting of parentheses and negations.
pub const MAX_DEPTH: usize = 32;
/// Most comparisons in one filter.
pub const MAX_COMPARISONS: usize = 100;

/// A parsed filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// What must hold.
    pub expression: Expression,
}

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// All hold. An empty one always does: the filter without text.
    And(Vec<Expression>),
    /// At least one holds.
    Or(Vec<Expression>),
    /// Does not hold.
    Not(Box<Expression>),
    /// A field compared with a value.
    Comparison(Comparison),
}

/// A field compared with a value. One that is missing fulfils `!=` only: `a != b`
/// means `NOT a = b`.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Path of the field: `metadata.a.b` is three segments.
    pub field: Vec<String>,
    /// How to compare.
    pub operator: Operator,
    /// With what.
    pub value: Literal,
}

/// How a field and a value are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `:`, contains.
    Has,
}

impl Operator {
    /// As it is written.
    pub fn sign(self) -> &'static str {
        match self {
            Operator::Equal => "=",
            Operator::NotEqual => "!=",
            Operator::Less => "<",
            Operator::LessOrEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterOrEqual => ">=",
            Operator::Has => ":",
        }
    }

    /// True for the four that need an order.
    pub fn is_ordering(self) -> bool {
        match self {
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => true,
            Operator::Equal | Operator::NotEqual | Operator::Has => false,
        }
    }
}

/// A value as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal {
    /// Without quotes, escapes resolved.
    pub text: String,
    /// True when it was in quotes: then digits are text to a text field.
    pub quoted: bool,
}

/// What a field holds, and so which operators it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// Text: all operators, `*` at the ends of a value stands for anything.
    Text,
    /// One of a fixed list of words: `=`, `!=`, `:`.
    Enum,
    /// `true` or `false`: `=`, `!=`.
    Bool,
    /// A number: all but `:`.
    Number,
    /// RFC 3339 or a date: all but `:`.
    Timestamp,
    /// Free keys below the name (`metadata.KEY`), each with all operators.
    Map,
}

/// Why a filter cannot be used, in words for its writer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It cannot be read.
    #[error("{message} at character {position} of the filter")]
    Syntax {
        /// Counted in characters from 1.
        position: usize,
        /// What is wrong there.
        message: String,
    },
    /// It is longer, deeper or wider than is read.
    #[error("filter has more than {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The most that is read.
        limit: usize,
    },
    /// There is no such field.
    #[error("filter has an unknown field `{field}`; fields are {known}")]
    UnknownField {
        /// The field.
        field: String,
        /// Those that exist.
        known: String,
    },
    /// The field has no such operator.
    #[error("`{operator}` cannot be used with `{field}` in a filter")]
    WrongOperator {
        /// The field.
        field: String,
        /// The operator.
        operator: &'static str,
    },
    /// The value is not one for the field.
    #[error("`{field}` in a filter must be compared with {expected}")]
    WrongValue {
        /// The field.
        field: String,
        /// What could stand there.
        expected: &'static str,
    },
}

/// Reads a filter. Text of only blanks is a filter that everything fulfils.
pub fn parse(text: &str) -> Result<Filter, FilterError> {
    parse::filter(text).map(|expression| Filter { expression })
}

impl Filter {
    /// Every field compared, in the order written.
    pub fn fields(&self) -> Vec<&[String]> {
        self.comparisons().into_iter().map(|comparison| comparison.field.as_slice()).collect()
    }

    /// Every comparison, in the order written.
    pub fn comparisons(&self) -> Vec<&Comparison> {
        let mut found = Vec::new();
        collect(&self.expression, &mut found);
        found
    }

    /// Refuses fields that do not exist and comparisons that make no sense for
    /// what a field holds.
    pub fn check(&self, allowed: &[(&str, FieldKind)]) -> Result<(), FilterError> {
        self.comparisons().into_iter().try_for_each(|comparison| check(comparison, allowed))
    }

    /// Evaluates against something whose fields `lookup` gives; `None` is a field
    /// without a value.
    pub fn matches(&self, lookup: &dyn Fn(&[String]) -> Option<Value>) -> Result<bool, FilterError> {
        Ok(holds(&self.expression, lookup))
    }
}

fn collect<'a>(expression: &'a Expression, found: &mut Vec<&'a Comparison>) {
    match expression {
        Expression::And(parts) | Expression::Or(parts) => parts.iter().for_each(|part| collect(part, found)),
        Expression::Not(inner) => collect(inner, found),
        Expression::Comparison(comparison) => found.push(comparison),
    }
}

fn holds(expression: &Expression, lookup: &dyn Fn(&[String]) -> Option<Value>) -> bool {
    match expression {
        Expression::And(parts) => parts.iter().all(|part| holds(part, lookup)),
        Expression::Or(parts) => parts.iter().any(|part| holds(part, lookup)),
        Expression::Not(inner) => !holds(inner, lookup),
        Expression::Comparison(comparison) => {
            compare::holds(lookup(&comparison.field).as_ref(), comparison.operator, &comparison.value)
        }
    }
}

fn check(comparison: &Comparison, allowed: &[(&str, FieldKind)]) -> Result<(), FilterError> {
    let field = comparison.field.join(".");
    let kind = kind_of(&comparison.field, allowed)
        .ok_or_else(|| FilterError::UnknownField { field: field.clone(), known: known(allowed) })?;
    if !has_operator(kind, comparison.operator) {
        return Err(FilterError::WrongOperator { field, operator: comparison.operator.sign() });
    }
    match expected(kind, &comparison.value) {
        None => Ok(()),
        Some(expected) => Err(FilterError::WrongValue { field, expected }),
    }
}

fn kind_of(field: &[String], allowed: &[(&str, FieldKind)]) -> Option<FieldKind> {
    let (first, rest) = field.split_first()?;
    let (_, kind) = allowed.iter().find(|(name, _)| name == first)?;
    ((*kind == FieldKind::Map) != rest.is_empty()).then_some(*kind)
}

fn known(allowed: &[(&str, FieldKind)]) -> String {
    let names = allowed.iter().map(|(name, kind)| match kind {
        FieldKind::Map => format!("`{name}.KEY`"),
        FieldKind::Text | FieldKind::Enum | FieldKind::Bool | FieldKind::Number | FieldKind::Timestamp => {
            format!("`{name}`")
        }
    });
    names.collect::<Vec<_>>().join(", ")
}

fn has_operator(kind: FieldKind, operator: Operator) -> bool {
    match kind {
        FieldKind::Text | FieldKind::Map => true,
        FieldKind::Enum => !operator.is_ordering(),
        FieldKind::Bool => matches!(operator, Operator::Equal | Operator::NotEqual),
        FieldKind::Number | FieldKind::Timestamp => operator != Operator::Has,
    }
}

/// What should have been written instead, if the value is not one of the kind.
fn expected(kind: FieldKind, value: &Literal) -> Option<&'static str> {
    match kind {
        FieldKind::Text | FieldKind::Enum | FieldKind::Map => None,
        FieldKind::Bool => as_bool(&value.text).is_none().then_some("`true` or `false`"),
        FieldKind::Number => as_number(&value.text).is_none().then_some("a number"),
        FieldKind::Timestamp => {
            as_timestamp(&value.text).is_none().then_some("an RFC 3339 time such as 2026-01-31T00:00:00Z")
        }
    }
}
