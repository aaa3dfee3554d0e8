//! What a connection test says of following: what it needs, and how much is followed.
//! Nothing here fails a test, since syncs do without.

use std::time::Instant;

use super::tables::Tables;
use super::{Start, server};
use crate::connectors::following::Place;
use crate::connectors::mysql::session::answered;
use crate::connectors::mysql::{MySql, session};
use crate::connectors::{Account, ConnectorError};
use crate::report::{Report, StageKind};

/// The place that a connection which is not there yet would have.
const UNKNOWN: &str = "new";

/// Notes what following needs and how it is.
pub(crate) async fn check(
    account: &Account<MySql>,
    place: Option<&Place>,
    report: &mut Report,
) -> Result<(), ConnectorError> {
    let limit = account.resources.dialer.timeouts().first_byte;
    let began = Instant::now();
    let mut session = session::open(account, &mut Report::default()).await?;
    let mut missing = answered(limit, server::missing(&mut session)).await?;
    if missing.is_empty() {
        match answered(limit, server::position(&mut session)).await? {
            Err(tagged) => missing.push(tagged),
            Ok(position) => {
                // A stream of this name that is under way would be ended by another.
                let place =
                    Place::of(&place.map_or_else(|| UNKNOWN.to_owned(), |place| format!("{} test", place.name())));
                if let Start::Missing(right) = super::start(account, &place, &position).await? {
                    missing.push(right);
                }
            }
        }
    }
    for (code, hint) in &missing {
        report.skipped_with(StageKind::Follow, began.elapsed(), code, hint);
    }
    if !missing.is_empty() {
        return Ok(());
    }
    let tables = Tables::of(account, &mut session).await?;
    let (followed, others) = (tables.followed.len(), tables.not_followed);
    if others > 0 {
        let hint = format!(
            "{followed} objects are followed; {others} are views, or tables without a key that the log tells, or with a \
             row limit, and are brought by syncs every few minutes"
        );
        report.ok_with(StageKind::Follow, began.elapsed(), "some_not_followed", &hint);
    }
    let hint = "changes can be followed by the server's log, of which nothing is kept for us";
    report.ok_with(StageKind::Follow, began.elapsed(), "ready", hint);
    session.close().await;
    Ok(())
}
