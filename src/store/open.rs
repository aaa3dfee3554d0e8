//! Opening the database: every option is set here, none comes from the
//! environment.

use std::path::Path;
use std::time::Duration;

use sea_orm::sqlx::ConnectOptions as _;
use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgSslMode};
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, SqlxPostgresConnector, SqlxSqliteConnector};

use crate::store::StoreError;
use crate::store::direct::Direct;
use crate::store::fault::{fault, io_fault, refused, sqlx_fault};

/// Key of the advisory lock under which servers migrate one after the other.
const MIGRATION_LOCK: i64 = 0x7472_6962_7574_6172;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a statement waits for another process that writes to a SQLite file.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections to a SQLite file that only read.
const READERS: u32 = 2;

/// The ways to a database.
pub(super) struct Opened {
    /// Which writes.
    pub(super) database: DatabaseConnection,
    /// Which only read.
    pub(super) reading: DatabaseConnection,
    /// Which reads on the caller's thread; of a file only.
    pub(super) direct: Option<Direct>,
}

/// Opens the database and brings its schema up to date.
pub(super) async fn open(url: &str) -> Result<Opened, StoreError> {
    if let Some(path) = url.strip_prefix("sqlite://") {
        open_sqlite(Path::new(path)).await
    } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        let database = open_postgres(url).await?;
        Ok(Opened { reading: database.clone(), database, direct: None })
    } else {
        Err(refused("the store's URL must begin with `sqlite://`, `postgres://` or `postgresql://`"))
    }
}

async fn open_sqlite(path: &Path) -> Result<Opened, StoreError> {
    make_private(path).map_err(io_fault)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        // What is deleted or replaced is overwritten: a wrapped key that is gone is
        // gone from the file too.
        .pragma("secure_delete", "ON")
        .disable_statement_logging();
    // One connection: SQLite has one writer, and ours never waits inside a
    // transaction for anything but SQLite.
    let pool = PoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A file cannot hang up; to ask it before every statement would only wait.
        .test_before_acquire(false)
        .connect_with(options.clone())
        .await
        .map_err(sqlx_fault)?;
    let database = SqlxSqliteConnector::from_sqlx_sqlite_pool(pool);
    migrations::up(&database).await.map_err(fault)?;
    let pool = PoolOptions::new()
        .max_connections(READERS)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .connect_with(options.create_if_missing(false).read_only(true))
        .await
        .map_err(sqlx_fault)?;
    // Without it all is the same, and a little slower.
    let direct = Direct::open(path).ok();
    Ok(Opened { database, reading: SqlxSqliteConnector::from_sqlx_sqlite_pool(pool), direct })
}

/// Makes the file, readable by its owner only; SQLite gives the files that it
/// makes beside it the same mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

async fn open_postgres(url: &str) -> Result<DatabaseConnection, StoreError> {
    let options = postgres_options(url)?;
    // A pool of one, so that the lock and the migrations share a connection.
    let pool = PoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options.clone())
        .await
        .map_err(sqlx_fault)?;
    let migrating = SqlxPostgresConnector::from_sqlx_postgres_pool(pool);
    let lock = format!("SELECT pg_advisory_lock({MIGRATION_LOCK})");
    migrating.execute_unprepared(&lock).await.map_err(fault)?;
    let migrated = migrations::up(&migrating).await;
    // Closing ends the session, and the lock with it.
    migrating.close_by_ref().await.map_err(fault)?;
    migrated.map_err(fault)?;
    let pool = PoolOptions::new()
        .max_connections(10)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options)
        .await
        .map_err(sqlx_fault)?;
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
}

/// Options from the URL alone: the driver would fill gaps from `PG*` variables
/// and from `~/.pgpass`, so nothing is left for it to fill.
fn postgres_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let invalid = || refused("the store's URL must be `postgres://user:password@host:port/database?sslmode=...`");
    let uri: http::Uri = url.parse().map_err(|_| invalid())?;
    let authority = uri.authority().ok_or_else(invalid)?;
    let (login, _) = authority.as_str().rsplit_once('@').ok_or_else(invalid)?;
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let database = uri.path().trim_start_matches('/');
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if user.is_empty() || host.is_empty() || database.is_empty() {
        return Err(invalid());
    }
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(host)
        .port(authority.port_u16().unwrap_or(5432))
        .username(&decoded(user).ok_or_else(invalid)?)
        .password(&decoded(password).ok_or_else(invalid)?)
        .database(&decoded(database).ok_or_else(invalid)?)
        .ssl_mode(PgSslMode::Prefer)
        .application_name("tributary");
    for (name, value) in uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')) {
        let value = decoded(value).ok_or_else(invalid)?;
        options = match name {
            "sslmode" => options.ssl_mode(value.parse().map_err(|_| invalid())?),
            "sslrootcert" => options.ssl_root_cert(value),
            _ => return Err(refused("the store's URL takes no parameters but `sslmode` and `sslrootcert`")),
        };
    }
    Ok(options.disable_statement_logging())
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_with_percent_escapes_is_decoded() {
        assert_eq!(decoded("p%40ss%2Fword").as_deref(), Some("p@ss/word"));
        assert_eq!(decoded("half%4"), None);
    }

    #[test]
    fn a_url_with_gaps_is_refused_instead_of_filled_from_the_environment() {
        for url in ["postgres://host/db", "postgres://user:secret@host", "postgres:///db", "postgres://u:p@h/d?host=x"]
        {
            assert!(postgres_options(url).is_err(), "{url}");
        }
        let options = postgres_options("postgres://user:secret@[::1]:5433/db?sslmode=require").expect("a whole URL");
        assert_eq!((options.get_host(), options.get_port(), options.get_username()), ("::1", 5433, "user"));
    }
}
