//! The services as gRPC clients meet them, in process: a real store and index, no
//! network.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use prost_types::{FieldMask, Struct};
use secrecy::SecretString;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};
use tower::ServiceExt;

use super::convert::structure;
use super::{Domain, Sizes, health, router};
use crate::audit::Audit;
use crate::auth::allowances::{self, Allowances};
use crate::auth::{Authenticator, Gate};
use crate::catalog::Catalog;
use crate::collections::Collections;
use crate::connections::Connections;
use crate::connectors::{Registry, Resources, builtin};
use crate::egress::{Dialer, Policy, Timeouts};
use crate::history::History;
use crate::index::Index;
use crate::index::tantivy::TantivyIndex;
use crate::keys::Keys;
use crate::paging::Pages;
use crate::proto::google::rpc;
use crate::proto::v1;
use crate::proto::v1::api_key_service_client::ApiKeyServiceClient;
use crate::proto::v1::collection_service_client::CollectionServiceClient;
use crate::proto::v1::source_connection_service_client::SourceConnectionServiceClient;
use crate::proto::v1::source_service_client::SourceServiceClient;
use crate::search::Search;
use crate::secrets::Vault;
use crate::secrets::key_ring::KeyRing;
use crate::store::Store;
use crate::syncs::Syncs;
use crate::syncs::events::Events;
use crate::syncs::sessions::Sessions;

const ADMIN: &str = "an-admin-key-that-only-tests-use";

struct Service {
    folder: TempDir,
    router: axum::Router,
}

/// As much as anybody wants.
fn allowances() -> Arc<Allowances> {
    Arc::new(Allowances::new(allowances::Limits {
        calls_a_minute: 0,
        refused_a_minute: 0,
        calls_at_once: usize::MAX,
        streams_at_once: usize::MAX,
        call_time: std::time::Duration::from_secs(60),
    }))
}

impl Service {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("files")).expect("a folder for files");
        let store = Store::open(&format!("sqlite://{}/store.db", folder.path().display())).await.expect("a store");
        let index: Arc<dyn Index> = Arc::new(TantivyIndex::open(folder.path()).expect("an index"));
        let vault = Arc::new(Vault::new(KeyRing::generate().0));
        let pages = Pages::new(vault.page_tokens());
        let registry = Registry::new(builtin());
        let resources = Resources {
            dialer: Arc::new(Dialer::new(Policy::default(), Timeouts::default())),
            file_roots: vec![folder.path().join("files")].into(),
            parsers: Arc::default(),
        };
        let sessions = Sessions::new(store.clone(), vault.clone(), registry.clone(), resources);
        let disk = Arc::new(crate::disk::Disk::of(folder.path()));
        let syncs = Syncs::new(store.clone(), index.clone(), sessions, Events::default(), disk);
        let catalog = Arc::new(Catalog::new(&registry).expect("a catalogue"));
        let admin = SecretString::from(ADMIN);
        let keys = Arc::new(Keys::new(store.clone(), pages.clone(), Some(&admin)));
        let connections =
            Arc::new(Connections::new(store.clone(), catalog.clone(), vault, syncs.clone(), pages.clone()));
        let collections = Arc::new(Collections::new(
            store.clone(),
            index.clone(),
            syncs.clone(),
            connections.clone(),
            keys.clone(),
            pages.clone(),
        ));
        let audit = Arc::new(Audit::new(store.clone(), pages.clone(), Duration::from_secs(86_400)));
        let gate = Gate::new(Authenticator::new(keys.clone(), None), audit.clone(), allowances());
        let domain = Domain {
            catalog,
            connections,
            collections,
            search: Arc::new(Search::new(store.clone(), index, pages.clone())),
            keys,
            history: Arc::new(History::new(store.clone(), pages.clone())),
            syncs,
            audit,
            pages,
            stop: CancellationToken::new(),
            store,
        };
        let (_, health) = health::Health::new(super::service_names());
        let sizes = Sizes { request: 4 << 20, answer: 4 << 20 };
        let router = router(domain, health, gate, sizes).expect("a router").into_axum_router();
        Self { folder, router }
    }

    fn sources(&self) -> SourceServiceClient<axum::Router> {
        SourceServiceClient::new(self.router.clone())
    }

    fn collections(&self) -> CollectionServiceClient<axum::Router> {
        CollectionServiceClient::new(self.router.clone())
    }

    fn connections(&self) -> SourceConnectionServiceClient<axum::Router> {
        SourceConnectionServiceClient::new(self.router.clone())
    }

    fn keys(&self) -> ApiKeyServiceClient<axum::Router> {
        ApiKeyServiceClient::new(self.router.clone())
    }

    async fn collection(&self, name: &str) -> v1::Collection {
        let request = v1::CreateCollectionRequest { name: name.to_owned(), ..Default::default() };
        let created = self.collections().create_collection(admin(request)).await.expect("is made");
        created.into_inner().collection.expect("is there")
    }

    fn files(&self, collection: &v1::Collection, name: &str) -> v1::CreateSourceConnectionRequest {
        v1::CreateSourceConnectionRequest {
            collection_id: collection.id.clone(),
            source_short_name: "files".to_owned(),
            name: name.to_owned(),
            credentials: Some(Struct::default()),
            config: Some(object(json!({"path": self.folder.path().join("files").display().to_string()}))),
            ..Default::default()
        }
    }

    async fn connection(&self, collection: &v1::Collection, name: &str) -> v1::SourceConnection {
        let request = admin(self.files(collection, name));
        let created = self.connections().create_source_connection(request).await.expect("is made");
        created.into_inner().source_connection.expect("is there")
    }
}

fn object(value: Value) -> Struct {
    structure(value.as_object().expect("an object"))
}

fn with_key<M>(key: &str, message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().expect("is ASCII"));
    request
}

fn admin<M>(message: M) -> Request<M> {
    with_key(ADMIN, message)
}

fn reason(status: &Status) -> String {
    let details = rpc::Status::decode(status.details()).expect("details are a google.rpc.Status").details;
    rpc::ErrorInfo::decode(details[0].value.as_slice()).expect("the first is an ErrorInfo").reason
}

#[tokio::test]
async fn nothing_answers_without_a_key_and_all_causes_look_the_same() {
    let service = Service::start().await;
    let anonymous = service.sources().list_sources(v1::ListSourcesRequest::default()).await.expect_err("no key");
    let wrong = with_key("trb_wrong", v1::ListSourcesRequest::default());
    let wrong = service.sources().list_sources(wrong).await.expect_err("a wrong key");
    assert_eq!((anonymous.code(), anonymous.message()), (Code::Unauthenticated, "invalid authentication"));
    assert_eq!((wrong.code(), wrong.message()), (anonymous.code(), anonymous.message()));
    assert_eq!(reason(&wrong), "UNAUTHORIZED");
    let answer = service.sources().list_sources(admin(v1::ListSourcesRequest::default())).await.expect("a key");
    assert!(answer.metadata().get("x-request-id").is_some());
    let names: Vec<String> = answer.into_inner().sources.into_iter().map(|source| source.short_name).collect();
    assert!(names.contains(&"files".to_owned()) && names.is_sorted(), "{names:?}");
}

#[tokio::test]
async fn an_unknown_method_is_told_with_details_and_only_to_who_has_a_key() {
    let service = Service::start().await;
    for path in ["/tributary.v1.SourceService/Nothing", "/tributary.v1.NoService/Nothing"] {
        for (key, code, word) in
            [("trb_wrong", Code::Unauthenticated, "UNAUTHORIZED"), (ADMIN, Code::Unimplemented, "NOT_SUPPORTED")]
        {
            let call = http::Request::post(path)
                .header("content-type", "application/grpc")
                .header("authorization", format!("Bearer {key}"))
                .body(axum::body::Body::empty())
                .expect("is a request");
            let answer = service.router.clone().oneshot(call).await.expect("cannot fail");
            let status = Status::from_header_map(answer.headers()).expect("has a status");
            assert_eq!((status.code(), reason(&status).as_str()), (code, word), "{path}");
        }
    }
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_told_as_one() {
    let service = Service::start().await;
    let mut request = admin(v1::ListCollectionsRequest::default());
    request.set_timeout(std::time::Duration::ZERO);
    let late = service.collections().list_collections(request).await.expect_err("is too late");
    assert_eq!((late.code(), reason(&late).as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
}

#[tokio::test]
async fn a_connection_is_made_read_changed_and_removed() {
    let service = Service::start().await;
    let collection = service.collection("Docs").await;
    let made = service.connection(&collection, "  Handbook ").await;
    assert_eq!((made.name.as_str(), made.status()), ("Handbook", v1::source_connection::Status::Pending));

    let renamed = v1::SourceConnection { name: "Guide".to_owned(), ..made.clone() };
    let patch = |etag: &str| v1::UpdateSourceConnectionRequest {
        source_connection: Some(v1::SourceConnection { etag: etag.to_owned(), ..renamed.clone() }),
        update_mask: Some(FieldMask { paths: vec!["name".to_owned()] }),
    };
    let updated = service.connections().update_source_connection(admin(patch(&made.etag))).await.expect("is current");
    let updated = updated.into_inner().source_connection.expect("is there");
    assert_eq!(updated.name, "Guide");
    assert_ne!(updated.etag, made.etag);
    let stale = service.connections().update_source_connection(admin(patch(&made.etag))).await.expect_err("is stale");
    assert_eq!((stale.code(), reason(&stale).as_str()), (Code::Aborted, "ETAG_MISMATCH"));

    let delete =
        v1::DeleteSourceConnectionRequest { id: made.id.clone(), etag: Some(updated.etag), delete_data: false };
    service.connections().delete_source_connection(admin(delete)).await.expect("is removed");
    let get = v1::GetSourceConnectionRequest { id: made.id };
    let gone = service.connections().get_source_connection(admin(get)).await.expect_err("is gone");
    assert_eq!(reason(&gone), "NOT_FOUND");
}

#[tokio::test]
async fn wrong_settings_are_named_and_existence_comes_first() {
    let service = Service::start().await;
    let collection = service.collection("Docs").await;
    let mut request = service.files(&collection, "Files");
    request.credentials = Some(object(json!({"password": "canary-value"})));
    let refused = service.connections().create_source_connection(admin(request)).await.expect_err("no such field");
    assert_eq!(reason(&refused), "INVALID_CREDENTIALS");
    assert!(!String::from_utf8_lossy(refused.details()).contains("canary-value"));

    let mut request = service.files(&collection, "Files");
    request.collection_id = "col_doesnotexist".to_owned();
    let refused = service.connections().create_source_connection(admin(request)).await.expect_err("no collection");
    assert_eq!(refused.code(), Code::NotFound);

    let mut request = service.files(&collection, "Files");
    request.schedule =
        Some(v1::Schedule { kind: Some(v1::schedule::Kind::Cron("61 * * * *".to_owned())), time_zone: String::new() });
    let refused = service.connections().create_source_connection(admin(request)).await.expect_err("no such minute");
    assert_eq!(reason(&refused), "INVALID_ARGUMENT");
}

#[tokio::test]
async fn an_idempotency_key_has_one_effect() {
    let service = Service::start().await;
    let collection = service.collection("Docs").await;
    let request = |name: &str| v1::CreateSourceConnectionRequest {
        request_id: "same".to_owned(),
        ..service.files(&collection, name)
    };
    let first = service.connections().create_source_connection(admin(request("One"))).await.expect("is made");
    let again = service.connections().create_source_connection(admin(request("One"))).await.expect("is replayed");
    assert_eq!(first.into_inner(), again.into_inner());
    let other = service.connections().create_source_connection(admin(request("Two"))).await.expect_err("is another");
    assert_eq!(reason(&other), "IDEMPOTENCY_KEY_REUSED");

    let connection = service.connection(&collection, "Runs").await;
    let run = || v1::RunSourceConnectionRequest { id: connection.id.clone(), request_id: "run".into(), full: false };
    let first = service.connections().run_source_connection(admin(run())).await.expect("starts").into_inner();
    let again = service.connections().run_source_connection(admin(run())).await.expect("is replayed").into_inner();
    assert_eq!(first, again);
    let second = v1::RunSourceConnectionRequest { request_id: String::new(), ..run() };
    let busy = service.connections().run_source_connection(admin(second)).await.expect_err("one runs");
    assert_eq!((busy.code(), reason(&busy).as_str()), (Code::Aborted, "SYNC_IN_PROGRESS"));
    let get = v1::GetSourceConnectionRequest { id: connection.id };
    let view = service.connections().get_source_connection(admin(get)).await.expect("is there").into_inner();
    let view = view.source_connection.expect("is there");
    assert_eq!(view.current_sync_id, Some(first.sync_id));
    assert_eq!(view.status(), v1::source_connection::Status::Syncing);
}

#[tokio::test]
async fn pages_and_filters_cover_the_list_exactly() {
    let service = Service::start().await;
    let collection = service.collection("Docs").await;
    for name in ["alpha", "beta", "gamma", "delta"] {
        service.connection(&collection, name).await;
    }
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListSourceConnectionsRequest {
            page_size: 1,
            page_token,
            order_by: "name".to_owned(),
            filter: "name:a AND NOT name = \"gamma\"".to_owned(),
            ..Default::default()
        };
        let page = service.connections().list_source_connections(admin(request)).await.expect("lists").into_inner();
        names.extend(page.source_connections.into_iter().map(|connection| connection.name));
        match page.next_page_token {
            Some(token) => page_token = token,
            None => break,
        }
    }
    assert_eq!(names, ["alpha", "beta", "delta"]);
    let forged = v1::ListSourceConnectionsRequest { page_token: "forged".to_owned(), ..Default::default() };
    let refused = service.connections().list_source_connections(admin(forged)).await.expect_err("is no token");
    assert_eq!(reason(&refused), "INVALID_ARGUMENT");
}

#[tokio::test]
async fn a_key_opens_its_collection_only_and_nothing_once_revoked() {
    let service = Service::start().await;
    let (mine, other) = (service.collection("Mine").await, service.collection("Other").await);
    let request = v1::CreateApiKeyRequest {
        name: "reader".to_owned(),
        role: v1::access::Role::Viewer.into(),
        collection_ids: vec![mine.id.clone()],
        expires_at: None,
    };
    let created = service.keys().create_api_key(admin(request)).await.expect("is made").into_inner();
    let get = |id: &str| with_key(&created.secret, v1::GetCollectionRequest { id: id.to_owned() });
    service.collections().get_collection(get(&mine.id)).await.expect("is its own");
    let refused = service.collections().get_collection(get(&other.id)).await.expect_err("is another's");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "FORBIDDEN"));
    let create = with_key(&created.secret, v1::CreateCollectionRequest { name: "New".into(), ..Default::default() });
    let refused = service.collections().create_collection(create).await.expect_err("lacks the role");
    assert_eq!(refused.code(), Code::PermissionDenied);

    let id = created.api_key.expect("is there").id;
    service.keys().revoke_api_key(admin(v1::RevokeApiKeyRequest { id })).await.expect("is revoked");
    let refused = service.collections().get_collection(get(&mine.id)).await.expect_err("is revoked");
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_collection_with_connections_goes_only_by_force() {
    let service = Service::start().await;
    let collection = service.collection("Docs").await;
    service.connection(&collection, "Files").await;
    let taken = v1::CreateCollectionRequest { name: "Docs".to_owned(), ..Default::default() };
    let taken = service.collections().create_collection(admin(taken)).await.expect_err("is taken");
    assert_eq!(taken.code(), Code::AlreadyExists);
    let delete = |force: bool| v1::DeleteCollectionRequest { id: collection.id.clone(), force, etag: None };
    let refused = service.collections().delete_collection(admin(delete(false))).await.expect_err("is not empty");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "COLLECTION_NOT_EMPTY"));
    service.collections().delete_collection(admin(delete(true))).await.expect("goes");
    let listed = service.connections().list_source_connections(admin(Default::default())).await.expect("lists");
    assert_eq!(listed.into_inner().source_connections, []);
}
