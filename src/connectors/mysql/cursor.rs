//! Rows that changed since an earlier pass, found by a column that says when each was
//! last changed.
//!
//! A pass sees one snapshot and leaves `since`: whatever commits after the snapshot has
//! a value from `since` on, and the next pass reads all rows from there, that value
//! included. The promise of the column is that each change sets it to the time of the
//! server, or to the next number, within its transaction. So a time is no earlier than
//! the beginning of its transaction, and
//! * `since` is no later than the beginning of the oldest transaction that ran when the
//!   snapshot was taken (the [`Horizon`], which only a login with the right `PROCESS`
//!   sees; without it everything is read), nor than the highest value seen, which
//!   guards against clocks of programs, nor than a margin before;
//! * numbers are taken in an order and committed in another. So there a value becomes
//!   `since` only in a later snapshot, all of whose running transactions began after
//!   the first. Until then the earlier `since` stays: it is right for all later
//!   snapshots.
//!
//! The server notes the beginning of a transaction when its first statement has come to
//! InnoDB, which is a little after the time of that statement; the margin is for it, and
//! for other engines, which have no transactions. A replica has the times of another
//! server and reads everything.
//!
//! A time without a zone may be of any zone, so the present counts as twelve hours ago
//! there. Rows without a value are always read. No value leaves no mark.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::columns::Kind;
use super::failure::Failure;
use super::session::Session;
use super::sql;
use crate::connectors::rows::cursors::{OVERLAP_NUMBERS, WESTERNMOST};

/// The times of transactions are told in the zone of the machine.
const IN_ITS_ZONE: &str = "SET SESSION time_zone = 'SYSTEM'";
const HORIZON: &str = "\
    SELECT UNIX_TIMESTAMP(), (SELECT MIN(UNIX_TIMESTAMP(trx_started)) FROM information_schema.INNODB_TRX \
        WHERE trx_mysql_thread_id <> CONNECTION_ID()), @@GLOBAL.read_only + 0";
/// The server looks at its transactions ten times a second.
const SERVER_LOOKS: i64 = 1;

/// How far back what ends after the snapshot may have begun: seconds since 1970 UTC, by
/// the clock of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Horizon {
    now: i64,
    begins: i64,
}

impl Horizon {
    /// Looks, before the snapshot is taken; none where it cannot be seen.
    pub(super) async fn of(session: &mut Session) -> Result<Option<Self>, Failure> {
        session.run(IN_ITS_ZONE).await?;
        let rows = match session.all(HORIZON, 1).await {
            Ok(rows) => rows,
            Err(failure) if failure.fatal => return Err(failure),
            // The login may not look.
            Err(_) => return Ok(None),
        };
        let number = |index: usize| {
            let text = rows.first()?.get(index)?.as_deref().map(String::from_utf8_lossy)?;
            text.split('.').next()?.parse::<i64>().ok()
        };
        Ok(number(0).filter(|_| number(2) == Some(0)).map(|now| Self::seen(now, number(1))))
    }

    fn seen(now: i64, oldest: Option<i64>) -> Self {
        Self { now, begins: oldest.map_or(now, |oldest| oldest.min(now)) - SERVER_LOOKS }
    }
}

/// What the values of a cursor column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    Timestamp,
    Local,
    Date,
    Number,
}

impl Values {
    /// What the values of a column are; none for one without an order of time.
    pub(super) fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Integer => Some(Self::Number),
            Kind::Date => Some(Self::Date),
            Kind::DateTime => Some(Self::Local),
            Kind::Timestamp => Some(Self::Timestamp),
            _ => None,
        }
    }
}

/// What a pass leaves of a cursor column for the next one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct CursorMark {
    /// Of the server and the table, with its columns.
    identity: String,
    column: String,
    /// When the snapshot was taken.
    now: i64,
    /// What changes later has no smaller value; none when that is not known yet.
    since: Option<String>,
    fence: Option<Fence>,
}

/// A value that becomes `since` when no transaction runs any more that had begun by
/// then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Fence {
    since: String,
    now: i64,
}

/// A cursor column of a table, in a snapshot.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    pub(super) column: String,
    pub(super) values: Values,
    pub(super) identity: String,
    pub(super) overlap: Duration,
    pub(super) horizon: Horizon,
}

impl Cursor {
    /// Which rows changed since a mark, if it is of this table and history.
    pub(super) fn changed_since(&self, earlier: &Value) -> Option<String> {
        let since = self.earlier(earlier)?.since?;
        let since = match self.values {
            Values::Number => sql::whole_number(&since)?,
            Values::Timestamp | Values::Local | Values::Date => sql::moment(&since)?,
        };
        let column = sql::identifier(&self.column);
        Some(format!("({column} >= {since} OR {column} IS NULL)"))
    }

    /// What to leave for the next pass, where this is the highest value.
    pub(super) fn mark(&self, highest: &str, earlier: &Value) -> Option<Value> {
        serde_json::to_value(self.with_since(self.since(highest)?, self.earlier(earlier))).ok()
    }

    fn with_since(&self, since: String, earlier: Option<CursorMark>) -> CursorMark {
        let now = self.horizon.now;
        let mark =
            CursorMark { identity: self.identity.clone(), column: self.column.clone(), now, since: None, fence: None };
        if self.values != Values::Number {
            return CursorMark { since: Some(since), ..mark };
        }
        let new = Fence { since, now };
        let (since, fence) = match earlier {
            Some(CursorMark { fence: Some(passed), .. }) if self.horizon.begins > passed.now => {
                (Some(passed.since), new)
            }
            Some(CursorMark { since, fence, .. }) => (since, fence.unwrap_or(new)),
            None => (None, new),
        };
        CursorMark { since, fence: Some(fence), ..mark }
    }

    /// A mark of the same column of the same table, and not of the future of a server
    /// that went back.
    fn earlier(&self, mark: &Value) -> Option<CursorMark> {
        let mark: CursorMark = serde_json::from_value(mark.clone()).ok()?;
        let is_same = mark.identity == self.identity && mark.column == self.column;
        (is_same && mark.now <= self.horizon.now).then_some(mark)
    }

    fn since(&self, highest: &str) -> Option<String> {
        let overlap = TimeDelta::from_std(self.overlap).ok()?;
        let present = DateTime::from_timestamp(self.horizon.begins, 0)?.naive_utc();
        let western = present.checked_sub_signed(TimeDelta::from_std(WESTERNMOST).ok()?)?;
        let time = |highest: NaiveDateTime, present: NaiveDateTime| highest.min(present).checked_sub_signed(overlap);
        match self.values {
            Values::Number => Some((highest.parse::<i128>().ok()? - i128::from(OVERLAP_NUMBERS)).to_string()),
            Values::Timestamp => Some(written(time(read(highest)?, present)?)),
            Values::Local => Some(written(time(read(highest)?, western)?)),
            Values::Date => {
                let date = NaiveDate::parse_from_str(highest, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN);
                Some(time(date, western)?.format("%Y-%m-%d").to_string())
            }
        }
    }
}

fn read(text: &str) -> Option<NaiveDateTime> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()
}

fn written(moment: NaiveDateTime) -> String {
    moment.format("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noon on 1 March 2024.
    const NOON: i64 = 1_709_294_400;

    fn cursor(values: Values, now: i64, oldest: Option<i64>) -> Cursor {
        Cursor {
            column: "c".to_owned(),
            values,
            identity: "table".to_owned(),
            overlap: Duration::from_secs(3_600),
            horizon: Horizon::seen(now, oldest),
        }
    }

    #[test]
    fn a_time_is_no_later_than_the_oldest_transaction_and_the_highest_value() {
        let since = |values, oldest, highest: &str| cursor(values, NOON, oldest).since(highest);
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(since(Values::Timestamp, None, "2024-02-01 10:00:00.5"), text("2024-02-01 09:00:00"));
        assert_eq!(since(Values::Timestamp, None, "2999-01-01 00:00:00"), text("2024-03-01 10:59:59"));
        assert_eq!(since(Values::Timestamp, Some(NOON - 7_200), "2024-03-01 11:59:00"), text("2024-03-01 08:59:59"));
        assert_eq!(since(Values::Local, None, "2024-03-01 11:59:00"), text("2024-02-29 22:59:59"));
        assert_eq!(since(Values::Date, None, "2024-02-03"), text("2024-02-02"));
        assert_eq!(since(Values::Number, None, "5000"), text("4000"));
        assert_eq!(since(Values::Timestamp, None, "0000-00-00 00:00:00"), None);
    }

    #[test]
    fn a_number_counts_only_when_all_that_ran_have_ended() {
        let left = |cursor: &Cursor, highest: &str, earlier: &Value| cursor.mark(highest, earlier).unwrap();
        let first = left(&cursor(Values::Number, 100, None), "10000", &Value::Null);
        assert_eq!(first["since"], Value::Null);
        // One that ran then still does.
        let second = left(&cursor(Values::Number, 200, Some(90)), "20000", &first);
        assert_eq!((&second["since"], &second["fence"]["since"]), (&Value::Null, &"9000".into()));
        let third = left(&cursor(Values::Number, 300, Some(150)), "30000", &second);
        assert_eq!((&third["since"], &third["fence"]["since"]), (&"9000".into(), &"29000".into()));
        let condition = cursor(Values::Number, 400, None).changed_since(&third).unwrap();
        assert_eq!(condition, "(`c` >= 9000 OR `c` IS NULL)");
    }

    #[test]
    fn a_mark_of_something_else_is_none() {
        let now = cursor(Values::Timestamp, NOON, None);
        let mark = now.mark("2024-01-01 00:00:00", &Value::Null).unwrap();
        assert!(now.changed_since(&mark).is_some());
        for (name, value) in [
            ("identity", "other".into()),
            ("column", "other".into()),
            ("now", (NOON + 1).into()),
            ("since", "'; DROP TABLE t; --".into()),
        ] {
            let mut other = mark.clone();
            other[name] = value;
            assert!(now.changed_since(&other).is_none(), "{name}");
        }
    }
}
