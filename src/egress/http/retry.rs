//! How long a server asks us to wait.

use std::time::Duration;

use ::http::{HeaderMap, header};
use chrono::{DateTime, NaiveDateTime, Utc};

/// Nobody waits longer, whatever a server says.
const LONGEST: Duration = Duration::from_secs(3600);

/// `Retry-After`: seconds or a date, which is compared with the server's own clock
/// where it shows it.
pub(super) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(LONGEST));
    }
    let until = http_date(text)?;
    let shown = headers.get(header::DATE).and_then(|date| http_date(date.to_str().ok()?));
    let wait = until.signed_duration_since(shown.unwrap_or(now));
    Some(wait.to_std().unwrap_or_default().min(LONGEST))
}

/// A date in one of the three forms of HTTP.
pub fn http_date(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(date) = DateTime::parse_from_rfc2822(text) {
        return Some(date.to_utc());
    }
    let old = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    old.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).map(|date| date.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(retry_after_is: &str, date: Option<&str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, retry_after_is.parse().unwrap());
        if let Some(date) = date {
            headers.insert(header::DATE, date.parse().unwrap());
        }
        let now = http_date("Sun, 06 Nov 1994 08:49:00 GMT").unwrap();
        retry_after(&headers, now).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_and_dates_are_read_and_bounded() {
        assert_eq!(wait("120", None), Some(120));
        assert_eq!(wait("99999999999999999999999", None), Some(3600));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT", None), Some(37));
        assert_eq!(wait("Sunday, 06-Nov-94 08:49:37 GMT", None), Some(37));
        assert_eq!(wait("Sun Nov  6 08:49:37 1994", None), Some(37));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT", Some("Sun, 06 Nov 1994 08:49:30 GMT")), Some(7));
        assert_eq!(wait("Sun, 06 Nov 1993 08:49:37 GMT", None), Some(0));
        assert_eq!(wait("Sun, 06 Nov 2094 08:49:37 GMT", None), Some(3600));
        for odd in ["-1", "soon", "1.5", "", "12 parsecs"] {
            assert_eq!(wait(odd, None), None, "{odd}");
        }
    }
}
