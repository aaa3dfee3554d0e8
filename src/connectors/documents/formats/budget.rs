//! What one document may cost, with all that is packed into it. What a file says of
//! its own sizes is not believed: every byte that comes out is counted.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read};

use super::{too_large, unparsable};
use crate::connectors::RecordError;

const EXPANDED_BYTES: u64 = 256 * 1024 * 1024;
const MEMBERS: usize = 5_000;
/// Expanded to packed, of what is not small.
const LARGEST_RATIO: u64 = 200;
const SMALL_BYTES: u64 = 4 * 1024 * 1024;

/// What is left; shared by everything that is unpacked on the way.
pub(super) struct Budget {
    bytes: Cell<u64>,
    members: Cell<usize>,
    depth: Cell<usize>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { bytes: Cell::new(EXPANDED_BYTES), members: Cell::new(MEMBERS), depth: Cell::new(0) }
    }
}

impl Budget {
    /// Takes one member of an archive; false when there were too many.
    pub(super) fn member(&self) -> bool {
        let left = self.members.get();
        self.members.set(left.saturating_sub(1));
        left > 0
    }

    /// Does something one archive deeper; none where that is too deep.
    pub(super) fn deeper<T>(&self, deepest: usize, work: impl FnOnce() -> T) -> Option<T> {
        let depth = self.depth.get();
        if depth >= deepest {
            return None;
        }
        self.depth.set(depth + 1);
        let done = work();
        self.depth.set(depth);
        Some(done)
    }

    /// Counts what comes out of `packed` bytes, and fails where it is too much.
    pub(super) fn counted<R: Read>(&self, expanding: R, packed: u64) -> Counted<'_, R> {
        let most = SMALL_BYTES.max(packed.max(1).saturating_mul(LARGEST_RATIO));
        Counted { expanding, most, budget: self }
    }

    /// Counts what was expanded elsewhere.
    pub(super) fn spend(&self, bytes: u64) -> Result<(), RecordError> {
        let left = self.bytes.get().checked_sub(bytes).ok_or_else(too_large)?;
        self.bytes.set(left);
        Ok(())
    }
}

/// A reader whose bytes are counted.
pub(super) struct Counted<'a, R> {
    expanding: R,
    most: u64,
    budget: &'a Budget,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.expanding.read(buffer)?;
        self.most = self.most.checked_sub(length as u64).ok_or(ErrorKind::FileTooLarge)?;
        self.budget.spend(length as u64).map_err(|_| ErrorKind::FileTooLarge)?;
        Ok(length)
    }
}

/// Everything that a reader has, at most so much.
pub(super) fn read_whole(reader: impl Read, most: u64) -> Result<Vec<u8>, RecordError> {
    let mut bytes = Vec::new();
    reader.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| refusal(&error))?;
    if bytes.len() as u64 > most { Err(too_large()) } else { Ok(bytes) }
}

/// Why something could not be expanded.
pub(super) fn refusal(error: &io::Error) -> RecordError {
    if error.kind() == ErrorKind::FileTooLarge { too_large() } else { unparsable() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_out_is_counted_over_everything() {
        let budget = Budget::default();
        let small = read_whole(budget.counted(io::repeat(1).take(1 << 20), 1), 1 << 20).unwrap();
        assert_eq!(small.len(), 1 << 20);
        // Out of one byte come at most four megabytes.
        assert_eq!(read_whole(budget.counted(io::repeat(1), 1), u64::MAX - 1).unwrap_err().code, "too_large");
        for _ in 0..100 {
            let _ = io::copy(&mut budget.counted(io::repeat(1).take(4 << 20), 1 << 20), &mut io::sink());
        }
        assert_eq!(read_whole(budget.counted(&b"x"[..], 1), 1).unwrap_err().code, "too_large");
    }

    #[test]
    fn depth_is_given_back() {
        let budget = Budget::default();
        let inner = budget.deeper(2, || budget.deeper(2, || budget.deeper(2, || ())));
        assert_eq!(inner, Some(Some(None)));
        assert_eq!(budget.deeper(1, || 1), Some(1));
    }
}
