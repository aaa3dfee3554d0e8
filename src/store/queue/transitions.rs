//! The one way in which a job's row changes.

use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait as _, DatabaseTransaction, EntityTrait as _, QueryFilter as _};

use crate::store::StoreError;
use crate::store::entities::sync;
use crate::store::fault::{fault, refused};
use crate::store::syncs::State;

/// The one place that changes a job's state: only along the transition table,
/// only from what was read, and with the next sequence. `None` when the row is
/// no longer what was read.
pub(super) async fn change(
    transaction: &DatabaseTransaction,
    before: &sync::Model,
    next: State,
    changed: sync::ActiveModel,
) -> Result<Option<sync::Model>, StoreError> {
    change_by(transaction, before, next, changed, 1).await
}

/// The same with so many steps of the sequence.
pub(super) async fn change_by(
    transaction: &DatabaseTransaction,
    before: &sync::Model,
    next: State,
    mut changed: sync::ActiveModel,
    steps: i64,
) -> Result<Option<sync::Model>, StoreError> {
    let state = State::parse(&before.state)?;
    if state.is_terminal() || (state != next && !state.can_become(next)) {
        return Err(refused("a job cannot change like this"));
    }
    changed.state = Set(next.as_str().to_owned());
    changed.sequence = Set(before.sequence + steps);
    write(transaction, before, changed).await
}

/// Writes to a job's row if it still has the state and the fence that were read.
pub(super) async fn write(
    transaction: &DatabaseTransaction,
    before: &sync::Model,
    changed: sync::ActiveModel,
) -> Result<Option<sync::Model>, StoreError> {
    let updated = sync::Entity::update_many()
        .set(changed)
        .filter(sync::Column::Id.eq(before.id.as_str()))
        .filter(sync::Column::State.eq(before.state.as_str()))
        .filter(sync::Column::Fence.eq(before.fence))
        .exec(transaction)
        .await
        .map_err(fault)?;
    if updated.rows_affected == 0 {
        return Ok(None);
    }
    sync::Entity::find_by_id(before.id.clone()).one(transaction).await.map_err(fault)
}

/// Nobody holds the job any more.
pub(super) fn release(changed: &mut sync::ActiveModel, next: State, now: i64) {
    changed.owner = Set(None);
    changed.lease_expires_at = Set(None);
    changed.measured_at = Set(None);
    if next.is_terminal() {
        changed.finished_at = Set(Some(now));
        changed.waiting_until = Set(None);
        changed.waiting_reason = Set(None);
    }
}
