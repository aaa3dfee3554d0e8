//! A pack as a server sends it: its objects, most of them deflated, many told as
//! changes to another ("deltas").
//!
//! The pack is in a file without a name; of its objects, only where they lie and
//! what they are called is held in memory. A server can claim any size, chain
//! deltas without end and let a few bytes inflate to terabytes. So nothing is
//! inflated into memory above a limit, however large it says that it is; the work
//! of a whole pack has a budget; and what depends on too large an object has no
//! name and is as good as absent.

mod cache;
mod delta;
mod input;
mod resolve;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::{Decompress, FlushDecompress, Status};
use gix_hash::ObjectId;
use gix_object::Kind;

use cache::Cache;

/// Most objects of a pack: each takes 48 bytes of memory.
const MOST_OBJECTS: u32 = 600_000;
/// Longest chain of deltas; Git itself makes none above 4,095.
const LONGEST_CHAIN: usize = 4_096;
/// Bytes that one object may cost over all of its chain.
const CHAIN_BYTES: u64 = 1 << 30;
/// No base.
const NONE: u32 = u32::MAX;
const CHUNK: usize = 64 * 1024;

/// An object of a pack, with its content.
type Object = (Kind, Arc<Vec<u8>>);

/// Why a pack cannot be used, or an object of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum PackError {
    /// It is no pack, or a damaged one.
    #[error("the pack is damaged: {0}")]
    Corrupt(&'static str),
    /// More of something than we take.
    #[error("the pack has too much: {0}")]
    TooLarge(&'static str),
    /// Nobody waits for it any more.
    #[error("stopped")]
    Stopped,
    /// Our own disk.
    #[error("the pack cannot be read back")]
    Io(#[from] std::io::Error),
}

/// What a pack may cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Largest object that is taken into memory.
    pub(super) object: u64,
    /// Bytes that all of its objects may inflate to, bases of deltas counted again.
    pub(super) work: u64,
}

/// An entry of the pack, in the order of the file.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Where its deflated bytes begin.
    body: u64,
    /// Bytes that they inflate to: the object, or the delta.
    size: u64,
    /// Entry that a delta is against.
    base: u32,
    kind: Option<Kind>,
}

/// A pack with its index.
#[derive(Debug)]
pub(super) struct Pack {
    file: File,
    entries: Vec<Entry>,
    /// Ordered by name.
    names: Vec<(ObjectId, u32)>,
    limits: Limits,
    cache: Mutex<Cache>,
    /// Some object was too large to be resolved.
    pub(super) has_nameless: bool,
}

impl Pack {
    /// Scans a pack that is in a file from its beginning to its end, and gives each
    /// object its name. Blocks.
    pub(super) fn of(file: File, limits: Limits, stop: &AtomicBool) -> Result<Self, PackError> {
        resolve::index(file, limits, stop)
    }

    /// Number of objects that have a name.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Length of an object that is no delta.
    pub(super) fn plain_size(&self, id: &ObjectId) -> Option<u64> {
        let entry = self.entries[self.find(id)? as usize];
        (entry.base == NONE).then_some(entry.size)
    }

    /// An object; none when it is not there.
    pub(super) fn object(&self, id: &ObjectId) -> Result<Option<Object>, PackError> {
        let Some(index) = self.find(id) else { return Ok(None) };
        let mut work = CHAIN_BYTES;
        self.decode(index, &mut work).map(Some)
    }

    fn find(&self, id: &ObjectId) -> Option<u32> {
        self.names.binary_search_by(|(name, _)| name.cmp(id)).ok().map(|place| self.names[place].1)
    }

    /// An object by its entry: its chain is followed down to what is known, and
    /// then applied upwards.
    fn decode(&self, index: u32, work: &mut u64) -> Result<Object, PackError> {
        let mut chain = Vec::new();
        let mut at = index;
        let (kind, mut bytes) = loop {
            if let Some(known) = self.cached(at) {
                break known;
            }
            let entry = self.entries[at as usize];
            if entry.base == NONE {
                let kind = entry.kind.ok_or(PackError::Corrupt("a delta without a base"))?;
                let bytes = Arc::new(self.inflate(&entry, work)?);
                self.keep(at, kind, &bytes);
                break (kind, bytes);
            }
            if chain.len() >= LONGEST_CHAIN {
                return Err(PackError::TooLarge("deltas in a chain"));
            }
            chain.push(at);
            at = entry.base;
        };
        for at in chain.into_iter().rev() {
            let delta = self.inflate(&self.entries[at as usize], work)?;
            let result = delta::apply(&bytes, &delta, self.limits.object)?;
            spend(work, result.len() as u64)?;
            bytes = Arc::new(result);
            self.keep(at, kind, &bytes);
        }
        Ok((kind, bytes))
    }

    /// Inflates an entry; it must be as long as it said.
    fn inflate(&self, entry: &Entry, work: &mut u64) -> Result<Vec<u8>, PackError> {
        if entry.size > self.limits.object {
            return Err(PackError::TooLarge("bytes of an object"));
        }
        spend(work, entry.size)?;
        let size = usize::try_from(entry.size).map_err(|_| PackError::TooLarge("bytes of an object"))?;
        let mut inflater = Decompress::new(true);
        let mut inflated = Vec::with_capacity(size);
        let mut chunk = vec![0; CHUNK.min(size + 1024)];
        let mut at = entry.body;
        loop {
            let read = self.file.read_at(&mut chunk, at)?;
            let before = inflater.total_in();
            // One byte more than it should have shows that it has more.
            if inflated.capacity() == inflated.len() {
                inflated.reserve(1);
            }
            let status = inflater.decompress_vec(&chunk[..read], &mut inflated, FlushDecompress::None);
            let status = status.map_err(|_| PackError::Corrupt("deflated data"))?;
            at += inflater.total_in() - before;
            if inflated.len() > size {
                return Err(PackError::Corrupt("an object is longer than it says"));
            }
            match status {
                Status::StreamEnd if inflated.len() == size => return Ok(inflated),
                Status::StreamEnd => return Err(PackError::Corrupt("an object is shorter than it says")),
                Status::Ok | Status::BufError if read == 0 => return Err(PackError::Corrupt("it ends early")),
                Status::Ok | Status::BufError => {}
            }
        }
    }

    fn cached(&self, index: u32) -> Option<(Kind, Arc<Vec<u8>>)> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(index)
    }

    fn keep(&self, index: u32, kind: Kind, bytes: &Arc<Vec<u8>>) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).put(index, kind, bytes);
    }
}

fn spend(work: &mut u64, bytes: u64) -> Result<(), PackError> {
    *work = work.checked_sub(bytes).ok_or(PackError::TooLarge("work"))?;
    Ok(())
}

fn go_on(stop: &AtomicBool) -> Result<(), PackError> {
    if stop.load(Ordering::Relaxed) { Err(PackError::Stopped) } else { Ok(()) }
}

#[cfg(test)]
pub(super) mod tests;
