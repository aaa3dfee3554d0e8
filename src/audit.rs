//! The audit log: who did what, when, from where, and how it ended.
//!
//! A call that may change something is written down *before* it is acted on
//! ([`Recording::begin`]), so that no change can be missing: where the store does
//! not take the event, the call is refused. Its end is written afterwards; when
//! that fails, the end is kept and written again. Refusals are counted
//! ([`refusals`]), so that nobody fills the log by asking.

mod command;
mod recording;
mod refusals;

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::access::{Caller, Collections};
use crate::error::Error;
use crate::ids::AuditEventId;
use crate::paging::{self, Page, Pages};
use crate::store::audit::{Actor, Event, NewEvent, Resources, Wanted};
use crate::store::{Store, Visible};

pub use command::Command;
pub use recording::{Recording, Under};
use refusals::Refused;

const LIST: &str = "audit_events";
/// How often refusals and ends that are due are written.
const WRITE_EVERY: Duration = Duration::from_secs(2);
const PRUNE_EVERY: Duration = Duration::from_secs(60 * 60);
/// Events removed in one statement, so that others get their turn in between.
const PRUNED_AT_ONCE: u64 = 1_000;
/// Ends kept for a store that is away; older ones stay unknown.
const KEPT_ENDS: usize = 10_000;

/// How an event ended, while the store did not take it.
struct End {
    id: AuditEventId,
    outcome: String,
    made: Resources,
}

/// The audit log.
pub struct Audit {
    store: Store,
    pages: Pages,
    retention: Duration,
    refused: Mutex<Refused>,
    ends: Mutex<Vec<End>>,
    tasks: TaskTracker,
}

impl Audit {
    /// A log in the store that keeps events for so long.
    pub fn new(store: Store, pages: Pages, retention: Duration) -> Self {
        Self { store, pages, retention, refused: Mutex::default(), ends: Mutex::default(), tasks: TaskTracker::new() }
    }

    /// Events that the caller may see, newest first.
    pub async fn list(&self, caller: &Caller, wanted: &Wanted, page: paging::Wanted<'_>) -> Result<Page<Event>, Error> {
        let arguments = format!("{wanted:?}");
        let after: Option<(i64, String)> = self.pages.open(LIST, &[&arguments], page.token)?;
        let position = |(at, id): (i64, String)| Ok::<_, Error>((at, id.parse().map_err(Error::internal)?));
        let after = after.map(position).transpose()?;
        let visible = match caller.visible() {
            Collections::All => Visible::All,
            Collections::Only(only) => Visible::Only(only.iter().cloned().collect()),
        };
        let size = page.size(50, 1000);
        let events = self.store.audit_events(&visible, wanted, after, size as u64 + 1).await?;
        self.pages.cut(LIST, &[&arguments], events, size, |event| (event.occurred_at, event.id.to_string()))
    }

    /// Counts a caller who was not let in.
    pub fn refused_entry(&self, peer: Option<IpAddr>, outcome: &str) {
        let event = NewEvent { peer: peer.map(refusals::network), ..refusals::others() };
        self.refused().count(event, outcome, minute());
    }

    /// Counts a caller who lacks a right. `event` is what it asked for; its request
    /// id is left out, as one event stands for many.
    pub fn refused_right(&self, event: NewEvent, outcome: &str) {
        self.refused().count(NewEvent { request_id: None, ..event }, outcome, minute());
    }

    /// Writes what is counted and prunes what is old, until told to stop.
    pub async fn look_after(self: std::sync::Arc<Self>, stop: CancellationToken) {
        let mut prune_at = Instant::now();
        while !stop.is_cancelled() {
            self.write().await;
            if Instant::now() >= prune_at {
                prune_at = Instant::now() + PRUNE_EVERY;
                self.prune(&stop).await;
            }
            tokio::select! {
                () = tokio::time::sleep(WRITE_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Writes what is left, after the last call has ended.
    pub async fn close(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.write().await;
    }

    /// Ends an event; one that the store does not take now is kept for later.
    async fn end(&self, id: &AuditEventId, outcome: &str, made: &Resources) {
        if let Err(error) = self.store.end_audit(id, outcome, made).await {
            warn!(event = %id, outcome, error = &error as &dyn std::error::Error, "the end of an audit event waits");
            let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
            if ends.len() < KEPT_ENDS {
                ends.push(End { id: id.clone(), outcome: outcome.to_owned(), made: made.clone() });
            }
        }
    }

    async fn write(&self) {
        let ends = std::mem::take(&mut *self.ends.lock().unwrap_or_else(PoisonError::into_inner));
        for End { id, outcome, made } in ends {
            self.end(&id, &outcome, &made).await;
        }
        let due = self.refused().due(minute());
        if due.is_empty() {
            return;
        }
        if let Err(error) = self.store.note_refusals(&due).await {
            warn!(error = &error as &dyn std::error::Error, "refusals were not noted yet");
            self.refused().again(due);
        }
    }

    async fn prune(&self, stop: &CancellationToken) {
        let age = i64::try_from(self.retention.as_millis()).unwrap_or(i64::MAX);
        let mut removed = 0;
        while !stop.is_cancelled() {
            match self.store.prune_audit(age, PRUNED_AT_ONCE).await {
                Ok(0) => break,
                Ok(more) => removed += more,
                Err(error) => {
                    warn!(error = &error as &dyn std::error::Error, "old audit events were not removed");
                    break;
                }
            }
        }
        if removed > 0 {
            info!(removed, "old audit events were removed");
        }
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<&Caller> for Actor {
    fn from(caller: &Caller) -> Self {
        match &caller.subject {
            Some(subject) => Actor::Subject(subject.clone()),
            None => Actor::Key(caller.key.clone()),
        }
    }
}

/// The minute now. Only tells refusals of one minute from those of the next, so
/// the local clock will do.
fn minute() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_secs() / 60
}
