//! Bounds what waits for the writer's threads, in bytes. The writer itself bounds
//! only how many calls wait, which says nothing of memory.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Bytes that may wait. Enough for both threads never to be idle, and little enough
/// to stay in the processor's cache.
const MOST: usize = 4 * 1024 * 1024;
/// How long to wait at most. A thread that has died frees nothing any more; the
/// writer tells of it when it is given the next document.
const PATIENCE: Duration = Duration::from_secs(5);

/// What may wait for one writer.
#[derive(Debug, Default)]
pub(crate) struct Room {
    taken: Mutex<usize>,
    freed: Condvar,
}

/// A part of the room; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    room: Arc<Room>,
    bytes: usize,
}

impl Room {
    /// Takes a part. Blocks while there is too little left; what is larger than all
    /// waits until there is nothing else.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Place {
        let bytes = bytes.min(MOST);
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.freed.wait_timeout_while(taken, PATIENCE, |taken| *taken + bytes > MOST);
        let (mut taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *taken += bytes;
        Place { room: Arc::clone(self), bytes }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever waits is woken once there is half of it, not for each document; who
        // needs more than half, once there is all.
        let was_full = *taken > MOST / 2;
        *taken -= self.bytes;
        if (was_full && *taken <= MOST / 2) || *taken == 0 {
            self.room.freed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_room_waits_until_there_is_some() {
        let room = Arc::new(Room::default());
        let first = room.take(MOST);
        let (taker, (said, told)) = (Arc::clone(&room), std::sync::mpsc::channel());
        let waiting = std::thread::spawn(move || {
            let place = taker.take(1);
            said.send(()).expect("somebody listens");
            drop(place);
        });
        assert!(told.recv_timeout(Duration::from_millis(50)).is_err(), "there was no room");
        drop(first);
        told.recv_timeout(PATIENCE).expect("there is room");
        waiting.join().expect("it ended");
        assert_eq!(*room.taken.lock().expect("nobody panicked"), 0);
        drop(room.take(10 * MOST));
    }

    #[test]
    fn who_needs_all_is_woken_when_the_last_little_is_free() {
        let room = Arc::new(Room::default());
        let little = room.take(1);
        let (taker, (said, told)) = (Arc::clone(&room), std::sync::mpsc::channel());
        let waiting = std::thread::spawn(move || {
            drop(taker.take(MOST));
            said.send(()).expect("somebody listens");
        });
        assert!(told.recv_timeout(Duration::from_millis(50)).is_err(), "there was no room");
        drop(little);
        told.recv_timeout(PATIENCE / 2).expect("woken, and not only out of patience");
        waiting.join().expect("it ended");
    }
}
