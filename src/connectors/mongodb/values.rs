//! Values of a document as plain JSON. What JSON has no word for becomes the text that
//! the shell would show; whole numbers that a double would change become texts.

use bson::raw::{RawArray, RawBsonRef, RawDocument, RawDocumentBuf, cstr};
use bson::spec::BinarySubtype;
use serde_json::{Map, Number, Value, json};
use xxhash_rust::xxh3::xxh3_128;

/// Largest whole number up to which a double holds every one.
const EXACT_IN_A_DOUBLE: u64 = 1 << 53;
/// Significant digits that a double always keeps.
const EXACT_DIGITS: usize = 15;
/// What the server allows.
const DEEPEST: usize = 100;
/// Most values of one document, those inside others included: as JSON each takes many
/// times its bytes.
const MOST_VALUES: usize = 200_000;
/// Longest `_id` whose bytes are a key; what is longer is named by a hash.
const LONGEST_ID: usize = 1024;

/// The bytes are no document, or one that is deeper or has more values than is taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The fields of a document, in their order.
pub(super) fn fields(document: &RawDocument) -> Result<Vec<(String, Value)>, Malformed> {
    let mut reader = Reader { left: MOST_VALUES };
    let mut fields = Vec::new();
    for element in document {
        let (name, value) = element.map_err(|_| Malformed)?;
        fields.push((name.as_str().to_owned(), reader.plain(value, 1)?));
    }
    Ok(fields)
}

/// The `_id` alone, as a document of one field; none where there is none.
pub(super) fn lone_id(document: &RawDocument) -> Result<Option<RawDocumentBuf>, Malformed> {
    let Some(id) = document.get("_id").map_err(|_| Malformed)? else { return Ok(None) };
    Ok(Some(lone(id)))
}

fn lone(id: RawBsonRef<'_>) -> RawDocumentBuf {
    let mut lone = RawDocumentBuf::new();
    lone.append(cstr!("_id"), id);
    lone
}

/// Turns values into JSON, within a number of them.
struct Reader {
    left: usize,
}

impl Reader {
    fn plain(&mut self, value: RawBsonRef<'_>, depth: usize) -> Result<Value, Malformed> {
        self.left = self.left.checked_sub(1).ok_or(Malformed)?;
        if depth > DEEPEST {
            return Err(Malformed);
        }
        Ok(match value {
            RawBsonRef::Double(number) => {
                Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
            }
            RawBsonRef::String(text) | RawBsonRef::Symbol(text) | RawBsonRef::JavaScriptCode(text) => Value::from(text),
            RawBsonRef::Array(array) => self.list(array, depth)?,
            RawBsonRef::Document(document) => self.object(document, depth)?,
            RawBsonRef::Boolean(boolean) => Value::Bool(boolean),
            RawBsonRef::Null | RawBsonRef::Undefined => Value::Null,
            RawBsonRef::RegularExpression(regex) => {
                Value::from(format!("/{}/{}", regex.pattern.as_str(), regex.options.as_str()))
            }
            RawBsonRef::JavaScriptCodeWithScope(code) => Value::from(code.code),
            RawBsonRef::Int32(number) => Value::from(number),
            RawBsonRef::Int64(number) if number.unsigned_abs() > EXACT_IN_A_DOUBLE => Value::from(number.to_string()),
            RawBsonRef::Int64(number) => Value::from(number),
            RawBsonRef::Timestamp(stamp) => json!({"t": stamp.time, "i": stamp.increment}),
            RawBsonRef::Binary(binary) if binary.subtype == BinarySubtype::Uuid && binary.bytes.len() == 16 => {
                Value::from(uuid(binary.bytes))
            }
            RawBsonRef::Binary(binary) => json!({"bytes": binary.bytes.len()}),
            RawBsonRef::ObjectId(id) => Value::from(id.to_hex()),
            RawBsonRef::DateTime(time) => moment(time.timestamp_millis()),
            RawBsonRef::Decimal128(number) => decimal(&number.to_string()),
            RawBsonRef::MaxKey => Value::from("MaxKey"),
            RawBsonRef::MinKey => Value::from("MinKey"),
            // A reference of long ago, whose parts nobody can ask for.
            RawBsonRef::DbPointer(_) => Value::from("DBPointer"),
        })
    }

    fn list(&mut self, array: &RawArray, depth: usize) -> Result<Value, Malformed> {
        array.into_iter().map(|value| self.plain(value.map_err(|_| Malformed)?, depth + 1)).collect()
    }

    fn object(&mut self, document: &RawDocument, depth: usize) -> Result<Value, Malformed> {
        let mut members = Map::new();
        for element in document {
            let (name, value) = element.map_err(|_| Malformed)?;
            members.insert(name.as_str().to_owned(), self.plain(value, depth + 1)?);
        }
        Ok(Value::Object(members))
    }
}

fn uuid(bytes: &[u8]) -> String {
    let digits = hexadecimal(bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// Bytes as digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Milliseconds since 1970; years beyond four digits stay the number.
fn moment(milliseconds: i64) -> Value {
    let time = chrono::DateTime::from_timestamp_millis(milliseconds);
    let text = time.map(|time| time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()).filter(|text| text.len() == 24);
    text.map_or_else(|| Value::from(milliseconds.to_string()), Value::from)
}

fn decimal(text: &str) -> Value {
    let digits = text.trim_start_matches(['-', '0', '.']).bytes().take_while(|byte| *byte != b'E');
    let is_exact = digits.filter(u8::is_ascii_digit).count() <= EXACT_DIGITS;
    let number = text.parse().ok().filter(|_| is_exact).and_then(Number::from_f64);
    number.map_or_else(|| Value::from(text), Value::Number)
}

/// An `_id` as the key of a document. Distinct ones have distinct keys; of one that is
/// long and no text, a hash has to do.
pub(super) fn source_key(id: RawBsonRef<'_>) -> String {
    let part = match id {
        RawBsonRef::String(text) => Value::from(text),
        RawBsonRef::Int32(number) => Value::from(number),
        RawBsonRef::Int64(number) => Value::from(number),
        RawBsonRef::ObjectId(id) => json!({"$oid": id.to_hex()}),
        RawBsonRef::Binary(binary) => {
            json!({"$binary": hexadecimal(binary.bytes), "subType": u8::from(binary.subtype)})
        }
        RawBsonRef::DateTime(time) => json!({"$date": time.timestamp_millis().to_string()}),
        RawBsonRef::Boolean(boolean) => Value::Bool(boolean),
        RawBsonRef::Null => Value::Null,
        RawBsonRef::Double(number) => json!({"$double": number.to_string()}),
        RawBsonRef::Decimal128(number) => json!({"$decimal": number.to_string()}),
        // Their bytes tell them from all others, however deep they are.
        other if lone(other).as_bytes().len() <= LONGEST_ID => json!({"$bson": hexadecimal(lone(other).as_bytes())}),
        other => json!({"$hash": format!("{:032x}", xxh3_128(lone(other).as_bytes()))}),
    };
    Value::Array(vec![part]).to_string()
}

#[cfg(test)]
mod tests {
    use bson::oid::ObjectId;
    use bson::raw::RawDocumentBuf;
    use bson::{Binary, Bson, DateTime, Document, Regex, Timestamp, doc};

    use super::*;

    fn raw(document: &Document) -> RawDocumentBuf {
        RawDocumentBuf::try_from(document).unwrap()
    }

    fn json_of(value: impl Into<Bson>) -> Value {
        fields(&raw(&doc! {"v": value.into()})).unwrap().remove(0).1
    }

    #[test]
    fn every_type_has_a_plain_form() {
        let id = ObjectId::parse_str("65f000000000000000000001").unwrap();
        let bytes = |subtype, bytes: Vec<u8>| Bson::Binary(Binary { subtype, bytes });
        for (value, expected) in [
            (Bson::from(7), json!(7)),
            (Bson::Int64(9_007_199_254_740_993), json!("9007199254740993")),
            (Bson::Double(0.5), json!(0.5)),
            (Bson::Double(f64::NAN), json!("NaN")),
            (Bson::from("a"), json!("a")),
            (Bson::ObjectId(id), json!("65f000000000000000000001")),
            (Bson::DateTime(DateTime::from_millis(1_709_209_800_500)), json!("2024-02-29T12:30:00.500Z")),
            (Bson::DateTime(DateTime::from_millis(i64::MAX)), json!(i64::MAX.to_string())),
            (bytes(BinarySubtype::Generic, vec![1, 2]), json!({"bytes": 2})),
            (bytes(BinarySubtype::Uuid, vec![0x12; 16]), json!("12121212-1212-1212-1212-121212121212")),
            (Bson::Decimal128("12.5".parse().unwrap()), json!(12.5)),
            (Bson::Decimal128("12345678901234567.5".parse().unwrap()), json!("12345678901234567.5")),
            (Bson::Timestamp(Timestamp { time: 5, increment: 6 }), json!({"t": 5, "i": 6})),
            (Bson::from(doc! {"b": [1, Bson::Null]}), json!({"b": [1, null]})),
            (Bson::MaxKey, json!("MaxKey")),
            (Bson::Null, Value::Null),
        ] {
            assert_eq!(json_of(value.clone()), expected, "{value:?}");
        }
        let regex = Regex { pattern: "a.b".try_into().unwrap(), options: "i".try_into().unwrap() };
        assert_eq!(json_of(Bson::RegularExpression(regex)), json!("/a.b/i"));
    }

    #[test]
    fn distinct_ids_have_distinct_keys() {
        let id = ObjectId::parse_str("65f000000000000000000001").unwrap();
        let ids = [
            Bson::from(1),
            Bson::from("1"),
            Bson::ObjectId(id),
            Bson::from(id.to_hex()),
            Bson::from(doc! {"a": 1}),
            Bson::from(doc! {"a": "1"}),
            Bson::Null,
        ];
        let keys: std::collections::BTreeSet<String> =
            ids.iter().map(|id| source_key(raw(&doc! {"_id": id.clone()}).get("_id").unwrap().unwrap())).collect();
        assert_eq!(keys.len(), ids.len());
    }

    #[test]
    fn a_document_that_is_too_deep_is_refused_and_no_bytes_are_one_too_many() {
        let deep = (0..150).fold(doc! {"v": 1}, |inner, _| doc! {"v": inner});
        assert_eq!(fields(&raw(&deep)), Err(Malformed));
        let known = raw(&doc! {"_id": 1, "a": {"b": [1, "x", 0.5]}, "d": DateTime::from_millis(0)}).into_bytes();
        crate::tests::fuzz("mongodb documents", crate::tests::tampered(vec![known]), |bytes| {
            if let Ok(document) = RawDocument::from_bytes(&bytes) {
                drop(fields(document));
                if let Ok(Some(id)) = document.get("_id") {
                    drop(source_key(id));
                }
            }
            Ok(())
        });
    }
}
