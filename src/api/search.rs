//! Searches and items.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{admit, convert};
use crate::index::Hit;
use crate::paging::Wanted;
use crate::proto::v1;
use crate::proto::v1::search_service_server::SearchService;
use crate::search::{self, Search};

/// Serves searches.
pub struct Service {
    search: Arc<Search>,
}

impl Service {
    /// A service of these searches.
    pub fn new(search: Arc<Search>) -> Self {
        Self { search }
    }
}

#[tonic::async_trait]
impl SearchService for Service {
    async fn search(&self, request: Request<v1::SearchRequest>) -> Result<Response<v1::SearchResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let wanted = search::Request {
            collection: &request.collection_id,
            query: &request.query,
            filter: &request.filter,
            min_score: request.min_score,
            page: Wanted { size: request.page_size, token: &request.page_token },
        };
        let page = self.search.search(&caller, wanted).await?;
        let results = page.items.into_iter().map(result).collect();
        Ok(Response::new(v1::SearchResponse { results, next_page_token: page.next }))
    }

    async fn list_items(
        &self,
        request: Request<v1::ListItemsRequest>,
    ) -> Result<Response<v1::ListItemsResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let v1::ListItemsRequest { collection_id, source_connection_id, r#type, page_size, page_token } = &request;
        let wanted = Wanted { size: *page_size, token: page_token };
        let page = self.search.list(&caller, collection_id, source_connection_id, r#type, wanted).await?;
        let items = page.items.into_iter().map(convert::item).collect();
        Ok(Response::new(v1::ListItemsResponse { items, next_page_token: page.next }))
    }

    async fn get_item(&self, request: Request<v1::GetItemRequest>) -> Result<Response<v1::GetItemResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let item = self.search.get(&caller, &request.collection_id, &request.id).await?;
        Ok(Response::new(v1::GetItemResponse { item: Some(convert::item(item)) }))
    }
}

fn result(hit: Hit) -> v1::SearchResult {
    let Hit { item, score, snippets } = hit;
    v1::SearchResult { item: Some(convert::item(item)), score, snippets }
}
