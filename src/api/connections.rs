//! Source connections.

use std::sync::Arc;

use serde_json::Map;
use tonic::{Request, Response, Status};

use super::convert::connections::{changes, connection, schedule, source_object, tested, wanted_auth_method};
use super::convert::plan::planned;
use super::convert::{object, report};
use super::idempotency::{self, Begin, Claim};
use super::{admit, made};
use crate::connections::{Changes, Connections, Draft, Listing, View};
use crate::error::Error;
use crate::ids::{InvalidId, SyncId};
use crate::paging::Wanted;
use crate::proto::v1;
use crate::proto::v1::source_connection_service_server::SourceConnectionService;
use crate::store::Store;

/// Serves connections.
pub struct Service {
    connections: Arc<Connections>,
    store: Store,
}

impl Service {
    /// A service of these connections, with idempotency keys in the store.
    pub fn new(connections: Arc<Connections>, store: Store) -> Self {
        Self { connections, store }
    }

    /// The sync is stored together with the answer to its key: a crash in between
    /// would otherwise start it twice.
    async fn start(
        &self,
        caller: &crate::access::Caller,
        mut request: v1::RunSourceConnectionRequest,
    ) -> Result<v1::RunSourceConnectionResponse, Error> {
        let found = self.connections.find(caller, &request.id).await?;
        let request_id = std::mem::take(&mut request.request_id);
        let payload = idempotency::payload(&request);
        let claim = match idempotency::begin(&self.store, caller, "RunSourceConnection", &request_id, payload).await? {
            Begin::Replay(reply) => return Ok(reply),
            Begin::Act(claim) => claim,
        };
        let id = SyncId::mint();
        let reply = v1::RunSourceConnectionResponse {
            sync_id: id.to_string(),
            status: v1::run_source_connection_response::Status::Started.into(),
        };
        let completes = claim.as_ref().map(|claim| claim.completion(&reply));
        match (self.connections.run(&found, request.full, id, completes).await, claim) {
            (Ok(_), _) => Ok(reply),
            (Err(error), Some(claim)) => {
                claim.abandon().await;
                Err(error)
            }
            (Err(error), None) => Err(error),
        }
    }
}

#[tonic::async_trait]
impl SourceConnectionService for Service {
    async fn create_source_connection(
        &self,
        request: Request<v1::CreateSourceConnectionRequest>,
    ) -> Result<Response<v1::CreateSourceConnectionResponse>, Status> {
        let (caller, mut request) = admit(request).await?;
        let request_id = std::mem::take(&mut request.request_id);
        let payload = idempotency::payload(&request);
        let validate_only = request.validate_only;
        let admitted = self.connections.admit(&caller, draft(request)?).await?;
        if validate_only {
            let tested = self.connections.try_out(admitted).await?;
            let report = Some(report(&tested.report));
            return Ok(Response::new(v1::CreateSourceConnectionResponse { source_connection: None, report }));
        }
        let connections = self.connections.clone();
        let reply = |created: &View| v1::CreateSourceConnectionResponse {
            source_connection: Some(connection(created)),
            report: None,
        };
        let act = async move |claim: Option<Claim>| {
            let answer = claim.map(|claim| claim.answer(reply));
            Ok(reply(&connections.create(admitted, answer).await?))
        };
        let once = idempotency::once(&self.store, &caller, "CreateSourceConnection", &request_id, payload, act);
        made(once.await?)
    }

    async fn list_source_connections(
        &self,
        request: Request<v1::ListSourceConnectionsRequest>,
    ) -> Result<Response<v1::ListSourceConnectionsResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let listing = Listing {
            collection: &request.collection_id,
            filter: &request.filter,
            order_by: &request.order_by,
            page: Wanted { size: request.page_size, token: &request.page_token },
        };
        let page = self.connections.list(&caller, listing).await?;
        let source_connections = page.items.iter().map(connection).collect();
        Ok(Response::new(v1::ListSourceConnectionsResponse { source_connections, next_page_token: page.next }))
    }

    async fn get_source_connection(
        &self,
        request: Request<v1::GetSourceConnectionRequest>,
    ) -> Result<Response<v1::GetSourceConnectionResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let found = self.connections.get(&caller, &request.id).await?;
        Ok(Response::new(v1::GetSourceConnectionResponse { source_connection: Some(connection(&found)) }))
    }

    async fn update_source_connection(
        &self,
        request: Request<v1::UpdateSourceConnectionRequest>,
    ) -> Result<Response<v1::UpdateSourceConnectionResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let given = request.source_connection.unwrap_or_default();
        let changes = changes(&given, request.update_mask.as_ref())?;
        let etag = Some(given.etag.as_str());
        let updated = self.connections.update(&caller, &given.id, changes, etag, "source_connection.schedule").await?;
        Ok(Response::new(v1::UpdateSourceConnectionResponse { source_connection: Some(connection(&updated)) }))
    }

    async fn test_source_connection(
        &self,
        request: Request<v1::TestSourceConnectionRequest>,
    ) -> Result<Response<v1::TestSourceConnectionResponse>, Status> {
        let (caller, request) = admit(request).await?;
        Ok(Response::new(tested(&self.connections.test(&caller, &request.id).await?)))
    }

    async fn run_source_connection(
        &self,
        request: Request<v1::RunSourceConnectionRequest>,
    ) -> Result<Response<v1::RunSourceConnectionResponse>, Status> {
        let (caller, request) = admit(request).await?;
        made(self.start(&caller, request).await?)
    }

    async fn update_source_connection_credentials(
        &self,
        request: Request<v1::UpdateSourceConnectionCredentialsRequest>,
    ) -> Result<Response<v1::UpdateSourceConnectionCredentialsResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let credentials = object("credentials", &request.credentials.unwrap_or_default())?;
        let etag = request.etag.as_deref();
        let updated = self.connections.replace_credentials(&caller, &request.id, &credentials, etag).await?;
        let source_connection = Some(connection(&updated));
        Ok(Response::new(v1::UpdateSourceConnectionCredentialsResponse { source_connection }))
    }

    async fn update_source_connection_config(
        &self,
        request: Request<v1::UpdateSourceConnectionConfigRequest>,
    ) -> Result<Response<v1::UpdateSourceConnectionConfigResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let config = object("config", &request.config.unwrap_or_default())?;
        let credentials = request.credentials.as_ref().map(|given| object("credentials", given)).transpose()?;
        let etag = request.etag.as_deref();
        let updated =
            self.connections.replace_config(&caller, &request.id, &config, credentials.as_ref(), etag).await?;
        let source_connection = Some(connection(&updated));
        Ok(Response::new(v1::UpdateSourceConnectionConfigResponse { source_connection }))
    }

    async fn delete_source_connection(
        &self,
        request: Request<v1::DeleteSourceConnectionRequest>,
    ) -> Result<Response<v1::DeleteSourceConnectionResponse>, Status> {
        let (caller, request) = admit(request).await?;
        self.connections.delete(&caller, &request.id, request.delete_data, request.etag.as_deref()).await?;
        Ok(Response::new(v1::DeleteSourceConnectionResponse {}))
    }

    async fn clear_source_connection_data(
        &self,
        request: Request<v1::ClearSourceConnectionDataRequest>,
    ) -> Result<Response<v1::ClearSourceConnectionDataResponse>, Status> {
        let (caller, request) = admit(request).await?;
        self.connections.clear(&caller, &request.id).await?;
        Ok(Response::new(v1::ClearSourceConnectionDataResponse {}))
    }

    async fn discover_source_connection(
        &self,
        request: Request<v1::DiscoverSourceConnectionRequest>,
    ) -> Result<Response<v1::DiscoverSourceConnectionResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let wanted = Wanted { size: request.page_size, token: &request.page_token };
        let page = self.connections.discover(&caller, &request.id, &request.parent, wanted).await?;
        let objects = page.items.into_iter().map(source_object).collect();
        Ok(Response::new(v1::DiscoverSourceConnectionResponse { objects, next_page_token: page.next }))
    }

    async fn plan_sync(&self, request: Request<v1::PlanSyncRequest>) -> Result<Response<v1::PlanSyncResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let plan = self.connections.plan(&caller, &request.id).await?;
        Ok(Response::new(planned(plan)))
    }

    async fn release_deletions(
        &self,
        request: Request<v1::ReleaseDeletionsRequest>,
    ) -> Result<Response<v1::ReleaseDeletionsResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let sync = self.connections.release_deletions(&caller, &request.id).await?;
        made(v1::ReleaseDeletionsResponse { sync_id: sync.to_string() })
    }

    async fn discard_deletions(
        &self,
        request: Request<v1::DiscardDeletionsRequest>,
    ) -> Result<Response<v1::DiscardDeletionsResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let view = self.connections.discard_deletions(&caller, &request.id).await?;
        Ok(Response::new(v1::DiscardDeletionsResponse { source_connection: Some(connection(&view)) }))
    }

    async fn pause_source_connection(
        &self,
        request: Request<v1::PauseSourceConnectionRequest>,
    ) -> Result<Response<v1::PauseSourceConnectionResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let changes = Changes { paused: Some(true), ..Changes::default() };
        let view = self.connections.update(&caller, &request.id, changes, None, "schedule").await?;
        Ok(Response::new(v1::PauseSourceConnectionResponse { source_connection: Some(connection(&view)) }))
    }

    async fn resume_source_connection(
        &self,
        request: Request<v1::ResumeSourceConnectionRequest>,
    ) -> Result<Response<v1::ResumeSourceConnectionResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let changes = Changes { paused: Some(false), ..Changes::default() };
        let view = self.connections.update(&caller, &request.id, changes, None, "schedule").await?;
        Ok(Response::new(v1::ResumeSourceConnectionResponse { source_connection: Some(connection(&view)) }))
    }

    async fn update_source_connection_schedule(
        &self,
        request: Request<v1::UpdateSourceConnectionScheduleRequest>,
    ) -> Result<Response<v1::UpdateSourceConnectionScheduleResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let changes = Changes { schedule: Some(request.schedule.map(schedule)), ..Changes::default() };
        let view = self.connections.update(&caller, &request.id, changes, None, "schedule").await?;
        let source_connection = Some(connection(&view));
        Ok(Response::new(v1::UpdateSourceConnectionScheduleResponse { source_connection }))
    }
}

fn draft(request: v1::CreateSourceConnectionRequest) -> Result<Draft, Error> {
    let v1::CreateSourceConnectionRequest {
        collection_id,
        source_short_name,
        name,
        credentials,
        config,
        schedule: given_schedule,
        auth_method,
        description,
        request_id: _,
        validate_only: _,
    } = request;
    let invalid = |error: InvalidId| Error::invalid("collection_id", "INVALID_VALUE", error.to_string());
    Ok(Draft {
        collection: collection_id.parse().map_err(invalid)?,
        source: source_short_name,
        name,
        description: description.filter(|text| !text.is_empty()),
        credentials: object("credentials", &credentials.unwrap_or_default())?,
        config: config.map_or(Ok(Map::new()), |config| object("config", &config))?,
        schedule: given_schedule.map(schedule),
        auth_method: wanted_auth_method(auth_method)?,
    })
}
