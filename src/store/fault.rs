//! What errors of the database mean to callers.

use sea_orm::sqlx;
use sea_orm::{DbErr, RuntimeErr, SqlErr};

use crate::store::StoreError;

/// Classifies an error of SeaORM.
pub(super) fn fault(error: DbErr) -> StoreError {
    let kind = match &error {
        DbErr::ConnectionAcquire(_) => Kind::Away,
        DbErr::Conn(RuntimeErr::SqlxError(cause))
        | DbErr::Exec(RuntimeErr::SqlxError(cause))
        | DbErr::Query(RuntimeErr::SqlxError(cause)) => kind_of(cause),
        // The other variants are misuse or damage; none is about reaching the database.
        _ => Kind::Failed,
    };
    kind.with(error)
}

/// Classifies an error of the driver itself.
pub(super) fn sqlx_fault(error: sqlx::Error) -> StoreError {
    kind_of(&error).with(error)
}

/// Classifies an error of the file system.
pub(super) fn io_fault(error: std::io::Error) -> StoreError {
    let kind = if error.kind() == std::io::ErrorKind::StorageFull { Kind::Full } else { Kind::Failed };
    kind.with(error)
}

/// A failure in our own words.
pub(super) fn refused(message: &'static str) -> StoreError {
    StoreError::Failed(message.into())
}

/// A row that does not read as what it should be.
pub(super) fn damaged(cause: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Failed(Box::new(cause))
}

/// A unique index refused the row.
pub(super) fn is_taken(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}

/// A foreign key refused the row.
pub(super) fn is_orphan(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::ForeignKeyConstraintViolation(_)))
}

enum Kind {
    Away,
    Full,
    Failed,
}

impl Kind {
    fn with(self, cause: impl std::error::Error + Send + Sync + 'static) -> StoreError {
        match self {
            Self::Away => StoreError::Away(Box::new(cause)),
            Self::Full => StoreError::Full(Box::new(cause)),
            Self::Failed => StoreError::Failed(Box::new(cause)),
        }
    }
}

fn kind_of(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Kind::Away,
        sqlx::Error::Database(cause) => cause.code().map_or(Kind::Failed, |code| kind_of_code(&code)),
        // The rest is about our own statements and types.
        _ => Kind::Failed,
    }
}

/// PostgreSQL sends five characters, SQLite a number whose lowest byte is the
/// primary code.
fn kind_of_code(code: &str) -> Kind {
    if code.len() == 5 {
        return match code {
            "53100" => Kind::Full,
            // Serialization failure, deadlock: nothing was written, a retry may work.
            "40001" | "40P01" => Kind::Away,
            _ if ["08", "53", "57P"].iter().any(|class| code.starts_with(class)) => Kind::Away,
            _ => Kind::Failed,
        };
    }
    match code.parse::<u32>().map(|code| code & 0xff) {
        Ok(13) => Kind::Full,
        Ok(5 | 6) => Kind::Away,
        _ => Kind::Failed,
    }
}
