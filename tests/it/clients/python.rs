//! The gRPC library of Python, which learns our messages by reflection.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Busy, the_five_errors, write_note};
use crate::support::grpc::methods;
use crate::support::server::{ADMIN_KEY, Server};
use crate::support::tools;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_syncs_a_folder_and_reads_every_documented_error() {
    let server = Server::start().await;
    write_note(&server);
    let busy = Busy::start(&server).await;
    let mut command = tools::python("python");
    command.arg(tools::beside("clients/grpc_client.py")).args([server.address(), ADMIN_KEY]);
    command.arg(server.files()).arg(&busy.connection);
    let seen = tools::run(command, 120).await.json();

    let sources = seen["sources"].as_array().unwrap();
    assert!(sources.iter().any(|source| source["shortName"] == "postgresql"), "{sources:?}");
    assert_eq!(seen["source"]["authMethods"], json!(["AUTH_METHOD_CREDENTIALS"]));
    let sync = &seen["sync"];
    assert_eq!(sync["connection"]["status"], "STATUS_PENDING");
    let last = sync["events"].as_array().unwrap().last().expect("an event");
    assert_eq!(last["finished"]["status"], "STATUS_SUCCEEDED", "{last}");
    assert_eq!(last["finished"]["progress"]["itemsInserted"], "1");
    assert_eq!(sync["ended"], "OK");
    assert_eq!(sync["found"][0]["item"]["sourceKey"], "note.md");

    let health = &seen["health"];
    for answer in ["check", "service", "watch"] {
        assert_eq!(health[answer], "SERVING", "{health}");
    }
    assert_eq!(health["unknown"], "NOT_FOUND");
    // Each service of this API, and the server as a whole.
    let services: BTreeSet<_> = methods().iter().map(|method| method.parent_service().full_name().to_owned()).collect();
    assert_eq!(health["list"].as_object().unwrap().len(), services.len() + 1, "{health}");
    let codes = ["INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "ABORTED"];
    the_five_errors(&seen["errors"], codes, &busy);
    busy.stop(&server).await;
}
