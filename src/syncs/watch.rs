//! Following a sync: a snapshot, then each change of its row (coalesced), then
//! its end.

use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::Syncs;
use crate::error::{Error, Reason};
use crate::ids::SyncId;
use crate::store::syncs::{KeptLogLine, Sync};

/// At most five events of progress a second.
const LEAST_BETWEEN: Duration = Duration::from_millis(200);
/// Changes made on other nodes are found by looking.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What happened to a sync.
#[derive(Debug, Clone)]
pub enum WatchEvent {
    /// State as of `Sync::sequence`; the first event of a fresh watch.
    Snapshot(Box<Sync>),
    /// Counters have changed.
    Progress(Box<Sync>),
    /// A line for people.
    Log(KeptLogLine),
    /// The end. Nothing follows.
    Finished(Box<Sync>),
}

impl WatchEvent {
    /// Strictly growing per sync. The snapshot of a sync that has ended comes one
    /// before the end, so that the end still follows it.
    pub fn sequence(&self) -> i64 {
        match self {
            Self::Snapshot(sync) if sync.state.is_terminal() => sync.sequence - 1,
            Self::Snapshot(sync) | Self::Progress(sync) | Self::Finished(sync) => sync.sequence,
            Self::Log(line) => line.sequence,
        }
    }
}

impl Syncs {
    /// Follows a sync from after a sequence; 0 begins with a snapshot. The stream
    /// ends after `Finished`, or with UNAVAILABLE when `stop` ends the server.
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
        let mut changes = self.events.subscribe(&id);
        let mut last = after_sequence;
        loop {
            changes.mark_unchanged();
            let sync = self
                .store
                .sync(&id)
                .await
                .map_err(Error::from)?
                .ok_or_else(|| Error::not_found("sync", id.as_str()))?;
            if sync.sequence > last {
                for event in self.events_since(last, &sync).await? {
                    last = event.sequence();
                    sender.send(Ok(event)).await.map_err(|_| None)?;
                }
            }
            if sync.state.is_terminal() {
                return Ok(());
            }
            tokio::time::sleep(LEAST_BETWEEN).await;
            let _ = tokio::time::timeout(LOOK_EVERY, changes.changed()).await;
        }
    }

    /// What a watcher that has seen `last` has to learn from the row.
    async fn events_since(&self, last: i64, sync: &Sync) -> Result<Vec<WatchEvent>, Error> {
        let mut events = Vec::new();
        if last == 0 {
            events.push(WatchEvent::Snapshot(Box::new(sync.clone())));
        } else {
            let lines = self.store.sync_log(&sync.id, last).await?;
            events.extend(lines.into_iter().filter(|line| line.sequence < sync.sequence).map(WatchEvent::Log));
            if !sync.state.is_terminal() {
                events.push(WatchEvent::Progress(Box::new(sync.clone())));
            }
        }
        if sync.state.is_terminal() {
            events.push(WatchEvent::Finished(Box::new(sync.clone())));
        }
        Ok(events)
    }
}
