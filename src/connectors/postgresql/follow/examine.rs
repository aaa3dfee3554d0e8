//! What a connection test says of following: what it needs, and how the slot is.
//! Nothing here fails a test, since syncs do without.

use std::time::Instant;

use super::publication::{self, Plan};
use super::rights::Rights;
use super::slot::Slot;
use super::tables::Selected;
use crate::connectors::following::Place;
use crate::connectors::postgresql::{PostgreSql, session};
use crate::connectors::{Account, ConnectorError};
use crate::report::{Report, StageKind};

/// The place that a connection which is not there yet would have.
const UNKNOWN: &str = "new";

/// Notes what following needs and how it is.
pub(crate) async fn check(
    account: &Account<PostgreSql>,
    place: Option<&Place>,
    report: &mut Report,
) -> Result<(), ConnectorError> {
    let limits = account.resources.dialer.timeouts();
    let limit = limits.first_byte;
    let began = Instant::now();
    let session = session::open(account, &mut Report::default()).await?;
    let rights = Rights::of(&session, limit).await?;
    let slot = match place {
        // A standby cannot say how much it keeps.
        Some(place) => Slot::find(&session, limit, place).await.ok().flatten(),
        None => None,
    };
    let missing = rights.missing(slot.is_some());
    for (code, hint) in &missing {
        report.skipped_with(StageKind::Follow, began.elapsed(), code, hint);
    }
    if !missing.is_empty() {
        return Ok(());
    }
    let place = place.cloned().unwrap_or_else(|| Place::of(UNKNOWN));
    let selected = Selected::of(&session, limits, &account.config).await?;
    let publishable = publication::publishable(&session, limit, &account.config, &selected, &rights).await?;
    let plan = publication::plan(&session, limit, &place, &publishable, &rights).await?;
    let followed = match plan {
        Plan::Missing(hint) => {
            report.skipped_with(StageKind::Follow, began.elapsed(), "publication_right_missing", &hint);
            return Ok(());
        }
        Plan::Stays(tables) | Plan::Changes { tables, .. } => tables.len(),
    };
    let others = selected.tables.len().saturating_sub(followed);
    if others > 0 {
        let hint = format!(
            "{followed} objects are followed; {others} are views, foreign tables, tables of others or tables without a \
             replica identity, and are brought by syncs every few minutes"
        );
        report.ok_with(StageKind::Follow, began.elapsed(), "some_not_followed", &hint);
    }
    let limit_bytes = account.config.max_retained_wal();
    let (code, hint) = match &slot {
        None => ("ready", "changes can be followed; there is no replication slot yet".to_owned()),
        Some(slot) if !slot.is_usable => {
            ("slot_lost", "the replication slot is lost; it is made again with the next sync".to_owned())
        }
        Some(slot) => (
            "slot_healthy",
            format!(
                "the replication slot keeps {} MB of the server's log, of {} MB allowed",
                slot.kept_bytes.div_ceil(1 << 20),
                limit_bytes >> 20
            ),
        ),
    };
    report.ok_with(StageKind::Follow, began.elapsed(), code, &hint);
    session.close().await;
    Ok(())
}
