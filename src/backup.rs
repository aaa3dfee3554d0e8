//! Backups: a consistent copy of store and index, taken while servers go on.
//!
//! The store is copied first and the index after it, so the index may be ahead,
//! never behind: what it has of connections that the copied store does not know is
//! removed by a restore, and whatever else it has too much or too new is found by
//! the next sync of each connection, which compares with what the index says of
//! itself. The encryption key is not in a backup.
//!
//! A backup is a folder with a manifest that lists every file with its digest. It
//! has its name only once it is whole.

pub mod manifest;
pub mod restore;
mod transfer;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::audit;
use crate::error::Reason;
use crate::ids::CollectionId;
use crate::index::IndexError;
use crate::index::tantivy::snapshot;
use crate::keys::encryption::CANARY;
use crate::store::{Store, StoreError};

use manifest::{FORMAT, Manifest};
pub use transfer::Moved;

/// Name of the store's file, in a backup as in a data directory.
const STORE: &str = "tributary.db";
const INDEX: &str = "index";
/// In the data directory, while a backup is made: links to what it is made of.
const STAGING: &str = ".backup";

/// Why there is no backup, or why it was not brought back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file cannot be read or written.
    #[error("`{path}` cannot be read or written")]
    File {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        cause: io::Error,
    },
    /// The target is there already.
    #[error("`{0}` exists already; name a folder that does not")]
    Exists(PathBuf),
    /// Another backup is being made.
    #[error("another backup of this data directory is being made")]
    Busy,
    /// A server runs where the backup is to go.
    #[error("a server is running on the data directory `{0}`; stop it first")]
    InUse(PathBuf),
    /// The data directory has something in it.
    #[error("the data directory `{0}` is not empty; name one that is, with --data-dir")]
    NotEmpty(PathBuf),
    /// It is no backup, or not whole.
    #[error("`{path}` is not a whole backup: {reason}")]
    NotWhole {
        /// Folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The index in it belongs to another store.
    #[error("this backup is of another deployment than the database that --database-url names")]
    OtherDeployment,
    /// The store in it is of another kind.
    #[error("this backup is of a server with a {0} store; name such a one with --database-url, or none")]
    OtherStore(String),
    /// The store failed.
    #[error("the metadata store failed")]
    Store(#[from] StoreError),
    /// The index failed.
    #[error("the index failed")]
    Index(#[source] IndexError),
}

impl BackupError {
    /// The reason that the audit log gives for it.
    fn reason(&self) -> Reason {
        match self {
            Self::Exists(_)
            | Self::NotEmpty(_)
            | Self::NotWhole { .. }
            | Self::OtherDeployment
            | Self::OtherStore(_) => Reason::InvalidArgument,
            Self::Busy | Self::InUse(_) | Self::Store(_) => Reason::Unavailable,
            Self::File { .. } | Self::Index(_) => Reason::Internal,
        }
    }
}

/// A backup that was made.
#[derive(Debug)]
pub struct Made {
    /// What is in it.
    pub manifest: Manifest,
    /// Collections whose index is damaged and was left out; syncs fill it again.
    pub left_out: Vec<CollectionId>,
}

/// Makes a backup at `target`, which must not be there yet. Of a PostgreSQL store
/// only the index: that database has tools of its own, to be used before. In the
/// copied store the event of the backup has no end: it was copied before.
pub async fn make(
    store: &Store,
    data_dir: &Path,
    target: &Path,
    told: impl FnMut(Moved) + Send + 'static,
) -> Result<Made, BackupError> {
    if target.exists() {
        return Err(BackupError::Exists(target.to_owned()));
    }
    let _lock = lock(data_dir)?;
    audit::Command::record(store, "backup", made(store, data_dir, target, told), BackupError::reason).await
}

async fn made(
    store: &Store,
    data_dir: &Path,
    target: &Path,
    told: impl FnMut(Moved) + Send + 'static,
) -> Result<Made, BackupError> {
    let staging = data_dir.join(STAGING);
    clear(&staging)?;
    let partial = partial(target);
    private_folder(&partial)?;
    let made = fill(store, data_dir, &staging, &partial, told).await;
    clear(&staging)?;
    match made {
        Ok(made) => {
            fs::rename(&partial, target).map_err(at(target))?;
            transfer::sync_folder(parent(target))?;
            Ok(made)
        }
        Err(error) => {
            clear(&partial)?;
            Err(error)
        }
    }
}

async fn fill(
    store: &Store,
    data_dir: &Path,
    staging: &Path,
    partial: &Path,
    told: impl FnMut(Moved) + Send + 'static,
) -> Result<Made, BackupError> {
    let deployment = store.deployment().await?;
    let key_ids = keys(store).await?;
    private_folder(staging)?;
    if store.backend() == "sqlite" {
        store.copy_to(&staging.join(STORE)).await?;
    }
    let (from, links) = (data_dir.to_owned(), staging.join(INDEX));
    private_folder(&links)?;
    let linking = tokio::task::spawn_blocking(move || snapshot::link(&from, &links)).await;
    let left_out = linking.expect("linking does not panic").map_err(BackupError::Index)?;
    let (from, to) = (staging.to_owned(), partial.to_owned());
    let copying = tokio::task::spawn_blocking(move || transfer::copy_all(&from, &to, told)).await;
    let files = copying.expect("copying does not panic")?;
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        deployment,
        store: store.backend().to_owned(),
        key_ids,
        files,
    };
    manifest.write(partial)?;
    Ok(Made { manifest, left_out })
}

/// Ids of the encryption keys without which what is in the store does not open.
async fn keys(store: &Store) -> Result<Vec<String>, StoreError> {
    let mut ids: Vec<String> = store.credentials_by_key().await?.into_iter().map(|(key, _)| key).collect();
    let canary = store.get_setting(CANARY).await?;
    let of_canary = canary.as_deref().and_then(|canary| canary.split_once('.')).map(|(key, _)| key.to_owned());
    ids.extend(of_canary);
    ids.sort();
    ids.dedup();
    Ok(ids)
}

/// A name that says that it is no backup yet, on the same file system.
fn partial(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".partial-{}", ulid::Ulid::new()));
    target.with_file_name(name)
}

/// One backup at a time, so that one does not clear what another links.
fn lock(data_dir: &Path) -> Result<File, BackupError> {
    let path = data_dir.join(format!("{STAGING}.lock"));
    let file = File::create(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackupError::Busy),
        Err(TryLockError::Error(cause)) => Err(BackupError::File { path, cause }),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |cause| BackupError::File { path, cause }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes a folder, which may not be there.
fn clear(folder: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(folder)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Makes a folder for its owner only.
fn private_folder(folder: &Path) -> Result<(), BackupError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(at(folder))
}
