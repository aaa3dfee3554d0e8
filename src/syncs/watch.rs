//! Following a sync: a snapshot, then each change of its row (coalesced), then
//! its end. Of a sync that has ended, what is kept of its way is told again.

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::Syncs;
use crate::error::{Error, Reason};
use crate::ids::SyncId;
use crate::store::past::KeptProgress;
use crate::store::syncs::{Counters, KeptLogLine, State, Sync};

/// Sequence of a sync that was just asked for.
const FIRST_SEQUENCE: i64 = 1;

/// What happened to a sync.
#[derive(Debug, Clone)]
pub enum WatchEvent {
    /// State as of `Sync::sequence`; the first event of a fresh watch.
    Snapshot(Moment),
    /// Counters have changed.
    Progress(Moment),
    /// A line for people.
    Log(KeptLogLine),
    /// The end. Nothing follows.
    Finished(Box<Sync>),
}

/// A sync as it is, or was.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The sync.
    pub sync: Box<Sync>,
    /// When it was so; none means now.
    pub at: Option<i64>,
}

impl Moment {
    fn now(sync: &Sync) -> Self {
        Self { sync: Box::new(sync.clone()), at: None }
    }
}

impl WatchEvent {
    /// Strictly growing per sync. The snapshot of a sync that has ended comes one
    /// before the end, so that the end still follows it.
    pub fn sequence(&self) -> i64 {
        match self {
            Self::Snapshot(moment) if moment.sync.state.is_terminal() => moment.sync.sequence - 1,
            Self::Snapshot(moment) | Self::Progress(moment) => moment.sync.sequence,
            Self::Finished(sync) => sync.sequence,
            Self::Log(line) => line.sequence,
        }
    }
}

impl Syncs {
    /// Follows a sync from after a sequence; 0 begins with a snapshot. The stream
    /// ends after `Finished`, or with UNAVAILABLE when `stop` ends the server; with
    /// EVENTS_EXPIRED at once where what comes after the sequence is not kept.
    pub fn watch(
        &self,
        id: SyncId,
        after_sequence: i64,
        stop: CancellationToken,
    ) -> impl Stream<Item = Result<WatchEvent, Error>> + Send + 'static {
        let (sender, receiver) = mpsc::channel(8);
        let syncs = self.clone();
        // Ends when the receiver is dropped, at the latest with the next look.
        tokio::spawn(async move {
            let gone = sender.clone();
            tokio::select! {
                () = gone.closed() => {}
                result = syncs.follow(id, after_sequence, &sender) => {
                    if let Err(Some(error)) = result {
                        let _ = sender.send(Err(error)).await;
                    }
                }
                () = stop.cancelled() => {
                    let error = Error::new(Reason::Unavailable, "the server is stopping; resume after the last event")
                        .retry_after(Duration::from_secs(1));
                    let _ = sender.send(Err(error)).await;
                }
            }
        });
        ReceiverStream::new(receiver)
    }

    /// `Err(None)` when the receiver is gone.
    async fn follow(
        &self,
        id: SyncId,
        after_sequence: i64,
        sender: &mpsc::Sender<Result<WatchEvent, Error>>,
    ) -> Result<(), Option<Error>> {
        let mut looks = self.looks.of(&id, self);
        // Its own first look, so that nobody begins with what somebody else saw.
        let mut sync = Box::pin(self.looked_at(&id)).await?;
        let mut last = after_sequence;
        let mut is_first_look = true;
        loop {
            if sync.sequence > last {
                let has_ended_before = is_first_look && sync.state.is_terminal();
                // Boxed: thousands of streams wait below, and none needs room for this.
                let events = if has_ended_before {
                    Box::pin(self.retold(last, &sync)).await?
                } else {
                    Box::pin(self.events_since(last, &sync)).await?
                };
                for event in events {
                    last = event.sequence();
                    sender.send(Ok(event)).await.map_err(|_| None)?;
                }
            }
            if sync.state.is_terminal() {
                return Ok(());
            }
            is_first_look = false;
            drop(sync);
            let seen = match looks.changed().await {
                Ok(()) => looks.borrow_and_update().clone(),
                Err(_) => None,
            };
            sync = match seen {
                Some(sync) => sync,
                None => {
                    looks = self.looks.of(&id, self);
                    Box::pin(self.looked_at(&id)).await?
                }
            };
        }
    }

    async fn looked_at(&self, id: &SyncId) -> Result<Arc<Sync>, Error> {
        let sync = self.store.sync(id).await.map_err(Error::from)?;
        sync.map(Arc::new).ok_or_else(|| Error::not_found("sync", id.as_str()))
    }

    /// What a watcher that has seen `last` has to learn from the row.
    async fn events_since(&self, last: i64, sync: &Sync) -> Result<Vec<WatchEvent>, Error> {
        let mut events = Vec::new();
        if last == 0 {
            events.push(WatchEvent::Snapshot(Moment::now(sync)));
        } else {
            let lines = self.store.sync_log(&sync.id, last).await?;
            events.extend(lines.into_iter().filter(|line| line.sequence < sync.sequence).map(WatchEvent::Log));
            if !sync.state.is_terminal() {
                events.push(WatchEvent::Progress(Moment::now(sync)));
            }
        }
        if sync.state.is_terminal() {
            events.push(WatchEvent::Finished(Box::new(sync.clone())));
        }
        Ok(events)
    }

    /// What a sync that has ended was on its way, as far as it is kept.
    async fn retold(&self, last: i64, sync: &Sync) -> Result<Vec<WatchEvent>, Error> {
        let finished = WatchEvent::Finished(Box::new(sync.clone()));
        if sync.events_expired {
            return match last {
                0 => Ok(vec![WatchEvent::Snapshot(Moment::now(sync)), finished]),
                _ if last >= sync.sequence - 1 => Ok(vec![finished]),
                _ => Err(expired(sync)),
            };
        }
        let mut events: Vec<WatchEvent> = Vec::new();
        if last == 0 {
            events.push(WatchEvent::Snapshot(as_created(sync)));
        }
        let progress = self.store.kept_progress(&sync.id, last).await?;
        events.extend(progress.into_iter().map(|kept| WatchEvent::Progress(as_kept(sync, kept))));
        let lines = self.store.sync_log(&sync.id, last).await?;
        events.extend(lines.into_iter().map(WatchEvent::Log));
        events.retain(|event| event.sequence() < sync.sequence);
        events.sort_by_key(WatchEvent::sequence);
        events.push(finished);
        Ok(events)
    }
}

/// A sync as it was when it was asked for.
fn as_created(sync: &Sync) -> Moment {
    let at = Some(sync.created_at);
    let sync = Sync {
        state: State::Pending,
        attempt: 0,
        crashes: 0,
        fence: 0,
        owner: None,
        lease_expires_at: None,
        started_at: None,
        finished_at: None,
        waiting_until: None,
        waiting_reason: None,
        sequence: FIRST_SEQUENCE,
        counters: Counters::default(),
        progress: Value::Object(Map::new()),
        checkpoint: Value::Null,
        warnings: Value::Array(Vec::new()),
        error_reason: None,
        error_message: None,
        elapsed_ms: 0,
        ..sync.clone()
    };
    Moment { sync: Box::new(sync), at }
}

/// How far a sync was.
fn as_kept(sync: &Sync, kept: KeptProgress) -> Moment {
    let KeptProgress { sequence, at, counters, progress, elapsed_ms } = kept;
    let sync = Sync { sequence, counters, progress, elapsed_ms, ..sync.clone() };
    Moment { sync: Box::new(sync), at: Some(at) }
}

fn expired(sync: &Sync) -> Error {
    let message = format!("the events of sync `{}` are not kept any more; begin anew for its end", sync.id);
    Error::new(Reason::EventsExpired, message).with("syncId", sync.id.as_str())
}
