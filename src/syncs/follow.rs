//! Following: connections whose schedule is continuous have a task each, on one
//! node, which takes their changes in as the source commits them.
//!
//! Following is no job: it refuses nothing. A job that begins takes the right to
//! write in the index away, the follower stands aside, and rejoins when the job
//! has ended. See [`follower`].

mod follower;
mod intake;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span, warn};

use super::Syncs;
use super::engine::Engine;
use super::sessions::source_error;
use crate::connectors::following::Place;
use crate::error::Error;
use crate::ids::ConnectionId;
use crate::store::connections::Lifecycle;
use follower::Follower;

/// How long a follower has its connection without a heartbeat.
const LEASE: Duration = Duration::from_secs(20);
/// How often to look for connections that nobody follows.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long removing what is at the source may take.
const REMOVAL: Duration = Duration::from_secs(20);
/// How long a follower in this process may take to stop.
const STOPPING: Duration = Duration::from_secs(10);

/// How often followed connections sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// What cannot be followed, be it objects or the whole source.
    pub refresh: Duration,
    /// All the rest, in case something escaped.
    pub reconcile: Duration,
    /// After a change of which only a sync can tell what it was.
    pub untold: Duration,
    /// Until what was missing is looked for again.
    pub retry: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(300),
            reconcile: Duration::from_secs(86_400),
            untold: Duration::from_secs(10),
            retry: Duration::from_secs(30),
        }
    }
}

/// The followers of this process, by connection.
#[derive(Clone, Default)]
pub(super) struct Posts(Arc<Mutex<HashMap<ConnectionId, Post>>>);

#[derive(Clone)]
struct Post {
    stop: CancellationToken,
    ended: CancellationToken,
}

/// A follower at its post; leaves it with the value.
struct Manned {
    posts: Posts,
    connection: ConnectionId,
    ended: CancellationToken,
}

impl Drop for Manned {
    fn drop(&mut self) {
        self.posts.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.connection);
        self.ended.cancel();
    }
}

impl Posts {
    fn man(&self, connection: &ConnectionId, stop: CancellationToken) -> Manned {
        let ended = CancellationToken::new();
        let post = Post { stop, ended: ended.clone() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(connection.clone(), post);
        Manned { posts: self.clone(), connection: connection.clone(), ended }
    }

    fn manned(&self) -> HashSet<ConnectionId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    async fn stop(&self, connection: &ConnectionId) {
        let post = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(connection).cloned();
        if let Some(Post { stop, ended }) = post {
            stop.cancel();
            // Its fence is broken next, so one that is late cannot note anything.
            let _ = tokio::time::timeout(STOPPING, ended.cancelled()).await;
        }
    }
}

impl Syncs {
    /// Stops following a connection and removes what that has made at the source,
    /// as far as the source can be reached.
    pub async fn end_following(&self, id: &ConnectionId) -> Result<(), Error> {
        self.posts.stop(id).await;
        if !self.store.break_follower(id).await? {
            return Ok(());
        }
        let Some(connection) = self.store.connection(id).await? else { return Ok(()) };
        let place = Place::of(id.as_str());
        let removed = async {
            let session = self.sessions.open(&connection).await?;
            session.end_following(&place).await.map_err(source_error)
        };
        let removed = tokio::time::timeout(REMOVAL, removed).await;
        if !matches!(removed, Ok(Ok(()))) {
            let cause = removed.ok().and_then(Result::err);
            warn!(
                connection = %id,
                place = place.name(),
                error = cause.as_ref().map(|error| error as &dyn std::error::Error),
                "what following made at the source could not be removed; drop the replication slot and the publication \
                 of this name there"
            );
        }
        Ok(self.store.forget_follower(id).await?)
    }

    /// Removes a connection that is being deleted, and what it has at its source.
    pub async fn finish_delete(&self, id: &ConnectionId) -> Result<(), Error> {
        self.end_following(id).await?;
        if let Some(connection) = self.store.connection(id).await? {
            self.end_pushes(&connection).await?;
        }
        Ok(self.store.finish_delete(id).await?)
    }
}

/// What followers share.
pub struct Followers {
    engine: Arc<Engine>,
    syncs: Syncs,
    name: String,
    pace: Pace,
}

impl Followers {
    /// Followers of this process, which has this name in leases.
    pub fn new(engine: Arc<Engine>, syncs: Syncs, name: String, pace: Pace) -> Arc<Self> {
        Arc::new(Self { engine, syncs, name, pace })
    }

    /// Follows what nobody follows until told to stop.
    pub async fn look_after(self: Arc<Self>, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        let mut failing = false;
        while !stop.is_cancelled() {
            match self.look(&mut tasks, &stop).await {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    warn!(error = &error as &dyn std::error::Error, "followed connections cannot be looked after");
                }
                Err(_still_failing) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => {}
            }
            while tasks.try_join_next().is_some() {}
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn look(self: &Arc<Self>, tasks: &mut JoinSet<()>, stop: &CancellationToken) -> Result<(), Error> {
        let store = &self.engine.store;
        let wanted = store.continuous_connections().await?;
        let manned = self.syncs.posts.manned();
        for connection in wanted.iter().filter(|connection| !manned.contains(&connection.id)) {
            let Some(lease) = store.take_follower(&connection.id, &self.name, LEASE).await? else { continue };
            let stop = stop.child_token();
            let post = self.syncs.posts.man(&connection.id, stop.clone());
            let span = info_span!("follow", connection = %connection.id);
            let follower = Follower::new(self.clone(), connection.id.clone(), lease);
            tasks.spawn(
                async move {
                    follower.run(stop).await;
                    drop(post);
                }
                .instrument(span),
            );
        }
        let followers = store.all_followers().await?;
        let kept = followers.iter().filter(|follower| manned.contains(&follower.connection));
        metrics::gauge!("tributary_followers").set(manned.len() as f64);
        metrics::gauge!("tributary_follow_retained_wal_bytes")
            .set(kept.map(|follower| follower.kept_bytes).max().unwrap_or(0) as f64);
        for follower in followers {
            let id = follower.connection;
            if manned.contains(&id) || wanted.iter().any(|connection| connection.id == id) {
                continue;
            }
            // Its schedule is another one now. What is being deleted goes with
            // its end.
            let is_active = |lifecycle| lifecycle == Lifecycle::Active;
            let active = store.connection(&id).await?.is_some_and(|connection| is_active(connection.lifecycle));
            if active && store.take_follower(&id, &self.name, LEASE).await?.is_some() {
                self.syncs.end_following(&id).await?;
            }
        }
        Ok(())
    }
}
