//! The standard health service, `grpc.health.v1`.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

use crate::proto::grpc::health::v1::health_check_response::ServingStatus;
use crate::proto::grpc::health::v1::health_server::{Health as HealthApi, HealthServer};
use crate::proto::grpc::health::v1::{HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse};

/// Says whether the server takes calls. Clones speak for the same server.
#[derive(Debug, Clone)]
pub struct Health {
    serving: Arc<watch::Sender<bool>>,
}

/// The service that tells it to callers; for a tonic router.
pub type HealthService = HealthServer<Service>;

impl Health {
    /// A server that does not take calls yet, with these services. The empty
    /// name, the whole server, need not be among them.
    pub fn new(service_names: Vec<String>) -> (Self, HealthService) {
        let (sender, serving) = watch::channel(false);
        let known = service_names.into_iter().chain([String::new()]).collect();
        (Self { serving: Arc::new(sender) }, HealthServer::new(Service { serving, known }))
    }

    /// Takes calls from now on, or no longer.
    pub fn set_serving(&self, serving: bool) {
        self.serving.send_if_modified(|current| std::mem::replace(current, serving) != serving);
    }
}

/// The service behind [`Health`].
#[derive(Debug)]
pub struct Service {
    serving: watch::Receiver<bool>,
    known: HashSet<String>,
}

#[tonic::async_trait]
impl HealthApi for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if self.known.contains(&request.get_ref().service) {
            Ok(Response::new(answer(status(*self.serving.borrow()))))
        } else {
            Err(Status::not_found("no such service"))
        }
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        let now = answer(status(*self.serving.borrow()));
        let statuses: HashMap<_, _> = self.known.iter().map(|service| (service.clone(), now)).collect();
        Ok(Response::new(HealthListResponse { statuses }))
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        if self.known.contains(&request.get_ref().service) {
            let changes = WatchStream::new(self.serving.clone()).map(|serving| Ok(answer(status(serving))));
            return Ok(Response::new(Box::pin(changes)));
        }
        // The stream stays open: a client need not ask again and again.
        let unknown = futures::stream::iter([Ok(answer(ServingStatus::ServiceUnknown))]);
        Ok(Response::new(Box::pin(unknown.chain(futures::stream::pending()))))
    }
}

fn status(serving: bool) -> ServingStatus {
    if serving { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn started() -> (Health, Service) {
        let (sender, serving) = watch::channel(false);
        let known = HashSet::from([String::new(), "tributary.v1.SyncService".to_owned()]);
        (Health { serving: Arc::new(sender) }, Service { serving, known })
    }

    fn about(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: service.to_owned() })
    }

    #[tokio::test]
    async fn check_knows_the_whole_server_and_each_service() {
        let (health, service) = started();
        let not_yet = service.check(about("")).await.unwrap().into_inner();
        assert_eq!(not_yet.status(), ServingStatus::NotServing);
        health.set_serving(true);
        let serving = service.check(about("tributary.v1.SyncService")).await.unwrap().into_inner();
        assert_eq!(serving.status(), ServingStatus::Serving);
        assert_eq!(service.check(about("else")).await.unwrap_err().code(), tonic::Code::NotFound);
    }

    #[tokio::test]
    async fn list_names_every_service_and_the_whole() {
        let (health, service) = started();
        health.set_serving(true);
        let listed = service.list(Request::new(HealthListRequest {})).await.unwrap().into_inner().statuses;
        assert_eq!(listed.len(), 2);
        assert!(listed.values().all(|answer| answer.status() == ServingStatus::Serving));
    }

    #[tokio::test]
    async fn watch_tells_the_state_and_then_only_changes() {
        let (health, service) = started();
        let mut stream = service.watch(about("")).await.unwrap().into_inner();
        assert_eq!(stream.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        health.set_serving(false);
        assert!(stream.next().now_or_never().is_none());
        health.set_serving(true);
        assert_eq!(stream.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    }

    #[tokio::test]
    async fn watching_an_unknown_service_stays_open() {
        let (health, service) = started();
        let mut stream = service.watch(about("else")).await.unwrap().into_inner();
        assert_eq!(stream.next().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
        health.set_serving(true);
        assert!(stream.next().now_or_never().is_none());
    }
}
