//! Tells changes: gathers what the stream says, reads the rows, hands them over,
//! and confirms once they are kept.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_postgres::error::SqlState;

use super::pgoutput::Lsn;
use super::slot::{self, Slot};
use super::snapshot::Snapshot;
use super::stream::{Event, RowKey, Stream};
use super::tables::{Selected, Tables};
use super::wire::Wire;
use crate::connectors::following::{FollowEnd, Followed as Told, Place, Reached, Telling};
use crate::connectors::postgresql::PostgreSql;
use crate::connectors::postgresql::failure::Failure;
use crate::connectors::postgresql::read::ObjectError;
use crate::connectors::postgresql::session::Session;
use crate::connectors::reading::Stopped;
use crate::connectors::{Account, ConnectorError};

/// Rows, and transactions, that are told up to one place, at most.
const MOST_ROWS: usize = 20_000;
/// Bytes of their keys.
const MOST_KEY_BYTES: usize = 8 * 1024 * 1024;
/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 500;
/// Events on their way between stream and reading.
const EVENTS: usize = 4096;
/// Under load, so long lies between two batches: each ends in a commit of the
/// index.
const PACE: Duration = Duration::from_millis(200);
/// How often a place is noted when nothing of ours has changed.
const NOTE_EVERY: Duration = Duration::from_secs(5);
/// How often slot and definitions are looked at.
const CHECK_EVERY: Duration = Duration::from_secs(3);
/// How long what was committed before tables were defined anew may take.
const LAST: Duration = Duration::from_secs(60);
/// Shortest and longest wait for a commit to become visible.
const NOT_YET_VISIBLE: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(200));

/// Follows over one session and one stream.
pub(super) struct Teller<'a> {
    account: &'a Account<PostgreSql>,
    session: Session,
    place: Place,
    definitions: String,
    tables: Arc<Tables>,
    telling: Telling,
    /// Everything before is told and kept.
    position: Lsn,
    gathered: Gathered,
    /// Tables are defined anew: what was committed up to this place is told yet,
    /// since what the source says is gone needs no other proof.
    last: Option<(Lsn, Instant)>,
}

/// What the stream has said and is not told yet.
#[derive(Debug, Default)]
struct Gathered {
    /// The transaction that is under way in the stream.
    current: u32,
    transactions: BTreeSet<u32>,
    rows: BTreeMap<usize, HashSet<RowKey>>,
    key_bytes: usize,
    emptied: BTreeSet<usize>,
    untold: bool,
    reached: Option<Lsn>,
    committed_at: Option<i64>,
    /// The last event was the end of a transaction.
    is_whole: bool,
}

impl Gathered {
    fn take(&mut self, event: Event) {
        self.is_whole = false;
        match event {
            Event::Transaction(id) => self.current = id,
            Event::Row { table, key } => {
                self.transactions.insert(self.current);
                self.key_bytes += key.iter().map(String::len).sum::<usize>();
                self.rows.entry(table).or_default().insert(key);
            }
            Event::Emptied { table } => {
                self.transactions.insert(self.current);
                self.rows.remove(&table);
                self.emptied.insert(table);
            }
            Event::Untold => self.untold = true,
            Event::Reached { place, at_micros } => {
                self.is_whole = true;
                self.reached = self.reached.max(Some(place));
                self.committed_at = at_micros.or(self.committed_at);
            }
        }
    }

    fn has_changes(&self) -> bool {
        !self.rows.is_empty() || !self.emptied.is_empty() || self.untold
    }

    fn is_full(&self) -> bool {
        self.rows.values().map(HashSet::len).sum::<usize>() >= MOST_ROWS
            || self.transactions.len() >= MOST_ROWS
            || self.key_bytes >= MOST_KEY_BYTES
    }

    /// What there is; the transaction goes on.
    fn cut(&mut self) -> Self {
        let next = Self { current: self.current, ..Self::default() };
        std::mem::replace(self, next)
    }
}

impl<'a> Teller<'a> {
    /// Everything before `position` is kept; `last` is where to end, if tables are
    /// defined otherwise than they were.
    #[allow(clippy::too_many_arguments, reason = "each is a part of it")]
    pub(super) fn new(
        account: &'a Account<PostgreSql>,
        session: Session,
        place: Place,
        definitions: String,
        tables: Tables,
        telling: Telling,
        position: Lsn,
        last: Option<Lsn>,
    ) -> Self {
        let tables = Arc::new(tables);
        let last = last.map(|last| (last, Instant::now()));
        Self { account, session, place, definitions, tables, telling, position, gathered: Gathered::default(), last }
    }

    /// Tells until it cannot go on.
    pub(super) async fn run(mut self, wire: Wire) -> Result<FollowEnd, ConnectorError> {
        let (sender, mut events) = mpsc::channel(EVENTS);
        let (confirm, kept) = watch::channel(self.position);
        let mut stream = JoinSet::new();
        stream.spawn(Stream::new(wire, self.tables.clone(), sender, kept).run());
        let mut check = tokio::time::interval(CHECK_EVERY);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut told_at, mut noted_at) = (Instant::now() - PACE, Instant::now());
        loop {
            if self.has_told_the_last() {
                stream.shutdown().await;
                return Ok(FollowEnd::OutOfStep("the definition of tables has changed"));
            }
            let due = told_at + PACE;
            let is_ready = self.gathered.has_changes() && (self.gathered.is_whole || self.gathered.is_full());
            tokio::select! {
                () = tokio::time::sleep_until(due.into()), if is_ready => {
                    told_at = Instant::now();
                    self.tell(&confirm).await?;
                    noted_at = Instant::now();
                }
                event = events.recv(), if !self.gathered.is_full() => {
                    let Some(event) = event else { return self.ended(&mut stream).await };
                    self.gathered.take(event);
                    // A server that goes on and on must not keep us from all else.
                    for _ in 0..EVENTS {
                        if self.gathered.is_full() {
                            break;
                        }
                        let Ok(event) = events.try_recv() else { break };
                        self.gathered.take(event);
                    }
                    if !self.gathered.has_changes() && noted_at.elapsed() >= NOTE_EVERY {
                        noted_at = Instant::now();
                        self.tell(&confirm).await?;
                    }
                }
                () = tokio::time::sleep(PACE), if self.last.is_some() => {}
                _ = check.tick() => {
                    if let Some(end) = self.check().await? {
                        // The server must not find the slot in use.
                        stream.shutdown().await;
                        if let FollowEnd::TooMuchKept(_) = end {
                            super::remove(&self.session, self.limit(), &self.place).await?;
                        }
                        return Ok(end);
                    }
                }
            }
        }
    }

    fn limit(&self) -> Duration {
        self.account.resources.dialer.timeouts().first_byte
    }

    /// Why the stream ended.
    async fn ended(&self, stream: &mut JoinSet<Result<(), ConnectorError>>) -> Result<FollowEnd, ConnectorError> {
        match stream.join_next().await {
            Some(Ok(Err(error))) if is_undefined(&error) => {
                // The slot is of a time before the publication: it will never do.
                Slot::remove(&self.session, self.limit(), &self.place).await?;
                Ok(FollowEnd::OutOfStep("the place at the source was lost"))
            }
            Some(Ok(Err(error))) => Err(error),
            Some(Ok(Ok(()))) | None => Err(ConnectorError::Stopped(Stopped)),
            Some(Err(panicked)) => Err(ConnectorError::Unexpected(Box::new(panicked))),
        }
    }

    fn has_told_the_last(&self) -> bool {
        let reached = self.gathered.reached.max(Some(self.position));
        self.last.is_some_and(|(last, since)| {
            (reached >= Some(last) && !self.gathered.has_changes()) || since.elapsed() > LAST
        })
    }

    /// Looks at slot and definitions.
    async fn check(&mut self) -> Result<Option<FollowEnd>, ConnectorError> {
        let limits = self.account.resources.dialer.timeouts();
        let slot = match Slot::find(&self.session, limits.first_byte, &self.place).await? {
            Some(slot) if slot.is_usable => slot,
            Some(_) | None => return Ok(Some(FollowEnd::OutOfStep("the place at the source was lost"))),
        };
        self.telling.tell(Told::Kept(slot.kept_bytes)).await?;
        if slot.kept_bytes > self.account.config.max_retained_wal() {
            return Ok(Some(FollowEnd::TooMuchKept(slot.kept_bytes)));
        }
        if self.last.is_some() {
            return Ok(None);
        }
        self.session.new_snapshot(limits.first_byte).await?;
        let selected = Selected::of(&self.session, limits, &self.account.config).await?;
        self.session.leave_snapshot(limits.first_byte).await?;
        if selected.definitions != self.definitions {
            self.last = Some((slot::end_of_log(&self.session, limits.first_byte).await?, Instant::now()));
        }
        Ok(None)
    }

    /// Reads what was gathered, tells it, and confirms it once it is kept.
    async fn tell(&mut self, confirm: &watch::Sender<Lsn>) -> Result<(), ConnectorError> {
        let gathered = self.gathered.cut();
        let reached = gathered.reached.unwrap_or_default().max(self.position);
        let committed_at = gathered.committed_at.and_then(|micros| u64::try_from(micros).ok());
        let needs_sync = self.read_and_tell(gathered).await?;
        let (kept, is_kept) = oneshot::channel();
        let told = Reached {
            needs_sync,
            position: reached.to_string(),
            committed_at: committed_at.map(|micros| UNIX_EPOCH + Duration::from_micros(micros)),
            kept,
        };
        self.telling.tell(Told::Reached(told)).await?;
        is_kept.await.map_err(|_| ConnectorError::Stopped(Stopped))?;
        self.position = reached;
        // The stream may have ended meanwhile, which shows by itself.
        let _ = confirm.send(reached);
        Ok(())
    }

    /// Tells the rows as they are now, and whether a sync must look besides.
    async fn read_and_tell(&self, gathered: Gathered) -> Result<bool, ConnectorError> {
        let Gathered { transactions, mut rows, emptied, mut untold, .. } = gathered;
        if rows.is_empty() && emptied.is_empty() {
            return Ok(untold);
        }
        self.see(&transactions).await?;
        let touched: BTreeSet<usize> = rows.keys().chain(&emptied).copied().collect();
        for table in touched {
            let keys: Vec<RowKey> = rows.remove(&table).unwrap_or_default().into_iter().collect();
            if emptied.contains(&table) {
                let followed = &self.tables.followed[table];
                self.telling.tell(followed.changed(true, Vec::new(), Vec::new())).await?;
            }
            for keys in keys.chunks(ROWS_AT_ONCE) {
                // Where the table is another one by now, or cannot be read, a sync
                // says what of it is there.
                untold |= !self.tell_rows(table, keys).await?;
            }
        }
        self.session.leave_snapshot(self.limit()).await?;
        Ok(untold)
    }

    /// Whether they could be told.
    async fn tell_rows(&self, table: usize, keys: &[RowKey]) -> Result<bool, ConnectorError> {
        let limits = self.account.resources.dialer.timeouts();
        self.session.begin_object(limits).await?;
        let told = self.tables.followed[table].read_and_tell(&self.session, limits, keys, &self.telling).await;
        let is_told = match told {
            Ok(()) => true,
            Err(ObjectError::Object(..)) => false,
            Err(ObjectError::Session(error)) => return Err(error),
            Err(ObjectError::Silent) => return Err(ConnectorError::Unreachable { code: "timed_out", cause: None }),
        };
        self.session.end_object(limits).await?;
        Ok(is_told)
    }

    /// Takes a snapshot that sees all these transactions.
    async fn see(&self, transactions: &BTreeSet<u32>) -> Result<(), ConnectorError> {
        let limit = self.limit();
        let (mut wait, longest) = NOT_YET_VISIBLE;
        loop {
            self.session.new_snapshot(limit).await?;
            let snapshot = Snapshot::of(&self.session, limit).await?;
            if transactions.iter().all(|transaction| snapshot.sees(*transaction)) {
                return Ok(());
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
    }
}

/// The server does not know something that it should.
fn is_undefined(error: &ConnectorError) -> bool {
    let ConnectorError::Unexpected(cause) = error else { return false };
    cause.downcast_ref::<Failure>().is_some_and(|failure| failure.state == Some(SqlState::UNDEFINED_OBJECT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str) -> Event {
        Event::Row { table: 0, key: vec![key.to_owned()] }
    }

    #[test]
    fn what_a_table_lost_when_it_was_emptied_is_not_read() {
        let mut gathered = Gathered::default();
        let reached = Event::Reached { place: Lsn(9), at_micros: Some(1) };
        for event in [Event::Transaction(7), row("1"), Event::Emptied { table: 0 }, row("2"), reached] {
            gathered.take(event);
        }
        assert!(gathered.has_changes() && gathered.is_whole);
        assert_eq!(gathered.rows[&0], HashSet::from([vec!["2".to_owned()]]));
        assert_eq!(gathered.transactions, BTreeSet::from([7]));
    }

    #[test]
    fn a_transaction_that_is_cut_goes_on_under_its_own_id() {
        let mut gathered = Gathered::default();
        gathered.take(Event::Transaction(7));
        (0..MOST_ROWS).for_each(|number| gathered.take(row(&number.to_string())));
        assert!(gathered.is_full());
        assert_eq!(gathered.cut().transactions, BTreeSet::from([7]));
        gathered.take(row("more"));
        assert_eq!(gathered.transactions, BTreeSet::from([7]));
        assert!(!gathered.is_whole && gathered.reached.is_none());
    }

    #[test]
    fn keys_that_are_long_and_transactions_without_rows_have_an_end_too() {
        let mut gathered = Gathered::default();
        let long = "x".repeat(4096);
        for number in 0..MOST_KEY_BYTES / 4096 {
            gathered.take(row(&format!("{long}{number}")));
        }
        assert!(gathered.is_full());
        assert!(gathered.cut().is_full() && !gathered.is_full());
        for id in 0..MOST_ROWS as u32 {
            gathered.take(Event::Transaction(id));
            gathered.take(Event::Emptied { table: 0 });
        }
        assert!(gathered.is_full());
    }

    #[test]
    fn a_sign_of_life_alone_changes_nothing() {
        let mut gathered = Gathered::default();
        gathered.take(Event::Reached { place: Lsn(9), at_micros: None });
        assert!(!gathered.has_changes());
        assert_eq!(gathered.reached, Some(Lsn(9)));
    }
}
