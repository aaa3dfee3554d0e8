//! Following by the binary log: it says which rows changed, and the ordinary session
//! what they are.
//!
//! Where we are is noted as the transactions that were read, so that nothing is made at
//! the server, and nothing kept there for us: what it has purged meanwhile, a sync
//! brings. A row is read after the transaction that changed it has become visible, which
//! is after it was logged, so what is read is at least as new as what was told.

mod cascades;
mod events;
mod examine;
mod gtid;
mod images;
mod server;
mod statement;
mod stream;
mod tables;
mod teller;
mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(super) use examine::check;

use super::MySql;
use super::session::{self, answered};
use crate::connectors::following::{FollowEnd, FollowRequest, Footing, Place, Preparation, Prepared, Telling, telling};
use crate::connectors::{Account, ConnectorError};
use crate::report::Report;
use gtid::Position;
use server::{Missing, STREAM_RIGHT};
use stream::{PURGED, Stream};
use tables::Tables;
use teller::Teller;
use wire::{Until, Wire};

const OTHER_SERVER: &str = "the server is another one or was started again";

/// What a look at the start of the log says.
enum Start {
    Begins,
    Purged,
    Missing(Missing),
}

/// Where changes begin.
pub(super) async fn prepare(
    account: &Account<MySql>,
    place: &Place,
    known: Option<&Footing>,
) -> Result<Preparation, ConnectorError> {
    let limit = account.resources.dialer.timeouts().first_byte;
    let mut session = session::open(account, &mut Report::default()).await?;
    let missing = answered(limit, server::missing(&mut session)).await?;
    if !missing.is_empty() {
        let hints: Vec<&str> = missing.into_iter().map(|(_, hint)| hint).collect();
        return Ok(Preparation::Missing(hints.join("; ")));
    }
    let ground = answered(limit, server::ground(&mut session)).await?;
    let position = match answered(limit, server::position(&mut session)).await? {
        Ok(position) => position,
        Err((_, hint)) => return Ok(Preparation::Missing(hint.to_owned())),
    };
    let noted = known.and_then(|known| Position::parse(known.position.as_deref()?, session.is_mariadb));
    let out_of_step = match (known, &noted) {
        (None, _) | (Some(_), None) => Some("following begins"),
        (Some(known), Some(_)) if known.ground != ground => Some(OTHER_SERVER),
        (Some(_), Some(_)) => None,
    };
    let from = noted.filter(|_| out_of_step.is_none());
    let out_of_step = match start(account, place, from.as_ref().unwrap_or(&position)).await? {
        Start::Missing((_, hint)) => return Ok(Preparation::Missing(hint.to_owned())),
        Start::Purged => match PURGED {
            FollowEnd::OutOfStep(reason) => Some(reason),
            FollowEnd::TooMuchKept(_) => out_of_step,
        },
        Start::Begins => out_of_step,
    };
    let not_followed = Tables::of(account, &mut session).await?.not_followed;
    session.close().await;
    Ok(Preparation::Ready(Prepared { ground, position: position.to_string(), out_of_step, not_followed }))
}

/// Asks for the log and looks at how the server begins.
async fn start(account: &Account<MySql>, place: &Place, position: &Position) -> Result<Start, ConnectorError> {
    let mut wire = Wire::open(account, place, position, Until::Now).await?;
    match wire.next().await {
        Ok(_) => Ok(Start::Begins),
        Err(failure) if failure.is_purged() => Ok(Start::Purged),
        Err(failure) if failure.is_forbidden() => Ok(Start::Missing(STREAM_RIGHT)),
        Err(failure) => Err(failure.into_stream_error()),
    }
}

/// Tells changes until it cannot go on.
pub(super) async fn follow(
    account: &Account<MySql>,
    request: FollowRequest,
    telling: Telling,
) -> Result<FollowEnd, ConnectorError> {
    let FollowRequest { place, ground: known, position } = request;
    let limit = account.resources.dialer.timeouts().first_byte;
    let mut session = session::open(account, &mut Report::default()).await?;
    if answered(limit, server::ground(&mut session)).await? != known {
        return Ok(FollowEnd::OutOfStep(OTHER_SERVER));
    }
    let Some(position) = Position::parse(&position, session.is_mariadb) else {
        return Ok(FollowEnd::OutOfStep("the noted place is none of this server"));
    };
    let tables = Arc::new(Tables::of(account, &mut session).await?);
    answered(limit, session.leave_snapshot()).await?;
    let wire = Wire::open(account, &place, &position, Until::Stopped).await?;
    let is_defined = Arc::new(AtomicBool::new(false));
    let from = stream::Place { count: 0, position: position.to_string().into() };
    let (sender, events) = telling::events();
    let mut streams = telling::Streams::new();
    streams.spawn(Stream::new(wire, tables.clone(), position, sender, is_defined.clone()).run());
    telling::run(Teller { account, session, tables, is_defined }, streams, events, telling, from).await
}
