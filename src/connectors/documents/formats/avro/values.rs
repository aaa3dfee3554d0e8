//! Values in the binary form of Avro.

use apache_avro::Schema;
use apache_avro::schema::{NamesRef, Namespace};

use crate::connectors::documents::formats::rows::{self, Rows};

/// Values within values; a schema may name itself.
const DEEPEST: usize = 64;
/// Values of one block: some take no bytes.
const MOST_VALUES: usize = 5_000_000;

/// Reads values one after another.
pub(super) struct Values<'a> {
    rest: &'a [u8],
    names: &'a NamesRef<'a>,
    depth: usize,
    left: usize,
}

impl<'a> Values<'a> {
    pub(super) fn of(block: &'a [u8], names: &'a NamesRef<'a>) -> Self {
        Self { rest: block, names, depth: 0, left: MOST_VALUES }
    }

    /// Reads one value into a row; none where it cannot be read.
    pub(super) fn value(&mut self, path: &str, schema: &Schema, space: &Namespace, found: &mut Rows) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        if self.depth == DEEPEST {
            return None;
        }
        self.depth += 1;
        let done = match schema {
            Schema::Record(record) => {
                let space = record.name.fully_qualified_name(space).namespace;
                record
                    .fields
                    .iter()
                    .try_for_each(|field| self.value(&rows::inner(path, &field.name), &field.schema, &space, found))
            }
            Schema::Ref { name } => {
                let name = name.fully_qualified_name(space);
                let schema = *self.names.get(&name)?;
                self.value(path, schema, &name.namespace, found)
            }
            Schema::Union(union) => {
                let index = usize::try_from(long(&mut self.rest)?).ok()?;
                self.value(path, union.variants().get(index)?, space, found)
            }
            Schema::Array(array) => self.items(found, |values, found| values.value(path, &array.items, space, found)),
            Schema::Map(map) => self.items(found, |values, found| {
                let key = std::str::from_utf8(bytes(&mut values.rest)?).ok()?;
                values.value(&rows::inner(path, key), &map.types, space, found)
            }),
            simple => self.simple(simple).map(|text| found.cell(path, &text)),
        };
        self.depth -= 1;
        done
    }

    /// Blocks of items, the last of which is empty.
    fn items(&mut self, found: &mut Rows, item: impl Fn(&mut Self, &mut Rows) -> Option<()>) -> Option<()> {
        loop {
            let count = long(&mut self.rest)?;
            if count == 0 {
                return Some(());
            }
            if count < 0 {
                long(&mut self.rest)?;
            }
            for _ in 0..count.unsigned_abs() {
                item(self, found)?;
            }
        }
    }

    fn simple(&mut self, schema: &Schema) -> Option<String> {
        Some(match schema {
            Schema::Null => String::new(),
            Schema::Boolean => (*self.fixed(1)?.first()? != 0).to_string(),
            Schema::Int | Schema::Long => self.long()?.to_string(),
            Schema::Float => f32::from_le_bytes(self.fixed(4)?.try_into().ok()?).to_string(),
            Schema::Double => f64::from_le_bytes(self.fixed(8)?.try_into().ok()?).to_string(),
            Schema::Bytes | Schema::String | Schema::Uuid => rows::text(bytes(&mut self.rest)?).to_owned(),
            Schema::Enum(names) => {
                let index = usize::try_from(self.long()?).ok()?;
                names.symbols.get(index)?.clone()
            }
            Schema::Fixed(fixed) => rows::text(self.fixed(fixed.size)?).to_owned(),
            Schema::Decimal(decimal) => {
                let digits = match &*decimal.inner {
                    Schema::Fixed(fixed) => self.fixed(fixed.size)?,
                    _ => bytes(&mut self.rest)?,
                };
                decimal_text(digits, decimal.scale)
            }
            Schema::BigDecimal => {
                bytes(&mut self.rest)?;
                String::new()
            }
            Schema::Date => rows::day(self.long()?),
            Schema::TimeMillis => rows::clock(self.long()?.saturating_mul(1_000)),
            Schema::TimeMicros => rows::clock(self.long()?),
            Schema::TimestampMillis | Schema::LocalTimestampMillis => rows::instant(self.long()?.saturating_mul(1_000)),
            Schema::TimestampMicros | Schema::LocalTimestampMicros => rows::instant(self.long()?),
            Schema::TimestampNanos | Schema::LocalTimestampNanos => rows::instant(self.long()? / 1_000),
            Schema::Duration => {
                self.fixed(12)?;
                String::new()
            }
            Schema::Record(_) | Schema::Ref { .. } | Schema::Union(_) | Schema::Array(_) | Schema::Map(_) => {
                return None;
            }
        })
    }

    fn long(&mut self) -> Option<i64> {
        long(&mut self.rest)
    }

    fn fixed(&mut self, length: usize) -> Option<&'a [u8]> {
        self.rest.split_off(..length)
    }
}

/// A whole number: seven bits a byte, the smallest first, the sign in the last.
pub(super) fn long(rest: &mut &[u8]) -> Option<i64> {
    let mut number: u64 = 0;
    for place in 0..10 {
        let byte = *rest.split_off_first()?;
        number |= u64::from(byte & 0x7f).checked_shl(7 * place)?;
        if byte & 0x80 == 0 {
            return Some((number >> 1) as i64 ^ -((number & 1) as i64));
        }
    }
    None
}

/// A length, and so many bytes, if they are there.
pub(super) fn bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(long(rest)?).ok()?;
    rest.split_off(..length)
}

/// A number in two's complement, the largest byte first.
fn decimal_text(bytes: &[u8], scale: usize) -> String {
    if bytes.is_empty() || bytes.len() > 16 || scale > 38 {
        return String::new();
    }
    let filled = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
    let mut wide = [filled; 16];
    wide[16 - bytes.len()..].copy_from_slice(bytes);
    let number = i128::from_be_bytes(wide);
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    let sign = if number < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_those_without_end_are_not() {
        assert_eq!(long(&mut &b"\x01"[..]), Some(-1));
        assert_eq!(long(&mut &b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"[..]), Some(i64::MAX));
        assert_eq!(long(&mut &[0xff; 20][..]), None);
        assert_eq!(bytes(&mut &b"\x04ab"[..]), Some(&b"ab"[..]));
        assert_eq!(bytes(&mut &b"\x06ab"[..]), None);
        assert_eq!(bytes(&mut &b"\x01ab"[..]), None);
        assert_eq!(decimal_text(&[0xff, 0x85], 2), "-1.23");
        assert_eq!(decimal_text(&[5], 2), "0.05");
        assert_eq!(decimal_text(&[0x80; 16], 0), i128::from_be_bytes([0x80; 16]).to_string());
    }
}
