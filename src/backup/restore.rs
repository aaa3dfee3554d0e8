//! Brings a backup back into an empty data directory.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use crate::audit;
use crate::index::Index as _;
use crate::index::tantivy::TantivyIndex;
use crate::store::audit::{OK, Resources};
use crate::store::{Store, StoreError};

use super::manifest::Manifest;
use super::transfer::{self, Moved};
use super::{BackupError, INDEX, STORE, at, clear, private_folder};

/// In the data directory, until everything is there.
const RESTORING: &str = ".restoring";
const LOCK: &str = "lock";
/// May be there before.
const KEY: &str = "encryption.key";

/// A backup that was brought back.
#[derive(Debug)]
pub struct Restored {
    /// What was in it.
    pub manifest: Manifest,
    /// Documents of connections that the store does not know: removed.
    pub orphans: u64,
}

/// Brings a backup back. `database_url` is of the store that a server will use:
/// the SQLite file in the data directory, or the PostgreSQL database that was
/// brought back before by its own tools.
pub async fn restore(
    backup: &Path,
    data_dir: &Path,
    database_url: &str,
    told: impl FnMut(Moved) + Send + 'static,
) -> Result<Restored, BackupError> {
    let manifest = Manifest::read(backup)?;
    let is_file = database_url.starts_with("sqlite:");
    if is_file != (manifest.store == "sqlite") {
        return Err(BackupError::OtherStore(manifest.store));
    }
    private_folder(data_dir)?;
    let _lock = lock(data_dir)?;
    let staging = data_dir.join(RESTORING);
    // Of a restore that was cut short.
    clear(&staging)?;
    refuse_unless_empty(data_dir)?;
    private_folder(&staging.join(INDEX))?;
    let restored = bring(backup, &staging, database_url, manifest, told).await;
    let (restored, command) = match restored {
        Ok(brought) => brought,
        Err(error) => {
            clear(&staging)?;
            return Err(error);
        }
    };
    // The store last: without it a server finds nothing that it could take for whole.
    for name in [INDEX, STORE] {
        let (from, to) = (staging.join(name), data_dir.join(name));
        if from.exists() {
            fs::rename(&from, &to).map_err(at(&to))?;
        }
    }
    clear(&staging)?;
    transfer::sync_folder(data_dir)?;
    let store = Store::open(&store_in(data_dir, &restored.manifest, database_url)).await?;
    let ended = command.end(&store, OK, &Resources::default()).await;
    store.close().await;
    ended?;
    Ok(restored)
}

async fn bring(
    backup: &Path,
    staging: &Path,
    database_url: &str,
    manifest: Manifest,
    told: impl FnMut(Moved) + Send + 'static,
) -> Result<(Restored, audit::Command), BackupError> {
    let (from, to, files) = (backup.to_owned(), staging.to_owned(), manifest.files.clone());
    let copying = tokio::task::spawn_blocking(move || transfer::copy_listed(&from, &to, &files, told)).await;
    copying.expect("copying does not panic")?;
    // An older store is brought up to this build's schema.
    let store = Store::open(&store_in(staging, &manifest, database_url)).await?;
    let pruned = recorded(&store, staging, &manifest).await;
    store.close().await;
    let (orphans, command) = pruned?;
    Ok((Restored { orphans, manifest }, command))
}

/// The store that a backup is of: a file in this folder, or the database.
fn store_in(folder: &Path, manifest: &Manifest, database_url: &str) -> String {
    match manifest.store.as_str() {
        "sqlite" => format!("sqlite://{}", folder.join(STORE).display()),
        _ => database_url.to_owned(),
    }
}

/// Writes into the audit log of the restored store that it is restored, before it
/// is brought in order; of one that fails, the end too.
async fn recorded(store: &Store, staging: &Path, manifest: &Manifest) -> Result<(u64, audit::Command), BackupError> {
    let command = audit::Command::begin(store, "restore", Resources::default()).await?;
    match prune(store, staging, manifest).await {
        Ok(orphans) => Ok((orphans, command)),
        Err(error) => {
            // The failure matters more than the note of it.
            drop(command.end(store, error.reason().name(), &Resources::default()).await);
            Err(error)
        }
    }
}

/// Removes what the store does not know: the index was copied after it.
async fn prune(store: &Store, staging: &Path, manifest: &Manifest) -> Result<u64, BackupError> {
    if store.deployment().await? != manifest.deployment {
        return Err(BackupError::OtherDeployment);
    }
    let known = async { Ok::<_, StoreError>((store.collection_ids().await?, store.connection_ids().await?)) };
    let (collections, connections) = known.await?;
    let folder = staging.join(INDEX);
    for entry in fs::read_dir(&folder).map_err(at(&folder))?.flatten() {
        let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if id.is_none_or(|id| !collections.contains(&id)) {
            clear(&entry.path())?;
        }
    }
    let index = TantivyIndex::open(staging).map_err(BackupError::Index)?;
    let mut removed = 0;
    for collection in &collections {
        let indexed: HashSet<_> = index.connections(collection).await.map_err(BackupError::Index)?;
        for connection in indexed.difference(&connections) {
            removed += index.clear(collection, connection).await.map_err(BackupError::Index)?;
        }
    }
    index.close().await.map_err(BackupError::Index)?;
    Ok(removed)
}

/// No server may run here, and none may start while we are at it.
fn lock(data_dir: &Path) -> Result<File, BackupError> {
    let path = data_dir.join(LOCK);
    let file = File::create(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackupError::InUse(data_dir.to_owned())),
        Err(TryLockError::Error(cause)) => Err(at(&path)(cause)),
    }
}

fn refuse_unless_empty(data_dir: &Path) -> Result<(), BackupError> {
    let names: io::Result<Vec<_>> =
        fs::read_dir(data_dir).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    let is_empty = names.map_err(at(data_dir))?.iter().all(|name| name == LOCK || name == KEY);
    if is_empty { Ok(()) } else { Err(BackupError::NotEmpty(data_dir.to_owned())) }
}
