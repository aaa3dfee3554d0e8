//! Our own store: collections, connections, syncs and keys, in SQLite or in
//! PostgreSQL. What SeaORM is stays inside; so do transactions and SQL.
//!
//! All times are milliseconds since 1970 UTC by the database's clock, never by
//! ours: several servers may share one database.

pub mod collections;
pub mod connections;
pub mod idempotency;
pub mod keys;
pub mod queue;
pub mod settings;
pub mod syncs;

use std::error::Error as StdError;

use crate::error::{Error, Reason};
use crate::ids::CollectionId;

/// The store. Clones share one pool.
#[derive(Clone)]
pub struct Store {}

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or is too busy to answer.
    #[error("the metadata store is away")]
    Away(#[source] Cause),
    /// Its disk is full.
    #[error("the metadata store is full")]
    Full(#[source] Cause),
    /// Anything else: our fault, or damage.
    #[error("the metadata store failed")]
    Failed(#[source] Cause),
}

/// What lies behind a [`StoreError`]; for the log.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// Which collections a caller may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visible {
    /// All of them.
    All,
    /// Only these.
    Only(Vec<CollectionId>),
}

impl Store {
    /// Opens `sqlite:///path/file.db` (made if missing, for its owner only) or
    /// `postgres://...`, and brings its schema up to date.
    pub async fn open(_url: &str) -> Result<Self, StoreError> {
        unreachable!()
    }

    /// Fails when the database does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        unreachable!()
    }

    /// The database's time.
    pub async fn now(&self) -> Result<i64, StoreError> {
        unreachable!()
    }

    /// `sqlite` or `postgresql`.
    pub fn backend(&self) -> &'static str {
        unreachable!()
    }

    /// Closes all connections, for this and every clone.
    pub async fn close(self) {
        unreachable!()
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Away(_) => Error::new(Reason::Unavailable, "the metadata store does not answer")
                .retry_after(std::time::Duration::from_secs(1))
                .caused_by(error),
            StoreError::Full(_) => {
                Error::new(Reason::StorageFull, "the disk of the metadata store is full").caused_by(error)
            }
            StoreError::Failed(_) => Error::internal(error),
        }
    }
}
