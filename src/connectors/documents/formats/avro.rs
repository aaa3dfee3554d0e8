//! Avro: the rows of its container files, as many as the text has room for.
//!
//! The library reads the schema. Blocks and values are read here: it would make room
//! for as many items as a block announces, and expand a block whatever comes out.

mod values;

use std::collections::HashMap;
use std::io::Read;

use apache_avro::Schema;
use apache_avro::schema::ResolvedSchema;
use flate2::read::DeflateDecoder;
use serde_json::Value;

use super::budget::{Budget, read_whole};
use super::rows::Rows;
use super::{Content, too_large, unparsable};
use crate::connectors::RecordError;
use values::{Values, bytes, long};

const MEDIA_TYPE: &str = "application/vnd.apache.avro";
/// What one block may become.
const BLOCK_BYTES: u64 = 64 * 1024 * 1024;
const MOST_METADATA: usize = 1_000;

pub(super) fn content(file: &[u8], budget: &Budget) -> Result<Content, RecordError> {
    let mut rest = file.strip_prefix(b"Obj\x01").ok_or_else(unparsable)?;
    let metadata = metadata(&mut rest).ok_or_else(unparsable)?;
    let schema = metadata.get("avro.schema").ok_or_else(unparsable)?;
    let mut schema: Value = serde_json::from_slice(schema).map_err(|_| unparsable())?;
    tolerate(&mut schema);
    let schema = Schema::parse(&schema).map_err(|_| unparsable())?;
    let resolved = ResolvedSchema::try_from(&schema).map_err(|_| unparsable())?;
    let codec = metadata.get("avro.codec").copied().unwrap_or(b"null");
    let marker = rest.split_off(..16).ok_or_else(unparsable)?;
    let mut found = Rows::default();
    while !rest.is_empty() {
        let read = block(&mut rest, marker)
            .ok_or_else(unparsable)
            .and_then(|(count, packed)| Ok((count, expanded(codec, packed, budget)?)))
            .and_then(|(count, expanded)| values_of(count, &expanded, &schema, &resolved, &mut found));
        match read {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) if found.is_empty() => return Err(error),
            Err(_) => {
                found.cut();
                break;
            }
        }
    }
    Ok(found.into_content(MEDIA_TYPE))
}

/// Lets pass what the library refuses: names of inner classes of Java, and errors,
/// which are records.
fn tolerate(schema: &mut Value) {
    match schema {
        Value::String(text) => *text = text.replace('$', "_"),
        Value::Array(items) => items.iter_mut().for_each(tolerate),
        Value::Object(members) => {
            members.values_mut().for_each(tolerate);
            if members.contains_key("fields") {
                members.insert("type".to_owned(), "record".into());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The words that a file begins with.
fn metadata<'a>(rest: &mut &'a [u8]) -> Option<HashMap<&'a str, &'a [u8]>> {
    let mut found = HashMap::new();
    loop {
        let count = long(rest)?;
        if count == 0 {
            return Some(found);
        }
        if count < 0 {
            // The size of the block follows, which only readers need that skip it.
            long(rest)?;
        }
        for _ in 0..count.unsigned_abs() {
            let name = std::str::from_utf8(bytes(rest)?).ok()?;
            found.insert(name, bytes(rest)?);
            if found.len() > MOST_METADATA {
                return None;
            }
        }
    }
}

/// Number of rows and bytes of the next block.
fn block<'a>(rest: &mut &'a [u8], marker: &[u8]) -> Option<(i64, &'a [u8])> {
    let count = long(rest).filter(|count| *count >= 0)?;
    let packed = bytes(rest)?;
    (rest.split_off(..16)? == marker).then_some((count, packed))
}

fn expanded(codec: &[u8], packed: &[u8], budget: &Budget) -> Result<Vec<u8>, RecordError> {
    let length = packed.len() as u64;
    let whole = |reader: &mut dyn Read| read_whole(budget.counted(reader, length), BLOCK_BYTES);
    match codec {
        b"null" => Ok(packed.to_vec()),
        b"deflate" => whole(&mut DeflateDecoder::new(packed)),
        b"zstandard" => whole(&mut zstd::Decoder::with_buffer(packed).map_err(|_| unparsable())?),
        b"snappy" => {
            // A checksum follows.
            let packed = packed.split_last_chunk::<4>().map(|(packed, _)| packed).ok_or_else(unparsable)?;
            let length = snap::raw::decompress_len(packed).map_err(|_| unparsable())? as u64;
            if length > BLOCK_BYTES {
                return Err(too_large());
            }
            budget.spend(length)?;
            snap::raw::Decoder::new().decompress_vec(packed).map_err(|_| unparsable())
        }
        _ => Err(unparsable()),
    }
}

/// Rows of one block; false when no more are wanted.
fn values_of(
    count: i64,
    block: &[u8],
    schema: &Schema,
    resolved: &ResolvedSchema<'_>,
    found: &mut Rows,
) -> Result<bool, RecordError> {
    let mut values = Values::of(block, resolved.get_names());
    for _ in 0..count {
        values.value("", schema, &None, found).ok_or_else(unparsable)?;
        if !found.end_row() {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(schema: &str, codec: &str, count: u8, block: &[u8]) -> Vec<u8> {
        let mut file = b"Obj\x01\x04".to_vec();
        for (name, value) in [("avro.schema", schema), ("avro.codec", codec)] {
            for part in [name, value] {
                let length = (part.len() as u64) << 1;
                file.extend([(length & 0x7f | 0x80) as u8, (length >> 7) as u8]);
                file.extend(part.as_bytes());
            }
        }
        file.extend([0]);
        file.extend([7; 16]);
        let length = (block.len() as u64) << 1;
        file.extend([count << 1, (length & 0x7f | 0x80) as u8, (length >> 7) as u8]);
        file.extend(block);
        file.extend([7; 16]);
        file
    }

    fn taken(schema: &str, codec: &str, count: u8, block: &[u8]) -> Result<Content, RecordError> {
        content(&file(schema, codec, count, block), &Budget::default())
    }

    const ROW: &str = r#"{"type":"record","name":"a.Row","fields":[{"name":"name","type":"string"},
        {"name":"price","type":["null",{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}]},
        {"name":"on","type":{"type":"int","logicalType":"date"}},{"name":"tags","type":{"type":"array","items":"string"}},
        {"name":"next","type":["null","Row"]}]}"#;

    #[test]
    fn rows_give_their_columns() {
        // Stove, 12.50, 2024-03-01, [a, b], and a row in it.
        let row =
            [&b"\x0aStove\x02\x04\x04\xe2\x8e\xb5\x02\x04\x02a\x02b\x00\x02"[..], b"\x02x\x00\x00\x00\x00"].concat();
        let content = taken(ROW, "null", 1, &row).unwrap();
        assert_eq!(
            content.body,
            "name: Stove, price: 12.50, on: 2024-03-01, tags: a, tags: b, next.name: x, next.on: 1970-01-01\n"
        );
    }

    #[test]
    fn names_of_java_and_errors_are_tolerated() {
        let error = r#"{"type":"error","name":"E","namespace":"org.Job$","fields":[{"name":"a","type":"string"}]}"#;
        assert_eq!(taken(error, "null", 1, b"\x02x").unwrap().body, "a: x\n");
    }

    #[test]
    fn what_is_announced_and_not_there_costs_nothing() {
        let array = r#"{"type":"array","items":"null"}"#;
        // As many items as a number can say, each of no bytes.
        let endless = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(taken(array, "null", 1, endless).unwrap_err().code, "unparsable");
        let circle = r#"{"type":"record","name":"R","fields":[{"name":"r","type":"R"}]}"#;
        assert_eq!(taken(circle, "null", 1, b"").unwrap_err().code, "unparsable");
        assert_eq!(taken("\"string\"", "null", 1, b"\xfe\xff\xff\xff\x0f").unwrap_err().code, "unparsable");
        assert_eq!(taken("\"string\"", "snappy", 1, b"\xff\xff\xff\xff\x0f....").unwrap_err().code, "too_large");
        assert_eq!(taken("\"string\"", "other", 1, b"\x02a").unwrap_err().code, "unparsable");
        assert_eq!(taken("{", "null", 1, b"\x02a").unwrap_err().code, "unparsable");
        assert_eq!(
            taken("\"string\"", "null", 2, b"\x02a").map(|content| (content.body, content.truncated)).unwrap(),
            ("a\n".to_owned(), true)
        );
    }
}
