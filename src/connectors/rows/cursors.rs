//! What reading by a cursor column has in common, whatever the database: its
//! settings and its limits.
//!
//! A cursor column says when, or in which order, a row was last changed. It is a
//! promise of whoever writes the rows, which nothing can prove, so what is read by
//! it never counts as proved, and everything is read again from time to time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::connectors::{Field, FieldType};
use crate::error::Violation;

/// Hours after which everything is read again, unless the config says otherwise.
const RECONCILE_HOURS: u64 = 24;
const MOST_RECONCILE_HOURS: u64 = 7 * 24;
/// Seconds before the last cursor value that are read once more: clocks of the
/// writers differ, and what a program stamps it commits a little later.
const OVERLAP_SECONDS: u64 = 300;
const MOST_OVERLAP_SECONDS: u64 = 7 * 24 * 3_600;
/// The same where cursors are numbers that no clock gave.
pub const OVERLAP_NUMBERS: i64 = 1_000;
/// A time without a zone may be of any; the westernmost is so far behind.
pub const WESTERNMOST: Duration = Duration::from_secs(12 * 3_600);

/// The fields of `config`; `columns` describes how columns are named.
pub fn fields(columns: &'static str) -> Vec<Field> {
    let field = Field::optional;
    vec![
        field("cursorColumns", FieldType::StringList, "Columns that tell of changes", columns),
        field(
            "cursorOverlapSeconds",
            FieldType::Number,
            "Overlap",
            "Seconds before the last change that are read again: 1 to 604800, usually 300",
        ),
        field(
            "reconcileHours",
            FieldType::Number,
            "Hours between full readings",
            "What is read by a cursor column is read whole again after so many hours: 1 to 168, usually 24",
        ),
    ]
}

/// What is wrong with the numbers.
pub fn violations(overlap_seconds: Option<u64>, reconcile_hours: Option<u64>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut check = |field: &str, number: Option<u64>, most: u64| {
        if number.is_some_and(|number| !(1..=most).contains(&number)) {
            violations.push(Violation::new(format!("config.{field}"), "INVALID_VALUE", format!("must be 1 to {most}")));
        }
    };
    check("cursorOverlapSeconds", overlap_seconds, MOST_OVERLAP_SECONDS);
    check("reconcileHours", reconcile_hours, MOST_RECONCILE_HOURS);
    violations
}

/// The overlap of times.
pub fn overlap(seconds: Option<u64>) -> Duration {
    Duration::from_secs(seconds.unwrap_or(OVERLAP_SECONDS))
}

/// True when an object that was last proved at a time (milliseconds since 1970
/// UTC) is to be read whole again.
pub fn reconcile_is_due(proved_at: i64, hours: Option<u64>) -> bool {
    let interval = Duration::from_secs(hours.unwrap_or(RECONCILE_HOURS) * 3_600);
    let proved = UNIX_EPOCH + Duration::from_millis(u64::try_from(proved_at).unwrap_or(0));
    // A clock that went back has not seen the proof.
    SystemTime::now().duration_since(proved).is_ok_and(|age| age >= interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_read_again_after_the_interval() {
        let ago = |hours: u64| {
            let then = SystemTime::now() - Duration::from_secs(hours * 3_600);
            i64::try_from(then.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
        };
        assert!(reconcile_is_due(0, Some(168)));
        assert!(reconcile_is_due(ago(25), None));
        assert!(!reconcile_is_due(ago(23), None));
        assert!(reconcile_is_due(ago(23), Some(2)));
        assert!(!reconcile_is_due(ago(0), Some(1)));
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let wrong = |overlap, hours| -> Vec<String> {
            violations(overlap, hours).into_iter().map(|violation| violation.field).collect()
        };
        assert!(wrong(None, None).is_empty() && wrong(Some(1), Some(168)).is_empty());
        assert_eq!(wrong(Some(0), Some(169)), ["config.cursorOverlapSeconds", "config.reconcileHours"]);
    }
}
