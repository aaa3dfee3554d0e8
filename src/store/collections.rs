//! Collections.

use std::collections::{HashMap, HashSet};

use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, Condition, DatabaseTransaction, DbErr, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use crate::ids::{CollectionId, SyncId};
use crate::store::entities::{collection, connection};
use crate::store::fault::{damaged, fault, is_orphan, is_taken};
use crate::store::idempotency::{self, Answer};
use crate::store::syncs::JobKind;
use crate::store::{self, Store, StoreError, Visible};

/// A collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// Identifier.
    pub id: CollectionId,
    /// Unique among collections.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// When it was made.
    pub created_at: i64,
    /// When a caller last changed it.
    pub updated_at: i64,
    /// Grows with each change.
    pub version: i64,
}

/// A collection to be made.
#[derive(Debug, Clone)]
pub struct NewCollection {
    /// Identifier, minted by the caller.
    pub id: CollectionId,
    /// Unique among collections.
    pub name: String,
    /// For people.
    pub description: Option<String>,
}

/// Changes to a collection; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct CollectionPatch {
    /// New name.
    pub name: Option<String>,
    /// New description, or none.
    pub description: Option<Option<String>>,
}

/// Why something was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Another one has this name.
    #[error("the name is taken")]
    NameTaken,
    /// The collection that it would belong to does not exist.
    #[error("the collection does not exist")]
    NoCollection,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// Why something was not changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// It does not exist.
    #[error("it does not exist")]
    NotFound,
    /// It has changed since the caller read it.
    #[error("it has changed meanwhile")]
    VersionMismatch,
    /// Another one has this name.
    #[error("the name is taken")]
    NameTaken,
    /// A job of the connection is active.
    #[error("the job `{job}` is active")]
    Busy {
        /// The job.
        job: SyncId,
        /// What it does.
        operation: JobKind,
    },
    /// The connection is being deleted.
    #[error("it is being deleted")]
    Deleting,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// Why a collection was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// It does not exist.
    #[error("the collection does not exist")]
    NotFound,
    /// It has changed since the caller read it.
    #[error("the collection has changed meanwhile")]
    VersionMismatch,
    /// It still has connections.
    #[error("the collection still has connections")]
    NotEmpty,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Store {
    /// Makes a collection.
    pub async fn insert_collection(&self, new: &NewCollection) -> Result<Collection, CreateError> {
        self.insert_collection_answering(new, None).await
    }

    /// Makes a collection and keeps the answer to who asked for it, both or neither.
    pub async fn insert_collection_answering(
        &self,
        new: &NewCollection,
        answer: Option<Answer<Collection>>,
    ) -> Result<Collection, CreateError> {
        let NewCollection { id, name, description } = new;
        let transaction = self.transaction().await?;
        let now = store::now(&transaction).await?;
        let row = collection::ActiveModel {
            id: Set(id.to_string()),
            name: Set(name.clone()),
            description: Set(description.clone()),
            created_at: Set(now),
            updated_at: Set(now),
            version: Set(1),
        };
        collection::Entity::insert(row).exec_without_returning(&transaction).await.map_err(create_error)?;
        let collection = Collection {
            id: id.clone(),
            name: name.clone(),
            description: description.clone(),
            created_at: now,
            updated_at: now,
            version: 1,
        };
        if let Some(answer) = answer {
            idempotency::complete(&transaction, &answer(&collection)).await?;
        }
        transaction.commit().await.map_err(fault)?;
        Ok(collection)
    }

    /// One collection.
    pub async fn collection(&self, id: &CollectionId) -> Result<Option<Collection>, StoreError> {
        let row = collection::Entity::find_by_id(id.to_string()).one(self.database()).await.map_err(fault)?;
        row.map(read).transpose()
    }

    /// Collections, newest first, after the one with this creation time and id.
    pub async fn collections(
        &self,
        visible: &Visible,
        after: Option<(i64, CollectionId)>,
        limit: u64,
    ) -> Result<Vec<Collection>, StoreError> {
        let mut query = collection::Entity::find();
        if let Visible::Only(ids) = visible {
            query = query.filter(collection::Column::Id.is_in(ids.iter().map(CollectionId::as_str)));
        }
        if let Some((created_at, id)) = after {
            let same_time = Condition::all()
                .add(collection::Column::CreatedAt.eq(created_at))
                .add(collection::Column::Id.lt(id.as_str()));
            query = query.filter(Condition::any().add(collection::Column::CreatedAt.lt(created_at)).add(same_time));
        }
        let rows = query
            .order_by_desc(collection::Column::CreatedAt)
            .order_by_desc(collection::Column::Id)
            .limit(limit)
            .all(self.database())
            .await
            .map_err(fault)?;
        rows.into_iter().map(read).collect()
    }

    /// All collections.
    pub async fn collection_ids(&self) -> Result<HashSet<CollectionId>, StoreError> {
        let rows: Vec<String> = collection::Entity::find()
            .select_only()
            .column(collection::Column::Id)
            .into_tuple()
            .all(self.database())
            .await
            .map_err(fault)?;
        rows.into_iter().map(|id| id.parse().map_err(damaged)).collect()
    }

    /// Changes a collection, if it still has the expected version.
    pub async fn update_collection(
        &self,
        id: &CollectionId,
        expected_version: Option<i64>,
        patch: CollectionPatch,
    ) -> Result<Collection, UpdateError> {
        let CollectionPatch { name, description } = patch;
        let transaction = self.transaction().await?;
        let row = locked(&transaction, id).await?.ok_or(UpdateError::NotFound)?;
        if expected_version.is_some_and(|expected| expected != row.version) {
            return Err(UpdateError::VersionMismatch);
        }
        let now = store::now(&transaction).await?;
        let changed = collection::ActiveModel {
            id: Unchanged(row.id),
            name: Set(name.unwrap_or(row.name)),
            description: Set(description.unwrap_or(row.description)),
            created_at: Unchanged(row.created_at),
            updated_at: Set(now),
            version: Set(row.version + 1),
        };
        let row = changed.update(&transaction).await.map_err(|error| {
            if is_taken(&error) { UpdateError::NameTaken } else { UpdateError::Store(fault(error)) }
        })?;
        transaction.commit().await.map_err(fault)?;
        Ok(read(row)?)
    }

    /// Removes an empty collection, and it from the keys that name it.
    pub async fn delete_collection(&self, id: &CollectionId, expected_version: Option<i64>) -> Result<(), DeleteError> {
        let transaction = self.transaction().await?;
        let row = locked(&transaction, id).await?.ok_or(DeleteError::NotFound)?;
        if expected_version.is_some_and(|expected| expected != row.version) {
            return Err(DeleteError::VersionMismatch);
        }
        // The grants of keys go by their foreign key; a connection's foreign key
        // is what refuses.
        collection::Entity::delete_by_id(row.id).exec(&transaction).await.map_err(|error| {
            if is_orphan(&error) { DeleteError::NotEmpty } else { DeleteError::Store(fault(error)) }
        })?;
        transaction
            .commit()
            .await
            .map_err(|error| if is_orphan(&error) { DeleteError::NotEmpty } else { DeleteError::Store(fault(error)) })
    }

    /// How many connections each has; those without any are left out.
    pub async fn connection_counts(&self, ids: &[CollectionId]) -> Result<HashMap<CollectionId, u64>, StoreError> {
        let rows: Vec<(String, i64)> = connection::Entity::find()
            .select_only()
            .column(connection::Column::CollectionId)
            .column_as(connection::Column::Id.count(), "connections")
            .filter(connection::Column::CollectionId.is_in(ids.iter().map(CollectionId::as_str)))
            .group_by(connection::Column::CollectionId)
            .into_tuple()
            .all(self.database())
            .await
            .map_err(fault)?;
        rows.into_iter().map(|(id, count)| Ok((id.parse().map_err(damaged)?, count.unsigned_abs()))).collect()
    }
}

/// The row, which nobody else can change until the transaction ends.
async fn locked(transaction: &DatabaseTransaction, id: &CollectionId) -> Result<Option<collection::Model>, StoreError> {
    collection::Entity::find_by_id(id.to_string()).lock_exclusive().one(transaction).await.map_err(fault)
}

fn create_error(error: DbErr) -> CreateError {
    if is_taken(&error) { CreateError::NameTaken } else { CreateError::Store(fault(error)) }
}

fn read(row: collection::Model) -> Result<Collection, StoreError> {
    let collection::Model { id, name, description, created_at, updated_at, version } = row;
    Ok(Collection { id: id.parse().map_err(damaged)?, name, description, created_at, updated_at, version })
}
