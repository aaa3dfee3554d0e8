//! One collection's index: its reader, and its writer while it is used.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use tantivy::directory::MmapDirectory;
use tantivy::indexer::{IndexWriterOptions, UserOperation};
use tantivy::schema::Term;
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TantivyError};

use crate::ids::{CollectionId, ConnectionId};
use crate::index::IndexError;
use crate::index::tantivy::document::head_prefix;
use crate::index::tantivy::failure::{failed_because, from_io, from_opening, from_tantivy};
use crate::index::tantivy::read;
use crate::index::tantivy::schema::{Fields, schema, tokenizers};

/// Memory of a writer.
const WRITER_BYTES: usize = 64_000_000;
/// How long others wait for a connection to learn that its changes are lost.
const LOSS_IS_TOLD: Duration = Duration::from_secs(300);

/// An open index.
pub(crate) struct Collection {
    pub(crate) id: CollectionId,
    pub(crate) fields: Fields,
    folder: PathBuf,
    index: Index,
    reader: IndexReader,
    /// Shared by those who apply, alone for who commits, opens or closes.
    writer: RwLock<Writer>,
    activity: Mutex<Activity>,
}

enum Writer {
    Closed,
    Open(Box<IndexWriter>),
    /// The collection is gone; its folder must not come back.
    Dropped,
}

struct Activity {
    used_at: Instant,
    /// Connections with changes that are not committed.
    pending: HashSet<ConnectionId>,
    /// Connections whose pending changes went down with a writer at that time,
    /// and which do not know yet.
    lost: HashMap<ConnectionId, Instant>,
}

impl Collection {
    /// Opens the index in a folder; makes it if there is none.
    pub(crate) fn open(id: CollectionId, folder: &Path) -> Result<Self, IndexError> {
        std::fs::create_dir_all(folder).map_err(from_io)?;
        let (schema, fields) = schema();
        let opened = MmapDirectory::open(folder).map_err(TantivyError::from).and_then(|directory| {
            let index = Index::builder().schema(schema).tokenizers(tokenizers()).open_or_create(directory)?;
            let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
            Ok((index, reader))
        });
        let (index, reader) = opened.map_err(|cause| from_opening(&id, cause))?;
        let activity = Activity { used_at: Instant::now(), pending: HashSet::new(), lost: HashMap::new() };
        Ok(Self {
            id,
            fields,
            folder: folder.to_owned(),
            index,
            reader,
            writer: RwLock::new(Writer::Closed),
            activity: Mutex::new(activity),
        })
    }

    /// What was committed, as of now.
    pub(crate) fn searcher(&self) -> Searcher {
        self.reader.searcher()
    }

    /// The failure in our terms.
    pub(crate) fn failure(&self, cause: TantivyError) -> IndexError {
        from_tantivy(&self.id, cause)
    }

    /// A connection starts over from what is committed, so nothing of it is lost.
    pub(crate) fn starts_over(&self, connection: &ConnectionId) {
        self.activity().lost.remove(connection);
    }

    /// Hands operations to the writer, in order.
    pub(crate) fn apply(&self, connection: &ConnectionId, operations: Vec<UserOperation>) -> Result<(), IndexError> {
        self.open_writer()?;
        let writer = self.read_lock();
        let Writer::Open(open) = &*writer else { return Err(failed_because("the index was closed meanwhile")) };
        self.note_use(connection)?;
        let outcome = send(open, operations);
        drop(writer);
        outcome.map_err(|cause| self.give_up_writer(cause))
    }

    fn note_use(&self, connection: &ConnectionId) -> Result<(), IndexError> {
        let mut activity = self.activity();
        if activity.lost.remove(connection).is_some() {
            return Err(lost());
        }
        activity.used_at = Instant::now();
        activity.pending.insert(connection.clone());
        Ok(())
    }

    fn open_writer(&self) -> Result<(), IndexError> {
        if matches!(&*self.read_lock(), Writer::Open(_)) {
            return Ok(());
        }
        let mut writer = self.write_lock();
        self.open_locked(&mut writer).map(|_| ())
    }

    fn open_locked<'a>(&self, writer: &'a mut Writer) -> Result<&'a mut IndexWriter, IndexError> {
        if matches!(writer, Writer::Closed) {
            // One worker keeps the order of changes plain; merges are rare enough.
            let options = IndexWriterOptions::builder()
                .num_worker_threads(1)
                .memory_budget_per_thread(WRITER_BYTES)
                .num_merge_threads(1)
                .build();
            let opened = self.index.writer_with_options(options).map_err(|cause| self.failure(cause))?;
            // A killed process leaves files that no commit knows.
            opened.garbage_collect_files().wait().map_err(|cause| self.failure(cause))?;
            *writer = Writer::Open(Box::new(opened));
        }
        match writer {
            Writer::Open(open) => Ok(open),
            Writer::Closed | Writer::Dropped => Err(failed_because("the collection was deleted")),
        }
    }

    /// Makes what is pending durable and visible.
    pub(crate) fn commit(&self) -> Result<(), IndexError> {
        let mut writer = self.write_lock();
        if self.has_lost() {
            return Err(lost());
        }
        match &mut *writer {
            Writer::Open(open) => match open.commit() {
                Ok(_) => self.committed(),
                Err(cause) => {
                    drop(writer);
                    Err(self.give_up_writer(cause))
                }
            },
            Writer::Closed => Ok(()),
            Writer::Dropped => Err(failed_because("the collection was deleted")),
        }
    }

    /// Who commits is not known, so nobody can while somebody may still believe
    /// in lost changes. Whoever has not asked for so long is no longer syncing.
    fn has_lost(&self) -> bool {
        let mut activity = self.activity();
        activity.lost.retain(|_, lost_at| lost_at.elapsed() < LOSS_IS_TOLD);
        !activity.lost.is_empty()
    }

    fn committed(&self) -> Result<(), IndexError> {
        let mut activity = self.activity();
        activity.pending.clear();
        activity.used_at = Instant::now();
        drop(activity);
        self.reader.reload().map_err(|cause| self.failure(cause))
    }

    /// Removes a connection's documents, or all, and commits.
    pub(crate) fn clear(&self, connection: Option<&ConnectionId>) -> Result<u64, IndexError> {
        let mut writer = self.write_lock();
        let open = self.open_locked(&mut writer)?;
        let removed = self.clear_with(open, connection);
        drop(writer);
        if let Some(connection) = connection {
            self.starts_over(connection);
        }
        removed.map_err(|cause| self.give_up_writer(cause))
    }

    fn clear_with(&self, writer: &mut IndexWriter, connection: Option<&ConnectionId>) -> tantivy::Result<u64> {
        // What is pending is counted too.
        writer.commit()?;
        self.reader.reload()?;
        let prefix = connection.map(head_prefix).unwrap_or_default();
        let count = read::heads(&self.fields, &self.searcher(), &prefix)?.values().sum();
        match connection {
            Some(connection) => {
                writer.delete_term(Term::from_field_text(self.fields.connection, connection.as_str()));
            }
            None => {
                writer.delete_all_documents()?;
            }
        }
        writer.commit()?;
        self.reader.reload()?;
        self.activity().pending.clear();
        Ok(count)
    }

    /// Closes the writer when it was not used for that long. What is pending is
    /// committed first: closing would lose it.
    pub(crate) fn close_if_idle(&self, idle: Duration) -> Result<(), IndexError> {
        if self.activity().used_at.elapsed() < idle {
            return Ok(());
        }
        let mut writer = self.write_lock();
        let Writer::Open(open) = &mut *writer else { return Ok(()) };
        let outcome = if self.activity().pending.is_empty() { Ok(0) } else { open.commit() };
        if let Err(cause) = outcome {
            drop(writer);
            return Err(self.give_up_writer(cause));
        }
        let closed = close(std::mem::replace(&mut *writer, Writer::Closed));
        let reloaded = self.committed();
        drop(writer);
        reloaded?;
        closed.map_err(|cause| self.failure(cause))
    }

    /// Removes the folder. Whoever still holds this finds it empty or failing.
    pub(crate) fn remove(&self) -> Result<(), IndexError> {
        let mut writer = self.write_lock();
        // A failed merge no longer matters.
        let _ = close(std::mem::replace(&mut *writer, Writer::Dropped));
        remove_folder(&self.folder)
    }

    /// After a failed write the writer is of no use: the next one opens another.
    /// What was pending in it is lost, which each of its connections is told.
    fn give_up_writer(&self, cause: TantivyError) -> IndexError {
        let mut writer = self.write_lock();
        let cause = match std::mem::replace(&mut *writer, Writer::Closed) {
            Writer::Open(broken) => root_cause(*broken, cause),
            Writer::Closed => cause,
            Writer::Dropped => {
                *writer = Writer::Dropped;
                cause
            }
        };
        let mut activity = self.activity();
        let pending = std::mem::take(&mut activity.pending);
        activity.lost.extend(pending.into_iter().map(|connection| (connection, Instant::now())));
        self.failure(cause)
    }

    fn read_lock(&self) -> RwLockReadGuard<'_, Writer> {
        self.writer.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lock(&self) -> RwLockWriteGuard<'_, Writer> {
        self.writer.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a collection's folder, which may be gone already.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), IndexError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(from_io(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// One by one: the writer's queue is bounded by how many such calls wait in it,
/// and what waits is in memory. Blocks while the queue is full.
fn send(writer: &IndexWriter, operations: Vec<UserOperation>) -> tantivy::Result<()> {
    for operation in operations {
        match operation {
            UserOperation::Delete(term) => writer.delete_term(term),
            UserOperation::Add(document) => writer.add_document(document)?,
        };
    }
    Ok(())
}

fn close(writer: Writer) -> tantivy::Result<()> {
    match writer {
        Writer::Open(open) => open.wait_merging_threads(),
        Writer::Closed | Writer::Dropped => Ok(()),
    }
}

/// A writer whose worker died says only that; the worker's own error comes with
/// the attempt to commit.
fn root_cause(mut broken: IndexWriter, cause: TantivyError) -> TantivyError {
    match cause {
        TantivyError::ErrorInThread(_) => match broken.prepare_commit() {
            Err(deeper) => deeper,
            Ok(_) => cause,
        },
        _ => cause,
    }
}

fn lost() -> IndexError {
    failed_because("changes that were not committed are lost after a failed write; the sync must start over")
}
