//! One follower: prepares the place at the source, has a sync bring the index in
//! step, and takes changes in from there, until something makes it begin again.
//!
//! The order of a change is: index, then our note of how far it is, which also
//! proves the lease, then the source's. So the source never forgets what could
//! be lost here.

mod stream;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::intake::IntakeError;
use super::{Followers, LEASE};
use crate::connectors::ConnectorError;
use crate::connectors::erased::Session;
use crate::connectors::following::{Footing, Place, Preparation, Prepared};
use crate::error::{Error, Reason};
use crate::ids::{ConnectionId, SyncId};
use crate::index::IndexError;
use crate::store::StoreError;
use crate::store::connections::{AuthState, Connection, Lifecycle, Outcome};
use crate::store::followers::{self, FollowLease, FollowNote, FollowState};
use crate::store::queue::LeaseError;
use crate::store::syncs::{State, Trigger};

/// How often the lease is renewed.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// How often to look whether the connection is still what it was.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Waits after failures: the first, and the longest.
const FAILED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How often the place of a paused connection is looked at.
const GUARD_EVERY: Duration = Duration::from_secs(30);

/// Follows one connection.
pub(super) struct Follower {
    all: Arc<Followers>,
    id: ConnectionId,
    place: Place,
    lease: FollowLease,
}

/// With what the place at the source was made.
struct Made {
    credentials_version: i64,
    session: Arc<dyn Session>,
}

/// What comes next.
enum Next {
    /// The connection is not to be followed any more.
    Over,
    /// Begin again.
    Again,
    /// Begin again a little later.
    Wait(Duration),
}

#[derive(Debug, thiserror::Error)]
enum FollowError {
    /// Somebody else has the connection.
    #[error("the lease is lost")]
    Lost,
    #[error("the sync that brings the index in step did not succeed")]
    SyncFailed,
    #[error(transparent)]
    Source(#[from] ConnectorError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<StoreError> for FollowError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<LeaseError> for FollowError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Lost => Self::Lost,
            LeaseError::Store(error) => error.into(),
        }
    }
}

impl From<IntakeError> for FollowError {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Index(error) => Self::Index(error),
            IntakeError::Source(error) => Self::Source(error),
            IntakeError::Failed(error) => Self::Failed(error),
        }
    }
}

impl Follower {
    pub(super) fn new(all: Arc<Followers>, id: ConnectionId, lease: FollowLease) -> Self {
        let place = Place::of(id.as_str());
        Self { all, id, place, lease }
    }

    /// Follows until told to stop or the connection is not to be followed.
    pub(super) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep_lease() => warn!("another node follows the connection"),
            () = self.work() => {}
        }
        // It runs out by itself where this fails.
        let _ = self.all.engine.store.release_follower(self.lease).await;
    }

    /// Ends when the lease is lost.
    async fn keep_lease(&self) {
        loop {
            tokio::time::sleep(BEAT_EVERY).await;
            match self.all.engine.store.renew_follower(&self.lease, LEASE).await {
                Ok(()) => {}
                Err(LeaseError::Lost) => return,
                Err(error) => warn!(error = &error as &dyn std::error::Error, "heartbeat failed"),
            }
        }
    }

    async fn work(&self) {
        let mut failures = 0;
        let mut made = None;
        loop {
            let wait = match self.step(&mut made).await {
                Ok(Next::Over) | Err(FollowError::Lost) => return,
                Ok(Next::Again) => {
                    failures = 0;
                    continue;
                }
                Ok(Next::Wait(wait)) => wait,
                // A sync has begun.
                Err(FollowError::Index(IndexError::Superseded)) => LOOK_EVERY,
                Err(FollowError::Source(ConnectorError::LoginRefused(_))) => LOOK_EVERY,
                Err(error) => {
                    let (least, most) = FAILED;
                    let syncs = matches!(error, FollowError::SyncFailed);
                    let most = if syncs { self.all.pace.refresh } else { most };
                    let wait = least.saturating_mul(1 << failures.min(10)).min(most);
                    failures += 1;
                    warn!(error = &error as &dyn std::error::Error, failures, "following starts again");
                    let message = format!("{error}; following starts again");
                    let _ = self.note(FollowNote { state: starting(&message), ..FollowNote::default() }).await;
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Everything from the first look to the end of the stream.
    async fn step(&self, made: &mut Option<Made>) -> Result<Next, FollowError> {
        let store = &self.all.engine.store;
        let Some(connection) = self.wanted().await? else { return Ok(Next::Over) };
        if let Some(old) = made.take_if(|made| made.credentials_version != connection.credentials_version) {
            self.move_away(&*old.session).await;
        }
        let row = store.followers(std::slice::from_ref(&self.id)).await?.remove(&self.id).ok_or(FollowError::Lost)?;
        if connection.paused || connection.auth == AuthState::Failed {
            return self.guard(&connection).await;
        }
        if store.active_job(&self.id).await?.is_some() {
            return Ok(Next::Wait(LOOK_EVERY));
        }
        if row.given_up_at_version == Some(connection.version) {
            self.refresh(&row).await?;
            return Ok(Next::Wait(LOOK_EVERY));
        }
        let session = self.all.syncs.session(&connection).await?;
        *made = Some(Made { credentials_version: connection.credentials_version, session: session.clone() });
        let outcome = self.step_with(&connection, row, session).await;
        if let Err(FollowError::Source(ConnectorError::LoginRefused(_))) = &outcome {
            let (config, credentials) = (connection.config_version, connection.credentials_version);
            let words = Some("the source refused the login");
            store.note_outcome(&self.id, config, credentials, AuthState::Failed, Outcome::Failed, words).await?;
        }
        outcome
    }

    async fn step_with(
        &self,
        connection: &Connection,
        row: followers::Follower,
        session: Arc<dyn Session>,
    ) -> Result<Next, FollowError> {
        let known = row.ground.clone().map(|ground| Footing { ground, position: row.position.clone() });
        let prepared = match session.prepare_following(&self.place, known.as_ref()).await? {
            Preparation::Ready(prepared) => prepared,
            Preparation::Missing(missing) => return self.lacking(connection, &row, missing).await,
            Preparation::TooMuchKept(bytes) => return self.give_up(connection, bytes).await,
        };
        let Some(prepared) = self.in_step(connection, &row, prepared).await? else { return Ok(Next::Again) };
        self.follow(connection, &session, prepared).await
    }

    async fn wanted(&self) -> Result<Option<Connection>, FollowError> {
        let connection = self.all.engine.store.connection(&self.id).await?;
        let is_wanted = |connection: &Connection| {
            let continuous = connection.schedule.as_ref().is_some_and(|schedule| schedule.continuous);
            continuous && connection.lifecycle == Lifecycle::Active
        };
        Ok(connection.filter(is_wanted))
    }

    async fn note(&self, note: FollowNote) -> Result<(), FollowError> {
        Ok(self.all.engine.store.note_follower(&self.lease, note).await?)
    }

    /// Has a sync bring the index in step, if it is not. None when that changed
    /// what there is to follow.
    async fn in_step(
        &self,
        connection: &Connection,
        row: &followers::Follower,
        prepared: Prepared,
    ) -> Result<Option<Prepared>, FollowError> {
        let versions = (connection.config_version, connection.credentials_version);
        let index = &self.all.engine.index;
        // An index that was set aside or left behind has nothing, whatever was noted.
        let is_empty = index.count(&connection.collection, Some(&self.id)).await? == 0;
        let is_same = (row.config_version, row.credentials_version) == versions;
        let reason = match prepared.out_of_step {
            Some(reason) => reason,
            None if !row.in_step || !is_same => "something changed that only a sync can tell",
            None if is_empty => "the index has nothing",
            None => {
                let ground = row.ground.clone().unwrap_or(prepared.ground);
                let position = row.position.clone().unwrap_or(prepared.position);
                return Ok(Some(Prepared { ground, position, ..prepared }));
            }
        };
        info!(reason, "a sync brings the index in step");
        let message = format!("{reason}; a sync brings the index in step");
        let note = FollowNote { state: starting(&message), in_step: Some(false), ..FollowNote::default() };
        self.note(note).await?;
        if self.sync().await? != Some(versions) {
            return Ok(None);
        }
        let note = FollowNote {
            in_step: Some(true),
            versions: Some(versions),
            ground: Some(prepared.ground.clone()),
            position: Some(prepared.position.clone()),
            ..FollowNote::default()
        };
        self.note(note).await?;
        Ok(Some(prepared))
    }

    /// Runs a sync to its end; answers the versions that it was of. None when the
    /// connection is not to be followed any more.
    async fn sync(&self) -> Result<Option<(i64, i64)>, FollowError> {
        let (store, syncs) = (&self.all.engine.store, &self.all.syncs);
        let id = loop {
            match self.wanted().await? {
                Some(connection) if !connection.paused => {}
                Some(_) | None => return Ok(None),
            }
            let started = syncs.run(&self.id, Trigger::Continuous, false, false, SyncId::mint(), None).await;
            match started {
                Ok(id) => break id,
                // One that is under way may have begun to read before.
                Err(error) if error.reason() == Reason::SyncInProgress => tokio::time::sleep(LOOK_EVERY).await,
                Err(error) => return Err(error.into()),
            }
        };
        self.note(FollowNote { syncs: true, ..FollowNote::default() }).await?;
        let mut changes = self.all.engine.events.subscribe(&id);
        loop {
            match store.sync(&id).await? {
                Some(sync) if sync.state.is_active() => {}
                Some(sync) if sync.state == State::Succeeded => {
                    return Ok(Some((sync.config_version, sync.credentials_version)));
                }
                Some(_) => return Err(FollowError::SyncFailed),
                None => return Ok(None),
            }
            let _ = tokio::time::timeout(Duration::from_secs(1), changes.changed()).await;
        }
    }

    /// A sync, if the last of ours is long ago.
    async fn refresh(&self, row: &followers::Follower) -> Result<(), FollowError> {
        if self.since_sync(row).await? >= self.all.pace.refresh {
            self.sync().await?;
        }
        Ok(())
    }

    async fn since_sync(&self, row: &followers::Follower) -> Result<Duration, FollowError> {
        let now = self.all.engine.store.now().await?;
        let since = row.synced_at.map_or(i64::MAX, |at| now.saturating_sub(at));
        Ok(Duration::from_millis(u64::try_from(since).unwrap_or(0)))
    }

    /// Syncs take over until what is missing is there.
    async fn lacking(
        &self,
        connection: &Connection,
        row: &followers::Follower,
        missing: String,
    ) -> Result<Next, FollowError> {
        let message = format!("changes cannot be followed, so syncs bring them: {missing}");
        if row.message.as_ref() != Some(&message) {
            warn!(missing, "changes cannot be followed");
        }
        let note = FollowNote {
            state: Some((FollowState::Syncing, Some(message))),
            in_step: Some(false),
            kept_bytes: Some(0),
            ..FollowNote::default()
        };
        self.note(note).await?;
        self.refresh(row).await?;
        let until = Instant::now() + self.all.pace.retry;
        while Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.wanted().await?.is_none_or(|now| now.version != connection.version) {
                break;
            }
        }
        Ok(Next::Again)
    }

    /// The source kept too much: its slot is dropped, and syncs take over until
    /// somebody edits the connection.
    async fn give_up(&self, connection: &Connection, bytes: u64) -> Result<Next, FollowError> {
        let message = format!(
            "the source kept {} MB of its log for following, more than `maxRetainedWalMb` allows, so the replication \
             slot was dropped and syncs bring changes; set the schedule again to follow anew",
            bytes >> 20
        );
        warn!(bytes, "the source kept too much of its log; the replication slot was dropped");
        let note = FollowNote {
            state: Some((FollowState::Syncing, Some(message))),
            in_step: Some(false),
            kept_bytes: Some(0),
            given_up: Some(Some(connection.version)),
            ..FollowNote::default()
        };
        self.note(note).await?;
        // What was not taken in yet is no longer told.
        self.sync().await?;
        Ok(Next::Again)
    }

    /// While paused, the place stays, but only within its limit.
    async fn guard(&self, connection: &Connection) -> Result<Next, FollowError> {
        let mut note = FollowNote { state: Some((FollowState::Starting, None)), ..FollowNote::default() };
        // A login that was refused is not tried again by itself.
        if connection.auth != AuthState::Failed {
            let session = self.all.syncs.session(connection).await?;
            let kept = session.watch_place(&self.place).await.ok().flatten();
            note.kept_bytes = Some(kept.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(0));
        }
        self.note(note).await?;
        let until = Instant::now() + GUARD_EVERY;
        while Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.wanted().await?.is_none_or(|now| now.version != connection.version || now.auth != connection.auth) {
                break;
            }
        }
        Ok(Next::Again)
    }

    /// Where settings were replaced, the old ones are the only way to what was
    /// made with them.
    async fn move_away(&self, session: &dyn Session) {
        let removed = tokio::time::timeout(super::REMOVAL, session.end_following(&self.place)).await;
        if !matches!(removed, Ok(Ok(()))) {
            warn!(place = self.place.name(), "what following made with the former credentials could not be removed");
        }
    }
}

fn starting(message: &str) -> Option<(FollowState, Option<String>)> {
    Some((FollowState::Starting, Some(message.to_owned())))
}
