//! Timestamps (RFC 3339) and durations as ProtoJSON writes them.

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};

const MIN_SECONDS: i64 = -62_135_596_800;
const MAX_SECONDS: i64 = 253_402_300_799;
const MAX_DURATION: i64 = 315_576_000_000;

/// Seconds and nanoseconds of `2024-01-15T10:00:00.5Z` or with an offset.
pub(super) fn parse_timestamp(text: &str) -> Option<(i64, i32)> {
    if !text.is_ascii() || text.len() < 20 {
        return None;
    }
    let (date, rest) = text.split_at(10);
    let (time, rest) = rest.split_at(9);
    let date = NaiveDate::from_ymd_opt(
        digits(&date[..4])? as i32,
        digits(date[4..].strip_prefix('-')?.get(..2)?)?,
        digits(date[7..].strip_prefix('-')?)?,
    )?;
    let time = time.strip_prefix('T')?;
    let [hour, minute, second] = <[&str; 3]>::try_from(time.split(':').collect::<Vec<_>>()).ok()?;
    let of_day = date.and_hms_opt(two(hour)?, two(minute)?, two(second).filter(|second| *second < 60)?)?;
    let (nanos, zone) = parse_fraction(rest)?;
    let seconds = of_day.and_utc().timestamp() - parse_offset(zone)?;
    (MIN_SECONDS..=MAX_SECONDS).contains(&seconds).then_some((seconds, nanos))
}

/// The text of a timestamp, with as many of 0, 3, 6 or 9 digits as it needs.
pub(super) fn timestamp(seconds: i64, nanos: i32) -> Option<String> {
    if !(MIN_SECONDS..=MAX_SECONDS).contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return None;
    }
    let moment = DateTime::<Utc>::from_timestamp(seconds, nanos as u32)?;
    Some(moment.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// Seconds and nanoseconds of `-1.5s`.
pub(super) fn parse_duration(text: &str) -> Option<(i64, i32)> {
    let text = text.strip_suffix('s')?;
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    if whole.is_empty() || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let (nanos, rest) = parse_fraction(fraction)?;
    (rest.is_empty() && seconds <= MAX_DURATION).then_some((sign * seconds, sign as i32 * nanos))
}

/// The text of a duration.
pub(super) fn duration(seconds: i64, nanos: i32) -> Option<String> {
    let mixed = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
    if mixed || seconds.abs() > MAX_DURATION || nanos.abs() > 999_999_999 {
        return None;
    }
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let (seconds, nanos) = (seconds.unsigned_abs(), nanos.unsigned_abs());
    Some(match nanos {
        0 => format!("{sign}{seconds}s"),
        nanos if nanos % 1_000_000 == 0 => format!("{sign}{seconds}.{:03}s", nanos / 1_000_000),
        nanos if nanos % 1_000 == 0 => format!("{sign}{seconds}.{:06}s", nanos / 1_000),
        nanos => format!("{sign}{seconds}.{nanos:09}s"),
    })
}

/// Nanoseconds of `.5`, and what follows.
fn parse_fraction(text: &str) -> Option<(i32, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=9).contains(&length) {
        return None;
    }
    let nanos = rest[..length].parse::<i32>().ok()? * 10i32.pow(9 - length as u32);
    Some((nanos, &rest[length..]))
}

fn parse_offset(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = if zone.starts_with('+') { 1 } else { -1 };
    let (hours, minutes) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours < 24 && minutes < 60).then(|| sign * i64::from(hours * 3600 + minutes * 60))
}

fn two(text: &str) -> Option<u32> {
    (text.len() == 2).then(|| digits(text)).flatten()
}

fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
