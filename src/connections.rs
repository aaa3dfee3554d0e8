//! Source connections: created, read, changed, tested and removed. Syncs are
//! started here and carried out in [`syncs`](crate::syncs).

mod change;
mod create;
mod documents;
mod list;
mod schedule;
mod status;
mod trial;

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::access::Caller;
use crate::catalog::{Catalog, Source};
use crate::error::{Error, Reason};
use crate::etag;
use crate::ids::{CollectionId, ConnectionId, SyncId};
use crate::paging::Pages;
use crate::secrets::{Binding, CREDENTIALS, Vault};
use crate::store::Store;
use crate::store::collections::UpdateError;
use crate::store::connections::{Connection, Sealed};
use crate::store::idempotency::Completion;
use crate::store::syncs::{JobKind, Sync, Trigger};
use crate::syncs::plan::Plan;
use crate::syncs::{Syncs, busy};

pub use change::Changes;
pub use create::{Admitted, Draft};
pub use documents::{Pushing, Replace};
pub use list::Listing;
pub use status::{Facts, Status};
pub use trial::{Discovered, Tested};

/// A connection as callers see it.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The stored facts.
    pub connection: Connection,
    /// Where it stands.
    pub status: Status,
    /// Sync that is on its way.
    pub current_sync: Option<SyncId>,
    /// Sync that ended last.
    pub last_sync: Option<Sync>,
    /// How following goes, where it was asked for.
    pub following: Option<String>,
}

impl View {
    /// Nothing has been done with it yet.
    fn of_new(connection: Connection) -> Self {
        let status = Facts::of(&connection, None).status();
        Self { connection, status, current_sync: None, last_sync: None, following: None }
    }
}

/// The connections of this deployment.
pub struct Connections {
    store: Store,
    catalog: Arc<Catalog>,
    vault: Arc<Vault>,
    syncs: Syncs,
    pages: Pages,
}

impl Connections {
    /// Connections in the store.
    pub fn new(store: Store, catalog: Arc<Catalog>, vault: Arc<Vault>, syncs: Syncs, pages: Pages) -> Self {
        Self { store, catalog, vault, syncs, pages }
    }

    /// One connection.
    pub async fn get(&self, caller: &Caller, id: &str) -> Result<View, Error> {
        let connection = self.find(caller, id).await?;
        self.view(connection).await
    }

    /// Starts a sync with this id. The caller has [found](Connections::find) the
    /// connection before it looked at an idempotency key; what that completes is
    /// stored together with the sync.
    pub async fn run(
        &self,
        connection: &Connection,
        full: bool,
        id: SyncId,
        completes: Option<Completion>,
    ) -> Result<SyncId, Error> {
        self.require_readable(connection)?;
        self.syncs.run(&connection.id, Trigger::Manual, full, false, id, completes).await
    }

    /// Removes the indexed documents; the connection stays.
    pub async fn clear(&self, caller: &Caller, id: &str) -> Result<(), Error> {
        let connection = self.find(caller, id).await?;
        self.syncs.clear(&connection.id).await
    }

    /// Removes a connection and, if asked, its documents.
    pub async fn delete(
        &self,
        caller: &Caller,
        id: &str,
        delete_data: bool,
        given_etag: Option<&str>,
    ) -> Result<(), Error> {
        let connection = self.find(caller, id).await?;
        let expected = etag::expected(given_etag, connection.version)?;
        self.remove(&connection, expected, delete_data).await
    }

    /// Removes a connection; with its documents, within 30 s or in the background.
    pub async fn remove(&self, connection: &Connection, expected: Option<i64>, purge: bool) -> Result<(), Error> {
        let purge = purge.then(SyncId::mint);
        let begun = self.store.begin_delete(&connection.id, expected, purge.as_ref()).await;
        begun.map_err(|error| update_error(&connection.id, error))?;
        match purge {
            Some(job) => self.syncs.wait_for_end(&job).await,
            None => self.syncs.finish_delete(&connection.id).await,
        }
    }

    /// What a sync would do.
    pub async fn plan(&self, caller: &Caller, id: &str) -> Result<Plan, Error> {
        let connection = self.find(caller, id).await?;
        self.require_readable(&connection)?;
        self.syncs.plan(&connection).await
    }

    /// Starts the sync that carries out the deletions held back.
    pub async fn release_deletions(&self, caller: &Caller, id: &str) -> Result<SyncId, Error> {
        let connection = self.find(caller, id).await?;
        held(&connection)?;
        self.syncs.run(&connection.id, Trigger::Manual, false, true, SyncId::mint(), None).await
    }

    /// Takes the hold off and keeps the documents.
    pub async fn discard_deletions(&self, caller: &Caller, id: &str) -> Result<View, Error> {
        let connection = self.find(caller, id).await?;
        held(&connection)?;
        self.store.lift_hold(&connection.id).await?;
        self.get(caller, id).await
    }

    /// The connection, if it exists and the caller's key is for its collection.
    /// A malformed id is one that does not exist.
    pub async fn find(&self, caller: &Caller, id: &str) -> Result<Connection, Error> {
        let unknown = || Error::not_found("source_connection", id);
        let parsed: ConnectionId = id.parse().map_err(|_| unknown())?;
        let connection = self.store.connection(&parsed).await?.ok_or_else(unknown)?;
        caller.may(&connection.collection)?;
        Ok(connection)
    }

    /// The connection with its status.
    pub async fn view(&self, connection: Connection) -> Result<View, Error> {
        let mut views = self.views(vec![connection]).await?;
        views.pop().ok_or_else(|| Error::internal("a view for each connection"))
    }

    async fn views(&self, connections: Vec<Connection>) -> Result<Vec<View>, Error> {
        let ids: Vec<ConnectionId> = connections.iter().map(|connection| connection.id.clone()).collect();
        let mut active = self.store.active_jobs(&ids).await?;
        let mut last = self.store.last_sync(&ids).await?;
        let mut followers = self.store.followers(&ids).await?;
        let view = |connection: Connection| {
            let job = active.remove(&connection.id);
            let status = Facts::of(&connection, job.as_ref().map(|job| job.kind)).status();
            let current_sync = job.filter(|job| job.kind == JobKind::Sync).map(|job| job.id);
            let last_sync = last.remove(&connection.id);
            let following = followers.remove(&connection.id).and_then(|follower| follower.message);
            View { connection, status, current_sync, last_sync, following }
        };
        Ok(connections.into_iter().map(view).collect())
    }

    fn source(&self, connection: &Connection) -> Result<&Source, Error> {
        // A build without the connector of a stored connection is our fault.
        self.catalog.get(&connection.source).map_err(Error::internal)
    }

    async fn seal(
        &self,
        collection: &CollectionId,
        connection: &ConnectionId,
        credentials_version: i64,
        credentials: &Map<String, Value>,
    ) -> Result<Sealed, Error> {
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(credentials).map_err(Error::internal)?);
        let binding = Binding { purpose: CREDENTIALS, collection, connection, credentials_version };
        let sealed = self.vault.seal(&binding, &plain).await?;
        let crate::secrets::Sealed { key_id, wrapped_key, ciphertext } = sealed;
        Ok(Sealed { key_id, wrapped_key, ciphertext })
    }
}

fn held(connection: &Connection) -> Result<(), Error> {
    match connection.hold {
        Some(_) => Ok(()),
        None => Err(Error::new(
            Reason::NoDeletionHold,
            format!("source_connection `{}` holds back no deletions", connection.id),
        )
        .with("sourceConnectionId", connection.id.as_str())),
    }
}

fn update_error(id: &ConnectionId, error: UpdateError) -> Error {
    match error {
        UpdateError::NotFound => Error::not_found("source_connection", id.as_str()),
        UpdateError::VersionMismatch => etag::mismatch(),
        UpdateError::NameTaken => name_taken(),
        UpdateError::Busy { job, operation } => busy(id, &job, operation),
        UpdateError::Deleting => {
            Error::new(Reason::SyncInProgress, "this connection is being deleted").with("operation", "delete")
        }
        UpdateError::Store(error) => error.into(),
    }
}

fn name_taken() -> Error {
    Error::new(Reason::AlreadyExists, "a connection of this collection has this name already")
        .with("resourceType", "source_connection")
}
