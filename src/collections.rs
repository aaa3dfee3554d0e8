//! Collections: what connections fill and searches read.

use std::collections::HashMap;
use std::sync::Arc;

use crate::access::Caller;
use crate::connections::Connections;
use crate::error::{Error, Reason};
use crate::etag;
use crate::failpoint;
use crate::ids::{CollectionId, ConnectionId, InvalidId};
use crate::index::Index;
use crate::keys::Keys;
use crate::paging::{Page, Pages, Wanted};
use crate::search::index_error;
use crate::store::collections::{Collection, CollectionPatch, CreateError, DeleteError, NewCollection, UpdateError};
use crate::store::connections::{Connection, Order};
use crate::store::idempotency::Answer;
use crate::store::{Store, Visible};
use crate::syncs::{Syncs, busy};

const LIST: &str = "collections";
/// Connections read at once while a collection is cleared or removed.
const BATCH: u64 = 500;

/// A collection as callers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The stored facts.
    pub collection: Collection,
    /// Connections that fill it.
    pub connections: u64,
    /// Records in the index.
    pub items: u64,
}

impl View {
    fn of_new(collection: Collection) -> Self {
        Self { collection, connections: 0, items: 0 }
    }
}

/// What a caller changes; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// New name.
    pub name: Option<String>,
    /// New description, or none.
    pub description: Option<Option<String>>,
}

/// The collections of this deployment.
pub struct Collections {
    store: Store,
    index: Arc<dyn Index>,
    syncs: Syncs,
    connections: Arc<Connections>,
    keys: Arc<Keys>,
    pages: Pages,
}

impl Collections {
    /// Collections in the store, with their documents in the index.
    pub fn new(
        store: Store,
        index: Arc<dyn Index>,
        syncs: Syncs,
        connections: Arc<Connections>,
        keys: Arc<Keys>,
        pages: Pages,
    ) -> Self {
        Self { store, index, syncs, connections, keys, pages }
    }

    /// Makes a collection. Whoever does has checked with
    /// [`Caller::require_all_collections`]. The answer to an idempotency key is
    /// stored together with the collection.
    pub async fn create(
        &self,
        name: &str,
        description: Option<String>,
        answer: Option<Answer<View>>,
    ) -> Result<View, Error> {
        self.syncs.disk().require_room()?;
        let answer = answer.map(|answer| -> Answer<Collection> {
            Box::new(move |collection| answer(&View::of_new(collection.clone())))
        });
        let new = NewCollection { id: CollectionId::mint(), name: required_name("name", name)?, description };
        let collection = self.store.insert_collection_answering(&new, answer).await.map_err(|error| match error {
            CreateError::NameTaken => name_taken(),
            CreateError::NoCollection => Error::internal(error),
            CreateError::Store(error) => error.into(),
        })?;
        Ok(View::of_new(collection))
    }

    /// One collection.
    pub async fn get(&self, caller: &Caller, id: &str) -> Result<View, Error> {
        let collection = self.find(caller, id).await?;
        self.view(collection).await
    }

    /// Collections that the caller may see, newest first.
    pub async fn list(&self, caller: &Caller, wanted: Wanted<'_>) -> Result<Page<View>, Error> {
        let after: Option<(i64, String)> = self.pages.open(LIST, &[], wanted.token)?;
        let after = after.map(|(at, id)| Ok::<_, Error>((at, id.parse().map_err(Error::internal)?))).transpose()?;
        let size = wanted.size(50, 1000);
        let fetched = self.store.collections(&Visible::from(caller), after, size as u64 + 1).await?;
        let Page { items, next } = self
            .pages
            .cut(LIST, &[], fetched, size, |collection| (collection.created_at, collection.id.to_string()))?;
        Ok(Page { items: self.views(items).await?, next })
    }

    /// Changes name or description.
    pub async fn update(
        &self,
        caller: &Caller,
        id: &str,
        changes: Changes,
        given_etag: Option<&str>,
    ) -> Result<View, Error> {
        let collection = self.find(caller, id).await?;
        let Changes { name, description } = changes;
        let patch = CollectionPatch {
            name: name.map(|name| required_name("collection.name", &name)).transpose()?,
            description: description.map(|description| description.filter(|text| !text.is_empty())),
        };
        let expected = etag::expected(given_etag, collection.version)?;
        let updated = self.store.update_collection(&collection.id, expected, patch).await;
        self.view(updated.map_err(|error| update_error(&collection.id, error))?).await
    }

    /// Removes a collection with its data; with `force`, its connections too.
    pub async fn delete(&self, caller: &Caller, id: &str, force: bool, given_etag: Option<&str>) -> Result<(), Error> {
        let collection = self.find(caller, id).await?;
        let expected = etag::expected(given_etag, collection.version)?;
        let connections = self.connections_of(&collection.id).await?;
        if !connections.is_empty() && !force {
            return Err(not_empty(&collection.id));
        }
        self.refuse_while_busy(&connections).await?;
        for connection in &connections {
            // Their documents go with the index itself, below.
            self.connections.remove(connection, None, false).await?;
        }
        failpoint::reach("collection.connections_gone");
        self.index.condemn(&collection.id).await.map_err(index_error)?;
        let deleted = self.store.delete_collection(&collection.id, expected).await;
        deleted.map_err(|error| delete_error(&collection.id, error))?;
        failpoint::reach("collection.row_gone");
        self.keys.forget();
        self.index.drop_collection(&collection.id).await.map_err(index_error)?;
        failpoint::reach("collection.index_gone");
        Ok(())
    }

    /// Clears all documents of a collection, or those that one (perhaps removed)
    /// connection brought.
    pub async fn clear(&self, caller: &Caller, id: &str, connection: &str) -> Result<(), Error> {
        let only = (!connection.is_empty()).then(|| connection.parse::<ConnectionId>()).transpose();
        let only = only
            .map_err(|error: InvalidId| Error::invalid("source_connection_id", "INVALID_VALUE", error.to_string()))?;
        let collection = self.find(caller, id).await?;
        match only {
            Some(connection) => self.clear_connection(&collection.id, &connection).await,
            None => {
                let connections = self.connections_of(&collection.id).await?;
                let ids: Vec<ConnectionId> = connections.into_iter().map(|connection| connection.id).collect();
                self.syncs.clear_collection(&collection.id, &ids).await
            }
        }
    }

    async fn clear_connection(&self, collection: &CollectionId, id: &ConnectionId) -> Result<(), Error> {
        match self.store.connection(id).await? {
            Some(connection) if connection.collection == *collection => self.syncs.clear(id).await,
            Some(_) => Err(Error::not_found("source_connection", id.as_str())),
            // Removed without its data: nobody writes for it any more.
            None => self.index.clear(collection, id).await.map(drop).map_err(index_error),
        }
    }

    async fn find(&self, caller: &Caller, id: &str) -> Result<Collection, Error> {
        let unknown = || Error::not_found("collection", id);
        let parsed: CollectionId = id.parse().map_err(|_| unknown())?;
        let collection = self.store.collection(&parsed).await?.ok_or_else(unknown)?;
        caller.may(&collection.id)?;
        Ok(collection)
    }

    async fn view(&self, collection: Collection) -> Result<View, Error> {
        let mut views = self.views(vec![collection]).await?;
        views.pop().ok_or_else(|| Error::internal("a view for each collection"))
    }

    async fn views(&self, collections: Vec<Collection>) -> Result<Vec<View>, Error> {
        let ids: Vec<CollectionId> = collections.iter().map(|collection| collection.id.clone()).collect();
        let counts: HashMap<CollectionId, u64> = self.store.connection_counts(&ids).await?;
        let mut views = Vec::with_capacity(collections.len());
        for collection in collections {
            let items = self.index.count(&collection.id, None).await.map_err(index_error)?;
            let connections = counts.get(&collection.id).copied().unwrap_or_default();
            views.push(View { collection, connections, items });
        }
        Ok(views)
    }

    async fn connections_of(&self, id: &CollectionId) -> Result<Vec<Connection>, Error> {
        let mut found: Vec<Connection> = Vec::new();
        loop {
            let after = found.last().map(|last| (Order::CreatedAsc.sort_value(last), last.id.clone()));
            let fetched = self.store.connections(&Visible::All, Some(id), Order::CreatedAsc, after, BATCH).await?;
            let exhausted = (fetched.len() as u64) < BATCH;
            found.extend(fetched);
            if exhausted {
                return Ok(found);
            }
        }
    }

    /// Nothing is removed when one of them cannot be.
    async fn refuse_while_busy(&self, connections: &[Connection]) -> Result<(), Error> {
        let ids: Vec<ConnectionId> = connections.iter().map(|connection| connection.id.clone()).collect();
        match self.store.active_jobs(&ids).await?.into_values().next() {
            Some(job) => Err(busy(&job.connection, &job.id, job.kind)),
            None => Ok(()),
        }
    }
}

fn required_name(field: &str, name: &str) -> Result<String, Error> {
    match name.trim() {
        "" => Err(Error::invalid(field, "REQUIRED", "must not be blank")),
        name => Ok(name.to_owned()),
    }
}

fn name_taken() -> Error {
    Error::new(Reason::AlreadyExists, "a collection has this name already").with("resourceType", "collection")
}

fn not_empty(id: &CollectionId) -> Error {
    Error::new(Reason::CollectionNotEmpty, format!("collection `{id}` still has connections"))
        .with("collectionId", id.as_str())
}

fn update_error(id: &CollectionId, error: UpdateError) -> Error {
    match error {
        UpdateError::NotFound => Error::not_found("collection", id.as_str()),
        UpdateError::VersionMismatch => etag::mismatch(),
        UpdateError::NameTaken => name_taken(),
        UpdateError::Busy { .. } | UpdateError::Deleting => Error::internal(error),
        UpdateError::Store(error) => error.into(),
    }
}

fn delete_error(id: &CollectionId, error: DeleteError) -> Error {
    match error {
        DeleteError::NotFound => Error::not_found("collection", id.as_str()),
        DeleteError::VersionMismatch => etag::mismatch(),
        DeleteError::NotEmpty => not_empty(id),
        DeleteError::Store(error) => error.into(),
    }
}
