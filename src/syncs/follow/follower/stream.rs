//! The stream of one follower: takes changes in until it ends or something else
//! comes first, be it a job, an edit, or a sync that is due.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tokio::task::JoinSet;
use tracing::{Instrument, info};

use super::{FollowError, Follower, LOOK_EVERY, Next};
use crate::connectors::ConnectorError;
use crate::connectors::erased::Session;
use crate::connectors::following::{FollowEnd, FollowRequest, Followed, Prepared, Reached, Telling};
use crate::error::Error;
use crate::store::connections::{AuthState, Connection};
use crate::store::followers::{FollowNote, FollowState};
use crate::syncs::follow::intake::Intake;
use crate::syncs::worker::target_of;

/// What the source keeps is noted when it differs by so much.
const WORTH_NOTING: i64 = 1 << 20;

impl Follower {
    /// Takes changes in until the stream ends or something else comes first.
    pub(super) async fn follow(
        &self,
        connection: &Connection,
        session: &Arc<dyn Session>,
        prepared: Prepared,
    ) -> Result<Next, FollowError> {
        let (store, index) = (&self.all.engine.store, &self.all.engine.index);
        let target = target_of(connection);
        // A sync that begins after the look supersedes this; one that began
        // before makes it fail.
        let before = index.epoch(&target).await?;
        if store.active_job(&self.id).await?.is_some() {
            return Ok(Next::Wait(LOOK_EVERY));
        }
        let epoch = index.begin_after(&target, before).await?;
        let salt = self.all.syncs.sessions().salt(connection)?;
        let mut intake =
            Intake { index: index.clone(), session: session.clone(), target, epoch, salt, uncommitted: false };
        let row = store.followers(std::slice::from_ref(&self.id)).await?.remove(&self.id).ok_or(FollowError::Lost)?;
        let pace = self.all.pace;
        let every = if prepared.not_followed > 0 { pace.refresh } else { pace.reconcile };
        let mut due = Instant::now() + every.saturating_sub(self.since_sync(&row).await?);
        let mut untold_until = None;
        let message = match prepared.not_followed {
            0 => "changes are followed as they are committed".to_owned(),
            others => format!(
                "changes are followed as they are committed, but for {others} objects that syncs bring every few minutes"
            ),
        };
        let note = FollowNote {
            state: Some((FollowState::Following, Some(message))),
            given_up: Some(None),
            ..FollowNote::default()
        };
        self.note(note).await?;
        info!(not_followed = prepared.not_followed, "following");
        let (telling, mut told) = Telling::channel();
        let mut reader = JoinSet::new();
        let Prepared { ground, position, .. } = prepared;
        let request = FollowRequest { place: self.place.clone(), ground, position };
        let source = session.clone();
        reader.spawn(async move { source.follow(request, telling).await }.in_current_span());
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut kept_bytes = row.kept_bytes;
        let mut has_deleted = false;
        loop {
            tokio::select! {
                biased;
                _ = look.tick() => {
                    let now = self.wanted().await?;
                    // What was held may be what the source has said by now.
                    if std::mem::take(&mut has_deleted) && now.as_ref().is_some_and(|now| now.hold.is_some()) {
                        due = due.min(Instant::now() + pace.refresh.saturating_sub(self.since_sync(&row).await?));
                    }
                    let is_due = Instant::now() >= due;
                    if is_due {
                        self.note(FollowNote { in_step: Some(false), ..FollowNote::default() }).await?;
                    }
                    let is_writer = index.epoch(&intake.target).await? == epoch;
                    if is_due || !is_writer || !self.is_as_before(connection, now).await? {
                        reader.shutdown().await;
                        return Ok(Next::Again);
                    }
                }
                message = told.recv() => match message {
                    Some(Followed::Changed(changed)) => {
                        has_deleted |= changed.emptied || !changed.gone.is_empty();
                        intake.take_in(changed).await?;
                    }
                    Some(Followed::Reached(reached)) => {
                        if reached.needs_sync && untold_until.is_none() {
                            let since = self.since_sync(&row).await?;
                            let until = Instant::now() + pace.untold.saturating_sub(since);
                            untold_until = Some(until);
                            due = due.min(until);
                        }
                        self.reached(&mut intake, reached).await?;
                    }
                    Some(Followed::Kept(bytes)) => {
                        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
                        if (bytes - kept_bytes).abs() >= WORTH_NOTING {
                            kept_bytes = bytes;
                            self.note(FollowNote { kept_bytes: Some(bytes), ..FollowNote::default() }).await?;
                        }
                    }
                    None => return self.ended(connection, &mut reader).await,
                }
            }
        }
    }

    async fn ended(
        &self,
        connection: &Connection,
        reader: &mut JoinSet<Result<FollowEnd, ConnectorError>>,
    ) -> Result<Next, FollowError> {
        match reader.join_next().await {
            Some(Ok(Ok(FollowEnd::TooMuchKept(bytes)))) => self.give_up(connection, bytes).await,
            Some(Ok(Ok(FollowEnd::OutOfStep(reason)))) => {
                info!(reason, "following begins again");
                self.note(FollowNote { in_step: Some(false), ..FollowNote::default() }).await?;
                Ok(Next::Again)
            }
            Some(Ok(Err(error))) => Err(error.into()),
            Some(Err(panicked)) => Err(Error::internal(panicked).into()),
            None => Err(Error::internal("the follower's reader was lost").into()),
        }
    }

    /// No job, and the same settings.
    async fn is_as_before(&self, connection: &Connection, now: Option<Connection>) -> Result<bool, FollowError> {
        let Some(now) = now else { return Ok(false) };
        let is_same = now.config_version == connection.config_version
            && now.credentials_version == connection.credentials_version
            && !now.paused
            && now.auth != AuthState::Failed;
        Ok(is_same && self.all.engine.store.active_job(&self.id).await?.is_none())
    }

    /// Index, then our note, then the source's.
    async fn reached(&self, intake: &mut Intake, reached: Reached) -> Result<(), FollowError> {
        let Reached { needs_sync, position, committed_at, kept } = reached;
        let has_changes = intake.commit().await?;
        let in_step = needs_sync.then_some(false);
        self.note(FollowNote { position: Some(position), in_step, ..FollowNote::default() }).await?;
        if let (Some(at), true) = (committed_at, has_changes) {
            let delay = SystemTime::now().duration_since(at).unwrap_or_default();
            metrics::histogram!("tributary_follow_delay_seconds").record(delay.as_secs_f64());
        }
        // A stream that has ended meanwhile tells it again.
        let _ = kept.send(());
        Ok(())
    }
}
