//! Schedules as callers give them: checked here, carried out by the syncs.

use crate::catalog::Source;
use crate::connectors::Spec;
use crate::error::{Error, Reason, Violation};
use crate::store::connections::Schedule;
use crate::syncs::schedule::parse;

/// Refuses any schedule of a source that documents are pushed to.
pub(super) fn allowed(field: &str, source: &Source) -> Result<(), Error> {
    if source.connector.takes_pushes() {
        let description = "is not for a source that documents are pushed to: there is nothing to read";
        return Err(Error::invalid(field, "INVALID_VALUE", description));
    }
    Ok(())
}

/// Refuses a schedule that could never be carried out, and says when it first
/// is. `field` is where the caller gave it.
pub(super) fn check(
    field: &str,
    mut schedule: Schedule,
    source: &Spec,
    now_ms: i64,
) -> Result<(Schedule, Option<i64>), Error> {
    if schedule.time_zone.is_empty() {
        "UTC".clone_into(&mut schedule.time_zone);
    }
    let Some(cron) = &schedule.cron else {
        return followed(field, schedule, source);
    };
    let parsed = parse(cron, &schedule.time_zone).map_err(|violations| {
        let placed = |violation: Violation| Violation {
            field: format!("{field}.{}", violation.field.trim_start_matches("schedule.")),
            ..violation
        };
        Error::violations(Reason::InvalidArgument, violations.into_iter().map(placed).collect())
    })?;
    let next = parsed.next_after(now_ms);
    Ok((schedule, next))
}

fn followed(field: &str, schedule: Schedule, source: &Spec) -> Result<(Schedule, Option<i64>), Error> {
    if source.supports_continuous {
        return Ok((schedule, None));
    }
    let field = format!("{field}.continuous");
    Err(Error::invalid(field, "INVALID_VALUE", "is not supported by this source; give a cron expression"))
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
    fn a_good_schedule_is_filled_in_and_says_when_it_starts() {
        let (filled, next) = check("schedule", schedule(Some("0 3 * * *"), ""), &spec(false), 0).expect("is good");
        assert_eq!(filled.time_zone, "UTC");
        assert_eq!(next, Some(3 * 60 * 60 * 1000));
    }

    #[test]
    fn a_bad_one_names_the_wrong_part_where_it_was_given() {
        let refused = check("source_connection.schedule", schedule(Some("x"), ""), &spec(true), 0).expect_err("cron");
        assert_eq!(refused.field_violations()[0].field, "source_connection.schedule.cron");
        let refused = check("schedule", schedule(Some("0 3 * * *"), "Mars/Base"), &spec(true), 0).expect_err("zone");
        assert_eq!(refused.field_violations()[0].field, "schedule.time_zone");
    }

    #[test]
    fn only_some_sources_can_be_followed() {
        assert!(check("schedule", schedule(None, ""), &spec(true), 0).is_ok());
        let refused = check("schedule", schedule(None, ""), &spec(false), 0).expect_err("cannot");
        assert_eq!(refused.field_violations()[0].field, "schedule.continuous");
    }
}
