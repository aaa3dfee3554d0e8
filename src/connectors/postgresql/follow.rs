//! Following by logical replication: a publication and a slot of our own, the
//! stream of `pgoutput` for which rows changed, and the ordinary session for
//! what they are.
//!
//! The publication is made first, then the slot, then a sync reads everything in
//! a snapshot taken after the slot's point; from there on the stream tells every
//! change. A row is read after the transaction that changed it has become
//! visible, so what is read is at least as new as what was told, and what is
//! newer is told again. A place is confirmed to the server only once everything
//! before it is durable in the index: a crash anywhere repeats work.

mod examine;
mod pgoutput;
mod publication;
mod rights;
mod slot;
mod snapshot;
mod stream;
mod tables;
mod teller;
mod wire;

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

pub(super) use examine::check;

use super::PostgreSql;
use super::failure::Failure;
use super::session::{self, Session, answered};
use crate::connectors::following::{FollowEnd, FollowRequest, Footing, Place, Preparation, Prepared, Telling};
use crate::connectors::{Account, ConnectorError};
use crate::report::Report;
use pgoutput::Lsn;
use publication::Plan;
use rights::Rights;
use slot::Slot;
use tables::{Selected, Tables};
use teller::Teller;
use wire::Wire;

/// How long the server may wait, when a slot is made, for transactions that were
/// open before.
const OPEN_TRANSACTIONS: Duration = Duration::from_secs(60);

/// The place at the server, made or found.
pub(super) async fn prepare(
    account: &Account<PostgreSql>,
    place: &Place,
    known: Option<&Footing>,
) -> Result<Preparation, ConnectorError> {
    let limit = account.resources.dialer.timeouts().first_byte;
    let session = session::open(account, &mut Report::default()).await?;
    let rights = Rights::of(&session, limit).await?;
    let has_slot = Slot::find(&session, limit, place).await.ok().flatten().is_some();
    let missing: Vec<&str> = rights.missing(has_slot).into_iter().map(|(_, hint)| hint).collect();
    if !missing.is_empty() {
        return Ok(Preparation::Missing(missing.join("; ")));
    }
    // Looked at before anything is made: what is defined anew meanwhile is then
    // seen as a difference.
    let selected = Selected::of(&session, account.resources.dialer.timeouts(), &account.config).await?;
    let publishable = publication::publishable(&session, limit, &account.config, &selected, &rights).await?;
    let plan = publication::plan(&session, limit, place, &publishable, &rights).await?;
    session.leave_snapshot(limit).await?;
    let published = match plan {
        Plan::Missing(missing) => return Ok(Preparation::Missing(missing)),
        Plan::Stays(tables) => tables,
        Plan::Changes { statement, tables } => {
            let statement = format!("BEGIN READ WRITE; {statement}; COMMIT");
            answered(limit, session.client.batch_execute(&statement)).await?;
            tables
        }
    };
    let not_followed = selected.tables.iter().filter(|table| !published.contains(&table.oid)).count();
    let found = match Slot::find(&session, limit, place).await? {
        Some(slot) if slot.kept_bytes > account.config.max_retained_wal() => {
            remove(&session, limit, place).await?;
            return Ok(Preparation::TooMuchKept(slot.kept_bytes));
        }
        Some(slot) if slot.is_usable => Some(slot),
        Some(_) => {
            Slot::remove(&session, limit, place).await?;
            None
        }
        None => None,
    };
    let mut wire = Wire::open(account).await?;
    let ground = ground(&session, &mut wire, limit, &selected, &published).await?;
    let mut position = found.as_ref().and_then(|slot| slot.confirmed);
    let out_of_step = match (&found, known) {
        (None, _) => {
            position = Slot::make(&mut wire, OPEN_TRANSACTIONS, place).await?;
            if position.is_none() {
                let waits = "transactions that are open on the server hold back the replication slot; following \
                             begins once they have ended";
                return Ok(Preparation::Missing(waits.to_owned()));
            }
            Some(if known.is_some() { "the place at the source was lost" } else { "following begins" })
        }
        (Some(_), None) => Some("following begins"),
        // Other definitions are left to the stream, which first tells what was
        // committed before.
        (Some(_), Some(known)) if server_of(&known.ground) != server_of(&ground) => {
            Some("the server is another one or was started again")
        }
        (Some(slot), Some(known)) if is_ahead(slot, known) => Some("the source has confirmed more than is known here"),
        (Some(_), Some(_)) => None,
    };
    session.close().await;
    let position = position.unwrap_or_default().to_string();
    Ok(Preparation::Ready(Prepared { ground, position, out_of_step, not_followed }))
}

/// What is confirmed is noted here before; unless what is noted came back from
/// a copy.
fn is_ahead(slot: &Slot, known: &Footing) -> bool {
    let noted = known.position.as_deref().and_then(Lsn::parse);
    match (slot.confirmed, noted) {
        (Some(confirmed), Some(noted)) => confirmed > noted,
        (Some(_) | None, None) | (None, Some(_)) => false,
    }
}

/// Tells changes until it cannot go on.
pub(super) async fn follow(
    account: &Account<PostgreSql>,
    request: FollowRequest,
    telling: Telling,
) -> Result<FollowEnd, ConnectorError> {
    // The slot knows the position.
    let FollowRequest { place, ground: known, position: _ } = request;
    let limits = account.resources.dialer.timeouts();
    let limit = limits.first_byte;
    let session = session::open(account, &mut Report::default()).await?;
    let rights = Rights::of(&session, limit).await?;
    let selected = Selected::of(&session, limits, &account.config).await?;
    let publishable = publication::publishable(&session, limit, &account.config, &selected, &rights).await?;
    let Plan::Stays(published) = publication::plan(&session, limit, &place, &publishable, &rights).await? else {
        return Ok(FollowEnd::OutOfStep("other tables are to be followed"));
    };
    let tables = Tables::of(&session, limits, &account.config, &selected, &published).await?;
    session.leave_snapshot(limit).await?;
    let mut wire = Wire::open(account).await?;
    let ground = ground(&session, &mut wire, limit, &selected, &published).await?;
    if server_of(&ground) != server_of(&known) {
        return Ok(FollowEnd::OutOfStep("the server is another one or was started again"));
    }
    Slot::free(&session, limit, &place).await?;
    let Some(slot) = Slot::find(&session, limit, &place).await? else {
        return Ok(FollowEnd::OutOfStep("the place at the source was lost"));
    };
    let statement = format!(
        "START_REPLICATION SLOT \"{}\" LOGICAL 0/0 (proto_version '1', publication_names {})",
        place.name(),
        publication::option(&place)
    );
    answered(limit, wire.start(&statement)).await?;
    let last = if ground == known { None } else { Some(slot::end_of_log(&session, limit).await?) };
    let definitions = selected.definitions;
    let position = slot.confirmed.unwrap_or_default();
    Teller::new(account, session, place, definitions, last).run(wire, tables, telling, position).await
}

/// What of a ground says which server it is, and since when it runs.
fn server_of(ground: &str) -> Option<&str> {
    ground.rsplitn(3, ' ').nth(2)
}

/// Bytes kept for the place; gives it up where they are too many.
pub(super) async fn watch(account: &Account<PostgreSql>, place: &Place) -> Result<Option<u64>, ConnectorError> {
    let limit = account.resources.dialer.timeouts().first_byte;
    let session = session::open(account, &mut Report::default()).await?;
    session.leave_snapshot(limit).await?;
    let slot = Slot::find(&session, limit, place).await?;
    if slot.as_ref().is_some_and(|slot| slot.kept_bytes > account.config.max_retained_wal()) {
        remove(&session, limit, place).await?;
    }
    session.close().await;
    Ok(slot.map(|slot| slot.kept_bytes))
}

/// Removes slot and publication.
pub(super) async fn end(account: &Account<PostgreSql>, place: &Place) -> Result<(), ConnectorError> {
    let limit = account.resources.dialer.timeouts().first_byte;
    let session = session::open(account, &mut Report::default()).await?;
    session.leave_snapshot(limit).await?;
    let removed = remove(&session, limit, place).await;
    session.close().await;
    removed
}

/// The slot first: the decoder would miss its publication.
async fn remove(session: &Session, limit: Duration, place: &Place) -> Result<(), ConnectorError> {
    Slot::remove(session, limit, place).await?;
    publication::remove(session, limit, place).await
}

/// Which server this is, in which history, and what is defined and published
/// there. A server that was started again may have lost commits that nobody had
/// waited for; those are read anew.
async fn ground(
    session: &Session,
    wire: &mut Wire,
    limit: Duration,
    selected: &Selected,
    published: &[u32],
) -> Result<String, ConnectorError> {
    let system = answered(limit, wire.query("IDENTIFY_SYSTEM")).await?;
    let field = |index: usize| system.first().and_then(|row| row.get(index)?.as_deref()).unwrap_or_default();
    let started = "SELECT extract(epoch FROM pg_postmaster_start_time())::text";
    let row = answered(limit, session.client.query_one(started, &[])).await?;
    let started: String = row.try_get(0).map_err(|error| Failure::from(error).into_error())?;
    let mut published = published.to_vec();
    published.sort_unstable();
    let published: Vec<u8> = published.iter().flat_map(|id| id.to_le_bytes()).collect();
    Ok(format!("{} {} {started} {} {:016x}", field(0), field(1), selected.definitions, xxh3_64(&published)))
}

impl Session {
    /// A snapshot of now, in the place of the one before.
    async fn new_snapshot(&self, limit: Duration) -> Result<(), ConnectorError> {
        let statement = "COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        answered(limit, self.client.batch_execute(statement)).await
    }

    /// Ends the snapshot, which would keep the server from cleaning up.
    async fn leave_snapshot(&self, limit: Duration) -> Result<(), ConnectorError> {
        answered(limit, self.client.batch_execute("COMMIT")).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ground_tells_the_server_from_its_definitions() {
        assert_eq!(server_of("7 1 1700.25 abc 0f"), Some("7 1 1700.25"));
        assert_eq!(server_of("x"), None);
    }
}
