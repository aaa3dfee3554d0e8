//! When syncs start by themselves: five-field cron in an IANA time zone.

use chrono::{TimeZone, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::error::Violation;

/// A parsed cron schedule.
#[derive(Debug, Clone)]
pub struct CronSchedule {
    cron: Cron,
    zone: chrono_tz::Tz,
}

/// Parses a schedule; both texts are checked and every problem is named.
pub fn parse(cron: &str, time_zone: &str) -> Result<CronSchedule, Vec<Violation>> {
    let mut violations = Vec::new();
    let parsed = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(cron);
    if parsed.is_err() {
        violations.push(Violation::new(
            "schedule.cron",
            "INVALID_VALUE",
            "must be a cron expression of five fields: minute, hour, day of month, month, day of week",
        ));
    }
    let zone = if time_zone.is_empty() { Ok(chrono_tz::UTC) } else { time_zone.parse::<chrono_tz::Tz>() };
    if zone.is_err() {
        violations.push(Violation::new(
            "schedule.time_zone",
            "INVALID_VALUE",
            "must be the name of an IANA time zone such as `Europe/Berlin`",
        ));
    }
    match (parsed, zone) {
        (Ok(cron), Ok(zone)) => {
            let schedule = CronSchedule { cron, zone };
            if schedule.next_after(0).is_none() {
                violations.push(Violation::new("schedule.cron", "INVALID_VALUE", "names a date that never comes"));
                return Err(violations);
            }
            Ok(schedule)
        }
        _ => Err(violations),
    }
}

impl CronSchedule {
    /// The first start after `after_ms` (milliseconds since 1970 UTC). None when
    /// there is none. One start a match, also where clocks are set back.
    pub fn next_after(&self, after_ms: i64) -> Option<i64> {
        let after = Utc.timestamp_millis_opt(after_ms).single()?.with_timezone(&self.zone);
        self.cron.find_next_occurrence(&after, false).ok().map(|next| next.timestamp_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    #[test]
    fn the_next_start_follows_the_time_zone() {
        let schedule = parse("30 3 * * *", "Europe/Berlin").unwrap();
        assert_eq!(schedule.next_after(at("2026-07-01T00:00:00Z")), Some(at("2026-07-01T01:30:00Z")));
        assert_eq!(schedule.next_after(at("2026-12-01T00:00:00Z")), Some(at("2026-12-01T02:30:00Z")));
        assert_eq!(schedule.next_after(at("2026-12-01T02:30:00Z")), Some(at("2026-12-02T02:30:00Z")));
    }

    #[test]
    fn what_is_no_schedule_is_refused_by_name() {
        for cron in ["", "* * * *", "* * * * * *", "61 * * * *", "a b c d e", "0 0 31 2 *"] {
            let violations = parse(cron, "").unwrap_err();
            assert_eq!(violations[0].field, "schedule.cron", "{cron}");
        }
        let violations = parse("x", "Mars/Olympus").unwrap_err();
        assert_eq!(violations.len(), 2);
    }
}
