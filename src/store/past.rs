//! How far a sync was, kept for who watches it once it has ended: thinned evenly
//! while it goes on, and given up when later syncs have pushed it out.

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, DatabaseTransaction, EntityTrait as _, ExprTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};
use serde_json::Value;

use crate::ids::SyncId;
use crate::store::entities::{sync, sync_line, sync_progress};
use crate::store::fault::{damaged, fault};
use crate::store::syncs::{Counters, JobKind};
use crate::store::{Store, StoreError};

/// Progress of one sync that is kept, at most; never less than half of it once
/// there has been so much.
pub const KEPT_PROGRESS: i64 = 400;
/// Syncs of a connection whose events are kept; of older ones the end is left.
pub const KEPT_SYNCS: u64 = 100;
/// Older ones that are given up at once; there is hardly ever more than one.
const EXPIRED_AT_ONCE: u64 = 100;

/// How far a sync was once.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptProgress {
    /// Its place among the events of the job.
    pub sequence: i64,
    /// When it was noted.
    pub at: i64,
    /// Counters.
    pub counters: Counters,
    /// The engine's own document, in brief.
    pub progress: Value,
    /// Milliseconds that workers had spent on the job.
    pub elapsed_ms: i64,
}

impl Store {
    /// Kept progress after this sequence, in order.
    pub async fn kept_progress(&self, id: &SyncId, after_sequence: i64) -> Result<Vec<KeptProgress>, StoreError> {
        let rows = sync_progress::Entity::find()
            .filter(sync_progress::Column::SyncId.eq(id.as_str()))
            .filter(sync_progress::Column::Sequence.gt(after_sequence))
            .order_by_asc(sync_progress::Column::Number)
            .all(self.database())
            .await
            .map_err(fault)?;
        rows.into_iter().map(read).collect()
    }
}

/// Notes how far a job is. `row` is the job after the change that a watcher sees.
/// Every one is kept at first, then every second, and so on: when there are too
/// many, each second one goes.
pub(super) async fn note(
    transaction: &DatabaseTransaction,
    row: &sync::Model,
    brief: &Value,
    now: i64,
) -> Result<(), StoreError> {
    let number = row.progress_noted - 1;
    let stride = stride(number);
    if number % stride != 0 {
        return Ok(());
    }
    if number > 0 && stride != self::stride(number - 1) {
        sync_progress::Entity::delete_many()
            .filter(sync_progress::Column::SyncId.eq(row.id.as_str()))
            .filter(Expr::col(sync_progress::Column::Number).modulo(stride).ne(0))
            .exec(transaction)
            .await
            .map_err(fault)?;
    }
    let kept = sync_progress::ActiveModel {
        sync_id: Set(row.id.clone()),
        number: Set(number),
        sequence: Set(row.sequence),
        occurred_at: Set(now),
        elapsed_ms: Set(row.elapsed_ms),
        items_read: Set(row.items_read),
        items_inserted: Set(row.items_inserted),
        items_updated: Set(row.items_updated),
        items_deleted: Set(row.items_deleted),
        items_unchanged: Set(row.items_unchanged),
        items_failed: Set(row.items_failed),
        bytes_read: Set(row.bytes_read),
        items_out_of_scope: Set(row.items_out_of_scope),
        progress: Set(brief.to_string()),
    };
    sync_progress::Entity::insert(kept).exec_without_returning(transaction).await.map(drop).map_err(fault)
}

/// Gives up the events of syncs that later ones of the connection have pushed
/// out.
pub(super) async fn expire(transaction: &DatabaseTransaction, connection: &str) -> Result<(), StoreError> {
    let old: Vec<String> = sync::Entity::find()
        .select_only()
        .column(sync::Column::Id)
        .filter(sync::Column::ConnectionId.eq(connection))
        .filter(sync::Column::Kind.eq(JobKind::Sync.as_str()))
        .filter(sync::Column::FinishedAt.is_not_null())
        .filter(sync::Column::EventsExpired.eq(false))
        .order_by_desc(sync::Column::CreatedAt)
        .order_by_desc(sync::Column::Id)
        .offset(KEPT_SYNCS)
        .limit(EXPIRED_AT_ONCE)
        .into_tuple()
        .all(transaction)
        .await
        .map_err(fault)?;
    if old.is_empty() {
        return Ok(());
    }
    sync_progress::Entity::delete_many()
        .filter(sync_progress::Column::SyncId.is_in(&old))
        .exec(transaction)
        .await
        .map_err(fault)?;
    sync_line::Entity::delete_many()
        .filter(sync_line::Column::SyncId.is_in(&old))
        .exec(transaction)
        .await
        .map_err(fault)?;
    sync::Entity::update_many()
        .col_expr(sync::Column::EventsExpired, Expr::value(true))
        .filter(sync::Column::Id.is_in(&old))
        .exec(transaction)
        .await
        .map(drop)
        .map_err(fault)
}

/// Of how many, one is kept when this many have been before.
fn stride(before: i64) -> i64 {
    let mut stride = 1;
    while before / stride >= KEPT_PROGRESS {
        stride *= 2;
    }
    stride
}

fn read(row: sync_progress::Model) -> Result<KeptProgress, StoreError> {
    let sync_progress::Model {
        sync_id: _,
        number: _,
        sequence,
        occurred_at,
        elapsed_ms,
        items_read,
        items_inserted,
        items_updated,
        items_deleted,
        items_unchanged,
        items_failed,
        bytes_read,
        items_out_of_scope,
        progress,
    } = row;
    Ok(KeptProgress {
        sequence,
        at: occurred_at,
        counters: Counters {
            read: items_read,
            inserted: items_inserted,
            updated: items_updated,
            deleted: items_deleted,
            unchanged: items_unchanged,
            failed: items_failed,
            bytes_read,
            out_of_scope: items_out_of_scope,
        },
        progress: serde_json::from_str(&progress).map_err(damaged)?,
        elapsed_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_even_and_never_too_much() {
        let mut kept: Vec<i64> = Vec::new();
        for number in 0..100_000 {
            let step = stride(number);
            kept.retain(|number| number % step == 0);
            if number % step == 0 {
                kept.push(number);
            }
            assert!(kept.len() as i64 <= KEPT_PROGRESS, "{number}");
            assert!(number < KEPT_PROGRESS || kept.len() as i64 >= KEPT_PROGRESS / 2, "{number}");
            assert!(kept.windows(2).all(|pair| pair[1] - pair[0] == step), "{number}");
        }
    }
}
