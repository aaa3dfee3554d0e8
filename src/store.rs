//! Our own store: collections, connections, syncs and keys, in SQLite or in
//! PostgreSQL. What SeaORM is stays inside; so do transactions and SQL.
//!
//! All times are milliseconds since 1970 UTC by the database's clock, never by
//! ours: several servers may share one database.

pub mod audit;
pub mod collections;
pub mod connections;
mod copy;
mod credentials;
mod deletion;
mod direct;
mod entities;
mod fault;
pub mod followers;
pub mod idempotency;
pub mod keys;
pub mod marks;
mod open;
pub mod past;
pub mod queue;
pub mod rewrap;
pub mod settings;
pub mod syncs;
mod words;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait as _,
};

use crate::error::{Error, Reason};
use crate::ids::CollectionId;
use crate::store::fault::fault;

/// The store. Clones share one pool.
#[derive(Clone)]
pub struct Store {
    database: Arc<DatabaseConnection>,
    /// For what must not wait behind a write: SQLite has one connection that
    /// writes, and a commit may take the disk's time.
    reading: Arc<DatabaseConnection>,
    /// For what every call waits for, where the store is a file.
    direct: Option<Arc<direct::Direct>>,
}

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
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let open::Opened { database, reading, direct } = open::open(url).await?;
        Ok(Self { database: Arc::new(database), reading: Arc::new(reading), direct: direct.map(Arc::new) })
    }

    /// Fails when the database does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.now().await.map(drop)
    }

    /// The database's time.
    pub async fn now(&self) -> Result<i64, StoreError> {
        now(self.database()).await
    }

    /// `sqlite` or `postgresql`.
    pub fn backend(&self) -> &'static str {
        match self.database.get_database_backend() {
            DbBackend::Sqlite => "sqlite",
            _ => "postgresql",
        }
    }

    /// Closes all connections, for this and every clone.
    pub async fn close(self) {
        // An error here leaves nothing to save: what was committed is committed. Who
        // writes goes last, and folds SQLite's log into its file.
        if let Some(direct) = &self.direct {
            direct.close();
        }
        let _ = self.reading.close_by_ref().await;
        let _ = self.database.close_by_ref().await;
    }

    fn database(&self) -> &DatabaseConnection {
        &self.database
    }

    /// Sees all that was committed before it is asked, and waits for no writer.
    fn reading(&self) -> &DatabaseConnection {
        &self.reading
    }

    /// Begins a transaction that may write. Inside, await nothing but the
    /// transaction: SQLite has no second connection.
    async fn transaction(&self) -> Result<DatabaseTransaction, StoreError> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        self.database.begin_with_options(options).await.map_err(fault)
    }
}

/// The database's time, as a part of a statement.
fn now_expression(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
        _ => "(extract(epoch from clock_timestamp()) * 1000)::bigint",
    }
}

/// The database's time, in milliseconds since 1970 UTC.
async fn now<C: ConnectionTrait>(database: &C) -> Result<i64, StoreError> {
    let backend = database.get_database_backend();
    let sql = format!("SELECT {} AS now", now_expression(backend));
    let row = database.query_one_raw(Statement::from_string(backend, sql)).await.map_err(fault)?;
    row.ok_or_else(|| fault::refused("the database has no clock"))?.try_get("", "now").map_err(fault)
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Away(_) => Error::new(Reason::Unavailable, "the metadata store does not answer")
                .retry_after(Duration::from_secs(1))
                .caused_by(error),
            StoreError::Full(_) => {
                Error::new(Reason::StorageFull, "the disk of the metadata store is full").caused_by(error)
            }
            StoreError::Failed(_) => Error::internal(error),
        }
    }
}

/// As times are kept.
fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
