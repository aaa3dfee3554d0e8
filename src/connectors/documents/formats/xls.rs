//! Workbooks of Excel before 2007: each sheet as lines of its cells.

use std::io::Cursor;

use calamine::{Data, Reader, Xls, XlsError};

use super::{Content, TEXT_BYTES, encrypted, too_large, unparsable};
use crate::connectors::RecordError;

const MEDIA_TYPE: &str = "application/vnd.ms-excel";
const MOST_SHEETS: usize = 1_000;
/// The library makes room for every cell between the first and the last.
const MOST_CELLS: u64 = 2_000_000;
/// Records that begin with the place of a cell.
const CELLS: [u16; 11] = [0x0006, 0x00bd, 0x00be, 0x00d6, 0x00fd, 0x0201, 0x0203, 0x0204, 0x0205, 0x0207, 0x027e];
const DIMENSIONS: u16 = 0x0200;
/// A row of numbers in one record.
const NUMBERS: u16 = 0x00bd;
/// Where a sheet begins.
const SHEET: u16 = 0x0085;
/// How the rest is encrypted.
const PASSWORD: u16 = 0x002f;
const BEGIN: u16 = 0x0809;
const END: u16 = 0x000a;

/// The stream is that of the workbook in the file.
pub(super) fn content(bytes: &[u8], stream: &[u8]) -> Result<Content, RecordError> {
    // What comes after this record means nothing without the password.
    if (Records { rest: stream }).take_while(|record| record.kind != END).any(|record| record.kind == PASSWORD) {
        return Err(encrypted());
    }
    if widest(stream) > MOST_CELLS {
        return Err(too_large());
    }
    let mut workbook: Xls<_> = Xls::new(Cursor::new(bytes)).map_err(|error| match error {
        XlsError::Password => encrypted(),
        _ => unparsable(),
    })?;
    let mut body = String::new();
    for sheet in workbook.sheet_names().into_iter().take(MOST_SHEETS) {
        let Ok(range) = workbook.worksheet_range(&sheet) else { continue };
        body.push_str(&sheet);
        body.push('\n');
        for row in range.rows() {
            let cells: Vec<String> = row.iter().map(shown).filter(|text| !text.is_empty()).collect();
            if !cells.is_empty() {
                body.push_str(&cells.join(" | "));
                body.push('\n');
            }
            if body.len() > TEXT_BYTES {
                return Ok(Content::text(MEDIA_TYPE, None, body));
            }
        }
        body.push('\n');
    }
    Ok(Content::text(MEDIA_TYPE, None, body))
}

fn shown(cell: &Data) -> String {
    match cell {
        Data::Int(number) => number.to_string(),
        Data::Float(number) => number.to_string(),
        Data::String(text) => text.trim().to_owned(),
        Data::Bool(truth) => truth.to_string(),
        Data::DateTime(time) => super::xlsx::time(time),
        Data::DateTimeIso(text) | Data::DurationIso(text) => text.clone(),
        _ => String::new(),
    }
}

/// Cells at most, of all sheets together, in the rectangles between their corners.
/// Several sheets may be said to be at one place.
fn widest(stream: &[u8]) -> u64 {
    let sheets = Records { rest: stream }.take_while(|record| record.kind != END).filter(|record| record.kind == SHEET);
    let places = sheets.take(MOST_SHEETS + 1).filter_map(|sheet| stream.get(sheet.wide(0) as usize..));
    let mut total = 0_u64;
    for (index, place) in places.enumerate() {
        total = total.saturating_add(rectangle(place));
        if index == MOST_SHEETS || total > MOST_CELLS {
            return u64::MAX;
        }
    }
    total
}

/// Cells between the corners of one sheet.
fn rectangle(sheet: &[u8]) -> u64 {
    let (mut rows, mut columns) = (0, 0);
    let mut depth = 0_usize;
    for record in (Records { rest: sheet }) {
        match record.kind {
            BEGIN => depth += 1,
            END if depth <= 1 => break,
            END => depth -= 1,
            DIMENSIONS if record.data.len() == 10 => {
                (rows, columns) = (record.number(2).max(rows), record.number(6).max(columns));
            }
            DIMENSIONS => (rows, columns) = (record.wide(4).max(rows), record.number(10).max(columns)),
            kind if CELLS.contains(&kind) => {
                // A row of numbers reaches further than its first.
                let more = if kind == NUMBERS { record.data.len() as u64 / 6 } else { 1 };
                rows = rows.max(record.number(0) + 1);
                columns = columns.max(record.number(2) + more);
            }
            _ => {}
        }
    }
    rows.saturating_mul(columns)
}

struct Record<'a> {
    kind: u16,
    data: &'a [u8],
}

impl Record<'_> {
    fn number(&self, at: usize) -> u64 {
        self.data.get(at..at + 2).map_or(0, |part| u64::from(u16::from_le_bytes([part[0], part[1]])))
    }

    fn wide(&self, at: usize) -> u64 {
        self.number(at) | self.number(at + 2) << 16
    }
}

struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let (head, after) = self.rest.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let (data, rest) = after.split_at_checked(length)?;
        self.rest = rest;
        Some(Record { kind: u16::from_le_bytes([head[0], head[1]]), data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u16, data: &[u8]) -> Vec<u8> {
        [&kind.to_le_bytes()[..], &(data.len() as u16).to_le_bytes(), data].concat()
    }

    #[test]
    fn two_cells_far_apart_are_a_large_sheet() {
        let begin = record(BEGIN, &[0, 6, 16, 0]);
        let near = record(0x0203, &[0; 14]);
        let far = record(0x0203, &[0xff; 14]);
        assert_eq!(rectangle(&[begin.clone(), near.clone()].concat()), 1);
        assert_eq!(rectangle(&[begin.clone(), near.clone(), far.clone()].concat()), 65_536 * 65_536);
        let ended = [begin.clone(), near, record(END, &[]), far].concat();
        assert_eq!(rectangle(&ended), 1);
        assert!(rectangle(&record(DIMENSIONS, &[0xff; 14])) > MOST_CELLS);
        assert_eq!(rectangle(b"\x09\x08\xff\xff"), 0);
        // A thousand sheets at one place are as many rectangles.
        let places = record(SHEET, &[0; 8]).repeat(2_000);
        assert_eq!(widest(&[begin, places].concat()), u64::MAX);
    }
}
