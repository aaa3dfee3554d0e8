//! Which rows of a heap table have not moved since an earlier snapshot, and when
//! that can be proved.
//!
//! Every row version carries the id of the transaction that wrote it (`xmin`).
//! Let `since` be the oldest transaction that still ran when the snapshot of an
//! earlier pass was taken. All older ones had ended by then, so that pass saw
//! what they wrote. A row that is visible now and whose `xmin` is not among
//! `since` and later ones was therefore visible to that pass, as it is: only the
//! others, the *moved* rows, have to be read. What was deleted shows in the
//! count.
//!
//! `xmin` has 32 bits and comes round again; it stays with a row for ever, also
//! when the row is frozen. The age of an id, in the 32 bits modulo, is right for
//! all ids of the last 2^31 transactions, and `since` must be one of them. An old
//! row whose `xmin` has come round into the window is only read once more.
//!
//! The proof needs the same history of transactions, so all that could put
//! another in its place is part of a mark, and a mark that differs is no mark:
//! * A restored, promoted or replaced server has been started since. So has one
//!   whose data directory went back to a copy.
//! * A server that crashed and recovered by itself, without being started, may
//!   have lost commits that nobody had waited for, and uses their ids again. It
//!   throws its statistics away at that, and says when.
//! * Another table under the same name has another id.
//! * A column that came or went has another number, and values of built-in types
//!   only read otherwise when they are written anew.
//!
//! Everything else is read whole: views, foreign and partitioned tables, tables
//! that hide rows by policy, that have virtual columns or types whose text can
//! change behind a row's back (enumerations, names of catalogue objects), and
//! servers in recovery, where the ids of running transactions are the primary's.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::catalog::Table;
use super::failure::Failure;
use super::session::Session;
use crate::connectors::ConnectorError;
use crate::egress::Timeouts;

/// Transactions between two snapshots beyond which ids may have come round; the
/// margin is for those that begin meanwhile.
const LONGEST_WINDOW: u64 = (1 << 31) - 10_000_000;
/// The first id of an ordinary transaction.
const FIRST_ORDINARY: u64 = 3;

/// What server this is, and what its snapshot is. `pg_control_system` may be
/// kept from ordinary roles; then there is no proof.
const HISTORY: &str = "\
    SELECT version() LIKE 'PostgreSQL %' AND NOT pg_is_in_recovery(), \
        concat_ws(' ', (SELECT system_identifier FROM pg_control_system()), \
            extract(epoch FROM pg_postmaster_start_time()), \
            (SELECT extract(epoch FROM stats_reset) FROM pg_stat_bgwriter)), \
        txid_snapshot_xmin(txid_current_snapshot()), txid_snapshot_xmax(txid_current_snapshot())";

/// Tables of which rows can be proved unmoved, with the file that holds them.
const HEAPS: &str = "\
    SELECT c.oid, c.relfilenode FROM pg_class c JOIN pg_am m ON m.oid = c.relam \
    WHERE c.oid = ANY($1) AND c.relkind = 'r' AND m.amname = 'heap' AND NOT c.relrowsecurity \
        AND NOT EXISTS (SELECT FROM pg_attribute a \
            WHERE a.attrelid = c.oid AND to_jsonb(a) ->> 'attgenerated' = 'v')";

/// A server whose snapshots can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct History {
    /// Changes with whatever could have changed the past.
    server: String,
    /// The oldest transaction that runs; all before have ended. 64 bits.
    oldest: u64,
    /// The first transaction that this snapshot cannot see.
    next: u64,
    /// Tables and their files.
    heaps: Vec<(u32, u32)>,
}

/// What a pass leaves of a table for the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeapMark {
    server: String,
    table: u32,
    shape: String,
    since: u64,
}

/// Where a pass that broke off had come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    #[serde(flatten)]
    mark: HeapMark,
    file: u32,
    /// What is in blocks before this one was read.
    pub(super) block: u32,
}

/// A heap table whose rows can be told apart by when they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heap {
    mark: HeapMark,
    file: u32,
    next: u64,
}

/// Which rows moved: a condition on the table's alias `t`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moved(String);

impl Moved {
    /// True of rows that moved.
    pub(super) fn condition(&self) -> &str {
        &self.0
    }
}

impl History {
    /// What this session can prove; none where it cannot.
    pub(super) async fn of(
        session: &Session,
        limits: Timeouts,
        tables: &[Table],
    ) -> Result<Option<Self>, ConnectorError> {
        session.begin_object(limits).await?;
        let asked = tokio::time::timeout(limits.first_byte, ask(session, tables)).await;
        let history = match asked {
            Ok(Ok(history)) => history,
            Ok(Err(failure)) if failure.fatal => return Err(failure.into_error()),
            // Not this server, or not this role.
            Ok(Err(_)) => None,
            Err(_) => return Err(ConnectorError::Unreachable { code: "timed_out", cause: None }),
        };
        session.end_object(limits).await?;
        Ok(history)
    }

    /// A table of this snapshot, if its rows can be proved unmoved. `shape` says
    /// what is read of it, and how.
    pub(super) fn heap(&self, table: u32, shape: String) -> Option<Heap> {
        let (_, file) = self.heaps.iter().find(|(known, _)| *known == table)?;
        let mark = HeapMark { server: self.server.clone(), table, shape, since: self.oldest };
        Some(Heap { mark, file: *file, next: self.next })
    }
}

async fn ask(session: &Session, tables: &[Table]) -> Result<Option<History>, Failure> {
    let row = session.client.query_one(HISTORY, &[]).await?;
    if !row.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let number = |index| row.try_get::<_, i64>(index).map(|number| u64::try_from(number).unwrap_or(0));
    let (server, oldest, next) = (row.try_get(1)?, number(2)?, number(3)?);
    let tables: Vec<u32> = tables.iter().map(|table| table.oid).collect();
    let mut heaps = Vec::new();
    for row in session.client.query(HEAPS, &[&tables]).await? {
        heaps.push((row.try_get(0)?, row.try_get(1)?));
    }
    Ok(Some(History { server, oldest, next, heaps }))
}

impl Heap {
    /// What to leave for the next pass.
    pub(super) fn mark(&self) -> HeapMark {
        self.mark.clone()
    }

    /// The place of a row in a block of the table.
    pub(super) fn place(&self, block: u32) -> Place {
        Place { mark: self.mark.clone(), file: self.file, block }
    }

    /// The rows that moved since a mark, if it is of this table and history.
    pub(super) fn moved_since(&self, earlier: &Value) -> Option<Moved> {
        let earlier: HeapMark = serde_json::from_value(earlier.clone()).ok()?;
        self.moved(&earlier)
    }

    /// Where to go on, if the rows are still in the same places, and which of
    /// those before have moved.
    pub(super) fn go_on_from(&self, place: &Value) -> Option<(u32, Moved)> {
        let Place { mark, file, block } = serde_json::from_value(place.clone()).ok()?;
        let moved = self.moved(&mark)?;
        (file == self.file).then_some((block, moved))
    }

    fn moved(&self, earlier: &HeapMark) -> Option<Moved> {
        let HeapMark { server, table, shape, since } = earlier;
        let is_same = *server == self.mark.server && *table == self.mark.table && *shape == self.mark.shape;
        let raw = since & u64::from(u32::MAX);
        let window = self.next.checked_sub(*since)?;
        if !is_same || window > LONGEST_WINDOW || raw < FIRST_ORDINARY {
            return None;
        }
        // Both ages are counted from the same transaction. Rows that the snapshot
        // sees are older; a negative age is an old id that has come round.
        Some(Moved(format!("(age(t.xmin) BETWEEN 0 AND age('{raw}'::xid))")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn heap(next: u64) -> Heap {
        let history = History { server: "s".to_owned(), oldest: next, next, heaps: vec![(7, 70)] };
        history.heap(7, "shape".to_owned()).unwrap()
    }

    fn earlier(since: u64) -> Value {
        serde_json::to_value(heap(since).mark()).unwrap()
    }

    #[test]
    fn rows_are_proved_unmoved_only_within_one_history() {
        let now = heap(5_000);
        assert!(now.moved_since(&earlier(4_000)).is_some());
        assert!(now.moved_since(&earlier(5_000)).is_some());
        // From the future: the server went back.
        assert!(now.moved_since(&earlier(5_001)).is_none());
        for (name, value) in [("server", json!("other")), ("table", json!(8)), ("shape", json!("other"))] {
            let mut mark = earlier(4_000);
            mark[name] = value;
            assert!(now.moved_since(&mark).is_none(), "{name}");
        }
        assert!(now.moved_since(&json!({})).is_none());
        let unknown = History { server: "s".to_owned(), oldest: 1, next: 1, heaps: vec![] };
        assert!(unknown.heap(7, "shape".to_owned()).is_none());
    }

    #[test]
    fn a_window_never_reaches_round() {
        let epoch = 1_u64 << 32;
        assert!(heap(epoch + 100).moved_since(&earlier(epoch - 100)).is_some());
        assert!(heap(epoch + 100).moved_since(&earlier(1_000)).is_none());
        assert!(heap(LONGEST_WINDOW + 1_000).moved_since(&earlier(1_000)).is_some());
        assert!(heap(LONGEST_WINDOW + 1_001).moved_since(&earlier(1_000)).is_none());
        // Ids that mean something else have no age.
        assert!(heap(epoch + 100).moved_since(&earlier(epoch + 2)).is_none());
        assert!(heap(epoch + 100).moved_since(&earlier(epoch + 3)).is_some());
    }

    #[test]
    fn a_pass_goes_on_only_in_the_same_file() {
        let place = serde_json::to_value(heap(4_000).place(12)).unwrap();
        let now = heap(5_000);
        assert_eq!(now.go_on_from(&place).map(|(block, _)| block), Some(12));
        let rewritten = Heap { file: 71, ..now };
        assert!(rewritten.go_on_from(&place).is_none());
    }
}
