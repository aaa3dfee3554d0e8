//! Rows that changed since an earlier pass, found by a column that says when each
//! was last changed. For what has no proof of its own (see [`heap`](super::heap)):
//! views, foreign and partitioned tables, and tables of a server that does not let
//! the login look.
//!
//! A pass sees one snapshot and leaves `since`: whatever commits after the snapshot
//! has a value from `since` on, and the next pass reads all rows from there, that
//! value included. The promise of the column is that each change sets it to the
//! time of the server, or to the next number, within its transaction. So a time is
//! no earlier than the beginning of its transaction, and
//! * `since` is no later than the beginning of the oldest transaction that ran when
//!   the snapshot was taken (the [`horizon`](super::horizon)), nor than the highest
//!   value seen, which guards against clocks of programs, nor than a margin before;
//! * numbers are taken in an order and committed in another. There, and where the
//!   horizon cannot be seen, a value becomes `since` only in a later snapshot, all
//!   of whose running transactions have later ids than any that ran in the first.
//!   Until then the earlier `since` stays: it is right for all later snapshots.
//!
//! A snapshot does not say by itself which ids are taken: its `xmax` is one more
//! than the latest that has *ended*, and younger ones may run. So the ids that run
//! are looked up after it was taken; one that ran then is either among them or has
//! ended before any later snapshot. A standby cannot see them, and reads whole.
//!
//! What cannot be seen is a transaction of another role that had begun, but not
//! written, when the snapshot was taken; the margin is for it, and `pg_read_all_stats`
//! makes it visible. Of a foreign table, the transactions are another server's.
//!
//! A time without a zone may be of any zone, so the present counts as twelve hours
//! ago there. Rows without a value are always read. No value leaves no mark.
//!
//! Deleted rows have no value: the count tells that some are gone, and their keys
//! say which; rows without a key are then read whole.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::Client;

use super::horizon::Horizon;
use crate::connectors::rows::cursors::{OVERLAP_NUMBERS, WESTERNMOST};
use crate::connectors::rows::names::identifier;

/// The snapshot, and the ids that run now; they are shown to every role.
const SNAPSHOT: &str = "\
    SELECT txid_snapshot_xmin(txid_current_snapshot()), txid_snapshot_xmax(txid_current_snapshot()), \
        ARRAY(SELECT backend_xid::text::bigint FROM pg_stat_activity WHERE backend_xid IS NOT NULL \
              UNION ALL SELECT transaction::text::bigint FROM pg_prepared_xacts), \
        pg_is_in_recovery()";
/// What these views are made of.
const DEFINITIONS: &str = "\
    SELECT c.oid, md5(pg_get_viewdef(c.oid)) FROM pg_class c WHERE c.oid = ANY($1) AND c.relkind IN ('v', 'm')";

/// What the values of a cursor column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    Zoned,
    Local,
    Date,
    Number,
}

/// What a pass leaves of a cursor column for the next one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct CursorMark {
    table: u32,
    definition: String,
    shape: String,
    column: String,
    /// Later than any transaction that had an id when the snapshot was taken, and
    /// has not ended since.
    next: u64,
    /// What changes later has no smaller value; none when that is not known yet.
    since: Option<String>,
    fence: Option<Fence>,
}

/// A value that becomes `since` when no transaction before `next` runs any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Fence {
    since: String,
    next: u64,
}

/// The snapshot of a pass, as far as cursors need it.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    horizon: Horizon,
    oldest: u64,
    next: u64,
    definitions: Vec<(u32, String)>,
}

impl Snapshot {
    /// Of a session whose horizon is known and whose snapshot is taken; none on a
    /// standby.
    pub(super) async fn of(
        client: &Client,
        horizon: Horizon,
        tables: &[u32],
    ) -> Result<Option<Self>, tokio_postgres::Error> {
        let row = client.query_one(SNAPSHOT, &[]).await?;
        if row.try_get::<_, bool>(3)? {
            return Ok(None);
        }
        let number = |index| row.try_get::<_, i64>(index).map(|number| u64::try_from(number).unwrap_or(0));
        let (oldest, ended) = (number(0)?, number(1)?);
        let running: Vec<i64> = row.try_get(2)?;
        let next = running.into_iter().map(|id| after(id, ended)).fold(ended, u64::max);
        let mut definitions = Vec::new();
        for row in client.query(DEFINITIONS, &[&tables]).await? {
            definitions.push((row.try_get(0)?, row.try_get(1)?));
        }
        Ok(Some(Self { horizon, oldest, next, definitions }))
    }

    /// The cursor of a table in this snapshot.
    pub(super) fn cursor(&self, table: u32, shape: String, column: &str, values: Values, overlap: u64) -> Cursor {
        let definition = self.definitions.iter().find(|(view, _)| *view == table);
        let definition = definition.map(|(_, definition)| definition.clone()).unwrap_or_default();
        let mark = CursorMark {
            table,
            definition,
            shape,
            column: column.to_owned(),
            next: self.next,
            since: None,
            fence: None,
        };
        Cursor { mark, values, overlap, horizon: self.horizon, oldest: self.oldest }
    }
}

/// The id after one of 32 bits, in the 64 bits of another that is near.
fn after(id: i64, near: u64) -> u64 {
    // Ids come round; the distance of two that are near does not.
    let distance = (id as u32).wrapping_sub(near as u32) as i32;
    near.saturating_add_signed(i64::from(distance)).saturating_add(1)
}

/// A cursor column of a table, in a snapshot.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    mark: CursorMark,
    values: Values,
    /// In seconds.
    overlap: u64,
    horizon: Horizon,
    oldest: u64,
}

impl Cursor {
    /// The highest value, as an expression over `t`.
    pub(super) fn highest(&self) -> String {
        format!("max(t.{})::text", identifier(&self.mark.column))
    }

    /// Which rows changed since a mark, if it is of this table and history: a
    /// condition on `t`.
    pub(super) fn changed_since(&self, earlier: &Value) -> Option<String> {
        let since = self.earlier(earlier)?.since?;
        let (column, kind) = (identifier(&self.mark.column), self.values.type_name());
        // It is put into a statement.
        let is_plain = since.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" :+-.".contains(&byte));
        is_plain.then(|| format!("(t.{column} >= '{since}'::{kind} OR t.{column} IS NULL)"))
    }

    /// What to leave for the next pass, where this is the highest value.
    pub(super) async fn mark(
        &self,
        client: &Client,
        highest: &str,
        earlier: &Value,
    ) -> Result<Option<Value>, tokio_postgres::Error> {
        let Some(since) = self.since(client, highest).await? else { return Ok(None) };
        Ok(serde_json::to_value(self.with_since(since, self.earlier(earlier))).ok())
    }

    fn with_since(&self, since: String, earlier: Option<CursorMark>) -> CursorMark {
        let mark = self.mark.clone();
        let is_sure = self.horizon.is_sure && self.values != Values::Number;
        if is_sure {
            return CursorMark { since: Some(since), ..mark };
        }
        let new = Fence { since, next: mark.next };
        let (since, fence) = match earlier {
            Some(CursorMark { fence: Some(passed), .. }) if self.oldest >= passed.next => (Some(passed.since), new),
            Some(CursorMark { since, fence, .. }) => (since, fence.unwrap_or(new)),
            None => (None, new),
        };
        CursorMark { since, fence: Some(fence), ..mark }
    }

    /// A mark of the same column of the same table, and not of a future that a
    /// server which went back has lost.
    fn earlier(&self, mark: &Value) -> Option<CursorMark> {
        let mark: CursorMark = serde_json::from_value(mark.clone()).ok()?;
        let CursorMark { table, definition, shape, column, next, since: _, fence: _ } = &mark;
        let is_same = *table == self.mark.table
            && *definition == self.mark.definition
            && *shape == self.mark.shape
            && *column == self.mark.column;
        (is_same && *next <= self.mark.next).then_some(mark)
    }

    async fn since(&self, client: &Client, highest: &str) -> Result<Option<String>, tokio_postgres::Error> {
        let western = WESTERNMOST.as_secs();
        let local = format!("(to_timestamp($2) AT TIME ZONE 'UTC' - interval '{western} seconds')");
        let margin = "make_interval(secs => $3)";
        let expression = match self.values {
            Values::Number => {
                let number = highest.parse::<i64>().ok();
                return Ok(number.map(|number| number.saturating_sub(OVERLAP_NUMBERS).to_string()));
            }
            Values::Zoned => format!("least($1::text::timestamptz, to_timestamp($2)) - {margin}"),
            Values::Local => format!("least($1::text::timestamp, {local}) - {margin}"),
            Values::Date => format!("(least($1::text::date::timestamp, {local}) - {margin})::date"),
        };
        let statement = format!("SELECT ({expression})::text");
        let row = client.query_one(&statement, &[&highest, &self.horizon.begins, &(self.overlap as f64)]).await?;
        row.try_get(0)
    }
}

impl Values {
    /// What the values of a type are; none for one without an order of time.
    pub(super) fn of(type_name: &str) -> Option<Self> {
        match type_name {
            "smallint" | "integer" | "bigint" => Some(Self::Number),
            "date" => Some(Self::Date),
            _ if !type_name.starts_with("timestamp") || type_name.ends_with(']') => None,
            _ if type_name.ends_with("with time zone") => Some(Self::Zoned),
            _ if type_name.ends_with("without time zone") => Some(Self::Local),
            _ => None,
        }
    }

    fn type_name(self) -> &'static str {
        match self {
            Self::Zoned => "timestamptz",
            Self::Local => "timestamp",
            Self::Date => "date",
            Self::Number => "bigint",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(is_sure: bool, values: Values, oldest: u64, next: u64) -> Cursor {
        let horizon = Horizon { begins: 0.0, is_sure };
        let snapshot = Snapshot { horizon, oldest, next, definitions: vec![(7, "d".to_owned())] };
        snapshot.cursor(7, "shape".to_owned(), "c", values, 300)
    }

    fn left(cursor: &Cursor, since: &str, earlier: &Value) -> Value {
        serde_json::to_value(cursor.with_since(since.to_owned(), cursor.earlier(earlier))).unwrap()
    }

    #[test]
    fn a_number_counts_only_when_all_that_ran_have_ended() {
        let first = left(&cursor(true, Values::Number, 90, 100), "10", &Value::Null);
        assert_eq!(first["since"], Value::Null, "nothing is known before");
        // One that ran then still does.
        let second = left(&cursor(true, Values::Number, 95, 110), "20", &first);
        assert_eq!((&second["since"], &second["fence"]["since"]), (&Value::Null, &"10".into()));
        let third = left(&cursor(true, Values::Number, 101, 120), "30", &second);
        assert_eq!((&third["since"], &third["fence"]["since"]), (&"10".into(), &"30".into()));
        assert!(cursor(true, Values::Number, 119, 130).changed_since(&third).unwrap().contains(">= '10'::bigint"));
        // What runs may have the very id that the snapshot ends with.
        let alone = left(&cursor(false, Values::Number, 730, 731), "40", &Value::Null);
        let later = left(&cursor(false, Values::Number, 730, 740), "50", &alone);
        assert_eq!((&later["since"], &later["fence"]["since"]), (&Value::Null, &"40".into()));
    }

    #[test]
    fn ids_that_run_are_placed_where_they_come_round() {
        assert_eq!(after(730, 730), 731);
        assert_eq!(after(700, 730), 701);
        let epoch = 1_u64 << 32;
        assert_eq!(after(5, epoch - 1), epoch + 6);
        assert_eq!(after(i64::from(u32::MAX), epoch + 3), epoch);
    }

    #[test]
    fn a_time_counts_at_once_where_the_horizon_is_seen() {
        assert_eq!(left(&cursor(true, Values::Zoned, 90, 100), "2020-01-01", &Value::Null)["since"], "2020-01-01");
        assert_eq!(left(&cursor(false, Values::Zoned, 90, 100), "2020-01-01", &Value::Null)["since"], Value::Null);
    }

    #[test]
    fn a_mark_of_something_else_is_none() {
        let now = cursor(true, Values::Zoned, 100, 100);
        let mark = left(&now, "2020-01-01 00:00:00+00", &Value::Null);
        assert!(now.changed_since(&mark).is_some());
        for (name, value) in [
            ("table", serde_json::json!(8)),
            ("definition", "other".into()),
            ("shape", "other".into()),
            ("column", "other".into()),
            ("next", serde_json::json!(101)),
            ("since", "'; DROP TABLE t; --".into()),
        ] {
            let mut other = mark.clone();
            other[name] = value;
            assert!(now.changed_since(&other).is_none(), "{name}");
        }
    }

    #[test]
    fn only_types_with_an_order_of_time_are_cursors() {
        assert_eq!(Values::of("timestamp(3) with time zone"), Some(Values::Zoned));
        assert_eq!(Values::of("timestamp without time zone"), Some(Values::Local));
        for other in ["json", "text", "numeric", "double precision", "timestamp with time zone[]", "oid", "uuid"] {
            assert_eq!(Values::of(other), None, "{other}");
        }
    }
}
