//! Times in the forms in which tables without a time type keep them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use serde_json::Value;

/// Microseconds since 1970 UTC of a text in ISO form (without a zone it is UTC)
/// or of a number of seconds or milliseconds; none for anything else.
pub fn microseconds(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => of_text(text.trim()),
        Value::Number(number) => of_number(number.as_f64()?),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn of_text(text: &str) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    for form in ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"] {
        if let Ok(time) = DateTime::parse_from_str(text, form) {
            return Some(time.timestamp_micros());
        }
    }
    for form in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, form) {
            return Some(time.and_utc().timestamp_micros());
        }
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
}

/// From 1973 to 5138 in seconds, in milliseconds above that.
fn of_number(number: f64) -> Option<i64> {
    let factor = match number {
        1e8..1e11 => 1e6,
        1e11..1e14 => 1e3,
        _ => return None,
    };
    // In range: at most 1e17.
    Some((number * factor).round() as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_usual_forms_are_read_and_others_are_not_guessed() {
        let expected = Some(1_709_287_200_000_000);
        for value in [
            json!("2024-03-01T10:00:00Z"),
            json!("2024-03-01T12:00:00+02:00"),
            json!("2024-03-01 10:00:00"),
            json!("2024-03-01 10:00:00.000+00"),
            json!("2024-03-01 10:00"),
            json!(1_709_287_200),
            json!(1_709_287_200_000_i64),
        ] {
            assert_eq!(microseconds(&value), expected, "{value}");
        }
        assert_eq!(microseconds(&json!("2024-03-01")), Some(1_709_251_200_000_000));
        for value in [json!("yesterday"), json!(20240301), json!(true), json!(null), json!("03/01/2024")] {
            assert_eq!(microseconds(&value), None, "{value}");
        }
    }
}
