//! Values of a row: their canonical bytes, from which the fingerprint is made and the
//! document decoded, and their JSON. A value that does not read as its kind is kept as
//! the text that the server sent.

use serde_json::{Number, Value, json};

use super::columns::Kind;

/// Largest whole number up to which a double holds every one.
const EXACT_IN_A_DOUBLE: u64 = 1 << 53;
/// Significant digits that a double always keeps.
const EXACT_DIGITS: usize = 15;

const NULL: u8 = 0;
const GIVEN: u8 = 1;

/// Appends a value as the server sent it.
pub(super) fn encode(value: Option<&[u8]>, bytes: &mut Vec<u8>) {
    match value {
        None => bytes.push(NULL),
        Some(value) => {
            bytes.push(GIVEN);
            bytes.extend((value.len() as u64).to_le_bytes());
            bytes.extend(value);
        }
    }
}

/// Reads back the values of a row; none when the bytes are not ours.
pub(super) fn decode(mut bytes: &[u8], kinds: impl Iterator<Item = Kind>) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    for kind in kinds {
        let (tag, rest) = bytes.split_first()?;
        bytes = rest;
        values.push(match *tag {
            NULL => Value::Null,
            GIVEN => {
                let (length, rest) = bytes.split_first_chunk::<8>()?;
                let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
                let (value, rest) = rest.split_at_checked(length)?;
                bytes = rest;
                // What is no UTF-8 shows as U+FFFD.
                typed(kind, &String::from_utf8_lossy(value))
            }
            _ => return None,
        });
    }
    bytes.is_empty().then_some(values)
}

/// One value of a document.
pub(super) fn typed(kind: Kind, text: &str) -> Value {
    read(kind, text).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn read(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Integer | Kind::Bits => integer(text),
        Kind::Numeric => numeric(text),
        Kind::Double => text.parse().ok().and_then(Number::from_f64).map(Value::Number),
        // The shortest number that is this one of four bytes.
        Kind::Single => {
            let single = text.parse::<f64>().ok()? as f32;
            single.to_string().parse().ok().and_then(Number::from_f64).map(Value::Number)
        }
        Kind::DateTime => moment(text, ""),
        Kind::Timestamp => moment(text, "Z"),
        Kind::Json => {
            let mut value = serde_json::from_str(text).ok()?;
            keep_exact(&mut value);
            Some(value)
        }
        Kind::Bytes => {
            let length: u64 = text.split_once(':')?.0.parse().ok()?;
            Some(json!({ "bytes": length }))
        }
        // No member has a comma in it.
        Kind::Set => Some(text.split(',').filter(|member| !member.is_empty()).map(Value::from).collect()),
        Kind::Text | Kind::LongText | Kind::Date | Kind::Geometry | Kind::Other => None,
    }
}

fn integer(text: &str) -> Option<Value> {
    if let Ok(number) = text.parse::<i64>() {
        return (number.unsigned_abs() <= EXACT_IN_A_DOUBLE).then(|| Value::from(number));
    }
    None
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

/// `2024-02-29 12:00:00.5` to `2024-02-29T12:00:00.5`. What is no day of any calendar,
/// such as `0000-00-00`, stays as it is.
fn moment(text: &str, zone: &str) -> Option<Value> {
    let (date, time) = text.split_once(' ')?;
    chrono::NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    Some(Value::String([date, "T", time, zone].concat()))
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

/// A value as part of a source key. Distinct values have distinct parts.
pub(super) fn key_part(kind: Kind, text: &str) -> Value {
    match kind {
        Kind::Integer => match (text.parse::<i64>(), text.parse::<u64>()) {
            (Ok(number), _) => Value::from(number),
            (Err(_), Ok(number)) => Value::from(number),
            (Err(_), Err(_)) => Value::from(text),
        },
        Kind::Bytes => json!({ "hex": text }),
        _ => Value::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_they_are_or_the_text_of_the_server() {
        for (kind, text, value) in [
            (Kind::Integer, "42", json!(42)),
            (Kind::Integer, "-9007199254740993", json!("-9007199254740993")),
            (Kind::Integer, "18446744073709551615", json!("18446744073709551615")),
            (Kind::Bits, "5", json!(5)),
            (Kind::Numeric, "12.50", json!(12.5)),
            (Kind::Numeric, "123456789012345.6789", json!("123456789012345.6789")),
            (Kind::Single, "1.100000023841858", json!(1.1)),
            (Kind::Double, "0.1", json!(0.1)),
            (Kind::Double, "1e308", json!(1e308)),
            (Kind::Bytes, "5:abcd", json!({"bytes": 5})),
            (Kind::DateTime, "2024-02-29 12:00:00.25", json!("2024-02-29T12:00:00.25")),
            (Kind::Timestamp, "2024-02-29 12:00:00", json!("2024-02-29T12:00:00Z")),
            (Kind::DateTime, "0000-00-00 00:00:00", json!("0000-00-00 00:00:00")),
            (Kind::DateTime, "2024-02-00 00:00:00", json!("2024-02-00 00:00:00")),
            (Kind::Date, "0000-00-00", json!("0000-00-00")),
            (Kind::Other, "-838:59:59", json!("-838:59:59")),
            (Kind::Set, "a,b", json!(["a", "b"])),
            (Kind::Set, "", json!([])),
            (Kind::Json, r#"{"a":[18446744073709551615,1]}"#, json!({"a": ["18446744073709551615", 1]})),
            (Kind::Json, "no json", json!("no json")),
            (Kind::Geometry, "POINT(1 2)", json!("POINT(1 2)")),
        ] {
            assert_eq!(typed(kind, text), value, "{kind:?} {text}");
        }
    }

    #[test]
    fn rows_read_back_and_others_are_refused() {
        let mut bytes = Vec::new();
        encode(Some(b"7"), &mut bytes);
        encode(None, &mut bytes);
        encode(Some(b"a\xffb"), &mut bytes);
        let kinds = || [Kind::Integer, Kind::Text, Kind::Text].into_iter();
        assert_eq!(decode(&bytes, kinds()), Some(vec![json!(7), Value::Null, json!("a\u{fffd}b")]));
        assert_eq!(decode(&bytes[..bytes.len() - 1], kinds()), None);
        assert_eq!(decode(&bytes, kinds().take(2)), None);
        assert_eq!(decode(&[9], [Kind::Text].into_iter()), None);
    }

    #[test]
    fn no_row_is_one_too_many() {
        let mut known = Vec::new();
        encode(Some(b"12.5"), &mut known);
        encode(Some(b"{\"a\": 1}"), &mut known);
        crate::tests::fuzz("mysql rows", crate::tests::tampered(vec![known]), |bytes| {
            for kind in [Kind::Numeric, Kind::Json, Kind::DateTime, Kind::Bytes, Kind::Single, Kind::Set] {
                drop(decode(&bytes, [kind, kind].into_iter()));
                drop(key_part(kind, &String::from_utf8_lossy(&bytes)));
            }
            Ok(())
        });
    }

    #[test]
    fn distinct_keys_have_distinct_parts() {
        let parts = [
            key_part(Kind::Integer, "1"),
            key_part(Kind::Text, "1"),
            key_part(Kind::Bytes, "01"),
            key_part(Kind::Integer, "18446744073709551615"),
        ];
        let written: std::collections::BTreeSet<_> = parts.iter().map(Value::to_string).collect();
        assert_eq!(written.len(), parts.len());
    }
}
