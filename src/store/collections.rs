//! Collections.

use std::collections::HashMap;

use crate::ids::{CollectionId, SyncId};
use crate::store::syncs::JobKind;
use crate::store::{Store, StoreError, Visible};

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
    Store(#[source] StoreError),
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
    Store(#[source] StoreError),
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
    Store(#[source] StoreError),
}

impl Store {
    /// Makes a collection.
    pub async fn insert_collection(&self, _new: &NewCollection) -> Result<Collection, CreateError> {
        unreachable!()
    }

    /// One collection.
    pub async fn collection(&self, _id: &CollectionId) -> Result<Option<Collection>, StoreError> {
        unreachable!()
    }

    /// Collections, newest first, after the one with this creation time and id.
    pub async fn collections(
        &self,
        _visible: &Visible,
        _after: Option<(i64, CollectionId)>,
        _limit: u64,
    ) -> Result<Vec<Collection>, StoreError> {
        unreachable!()
    }

    /// Changes a collection, if it still has the expected version.
    pub async fn update_collection(
        &self,
        _id: &CollectionId,
        _expected_version: Option<i64>,
        _patch: CollectionPatch,
    ) -> Result<Collection, UpdateError> {
        unreachable!()
    }

    /// Removes an empty collection, and it from the keys that name it.
    pub async fn delete_collection(
        &self,
        _id: &CollectionId,
        _expected_version: Option<i64>,
    ) -> Result<(), DeleteError> {
        unreachable!()
    }

    /// How many connections each has; those without any are left out.
    pub async fn connection_counts(&self, _ids: &[CollectionId]) -> Result<HashMap<CollectionId, u64>, StoreError> {
        unreachable!()
    }
}
