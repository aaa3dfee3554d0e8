//! The replication slot: what the server keeps of its log for us.

use std::time::{Duration, Instant};

use super::pgoutput::Lsn;
use super::wire::Wire;
use crate::connectors::ConnectorError;
use crate::connectors::following::Place;
use crate::connectors::postgresql::failure::Failure;
use crate::connectors::postgresql::session::{Session, answered};

/// How long a predecessor may take to let go of the slot.
const LETTING_GO: Duration = Duration::from_secs(10);
/// How often to look whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(100);

const SLOT: &str = "\
    SELECT s.slot_type = 'logical' AND s.plugin = 'pgoutput' AND s.database = current_database(), \
        coalesce(to_jsonb(s) ->> 'wal_status', 'reserved') <> 'lost', \
        s.confirmed_flush_lsn::text, \
        coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn), 0)::int8, \
        s.active \
    FROM pg_replication_slots s WHERE s.slot_name::text = $1";

const TERMINATE: &str = "\
    SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name::text = $1 AND active";

const DROP: &str = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name::text = $1";

/// A slot that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    /// It tells what we understand, and has all of it.
    pub(super) is_usable: bool,
    /// What was confirmed is before this.
    pub(super) confirmed: Option<Lsn>,
    /// Bytes of the log that the server keeps for it.
    pub(super) kept_bytes: u64,
    is_active: bool,
}

impl Slot {
    /// The slot of a place, if there is one.
    pub(super) async fn find(
        session: &Session,
        limit: Duration,
        place: &Place,
    ) -> Result<Option<Self>, ConnectorError> {
        let row = answered(limit, session.client.query_opt(SLOT, &[&place.name()])).await?;
        let Some(row) = row else { return Ok(None) };
        let read = || {
            let (is_right, is_whole): (Option<bool>, bool) = (row.try_get(0)?, row.try_get(1)?);
            let confirmed: Option<String> = row.try_get(2)?;
            Ok(Self {
                is_usable: is_right == Some(true) && is_whole,
                confirmed: confirmed.as_deref().and_then(Lsn::parse),
                kept_bytes: u64::try_from(row.try_get::<_, i64>(3)?).unwrap_or(0),
                is_active: row.try_get(4)?,
            })
        };
        read().map(Some).map_err(|error: tokio_postgres::Error| Failure::from(error).into_error())
    }

    /// Makes the slot of a place. The server waits for transactions that were
    /// open before; none when that takes longer than the limit.
    pub(super) async fn make(wire: &mut Wire, limit: Duration, place: &Place) -> Result<Option<Lsn>, ConnectorError> {
        let statement = format!("CREATE_REPLICATION_SLOT \"{}\" LOGICAL pgoutput NOEXPORT_SNAPSHOT", place.name());
        let Ok(made) = tokio::time::timeout(limit, wire.query(&statement)).await else { return Ok(None) };
        let rows = made.map_err(Failure::into_error)?;
        let point = rows.first().and_then(|row| row.get(1)?.as_deref()).and_then(Lsn::parse);
        point.map(Some).ok_or_else(|| Failure::broken("the server made no slot").into_error())
    }

    /// Makes whoever has the slot let go of it; the session is in no transaction.
    pub(super) async fn free(session: &Session, limit: Duration, place: &Place) -> Result<(), ConnectorError> {
        let deadline = Instant::now() + LETTING_GO;
        while Self::find(session, limit, place).await?.is_some_and(|slot| slot.is_active) {
            if Instant::now() > deadline {
                return Err(ConnectorError::Unexpected("another connection has the replication slot".into()));
            }
            answered(limit, session.client.query(TERMINATE, &[&place.name()])).await?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Drops the slot, if it is there; the session is in no transaction.
    pub(super) async fn remove(session: &Session, limit: Duration, place: &Place) -> Result<(), ConnectorError> {
        Self::free(session, limit, place).await?;
        answered(limit, session.client.query(DROP, &[&place.name()])).await?;
        Ok(())
    }
}

/// Where the server's log ends now.
pub(super) async fn end_of_log(session: &Session, limit: Duration) -> Result<Lsn, ConnectorError> {
    let row = answered(limit, session.client.query_one("SELECT pg_current_wal_lsn()::text", &[])).await?;
    let text: String = row.try_get(0).map_err(|error| Failure::from(error).into_error())?;
    Lsn::parse(&text).ok_or_else(|| Failure::broken("the server sent a place that is none").into_error())
}
