//! What happens on one connection, and when it has to end: it does not begin to
//! speak, it is idle, or its peer does not read what it asked for.
//!
//! HTTP's own timers know single requests on HTTP/1.1 only. A peer that opens a
//! window of zero, or takes an answer byte by byte, keeps what was made for it in
//! memory; so each answer tells here whether it waits for its reader.

pub mod answer;
pub mod frames;
pub mod request;
pub mod stream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Length of HTTP/2's preface: a peer that has sent less has not begun to speak.
const PREFACE: usize = 24;
/// What a call is taken to need until its answer is there, in bytes.
const UNKNOWN_ANSWER: usize = 128 * 1024;

/// How long a peer may take for each thing.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// From the first byte to the end of the headers.
    pub headers: Duration,
    /// Until it reads on what waits for it.
    pub reading: Duration,
    /// Without a call.
    pub idle: Duration,
}

impl Patience {
    /// How often a connection is to be looked at.
    pub fn look_every(&self) -> Duration {
        let shortest = self.headers.min(self.reading).min(self.idle);
        (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(5))
    }
}

/// What is to be done about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    GoOn,
    /// It is idle: say goodbye.
    Leave,
    /// Its peer has used up our patience: end it, for this reason.
    Cut(&'static str),
}

/// One connection. Cheap to clone.
#[derive(Clone)]
pub struct Traffic {
    inner: Arc<Inner>,
}

struct Inner {
    started: Instant,
    state: Mutex<State>,
    /// Told whenever there may be room for another call.
    room: Notify,
}

struct State {
    bytes_read: usize,
    /// Calls begun and not yet answered to the end.
    calls: usize,
    quiet_since: Instant,
    /// Since when the socket takes nothing.
    blocked_since: Option<Instant>,
    /// Answers that wait for their reader, and since when.
    waiting: HashMap<u64, Instant>,
    /// Bytes of answers that nobody has taken yet, and what calls may add to them.
    unread: usize,
    next: u64,
}

impl Default for Traffic {
    fn default() -> Self {
        let now = Instant::now();
        let state = State {
            bytes_read: 0,
            calls: 0,
            quiet_since: now,
            blocked_since: None,
            waiting: HashMap::new(),
            unread: 0,
            next: 0,
        };
        Self { inner: Arc::new(Inner { started: now, state: Mutex::new(state), room: Notify::new() }) }
    }
}

impl Traffic {
    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call once what waits unread on this connection is below `most`
    /// bytes: what a peer does not read keeps it from asking for more.
    pub async fn begin(&self, most: usize) -> Call {
        let id = {
            let mut state = self.state();
            state.calls += 1;
            state.next += 1;
            state.next
        };
        let mut call = Call { traffic: self.clone(), id, unread: 0 };
        loop {
            let room = self.inner.room.notified();
            {
                let mut state = self.state();
                if state.unread == 0 || state.unread + UNKNOWN_ANSWER <= most {
                    state.unread += UNKNOWN_ANSWER;
                    call.unread = UNKNOWN_ANSWER;
                    return call;
                }
            }
            room.await;
        }
    }

    /// What has to be done now.
    pub fn verdict(&self, now: Instant, patience: &Patience) -> Verdict {
        let state = self.state();
        let long_ago = |since: &Instant, limit| now.saturating_duration_since(*since) > limit;
        let is_stuck = state.blocked_since.iter().any(|since| long_ago(since, patience.reading))
            || state.waiting.values().any(|since| long_ago(since, patience.reading));
        if is_stuck {
            Verdict::Cut("not_reading")
        } else if state.bytes_read < PREFACE && state.next == 0 && long_ago(&self.inner.started, patience.headers) {
            Verdict::Cut("silent")
        } else if state.calls == 0 && long_ago(&state.quiet_since, patience.idle) {
            Verdict::Leave
        } else {
            Verdict::GoOn
        }
    }

    fn read(&self, bytes: usize) {
        self.state().bytes_read += bytes;
    }

    fn blocked(&self, is_blocked: bool) {
        let mut state = self.state();
        if !is_blocked {
            state.blocked_since = None;
        } else if state.blocked_since.is_none() {
            state.blocked_since = Some(Instant::now());
        }
    }
}

/// A call under way; over when it is dropped.
pub struct Call {
    traffic: Traffic,
    id: u64,
    unread: usize,
}

impl Call {
    /// So many bytes of its answer are there and nobody has taken them.
    fn keeps(&mut self, bytes: usize) {
        if bytes != self.unread {
            let mut state = self.traffic.state();
            state.unread = state.unread + bytes - self.unread;
            self.unread = bytes;
            drop(state);
            self.traffic.inner.room.notify_waiters();
        }
    }

    /// It is its peer's turn, to take what it was given.
    fn given(&self) {
        self.traffic.state().waiting.insert(self.id, Instant::now());
    }

    /// Its peer has taken what there was.
    fn taken(&self) {
        self.traffic.state().waiting.remove(&self.id);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.traffic.state();
        state.calls -= 1;
        state.unread -= self.unread;
        state.waiting.remove(&self.id);
        if state.calls == 0 {
            state.quiet_since = Instant::now();
        }
        drop(state);
        self.traffic.inner.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { headers: Duration::from_secs(1), reading: Duration::from_secs(3), idle: Duration::from_secs(10) };

    fn after(traffic: &Traffic, seconds: u64) -> Verdict {
        traffic.verdict(Instant::now() + Duration::from_secs(seconds), &PATIENCE)
    }

    #[tokio::test]
    async fn a_peer_that_says_nothing_is_cut_off_and_an_idle_one_is_left() {
        let traffic = Traffic::default();
        assert_eq!(after(&traffic, 0), Verdict::GoOn);
        assert_eq!(after(&traffic, 2), Verdict::Cut("silent"));
        traffic.read(PREFACE);
        assert_eq!(after(&traffic, 2), Verdict::GoOn);
        let call = traffic.begin(1 << 20).await;
        assert_eq!(after(&traffic, 60), Verdict::GoOn);
        drop(call);
        assert_eq!(after(&traffic, 11), Verdict::Leave);
    }

    #[tokio::test]
    async fn who_does_not_read_is_cut_off_and_who_has_read_is_not() {
        let traffic = Traffic::default();
        let call = traffic.begin(1 << 20).await;
        call.given();
        assert_eq!(after(&traffic, 2), Verdict::GoOn);
        assert_eq!(after(&traffic, 4), Verdict::Cut("not_reading"));
        call.taken();
        assert_eq!(after(&traffic, 4), Verdict::GoOn);
        traffic.blocked(true);
        assert_eq!(after(&traffic, 4), Verdict::Cut("not_reading"));
        traffic.blocked(false);
        assert_eq!(after(&traffic, 4), Verdict::GoOn);
    }

    #[tokio::test]
    async fn what_is_unread_keeps_the_next_call_waiting_until_it_is_read() {
        let traffic = Traffic::default();
        let mut first = traffic.begin(1 << 20).await;
        first.keeps(1 << 20);
        let mut second = Box::pin(traffic.begin(1 << 20));
        assert!(futures::poll!(second.as_mut()).is_pending());
        first.keeps(10);
        assert!(futures::poll!(second.as_mut()).is_ready());
    }
}
