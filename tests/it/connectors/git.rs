//! The Git source on real repositories behind `git http-backend`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tributary::connectors::documents::isolation::Parsers;
use tributary::connectors::erased::Session;
use tributary::connectors::reading::{Known, Message, Output, ReadRequest};
use tributary::connectors::{ConnectorError, ObjectPage, Resources};
use tributary::egress::{Dialer, Policy, Timeouts};

use super::passes::{Pass, connector, pass};
use crate::support::git::{GitServer, USER};
use crate::support::postgres::PASSWORD;

fn open(server: &GitServer, config: Value) -> Arc<dyn Session> {
    let connector = connector("git");
    let mut whole = json!({ "url": server.url(server.port) });
    whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    let config = connector.config(whole.as_object().unwrap()).expect("a valid config");
    let credentials = json!({ "username": USER, "password": PASSWORD });
    let credentials = connector.credentials(credentials.as_object().unwrap()).expect("valid credentials");
    let dialer = Dialer::new(Policy { local_allowed: true, ..Policy::default() }, Timeouts::default());
    let parsers = Arc::new(Parsers::by(env!("CARGO_BIN_EXE_tributary").into()));
    let resources = Resources { dialer: Arc::new(dialer), file_roots: Arc::from([]), parsers };
    connector.open(credentials, config, resources).expect("a session")
}

async fn read(server: &GitServer, config: Value, request: ReadRequest) -> Pass {
    let pass = pass(&open(server, config), request).await;
    assert!(matches!(pass.outcome, Some(Ok(()))), "{:?}", pass.outcome);
    pass
}

fn known(commit: &str) -> BTreeMap<String, Known> {
    let mark = json!({ "commit": commit, "name": "main" });
    BTreeMap::from([("files".to_owned(), Known { mark, records: 3, proved_at: 0 })])
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_documents_and_what_is_none_is_left_out() {
    for filter in [false, true] {
        let server = GitServer::start(PASSWORD, filter);
        server.write("README.md", "# The handbook\n\nHow we work.\n");
        server.write("src/tool.py", "print('hello')\n");
        server.write("größe/a b.txt", "text");
        server.write("big.txt", "x".repeat(2_000));
        server.write("model.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n");
        std::os::unix::fs::symlink("/etc/passwd", server.work().join("link")).unwrap();
        server.git(&["update-index", "--add", "--cacheinfo", "160000", &"1".repeat(40), "module"]);
        server.push("Begin");
        let pass = read(&server, json!({ "maxFileSize": 1_000 }), ReadRequest::default()).await;
        assert_eq!(pass.keys("files"), ["README.md", "big.txt", "größe/a b.txt", "model.bin", "src/tool.py"]);
        assert_eq!(pass.complete["files"], Some(5), "filter {filter}");
        let readme = pass.document("files", "README.md");
        assert_eq!((readme.title.as_str(), readme.kind.as_str()), ("The handbook", "file"));
        assert!(readme.body.contains("How we work."));
        assert_eq!((&readme.metadata["branch"], &readme.metadata["size"]), (&json!("main"), &json!(29)));
        assert_eq!(pass.document("files", "src/tool.py").metadata["language"], "python");
        assert_eq!(pass.document("files", "größe/a b.txt").body, "text");
        let pointer = pass.document("files", "model.bin");
        assert_eq!((&pointer.metadata["lfs"], &pointer.metadata["size"]), (&json!(true), &json!(12_345)));
        assert_eq!((pointer.body.as_str(), &pointer.metadata["extracted"]), ("", &json!(false)));
        let big = pass.document("files", "big.txt");
        assert_eq!((big.body.as_str(), &big.metadata["extracted"]), ("", &json!(false)));
        assert!(readme.url.is_none() && pass.failed_records.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_branch_and_the_globs_of_the_config_are_read() {
    let server = GitServer::start(PASSWORD, false);
    server.write("a.md", "on main");
    server.write("docs/b.md", "on main");
    server.write("docs/c.txt", "on main");
    server.push("Begin");
    server.git(&["tag", "-a", "v1", "-m", "The first"]);
    server.git(&["push", "--quiet", "origin", "v1"]);
    server.git(&["switch", "--quiet", "-c", "topic/one"]);
    server.write("a.md", "on a branch");
    server.push("Go on");
    let text = |pass: &Pass| pass.document("files", "a.md").body.clone();
    for (branch, wanted) in
        [("", "on main"), ("topic/one", "on a branch"), ("v1", "on main"), ("refs/heads/topic/one", "on a branch")]
    {
        let template = "https://code.example/{{ branch }}/{{ path }}";
        let config = json!({ "branch": branch, "urlTemplate": template });
        let pass = read(&server, config, ReadRequest::default()).await;
        assert_eq!(text(&pass), wanted, "{branch}");
        let name = if branch.is_empty() { "main" } else { branch.trim_start_matches("refs/heads/") };
        let url = pass.document("files", "docs/b.md").url.clone();
        assert_eq!(url, Some(format!("https://code.example/{name}/docs/b.md")));
    }
    let config = json!({ "include": ["*.md"], "exclude": ["docs/**"] });
    assert_eq!(read(&server, config, ReadRequest::default()).await.keys("files"), ["a.md"]);
    let sample = ReadRequest { sample: Some(1), ..ReadRequest::default() };
    let pass = read(&server, json!({}), sample).await;
    assert_eq!((pass.keys("files").len(), pass.complete.len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_are_documents_with_the_paths_that_they_changed() {
    for filter in [false, true] {
        let server = GitServer::start(PASSWORD, filter);
        server.write("a.md", "one");
        server.write("docs/b.md", "one");
        let first = server.push("Begin");
        server.write("docs/b.md", "two");
        server.write("docs/new/c.md", "new");
        server.remove("a.md");
        let second = server.push("Move the handbook\n\nSince nobody found it.");
        let config = json!({ "commits": true, "commitUrlTemplate": "https://code.example/c/{{ commit }}" });
        let pass = read(&server, config, ReadRequest::default()).await;
        assert_eq!(pass.complete["commits"], Some(2));
        let document = pass.document("commits", &second);
        assert_eq!((document.title.as_str(), document.kind.as_str()), ("Move the handbook", "commit"));
        assert_eq!(document.body, "Since nobody found it.\n\na.md\ndocs/b.md\ndocs/new/c.md");
        assert_eq!(document.url, Some(format!("https://code.example/c/{second}")));
        let metadata = &document.metadata;
        assert_eq!((&metadata["author"], &metadata["committer"]), (&json!("Ada Writer"), &json!("Carl Committer")));
        assert_eq!(metadata["files"], json!(["a.md", "docs/b.md", "docs/new/c.md"]));
        assert_eq!((&metadata["filesChanged"], &metadata["parents"]), (&json!(3), &json!([first])));
        assert!(document.created_at.is_some() && document.updated_at >= document.created_at);
        assert_eq!(pass.document("commits", &first).metadata["files"], json!(["a.md", "docs/b.md"]));

        let newest = json!({ "commits": true, "commitLimit": 1 });
        let pass = read(&server, newest, ReadRequest::default()).await;
        assert_eq!(pass.keys("commits"), [second.as_str()]);
        assert!(!pass.document("commits", &second).metadata.contains_key("files"), "its parent is not there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_can_leave_files_out_is_asked_for_what_differs() {
    let server = GitServer::start(PASSWORD, true);
    server.write("a.md", "one");
    server.write("b.md", "one");
    server.write("c.md", "one, and more");
    let first = server.push("Begin");
    server.write("b.md", "two");
    server.remove("c.md");
    server.write("d.md", "new");
    server.push("Change");
    let request = ReadRequest { known: known(&first), ..ReadRequest::default() };
    let pass = read(&server, json!({}), request).await;
    assert_eq!(pass.keys("files"), ["a.md", "b.md", "d.md"]);
    assert_eq!(pass.refusal("files", "a.md"), "missing", "what has not changed was not brought");
    assert_eq!(pass.document("files", "b.md").body, "two");
    assert_eq!(pass.document("files", "d.md").body, "new");

    // A commit that the server never had costs a whole reading.
    let request = ReadRequest { known: known(&"1".repeat(40)), ..ReadRequest::default() };
    let pass = read(&server, json!({}), request).await;
    assert_eq!(pass.document("files", "a.md").body, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_is_where_it_was_is_not_read() {
    let server = GitServer::start(PASSWORD, false);
    server.write("a.md", "one");
    let commit = server.push("Begin");
    let session = open(&server, json!({}));
    let (output, mut messages) = Output::channel(8);
    let request = ReadRequest { known: known(&commit), ..ReadRequest::default() };
    session.read(request, output).await.unwrap();
    assert!(matches!(messages.recv().await, Some(Message::Objects(scopes)) if scopes.len() == 1));
    assert!(matches!(messages.recv().await, Some(Message::Unmoved { records: 3, .. })));
    assert!(messages.recv().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_without_commits_is_empty() {
    let server = GitServer::start(PASSWORD, false);
    let pass = read(&server, json!({}), ReadRequest::default()).await;
    assert_eq!((pass.keys("files").len(), pass.complete["files"]), (0, Some(0)));
    let level = open(&server, json!({})).discover(Some("files"), ObjectPage { after: None, limit: 10 }).await;
    assert_eq!(level.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_larger_than_it_may_be_is_refused() {
    let server = GitServer::start(PASSWORD, false);
    let noise: Vec<u8> = (0..200_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    server.write("noise.bin", noise);
    server.push("Begin");
    let pass = pass(&open(&server, json!({ "maxRepositorySize": 10_000 })), ReadRequest::default()).await;
    let refused = |field: &str| field == "config.maxRepositorySize";
    assert!(matches!(&pass.outcome, Some(Err(ConnectorError::Invalid { field, .. })) if refused(field)));
    assert!(pass.complete.is_empty());
}
