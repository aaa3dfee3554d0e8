//! Calls to our own server, over TCP as anybody else would make them.

use std::net::SocketAddr;

use secrecy::{ExposeSecret, SecretString};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use crate::cli::failure::{Failure, Kind};
use crate::proto::v1;
use crate::proto::v1::collection_service_client::CollectionServiceClient;
use crate::proto::v1::search_service_client::SearchServiceClient;
use crate::proto::v1::source_connection_service_client::SourceConnectionServiceClient;
use crate::proto::v1::sync_service_client::SyncServiceClient;

/// Puts the key on each call.
#[derive(Clone)]
pub(super) struct Authorize(MetadataValue<Ascii>);

impl Interceptor for Authorize {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

type Service = InterceptedService<Channel, Authorize>;

/// The services that the demo uses.
#[derive(Clone)]
pub(super) struct Client {
    collections: CollectionServiceClient<Service>,
    connections: SourceConnectionServiceClient<Service>,
    syncs: SyncServiceClient<Service>,
    search: SearchServiceClient<Service>,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr, key: &SecretString) -> Result<Self, Failure> {
        let unreachable = |error: tonic::transport::Error| Failure::of(Kind::Unreachable, &error);
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(unreachable)?;
        let channel = endpoint.connect().await.map_err(unreachable)?;
        let mut value = MetadataValue::try_from(format!("Bearer {}", key.expose_secret()))
            .map_err(|_| Failure::usage("the admin key cannot travel in a header"))?;
        value.set_sensitive(true);
        let authorize = Authorize(value);
        Ok(Self {
            collections: CollectionServiceClient::with_interceptor(channel.clone(), authorize.clone()),
            connections: SourceConnectionServiceClient::with_interceptor(channel.clone(), authorize.clone()),
            syncs: SyncServiceClient::with_interceptor(channel.clone(), authorize.clone()),
            search: SearchServiceClient::with_interceptor(channel, authorize),
        })
    }

    pub(super) async fn collections(&mut self) -> Result<Vec<v1::Collection>, Failure> {
        let request = v1::ListCollectionsRequest { page_size: 1000, ..Default::default() };
        Ok(self.collections.list_collections(request).await.map_err(refused)?.into_inner().collections)
    }

    pub(super) async fn create_collection(&mut self, name: &str) -> Result<v1::Collection, Failure> {
        let request = v1::CreateCollectionRequest {
            name: name.to_owned(),
            description: Some("What `tributary demo` brings in".to_owned()),
            ..Default::default()
        };
        let reply = self.collections.create_collection(request).await.map_err(refused)?.into_inner();
        reply.collection.ok_or_else(empty)
    }

    pub(super) async fn connections(&mut self, collection: &str) -> Result<Vec<v1::SourceConnection>, Failure> {
        let request = v1::ListSourceConnectionsRequest { collection_id: collection.to_owned(), ..Default::default() };
        Ok(self.connections.list_source_connections(request).await.map_err(refused)?.into_inner().source_connections)
    }

    pub(super) async fn create_connection(
        &mut self,
        request: v1::CreateSourceConnectionRequest,
    ) -> Result<v1::SourceConnection, Failure> {
        let reply = self.connections.create_source_connection(request).await.map_err(refused)?.into_inner();
        reply.source_connection.ok_or_else(empty)
    }

    /// Starts a sync and follows it to its end.
    pub(super) async fn run(&mut self, connection: &str) -> Result<Streaming<v1::WatchSyncResponse>, Failure> {
        let request = v1::RunSourceConnectionRequest { id: connection.to_owned(), ..Default::default() };
        let started = self.connections.run_source_connection(request).await.map_err(refused)?.into_inner();
        let request = v1::WatchSyncRequest { id: started.sync_id, ..Default::default() };
        Ok(self.syncs.watch_sync(request).await.map_err(refused)?.into_inner())
    }

    pub(super) async fn search(&mut self, collection: &str, query: &str) -> Result<Vec<v1::SearchResult>, Failure> {
        let request = v1::SearchRequest {
            collection_id: collection.to_owned(),
            query: query.to_owned(),
            page_size: 3,
            ..Default::default()
        };
        Ok(self.search.search(request).await.map_err(refused)?.into_inner().results)
    }
}

pub(super) fn refused(status: Status) -> Failure {
    Failure::new(Kind::Failed, format!("the server answered {:?}: {}", status.code(), status.message()))
}

pub(super) fn empty() -> Failure {
    Failure::new(Kind::Failed, "the server's answer lacks what was asked for")
}
