//! How a value and a literal compare.
//!
//! The literal decides where an order is needed: one that reads as a time is
//! compared with times, a bare number with numbers (also those kept as text
//! because a double would lose their digits), anything else with text, by its
//! bytes. Equality holds when any reading is equal. A list fulfils what one of
//! its elements fulfils.

use std::cmp::Ordering;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use serde_json::Value;

use crate::filter::{Literal, Operator};

/// A number that sorts exactly as its value does, for all doubles and for whole
/// numbers of 128 bits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number {
    /// The nearest double.
    pub double: f64,
    /// The whole part, where the double is too coarse.
    pub whole: i128,
}

impl Number {
    fn from_double(double: f64) -> Option<Self> {
        // A cast saturates, which keeps the order.
        double.is_finite().then_some(Self { double: double + 0.0, whole: double.floor() as i128 })
    }

    fn order(&self, other: &Self) -> Ordering {
        self.double.total_cmp(&other.double).then(self.whole.cmp(&other.whole))
    }
}

/// The text as a number, if it is a plain decimal.
pub fn as_number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.starts_with(|character: char| character.is_ascii_digit()) {
        return None;
    }
    if let Ok(whole) = text.parse::<i128>() {
        return Some(Number { double: whole as f64, whole });
    }
    text.parse::<f64>().ok().and_then(Number::from_double)
}

/// The text of a field as a number: leading zeros make it a code, not a number.
pub fn text_as_number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let is_code = digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit();
    if is_code { None } else { as_number(text) }
}

/// A JSON number.
pub fn json_number(number: &serde_json::Number) -> Option<Number> {
    if let Some(whole) = number.as_i128() {
        return Some(Number { double: whole as f64, whole });
    }
    number.as_f64().and_then(Number::from_double)
}

/// `true` or `false`.
pub fn as_bool(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Microseconds since 1970 UTC of an RFC 3339 time; also of one without an
/// offset and of a date, both taken as UTC.
pub fn as_timestamp(text: &str) -> Option<i64> {
    // Cheap first look: most text is no time.
    let bytes = text.as_bytes();
    if bytes.len() < 10 || bytes[4] != b'-' || !bytes[0].is_ascii_digit() {
        return None;
    }
    if let Some(micros) = plain_utc(bytes) {
        return Some(micros);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    if let Ok(time) = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f") {
        return Some(time.and_utc().timestamp_micros());
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
}

/// The form that nearly all times have, read by hand, since every value of a row
/// is asked: `2024-02-29T12:00:00`, up to six digits of a second, `Z` or nothing.
fn plain_utc(bytes: &[u8]) -> Option<i64> {
    let bytes = bytes.strip_suffix(b"Z").unwrap_or(bytes);
    let (whole, fraction) = bytes.split_at_checked(19)?;
    let digits = |range: std::ops::Range<usize>| {
        whole[range]
            .iter()
            .try_fold(0_u32, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
    };
    let marks = [whole[4], whole[7], whole[10], whole[13], whole[16]];
    if marks != [b'-', b'-', b'T', b':', b':'] {
        return None;
    }
    let micros = match fraction.strip_prefix(b".") {
        None if fraction.is_empty() => 0,
        Some(digits) if (1..=6).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) => {
            let number = digits.iter().fold(0, |number, byte| number * 10 + i64::from(byte - b'0'));
            number * 10_i64.pow(6 - digits.len() as u32)
        }
        _ => return None,
    };
    let date = NaiveDate::from_ymd_opt(i32::try_from(digits(0..4)?).ok()?, digits(5..7)?, digits(8..10)?)?;
    let time = date.and_hms_opt(digits(11..13)?, digits(14..16)?, digits(17..19)?)?;
    Some(time.and_utc().timestamp_micros() + micros)
}

/// True when the comparison holds for the value of a field.
pub fn holds(value: Option<&Value>, operator: Operator, literal: &Literal) -> bool {
    if operator == Operator::NotEqual {
        return !holds(value, Operator::Equal, literal);
    }
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Array(elements)) => elements.iter().any(|element| holds(Some(element), operator, literal)),
        Some(Value::Object(members)) => operator == Operator::Has && has_member(members, literal),
        Some(Value::Bool(bool)) => bool_holds(*bool, operator, literal),
        Some(Value::Number(number)) => number_holds(number, operator, literal),
        Some(Value::String(text)) => text_holds(text, operator, literal),
    }
}

fn has_member(members: &serde_json::Map<String, Value>, literal: &Literal) -> bool {
    is_anything(literal) && !members.is_empty() || members.get(&literal.text).is_some_and(|member| !member.is_null())
}

/// `*` alone: any value at all.
pub fn is_anything(literal: &Literal) -> bool {
    literal.text == "*"
}

fn bool_holds(value: bool, operator: Operator, literal: &Literal) -> bool {
    if operator.is_ordering() {
        return false;
    }
    is_anything(literal) || as_bool(&literal.text) == Some(value)
}

fn number_holds(value: &serde_json::Number, operator: Operator, literal: &Literal) -> bool {
    if !operator.is_ordering() && is_anything(literal) {
        return true;
    }
    match (json_number(value), as_number(&literal.text)) {
        (Some(value), Some(literal)) => order_holds(value.order(&literal), operator),
        _ => false,
    }
}

fn text_holds(value: &str, operator: Operator, literal: &Literal) -> bool {
    if !operator.is_ordering() {
        return TextPattern::new(operator, literal).matches(value) || reads_equal(value, literal);
    }
    match Reading::of(literal) {
        Reading::Timestamp(literal) => {
            as_timestamp(value).is_some_and(|value| order_holds(value.cmp(&literal), operator))
        }
        Reading::Number(literal) => {
            text_as_number(value).is_some_and(|value| order_holds(value.order(&literal), operator))
        }
        Reading::Text => order_holds(value.as_bytes().cmp(literal.text.as_bytes()), operator),
    }
}

fn reads_equal(value: &str, literal: &Literal) -> bool {
    match Reading::of(literal) {
        Reading::Timestamp(literal) => as_timestamp(value) == Some(literal),
        Reading::Number(literal) => text_as_number(value).is_some_and(|value| value.order(&literal) == Ordering::Equal),
        Reading::Text => false,
    }
}

/// What a literal is to a text field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading {
    /// A time.
    Timestamp(i64),
    /// A bare number.
    Number(Number),
    /// Text.
    Text,
}

impl Reading {
    /// The reading of a literal.
    pub fn of(literal: &Literal) -> Self {
        if let Some(timestamp) = as_timestamp(&literal.text) {
            return Reading::Timestamp(timestamp);
        }
        match as_number(&literal.text) {
            Some(number) if !literal.quoted => Reading::Number(number),
            Some(_) | None => Reading::Text,
        }
    }
}

/// True when values in this order fulfil the operator.
pub fn order_holds(order: Ordering, operator: Operator) -> bool {
    match operator {
        Operator::Equal | Operator::Has => order.is_eq(),
        Operator::NotEqual => order.is_ne(),
        Operator::Less => order.is_lt(),
        Operator::LessOrEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        Operator::GreaterOrEqual => order.is_ge(),
    }
}

/// What `=` and `:` ask of a text: the whole of it, its start (`a*`), its end
/// (`*a`) or any part (`*a*`; `:` always). `=` minds upper and lower case, `:`
/// does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPattern {
    /// What must be in the text, in lower case if case does not matter.
    pub part: String,
    /// Something may stand before the part.
    pub open_start: bool,
    /// Something may stand after the part.
    pub open_end: bool,
    /// Upper and lower case are the same.
    pub folded: bool,
}

impl TextPattern {
    /// The pattern of a literal under `=` (and `!=`) or `:`.
    pub fn new(operator: Operator, literal: &Literal) -> Self {
        let starred_start = literal.text.strip_prefix('*');
        let rest = starred_start.unwrap_or(&literal.text);
        let starred_end = rest.strip_suffix('*');
        let part = starred_end.unwrap_or(rest);
        // `name:jo*` asks for a start, `name:jo` for any part.
        let contains = operator == Operator::Has && starred_start.is_none() && starred_end.is_none();
        Self {
            part: if operator == Operator::Has { part.to_lowercase() } else { part.to_owned() },
            open_start: starred_start.is_some() || contains,
            open_end: starred_end.is_some() || literal.text == "*" || contains,
            folded: operator == Operator::Has,
        }
    }

    /// True when the text is as asked.
    pub fn matches(&self, text: &str) -> bool {
        if self.folded { self.matches_folded(&text.to_lowercase()) } else { self.matches_folded(text) }
    }

    fn matches_folded(&self, text: &str) -> bool {
        match (self.open_start, self.open_end) {
            (false, false) => text == self.part,
            (false, true) => text.starts_with(&self.part),
            (true, false) => text.ends_with(&self.part),
            (true, true) => text.contains(&self.part),
        }
    }
}
