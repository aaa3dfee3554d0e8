//! Rows as a log writes them: where each value begins and ends, and what the values of
//! keys are. All other values are passed over.

use super::events::{Bytes, Deed, Malformed, Rows};
use crate::connectors::mysql::columns::{Column, Kind};

/// Most columns of a table.
const MOST_COLUMNS: usize = 4096;

/// Types by their numbers.
mod number {
    pub(super) const TIMESTAMP: u8 = 7;
    pub(super) const DATETIME: u8 = 12;
    pub(super) const YEAR: u8 = 13;
    pub(super) const VARCHAR: u8 = 15;
    pub(super) const TIMESTAMP_2: u8 = 17;
    pub(super) const DATETIME_2: u8 = 18;
    pub(super) const ENUM: u8 = 247;
    pub(super) const SET: u8 = 248;
    pub(super) const STRING: u8 = 254;
}

/// How many bytes a value takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Width {
    Fixed(usize),
    /// As many as a number of so many bytes before it says.
    Told(usize),
}

/// A column as a log describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Logged {
    number: u8,
    width: Width,
    /// Longest text, in bytes, or digits of a second.
    detail: usize,
}

/// A value of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field<'a> {
    /// It is not written, since it is what it was.
    Absent,
    Null,
    Value(&'a [u8]),
}

/// The columns of a table; none when a type is not known.
pub(super) fn columns(types: &[u8], details: &[u8]) -> Option<Vec<Logged>> {
    if types.len() > MOST_COLUMNS {
        return None;
    }
    let mut details = Bytes(details);
    types.iter().map(|number| column(*number, &mut details)).collect()
}

fn column(number: u8, details: &mut Bytes<'_>) -> Option<Logged> {
    let mut detail = |width: usize| details.number(width).ok().map(|detail| detail as usize);
    let fixed = |width: usize| Some(Logged { number, width: Width::Fixed(width), detail: 0 });
    let fraction = |whole: usize, digits: usize| {
        let width = Width::Fixed(whole + digits.div_ceil(2));
        (digits <= 6).then_some(Logged { number, width, detail: digits })
    };
    let text = |number: u8, longest: usize| {
        let width = Width::Told(if longest < 256 { 1 } else { 2 });
        Some(Logged { number, width, detail: longest })
    };
    match number {
        1 | number::YEAR => fixed(1),
        2 => fixed(2),
        3 | number::TIMESTAMP => fixed(4),
        9..=11 | 14 => fixed(3),
        8 | number::DATETIME => fixed(8),
        6 => fixed(0),
        // Four and eight, as they say themselves.
        4 | 5 => {
            let width = detail(1)?;
            matches!(width, 4 | 8).then(|| fixed(width)).flatten()
        }
        number::VARCHAR | 253 => text(number, detail(2)?),
        16 => {
            let (bits, bytes) = (detail(1)?, detail(1)?);
            fixed(bytes + usize::from(bits > 0))
        }
        number::TIMESTAMP_2 => fraction(4, detail(1)?),
        number::DATETIME_2 => fraction(5, detail(1)?),
        19 => fraction(3, detail(1)?),
        // JSON, blobs, geometry, vectors, and packed blobs of MariaDB.
        140 | 242 | 245 | 249..=252 | 255 => {
            let width = detail(1)?;
            (1..=4).contains(&width).then_some(Logged { number, width: Width::Told(width), detail: 0 })
        }
        // A packed text of MariaDB.
        141 => text(number, detail(2)?),
        246 => {
            let (precision, scale) = (detail(1)?, detail(1)?);
            let part = |digits: usize| digits / 9 * 4 + [0, 1, 1, 2, 2, 3, 3, 4, 4][digits % 9];
            fixed(part(precision.checked_sub(scale)?) + part(scale))
        }
        number::STRING | number::ENUM | number::SET => {
            let (real, length) = (detail(1)?, detail(1)?);
            match real as u8 {
                number::ENUM | number::SET => {
                    Some(Logged { number: real as u8, width: Width::Fixed(length), detail: 0 })
                }
                // Two bits of a length above 255 are hidden in the type.
                _ => text(number::STRING, length | (((real & 0x30) ^ 0x30) << 4)),
            }
        }
        _ => None,
    }
}

/// Reads rows, one after the other.
pub(super) struct Reader<'a> {
    deed: Deed,
    present: [&'a [u8]; 2],
    left: Bytes<'a>,
}

/// A row as it was and as it is.
pub(super) type Change<'a> = (Option<Vec<Field<'a>>>, Option<Vec<Field<'a>>>);

impl<'a> Reader<'a> {
    /// None where the rows are of another number of columns.
    pub(super) fn new(rows: &Rows<'a>, columns: &[Logged]) -> Option<Self> {
        let Rows { deed, present, columns: count, images } = *rows;
        (count == columns.len()).then_some(Self { deed, present, left: Bytes(images) })
    }

    /// The next row; none at the end.
    pub(super) fn next(&mut self, columns: &[Logged]) -> Result<Option<Change<'a>>, Malformed> {
        let before = self.left.0.len();
        if before == 0 {
            return Ok(None);
        }
        let mut image = |present| image(&mut self.left, present, columns);
        let old = if self.deed == Deed::Inserted { None } else { Some(image(self.present[0])?) };
        let new = if self.deed == Deed::Deleted { None } else { Some(image(self.present[1])?) };
        // A row of nothing has no end.
        if self.left.0.len() == before { Err(Malformed) } else { Ok(Some((old, new))) }
    }
}

fn is_set(bits: &[u8], position: usize) -> bool {
    bits.get(position / 8).is_some_and(|byte| byte >> (position % 8) & 1 == 1)
}

fn image<'a>(left: &mut Bytes<'a>, present: &[u8], columns: &[Logged]) -> Result<Vec<Field<'a>>, Malformed> {
    let written = (0..columns.len()).filter(|position| is_set(present, *position)).count();
    let nulls = left.take(written.div_ceil(8))?;
    let mut fields = Vec::with_capacity(columns.len());
    let mut number = 0;
    for (position, column) in columns.iter().enumerate() {
        if !is_set(present, position) {
            fields.push(Field::Absent);
            continue;
        }
        fields.push(if is_set(nulls, number) {
            Field::Null
        } else {
            let length = match column.width {
                Width::Fixed(length) => length,
                Width::Told(width) => left.number(width)? as usize,
            };
            Field::Value(left.take(length)?)
        });
        number += 1;
    }
    Ok(fields)
}

/// The text of a value of a key, as a sync reads it; none where that cannot be said.
pub(super) fn key_text(column: &Column, logged: &Logged, value: &[u8]) -> Option<String> {
    match (column.kind, logged.number) {
        (Kind::Integer, 1 | 2 | 3 | 8 | 9) => Some(integer(value, column.is_unsigned)),
        (Kind::Integer, number::YEAR) => {
            let year = u32::from(*value.first()?);
            Some(if year == 0 { "0".to_owned() } else { (1900 + year).to_string() })
        }
        (Kind::Text, number::VARCHAR | 253) if !column.is_converted => String::from_utf8(value.to_vec()).ok(),
        (Kind::Text, number::STRING) if !column.is_converted => {
            Some(std::str::from_utf8(value).ok()?.trim_end_matches(' ').to_owned())
        }
        (Kind::Bytes, number::VARCHAR | 253) => Some(hexadecimal(value, value.len())),
        // The zeros at its end are not written.
        (Kind::Bytes, number::STRING) => Some(hexadecimal(value, logged.detail.max(value.len()))),
        (Kind::Date, 10 | 14) => {
            let date = little(value)?;
            Some(format!("{:04}-{:02}-{:02}", date >> 9, date >> 5 & 15, date & 31))
        }
        (Kind::DateTime, number::DATETIME) => {
            let moment = little(value)?;
            let (date, time) = (moment / 1_000_000, moment % 1_000_000);
            let date = format!("{:04}-{:02}-{:02}", date / 10_000, date / 100 % 100, date % 100);
            Some(format!("{date} {:02}:{:02}:{:02}", time / 10_000, time / 100 % 100, time % 100))
        }
        (Kind::DateTime, number::DATETIME_2) => {
            let (whole, part) = value.split_at_checked(5)?;
            let moment = big(whole)?.checked_sub(0x80_0000_0000)?;
            let (date, time) = (moment >> 17, moment & 0x1_ffff);
            let (months, day) = (date >> 5, date & 31);
            let date = format!("{:04}-{:02}-{day:02}", months / 13, months % 13);
            let time = format!("{:02}:{:02}:{:02}", time >> 12, time >> 6 & 63, time & 63);
            Some(format!("{date} {time}{}", fraction(part, logged.detail)?))
        }
        (Kind::Timestamp, number::TIMESTAMP) => seconds(little(value)?),
        (Kind::Timestamp, number::TIMESTAMP_2) => {
            let (whole, part) = value.split_at_checked(4)?;
            Some(format!("{}{}", seconds(big(whole)?)?, fraction(part, logged.detail)?))
        }
        _ => None,
    }
}

fn integer(value: &[u8], is_unsigned: bool) -> String {
    let is_negative = !is_unsigned && value.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut bytes = [if is_negative { 0xff } else { 0 }; 8];
    bytes[..value.len().min(8)].copy_from_slice(&value[..value.len().min(8)]);
    if is_unsigned { u64::from_le_bytes(bytes).to_string() } else { i64::from_le_bytes(bytes).to_string() }
}

fn hexadecimal(value: &[u8], length: usize) -> String {
    let zeros = "00".repeat(length - value.len());
    value.iter().map(|byte| format!("{byte:02X}")).chain([zeros]).collect()
}

fn little(value: &[u8]) -> Option<u64> {
    Bytes(value).number(value.len()).ok()
}

fn big(value: &[u8]) -> Option<u64> {
    let reversed: Vec<u8> = value.iter().rev().copied().collect();
    little(&reversed)
}

fn seconds(since_1970: u64) -> Option<String> {
    if since_1970 == 0 {
        return Some("0000-00-00 00:00:00".to_owned());
    }
    let moment = chrono::DateTime::from_timestamp(i64::try_from(since_1970).ok()?, 0)?;
    Some(moment.format("%Y-%m-%d %H:%M:%S").to_string())
}

/// The digits behind a second, with the point before them.
fn fraction(part: &[u8], digits: usize) -> Option<String> {
    if digits == 0 {
        return Some(String::new());
    }
    let micros = big(part)? * [1_000_000, 10_000, 100, 1].get(part.len())?;
    let all = format!("{micros:06}");
    Some(format!(".{}", all.get(..digits)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(number: u8, details: &[u8]) -> Logged {
        columns(&[number], details).unwrap().remove(0)
    }

    fn text(kind: Kind, number: u8, details: &[u8], value: &[u8]) -> Option<String> {
        let column = Column { name: "k".to_owned(), kind, is_converted: false, is_unsigned: false };
        key_text(&column, &logged(number, details), value)
    }

    #[test]
    fn keys_are_the_texts_that_a_sync_reads() {
        for (kind, number, details, value, expected) in [
            (Kind::Integer, 3, &b""[..], &b"\xff\xff\xff\xff"[..], "-1"),
            (Kind::Integer, 9, b"", b"\x00\x00\x80", "-8388608"),
            (Kind::Integer, 1, b"", b"\x07", "7"),
            (Kind::Integer, 13, b"", b"\x7c", "2024"),
            (Kind::Text, 15, b"\x40\x00", b"a b ", "a b "),
            (Kind::Text, 254, b"\xfe\x40", "é  ".as_bytes(), "é"),
            (Kind::Bytes, 254, b"\xfe\x04", b"\x01\xff", "01FF0000"),
            (Kind::Bytes, 15, b"\x04\x00", b"\x01\xff", "01FF"),
            (Kind::Date, 10, b"", b"\x5d\xd0\x0f", "2024-02-29"),
            (Kind::DateTime, 18, b"\x00", b"\x99\xb2\xba\xc3\x05", "2024-02-29 12:12:05"),
            (Kind::Timestamp, 17, b"\x03", b"\x65\xe0\x71\x45\x13\x88", "2024-02-29 11:57:57.500"),
            (Kind::Timestamp, 17, b"\x00", b"\0\0\0\0", "0000-00-00 00:00:00"),
        ] {
            assert_eq!(text(kind, number, details, value).as_deref(), Some(expected), "{kind:?} {number}");
        }
        assert_eq!(text(Kind::Text, 15, b"\x40\x00", b"\xff"), None);
        assert_eq!(text(Kind::Integer, 15, b"\x40\x00", b"1"), None, "another type than the catalogue says");
    }

    #[test]
    fn values_of_every_type_are_passed_over() {
        let types = [3, 246, 16, 5, 254, 254, 252, 245, 19, 17, 15];
        let details =
            [&[10, 2][..], &[3, 1], &[8], &[247, 1], &[0xce, 0x58], &[2], &[4], &[0], &[6], &[0x2c, 1]].concat();
        let columns = columns(&types, &details).unwrap();
        let widths: Vec<Width> = columns.iter().map(|column| column.width).collect();
        let expected = [
            Width::Fixed(4),
            Width::Fixed(5),
            Width::Fixed(2),
            Width::Fixed(8),
            Width::Fixed(1),
            Width::Told(2),
            Width::Told(2),
            Width::Told(4),
            Width::Fixed(3),
            Width::Fixed(7),
            Width::Told(2),
        ];
        assert_eq!(widths, expected);
        assert!(super::columns(&[99], &[]).is_none() && super::columns(&[246], &[1]).is_none());
    }

    #[test]
    fn images_say_what_is_null_and_what_is_not_written() {
        let columns = columns(&[3, 15, 1], b"\x40\x00").unwrap();
        let images = b"\x02\x07\0\0\0\0\x09";
        let read = |deed, present, images| {
            let mut reader = Reader::new(&Rows { deed, present, columns: 3, images }, &columns).unwrap();
            reader.next(&columns)
        };
        let old = vec![Field::Value(b"\x07\0\0\0"), Field::Null, Field::Absent];
        let new = vec![Field::Absent, Field::Absent, Field::Value(b"\x09")];
        assert_eq!(read(Deed::Updated, [&[3], &[4]], &images[..]), Ok(Some((Some(old), Some(new)))));
        assert_eq!(read(Deed::Inserted, [&[], &[7]], b"\0\x07"), Err(Malformed), "cut");
        assert_eq!(read(Deed::Inserted, [&[], &[0]], b"x"), Err(Malformed), "a row of nothing");
        assert_eq!(read(Deed::Inserted, [&[], &[7]], b""), Ok(None));
        let other = Rows { deed: Deed::Inserted, present: [&[], &[7]], columns: 4, images };
        assert!(Reader::new(&other, &columns).is_none());
    }
}
