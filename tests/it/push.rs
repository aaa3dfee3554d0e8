//! Documents that callers bring: over every door, many at once, through restarts and
//! kills, against what was answered.

mod crash;
mod crowd;
mod doors;
mod edges;
mod model;
mod page;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tributary::proto::v1;
use tributary::proto::v1::document_service_client::DocumentServiceClient;

use crate::support::server::{ADMIN_KEY, Reply, Server, id_of, send};

/// A server with a connection that is pushed to.
struct Bench {
    server: Server,
    collection: String,
    connection: String,
}

impl Bench {
    async fn start() -> Self {
        Self::on(Server::start().await).await
    }

    async fn on(server: Server) -> Self {
        let collection = server.collection("Pushed").await;
        let connection = connect(&server, &collection).await;
        Self { server, collection, connection }
    }

    async fn restart(self) -> Self {
        Self { server: self.server.restart().await, ..self }
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/source-connections/{}{rest}", self.connection)
    }

    async fn batch(&self, body: Value) -> Reply {
        self.server.post(&self.path("/documents:batch"), body).await
    }

    /// Sends lines, each a message.
    async fn lines(&self, lines: &[Value]) -> Reply {
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let request = self.server.request("POST", &self.path("/documents:push"));
        send(request.header("content-type", "application/x-ndjson").body(lines)).await
    }

    /// What is there: object and id to title.
    async fn titles(&self) -> BTreeMap<(String, String), String> {
        let text = |item: &Value, name: &str| item[name].as_str().expect("a text").to_owned();
        let items = self.server.items(&self.collection).await;
        let count = items.len();
        let titles: BTreeMap<_, _> =
            items.iter().map(|item| ((text(item, "object"), text(item, "sourceKey")), text(item, "title"))).collect();
        assert_eq!(titles.len(), count, "a document is there twice");
        titles
    }

    async fn search(&self, query: &str) -> Vec<String> {
        let path = format!("/api/v1/collections/{}/search", self.collection);
        let found = self.server.post(&path, json!({"query": query, "pageSize": 100})).await.ok();
        let hits = found["results"].as_array().unwrap_or_else(|| panic!("no results in {found}"));
        let mut keys: Vec<String> =
            hits.iter().map(|hit| hit["item"]["sourceKey"].as_str().expect("a key").to_owned()).collect();
        keys.sort();
        keys
    }

    /// A gRPC client.
    async fn grpc(&self) -> DocumentServiceClient<Channel> {
        DocumentServiceClient::connect(self.server.base.clone()).await.expect("it answers")
    }

    /// Calls over gRPC-Web: the code and the message of the reply.
    async fn web<M: prost::Message, R: prost::Message + Default>(&self, method: &str, request: &M) -> Result<R, i32> {
        let message = request.encode_to_vec();
        let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
        let body = Bytes::from([&[0], length.as_slice(), &message].concat());
        let path = format!("/tributary.v1.DocumentService/{method}");
        let call = self.server.request("POST", &path).header("content-type", "application/grpc-web+proto");
        let response = call.body(body).send().await.expect("an answer");
        let status = response.headers().get("grpc-status").map(|status| status.as_bytes().to_vec());
        let body = response.bytes().await.expect("a body");
        if let Some(status) = status.filter(|status| status != b"0") {
            return Err(tonic::Code::from_bytes(&status) as i32);
        }
        let length = u32::from_be_bytes([body[1], body[2], body[3], body[4]]) as usize;
        Ok(R::decode(&body[5..5 + length]).expect("a reply"))
    }
}

async fn connect(server: &Server, collection: &str) -> String {
    let body = json!({"collectionId": collection, "sourceShortName": "push", "name": "Mine", "credentials": {}});
    id_of(&server.post("/api/v1/source-connections", body).await.ok()["sourceConnection"])
}

/// As the administrator.
fn with_key<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value: MetadataValue<_> = format!("Bearer {ADMIN_KEY}").parse().expect("a header");
    request.metadata_mut().insert("authorization", value);
    request
}

/// A document of a title and a text.
fn text(id: &str, title: &str, body: &str) -> v1::Document {
    let content = Some(v1::document::Content::Body(body.to_owned()));
    v1::Document { id: id.to_owned(), title: title.to_owned(), content, ..v1::Document::default() }
}

fn put(id: &str, document: v1::Document) -> v1::PushDocumentsRequest {
    let operation = Some(v1::push_documents_request::Operation::Put(document));
    v1::PushDocumentsRequest { id: id.to_owned(), operation, replace: None, commit: false }
}

/// Inserted, updated, unchanged, deleted, missing, failed.
fn counts(reply: &Value) -> [u64; 6] {
    ["itemsInserted", "itemsUpdated", "itemsUnchanged", "itemsDeleted", "itemsMissing", "itemsFailed"].map(|name| {
        let count = reply["counts"][name].as_str().unwrap_or_else(|| panic!("no {name} in {reply}"));
        count.parse().expect("a number")
    })
}

fn counted(counts: Option<v1::DocumentCounts>) -> [i64; 6] {
    let counts = counts.expect("counts");
    let v1::DocumentCounts {
        items_inserted,
        items_updated,
        items_unchanged,
        items_deleted,
        items_missing,
        items_failed,
    } = counts;
    [items_inserted, items_updated, items_unchanged, items_deleted, items_missing, items_failed]
}

/// The reason and the wrong fields of a status.
fn wrong(status: &Status) -> (String, Vec<String>) {
    use tonic_types::StatusExt as _;
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    let fields = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    (reason, fields.into_iter().map(|violation| violation.field).collect())
}
