//! Collections.

use std::sync::Arc;

use prost_types::FieldMask;
use tonic::{Request, Response, Status};

use super::convert::connections::{paths, refuse_path};
use super::convert::timestamp;
use super::idempotency::{self, Claim};
use super::{admit, made};
use crate::collections::{Changes, Collections, View};
use crate::error::Error;
use crate::etag;
use crate::paging::Wanted;
use crate::proto::v1;
use crate::proto::v1::collection_service_server::CollectionService;
use crate::store::Store;

const OUTPUT_ONLY: &[&str] = &["id", "etag", "created_at", "updated_at", "source_connection_count", "item_count"];

/// Serves collections.
pub struct Service {
    collections: Arc<Collections>,
    store: Store,
}

impl Service {
    /// A service of these collections, with idempotency keys in the store.
    pub fn new(collections: Arc<Collections>, store: Store) -> Self {
        Self { collections, store }
    }
}

#[tonic::async_trait]
impl CollectionService for Service {
    async fn create_collection(
        &self,
        request: Request<v1::CreateCollectionRequest>,
    ) -> Result<Response<v1::CreateCollectionResponse>, Status> {
        let (caller, mut request) = admit(request).await?;
        caller.require_all_collections()?;
        let request_id = std::mem::take(&mut request.request_id);
        let payload = idempotency::payload(&request);
        let collections = self.collections.clone();
        let reply = |created: &View| v1::CreateCollectionResponse { collection: Some(collection(created.clone())) };
        let act = async move |claim: Option<Claim>| {
            let answer = claim.map(|claim| claim.answer(reply));
            Ok(reply(&collections.create(&request.name, request.description, answer).await?))
        };
        let once = idempotency::once(&self.store, &caller, "CreateCollection", &request_id, payload, act);
        made(once.await?)
    }

    async fn list_collections(
        &self,
        request: Request<v1::ListCollectionsRequest>,
    ) -> Result<Response<v1::ListCollectionsResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let wanted = Wanted { size: request.page_size, token: &request.page_token };
        let page = self.collections.list(&caller, wanted).await?;
        let collections = page.items.into_iter().map(collection).collect();
        Ok(Response::new(v1::ListCollectionsResponse { collections, next_page_token: page.next }))
    }

    async fn get_collection(
        &self,
        request: Request<v1::GetCollectionRequest>,
    ) -> Result<Response<v1::GetCollectionResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let found = self.collections.get(&caller, &request.id).await?;
        Ok(Response::new(v1::GetCollectionResponse { collection: Some(collection(found)) }))
    }

    async fn update_collection(
        &self,
        request: Request<v1::UpdateCollectionRequest>,
    ) -> Result<Response<v1::UpdateCollectionResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let given = request.collection.unwrap_or_default();
        let changes = changes(&given, request.update_mask.as_ref())?;
        let etag = Some(given.etag.as_str());
        let updated = self.collections.update(&caller, &given.id, changes, etag).await?;
        Ok(Response::new(v1::UpdateCollectionResponse { collection: Some(collection(updated)) }))
    }

    async fn delete_collection(
        &self,
        request: Request<v1::DeleteCollectionRequest>,
    ) -> Result<Response<v1::DeleteCollectionResponse>, Status> {
        let (caller, request) = admit(request).await?;
        self.collections.delete(&caller, &request.id, request.force, request.etag.as_deref()).await?;
        Ok(Response::new(v1::DeleteCollectionResponse {}))
    }

    async fn clear_collection_data(
        &self,
        request: Request<v1::ClearCollectionDataRequest>,
    ) -> Result<Response<v1::ClearCollectionDataResponse>, Status> {
        let (caller, request) = admit(request).await?;
        self.collections.clear(&caller, &request.id, &request.source_connection_id).await?;
        Ok(Response::new(v1::ClearCollectionDataResponse {}))
    }
}

fn changes(given: &v1::Collection, mask: Option<&FieldMask>) -> Result<Changes, Error> {
    let mut populated = Vec::new();
    if !given.name.is_empty() {
        populated.push("name");
    }
    if given.description.is_some() {
        populated.push("description");
    }
    let mut changes = Changes::default();
    for path in paths(mask, populated, &["name", "description"]) {
        match path.as_str() {
            "name" => changes.name = Some(given.name.clone()),
            "description" => changes.description = Some(given.description.clone()),
            other => refuse_path("collection", other, OUTPUT_ONLY, &[])?,
        }
    }
    Ok(changes)
}

fn collection(view: View) -> v1::Collection {
    let View { collection, connections, items } = view;
    v1::Collection {
        id: collection.id.to_string(),
        name: collection.name,
        description: collection.description,
        created_at: Some(timestamp(collection.created_at)),
        updated_at: Some(timestamp(collection.updated_at)),
        source_connection_count: i32::try_from(connections).unwrap_or(i32::MAX),
        item_count: i64::try_from(items).unwrap_or(i64::MAX),
        etag: etag::of(collection.version),
    }
}
