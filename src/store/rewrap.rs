//! Credentials as the rotation of keys sees them: which key each is sealed with,
//! and a new wrapping in the place of the old.

use std::collections::HashMap;

use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::sea_query::Expr;
use sea_orm::sqlx::{self, Row as _};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, FromQueryResult, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use crate::ids::ConnectionId;
use crate::store::connections::{Sealed, SealedCredentials};
use crate::store::entities::{connection, sealed_credential, setting};
use crate::store::fault::{damaged, fault, sqlx_fault};
use crate::store::open::BUSY_TIMEOUT;
use crate::store::{Store, StoreError};

/// The same credentials under another key.
pub struct Rewrapped {
    /// Connection that they are of.
    pub connection: ConnectionId,
    /// Version that they are sealed for.
    pub credentials_version: i64,
    /// Key that they were wrapped with until now.
    pub old_key_id: String,
    /// The new wrapping; the ciphertext stays.
    pub sealed: Sealed,
}

#[derive(FromQueryResult)]
struct Group {
    key_id: String,
    records: i64,
}

impl Store {
    /// How many credentials are sealed with which key.
    pub async fn credentials_by_key(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let groups = sealed_credential::Entity::find()
            .select_only()
            .column(sealed_credential::Column::KeyId)
            .column_as(sealed_credential::Column::KeyId.count(), "records")
            .group_by(sealed_credential::Column::KeyId)
            .order_by_asc(sealed_credential::Column::KeyId)
            .into_model::<Group>()
            .all(self.database())
            .await
            .map_err(fault)?;
        groups
            .into_iter()
            .map(|Group { key_id, records }| Ok((key_id, u64::try_from(records).map_err(damaged)?)))
            .collect()
    }

    /// Credentials that are not sealed with this key, by connection, from the one
    /// after `after` on.
    pub async fn credentials_beside(
        &self,
        key_id: &str,
        after: Option<&ConnectionId>,
        limit: u64,
    ) -> Result<Vec<(ConnectionId, SealedCredentials)>, StoreError> {
        let mut query = sealed_credential::Entity::find().filter(sealed_credential::Column::KeyId.ne(key_id));
        if let Some(after) = after {
            query = query.filter(sealed_credential::Column::ConnectionId.gt(after.as_str()));
        }
        let rows = query
            .order_by_asc(sealed_credential::Column::ConnectionId)
            .limit(limit)
            .all(self.database())
            .await
            .map_err(fault)?;
        let mut collections: HashMap<String, String> = connection::Entity::find()
            .select_only()
            .columns([connection::Column::Id, connection::Column::CollectionId])
            .filter(connection::Column::Id.is_in(rows.iter().map(|row| row.connection_id.as_str())))
            .into_tuple()
            .all(self.database())
            .await
            .map_err(fault)?
            .into_iter()
            .collect();
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let sealed_credential::Model { connection_id, credentials_version, key_id, wrapped_key, ciphertext } = row;
            // A connection that was deleted between the two queries took them along.
            let Some(collection) = collections.remove(&connection_id) else { continue };
            found.push((
                connection_id.parse().map_err(damaged)?,
                SealedCredentials {
                    sealed: Sealed { key_id, wrapped_key, ciphertext },
                    credentials_version,
                    collection: collection.parse().map_err(damaged)?,
                },
            ));
        }
        Ok(found)
    }

    /// Puts new wrappings in the place of the old, all at once; answers how many.
    /// Where the credentials were replaced, or wrapped by somebody else, they stay.
    pub async fn rewrap_credentials(&self, rewrapped: &[Rewrapped]) -> Result<u64, StoreError> {
        let transaction = self.transaction().await?;
        let mut replaced = 0;
        for Rewrapped { connection, credentials_version, old_key_id, sealed } in rewrapped {
            let Sealed { key_id, wrapped_key, ciphertext: _ } = sealed;
            let wrapping = sealed_credential::ActiveModel {
                connection_id: NotSet,
                credentials_version: NotSet,
                key_id: Set(key_id.clone()),
                wrapped_key: Set(wrapped_key.clone()),
                ciphertext: NotSet,
            };
            let outcome = sealed_credential::Entity::update_many()
                .set(wrapping)
                .filter(sealed_credential::Column::ConnectionId.eq(connection.as_str()))
                .filter(sealed_credential::Column::CredentialsVersion.eq(*credentials_version))
                .filter(sealed_credential::Column::KeyId.eq(old_key_id.as_str()))
                .exec(&transaction)
                .await
                .map_err(fault)?;
            replaced += outcome.rows_affected;
        }
        transaction.commit().await.map_err(fault)?;
        Ok(replaced)
    }

    /// Puts a value in the place of another of this name; false if that is no
    /// longer the one.
    pub async fn replace_setting(&self, name: &str, old: &str, new: &str) -> Result<bool, StoreError> {
        let replaced = setting::Entity::update_many()
            .col_expr(setting::Column::Value, Expr::value(new))
            .filter(setting::Column::Name.eq(name))
            .filter(setting::Column::Value.eq(old))
            .exec(self.database())
            .await
            .map_err(fault)?;
        Ok(replaced.rows_affected == 1)
    }

    /// Empties the log beside a SQLite file into it, so that what was overwritten
    /// is nowhere any more. False while somebody reads from the log, and then to be
    /// asked for again. PostgreSQL looks after its own.
    pub async fn forget_overwritten(&self) -> Result<bool, StoreError> {
        if self.backend() != "sqlite" {
            return Ok(true);
        }
        let pool = self.database().get_sqlite_connection_pool().clone();
        // A task of its own: cut short, it would leave a connection that does not
        // wait for others.
        let emptied = tokio::spawn(async move {
            let mut connection = pool.acquire().await?;
            // Who waited here for a reader, a backup say, would hold everybody up.
            sqlx::query("PRAGMA busy_timeout = 0").execute(&mut *connection).await?;
            let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *connection).await;
            let again = format!("PRAGMA busy_timeout = {}", BUSY_TIMEOUT.as_millis());
            sqlx::query(sqlx::AssertSqlSafe(again)).execute(&mut *connection).await?;
            row?.try_get::<i64, _>("busy")
        });
        let busy = emptied.await.map_err(|error| StoreError::Failed(error.into()))?;
        // A busy database is what the answer says, or the error.
        match busy.map_err(sqlx_fault) {
            Ok(busy) => Ok(busy == 0),
            Err(StoreError::Away(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
