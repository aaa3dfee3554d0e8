//! The index on Tantivy: one index a collection, in
//! `<data dir>/index/<collection id>`.
//!
//! All work is blocking and runs on the blocking pool. Reads see what was
//! committed last and need no lock.

mod chunk;
mod collection;
mod document;
mod facts;
mod failure;
mod filter;
mod filtered;
mod indexed;
mod merging;
mod ranking;
mod read;
mod room;
mod schema;
mod search;
pub mod snapshot;
mod stems;
mod text;
mod words;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tantivy::indexer::UserOperation;

use crate::disk::Disk;
use crate::failpoint;
use crate::filter::FieldKind;
use crate::ids::{CollectionId, ConnectionId};
use crate::index::manifest::{Digest, Manifest};
use crate::index::tantivy::collection::{Collection, remove_folder};
use crate::index::tantivy::document::{documents, head_prefix, key_of, record_term};
use crate::index::tantivy::failure::{failed, from_io};
use crate::index::tantivy::indexed::Chunk;
use crate::index::{Epoch, Hits, Index, IndexError, Item, Listing, Query, Target};
use crate::record::{Change, Entry, Fingerprint, Key};

/// A writer that nobody used for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// What follows the id of a collection in the name of the file that says that its
/// index is to go.
const CONDEMNED: &str = ".to-be-removed";

/// Fields that the filter of a search may have.
pub const FILTER_FIELDS: &[(&str, FieldKind)] = filter::FIELDS;

/// Keeps one Tantivy index a collection. Cheap to clone.
#[derive(Clone)]
pub struct TantivyIndex {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    disk: Option<Arc<Disk>>,
    set_aside: Mutex<Vec<CollectionId>>,
    collections: Mutex<HashMap<CollectionId, Arc<Collection>>>,
}

impl TantivyIndex {
    /// Keeps the indexes below a data directory. Each is opened when it is first
    /// needed.
    pub fn open(data_dir: &Path) -> Result<Self, IndexError> {
        Self::with(data_dir, None)
    }

    /// The same, which takes nothing in while the disk is nearly full.
    pub fn open_on(data_dir: &Path, disk: Arc<Disk>) -> Result<Self, IndexError> {
        Self::with(data_dir, Some(disk))
    }

    fn with(data_dir: &Path, disk: Option<Arc<Disk>>) -> Result<Self, IndexError> {
        let root = data_dir.join("index");
        std::fs::create_dir_all(&root).map_err(from_io)?;
        Ok(Self { shared: Arc::new(Shared { root, disk, set_aside: Mutex::default(), collections: Mutex::default() }) })
    }

    /// The connections that a collection has documents of.
    pub async fn connections(&self, collection: &CollectionId) -> Result<HashSet<ConnectionId>, IndexError> {
        self.read(collection, |collection| {
            let heads = read::heads(&collection.fields, &collection.searcher(), "");
            let heads = heads.map_err(|cause| collection.failure(cause))?;
            heads.keys().filter_map(|head| head.split_once('\0')).map(|(id, _)| id.parse().map_err(failed)).collect()
        })
        .await
    }

    /// Reads these indexes from end to end, one after the other, and sets aside what
    /// is damaged. What a disk has lost would otherwise be noticed when it is looked
    /// for, or never.
    pub async fn verify(&self, collections: HashSet<CollectionId>) -> Result<(), IndexError> {
        for id in collections {
            self.blocking(move |shared| shared.verify(&id)).await?;
        }
        Ok(())
    }

    /// Commits what is pending and lets go of every writer; each opens again when
    /// it is needed.
    pub async fn close(&self) -> Result<(), IndexError> {
        self.blocking(|shared| {
            let open: Vec<Arc<Collection>> = shared.collections().values().cloned().collect();
            open.iter().try_for_each(|collection| collection.tend(Duration::ZERO))
        })
        .await
    }

    /// Runs work on the blocking pool.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || work(&shared)).await.map_err(failed)?
    }

    /// Reads of a collection that has no index yet find nothing.
    async fn read<T: Default + Send + 'static>(
        &self,
        collection: &CollectionId,
        read: impl FnOnce(&Collection) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let id = collection.clone();
        self.blocking(move |shared| match shared.existing(&id)? {
            Some(collection) => read(&collection),
            None => Ok(T::default()),
        })
        .await
    }
}

impl Shared {
    fn folder(&self, id: &CollectionId) -> PathBuf {
        self.root.join(id.as_str())
    }

    fn collections(&self) -> MutexGuard<'_, HashMap<CollectionId, Arc<Collection>>> {
        self.collections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn existing(&self, id: &CollectionId) -> Result<Option<Arc<Collection>>, IndexError> {
        let mut collections = self.collections();
        if let Some(collection) = collections.get(id) {
            return Ok(Some(Arc::clone(collection)));
        }
        if !self.folder(id).is_dir() {
            return Ok(None);
        }
        self.open(&mut collections, id).map(Some)
    }

    fn existing_or_new(&self, id: &CollectionId) -> Result<Arc<Collection>, IndexError> {
        let mut collections = self.collections();
        match collections.get(id) {
            Some(collection) => Ok(Arc::clone(collection)),
            None => self.open(&mut collections, id),
        }
    }

    fn open(
        &self,
        collections: &mut HashMap<CollectionId, Arc<Collection>>,
        id: &CollectionId,
    ) -> Result<Arc<Collection>, IndexError> {
        let folder = self.folder(id);
        let opened = match Collection::open(id.clone(), &folder) {
            // Damaged, or written by a version with other fields: the sources
            // still have it all, so the next sync of each connection fills a new
            // one. What was there is kept for whoever wants to look.
            Err(damaged @ IndexError::Damaged { .. }) => {
                let aside = set_aside(&folder)?;
                tracing::error!(
                    collection = %id,
                    error = &damaged as &dyn std::error::Error,
                    kept = %aside.display(),
                    "the index cannot be used and was set aside; syncs fill a new one"
                );
                self.note_set_aside(id);
                Collection::open(id.clone(), &folder)?
            }
            opened => opened?,
        };
        let collection = Arc::new(opened);
        collections.insert(id.clone(), Arc::clone(&collection));
        Ok(collection)
    }

    fn note_set_aside(&self, id: &CollectionId) {
        self.set_aside.lock().unwrap_or_else(PoisonError::into_inner).push(id.clone());
    }

    /// Reads the whole index of a collection, and sets it aside where a file is not
    /// what was written.
    fn verify(&self, id: &CollectionId) -> Result<(), IndexError> {
        let Some(collection) = self.existing(id)? else { return Ok(()) };
        if !collection.is_damaged()? {
            return Ok(());
        }
        collection.retire();
        let mut collections = self.collections();
        collections.remove(id);
        let aside = set_aside(&self.folder(id))?;
        tracing::error!(
            collection = %id,
            kept = %aside.display(),
            "the index is not what was written and was set aside; syncs fill a new one"
        );
        self.note_set_aside(id);
        Ok(())
    }

    fn apply(&self, target: &Target, epoch: Epoch, changes: Vec<Change>) -> Result<(), IndexError> {
        if self.disk.as_ref().is_some_and(|disk| disk.is_low()) {
            return Err(IndexError::StorageFull("less than the reserve is free".into()));
        }
        let collection = self.existing_or_new(&target.collection)?;
        // Documents are built before any lock is taken.
        let mut operations = Vec::with_capacity(changes.len() * 2);
        for change in changes {
            append(&collection, target, change, &mut operations)?;
        }
        collection.apply(&target.connection, epoch, operations)
    }

    /// The file that says that a collection's index is to go.
    fn condemned(&self, id: &CollectionId) -> PathBuf {
        self.root.join(format!("{id}{CONDEMNED}"))
    }

    /// Takes that back, or notes that it is done.
    fn pardon(&self, id: &CollectionId) -> Result<(), IndexError> {
        match std::fs::remove_file(self.condemned(id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(from_io(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn drop_collection(&self, id: &CollectionId) -> Result<(), IndexError> {
        let open = {
            let collections = self.collections();
            match collections.get(id) {
                Some(collection) => Arc::clone(collection),
                None => {
                    remove_folder(&self.folder(id))?;
                    return self.pardon(id);
                }
            }
        };
        // Forgotten only when its folder is gone, so that nobody opens what is
        // being removed.
        open.remove()?;
        self.collections().remove(id);
        self.pardon(id)
    }
}

/// Moves a folder out of the way, under a name that is free.
fn set_aside(folder: &Path) -> Result<PathBuf, IndexError> {
    let mut number = 1;
    loop {
        let aside = folder.with_extension(format!("unusable-{number}"));
        if !aside.exists() {
            std::fs::rename(folder, &aside).map_err(from_io)?;
            failpoint::reach("index.set_aside");
            return Ok(aside);
        }
        number += 1;
    }
}

fn append(
    collection: &Collection,
    target: &Target,
    change: Change,
    operations: &mut Vec<UserOperation<Chunk>>,
) -> Result<(), IndexError> {
    let fields = &collection.fields;
    match change {
        Change::Delete { key } => operations.push(UserOperation::Delete(record_term(fields, key))),
        Change::Insert(entry) => add(collection, target, entry, operations)?,
        Change::Upsert(entry) => {
            operations.push(UserOperation::Delete(record_term(fields, entry.key)));
            add(collection, target, entry, operations)?;
        }
    }
    Ok(())
}

fn add(
    collection: &Collection,
    target: &Target,
    entry: Entry,
    operations: &mut Vec<UserOperation<Chunk>>,
) -> Result<(), IndexError> {
    let documents = documents(&collection.fields, target, entry)?;
    operations.extend(documents.into_iter().map(UserOperation::Add));
    Ok(())
}

#[async_trait]
impl Index for TantivyIndex {
    async fn manifest(&self, target: &Target, object: &str) -> Result<Manifest, IndexError> {
        let (connection, object) = (target.connection.clone(), object.to_owned());
        self.read(&target.collection, move |collection| {
            read::manifest(&collection.fields, &collection.searcher(), &connection, &object)
                .map_err(|cause| collection.failure(cause))
        })
        .await
    }

    async fn digest(&self, target: &Target, object: &str) -> Result<Digest, IndexError> {
        let (connection, object) = (target.connection.clone(), object.to_owned());
        self.read(&target.collection, move |collection| {
            read::digest(&collection.fields, &collection.searcher(), &connection, &object)
                .map_err(|cause| collection.failure(cause))
        })
        .await
    }

    async fn fingerprints(&self, target: &Target, keys: Vec<Key>) -> Result<Vec<Option<Fingerprint>>, IndexError> {
        let id = target.collection.clone();
        self.blocking(move |shared| match shared.existing(&id)? {
            Some(collection) => read::fingerprints(&collection.fields, &collection.searcher(), &keys)
                .map_err(|cause| collection.failure(cause)),
            None => Ok(vec![None; keys.len()]),
        })
        .await
    }

    async fn begin(&self, target: &Target) -> Result<Epoch, IndexError> {
        let target = target.clone();
        self.blocking(move |shared| shared.existing_or_new(&target.collection)?.begin(&target.connection, None)).await
    }

    async fn epoch(&self, target: &Target) -> Result<Epoch, IndexError> {
        let connection = target.connection.clone();
        self.read(&target.collection, move |collection| Ok(collection.epoch(&connection))).await
    }

    async fn begin_after(&self, target: &Target, before: Epoch) -> Result<Epoch, IndexError> {
        let target = target.clone();
        self.blocking(move |shared| shared.existing_or_new(&target.collection)?.begin(&target.connection, Some(before)))
            .await
    }

    async fn objects(&self, target: &Target) -> Result<Vec<(String, u64)>, IndexError> {
        let connection = target.connection.clone();
        self.read(&target.collection, move |collection| {
            let objects = read::heads(&collection.fields, &collection.searcher(), &head_prefix(&connection));
            Ok(objects.map_err(|cause| collection.failure(cause))?.into_iter().collect())
        })
        .await
    }

    async fn apply(&self, target: &Target, epoch: Epoch, changes: Vec<Change>) -> Result<(), IndexError> {
        if changes.is_empty() {
            return Ok(());
        }
        let target = target.clone();
        self.blocking(move |shared| shared.apply(&target, epoch, changes)).await
    }

    async fn commit(&self, collection: &CollectionId) -> Result<(), IndexError> {
        self.read(collection, |collection| collection.commit()).await
    }

    async fn clear(&self, collection: &CollectionId, connection: &ConnectionId) -> Result<u64, IndexError> {
        let connection = connection.clone();
        self.read(collection, move |collection| collection.clear(Some(&connection))).await
    }

    async fn clear_collection(&self, collection: &CollectionId) -> Result<u64, IndexError> {
        self.read(collection, |collection| collection.clear(None)).await
    }

    async fn condemn(&self, collection: &CollectionId) -> Result<(), IndexError> {
        let id = collection.clone();
        self.blocking(move |shared| std::fs::write(shared.condemned(&id), "").map_err(from_io)).await
    }

    async fn drop_collection(&self, collection: &CollectionId) -> Result<(), IndexError> {
        let id = collection.clone();
        self.blocking(move |shared| shared.drop_collection(&id)).await
    }

    async fn retain(&self, known: &HashSet<CollectionId>) -> Result<(), IndexError> {
        let known = known.clone();
        self.blocking(move |shared| {
            for entry in std::fs::read_dir(&shared.root).map_err(from_io)?.flatten() {
                let name = entry.file_name();
                let id = name.to_str().and_then(|name| name.strip_suffix(CONDEMNED)?.parse::<CollectionId>().ok());
                match id {
                    Some(id) if known.contains(&id) => shared.pardon(&id)?,
                    Some(id) => {
                        tracing::info!(collection = %id, "what was left of a deleted collection's index is removed");
                        shared.drop_collection(&id)?;
                    }
                    None => {}
                }
            }
            Ok(())
        })
        .await
    }

    async fn count(&self, collection: &CollectionId, connection: Option<&ConnectionId>) -> Result<u64, IndexError> {
        let prefix = connection.map(head_prefix).unwrap_or_default();
        self.read(collection, move |collection| {
            let heads = read::heads(&collection.fields, &collection.searcher(), &prefix);
            Ok(heads.map_err(|cause| collection.failure(cause))?.values().sum())
        })
        .await
    }

    async fn search(&self, collection: &CollectionId, query: &Query) -> Result<Hits, IndexError> {
        let query = query.clone();
        let id = collection.clone();
        self.blocking(move |shared| match shared.existing(&id)? {
            Some(collection) => search::search(&collection, &query),
            None => Ok(Hits { hits: Vec::new(), more: false }),
        })
        .await
    }

    async fn get(&self, collection: &CollectionId, id: &str) -> Result<Option<Item>, IndexError> {
        let Some(key) = key_of(id) else { return Ok(None) };
        self.read(collection, move |collection| {
            read::get(&collection.fields, &collection.searcher(), key).map_err(|cause| collection.failure(cause))
        })
        .await
    }

    async fn list(&self, collection: &CollectionId, listing: &Listing) -> Result<Vec<Item>, IndexError> {
        let after = read::position(listing)?;
        let listing = listing.clone();
        self.read(collection, move |collection| {
            read::list(&collection.fields, &collection.searcher(), &listing, after)
                .map_err(|cause| collection.failure(cause))
        })
        .await
    }

    async fn set_aside(&self) -> Result<Vec<CollectionId>, IndexError> {
        Ok(std::mem::take(&mut *self.shared.set_aside.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    async fn tend(&self) -> Result<(), IndexError> {
        self.blocking(|shared| {
            let open: Vec<Arc<Collection>> = shared.collections().values().cloned().collect();
            open.iter().try_for_each(|collection| collection.tend(IDLE))
        })
        .await
    }
}

#[cfg(test)]
mod tests;
