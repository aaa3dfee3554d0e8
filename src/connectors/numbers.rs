//! Numbers in settings.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Above this a double is not sure to be the number that was meant.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads an optional whole number, also as the double or the decimal text that
/// some doors make of it. For `#[serde(deserialize_with = "...")]`.
pub fn optional_whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let whole = match Value::deserialize(deserializer)? {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().and_then(of_double)),
        Value::String(text) => text.parse().ok(),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    whole.map(Some).ok_or_else(|| serde::de::Error::custom("not a whole number"))
}

fn of_double(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..=EXACT).contains(&number)).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_are_read_in_each_form() {
        for (value, expected) in [
            (json!(5), Some(Some(5))),
            (json!(5.0), Some(Some(5))),
            (json!("5"), Some(Some(5))),
            (json!(null), Some(None)),
            (json!(5.5), None),
            (json!(-1), None),
            (json!(1e300), None),
            (json!("five"), None),
            (json!([5]), None),
        ] {
            assert_eq!(optional_whole(&value).ok(), expected, "{value}");
        }
    }
}
