//! How changes of tables are told, whatever the server: what its stream says is
//! gathered, the rows are read, handed over, and the place is confirmed once they are
//! kept. So the rows are at least as new as what was said of them.

use std::fmt::Display;
use std::time::{Duration, Instant, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::gathering::{Event, Gathered};
use super::{FollowEnd, Followed, Reached, Telling};
use crate::connectors::ConnectorError;
use crate::connectors::reading::Stopped;

/// Rows that are read at once.
pub(in crate::connectors) const ROWS_AT_ONCE: usize = 500;
/// Bytes of rows that are told at once: what is on its way is in memory.
pub(in crate::connectors) const MOST_AT_ONCE: usize = 1024 * 1024;
/// Shortest and longest wait for a commit to become visible.
pub(in crate::connectors) const NOT_YET_VISIBLE: (Duration, Duration) =
    (Duration::from_millis(2), Duration::from_millis(200));

/// Events on their way between stream and reading.
const EVENTS: usize = 4096;
/// Under load, so long lies between two batches: each ends in a commit of the
/// index.
const PACE: Duration = Duration::from_millis(200);
/// How often a place is noted when nothing of ours has changed.
const NOTE_EVERY: Duration = Duration::from_secs(5);
/// How often the source is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// What reads a stream of changes, and how it ended.
pub(in crate::connectors) type Streams = JoinSet<Result<FollowEnd, ConnectorError>>;

/// What the stream of a source leads to.
#[async_trait]
pub(in crate::connectors) trait Source: Send {
    /// Names a transaction.
    type Transaction: Clone + Default + Ord + Send + Sync;
    /// A place up to which the stream was read; its `Display` is what is noted.
    type Place: Clone + Display + Ord + Send + Sync;

    /// Tells the rows as they are now, and whether a sync must look besides.
    async fn read_and_tell(
        &mut self,
        gathered: Gathered<Self::Transaction, Self::Place>,
        telling: &Telling,
    ) -> Result<bool, ConnectorError>;

    /// Everything up to the place is durable in the index.
    fn kept(&mut self, place: &Self::Place) {
        let _ = place;
    }

    /// Looks at the source every few seconds.
    async fn look(&mut self, telling: &Telling) -> Result<Option<FollowEnd>, ConnectorError>;

    /// True while it ends once something more is told.
    fn is_ending(&self) -> bool {
        false
    }

    /// Why it ends now, if it does; `has_changes` while there is something to tell.
    fn end_at(&self, reached: &Self::Place, has_changes: bool) -> Option<FollowEnd> {
        let _ = (reached, has_changes);
        None
    }

    /// Gives up what was reserved at the source, where it ends so; its stream has been
    /// left.
    async fn leave(&mut self, end: FollowEnd) -> Result<(), ConnectorError> {
        let _ = end;
        Ok(())
    }

    /// What it means that the stream failed.
    async fn explain(&mut self, error: ConnectorError) -> Result<FollowEnd, ConnectorError> {
        Err(error)
    }
}

/// Where a stream says what it has read, and its other end.
type Ends<T, P> = (mpsc::Sender<Event<T, P>>, mpsc::Receiver<Event<T, P>>);

/// A way from a stream to whoever tells. Bounded.
pub(in crate::connectors) fn events<T, P>() -> Ends<T, P> {
    mpsc::channel(EVENTS)
}

/// Tells until it cannot go on. Everything before `position` is kept.
pub(in crate::connectors) async fn run<S: Source>(
    mut source: S,
    mut streams: Streams,
    mut events: mpsc::Receiver<Event<S::Transaction, S::Place>>,
    telling: Telling,
    mut position: S::Place,
) -> Result<FollowEnd, ConnectorError> {
    let mut gathered: Gathered<S::Transaction, S::Place> = Gathered::default();
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut told_at, mut noted_at) = (Instant::now() - PACE, Instant::now());
    loop {
        let reached = gathered.reached.as_ref().filter(|reached| **reached > position).unwrap_or(&position);
        if let Some(end) = source.end_at(reached, gathered.has_changes()) {
            streams.shutdown().await;
            return Ok(end);
        }
        let due = told_at + PACE;
        let is_ready = gathered.has_changes() && (gathered.is_whole || gathered.is_full());
        tokio::select! {
            () = tokio::time::sleep_until(due.into()), if is_ready => {
                told_at = Instant::now();
                position = tell(&mut source, gathered.cut(), &telling, position).await?;
                noted_at = Instant::now();
            }
            event = events.recv(), if !gathered.is_full() => {
                let Some(event) = event else {
                    // What was said before is as true as ever.
                    if gathered.has_changes() {
                        tell(&mut source, gathered.cut(), &telling, position).await?;
                    }
                    return match ended(&mut streams).await {
                        Ok(end) => Ok(end),
                        Err(error) => source.explain(error).await,
                    };
                };
                gathered.take(event);
                // A server that goes on and on must not keep us from all else.
                for _ in 0..EVENTS {
                    if gathered.is_full() {
                        break;
                    }
                    let Ok(event) = events.try_recv() else { break };
                    gathered.take(event);
                }
                if !gathered.has_changes() && noted_at.elapsed() >= NOTE_EVERY {
                    noted_at = Instant::now();
                    position = tell(&mut source, gathered.cut(), &telling, position).await?;
                }
            }
            () = tokio::time::sleep(PACE), if source.is_ending() => {}
            _ = look.tick() => {
                if let Some(end) = source.look(&telling).await? {
                    // The server must not find the place in use.
                    streams.shutdown().await;
                    source.leave(end).await?;
                    return Ok(end);
                }
            }
        }
    }
}

/// Why the stream ended.
async fn ended(streams: &mut Streams) -> Result<FollowEnd, ConnectorError> {
    match streams.join_next().await {
        Some(Ok(outcome)) => outcome,
        Some(Err(panicked)) => Err(ConnectorError::Unexpected(Box::new(panicked))),
        None => Err(ConnectorError::Stopped(Stopped)),
    }
}

/// Reads what was gathered, tells it, and confirms it once it is kept. Answers up to
/// where all is told.
async fn tell<S: Source>(
    source: &mut S,
    mut gathered: Gathered<S::Transaction, S::Place>,
    telling: &Telling,
    position: S::Place,
) -> Result<S::Place, ConnectorError> {
    let reached = gathered.reached.take().map_or(position.clone(), |reached| reached.max(position));
    let committed_at = gathered.committed_at.and_then(|micros| u64::try_from(micros).ok());
    let needs_sync = source.read_and_tell(gathered, telling).await?;
    let (kept, is_kept) = oneshot::channel();
    let told = Reached {
        needs_sync,
        position: reached.to_string(),
        committed_at: committed_at.map(|micros| UNIX_EPOCH + Duration::from_micros(micros)),
        kept,
    };
    telling.tell(Followed::Reached(told)).await?;
    is_kept.await.map_err(|_| ConnectorError::Stopped(Stopped))?;
    source.kept(&reached);
    Ok(reached)
}
