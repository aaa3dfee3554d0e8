//! Filters that nobody would write.

use crate::filter;
use crate::tests::{fuzz, worded};

const FILTER: &[&str] = &[
    "a",
    "b.c",
    " = ",
    " != ",
    " < ",
    " >= ",
    ":",
    " AND ",
    " OR ",
    "NOT ",
    "-",
    "(",
    ")",
    "\"",
    "'",
    "*",
    "1",
    "1e999",
    "\\",
    "null",
    "true",
    "2020-01-01T00:00:00Z",
    ",",
    ".",
    " ",
];

/// Once it took all memory there is.
#[test]
fn a_sign_that_begins_nothing_is_refused() {
    for text in [",", "a = 1, b = 2", "(,)", "a,", "-,"] {
        assert!(filter::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_filter_is_read_or_refused_and_can_be_asked() {
    fuzz("filters", worded(FILTER), |text| {
        if let Ok(filter) = filter::parse(&text) {
            // It may not fit the value; it must not panic.
            drop(filter.matches(&|_| Some(serde_json::json!("a"))));
            drop(filter.matches(&|_| None));
        }
        Ok(())
    });
}
