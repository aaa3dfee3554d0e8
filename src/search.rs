//! Searching and listing what is indexed, within the caller's collections.

use std::sync::Arc;

use crate::access::Caller;
use crate::error::{Error, Reason};
use crate::filter::{self, FieldKind, Filter};
use crate::ids::{CollectionId, ConnectionId, InvalidId};
use crate::index::{Hit, Index, IndexError, Item, Listing, Query};
use crate::paging::{Page, Pages, Wanted};
use crate::store::Store;

const SEARCH: &str = "search";
const ITEMS: &str = "items";
/// Pages go this many results deep.
const DEEPEST: usize = 1000;
const FIELDS: &[(&str, FieldKind)] = &[
    ("source_short_name", FieldKind::Text),
    ("source_connection_id", FieldKind::Text),
    ("object", FieldKind::Text),
    ("type", FieldKind::Text),
    ("title", FieldKind::Text),
    ("url", FieldKind::Text),
    ("created_at", FieldKind::Timestamp),
    ("updated_at", FieldKind::Timestamp),
    ("metadata", FieldKind::Map),
];

/// Searches the collections.
pub struct Search {
    store: Store,
    index: Arc<dyn Index>,
    pages: Pages,
}

/// What a caller looks for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Collection to search.
    pub collection: &'a str,
    /// What to look for.
    pub query: &'a str,
    /// What a result must fulfil besides.
    pub filter: &'a str,
    /// Least score wanted.
    pub min_score: Option<f64>,
    /// Which page.
    pub page: Wanted<'a>,
}

impl Search {
    /// Searches this index.
    pub fn new(store: Store, index: Arc<dyn Index>, pages: Pages) -> Self {
        Self { store, index, pages }
    }

    /// Results, best first.
    pub async fn search(&self, caller: &Caller, request: Request<'_>) -> Result<Page<Hit>, Error> {
        if request.query.trim().is_empty() {
            return Err(Error::invalid("query", "REQUIRED", "must not be blank"));
        }
        let filter = parsed_filter(request.filter)?;
        let min_score = request.min_score.map(|score| score.to_bits().to_string()).unwrap_or_default();
        let arguments = [request.collection, request.query, request.filter, min_score.as_str()];
        let offset: usize = self.pages.open(SEARCH, &arguments, request.page.token)?.unwrap_or_default();
        let collection = self.collection(caller, request.collection).await?;
        let limit = request.page.size(10, 100).min(DEEPEST.saturating_sub(offset));
        let query = Query { text: request.query.to_owned(), filter, offset, limit, min_score: request.min_score };
        let found = self.index.search(&collection, &query).await.map_err(index_error)?;
        let reached = offset + found.hits.len();
        let next = match found.more && reached < DEEPEST && !found.hits.is_empty() {
            true => Some(self.pages.seal(SEARCH, &arguments, &reached)?),
            false => None,
        };
        Ok(Page { items: found.hits, next })
    }

    /// Items in the order of their ids.
    pub async fn list(
        &self,
        caller: &Caller,
        collection: &str,
        connection: &str,
        kind: &str,
        wanted: Wanted<'_>,
    ) -> Result<Page<Item>, Error> {
        let arguments = [collection, connection, kind];
        let after: Option<String> = self.pages.open(ITEMS, &arguments, wanted.token)?;
        let only = (!connection.is_empty()).then(|| connection.parse::<ConnectionId>()).transpose();
        let only = only
            .map_err(|error: InvalidId| Error::invalid("source_connection_id", "INVALID_VALUE", error.to_string()))?;
        let collection = self.collection(caller, collection).await?;
        let size = wanted.size(50, 1000);
        let kind = Some(kind.to_owned()).filter(|kind| !kind.is_empty());
        let listing = Listing { connection: only, kind, after, limit: size + 1 };
        let items = self.index.list(&collection, &listing).await.map_err(index_error)?;
        self.pages.cut(ITEMS, &arguments, items, size, |item| item.id.clone())
    }

    /// One item, whole.
    pub async fn get(&self, caller: &Caller, collection: &str, id: &str) -> Result<Item, Error> {
        let collection = self.collection(caller, collection).await?;
        let item = self.index.get(&collection, id).await.map_err(index_error)?;
        item.ok_or_else(|| Error::not_found("item", id))
    }

    async fn collection(&self, caller: &Caller, text: &str) -> Result<CollectionId, Error> {
        let unknown = || Error::not_found("collection", text);
        let id: CollectionId = text.parse().map_err(|_| unknown())?;
        if self.store.collection(&id).await?.is_none() {
            return Err(unknown());
        }
        Ok(caller.may(&id)?.collection().clone())
    }
}

fn parsed_filter(text: &str) -> Result<Option<Filter>, Error> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let invalid = |error: filter::FilterError| Error::invalid("filter", "INVALID_VALUE", error.to_string());
    let parsed = filter::parse(text).map_err(invalid)?;
    parsed.check(FIELDS).map_err(invalid)?;
    Ok(Some(parsed))
}

/// What a caller is told of a failure of the index.
pub fn index_error(error: IndexError) -> Error {
    match error {
        IndexError::Query(message) => Error::invalid("query", "INVALID_VALUE", message),
        IndexError::PageToken => Error::invalid("page_token", "INVALID_VALUE", "is not a page token of this list"),
        IndexError::StorageFull(_) => {
            Error::new(Reason::StorageFull, "the disk of the server is full").caused_by(error)
        }
        IndexError::Damaged { .. } => {
            Error::new(Reason::Unavailable, "the index of this collection is being rebuilt").caused_by(error)
        }
        IndexError::Superseded | IndexError::Failed(_) => Error::internal(error),
    }
}
