//! Jobs whose worker has died.

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, LockBehavior, LockType};
use sea_orm::{ColumnTrait as _, DbBackend, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};

use super::ending::remember;
use super::held::HELD;
use super::transitions::{change, release};
use crate::error::Reason;
use crate::failpoint;
use crate::ids::SyncId;
use crate::store::entities::sync;
use crate::store::fault::fault;
use crate::store::syncs::{JobKind, State, rows};
use crate::store::{self, Store, StoreError};

impl Store {
    /// Takes jobs from workers whose lease has run out: they wait to be taken
    /// again, or end as cancelled if asked to stop, or as failed (`POISONED`)
    /// at the given number of crashes. Returns those that changed.
    pub async fn reap(&self, max_crashes: i32) -> Result<Vec<SyncId>, StoreError> {
        let transaction = self.transaction().await?;
        let now = store::now(&transaction).await?;
        let dead = sync::Entity::find()
            .filter(sync::Column::State.is_in(HELD.map(State::as_str)))
            .filter(sync::Column::LeaseExpiresAt.lte(now))
            .order_by_asc(sync::Column::LeaseExpiresAt)
            .limit(100)
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
            .all(&transaction)
            .await
            .map_err(fault)?;
        let mut reaped = Vec::new();
        for row in dead {
            let crashes = row.crashes + 1;
            let mut taken =
                sync::ActiveModel { fence: Set(row.fence + 1), crashes: Set(crashes), ..sync::ActiveModel::default() };
            let next = match State::parse(&row.state)? {
                State::Cancelling => State::Cancelled,
                _ if crashes >= max_crashes => {
                    taken.error_reason = Set(Some(Reason::Poisoned.name().to_owned()));
                    taken.error_message = Set(Some(format!("its worker died {crashes} times on it")));
                    State::Failed
                }
                _ => {
                    taken.due_at = Set(now);
                    taken.waiting_until = Set(Some(now));
                    taken.waiting_reason = Set(Some("its worker died".to_owned()));
                    State::Waiting
                }
            };
            release(&mut taken, next, now);
            if let Some(row) = change(&transaction, &row, next, taken).await? {
                reaped.push(rows::read(row)?);
            }
        }
        transaction.commit().await.map_err(fault)?;
        if !reaped.is_empty() {
            failpoint::reach("job.reaped");
        }
        // Only now: the connection is locked before its job, never after.
        for sync in reaped.iter().filter(|sync| sync.kind == JobKind::Sync) {
            remember(self.database(), sync, false).await?;
        }
        Ok(reaped.into_iter().map(|sync| sync.id).collect())
    }

    /// Ends the leases of a run of this server before; for SQLite only, where
    /// no other server can hold one. Does nothing on PostgreSQL.
    pub async fn expire_leases_of_previous_run(&self) -> Result<u64, StoreError> {
        if self.database().get_database_backend() != DbBackend::Sqlite {
            return Ok(0);
        }
        self.expire_followers_of_previous_run().await?;
        let now = self.now().await?;
        let expired = sync::Entity::update_many()
            .col_expr(sync::Column::LeaseExpiresAt, Expr::value(Some(now)))
            .filter(sync::Column::State.is_in(HELD.map(State::as_str)))
            .exec(self.database())
            .await
            .map_err(fault)?;
        Ok(expired.rows_affected)
    }
}
