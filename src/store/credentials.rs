//! Credentials and config: each is replaced in one transaction that fails when a
//! job of the connection is active.

use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{ActiveModelTrait as _, DatabaseTransaction, EntityTrait as _};
use serde_json::{Map, Value};

use crate::failpoint;
use crate::ids::ConnectionId;
use crate::store::collections::UpdateError;
use crate::store::connections::{
    AuthState, Connection, Lifecycle, NewCredentials, Outcome, Sealed, SealedCredentials, editable, edited, rows, saved,
};
use crate::store::entities::{connection, sealed_credential};
use crate::store::fault::{damaged, fault};
use crate::store::syncs;
use crate::store::{self, Store, StoreError};

impl Store {
    /// The credentials of a connection.
    pub async fn sealed_credentials(&self, id: &ConnectionId) -> Result<Option<SealedCredentials>, StoreError> {
        let found = connection::Entity::find_by_id(id.to_string()).one(self.database()).await.map_err(fault)?;
        let Some(found) = found else { return Ok(None) };
        let row = sealed_credential::Entity::find_by_id(id.to_string()).one(self.database()).await.map_err(fault)?;
        let Some(row) = row else { return Ok(None) };
        let sealed_credential::Model { connection_id: _, credentials_version, key_id, wrapped_key, ciphertext } = row;
        Ok(Some(SealedCredentials {
            sealed: Sealed { key_id, wrapped_key, ciphertext },
            credentials_version,
            collection: found.collection_id.parse().map_err(damaged)?,
        }))
    }

    /// Replaces the credentials, unless a job is active.
    pub async fn replace_credentials(
        &self,
        id: &ConnectionId,
        expected_version: Option<i64>,
        credentials: NewCredentials,
    ) -> Result<Connection, UpdateError> {
        let transaction = self.transaction().await?;
        let row = idle(&transaction, id, expected_version).await?;
        let mut changed = forgetful(edited(&transaction, &row).await?);
        put_credentials(&transaction, &row, &mut changed, credentials).await?;
        saved(transaction, changed).await
    }

    /// Replaces the config, and the credentials with it if given, unless a job
    /// is active.
    pub async fn replace_config(
        &self,
        id: &ConnectionId,
        expected_version: Option<i64>,
        config: Map<String, Value>,
        credentials: Option<NewCredentials>,
    ) -> Result<Connection, UpdateError> {
        let transaction = self.transaction().await?;
        let row = idle(&transaction, id, expected_version).await?;
        let mut changed = forgetful(edited(&transaction, &row).await?);
        changed.config = Set(Value::Object(config).to_string());
        changed.config_version = Set(row.config_version + 1);
        if let Some(credentials) = credentials {
            put_credentials(&transaction, &row, &mut changed, credentials).await?;
        }
        let connection = saved(transaction, changed).await?;
        failpoint::reach("config.replaced");
        Ok(connection)
    }
}

/// The row, locked, if it may be edited and no job is active.
async fn idle(
    transaction: &DatabaseTransaction,
    id: &ConnectionId,
    expected_version: Option<i64>,
) -> Result<connection::Model, UpdateError> {
    let row = editable(transaction, id, expected_version).await?;
    refuse_if_busy(transaction, &row).await?;
    match Lifecycle::parse(&row.lifecycle)? {
        Lifecycle::Active => Ok(row),
        Lifecycle::Deleting => Err(UpdateError::Deleting),
    }
}

/// Fails when a job of the connection, whose row is locked, is active.
pub(super) async fn refuse_if_busy(
    transaction: &DatabaseTransaction,
    row: &connection::Model,
) -> Result<(), UpdateError> {
    match syncs::active(transaction, &row.id).await? {
        Some(job) => Err(UpdateError::Busy { job: job.id, operation: job.kind }),
        None => Ok(()),
    }
}

/// What was known of the old versions says nothing of the new ones.
fn forgetful(mut changed: connection::ActiveModel) -> connection::ActiveModel {
    changed.auth = Set(AuthState::Untested.as_str().to_owned());
    changed.outcome = Set(Outcome::None.as_str().to_owned());
    changed.status_message = Set(None);
    changed
}

async fn put_credentials(
    transaction: &DatabaseTransaction,
    row: &connection::Model,
    changed: &mut connection::ActiveModel,
    credentials: NewCredentials,
) -> Result<(), UpdateError> {
    let NewCredentials { sealed, fields, expected_credentials_version } = credentials;
    if expected_credentials_version != row.credentials_version {
        return Err(UpdateError::VersionMismatch);
    }
    let version = row.credentials_version + 1;
    changed.credentials_version = Set(version);
    let now = store::now(transaction).await?;
    changed.credentials_updated_at = Set(Some(now));
    changed.credential_fields = Set(rows::names(&fields));
    let mut kept = rows::resealed(&sealed);
    kept.connection_id = Unchanged(row.id.clone());
    kept.credentials_version = Set(version);
    kept.update(transaction).await.map_err(fault)?;
    Ok(())
}
