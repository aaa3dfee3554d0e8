//! When segments are merged: not while a sync fills the index, which has work
//! enough for the processors, unless there are so many that searches would feel it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tantivy::index::SegmentMeta;
use tantivy::indexer::{LogMergePolicy, MergeCandidate, MergePolicy};

/// Segments of a size that are merged into one. More are looked through by a
/// search; fewer are written over and over.
const AT_ONCE: usize = 16;
/// Segments that a search may have to look through while the index is filled.
const MOST: usize = 64;

/// What an index and its policy tell each other.
#[derive(Debug, Default)]
pub(crate) struct Filling {
    goes_on: AtomicBool,
    /// There was something to merge, and it was put off.
    put_off: AtomicBool,
}

impl Filling {
    /// Operations come.
    pub(crate) fn goes_on(&self) {
        self.goes_on.store(true, Ordering::Relaxed);
    }

    /// No more operations come for now; true when something was put off.
    pub(crate) fn ends(&self) -> bool {
        self.goes_on.store(false, Ordering::Relaxed);
        self.put_off.swap(false, Ordering::Relaxed)
    }
}

/// Says what to merge.
#[derive(Debug)]
pub(crate) struct Merging {
    usual: LogMergePolicy,
    filling: Arc<Filling>,
}

impl Merging {
    /// The policy of an index.
    pub(crate) fn new(filling: Arc<Filling>) -> Self {
        let mut usual = LogMergePolicy::default();
        usual.set_min_num_segments(AT_ONCE);
        Self { usual, filling }
    }
}

impl MergePolicy for Merging {
    fn compute_merge_candidates(&self, segments: &[SegmentMeta]) -> Vec<MergeCandidate> {
        let candidates = self.usual.compute_merge_candidates(segments);
        if candidates.is_empty() || segments.len() > MOST || !self.filling.goes_on.load(Ordering::Relaxed) {
            return candidates;
        }
        self.filling.put_off.store(true, Ordering::Relaxed);
        Vec::new()
    }
}
