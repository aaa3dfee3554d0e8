//! Schedules as callers give them: checked here, carried out by the syncs.

use std::str::FromStr;

use croner::parser::{CronParser, Seconds, Year};

use crate::connectors::Spec;
use crate::error::Error;
use crate::store::connections::Schedule;

/// Refuses a schedule that could never be carried out. `field` is where the
/// caller gave it.
pub fn check(field: &str, mut schedule: Schedule, source: &Spec) -> Result<Schedule, Error> {
    let invalid = |part: &str, description: &str| Error::invalid(format!("{field}.{part}"), "INVALID_VALUE", description);
    if schedule.time_zone.is_empty() {
        "UTC".clone_into(&mut schedule.time_zone);
    }
    if chrono_tz::Tz::from_str(&schedule.time_zone).is_err() {
        return Err(invalid("time_zone", "must be an IANA time zone such as Europe/Berlin"));
    }
    match &schedule.cron {
        None if !source.supports_continuous => {
            Err(invalid("continuous", "is not supported by this source; give a cron expression"))
        }
        None => Ok(schedule),
        Some(cron) if is_cron(cron) => Ok(schedule),
        Some(_) => Err(invalid("cron", "must be a cron expression of five fields such as `0 3 * * *`")),
    }
}

/// Five fields: no seconds, no year, no `@daily`.
fn is_cron(text: &str) -> bool {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    text.split_whitespace().count() == 5 && parser.parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(supports_continuous: bool) -> Spec {
        Spec {
            short_name: "test",
            name: "Test",
            description: "",
            auth_methods: &[],
            labels: &[],
            supports_continuous,
            auth_fields: Vec::new(),
            config_fields: Vec::new(),
            mapper_version: 1,
        }
    }

    fn schedule(cron: Option<&str>, time_zone: &str) -> Schedule {
        Schedule { cron: cron.map(str::to_owned), continuous: cron.is_none(), time_zone: time_zone.to_owned() }
    }

    #[test]
    fn five_fields_and_a_known_zone_pass() {
        for (cron, zone) in [("0 3 * * *", ""), ("*/5 * * * MON-FRI", "Europe/Berlin"), ("0 0 1 1 *", "UTC")] {
            assert!(check("schedule", schedule(Some(cron), zone), &spec(false)).is_ok(), "{cron} {zone}");
        }
        let filled = check("schedule", schedule(Some("0 3 * * *"), ""), &spec(false)).expect("is good");
        assert_eq!(filled.time_zone, "UTC");
    }

    #[test]
    fn anything_else_names_the_wrong_part() {
        for cron in ["@daily", "0 0 3 * * *", "* * * *", "61 * * * *", "a b c d e"] {
            let refused = check("schedule", schedule(Some(cron), ""), &spec(true)).expect_err(cron);
            assert_eq!(refused.field_violations()[0].field, "schedule.cron");
        }
        let refused = check("schedule", schedule(Some("0 3 * * *"), "Mars/Base"), &spec(true)).expect_err("zone");
        assert_eq!(refused.field_violations()[0].field, "schedule.time_zone");
    }

    #[test]
    fn only_some_sources_can_be_followed() {
        assert!(check("schedule", schedule(None, ""), &spec(true)).is_ok());
        let refused = check("schedule", schedule(None, ""), &spec(false)).expect_err("cannot");
        assert_eq!(refused.field_violations()[0].field, "schedule.continuous");
    }
}
