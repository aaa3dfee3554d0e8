//! Room on the disk of the data directory. Below a reserve nothing new is begun or
//! written, so that what is there can still be read, moved and removed: a store or
//! an index that runs into the very end of a disk can do neither.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::error::{Error, Reason};

/// Most that is kept free, in bytes: on a large disk 5 % would be wasted.
const MOST_RESERVE: u64 = 512 << 20;
/// One part in so many is kept free on a smaller one.
const RESERVE_PART: u64 = 20;
/// Filling a disk takes longer than this for as long as the reserve is large.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Room on a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Free for us.
    pub free: u64,
    /// In all.
    pub total: u64,
}

impl Room {
    /// Asks the file system that a folder is on.
    pub fn of(folder: &Path) -> std::io::Result<Self> {
        let found = rustix::fs::statvfs(folder)?;
        Ok(Self {
            free: found.f_bavail.saturating_mul(found.f_frsize),
            total: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }

    /// What is kept free: 5 % and at most 512 MiB.
    pub fn reserve(self) -> u64 {
        (self.total / RESERVE_PART).min(MOST_RESERVE)
    }

    /// True when less than the reserve is left.
    pub fn is_low(self) -> bool {
        self.free < self.reserve()
    }
}

/// The disk of a data directory.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    low: AtomicBool,
}

impl Disk {
    /// The disk that a folder is on.
    pub fn of(folder: &Path) -> Self {
        let disk = Self { folder: folder.to_owned(), low: AtomicBool::new(false) };
        disk.look();
        disk
    }

    /// True when less than the reserve was left at the last look.
    pub fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    /// Fails, as a caller is told, when less than the reserve is left.
    pub fn require_room(&self) -> Result<(), Error> {
        match self.is_low() {
            false => Ok(()),
            true => {
                Err(Error::new(Reason::StorageFull, "the disk of the server is nearly full; nothing new is written"))
            }
        }
    }

    /// Looks every second until told to stop.
    pub async fn look_after(self: std::sync::Arc<Self>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            let disk = self.clone();
            // A file system on a network may take its time.
            let _ = tokio::task::spawn_blocking(move || disk.look()).await;
        }
    }

    fn look(&self) {
        let room = match Room::of(&self.folder) {
            Ok(room) => room,
            // Without an answer the last one stands.
            Err(error) => return warn!(%error, "the room on the disk could not be found out"),
        };
        metrics::gauge!("tributary_disk_free_bytes").set(room.free as f64);
        let is_low = room.is_low();
        if self.low.swap(is_low, Ordering::Relaxed) == is_low {
            return;
        }
        let (free_mib, reserve_mib) = (room.free >> 20, room.reserve() >> 20);
        match is_low {
            true => warn!(free_mib, reserve_mib, "the disk is nearly full: no sync begins, running ones wait"),
            false => info!(free_mib, reserve_mib, "there is room on the disk again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_a_part_of_a_small_disk_and_no_more_than_half_a_gibibyte_of_a_large_one() {
        let room = |free, total| Room { free, total };
        assert!(!room(5 << 20, 100 << 20).is_low());
        assert!(room((5 << 20) - 1, 100 << 20).is_low());
        assert!(!room(512 << 20, 1 << 45).is_low());
        assert!(room((512 << 20) - 1, 1 << 45).is_low());
        assert!(!room(0, 0).is_low(), "a file system without a size says nothing");
    }
}
