//! Tells changes: reads the rows that the stream says have changed, and looks after
//! the slot.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio_postgres::error::SqlState;

use super::pgoutput::Lsn;
use super::slot::{self, Slot};
use super::snapshot::Snapshot;
use super::stream::Stream;
use super::tables::{Selected, Tables};
use super::wire::Wire;
use crate::connectors::following::gathering::{self, RowKey};
use crate::connectors::following::telling::{self, NOT_YET_VISIBLE, ROWS_AT_ONCE, Source, Streams};
use crate::connectors::following::{FollowEnd, Followed as Told, Place, Telling};
use crate::connectors::postgresql::PostgreSql;
use crate::connectors::postgresql::failure::Failure;
use crate::connectors::postgresql::read::ObjectError;
use crate::connectors::postgresql::session::Session;
use crate::connectors::{Account, ConnectorError};

/// How long what was committed before tables were defined anew may take.
const LAST: Duration = Duration::from_secs(60);

/// What the stream has said and is not told yet.
type Gathered = gathering::Gathered<u32, Lsn>;

/// Follows over one session and one stream.
pub(super) struct Teller<'a> {
    account: &'a Account<PostgreSql>,
    session: Session,
    place: Place,
    definitions: String,
    /// Tables are defined anew: what was committed up to this place is told yet,
    /// since what the source says is gone needs no other proof.
    last: Option<(Lsn, Instant)>,
}

impl<'a> Teller<'a> {
    /// `last` is where to end, if tables are defined otherwise than they were.
    pub(super) fn new(
        account: &'a Account<PostgreSql>,
        session: Session,
        place: Place,
        definitions: String,
        last: Option<Lsn>,
    ) -> Self {
        let last = last.map(|last| (last, Instant::now()));
        Self { account, session, place, definitions, last }
    }

    /// Tells what the stream says until it cannot go on; everything before `position`
    /// is kept.
    pub(super) async fn run(
        self,
        wire: Wire,
        tables: Tables,
        telling: Telling,
        position: Lsn,
    ) -> Result<FollowEnd, ConnectorError> {
        let tables = Arc::new(tables);
        let (sender, events) = telling::events();
        let (confirm, kept) = watch::channel(position);
        let mut streams = Streams::new();
        streams.spawn(Stream::new(wire, tables.clone(), sender, kept).run());
        let teller = Followed { teller: self, tables, confirm };
        telling::run(teller, streams, events, telling, position).await
    }

    fn limit(&self) -> Duration {
        self.account.resources.dialer.timeouts().first_byte
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

/// A teller at work.
struct Followed<'a> {
    teller: Teller<'a>,
    tables: Arc<Tables>,
    confirm: watch::Sender<Lsn>,
}

impl Followed<'_> {
    /// Whether they could be told.
    async fn tell_rows(&self, table: usize, keys: &[RowKey], telling: &Telling) -> Result<bool, ConnectorError> {
        let limits = self.teller.account.resources.dialer.timeouts();
        self.teller.session.begin_object(limits).await?;
        let told = self.tables.followed[table].read_and_tell(&self.teller.session, limits, keys, telling).await;
        let is_told = match told {
            Ok(()) => true,
            Err(ObjectError::Object(..)) => false,
            Err(ObjectError::Session(error)) => return Err(error),
            Err(ObjectError::Silent) => return Err(ConnectorError::Unreachable { code: "timed_out", cause: None }),
        };
        self.teller.session.end_object(limits).await?;
        Ok(is_told)
    }
}

#[async_trait]
impl Source for Followed<'_> {
    type Transaction = u32;
    type Place = Lsn;

    async fn read_and_tell(&mut self, gathered: Gathered, telling: &Telling) -> Result<bool, ConnectorError> {
        let Gathered { transactions, mut rows, emptied, mut untold, .. } = gathered;
        if rows.is_empty() && emptied.is_empty() {
            return Ok(untold);
        }
        self.teller.see(&transactions).await?;
        let touched: BTreeSet<usize> = rows.keys().chain(&emptied).copied().collect();
        for table in touched {
            let keys: Vec<RowKey> = rows.remove(&table).unwrap_or_default().into_iter().collect();
            if emptied.contains(&table) {
                telling.tell(self.tables.followed[table].changed(true, Vec::new(), Vec::new())).await?;
            }
            for keys in keys.chunks(ROWS_AT_ONCE) {
                // Where the table is another one by now, or cannot be read, a sync
                // says what of it is there.
                untold |= !self.tell_rows(table, keys, telling).await?;
            }
        }
        self.teller.session.leave_snapshot(self.teller.limit()).await?;
        Ok(untold)
    }

    fn kept(&mut self, place: &Lsn) {
        // The stream may have ended meanwhile, which shows by itself.
        let _ = self.confirm.send(*place);
    }

    /// Looks at slot and definitions.
    async fn look(&mut self, telling: &Telling) -> Result<Option<FollowEnd>, ConnectorError> {
        let Teller { account, session, place, definitions, last } = &mut self.teller;
        let limits = account.resources.dialer.timeouts();
        let slot = match Slot::find(session, limits.first_byte, place).await? {
            Some(slot) if slot.is_usable => slot,
            Some(_) | None => return Ok(Some(FollowEnd::OutOfStep("the place at the source was lost"))),
        };
        telling.tell(Told::Kept(slot.kept_bytes)).await?;
        if slot.kept_bytes > account.config.max_retained_wal() {
            return Ok(Some(FollowEnd::TooMuchKept(slot.kept_bytes)));
        }
        if last.is_some() {
            return Ok(None);
        }
        session.new_snapshot(limits.first_byte).await?;
        let selected = Selected::of(session, limits, &account.config).await?;
        session.leave_snapshot(limits.first_byte).await?;
        if selected.definitions != *definitions {
            *last = Some((slot::end_of_log(session, limits.first_byte).await?, Instant::now()));
        }
        Ok(None)
    }

    fn is_ending(&self) -> bool {
        self.teller.last.is_some()
    }

    fn end_at(&self, reached: &Lsn, has_changes: bool) -> Option<FollowEnd> {
        let (last, since) = self.teller.last?;
        let is_over = (*reached >= last && !has_changes) || since.elapsed() > LAST;
        is_over.then_some(FollowEnd::OutOfStep("the definition of tables has changed"))
    }

    async fn leave(&mut self, end: FollowEnd) -> Result<(), ConnectorError> {
        let Teller { session, place, .. } = &self.teller;
        match end {
            FollowEnd::TooMuchKept(_) => super::remove(session, self.teller.limit(), place).await,
            FollowEnd::OutOfStep(_) => Ok(()),
        }
    }

    async fn explain(&mut self, error: ConnectorError) -> Result<FollowEnd, ConnectorError> {
        if !is_undefined(&error) {
            return Err(error);
        }
        // The slot is of a time before the publication: it will never do.
        Slot::remove(&self.teller.session, self.teller.limit(), &self.teller.place).await?;
        Ok(FollowEnd::OutOfStep("the place at the source was lost"))
    }
}

/// The server does not know something that it should.
fn is_undefined(error: &ConnectorError) -> bool {
    let ConnectorError::Unexpected(cause) = error else { return false };
    cause.downcast_ref::<Failure>().is_some_and(|failure| failure.state == Some(SqlState::UNDEFINED_OBJECT))
}
