//! What is noted on a connection: how a test or sync ended, what is held, when it
//! runs next.

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _};

use super::{AuthState, DeletionHold, Outcome};
use crate::ids::ConnectionId;
use crate::store::entities::connection;
use crate::store::fault::fault;
use crate::store::{Store, StoreError};

/// How a test or sync ended.
pub(in crate::store) struct Ended<'a> {
    /// What it says of the credentials, if anything.
    pub(in crate::store) auth: Option<AuthState>,
    pub(in crate::store) outcome: Outcome,
    pub(in crate::store) message: Option<&'a str>,
}

/// Notes how a test or sync ended, if both versions are still current.
pub(in crate::store) async fn note<C: ConnectionTrait>(
    database: &C,
    id: &ConnectionId,
    config_version: i64,
    credentials_version: i64,
    ended: Ended<'_>,
) -> Result<bool, StoreError> {
    let Ended { auth, outcome, message } = ended;
    let mut noted = connection::Entity::update_many()
        .col_expr(connection::Column::Outcome, Expr::value(outcome.as_str()))
        .col_expr(connection::Column::StatusMessage, Expr::value(message.map(str::to_owned)));
    if let Some(auth) = auth {
        noted = noted.col_expr(connection::Column::Auth, Expr::value(auth.as_str()));
    }
    let noted = noted
        .filter(connection::Column::Id.eq(id.as_str()))
        .filter(connection::Column::ConfigVersion.eq(config_version))
        .filter(connection::Column::CredentialsVersion.eq(credentials_version))
        .exec(database)
        .await
        .map_err(fault)?;
    Ok(noted.rows_affected == 1)
}

impl Store {
    /// Notes how a test or sync ended; false, and nothing noted, unless both
    /// versions are still current.
    pub async fn note_outcome(
        &self,
        id: &ConnectionId,
        config_version: i64,
        credentials_version: i64,
        auth: AuthState,
        outcome: Outcome,
        message: Option<&str>,
    ) -> Result<bool, StoreError> {
        let ended = Ended { auth: Some(auth), outcome, message };
        note(self.database(), id, config_version, credentials_version, ended).await
    }

    /// Lifts the deletion hold.
    pub async fn lift_hold(&self, id: &ConnectionId) -> Result<(), StoreError> {
        put_hold(self.database(), id, None, 0).await
    }

    /// Moves the next run; false if somebody else has moved it already.
    pub async fn set_next_run(
        &self,
        id: &ConnectionId,
        expected: Option<i64>,
        next: Option<i64>,
    ) -> Result<bool, StoreError> {
        let as_expected = match expected {
            Some(time) => connection::Column::NextRunAt.eq(time),
            None => connection::Column::NextRunAt.is_null(),
        };
        let moved = connection::Entity::update_many()
            .col_expr(connection::Column::NextRunAt, Expr::value(next))
            .filter(connection::Column::Id.eq(id.as_str()))
            .filter(as_expected)
            .exec(self.database())
            .await
            .map_err(fault)?;
        Ok(moved.rows_affected == 1)
    }
}

/// Sets or lifts the deletion hold.
pub(in crate::store) async fn put_hold<C: ConnectionTrait>(
    database: &C,
    id: &ConnectionId,
    hold: Option<&DeletionHold>,
    now: i64,
) -> Result<(), StoreError> {
    connection::Entity::update_many()
        .col_expr(connection::Column::HoldItems, Expr::value(hold.map(|hold| hold.items)))
        .col_expr(connection::Column::HoldIndexedItems, Expr::value(hold.map(|hold| hold.indexed_items)))
        .col_expr(connection::Column::HoldSyncId, Expr::value(hold.map(|hold| hold.sync.to_string())))
        .col_expr(connection::Column::HoldCreatedAt, Expr::value(hold.map(|_| now)))
        .filter(connection::Column::Id.eq(id.as_str()))
        .exec(database)
        .await
        .map_err(fault)?;
    Ok(())
}
