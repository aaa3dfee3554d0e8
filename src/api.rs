//! The services of the API: request -> domain -> reply, a handful of lines a
//! method; and what they share.

pub mod audit;
pub mod collections;
pub mod connections;
pub mod convert;
pub mod documents;
pub mod examples;
pub mod health;
pub mod idempotency;
pub mod keys;
pub mod search;
pub mod sources;
pub mod status;
pub mod syncs;
pub mod validate;

use std::sync::Arc;

use prost::{Message, Name};
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Extensions, Request, Response, Status};

use crate::access::Caller;
use crate::audit::{Audit, Recording};
use crate::auth::Gate;
use crate::catalog::Catalog;
use crate::error::{Error, Reason};
use crate::history::History;
use crate::paging::Pages;
use crate::proto::DESCRIPTORS;
use crate::proto::v1::api_key_service_server::ApiKeyServiceServer;
use crate::proto::v1::audit_service_server::AuditServiceServer;
use crate::proto::v1::collection_service_server::CollectionServiceServer;
use crate::proto::v1::document_service_server::DocumentServiceServer;
use crate::proto::v1::search_service_server::SearchServiceServer;
use crate::proto::v1::source_connection_service_server::SourceConnectionServiceServer;
use crate::proto::v1::source_service_server::SourceServiceServer;
use crate::proto::v1::sync_service_server::SyncServiceServer;
use crate::store::Store;

/// How large messages may be, in bytes; the gateway has the same limits.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Largest request.
    pub request: usize,
    /// Largest answer.
    pub answer: usize,
}

/// What the services work on.
pub struct Domain {
    /// Idempotency keys.
    pub store: Store,
    /// Sources.
    pub catalog: Arc<Catalog>,
    /// Connections.
    pub connections: Arc<crate::connections::Connections>,
    /// Collections.
    pub collections: Arc<crate::collections::Collections>,
    /// Searches.
    pub search: Arc<crate::search::Search>,
    /// Keys.
    pub keys: Arc<crate::keys::Keys>,
    /// Syncs as they are read.
    pub history: Arc<History>,
    /// Syncs as they are run.
    pub syncs: crate::syncs::Syncs,
    /// The audit log.
    pub audit: Arc<Audit>,
    /// Pages of lists.
    pub pages: Pages,
    /// Ends the streams when the server stops.
    pub stop: CancellationToken,
}

/// Full names of the services of this API, for the health service.
pub fn service_names() -> Vec<String> {
    let names = [
        SourceServiceServer::<sources::Service>::NAME,
        SourceConnectionServiceServer::<connections::Service>::NAME,
        DocumentServiceServer::<documents::Service>::NAME,
        SyncServiceServer::<syncs::Service>::NAME,
        CollectionServiceServer::<collections::Service>::NAME,
        SearchServiceServer::<search::Service>::NAME,
        ApiKeyServiceServer::<keys::Service>::NAME,
        AuditServiceServer::<audit::Service>::NAME,
    ];
    names.map(str::to_owned).to_vec()
}

macro_rules! limited {
    ($sizes:expr, $server:ident, $service:expr) => {
        $server::new($service)
            .max_decoding_message_size($sizes.request)
            .max_encoding_message_size($sizes.answer)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Gzip)
    };
}

/// Every service, health and reflection, behind the gate.
pub fn router(
    domain: Domain,
    health: health::HealthService,
    gate: Gate,
    sizes: Sizes,
) -> Result<Routes, tonic_reflection::server::Error> {
    let Domain { store, catalog, connections, collections, search, keys, history, syncs, audit, pages, stop } = domain;
    let mut routes = Routes::builder();
    routes
        .add_service(limited!(sizes, SourceServiceServer, sources::Service::new(catalog, pages)))
        .add_service(limited!(
            sizes,
            SourceConnectionServiceServer,
            connections::Service::new(connections.clone(), store.clone())
        ))
        .add_service(limited!(sizes, DocumentServiceServer, documents::Service::new(connections, store.clone())))
        .add_service(limited!(sizes, SyncServiceServer, syncs::Service::new(history, syncs, stop)))
        .add_service(limited!(sizes, CollectionServiceServer, collections::Service::new(collections, store)))
        .add_service(limited!(sizes, SearchServiceServer, search::Service::new(search)))
        .add_service(limited!(sizes, ApiKeyServiceServer, keys::Service::new(keys)))
        .add_service(limited!(sizes, AuditServiceServer, audit::Service::new(audit)))
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok(Routes::from(gate.guard(routes.routes().into_axum_router())))
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(DESCRIPTORS)
}

/// Whose the request is, and the request once the rules of its proto hold and the
/// audit log has it, where it may change something.
async fn admit<M: Message + Name>(request: Request<M>) -> Result<(Caller, M), Status> {
    let (_, extensions, message) = request.into_parts();
    let caller = caller_of(&extensions)?;
    admit_message(&extensions, &message).await?;
    Ok((caller, message))
}

/// Who calls. The gate has put it there; without the gate nobody comes in.
fn caller_of(extensions: &Extensions) -> Result<Caller, Error> {
    let caller = extensions.get::<Caller>().cloned();
    caller.ok_or_else(|| Error::new(Reason::Unauthorized, "invalid authentication"))
}

/// Checks the message of a call, or the first of its stream, against the rules of its
/// proto, and tells the audit log that it is about to be acted on.
async fn admit_message<M: Message + Name>(extensions: &Extensions, message: &M) -> Result<(), Error> {
    validate::validate(message)?;
    if let Some(recording) = extensions.get::<Arc<Recording>>() {
        recording.begin(audit::resources(message)?).await?;
    }
    Ok(())
}

/// An answer that tells the audit log what the call has made.
fn made<M: Message + Name>(reply: M) -> Result<Response<M>, Status> {
    let resources = audit::resources(&reply)?;
    let mut response = Response::new(reply);
    response.extensions_mut().insert(resources);
    Ok(response)
}

#[cfg(test)]
mod tests;
