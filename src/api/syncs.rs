//! Syncs: listed, followed, cancelled.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::admit;
use super::convert::syncs::{event, state, sync, sync_error};
use crate::error::Error;
use crate::history::{History, Listing};
use crate::paging::Wanted;
use crate::proto::v1;
use crate::proto::v1::sync_service_server::SyncService;
use crate::store::syncs::State;
use crate::syncs::Syncs;

/// Serves syncs.
pub struct Service {
    history: Arc<History>,
    syncs: Syncs,
    stop: CancellationToken,
}

impl Service {
    /// A service of these syncs; its streams end with `stop`.
    pub fn new(history: Arc<History>, syncs: Syncs, stop: CancellationToken) -> Self {
        Self { history, syncs, stop }
    }
}

#[tonic::async_trait]
impl SyncService for Service {
    async fn list_syncs(
        &self,
        request: Request<v1::ListSyncsRequest>,
    ) -> Result<Response<v1::ListSyncsResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let states = states(&request.statuses)?;
        let listing = Listing {
            connection: &request.source_connection_id,
            states: &states,
            page: Wanted { size: request.page_size, token: &request.page_token },
        };
        let page = self.history.list(&caller, listing).await?;
        let syncs = page.items.iter().map(sync).collect();
        Ok(Response::new(v1::ListSyncsResponse { syncs, next_page_token: page.next }))
    }

    async fn get_sync(&self, request: Request<v1::GetSyncRequest>) -> Result<Response<v1::GetSyncResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let found = self.history.get(&caller, &request.id).await?;
        Ok(Response::new(v1::GetSyncResponse { sync: Some(sync(&found)) }))
    }

    async fn cancel_sync(
        &self,
        request: Request<v1::CancelSyncRequest>,
    ) -> Result<Response<v1::CancelSyncResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let found = self.history.get(&caller, &request.id).await?;
        let cancelled = self.syncs.cancel(&found.id).await?;
        Ok(Response::new(v1::CancelSyncResponse { sync: Some(sync(&cancelled)) }))
    }

    async fn list_sync_errors(
        &self,
        request: Request<v1::ListSyncErrorsRequest>,
    ) -> Result<Response<v1::ListSyncErrorsResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let wanted = Wanted { size: request.page_size, token: &request.page_token };
        let page = self.history.errors(&caller, &request.id, wanted).await?;
        let errors = page.items.into_iter().map(sync_error).collect();
        Ok(Response::new(v1::ListSyncErrorsResponse { errors, next_page_token: page.next }))
    }

    type WatchSyncStream = Pin<Box<dyn Stream<Item = Result<v1::WatchSyncResponse, Status>> + Send>>;

    async fn watch_sync(
        &self,
        request: Request<v1::WatchSyncRequest>,
    ) -> Result<Response<Self::WatchSyncStream>, Status> {
        let (caller, request) = admit(request).await?;
        let found = self.history.get(&caller, &request.id).await?;
        let events = self.syncs.watch(found.id, request.after_sequence, self.stop.clone());
        let replies = events.map(|happened| match happened {
            Ok(happened) => Ok(event(happened, now())),
            Err(error) => Err(Status::from(error)),
        });
        Ok(Response::new(Box::pin(replies)))
    }
}

fn states(numbers: &[i32]) -> Result<Vec<State>, Error> {
    let known = |number: &i32| {
        state(*number).ok_or_else(|| Error::invalid("statuses", "INVALID_VALUE", "names a status that does not exist"))
    };
    numbers.iter().map(known).collect()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
