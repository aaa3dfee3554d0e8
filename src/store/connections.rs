//! Source connections: facts, from which a status is computed elsewhere.

pub(super) mod rows;

use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, Condition, ConnectionTrait, DatabaseTransaction, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Value as Bound,
};
use serde_json::{Map, Value};

use crate::ids::{CollectionId, ConnectionId, SyncId};
use crate::store::collections::{CreateError, UpdateError};
use crate::store::entities::{connection, sealed_credential};
use crate::store::fault::{damaged, fault, is_orphan, refused};
use crate::store::idempotency::{self, Answer};
use crate::store::{self, Store, StoreError, Visible};

/// Whether a connection is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// It is there to stay.
    Active,
    /// It is being deleted.
    Deleting,
}

/// What is known of the credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthState {
    /// Not tried since they were given.
    Untested,
    /// The source took them.
    Ok,
    /// The source refused them.
    Failed,
}

/// How the last test or sync under the current versions ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There was none yet.
    None,
    /// Well.
    Succeeded,
    /// Not well.
    Failed,
}

/// Sealed credentials. Opaque here; has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Key-encryption key that wrapped the data key.
    pub key_id: String,
    /// The wrapped data key.
    pub wrapped_key: Vec<u8>,
    /// The credentials under the data key.
    pub ciphertext: Vec<u8>,
}

/// When a connection syncs by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Cron expression; none when continuous.
    pub cron: Option<String>,
    /// It follows its source.
    pub continuous: bool,
    /// IANA time zone of the expression.
    pub time_zone: String,
}

/// Deletions held back for a person to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionHold {
    /// Items that would go.
    pub items: i64,
    /// Items in the index.
    pub indexed_items: i64,
    /// Sync that found out.
    pub sync: SyncId,
    /// When; set by the store.
    pub created_at: i64,
}

/// A source connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    /// Identifier.
    pub id: ConnectionId,
    /// Collection that it fills.
    pub collection: CollectionId,
    /// Short name of the source.
    pub source: String,
    /// For people; need not be unique.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// How it logs in.
    pub auth_method: String,
    /// Settings of the connector.
    pub config: Map<String, Value>,
    /// Grows when the config is replaced.
    pub config_version: i64,
    /// Grows when the credentials are replaced.
    pub credentials_version: i64,
    /// When they last were given.
    pub credentials_updated_at: Option<i64>,
    /// Names of the credential fields that are set.
    pub credential_fields: Vec<String>,
    /// When it syncs by itself.
    pub schedule: Option<Schedule>,
    /// When it next does.
    pub next_run_at: Option<i64>,
    /// The schedule is suspended.
    pub paused: bool,
    /// Whether it is on its way out.
    pub lifecycle: Lifecycle,
    /// What is known of the credentials.
    pub auth: AuthState,
    /// How the last test or sync under the current versions ended.
    pub outcome: Outcome,
    /// Words to the outcome.
    pub status_message: Option<String>,
    /// Deletions held back.
    pub hold: Option<DeletionHold>,
    /// When it was made.
    pub created_at: i64,
    /// When a caller last changed it.
    pub updated_at: i64,
    /// Grows with changes by callers only.
    pub version: i64,
}

/// A connection to be made.
#[derive(Clone)]
pub struct NewConnection {
    /// Identifier, minted by the caller.
    pub id: ConnectionId,
    /// Collection that it fills.
    pub collection: CollectionId,
    /// Short name of the source.
    pub source: String,
    /// For people; need not be unique.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// How it logs in.
    pub auth_method: String,
    /// Settings of the connector.
    pub config: Map<String, Value>,
    /// Names of the credential fields that are set.
    pub credential_fields: Vec<String>,
    /// When it syncs by itself.
    pub schedule: Option<Schedule>,
    /// When it first does.
    pub next_run_at: Option<i64>,
    /// Starts paused.
    pub paused: bool,
    /// The credentials, sealed for credentials version 1.
    pub sealed: Sealed,
    /// What a test before saving found.
    pub auth: AuthState,
    /// How a test before saving ended.
    pub outcome: Outcome,
}

/// Changes that are allowed while a job is active; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct ConnectionPatch {
    /// New name.
    pub name: Option<String>,
    /// New description, or none.
    pub description: Option<Option<String>>,
    /// Suspends or resumes the schedule.
    pub paused: Option<bool>,
    /// New schedule and its next run, or none.
    pub schedule: Option<Option<(Schedule, Option<i64>)>>,
}

/// Order of a list of connections; the id breaks ties, in the same direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Newest first.
    CreatedDesc,
    /// Oldest first.
    CreatedAsc,
    /// By name.
    NameAsc,
    /// By name, backwards.
    NameDesc,
}

/// New credentials and the version that they are sealed against.
#[derive(Clone)]
pub struct NewCredentials {
    /// The credentials, sealed for `expected_credentials_version + 1`.
    pub sealed: Sealed,
    /// Names of the fields that are set.
    pub fields: Vec<String>,
    /// Version that the caller read; the call fails if it has moved.
    pub expected_credentials_version: i64,
}

/// Credentials as kept.
#[derive(Clone)]
pub struct SealedCredentials {
    /// The credentials.
    pub sealed: Sealed,
    /// Version that they are sealed for.
    pub credentials_version: i64,
    /// Collection that they are sealed for.
    pub collection: CollectionId,
}

/// A delete that stopped half way, to be taken up again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrandedDelete {
    /// The connection.
    pub connection: ConnectionId,
    /// Its documents are still to be removed.
    pub purge: bool,
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

impl Store {
    /// Makes a connection.
    pub async fn insert_connection(&self, new: &NewConnection) -> Result<Connection, CreateError> {
        self.insert_connection_answering(new, None).await
    }

    /// Makes a connection and keeps the answer to who asked for it, both or neither.
    pub async fn insert_connection_answering(
        &self,
        new: &NewConnection,
        answer: Option<Answer<Connection>>,
    ) -> Result<Connection, CreateError> {
        let transaction = self.transaction().await?;
        let now = store::now(&transaction).await?;
        let id = new.id.to_string();
        connection::Entity::insert(rows::new(new, now)).exec_without_returning(&transaction).await.map_err(
            |error| {
                if is_orphan(&error) { CreateError::NoCollection } else { CreateError::Store(fault(error)) }
            },
        )?;
        let sealed = rows::sealed(&id, &new.sealed);
        sealed_credential::Entity::insert(sealed).exec_without_returning(&transaction).await.map_err(fault)?;
        let row = connection::Entity::find_by_id(id).one(&transaction).await.map_err(fault)?;
        let connection = rows::read(row.ok_or_else(|| refused("a new row is not there"))?)?;
        if let Some(answer) = answer {
            idempotency::complete(&transaction, &answer(&connection)).await?;
        }
        transaction.commit().await.map_err(fault)?;
        Ok(connection)
    }

    /// One connection.
    pub async fn connection(&self, id: &ConnectionId) -> Result<Option<Connection>, StoreError> {
        let row = connection::Entity::find_by_id(id.to_string()).one(self.database()).await.map_err(fault)?;
        row.map(rows::read).transpose()
    }

    /// Connections in the given order, after the one with this
    /// [sort value](Order::sort_value) and id.
    pub async fn connections(
        &self,
        visible: &Visible,
        collection: Option<&CollectionId>,
        order: Order,
        after: Option<(String, ConnectionId)>,
        limit: u64,
    ) -> Result<Vec<Connection>, StoreError> {
        let mut query = connection::Entity::find();
        if let Visible::Only(ids) = visible {
            query = query.filter(connection::Column::CollectionId.is_in(ids.iter().map(CollectionId::as_str)));
        }
        if let Some(collection) = collection {
            query = query.filter(connection::Column::CollectionId.eq(collection.as_str()));
        }
        if let Some((value, id)) = after {
            query = query.filter(order.beyond(value, &id)?);
        }
        let (column, direction) = order.column();
        let rows = query
            .order_by(column, direction.clone())
            .order_by(connection::Column::Id, direction)
            .limit(limit)
            .all(self.database())
            .await
            .map_err(fault)?;
        rows.into_iter().map(rows::read).collect()
    }

    /// Changes what may change while a job is active.
    pub async fn update_connection(
        &self,
        id: &ConnectionId,
        expected_version: Option<i64>,
        patch: ConnectionPatch,
    ) -> Result<Connection, UpdateError> {
        let ConnectionPatch { name, description, paused, schedule } = patch;
        let transaction = self.transaction().await?;
        let row = editable(&transaction, id, expected_version).await?;
        let mut changed = edited(&transaction, &row).await?;
        if let Some(name) = name {
            changed.name = Set(name);
        }
        if let Some(description) = description {
            changed.description = Set(description);
        }
        if let Some(paused) = paused {
            changed.paused = Set(paused);
        }
        if let Some(schedule) = schedule {
            let (schedule, next_run_at) = schedule.unzip();
            rows::set_schedule(&mut changed, schedule.as_ref());
            changed.next_run_at = Set(next_run_at.flatten());
        }
        saved(transaction, changed).await
    }

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

    /// Active connections that are due, not paused, and whose login was not refused.
    pub async fn due_connections(&self, limit: u64) -> Result<Vec<Connection>, StoreError> {
        let now = self.now().await?;
        let rows = connection::Entity::find()
            .filter(connection::Column::NextRunAt.lte(now))
            .filter(connection::Column::Lifecycle.eq(Lifecycle::Active.as_str()))
            .filter(connection::Column::Paused.eq(false))
            .filter(connection::Column::Auth.ne(AuthState::Failed.as_str()))
            .order_by_asc(connection::Column::NextRunAt)
            .order_by_asc(connection::Column::Id)
            .limit(limit)
            .all(self.database())
            .await
            .map_err(fault)?;
        rows.into_iter().map(rows::read).collect()
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

/// How a test or sync ended.
pub(super) struct Ended<'a> {
    /// What it says of the credentials, if anything.
    pub(super) auth: Option<AuthState>,
    pub(super) outcome: Outcome,
    pub(super) message: Option<&'a str>,
}

/// Notes how a test or sync ended, if both versions are still current.
pub(super) async fn note<C: ConnectionTrait>(
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

/// The row, which nobody else can change until the transaction ends, if the
/// caller may still edit it.
pub(super) async fn editable(
    transaction: &DatabaseTransaction,
    id: &ConnectionId,
    expected_version: Option<i64>,
) -> Result<connection::Model, UpdateError> {
    let row = locked(transaction, id).await?.ok_or(UpdateError::NotFound)?;
    if expected_version.is_some_and(|expected| expected != row.version) {
        return Err(UpdateError::VersionMismatch);
    }
    Ok(row)
}

/// The row, which nobody else can change until the transaction ends. Whoever
/// enqueues a job locks it first, so an edit and a run never both win.
pub(super) async fn locked(
    transaction: &DatabaseTransaction,
    id: &ConnectionId,
) -> Result<Option<connection::Model>, StoreError> {
    connection::Entity::find_by_id(id.to_string()).lock_exclusive().one(transaction).await.map_err(fault)
}

/// The beginning of a caller's edit.
pub(super) async fn edited(
    transaction: &DatabaseTransaction,
    row: &connection::Model,
) -> Result<connection::ActiveModel, StoreError> {
    let now = store::now(transaction).await?;
    Ok(connection::ActiveModel {
        id: Unchanged(row.id.clone()),
        updated_at: Set(now),
        version: Set(row.version + 1),
        ..Default::default()
    })
}

/// The end of a caller's edit.
pub(super) async fn saved(
    transaction: DatabaseTransaction,
    changed: connection::ActiveModel,
) -> Result<Connection, UpdateError> {
    let row = changed.update(&transaction).await.map_err(fault)?;
    transaction.commit().await.map_err(fault)?;
    Ok(rows::read(row)?)
}

impl Order {
    /// Where a connection stands in this order; the first half of a keyset.
    pub fn sort_value(self, connection: &Connection) -> String {
        match self {
            Self::CreatedDesc | Self::CreatedAsc => connection.created_at.to_string(),
            Self::NameAsc | Self::NameDesc => connection.name.clone(),
        }
    }

    fn column(self) -> (connection::Column, sea_orm::Order) {
        match self {
            Self::CreatedDesc => (connection::Column::CreatedAt, sea_orm::Order::Desc),
            Self::CreatedAsc => (connection::Column::CreatedAt, sea_orm::Order::Asc),
            Self::NameAsc => (connection::Column::Name, sea_orm::Order::Asc),
            Self::NameDesc => (connection::Column::Name, sea_orm::Order::Desc),
        }
    }

    /// What comes after this value and id.
    fn beyond(self, value: String, id: &ConnectionId) -> Result<Condition, StoreError> {
        let value = match self {
            Self::CreatedDesc | Self::CreatedAsc => Bound::from(value.parse::<i64>().map_err(damaged)?),
            Self::NameAsc | Self::NameDesc => Bound::from(value),
        };
        let id = id.as_str();
        let (column, direction) = self.column();
        let (further, further_id) = match direction {
            sea_orm::Order::Desc => (column.lt(value.clone()), connection::Column::Id.lt(id)),
            _ => (column.gt(value.clone()), connection::Column::Id.gt(id)),
        };
        Ok(Condition::any().add(further).add(Condition::all().add(column.eq(value)).add(further_id)))
    }
}
