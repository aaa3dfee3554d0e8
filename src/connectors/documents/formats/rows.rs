//! Rows of typed tables as lines of `column: value`.

use chrono::{DateTime, SecondsFormat, TimeDelta};

use super::{Content, TEXT_BYTES};

const MOST_ROWS: usize = 1_000_000;

/// The lines so far.
#[derive(Default)]
pub(super) struct Rows {
    body: String,
    /// Where the line of the current row began.
    begin: usize,
    count: usize,
    truncated: bool,
}

impl Rows {
    /// Adds a value; empty ones say nothing.
    pub(super) fn cell(&mut self, path: &str, value: &str) {
        let value = value.trim();
        if value.is_empty() || self.body.len() > TEXT_BYTES {
            return;
        }
        if self.body.len() > self.begin {
            self.body.push_str(", ");
        }
        if !path.is_empty() {
            self.body.push_str(path);
            self.body.push_str(": ");
        }
        self.body.push_str(value);
    }

    /// Ends a row; false when no more are wanted.
    pub(super) fn end_row(&mut self) -> bool {
        if self.body.len() > self.begin {
            self.body.push('\n');
            self.begin = self.body.len();
        }
        self.count += 1;
        self.truncated = self.count >= MOST_ROWS || self.body.len() > TEXT_BYTES;
        !self.truncated
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What was read is kept, though the rest cannot be.
    pub(super) fn cut(&mut self) {
        self.truncated = true;
    }

    pub(super) fn into_content(self, media_type: &'static str) -> Content {
        let mut content = Content::text(media_type, None, self.body);
        content.truncated |= self.truncated;
        content
    }
}

/// The path of a member.
pub(super) fn inner(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A number of days since 1970.
pub(super) fn day(days: i64) -> String {
    let time = days.checked_mul(86_400).and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    time.map(|time| time.format("%Y-%m-%d").to_string()).unwrap_or_default()
}

/// Microseconds since 1970 UTC.
pub(super) fn instant(microseconds: i64) -> String {
    let time = DateTime::from_timestamp_micros(microseconds);
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true)).unwrap_or_default()
}

/// Microseconds since midnight.
pub(super) fn clock(microseconds: i64) -> String {
    let time = DateTime::UNIX_EPOCH.checked_add_signed(TimeDelta::microseconds(microseconds));
    time.map(|time| time.format("%H:%M:%S%.f").to_string()).unwrap_or_default()
}

/// Bytes that are text; others say nothing.
pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0')).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_lines_and_times_are_read_as_people_write_them() {
        let mut rows = Rows::default();
        rows.cell("name", " Stove ");
        rows.cell("note", "");
        rows.cell(&inner("size", "mm"), "3");
        assert!(rows.end_row() && rows.end_row());
        rows.cell("", "x");
        rows.end_row();
        assert_eq!(rows.into_content("text/csv").body, "name: Stove, size.mm: 3\nx\n");
        assert_eq!((day(19_783).as_str(), day(i64::MAX).as_str()), ("2024-03-01", ""));
        assert_eq!(instant(1_709_287_200_000_000), "2024-03-01T10:00:00Z");
        assert_eq!(clock(36_000_000_000), "10:00:00");
        // Nothing here may fail.
        let _ = (clock(i64::MAX), clock(i64::MIN), instant(i64::MAX), instant(i64::MIN));
    }
}
