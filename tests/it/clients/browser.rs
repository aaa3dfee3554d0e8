//! A page in headless Chromium, on another origin than the server: gRPC-Web by
//! Connect's client with code generated from our protos, and the event stream.

use std::path::Path;

use axum::Router;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Busy, the_five_errors, write_note};
use crate::support::server::{ADMIN_KEY, Server};
use crate::support::tools;

/// The page's own server.
struct Site {
    origin: String,
    task: JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Site {
    async fn start(script: String) -> Self {
        let page = "<!doctype html><meta charset=\"utf-8\"><link rel=\"icon\" href=\"data:,\">\
            <script src=\"page.js\"></script>";
        let typed = |kind: &'static str, body: String| get(async move || ([(CONTENT_TYPE, kind)], body.clone()));
        let routes = Router::new()
            .route("/", typed("text/html", page.to_owned()))
            .route("/page.js", typed("text/javascript; charset=utf-8", script));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        Self { origin, task }
    }
}

/// Generates the client code and bundles the page.
async fn build(folder: &Path) -> String {
    let mut command = tools::system("node");
    let buf = tools::python("buf").as_std().get_program().to_owned();
    command.arg(tools::beside("clients/browser/build.js")).arg(tools::packages()).arg(buf);
    command.arg(env!("CARGO_MANIFEST_DIR")).arg(folder);
    tools::run(command, 120).await.ok();
    std::fs::read_to_string(folder.join("page.js")).expect("the bundled page")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_watches_a_sync_to_its_end_and_follows_its_events() {
    let folder = TempDir::new().expect("a folder");
    let site = Site::start(build(folder.path()).await).await;
    let origin = site.origin.clone();
    let server = Server::start_with(move |config| config.cors_origins = vec![origin.clone()]).await;
    write_note(&server);
    let busy = Busy::start(&server).await;

    let chromium = tools::system("chromium").as_std().get_program().to_owned();
    let settings =
        json!({"base": server.base, "key": ADMIN_KEY, "folder": server.files(), "busy": busy.connection}).to_string();
    let mut command = tools::system("node");
    command.arg(tools::beside("clients/browser/drive.js")).arg(tools::packages()).arg(chromium);
    command.arg(folder.path().join("profile")).arg(&site.origin).arg(settings);
    let seen = tools::run(command, 180).await.json();

    assert!(seen["sources"].as_array().unwrap().contains(&json!("postgresql")), "{seen}");
    let last = seen["sync"]["events"].as_array().unwrap().last().expect("an event");
    assert_eq!(last["finished"]["status"], "STATUS_SUCCEEDED", "{last}");
    let codes = ["InvalidArgument", "Unauthenticated", "PermissionDenied", "NotFound", "Aborted"];
    the_five_errors(&seen["errors"], codes, &busy);

    let stream = &seen["stream"];
    assert_eq!(stream["broken"]["type"], "text/event-stream");
    assert!(stream["broken"]["requestId"].is_string(), "the header is not exposed: {stream}");
    let number = |event: &serde_json::Value| event["id"].as_str().unwrap().parse::<u64>().unwrap();
    let before = number(&stream["broken"]["events"][0]);
    let resumed = stream["resumed"]["events"].as_array().unwrap();
    assert!(resumed.iter().all(|event| number(event) > before), "{stream}");
    assert_eq!(resumed.last().unwrap()["event"], "finished", "{stream}");
    assert_eq!(stream["ended"]["status"], json!(204));
    busy.stop(&server).await;
}
