//! Values of a row: their canonical bytes, from which the fingerprint is made and
//! the document decoded, and their JSON.

use rusqlite::types::ValueRef;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;

/// Above this a double loses digits.
const EXACT: u64 = 1 << 53;

/// Appends a value. Texts are kept as they are, of a blob only its length and
/// hash: enough to see a change, and all that a document shows.
pub(super) fn encode(value: ValueRef<'_>, bytes: &mut Vec<u8>) {
    match value {
        ValueRef::Null => bytes.push(NULL),
        ValueRef::Integer(integer) => {
            bytes.push(INTEGER);
            bytes.extend(integer.to_le_bytes());
        }
        ValueRef::Real(real) => {
            bytes.push(REAL);
            bytes.extend(real.to_bits().to_le_bytes());
        }
        ValueRef::Text(text) => {
            bytes.push(TEXT);
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text);
        }
        ValueRef::Blob(blob) => {
            bytes.push(BLOB);
            bytes.extend((blob.len() as u64).to_le_bytes());
            bytes.extend(xxh3_128(blob).to_le_bytes());
        }
    }
}

/// Reads back all values of a row; none when the bytes are not ours.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    while let Some((tag, rest)) = bytes.split_first() {
        bytes = rest;
        values.push(match *tag {
            NULL => Value::Null,
            INTEGER => integer(i64::from_le_bytes(take(&mut bytes)?)),
            REAL => real(f64::from_bits(u64::from_le_bytes(take(&mut bytes)?))),
            TEXT => {
                let length = usize::try_from(u64::from_le_bytes(take(&mut bytes)?)).ok()?;
                let (text, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                // What is no UTF-8 shows as U+FFFD.
                Value::String(String::from_utf8_lossy(text).into_owned())
            }
            BLOB => {
                let length = u64::from_le_bytes(take(&mut bytes)?);
                take::<16>(&mut bytes)?;
                json!({ "bytes": length })
            }
            _ => return None,
        });
    }
    Some(values)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

fn integer(integer: i64) -> Value {
    if integer.unsigned_abs() > EXACT { Value::String(integer.to_string()) } else { Value::from(integer) }
}

/// JSON has no infinity.
fn real(real: f64) -> Value {
    serde_json::Number::from_f64(real).map_or_else(|| Value::String(real.to_string()), Value::Number)
}

/// A value as part of a source key. Distinct values have distinct parts.
pub(super) fn key_part(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(integer) => Value::from(integer),
        ValueRef::Real(number) => real(number),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Value::from(text),
            Err(_) => json!({ "text": hexadecimal(text) }),
        },
        ValueRef::Blob(blob) => json!({ "blob": hexadecimal(blob) }),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_reads_back() {
        let mut bytes = Vec::new();
        for value in [
            ValueRef::Null,
            ValueRef::Integer(-7),
            ValueRef::Integer(i64::MAX),
            ValueRef::Real(0.1),
            ValueRef::Real(f64::INFINITY),
            ValueRef::Text("Größe".as_bytes()),
            ValueRef::Text(b"a\xffb"),
            ValueRef::Blob(b"123"),
        ] {
            encode(value, &mut bytes);
        }
        let expected = json!([
            null, -7, "9223372036854775807", 0.1, "inf", "Größe", "a\u{fffd}b", { "bytes": 3 }
        ]);
        assert_eq!(decode(&bytes).map(Value::Array), Some(expected));
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(decode(&[9]), None);
    }

    #[test]
    fn a_blob_that_changes_changes_the_bytes() {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        encode(ValueRef::Blob(b"abc"), &mut before);
        encode(ValueRef::Blob(b"abd"), &mut after);
        assert_ne!(before, after);
    }
}
