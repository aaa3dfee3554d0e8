//! What a backup needs of the store: a copy of itself, a name that says which
//! deployment it is of, and what it knows.

use std::collections::HashSet;
use std::path::Path;

use sea_orm::{ConnectionTrait as _, EntityTrait as _, QuerySelect as _, Statement};

use crate::ids::ConnectionId;
use crate::store::entities::connection;
use crate::store::fault::{damaged, fault, refused};
use crate::store::{Store, StoreError};

/// Where the deployment's name is kept.
const DEPLOYMENT: &str = "deployment";

impl Store {
    /// Writes all of a SQLite store, as it is at one moment, to a new file; others
    /// go on to write meanwhile. What was deleted is not in it.
    pub async fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        let path = path.to_str().ok_or_else(|| refused("the path of a copy must be UTF-8"))?;
        let database = self.database();
        let copy = Statement::from_sql_and_values(database.get_database_backend(), "VACUUM INTO ?", [path.into()]);
        database.execute_raw(copy).await.map_err(fault)?;
        Ok(())
    }

    /// Fails when a SQLite file is not in order. A PostgreSQL has checksums of its own.
    pub async fn check(&self) -> Result<(), StoreError> {
        if self.backend() != "sqlite" {
            return Ok(());
        }
        let check = Statement::from_string(self.database().get_database_backend(), "PRAGMA quick_check(1)");
        let row = self.database().query_one_raw(check).await.map_err(fault)?;
        let found: Option<String> = row.map(|row| row.try_get_by_index(0)).transpose().map_err(fault)?;
        match found.as_deref() {
            Some("ok") => Ok(()),
            _ => Err(refused("the file is damaged; bring a backup back with `tributary restore`")),
        }
    }

    /// The name of this deployment: made once, and the same in every copy.
    pub async fn deployment(&self) -> Result<String, StoreError> {
        self.put_setting_if_absent(DEPLOYMENT, &ulid::Ulid::new().to_string()).await
    }

    /// Every connection.
    pub async fn connection_ids(&self) -> Result<HashSet<ConnectionId>, StoreError> {
        let ids: Vec<String> = connection::Entity::find()
            .select_only()
            .column(connection::Column::Id)
            .into_tuple()
            .all(self.database())
            .await
            .map_err(fault)?;
        ids.into_iter().map(|id| id.parse().map_err(damaged)).collect()
    }
}
