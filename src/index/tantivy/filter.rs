//! Translates filters. What a comparison means is said in `filter/compare.rs`;
//! a test holds the two together.

use std::ops::Bound;

use tantivy::query::{AllQuery, BooleanQuery, Occur, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption, Term};

use crate::filter::compare::{Reading, TextPattern, as_bool, as_number, is_anything};
use crate::filter::{Comparison, Expression, FieldKind, Filter, Literal, Operator};
use crate::index::IndexError;
use crate::index::tantivy::fact_query::{FactQuery, after_all_with};
use crate::index::tantivy::facts::{Tag, fact, number_bytes, path_prefix, tag_prefix, text_bytes, timestamp_bytes};

/// Fields that a filter of documents may have.
pub(crate) const FIELDS: &[(&str, FieldKind)] = &[
    ("source_short_name", FieldKind::Text),
    ("source_connection_id", FieldKind::Text),
    ("object", FieldKind::Text),
    ("type", FieldKind::Text),
    ("title", FieldKind::Text),
    ("url", FieldKind::Text),
    ("created_at", FieldKind::Timestamp),
    ("updated_at", FieldKind::Timestamp),
    ("metadata", FieldKind::Map),
];

/// The query that a filter is.
pub(crate) fn query(filter: &Filter, facts: Field) -> Result<Box<dyn Query>, IndexError> {
    filter.check(FIELDS).map_err(|error| IndexError::Query(error.to_string()))?;
    Ok(expression(&filter.expression, facts))
}

fn expression(wanted: &Expression, facts: Field) -> Box<dyn Query> {
    match wanted {
        Expression::And(parts) if parts.is_empty() => Box::new(AllQuery),
        Expression::And(parts) => joined(Occur::Must, parts, facts),
        Expression::Or(parts) => joined(Occur::Should, parts, facts),
        Expression::Not(inner) => negated(expression(inner, facts)),
        Expression::Comparison(comparison) => compared(comparison, facts),
    }
}

fn joined(occur: Occur, parts: &[Expression], facts: Field) -> Box<dyn Query> {
    Box::new(BooleanQuery::new(parts.iter().map(|part| (occur, expression(part, facts))).collect()))
}

fn negated(query: Box<dyn Query>) -> Box<dyn Query> {
    Box::new(BooleanQuery::new(vec![(Occur::Must, Box::new(AllQuery)), (Occur::MustNot, query)]))
}

fn compared(comparison: &Comparison, facts: Field) -> Box<dyn Query> {
    let Comparison { field, operator, value } = comparison;
    match operator {
        Operator::NotEqual => negated(equal(field, Operator::Equal, value, facts)),
        Operator::Equal | Operator::Has => equal(field, *operator, value, facts),
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            ordered(field, *operator, value, facts)
        }
    }
}

fn equal(path: &[String], operator: Operator, literal: &Literal, facts: Field) -> Box<dyn Query> {
    if is_anything(literal) {
        return anything(path, operator, facts);
    }
    let mut readings = vec![text(path, operator, literal, facts)];
    if let Some(bool) = as_bool(&literal.text) {
        readings.push(term(facts, &fact(path, Tag::Bool, &[u8::from(bool)])));
    }
    if let Some(number) = as_number(&literal.text) {
        readings.push(term(facts, &fact(path, Tag::Number, &number_bytes(number))));
    }
    match Reading::of(literal) {
        Reading::Timestamp(micros) => {
            readings.push(term(facts, &fact(path, Tag::Timestamp, &timestamp_bytes(micros))));
        }
        Reading::Number(number) => {
            readings.push(term(facts, &fact(path, Tag::NumberInText, &number_bytes(number))));
        }
        Reading::Text => {}
    }
    if operator == Operator::Has {
        readings.push(term(facts, &fact(path, Tag::Member, &text_bytes(&literal.text))));
    }
    Box::new(BooleanQuery::union(readings))
}

fn anything(path: &[String], operator: Operator, facts: Field) -> Box<dyn Query> {
    let mut query = FactQuery::starting_with(facts, path_prefix(path));
    if operator != Operator::Has {
        query.upper = Bound::Excluded(tag_prefix(path, Tag::Member));
    }
    Box::new(query)
}

fn text(path: &[String], operator: Operator, literal: &Literal, facts: Field) -> Box<dyn Query> {
    let pattern = TextPattern::new(operator, literal);
    if !pattern.folded && !pattern.open_start && !pattern.open_end {
        return term(facts, &fact(path, Tag::Text, &text_bytes(&pattern.part)));
    }
    let prefix = tag_prefix(path, Tag::Text);
    let skipped = prefix.len();
    let mut query = FactQuery::starting_with(facts, prefix);
    query.pattern = Some((skipped, pattern));
    Box::new(query)
}

fn ordered(path: &[String], operator: Operator, literal: &Literal, facts: Field) -> Box<dyn Query> {
    let mut ranges = Vec::new();
    match Reading::of(literal) {
        Reading::Timestamp(micros) => {
            ranges.push(range(path, Tag::Timestamp, operator, &timestamp_bytes(micros), facts));
        }
        Reading::Number(number) => {
            ranges.push(range(path, Tag::Number, operator, &number_bytes(number), facts));
            ranges.push(range(path, Tag::NumberInText, operator, &number_bytes(number), facts));
        }
        Reading::Text => {
            ranges.push(range(path, Tag::Text, operator, &text_bytes(&literal.text), facts));
            if let Some(number) = as_number(&literal.text) {
                ranges.push(range(path, Tag::Number, operator, &number_bytes(number), facts));
            }
        }
    }
    Box::new(BooleanQuery::union(ranges))
}

fn range(path: &[String], tag: Tag, operator: Operator, value: &[u8], field: Field) -> Box<dyn Query> {
    let all = tag_prefix(path, tag);
    let value = fact(path, tag, value);
    let (lower, upper) = match operator {
        Operator::Less => (Bound::Included(all), Bound::Excluded(value)),
        Operator::LessOrEqual => (Bound::Included(all), Bound::Included(value)),
        Operator::Greater => (Bound::Excluded(value), after_all_with(&all)),
        Operator::GreaterOrEqual => (Bound::Included(value), after_all_with(&all)),
        Operator::Equal | Operator::NotEqual | Operator::Has => {
            (Bound::Included(value.clone()), Bound::Included(value))
        }
    };
    Box::new(FactQuery { field, lower, upper, pattern: None })
}

fn term(field: Field, bytes: &[u8]) -> Box<dyn Query> {
    Box::new(TermQuery::new(Term::from_field_bytes(field, bytes), IndexRecordOption::Basic))
}
