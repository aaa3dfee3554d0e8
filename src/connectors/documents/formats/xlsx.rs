//! Excel workbooks: each sheet as lines of its cells.

use std::io::Cursor;

use calamine::{Cell, DataRef, ExcelDateTime, Reader, Xlsb, Xlsx};

use super::archive::Archive;
use super::properties::Properties;
use super::{Content, TEXT_BYTES, unparsable};
use crate::connectors::RecordError;

const MOST_SHEETS: usize = 200;

/// The main part tells which of two forms the workbook is in.
pub(super) fn content(mut archive: Archive<'_>, main: &str, bytes: &[u8]) -> Result<Content, RecordError> {
    archive.measure()?;
    let properties = Properties::of_part(&mut archive, "docProps/core.xml");
    let file = Cursor::new(bytes);
    let (media_type, body) = if main.ends_with(".bin") {
        ("application/vnd.ms-excel.sheet.binary.macroenabled.12", binary(file)?)
    } else {
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", text(file)?)
    };
    Ok(properties.into_content(Content::text(media_type, None, body)))
}

// Both go cell by cell: a range would make room for every cell between the first and
// the last, and a file of one kilobyte can ask for billions.

fn text(file: Cursor<&[u8]>) -> Result<String, RecordError> {
    let mut workbook: Xlsx<_> = Xlsx::new(file).map_err(|_| unparsable())?;
    let mut body = String::new();
    for sheet in workbook.sheet_names().into_iter().take(MOST_SHEETS) {
        if let Ok(mut cells) = workbook.worksheet_cells_reader(&sheet) {
            append(&mut body, &sheet, || cells.next_cell().map_err(|_| unparsable()))?;
        }
    }
    Ok(body)
}

fn binary(file: Cursor<&[u8]>) -> Result<String, RecordError> {
    let mut workbook: Xlsb<_> = Xlsb::new(file).map_err(|_| unparsable())?;
    let mut body = String::new();
    for sheet in workbook.sheet_names().into_iter().take(MOST_SHEETS) {
        if let Ok(mut cells) = workbook.worksheet_cells_reader(&sheet) {
            append(&mut body, &sheet, || cells.next_cell().map_err(|_| unparsable()))?;
        }
    }
    Ok(body)
}

/// The name of a sheet and its rows, until there is text enough.
fn append<'a>(
    body: &mut String,
    sheet: &str,
    mut next: impl FnMut() -> Result<Option<Cell<DataRef<'a>>>, RecordError>,
) -> Result<(), RecordError> {
    body.push_str(sheet);
    body.push('\n');
    let mut row = None;
    while body.len() <= TEXT_BYTES
        && let Some(cell) = next()?
    {
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
    }
    body.push('\n');
    Ok(())
}

fn shown(value: &DataRef<'_>) -> String {
    match value {
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => number.to_string(),
        DataRef::String(text) => text.trim().to_owned(),
        DataRef::SharedString(text) => text.trim().to_owned(),
        DataRef::Bool(truth) => truth.to_string(),
        DataRef::DateTime(moment) => time(moment),
        DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        _ => String::new(),
    }
}

/// A date, a time or both; of a duration its days.
pub(super) fn time(time: &ExcelDateTime) -> String {
    if !time.is_datetime() {
        return time.as_f64().to_string();
    }
    let (year, month, day, hour, minute, ..) = time.to_ymd_hms_milli();
    if (hour, minute) == (0, 0) {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
    }
}
