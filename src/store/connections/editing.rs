//! Connections that callers make and change.

use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{ActiveModelTrait as _, DatabaseTransaction, EntityTrait as _, QuerySelect as _};

use super::{Connection, ConnectionPatch, NewConnection, rows};
use crate::ids::ConnectionId;
use crate::store::collections::{CreateError, UpdateError};
use crate::store::entities::{connection, sealed_credential};
use crate::store::fault::{fault, is_orphan, refused};
use crate::store::idempotency::{self, Answer};
use crate::store::{self, Store, StoreError};

impl Store {
    /// Makes a connection.
    pub async fn insert_connection(&self, new: &NewConnection) -> Result<Connection, CreateError> {
        self.insert_connection_answering(new, None).await
    }

    /// Makes a connection and keeps the answer to who asked for it, both or neither.
    pub async fn insert_connection_answering(
        &self,
        new: &NewConnection,
        answer: Option<Answer<Connection>>,
    ) -> Result<Connection, CreateError> {
        let transaction = self.transaction().await?;
        let now = store::now(&transaction).await?;
        let id = new.id.to_string();
        connection::Entity::insert(rows::new(new, now)).exec_without_returning(&transaction).await.map_err(
            |error| {
                if is_orphan(&error) { CreateError::NoCollection } else { CreateError::Store(fault(error)) }
            },
        )?;
        let sealed = rows::sealed(&id, &new.sealed);
        sealed_credential::Entity::insert(sealed).exec_without_returning(&transaction).await.map_err(fault)?;
        let row = connection::Entity::find_by_id(id).one(&transaction).await.map_err(fault)?;
        let connection = rows::read(row.ok_or_else(|| refused("a new row is not there"))?)?;
        if let Some(answer) = answer {
            idempotency::complete(&transaction, &answer(&connection)).await?;
        }
        transaction.commit().await.map_err(fault)?;
        Ok(connection)
    }

    /// Changes what may change while a job is active.
    pub async fn update_connection(
        &self,
        id: &ConnectionId,
        expected_version: Option<i64>,
        patch: ConnectionPatch,
    ) -> Result<Connection, UpdateError> {
        let ConnectionPatch { name, description, paused, schedule } = patch;
        let transaction = self.transaction().await?;
        let row = editable(&transaction, id, expected_version).await?;
        let mut changed = edited(&transaction, &row).await?;
        if let Some(name) = name {
            changed.name = Set(name);
        }
        if let Some(description) = description {
            changed.description = Set(description);
        }
        if let Some(paused) = paused {
            changed.paused = Set(paused);
        }
        if let Some(schedule) = schedule {
            let (schedule, next_run_at) = schedule.unzip();
            rows::set_schedule(&mut changed, schedule.as_ref());
            changed.next_run_at = Set(next_run_at.flatten());
        }
        saved(transaction, changed).await
    }
}

/// The row, which nobody else can change until the transaction ends, if the
/// caller may still edit it.
pub(in crate::store) async fn editable(
    transaction: &DatabaseTransaction,
    id: &ConnectionId,
    expected_version: Option<i64>,
) -> Result<connection::Model, UpdateError> {
    let row = locked(transaction, id).await?.ok_or(UpdateError::NotFound)?;
    if expected_version.is_some_and(|expected| expected != row.version) {
        return Err(UpdateError::VersionMismatch);
    }
    Ok(row)
}

/// The row, which nobody else can change until the transaction ends. Whoever
/// enqueues a job locks it first, so an edit and a run never both win.
pub(in crate::store) async fn locked(
    transaction: &DatabaseTransaction,
    id: &ConnectionId,
) -> Result<Option<connection::Model>, StoreError> {
    connection::Entity::find_by_id(id.to_string()).lock_exclusive().one(transaction).await.map_err(fault)
}

/// The beginning of a caller's edit.
pub(in crate::store) async fn edited(
    transaction: &DatabaseTransaction,
    row: &connection::Model,
) -> Result<connection::ActiveModel, StoreError> {
    let now = store::now(transaction).await?;
    Ok(connection::ActiveModel {
        id: Unchanged(row.id.clone()),
        updated_at: Set(now),
        version: Set(row.version + 1),
        ..Default::default()
    })
}

/// The end of a caller's edit.
pub(in crate::store) async fn saved(
    transaction: DatabaseTransaction,
    changed: connection::ActiveModel,
) -> Result<Connection, UpdateError> {
    let row = changed.update(&transaction).await.map_err(fault)?;
    transaction.commit().await.map_err(fault)?;
    Ok(rows::read(row)?)
}
