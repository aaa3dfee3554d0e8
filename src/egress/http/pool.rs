//! Connections that wait for another request.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::Origin;
use super::connection::Connection;

/// How long one is kept. Servers keep theirs for a minute or so.
const LONGEST: Duration = Duration::from_secs(30);
/// How many of one origin, and of all.
const MOST_OF_ONE: usize = 8;
const MOST: usize = 64;
/// The end of an answer that was read needs a moment to be noticed.
const NOTICED: Duration = Duration::from_millis(200);

/// They end when it is dropped.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Idle>>);

struct Idle {
    origin: Origin,
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// One that can be used, the youngest first.
    pub(super) async fn take(&self, origin: &Origin) -> Option<Connection> {
        while let Some(mut connection) = self.youngest(origin) {
            if let Ok(Ok(())) = timeout(NOTICED, connection.sender.ready()).await {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps one whose answer was read to its end.
    pub(super) fn put(&self, origin: Origin, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let mut idle = self.idle();
        idle.retain(|kept| kept.since.elapsed() < LONGEST);
        let of_origin = idle.iter().filter(|kept| kept.origin == origin).count();
        if of_origin < MOST_OF_ONE && idle.len() < MOST {
            idle.push(Idle { origin, connection, since: Instant::now() });
        }
    }

    fn youngest(&self, origin: &Origin) -> Option<Connection> {
        let mut idle = self.idle();
        idle.retain(|kept| kept.since.elapsed() < LONGEST);
        let place = idle.iter().rposition(|kept| kept.origin == *origin)?;
        Some(idle.remove(place).connection)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        // What is kept here is sound whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
