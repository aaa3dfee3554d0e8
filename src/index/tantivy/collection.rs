//! One collection's index: its reader, and its writer while it is used.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use std::time::{Duration, Instant};

use tantivy::directory::MmapDirectory;
use tantivy::directory::error::OpenReadError;
use tantivy::indexer::{IndexWriterOptions, UserOperation};
use tantivy::schema::Term;
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, SegmentReader, TantivyError};

use crate::failpoint;
use crate::ids::{CollectionId, ConnectionId};
use crate::index::tantivy::document::head_prefix;
use crate::index::tantivy::failure::{failed_because, from_io, from_opening, from_tantivy};
use crate::index::tantivy::indexed::Chunk;
use crate::index::tantivy::merging::{Filling, Merging};
use crate::index::tantivy::read;
use crate::index::tantivy::room::Room;
use crate::index::tantivy::schema::{Fields, schema, tokenizers};
use crate::index::{Epoch, IndexError};

/// Memory of one thread of a writer, in bytes: a segment is written when it is full.
const WRITER_BYTES: usize = 32_000_000;
/// Threads of a writer: indexing is most of the work of a first sync. Operations
/// are numbered when they are handed over, so their order is kept.
const WRITER_THREADS: usize = 2;
/// After such a pause an index is no longer being filled.
const PAUSE: Duration = Duration::from_secs(1);
/// Operations that are handed over together: each time may wake a thread.
const AT_ONCE: usize = 16;
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
    room: Arc<Room>,
    /// Held by who hands operations over. The writer takes the number of an operation
    /// and puts a deletion in its queue in two steps; a deletion that comes into the
    /// queue behind one with a higher number also deletes what was added after it.
    turn: Mutex<()>,
    filling: Arc<Filling>,
    activity: Mutex<Activity>,
}

enum Writer {
    Closed,
    Open(Box<IndexWriter<Chunk>>),
    /// The collection is gone; its folder must not come back.
    Dropped,
}

struct Activity {
    used_at: Instant,
    /// Who may write, by connection.
    epochs: HashMap<ConnectionId, Epoch>,
    last_epoch: u64,
    /// Connections with changes that are not committed.
    pending: HashSet<ConnectionId>,
    /// Connections whose pending changes went down with a writer at that time,
    /// and which do not know yet.
    lost: HashMap<ConnectionId, Instant>,
}

impl Activity {
    /// Nobody who wrote for the connection before may any more, and nothing that
    /// was lost of it matters.
    fn supersede(&mut self, connection: &ConnectionId) -> Epoch {
        self.lost.remove(connection);
        self.last_epoch += 1;
        let epoch = Epoch(self.last_epoch);
        self.epochs.insert(connection.clone(), epoch);
        epoch
    }

    fn epoch(&self, connection: &ConnectionId) -> Epoch {
        self.epochs.get(connection).copied().unwrap_or_default()
    }

    fn supersede_all(&mut self) {
        self.lost.clear();
        self.epochs.clear();
    }
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
        failpoint::reach("index.opened");
        let activity = Activity {
            used_at: Instant::now(),
            epochs: HashMap::new(),
            last_epoch: 0,
            pending: HashSet::new(),
            lost: HashMap::new(),
        };
        Ok(Self {
            id,
            fields,
            folder: folder.to_owned(),
            index,
            reader,
            writer: RwLock::new(Writer::Closed),
            room: Arc::default(),
            turn: Mutex::default(),
            filling: Arc::default(),
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
    /// What was pending of it is committed first, so that it is known of.
    /// With `before`, only while that is who writes for it.
    pub(crate) fn begin(&self, connection: &ConnectionId, before: Option<Epoch>) -> Result<Epoch, IndexError> {
        let mut writer = self.write_lock();
        let (epoch, is_pending) = {
            let mut activity = self.activity();
            if before.is_some_and(|before| before != activity.epoch(connection)) {
                return Err(IndexError::Superseded);
            }
            let is_pending = activity.pending.contains(connection) && !failpoint::mutant("pending_unknown");
            (activity.supersede(connection), is_pending)
        };
        if let (Writer::Open(open), true) = (&mut *writer, is_pending) {
            if let Err(cause) = open.commit() {
                drop(writer);
                let failure = self.give_up_writer(cause);
                self.activity().lost.remove(connection);
                return Err(failure);
            }
            self.committed()?;
        }
        Ok(epoch)
    }

    /// Who writes for a connection.
    pub(crate) fn epoch(&self, connection: &ConnectionId) -> Epoch {
        self.activity().epoch(connection)
    }

    /// Hands operations to the writer, in order.
    pub(crate) fn apply(
        &self,
        connection: &ConnectionId,
        epoch: Epoch,
        operations: Vec<UserOperation<Chunk>>,
    ) -> Result<(), IndexError> {
        self.open_writer()?;
        let writer = self.read_lock();
        let Writer::Open(open) = &*writer else { return Err(failed_because("the index was closed meanwhile")) };
        // Whoever begins or clears holds the lock alone, so the epoch cannot pass
        // while the operations are handed over.
        self.note_use(connection, epoch)?;
        self.filling.goes_on();
        let outcome = self.send(open, operations);
        drop(writer);
        outcome.map_err(|cause| self.give_up_writer(cause))
    }

    /// Hands operations over, a few at a time, each with its place in what may wait.
    /// Blocks while there is none.
    fn send(&self, writer: &IndexWriter<Chunk>, operations: Vec<UserOperation<Chunk>>) -> tantivy::Result<()> {
        let run = |together| {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            writer.run::<Vec<_>>(together)
        };
        let mut together = Vec::with_capacity(AT_ONCE);
        for mut operation in operations {
            if let UserOperation::Add(chunk) = &mut operation {
                chunk.place = Some(self.room.take(chunk.bytes()));
            }
            together.push(operation);
            if together.len() == AT_ONCE {
                run(std::mem::replace(&mut together, Vec::with_capacity(AT_ONCE)))?;
            }
        }
        run(together)?;
        Ok(())
    }

    fn note_use(&self, connection: &ConnectionId, epoch: Epoch) -> Result<(), IndexError> {
        let mut activity = self.activity();
        if activity.epochs.get(connection) != Some(&epoch) {
            return Err(IndexError::Superseded);
        }
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

    fn open_locked<'a>(&self, writer: &'a mut Writer) -> Result<&'a mut IndexWriter<Chunk>, IndexError> {
        if matches!(writer, Writer::Closed) {
            let options = IndexWriterOptions::builder()
                .num_worker_threads(WRITER_THREADS)
                .memory_budget_per_thread(WRITER_BYTES)
                .num_merge_threads(1)
                .build();
            let opened = self.index.writer_with_options(options).map_err(|cause| self.failure(cause))?;
            opened.set_merge_policy(Box::new(Merging::new(Arc::clone(&self.filling))));
            // A killed process leaves files that no commit knows.
            opened.garbage_collect_files().wait().map_err(|cause| self.failure(cause))?;
            *writer = Writer::Open(Box::new(opened));
            failpoint::reach("index.writer_opened");
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
        failpoint::reach("index.committing");
        match &mut *writer {
            Writer::Open(open) => match open.commit() {
                Ok(_) => {
                    failpoint::reach("index.committed");
                    self.committed()
                }
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
        let mut activity = self.activity();
        match connection {
            Some(connection) => drop(activity.supersede(connection)),
            None => activity.supersede_all(),
        }
        drop(activity);
        drop(writer);
        removed.map_err(|cause| self.give_up_writer(cause))
    }

    fn clear_with(&self, writer: &mut IndexWriter<Chunk>, connection: Option<&ConnectionId>) -> tantivy::Result<u64> {
        // What is pending is counted too.
        writer.commit()?;
        self.reader.reload()?;
        failpoint::reach("clear.counted");
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
        failpoint::reach("clear.deleting");
        if !failpoint::mutant("clear_uncommitted") {
            writer.commit()?;
        }
        failpoint::reach("clear.committed");
        self.reader.reload()?;
        self.activity().pending.clear();
        Ok(count)
    }

    /// Lets go of what a merge has replaced: its files keep their place on disk and
    /// in memory for as long as a searcher may look into them. False when there is no
    /// writer that would merge, or somebody has it alone.
    fn follow_merges(&self) -> Result<bool, IndexError> {
        // Held to the end, so that nobody commits and then finds an older view here.
        let writer = match self.writer.try_read() {
            Ok(writer) => writer,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(false),
        };
        if !matches!(*writer, Writer::Open(_)) {
            return Ok(false);
        }
        let committed = self.index.searchable_segment_ids().map_err(|cause| self.failure(cause))?;
        let searcher = self.searcher();
        let seen: HashSet<_> = searcher.segment_readers().iter().map(SegmentReader::segment_id).collect();
        if committed.len() != seen.len() || committed.iter().any(|id| !seen.contains(id)) {
            self.reader.reload().map_err(|cause| self.failure(cause))?;
        }
        Ok(true)
    }

    /// After a pause, merges what was put off. Closes the writer when it was not used
    /// for that long; what is pending is committed first: closing would lose it.
    pub(crate) fn tend(&self, idle: Duration) -> Result<(), IndexError> {
        if !self.follow_merges()? {
            return Ok(());
        }
        let unused = self.activity().used_at.elapsed();
        // Who asks for a commit is also asked what to merge.
        let is_due = unused >= PAUSE && self.activity().pending.is_empty() && self.filling.ends();
        if unused < idle && !is_due {
            return Ok(());
        }
        let mut writer = self.write_lock();
        let Writer::Open(open) = &mut *writer else { return Ok(()) };
        // Asked under the lock: somebody may have come meanwhile.
        let is_pending = !self.activity().pending.is_empty();
        let outcome = if is_pending || is_due { open.commit() } else { Ok(0) };
        if let Err(cause) = outcome {
            drop(writer);
            return Err(self.give_up_writer(cause));
        }
        if unused < idle {
            return self.committed();
        }
        let closed = close(std::mem::replace(&mut *writer, Writer::Closed));
        let reloaded = self.committed();
        drop(writer);
        reloaded?;
        closed.map_err(|cause| self.failure(cause))
    }

    /// Reads every file of the last commit; true when one is not what was written.
    pub(crate) fn is_damaged(&self) -> Result<bool, IndexError> {
        let files = self.index.load_metas().map_err(|cause| self.failure(cause))?.list_segment_files();
        for file in files {
            match self.index.directory().validate_checksum(&file) {
                Ok(true) => {}
                // Segments name files that they need not have, or were merged away.
                Err(OpenReadError::FileDoesNotExist(_)) => {}
                Ok(false) | Err(_) => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Nobody can write any more; whoever still reads sees what was there.
    pub(crate) fn retire(&self) {
        let mut writer = self.write_lock();
        // What cannot be merged any more does not matter.
        let _ = close(std::mem::replace(&mut *writer, Writer::Dropped));
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

fn close(writer: Writer) -> tantivy::Result<()> {
    match writer {
        Writer::Open(open) => open.wait_merging_threads(),
        Writer::Closed | Writer::Dropped => Ok(()),
    }
}

/// A writer whose worker died says only that; the worker's own error comes with
/// the attempt to commit.
fn root_cause(mut broken: IndexWriter<Chunk>, cause: TantivyError) -> TantivyError {
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
