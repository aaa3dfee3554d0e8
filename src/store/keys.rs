//! API keys: hashes, never secrets.

use crate::ids::{CollectionId, KeyId};
use crate::store::{Store, StoreError, Visible};

/// An API key, without its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Identifier.
    pub id: KeyId,
    /// For people.
    pub name: String,
    /// What it may do.
    pub role: String,
    /// It is for all collections, future ones too.
    pub all_collections: bool,
    /// Else for these only, sorted.
    pub collections: Vec<CollectionId>,
    /// When it was made.
    pub created_at: i64,
    /// When it ends by itself.
    pub expires_at: Option<i64>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
}

/// A key to be made.
#[derive(Clone)]
pub struct NewKey {
    /// Identifier, minted by the caller.
    pub id: KeyId,
    /// For people.
    pub name: String,
    /// What it may do.
    pub role: String,
    /// It is for all collections, future ones too.
    pub all_collections: bool,
    /// Else for these only.
    pub collections: Vec<CollectionId>,
    /// When it ends by itself.
    pub expires_at: Option<i64>,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
}

/// Why a key was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateKeyError {
    /// A collection that it names does not exist.
    #[error("a collection of the key does not exist")]
    NoCollection,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Store {
    /// Makes a key.
    pub async fn insert_key(&self, _new: &NewKey) -> Result<ApiKey, CreateKeyError> {
        unreachable!()
    }

    /// One key, revoked or not.
    pub async fn key(&self, _id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
        unreachable!()
    }

    /// One key and its hash. The caller compares the hash and looks at
    /// `revoked_at` and at `expires_at` (against [`Store::now`]).
    pub async fn key_by_id_for_auth(&self, _id: &KeyId) -> Result<Option<(ApiKey, [u8; 32])>, StoreError> {
        unreachable!()
    }

    /// Keys, newest first, after the one with this creation time and id; with
    /// [`Visible::Only`], those whose collections are all among the given.
    pub async fn keys(
        &self,
        _visible: &Visible,
        _after: Option<(i64, KeyId)>,
        _limit: u64,
    ) -> Result<Vec<ApiKey>, StoreError> {
        unreachable!()
    }

    /// Revokes a key; once revoked, it keeps its time.
    pub async fn revoke_key(&self, _id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
        unreachable!()
    }

    /// Notes that a key was used; writes at most once a minute.
    pub async fn touch_key(&self, _id: &KeyId) -> Result<(), StoreError> {
        unreachable!()
    }

    /// Whether a usable key of role `admin` exists.
    pub async fn any_admin_key(&self) -> Result<bool, StoreError> {
        unreachable!()
    }
}
