//! The limits of the doors, each met on purpose, and what a caller is told.

mod rates;
mod sizes;

use serde_json::Value;

/// A detail of an error's body, by the end of its type.
#[track_caller]
fn detail<'body>(body: &'body Value, kind: &str) -> &'body Value {
    let details = body["details"].as_array().unwrap_or_else(|| panic!("{body}"));
    let found = details.iter().find(|detail| detail["@type"].as_str().is_some_and(|of| of.ends_with(kind)));
    found.unwrap_or_else(|| panic!("no {kind} in {body}"))
}
