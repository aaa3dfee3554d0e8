//! `buf curl`, which asks the server itself for the descriptors.

use serde_json::{Value, json};

use super::write_note;
use crate::support::server::{ADMIN_KEY, Server};
use crate::support::tools::{self, Printed};

const GRPC: &[&str] = &["--protocol", "grpc", "--http2-prior-knowledge"];
const GRPC_WEB: &[&str] = &["--protocol", "grpcweb"];
const GRPC_WEB_HTTP2: &[&str] = &["--protocol", "grpcweb", "--http2-prior-knowledge"];

async fn call(server: &Server, protocol: &[&str], method: &str, request: Value) -> Printed {
    let mut command = tools::python("buf");
    command.arg("curl").args(protocol).args(["--data", &request.to_string()]);
    command.args(["--header", &format!("Authorization: Bearer {ADMIN_KEY}")]);
    command.arg(format!("{}/tributary.v1.{method}", server.base));
    tools::run(command, 60).await
}

/// JSON documents one after the other.
fn documents(text: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(text).into_iter().map(|document| document.expect("JSON")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buf_calls_over_grpc_and_grpc_web_with_reflection() {
    let server = Server::start().await;
    write_note(&server);
    let collection = server.collection("Documents").await;
    let connection = server.files_connection(&collection, json!({})).await;
    for protocol in [GRPC, GRPC_WEB, GRPC_WEB_HTTP2] {
        let request = json!({"shortName": "postgresql"});
        let source = call(&server, protocol, "SourceService/GetSource", request).await.json();
        assert_eq!(source["source"]["name"], "PostgreSQL", "{protocol:?}");
        let request = json!({"name": format!("By {}", protocol.join(" "))});
        let created = call(&server, protocol, "CollectionService/CreateCollection", request).await.json();
        assert!(created["collection"]["id"].as_str().unwrap().starts_with("col_"), "{protocol:?}: {created}");
        let request = json!({"id": connection});
        let run = call(&server, protocol, "SourceConnectionService/RunSourceConnection", request).await.json();
        let watched = call(&server, protocol, "SyncService/WatchSync", json!({"id": run["syncId"]})).await.ok();
        let events = documents(&watched);
        let last = events.last().expect("an event");
        assert_eq!(last["finished"]["status"], "STATUS_SUCCEEDED", "{protocol:?}: {watched}");
        let missing = call(&server, protocol, "SyncService/GetSync", json!({"id": "sync_none"})).await;
        assert_ne!(missing.code, 0, "{protocol:?}");
        let error: Value = serde_json::from_str(&missing.err).expect("an error as JSON");
        assert_eq!(error["code"], "not_found", "{protocol:?}: {error}");
        assert_eq!(error["details"][0]["type"], "google.rpc.ErrorInfo", "{protocol:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_versions_of_reflection_answer() {
    let server = Server::start().await;
    for version in ["grpc-v1", "grpc-v1alpha"] {
        let protocol = [GRPC, &["--reflect-protocol", version]].concat();
        let source = call(&server, &protocol, "SourceService/GetSource", json!({"shortName": "files"})).await.json();
        assert_eq!(source["source"]["shortName"], "files", "{version}");
    }
}
