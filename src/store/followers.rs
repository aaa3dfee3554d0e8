//! Who follows which connection: one row a connection, taken under a lease whose
//! fence only grows, as a job is. Every write of a follower is conditional on it.

use std::collections::HashMap;
use std::time::Duration;

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, ConnectionTrait, DbBackend, EntityTrait as _, ExprTrait as _, QueryFilter as _};

use crate::ids::ConnectionId;
use crate::store::connections::{self, Connection, Lifecycle};
use crate::store::entities::{connection, follower};
use crate::store::fault::{damaged, fault};
use crate::store::queue::LeaseError;
use crate::store::{self, Store, StoreError, milliseconds, words};

/// Where following stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowState {
    /// It is being prepared, or tried again.
    Starting,
    /// Changes are told and taken in.
    Following,
    /// It is not possible; syncs bring the changes.
    Syncing,
}

/// A follower's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    /// The connection.
    pub connection: ConnectionId,
    /// Where it stands.
    pub state: FollowState,
    /// Words to it.
    pub message: Option<String>,
    /// The index has everything before `position`.
    pub in_step: bool,
    /// Config that this holds for.
    pub config_version: i64,
    /// Credentials that this holds for.
    pub credentials_version: i64,
    /// The connector's words for what was read.
    pub ground: Option<String>,
    /// The connector's words for how far.
    pub position: Option<String>,
    /// Bytes that the source keeps for it.
    pub kept_bytes: i64,
    /// Version of the connection at which following was given up.
    pub given_up_at_version: Option<i64>,
    /// When a sync of it last began.
    pub synced_at: Option<i64>,
}

/// The right to follow a connection, until it expires or is lost.
#[derive(Debug)]
pub struct FollowLease {
    connection: ConnectionId,
    fence: i64,
}

/// What a follower notes; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct FollowNote {
    /// Where it stands, and words to it.
    pub state: Option<(FollowState, Option<String>)>,
    /// The index is in step, or not.
    pub in_step: Option<bool>,
    /// Config and credentials that this holds for.
    pub versions: Option<(i64, i64)>,
    /// The connector's words for what was read.
    pub ground: Option<String>,
    /// The connector's words for how far.
    pub position: Option<String>,
    /// Bytes that the source keeps.
    pub kept_bytes: Option<i64>,
    /// Following is given up at this version, or no more.
    pub given_up: Option<Option<i64>>,
    /// A sync of it begins.
    pub syncs: bool,
}

impl FollowState {
    const ALL: [Self; 3] = [Self::Starting, Self::Following, Self::Syncing];

    fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Following => "following",
            Self::Syncing => "syncing",
        }
    }
}

impl Store {
    /// Active connections that are to be followed, paused ones too.
    pub async fn continuous_connections(&self) -> Result<Vec<Connection>, StoreError> {
        let rows = connection::Entity::find()
            .filter(connection::Column::ScheduleContinuous.eq(true))
            .filter(connection::Column::Lifecycle.eq(Lifecycle::Active.as_str()))
            .all(self.database())
            .await
            .map_err(fault)?;
        rows.into_iter().map(connections::rows::read).collect()
    }

    /// The followers of these connections.
    pub async fn followers(&self, ids: &[ConnectionId]) -> Result<HashMap<ConnectionId, Follower>, StoreError> {
        let rows = follower::Entity::find()
            .filter(follower::Column::ConnectionId.is_in(ids.iter().map(ConnectionId::as_str)))
            .all(self.database())
            .await
            .map_err(fault)?;
        rows.into_iter().map(|row| read(row).map(|found| (found.connection.clone(), found))).collect()
    }

    /// All followers.
    pub async fn all_followers(&self) -> Result<Vec<Follower>, StoreError> {
        let rows = follower::Entity::find().all(self.database()).await.map_err(fault)?;
        rows.into_iter().map(read).collect()
    }

    /// Takes a connection to follow it, unless somebody has it.
    pub async fn take_follower(
        &self,
        id: &ConnectionId,
        owner: &str,
        lease: Duration,
    ) -> Result<Option<FollowLease>, StoreError> {
        let transaction = self.transaction().await?;
        let Some(connection) = connections::locked(&transaction, id).await? else { return Ok(None) };
        let now = store::now(&transaction).await?;
        let row = follower::Entity::find_by_id(id.to_string()).one(&transaction).await.map_err(fault)?;
        let fence = match &row {
            Some(row) if row.owner.is_some() && row.lease_expires_at.is_some_and(|at| at > now) => return Ok(None),
            Some(row) => row.fence + 1,
            None => 1,
        };
        let taken = follower::ActiveModel {
            owner: Set(Some(owner.to_owned())),
            fence: Set(fence),
            lease_expires_at: Set(Some(now.saturating_add(milliseconds(lease)))),
            updated_at: Set(now),
            ..follower::ActiveModel::default()
        };
        if row.is_some() {
            let update = follower::Entity::update_many().set(taken);
            update.filter(follower::Column::ConnectionId.eq(id.as_str())).exec(&transaction).await.map_err(fault)?;
        } else {
            let new = follower::ActiveModel {
                connection_id: Set(id.to_string()),
                state: Set(FollowState::Starting.as_str().to_owned()),
                message: Set(None),
                in_step: Set(false),
                config_version: Set(connection.config_version),
                credentials_version: Set(connection.credentials_version),
                ground: Set(None),
                position: Set(None),
                kept_bytes: Set(0),
                given_up_at_version: Set(None),
                synced_at: Set(None),
                ..taken
            };
            follower::Entity::insert(new).exec_without_returning(&transaction).await.map_err(fault)?;
        }
        transaction.commit().await.map_err(fault)?;
        Ok(Some(FollowLease { connection: id.clone(), fence }))
    }

    /// Makes the lease last this long from now.
    pub async fn renew_follower(&self, held: &FollowLease, lease: Duration) -> Result<(), LeaseError> {
        let now = self.now().await?;
        let renewed = follower::ActiveModel {
            lease_expires_at: Set(Some(now.saturating_add(milliseconds(lease)))),
            ..follower::ActiveModel::default()
        };
        self.write_follower(held, renewed).await
    }

    /// Notes something, if the lease still stands.
    pub async fn note_follower(&self, held: &FollowLease, note: FollowNote) -> Result<(), LeaseError> {
        let FollowNote { state, in_step, versions, ground, position, kept_bytes, given_up, syncs } = note;
        let now = self.now().await?;
        let mut noted = follower::ActiveModel { updated_at: Set(now), ..follower::ActiveModel::default() };
        if let Some((state, message)) = state {
            noted.state = Set(state.as_str().to_owned());
            noted.message = Set(message);
        }
        if let Some(in_step) = in_step {
            noted.in_step = Set(in_step);
        }
        if let Some((config, credentials)) = versions {
            noted.config_version = Set(config);
            noted.credentials_version = Set(credentials);
        }
        if let Some(ground) = ground {
            noted.ground = Set(Some(ground));
        }
        if let Some(position) = position {
            noted.position = Set(Some(position));
        }
        if let Some(kept_bytes) = kept_bytes {
            noted.kept_bytes = Set(kept_bytes);
        }
        if let Some(given_up) = given_up {
            noted.given_up_at_version = Set(given_up);
        }
        if syncs {
            noted.synced_at = Set(Some(now));
        }
        self.write_follower(held, noted).await
    }

    /// Lets go of a connection.
    pub async fn release_follower(&self, held: FollowLease) -> Result<(), LeaseError> {
        let released =
            follower::ActiveModel { owner: Set(None), lease_expires_at: Set(None), ..follower::ActiveModel::default() };
        self.write_follower(&held, released).await
    }

    /// Takes a connection away from whoever follows it; true if there is a row.
    pub async fn break_follower(&self, id: &ConnectionId) -> Result<bool, StoreError> {
        let broken = follower::Entity::update_many()
            .col_expr(follower::Column::Fence, Expr::col(follower::Column::Fence).add(1))
            .col_expr(follower::Column::Owner, Expr::value(None::<String>))
            .filter(follower::Column::ConnectionId.eq(id.as_str()))
            .exec(self.database())
            .await
            .map_err(fault)?;
        Ok(broken.rows_affected == 1)
    }

    /// The index has lost documents that followers of these would not bring again.
    pub async fn put_out_of_step(&self, ids: &[ConnectionId]) -> Result<(), StoreError> {
        for id in ids {
            out_of_step(self.database(), id.as_str()).await?;
        }
        Ok(())
    }

    /// Forgets a follower, whose place at the source is gone.
    pub async fn forget_follower(&self, id: &ConnectionId) -> Result<(), StoreError> {
        follower::Entity::delete_by_id(id.to_string()).exec(self.database()).await.map_err(fault)?;
        Ok(())
    }

    /// Ends the leases of a run of this server before; see
    /// [`Store::expire_leases_of_previous_run`].
    pub(super) async fn expire_followers_of_previous_run(&self) -> Result<(), StoreError> {
        if self.database().get_database_backend() == DbBackend::Sqlite {
            let expired =
                follower::Entity::update_many().col_expr(follower::Column::Owner, Expr::value(None::<String>));
            expired.exec(self.database()).await.map_err(fault)?;
        }
        Ok(())
    }

    async fn write_follower(&self, held: &FollowLease, changed: follower::ActiveModel) -> Result<(), LeaseError> {
        let written = follower::Entity::update_many()
            .set(changed)
            .filter(follower::Column::ConnectionId.eq(held.connection.as_str()))
            .filter(follower::Column::Fence.eq(held.fence))
            .exec(self.database())
            .await
            .map_err(fault)?;
        if written.rows_affected == 1 { Ok(()) } else { Err(LeaseError::Lost) }
    }
}

/// The index is about to lose documents that a follower would not bring again.
pub(super) async fn out_of_step<C: ConnectionTrait>(database: &C, connection: &str) -> Result<(), StoreError> {
    follower::Entity::update_many()
        .col_expr(follower::Column::InStep, Expr::value(false))
        .filter(follower::Column::ConnectionId.eq(connection))
        .exec(database)
        .await
        .map_err(fault)?;
    Ok(())
}

fn read(row: follower::Model) -> Result<Follower, StoreError> {
    let follower::Model {
        connection_id,
        owner: _,
        fence: _,
        lease_expires_at: _,
        state,
        message,
        in_step,
        config_version,
        credentials_version,
        ground,
        position,
        kept_bytes,
        given_up_at_version,
        synced_at,
        updated_at: _,
    } = row;
    Ok(Follower {
        connection: connection_id.parse().map_err(damaged)?,
        state: words::read(&FollowState::ALL, FollowState::as_str, &state)?,
        message,
        in_step,
        config_version,
        credentials_version,
        ground,
        position,
        kept_bytes,
        given_up_at_version,
        synced_at,
    })
}
