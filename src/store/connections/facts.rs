//! What is kept of a connection.

use serde_json::{Map, Value};

use crate::ids::{CollectionId, ConnectionId, SyncId};

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
