//! Rows that changed since an earlier pass, found by a column that says when each
//! was last changed.
//!
//! SQLite has one writer at a time. So what commits after a pass was stamped after
//! all that the pass saw, if each change stamps its row with a clock or a counter
//! that does not go back. `since` is a little before the highest stamp that the
//! pass saw, and everything from there on is read again, that stamp included;
//! nothing that changed can be below it. The margin is for programs that stamp a
//! row some time before they write it, and for clocks that differ.
//!
//! Stamps from the future say nothing about the present, so the highest one is
//! taken among those that are not. A time without a zone may be of any zone, so
//! there the present begins twelve hours ago. Rows without a stamp are always read.
//!
//! Values must have one order that is that of time: whole numbers, or texts of one
//! ISO form. A schema that changed (a `VACUUM`, which may number rows anew, counts
//! as that) makes a mark worthless.
//!
//! Deleted rows have no stamp: the count tells that some are gone, and their keys
//! say which.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use rusqlite::types::ValueRef;
use serde::{Deserialize, Serialize};

use crate::connectors::rows::cursors::{OVERLAP_NUMBERS, WESTERNMOST};
use crate::connectors::sqlite::database::{Database, Failure, Table, quoted};
use crate::connectors::sqlite::plan::Part;

/// Characters of `2024-02-29` and of `2024-02-29 12:00:00`.
const DATE: usize = 10;
const SECOND: usize = 19;

/// What a pass leaves of a cursor column for the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CursorMark {
    column: String,
    /// Version of the schema.
    schema: i64,
    /// What changes later has no smaller value.
    pub(super) since: Part,
}

/// A cursor column as it is now.
#[derive(Debug)]
pub(super) struct Cursor {
    column: String,
    schema: i64,
    /// Rows of the table.
    pub(super) rows: u64,
    /// Where the mark is of this column and schema: which rows changed since, and
    /// how many they are.
    pub(super) changed: Option<Changed>,
    /// What to leave; none when there is no value that says anything.
    since: Option<Part>,
}

/// Rows that changed since a mark.
#[derive(Debug)]
pub(super) struct Changed {
    /// With one parameter, which is `since`.
    pub(super) condition: String,
    pub(super) since: Part,
    pub(super) rows: u64,
}

impl Cursor {
    /// Looks at all values of a column; none where they have no common order.
    pub(super) fn of(
        database: &Database,
        table: &Table,
        column: &str,
        overlap: Duration,
        mark: Option<&CursorMark>,
    ) -> Result<Option<Self>, Failure> {
        let schema = database.connection.query_row("PRAGMA schema_version", [], |row| row.get(0))?;
        let mark = mark.filter(|mark| mark.column == column && mark.schema == schema);
        let sql = format!("SELECT {} FROM {}", quoted(column), quoted(&table.name));
        let mut statement = database.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        let mut seen = Seen::new(SystemTime::now(), mark.map(|mark| mark.since.clone()));
        while let Some(row) = rows.next()? {
            if !seen.take(row.get_ref(0)?) {
                return Ok(None);
            }
        }
        let name = quoted(column);
        let changed = seen.mark.as_ref().map(|since| Changed {
            condition: format!("({name} >= ?1 OR {name} IS NULL)"),
            since: since.clone(),
            rows: seen.changed,
        });
        let (rows, since) = (seen.rows, seen.since(overlap));
        Ok(Some(Self { column: column.to_owned(), schema, rows, changed, since }))
    }

    /// What to leave for the next pass.
    pub(super) fn mark(&self) -> Option<CursorMark> {
        let since = self.since.clone()?;
        Some(CursorMark { column: self.column.clone(), schema: self.schema, since })
    }
}

/// How the values of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Integer,
    Date,
    /// With the character between date and time, and whether it is UTC.
    Time(u8, bool),
}

/// The values so far.
struct Seen {
    /// Since 1970 UTC.
    now: TimeDelta,
    mark: Option<Part>,
    form: Option<Form>,
    rows: u64,
    /// Rows from the mark on, and those without a value.
    changed: u64,
    highest: Option<i64>,
    /// The highest that are not of the future: as seconds, as milliseconds, as text.
    seconds: Option<i64>,
    milliseconds: Option<i64>,
    text: Option<String>,
    /// Where the future begins, as text.
    present: String,
}

impl Seen {
    fn new(now: SystemTime, mark: Option<Part>) -> Self {
        let now = now.duration_since(UNIX_EPOCH).ok().and_then(|now| TimeDelta::from_std(now).ok()).unwrap_or_default();
        Self {
            now,
            mark,
            form: None,
            rows: 0,
            changed: 0,
            highest: None,
            seconds: None,
            milliseconds: None,
            text: None,
            present: String::new(),
        }
    }

    /// False when a value has no order among the others.
    fn take(&mut self, value: ValueRef<'_>) -> bool {
        self.rows += 1;
        match value {
            ValueRef::Null => {
                self.changed += 1;
                true
            }
            ValueRef::Integer(number) => self.take_number(number),
            ValueRef::Text(text) => std::str::from_utf8(text).is_ok_and(|text| self.take_text(text)),
            ValueRef::Real(_) | ValueRef::Blob(_) => false,
        }
    }

    fn take_number(&mut self, number: i64) -> bool {
        let is_from = |since: &Part| matches!(since, Part::Integer(since) if number >= *since);
        self.changed += u64::from(self.mark.as_ref().is_some_and(is_from));
        self.highest = self.highest.max(Some(number));
        for (highest, present) in
            [(&mut self.seconds, self.now.num_seconds()), (&mut self.milliseconds, self.now.num_milliseconds())]
        {
            if number <= present {
                *highest = (*highest).max(Some(number));
            }
        }
        *self.form.get_or_insert(Form::Integer) == Form::Integer
    }

    fn take_text(&mut self, text: &str) -> bool {
        let Some(form) = Form::of(text) else { return false };
        let is_from = |since: &Part| match since {
            Part::Text(since) => text >= since.as_str(),
            // SQLite has numbers before texts.
            Part::Integer(_) => true,
        };
        self.changed += u64::from(self.mark.as_ref().is_some_and(is_from));
        if self.form.is_none() {
            self.form = Some(form);
            let behind = if matches!(form, Form::Time(_, true)) { Duration::ZERO } else { WESTERNMOST };
            let behind = TimeDelta::from_std(behind).unwrap_or_default();
            self.present = form.write(DateTime::UNIX_EPOCH.naive_utc() + self.now - behind).unwrap_or_default();
        }
        if text <= self.present.as_str() && self.text.as_deref().is_none_or(|highest| text > highest) {
            self.text = Some(text.to_owned());
        }
        self.form == Some(form)
    }

    /// What to leave for the next pass.
    fn since(&self, overlap: Duration) -> Option<Part> {
        let seconds = i64::try_from(overlap.as_secs()).ok()?;
        match self.form? {
            // As `rows::times` reads numbers: seconds, milliseconds, or no time.
            Form::Integer => Some(Part::Integer(match self.highest? {
                100_000_000..=99_999_999_999 => self.seconds?.saturating_sub(seconds),
                100_000_000_000..=99_999_999_999_999 => {
                    self.milliseconds?.saturating_sub(seconds.saturating_mul(1_000))
                }
                highest => highest.saturating_sub(OVERLAP_NUMBERS),
            })),
            form @ (Form::Date | Form::Time(..)) => {
                let latest = form.read(self.text.as_deref()?)?;
                form.write(latest.checked_sub_signed(TimeDelta::from_std(overlap).ok()?)?).map(Part::Text)
            }
        }
    }
}

impl Form {
    /// The ISO form of a text, if it is one.
    fn of(text: &str) -> Option<Self> {
        let form = match text.as_bytes().get(DATE) {
            None => Self::Date,
            Some(between @ (b' ' | b'T')) => {
                let rest = text.get(SECOND..)?;
                let zone = match rest.strip_prefix('.') {
                    Some(fraction) => fraction.trim_start_matches(|digit: char| digit.is_ascii_digit()),
                    None => rest,
                };
                let is_utc = match zone {
                    "" => false,
                    "Z" | "+00:00" | "+00" => true,
                    _ => return None,
                };
                Self::Time(*between, is_utc)
            }
            Some(_) => return None,
        };
        // What is written anew is the same, so each part has its full length.
        let begins = form.write(form.read(text)?)?;
        text.starts_with(&begins).then_some(form)
    }

    fn read(self, text: &str) -> Option<NaiveDateTime> {
        match self {
            Self::Integer => None,
            Self::Date => NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().map(|date| date.and_time(NaiveTime::MIN)),
            Self::Time(between, _) => {
                let form = if between == b'T' { "%Y-%m-%dT%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
                NaiveDateTime::parse_from_str(text.get(..SECOND)?, form).ok()
            }
        }
    }

    /// As short as it can be, so that it comes before all that begin like it.
    fn write(self, moment: NaiveDateTime) -> Option<String> {
        match self {
            Self::Integer => None,
            Self::Date => Some(moment.format("%Y-%m-%d").to_string()),
            Self::Time(b'T', _) => Some(moment.format("%Y-%m-%dT%H:%M:%S").to_string()),
            Self::Time(..) => Some(moment.format("%Y-%m-%d %H:%M:%S").to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    /// What is left of these texts at noon on 1 March 2024, with an hour of overlap.
    fn since_texts(values: &[&str]) -> Option<Option<Part>> {
        let mut seen = Seen::new(noon(), None);
        values.iter().all(|value| seen.take(ValueRef::Text(value.as_bytes()))).then(|| seen.since(HOUR))
    }

    fn since_numbers(values: &[i64]) -> Option<Part> {
        let mut seen = Seen::new(noon(), None);
        assert!(values.iter().all(|value| seen.take(ValueRef::Integer(*value))));
        seen.since(HOUR)
    }

    fn noon() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_709_294_400)
    }

    fn text(text: &str) -> Option<Option<Part>> {
        Some(Some(Part::Text(text.to_owned())))
    }

    #[test]
    fn the_highest_value_that_is_not_of_the_future_counts() {
        assert_eq!(since_texts(&["2024-01-02 10:00:00", "2024-01-01 10:00:00.5"]), text("2024-01-02 09:00:00"));
        assert_eq!(since_texts(&["2024-02-03T00:30:00Z", "2999-01-01T00:00:00Z"]), text("2024-02-02T23:30:00"));
        assert_eq!(since_texts(&["2024-03-01T11:30:00Z"]), text("2024-03-01T10:30:00"));
        // In some zone it is not yet so late.
        assert_eq!(since_texts(&["2024-03-01 11:30:00", "2024-02-01 00:00:00"]), text("2024-01-31 23:00:00"));
        assert_eq!(since_texts(&["2024-03-01 11:30:00"]), Some(None));
        assert_eq!(since_texts(&["2024-02-02", "2024-02-01"]), text("2024-02-01"));
        assert_eq!(since_numbers(&[5, 7_000]), Some(Part::Integer(6_000)));
        assert_eq!(since_numbers(&[1_709_000_000, 9_000_000_000]), Some(Part::Integer(1_708_996_400)));
        assert_eq!(since_numbers(&[1_709_000_000_000]), Some(Part::Integer(1_708_996_400_000)));
        assert_eq!(since_numbers(&[]), None);
    }

    #[test]
    fn values_without_a_common_order_are_refused() {
        for values in [
            &["2024-01-02 10:00:00", "2024-01-02T10:00:00"][..],
            &["2024-01-02T10:00:00Z", "2024-01-02T10:00:00"],
            &["2024-01-02 10:00:00+02:00"],
            &["2024-01-02", "2024-01-02 10:00:00"],
            &["yesterday"],
            &["2024-1-02"],
            &["2024-01-02 10:00"],
            &["02/01/2024"],
            &[""],
        ] {
            assert_eq!(since_texts(values), None, "{values:?}");
        }
        assert!(!Seen::new(noon(), None).take(ValueRef::Real(1.5)));
        let mut seen = Seen::new(noon(), None);
        assert!(seen.take(ValueRef::Null) && seen.take(ValueRef::Integer(1)));
        assert!(!seen.take(ValueRef::Text(b"2024-01-02")));
    }
}
