//! Source connections: facts, from which a status is computed elsewhere.

use serde_json::{Map, Value};

use crate::ids::{CollectionId, ConnectionId, SyncId};
use crate::store::collections::{CreateError, UpdateError};
use crate::store::{Store, StoreError, Visible};

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
    /// Unique within the collection.
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
    /// Unique within the collection.
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

impl Order {
    /// Where a connection stands in this order; the first half of a keyset.
    pub fn sort_value(self, connection: &Connection) -> String {
        match self {
            Self::CreatedDesc | Self::CreatedAsc => connection.created_at.to_string(),
            Self::NameAsc | Self::NameDesc => connection.name.clone(),
        }
    }
}

impl Store {
    /// Makes a connection.
    pub async fn insert_connection(&self, _new: &NewConnection) -> Result<Connection, CreateError> {
        unreachable!()
    }

    /// One connection.
    pub async fn connection(&self, _id: &ConnectionId) -> Result<Option<Connection>, StoreError> {
        unreachable!()
    }

    /// Connections in the given order, after the one with this
    /// [sort value](Order::sort_value) and id.
    pub async fn connections(
        &self,
        _visible: &Visible,
        _collection: Option<&CollectionId>,
        _order: Order,
        _after: Option<(String, ConnectionId)>,
        _limit: u64,
    ) -> Result<Vec<Connection>, StoreError> {
        unreachable!()
    }

    /// The credentials of a connection.
    pub async fn sealed_credentials(&self, _id: &ConnectionId) -> Result<Option<SealedCredentials>, StoreError> {
        unreachable!()
    }

    /// Puts the same credentials, wrapped anew, in the place of the old; false
    /// if they have been replaced meanwhile. For the rotation of keys.
    pub async fn rewrap_credentials(
        &self,
        _id: &ConnectionId,
        _credentials_version: i64,
        _sealed: &Sealed,
    ) -> Result<bool, StoreError> {
        unreachable!()
    }

    /// Changes what may change while a job is active.
    pub async fn update_connection(
        &self,
        _id: &ConnectionId,
        _expected_version: Option<i64>,
        _patch: ConnectionPatch,
    ) -> Result<Connection, UpdateError> {
        unreachable!()
    }

    /// Replaces the credentials, unless a job is active.
    pub async fn replace_credentials(
        &self,
        _id: &ConnectionId,
        _expected_version: Option<i64>,
        _credentials: NewCredentials,
    ) -> Result<Connection, UpdateError> {
        unreachable!()
    }

    /// Replaces the config, and the credentials with it if given, unless a job
    /// is active.
    pub async fn replace_config(
        &self,
        _id: &ConnectionId,
        _expected_version: Option<i64>,
        _config: Map<String, Value>,
        _credentials: Option<NewCredentials>,
    ) -> Result<Connection, UpdateError> {
        unreachable!()
    }

    /// Notes how a test or sync ended; false, and nothing noted, unless both
    /// versions are still current.
    pub async fn note_outcome(
        &self,
        _id: &ConnectionId,
        _config_version: i64,
        _credentials_version: i64,
        _auth: AuthState,
        _outcome: Outcome,
        _message: Option<&str>,
    ) -> Result<bool, StoreError> {
        unreachable!()
    }

    /// Sets or lifts the deletion hold.
    pub async fn set_hold(&self, _id: &ConnectionId, _hold: Option<&DeletionHold>) -> Result<(), StoreError> {
        unreachable!()
    }

    /// Marks a connection as being deleted, unless a job is active; with
    /// `purge`, enqueues the job of that id that removes its documents, in the
    /// same transaction.
    pub async fn begin_delete(
        &self,
        _id: &ConnectionId,
        _expected_version: Option<i64>,
        _purge: Option<&SyncId>,
    ) -> Result<Connection, UpdateError> {
        unreachable!()
    }

    /// Removes the row with its sealed key and its jobs; only when it is being
    /// deleted.
    pub async fn finish_delete(&self, _id: &ConnectionId) -> Result<(), StoreError> {
        unreachable!()
    }

    /// Connections that are being deleted without an active job.
    pub async fn stranded_deletes(&self) -> Result<Vec<StrandedDelete>, StoreError> {
        unreachable!()
    }

    /// Active connections that are due, not paused, and whose login was not refused.
    pub async fn due_connections(&self, _limit: u64) -> Result<Vec<Connection>, StoreError> {
        unreachable!()
    }

    /// Moves the next run; false if somebody else has moved it already.
    pub async fn set_next_run(
        &self,
        _id: &ConnectionId,
        _expected: Option<i64>,
        _next: Option<i64>,
    ) -> Result<bool, StoreError> {
        unreachable!()
    }
}
