//! The server's text of a value to typed JSON. A value that does not read as its
//! type is kept as the text that the server sent.

use serde_json::{Number, Value, json};

use super::kinds::Kind;

/// Largest whole number up to which a double holds every one.
const EXACT_IN_A_DOUBLE: u64 = 1 << 53;
/// Significant digits that a double always keeps.
const EXACT_DIGITS: usize = 15;
/// Arrays have six dimensions at most.
const DEEPEST: usize = 6;

/// One value.
pub(super) fn typed(kind: &Kind, text: &str) -> Value {
    read(kind, text).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn read(kind: &Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Boolean => match text {
            "t" => Some(Value::Bool(true)),
            "f" => Some(Value::Bool(false)),
            _ => None,
        },
        Kind::Integer => integer(text),
        Kind::Numeric => numeric(text),
        Kind::Float => text.parse().ok().and_then(Number::from_f64).map(Value::Number),
        Kind::Timestamp => timestamp(text, ""),
        Kind::TimestampWithZone => timestamp(text.strip_suffix("+00")?, "Z"),
        Kind::Json => {
            let mut value = serde_json::from_str(text).ok()?;
            keep_exact(&mut value);
            Some(value)
        }
        Kind::Bytes => bytes(text),
        Kind::Array(element, delimiter) => array(element, *delimiter, text),
        Kind::Text | Kind::Other => None,
    }
}

fn integer(text: &str) -> Option<Value> {
    let number: i64 = text.parse().ok()?;
    (number.unsigned_abs() <= EXACT_IN_A_DOUBLE).then(|| Value::from(number))
}

fn numeric(text: &str) -> Option<Value> {
    if let Some(whole) = integer(text) {
        return Some(whole);
    }
    let digits = text.trim_start_matches(['-', '0', '.']).bytes().filter(u8::is_ascii_digit).count();
    if digits > EXACT_DIGITS {
        return None;
    }
    text.parse().ok().and_then(Number::from_f64).map(Value::Number)
}

/// `2024-02-29 12:00:00.5` to `2024-02-29T12:00:00.5`. Infinity, years before
/// Christ and beyond 9999 stay as they are.
fn timestamp(text: &str, zone: &str) -> Option<Value> {
    let (date, time) = text.split_once(' ')?;
    (date.len() == 10 && !time.contains(' ')).then(|| Value::String([date, "T", time, zone].concat()))
}

/// Microseconds since 1970 of a moment; one without a zone is taken for UTC.
pub(super) fn microseconds(kind: &Kind, text: &str) -> Option<i64> {
    let Value::String(moment) = typed(kind, text) else { return None };
    crate::filter::compare::as_timestamp(&moment)
}

/// Whole numbers in JSON that a double would change become texts.
fn keep_exact(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let too_large = number.as_u64().is_some_and(|number| number > EXACT_IN_A_DOUBLE)
                || number.as_i64().is_some_and(|number| number.unsigned_abs() > EXACT_IN_A_DOUBLE);
            if too_large {
                *value = Value::String(number.to_string());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(keep_exact),
        Value::Object(members) => members.values_mut().for_each(keep_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// `length:hash` of a column, or `\x..` within an array.
fn bytes(text: &str) -> Option<Value> {
    let length = match text.strip_prefix("\\x") {
        Some(digits) => digits.len() as u64 / 2,
        None => text.split_once(':')?.0.parse().ok()?,
    };
    Some(json!({ "bytes": length }))
}

/// `{1,NULL,"a b"}`, `{{1,2},{3,4}}`, `[0:1]={1,2}`.
fn array(element: &Kind, delimiter: char, text: &str) -> Option<Value> {
    let literal = match text.strip_prefix('[') {
        Some(bounded) => bounded.split_once('=')?.1,
        None => text,
    };
    let mut reader = ArrayReader { rest: literal, element, delimiter };
    let value = reader.dimension(0)?;
    reader.rest.is_empty().then_some(value)
}

struct ArrayReader<'a> {
    rest: &'a str,
    element: &'a Kind,
    delimiter: char,
}

impl ArrayReader<'_> {
    fn dimension(&mut self, depth: usize) -> Option<Value> {
        if depth > DEEPEST {
            return None;
        }
        self.rest = self.rest.strip_prefix('{')?;
        let mut items = Vec::new();
        if let Some(rest) = self.rest.strip_prefix('}') {
            self.rest = rest;
            return Some(Value::Array(items));
        }
        loop {
            items.push(match self.rest.chars().next()? {
                '{' => self.dimension(depth + 1)?,
                '"' => self.quoted()?,
                _ => self.plain()?,
            });
            let next = self.rest.chars().next()?;
            self.rest = &self.rest[next.len_utf8()..];
            match next {
                '}' => return Some(Value::Array(items)),
                next if next == self.delimiter => {}
                _ => return None,
            }
        }
    }

    fn quoted(&mut self) -> Option<Value> {
        let mut text = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((position, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[position + 1..];
                    return Some(typed(self.element, &text));
                }
                '\\' => text.push(characters.next()?.1),
                other => text.push(other),
            }
        }
        None
    }

    fn plain(&mut self) -> Option<Value> {
        let end = self.rest.find([self.delimiter, '}'])?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(if text == "NULL" { Value::Null } else { typed(self.element, text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_numbers_only_where_a_double_keeps_them() {
        let table = [
            (Kind::Integer, "42", json!(42)),
            (Kind::Integer, "-9007199254740992", json!(-9_007_199_254_740_992_i64)),
            (Kind::Integer, "9007199254740993", json!("9007199254740993")),
            (Kind::Integer, "-9223372036854775808", json!("-9223372036854775808")),
            (Kind::Numeric, "12.50", json!(12.5)),
            (Kind::Numeric, "-0.000001", json!(-0.000001)),
            (Kind::Numeric, "123456789012345.6", json!("123456789012345.6")),
            (Kind::Numeric, "100000000000000000000", json!("100000000000000000000")),
            (Kind::Numeric, "NaN", json!("NaN")),
            (Kind::Float, "1.1", json!(1.1)),
            (Kind::Float, "Infinity", json!("Infinity")),
            (Kind::Float, "NaN", json!("NaN")),
            (Kind::Boolean, "t", json!(true)),
            (Kind::Json, r#"{"a":[1,9007199254740993,null]}"#, json!({"a": [1, "9007199254740993", null]})),
            (Kind::Json, "not json", json!("not json")),
            (Kind::Bytes, "5:abcd", json!({"bytes": 5})),
        ];
        for (kind, text, value) in table {
            assert_eq!(typed(&kind, text), value, "{kind:?} {text}");
        }
    }

    #[test]
    fn moments_are_rfc_3339_where_they_can_be() {
        let table = [
            (Kind::TimestampWithZone, "2024-02-29 12:00:00.25+00", json!("2024-02-29T12:00:00.25Z")),
            (Kind::Timestamp, "2024-02-29 12:00:00", json!("2024-02-29T12:00:00")),
            (Kind::Timestamp, "infinity", json!("infinity")),
            (Kind::TimestampWithZone, "0044-03-15 12:00:00+00 BC", json!("0044-03-15 12:00:00+00 BC")),
            (Kind::Timestamp, "0044-03-15 12:00:00 BC", json!("0044-03-15 12:00:00 BC")),
        ];
        for (kind, text, value) in table {
            assert_eq!(typed(&kind, text), value, "{text}");
        }
        assert_eq!(microseconds(&Kind::TimestampWithZone, "1970-01-01 00:00:01.5+00"), Some(1_500_000));
        assert_eq!(microseconds(&Kind::Timestamp, "-infinity"), None);
    }

    #[test]
    fn arrays_are_read_whatever_is_in_them() {
        let array = |element: Kind| Kind::Array(Box::new(element), ',');
        let table = [
            (array(Kind::Integer), "{}", json!([])),
            (array(Kind::Integer), "{1,NULL,3}", json!([1, null, 3])),
            (array(Kind::Integer), "{{1,2},{3,4}}", json!([[1, 2], [3, 4]])),
            (array(Kind::Integer), "[0:1]={7,8}", json!([7, 8])),
            (
                array(Kind::Text),
                r#"{a,"b c","q\"\\",NULL,"NULL","{x}",""}"#,
                json!(["a", "b c", "q\"\\", null, "NULL", "{x}", ""]),
            ),
            (array(Kind::Json), r#"{"{\"a\": 1}"}"#, json!([{"a": 1}])),
            (array(Kind::Bytes), r#"{"\\x0102"}"#, json!([{"bytes": 2}])),
            (
                Kind::Array(Box::new(Kind::Other), ';'),
                "{(1,1),(0,0);(3,3),(2,2)}",
                json!(["(1,1),(0,0)", "(3,3),(2,2)"]),
            ),
            (array(Kind::Integer), "{1,2", json!("{1,2")),
            (array(Kind::Integer), "{1}x", json!("{1}x")),
        ];
        for (kind, text, value) in table {
            assert_eq!(typed(&kind, text), value, "{text}");
        }
    }
}
