//! Excel workbooks: each sheet as lines of its cells.

use std::io::Cursor;

use calamine::{DataRef, Reader, Xlsx};

use super::archive::Archive;
use super::{Content, TEXT_BYTES, unparsable};
use crate::connectors::RecordError;

const MEDIA_TYPE: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
const MOST_SHEETS: usize = 200;

pub(super) fn content(bytes: &[u8]) -> Result<Content, RecordError> {
    Archive::open(bytes)?.measure()?;
    let mut workbook: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(|_| unparsable())?;
    let mut body = String::new();
    for sheet in workbook.sheet_names().into_iter().take(MOST_SHEETS) {
        body.push_str(&sheet);
        body.push('\n');
        // Cell by cell: a range would make room for every cell between the first
        // and the last, and a file of one kilobyte can ask for billions.
        let Ok(mut cells) = workbook.worksheet_cells_reader(&sheet) else { continue };
        let mut row = None;
        while let Some(cell) = cells.next_cell().map_err(|_| unparsable())? {
            let text = shown(cell.get_value());
            if text.is_empty() {
                continue;
            }
            let number = cell.get_position().0;
            body.push_str(match row {
                Some(before) if before == number => " | ",
                Some(_) => "\n",
                None => "",
            });
            row = Some(number);
            body.push_str(&text);
            if body.len() > TEXT_BYTES {
                return Ok(Content::text(MEDIA_TYPE, None, body));
            }
        }
        body.push('\n');
    }
    Ok(Content::text(MEDIA_TYPE, None, body))
}

fn shown(value: &DataRef<'_>) -> String {
    match value {
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => number.to_string(),
        DataRef::String(text) => text.trim().to_owned(),
        DataRef::SharedString(text) => text.trim().to_owned(),
        DataRef::Bool(truth) => truth.to_string(),
        DataRef::DateTime(time) if time.is_datetime() => {
            let (year, month, day, hour, minute, ..) = time.to_ymd_hms_milli();
            if (hour, minute) == (0, 0) {
                format!("{year:04}-{month:02}-{day:02}")
            } else {
                format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
            }
        }
        DataRef::DateTime(duration) => duration.as_f64().to_string(),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        _ => String::new(),
    }
}
