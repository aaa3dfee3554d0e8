//! Deleting a connection: marked first, then its documents purged if wished,
//! then the row removed. A delete that stopped half way is found again.

use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};

use crate::failpoint;
use crate::ids::{ConnectionId, SyncId};
use crate::store::collections::UpdateError;
use crate::store::connections::{Connection, Lifecycle, StrandedDelete, editable, edited, saved};
use crate::store::credentials::refuse_if_busy;
use crate::store::entities::{connection, sync};
use crate::store::fault::{damaged, fault};
use crate::store::queue::{self, NewSync};
use crate::store::syncs::{JobKind, State, Trigger};
use crate::store::{self, Store, StoreError};

impl Store {
    /// Marks a connection as being deleted, unless a job is active; with
    /// `purge`, enqueues the job of that id that removes its documents, in the
    /// same transaction. Once more is the same as once.
    pub async fn begin_delete(
        &self,
        id: &ConnectionId,
        expected_version: Option<i64>,
        purge: Option<&SyncId>,
    ) -> Result<Connection, UpdateError> {
        let transaction = self.transaction().await?;
        let row = editable(&transaction, id, expected_version).await?;
        refuse_if_busy(&transaction, &row).await?;
        let mut changed = edited(&transaction, &row).await?;
        changed.lifecycle = Set(Lifecycle::Deleting.as_str().to_owned());
        changed.next_run_at = Set(None);
        if let Some(purge) = purge {
            let job = NewSync {
                id: purge.clone(),
                connection: id.clone(),
                kind: JobKind::Purge,
                trigger: Trigger::Manual,
                full: false,
                release_deletions: false,
                traceparent: None,
                completes: None,
            };
            let now = store::now(&transaction).await?;
            queue::insert(&transaction, &job, &row, now).await.map_err(fault)?;
        }
        let connection = saved(transaction, changed).await?;
        failpoint::reach("delete.marked");
        Ok(connection)
    }

    /// Removes the row with its sealed key and its jobs; only when it is being
    /// deleted. A SQLite file and its log hold nothing of the key then.
    pub async fn finish_delete(&self, id: &ConnectionId) -> Result<(), StoreError> {
        connection::Entity::delete_many()
            .filter(connection::Column::Id.eq(id.as_str()))
            .filter(connection::Column::Lifecycle.eq(Lifecycle::Deleting.as_str()))
            .exec(self.database())
            .await
            .map_err(fault)?;
        failpoint::reach("delete.row_gone");
        // Where somebody reads from the log, the next look after the keys does it.
        let _ = self.forget_overwritten().await;
        Ok(())
    }

    /// Connections that are being deleted without an active job.
    pub async fn stranded_deletes(&self) -> Result<Vec<StrandedDelete>, StoreError> {
        let deleting = connection::Entity::find()
            .filter(connection::Column::Lifecycle.eq(Lifecycle::Deleting.as_str()))
            .all(self.database())
            .await
            .map_err(fault)?;
        let mut stranded = Vec::new();
        for row in deleting {
            let purges = sync::Entity::find()
                .filter(sync::Column::ConnectionId.eq(row.id.as_str()))
                .filter(sync::Column::Kind.eq(JobKind::Purge.as_str()))
                .all(self.database())
                .await
                .map_err(fault)?;
            let states = purges.iter().map(|job| State::parse(&job.state)).collect::<Result<Vec<_>, _>>()?;
            if !states.iter().any(|state| state.is_active()) {
                let purge = !states.is_empty() && !states.contains(&State::Succeeded);
                stranded.push(StrandedDelete { connection: row.id.parse().map_err(damaged)?, purge });
            }
        }
        Ok(stranded)
    }
}
