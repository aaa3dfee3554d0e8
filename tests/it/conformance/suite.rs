//! The suite. Each part starts a service and a server of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tributary::connectors::{Field, FieldType, builtin};
use tributary::server::Options;
use tributary::syncs::worker::Backoff;

use super::subject::{Settings, Subject, Truth, Wrong};
use crate::faults::proxy::{Direction, Fault, Proxy, Step};
use crate::hostile::service::Service;
use crate::support::server::{Server, id_of};

/// MiB that one large item may add to the service's memory.
const MOST_MEMORY: u64 = 64;

fn hasty() -> Options {
    let backoff = Backoff { least: Duration::from_millis(50), most: Duration::from_millis(500) };
    Options { backoff, ..Options::default() }
}

/// A service with a connection to a subject.
struct Bench<S> {
    server: Server,
    subject: S,
    collection: String,
    connection: String,
}

impl<S: Subject> Bench<S> {
    async fn start() -> Self {
        Self::start_over(|_| None).await
    }

    /// The same, over the port that is made of the subject's.
    async fn start_over(port: impl FnOnce(&S) -> Option<u16>) -> Self {
        let server = Server::start_with_options(|_| {}, hasty).await;
        let subject = S::start(&server.files()).await;
        let settings = subject.settings(port(&subject));
        let collection = server.collection("Conformance").await;
        let connection = connect::<S>(&server, &collection, &settings).await;
        Self { server, subject, collection, connection }
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/source-connections/{}{rest}", self.connection)
    }

    /// Syncs, and answers how it ended.
    async fn sync(&self) -> Value {
        self.server.sync(&self.connection).await
    }

    /// Fails unless the index is what the server has, item by item.
    async fn assert_exact(&self, when: &str) {
        assert_same(&self.items().await, &self.subject.truth().await, when);
    }

    async fn items(&self) -> Vec<Value> {
        self.server.items(&self.collection).await
    }
}

async fn connect<S: Subject>(server: &Server, collection: &str, settings: &Settings) -> String {
    let body = json!({
        "collectionId": collection, "sourceShortName": S::SOURCE, "name": "Subject",
        "credentials": settings.credentials, "config": settings.config,
    });
    id_of(&server.post("/api/v1/source-connections", body).await.ok()["sourceConnection"])
}

fn assert_same(items: &[Value], truth: &Truth, when: &str) {
    let place = |item: &Value| {
        let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
        (text("object"), text("sourceKey"))
    };
    let indexed: BTreeSet<_> = items.iter().map(place).collect();
    assert_eq!(indexed.len(), items.len(), "{when}: an item is there twice");
    let there: BTreeSet<_> = truth.keys().cloned().collect();
    let missing: Vec<_> = there.difference(&indexed).collect();
    let stale: Vec<_> = indexed.difference(&there).collect();
    assert!(missing.is_empty() && stale.is_empty(), "{when}: missing {missing:?}, no more there {stale:?}");
    for item in items {
        let wanted = &truth[&place(item)];
        let found = ["title", "content"].iter().any(|name| item[name].as_str().unwrap_or_default().contains(wanted));
        assert!(found || item["metadata"].to_string().contains(wanted), "{when}: `{wanted}` is not in {item:#}");
    }
}

/// How a sync counted: inserted, updated, unchanged, deleted.
fn counts(sync: &Value) -> [u64; 4] {
    ["itemsInserted", "itemsUpdated", "itemsUnchanged", "itemsDeleted"].map(|name| {
        let count = &sync["progress"][name];
        count.as_str().map_or(0, |count| count.parse().expect("a number"))
    })
}

#[track_caller]
fn assert_succeeded(sync: &Value, when: &str) {
    assert_eq!(sync["status"], json!("succeeded"), "{when}: {sync:#}");
    assert_eq!(sync["progress"]["itemsFailed"].as_str().unwrap_or("0"), "0", "{when}: {sync:#}");
}

/// Names, labels and help are there for a form and for a reader.
pub fn entry<S: Subject>() {
    let connector = builtin().into_iter().find(|connector| connector.spec().short_name == S::SOURCE);
    let spec = connector.expect("it is in the catalogue").spec();
    assert!(!spec.name.is_empty() && spec.description.len() > 20 && !spec.labels.is_empty(), "{spec:?}");
    assert!(!spec.auth_methods.is_empty(), "{spec:?}");
    for field in spec.auth_fields.iter().chain(&spec.config_fields) {
        described(field);
    }
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/sources/{}.md", S::SOURCE));
    let page = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    for field in spec.auth_fields.iter().chain(&spec.config_fields) {
        assert!(page.contains(&format!("`{}`", field.name)), "its page says nothing of `{}`", field.name);
    }
}

fn described(field: &Field) {
    assert!(!field.title.is_empty() && field.description.len() > 5, "{field:?}");
    let sounds_secret = ["password", "secret", "token", "passphrase"];
    let name = field.name.to_lowercase();
    if sounds_secret.iter().any(|word| name.ends_with(word)) {
        assert_eq!(field.kind, FieldType::Password, "{field:?}");
    }
    if let FieldType::Object(fields) | FieldType::ObjectList(fields) = &field.kind {
        fields.iter().for_each(described);
    }
}

/// A create without one of the required fields is refused, and the field is named.
pub async fn missing_fields<S: Subject>() {
    let server = Server::start().await;
    let subject = S::start(&server.files()).await;
    let collection = server.collection("Fields").await;
    let whole = subject.settings(None);
    let source = server.get(&format!("/api/v1/sources/{}", S::SOURCE)).await.ok()["source"].clone();
    let mut tried = 0;
    for (part, fields) in [("credentials", "authFields"), ("config", "configFields")] {
        let required = source[fields].as_array().into_iter().flatten().filter(|field| field["required"] == json!(true));
        for name in required.map(|field| field["name"].as_str().expect("a name")) {
            let mut body = json!({
                "collectionId": collection, "sourceShortName": S::SOURCE, "name": "Subject",
                "credentials": whole.credentials, "config": whole.config,
            });
            body[part].as_object_mut().expect("an object").remove(name).expect("the subject gives what is required");
            let answer = server.post("/api/v1/source-connections", body).await;
            assert_eq!(answer.status, 400, "without {part}.{name}: {}", answer.text);
            assert!(answer.text.contains(&format!("{part}.{name}")), "{part}.{name} is not named: {}", answer.text);
            tried += 1;
        }
    }
    assert!(tried > 0, "no field is required");
    let listed = server.get("/api/v1/source-connections").await.ok();
    assert_eq!(listed["sourceConnections"].as_array().map_or(0, Vec::len), 0, "nothing was made");
}

/// The test of a connection names the stage and the cause; a sync ends in the same.
pub async fn wrong_settings<S: Subject>() {
    let server = Server::start_with_options(|_| {}, hasty).await;
    let subject = S::start(&server.files()).await;
    let collection = server.collection("Wrong").await;
    let right = connect::<S>(&server, &collection, &subject.settings(None)).await;
    let passed = server.post(&format!("/api/v1/source-connections/{right}/test"), json!({})).await.ok();
    let stages = passed["report"]["stages"].as_array().expect("stages");
    assert!(stages.iter().all(|stage| stage["outcome"] != json!("failed")), "{passed:#}");
    assert!(stages.iter().any(|stage| stage["kind"] == json!("read")), "nothing was read: {passed:#}");

    let mut wrong = subject.wrong().await;
    if subject.port().is_some() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = closed.local_addr().expect("its port").port();
        drop(closed);
        let settings = subject.settings(Some(port));
        let error = (503, "source_unreachable");
        wrong.push(Wrong { what: "a closed port", settings, stage: "connect", code: "unreachable", error });
    }
    assert!(!wrong.is_empty(), "a subject has something that is wrong");
    for Wrong { what, settings, stage, code, error } in wrong {
        let connection = connect::<S>(&server, &collection, &settings).await;
        let path = format!("/api/v1/source-connections/{connection}");
        let answer = server.post(&format!("{path}/test"), json!({})).await;
        let body = answer.error(error.0, error.1);
        let report = body["details"].as_array().and_then(|details| details.iter().find(|one| one["stages"].is_array()));
        let stages =
            report.unwrap_or_else(|| panic!("{what}: no report in {body:#}"))["stages"].as_array().expect("stages");
        let failed = stages.iter().find(|one| one["outcome"] == json!("failed"));
        let failed = failed.unwrap_or_else(|| panic!("{what}: no stage failed in {body:#}"));
        assert_eq!((&failed["kind"], &failed["code"]), (&json!(stage), &json!(code)), "{what}: {body:#}");
        assert!(failed["hint"].as_str().is_some_and(|hint| hint.len() > 5), "{what}: no hint in {body:#}");
        if code == "login_refused" {
            let sync = server.sync(&connection).await;
            assert_eq!(sync["status"], json!("failed"), "{what}: {sync:#}");
        }
    }
}

/// Every level, one object a page, is every level in one page.
pub async fn discovery<S: Subject>() {
    let bench = Bench::<S>::start().await;
    let mut parents = vec![None];
    let mut seen = 0;
    while let Some(parent) = parents.pop() {
        let whole = level(&bench, parent.as_deref(), 1000).await;
        let paths: Vec<_> = whole.iter().map(|object| object["path"].as_str().expect("a path").to_owned()).collect();
        let paged = level(&bench, parent.as_deref(), 1).await;
        assert_eq!(whole, paged, "below {parent:?}");
        assert!(paths.is_sorted(), "below {parent:?}: {paths:?}");
        seen += whole.len();
        let below = whole.iter().filter(|object| object["hasChildren"] == json!(true));
        parents.extend(below.map(|object| object["path"].as_str().map(str::to_owned)));
        assert!(seen < 10_000, "the tree has an end");
    }
    assert!(seen >= 3, "only {seen} objects");
}

async fn level<S: Subject>(bench: &Bench<S>, parent: Option<&str>, size: usize) -> Vec<Value> {
    let (mut objects, mut token) = (Vec::new(), String::new());
    loop {
        let mut request = bench.server.request("GET", &bench.path("/objects"));
        request = request.query(&[("pageSize", size.to_string()), ("pageToken", token)]);
        if let Some(parent) = parent {
            request = request.query(&[("parent", parent)]);
        }
        let mut body = crate::support::server::send(request).await.ok();
        let page = body["objects"].as_array_mut().map(std::mem::take).unwrap_or_default();
        assert!(page.len() <= size, "a page of {} instead of {size}", page.len());
        objects.extend(page);
        match body["nextPageToken"].as_str() {
            Some(next) if !next.is_empty() => token = next.to_owned(),
            _ => return objects,
        }
    }
}

/// Create, update, partial delete, full delete; the index is exact after each, and
/// the counters say what was done.
pub async fn round_trip<S: Subject>() {
    let bench = Bench::<S>::start().await;
    let version = bench.subject.version().await;
    let first = bench.subject.truth().await;
    let sync = bench.sync().await;
    assert_succeeded(&sync, "the first sync");
    bench.assert_exact("after the first sync").await;
    assert_eq!(counts(&sync), [first.len() as u64, 0, 0, 0], "{sync:#}");

    let sync = bench.sync().await;
    assert_succeeded(&sync, "a sync of nothing new");
    let [inserted, updated, _, deleted] = counts(&sync);
    assert_eq!([inserted, updated, deleted], [0, 0, 0], "nothing is new: {sync:#}");

    bench.subject.insert().await;
    let after = bench.subject.truth().await;
    let sync = bench.sync().await;
    assert_succeeded(&sync, "after inserting");
    bench.assert_exact("after inserting").await;
    let added = (after.len() - first.len()) as u64;
    assert!(added >= 2, "only {added} items were added");
    assert_eq!(counts(&sync)[0], added, "{sync:#}");

    bench.subject.update().await;
    let changed = bench.subject.truth().await;
    let different = changed.iter().filter(|(place, text)| after.get(*place) != Some(*text)).count() as u64;
    assert!(different >= 2, "only {different} items were changed");
    let sync = bench.sync().await;
    assert_succeeded(&sync, "after updating");
    bench.assert_exact("after updating").await;

    bench.subject.delete_some().await;
    let left = bench.subject.truth().await;
    let removed = (changed.len() - left.len()) as u64;
    assert!(removed >= 2 && !left.is_empty(), "{removed} items were removed");
    let sync = bench.sync().await;
    assert_succeeded(&sync, "after removing some");
    bench.assert_exact("after removing some").await;
    assert_eq!(counts(&sync)[3], removed, "{sync:#}");

    bench.subject.delete_all().await;
    assert!(bench.subject.truth().await.is_empty(), "the subject has removed everything");
    bench.sync().await;
    if !bench.items().await.is_empty() {
        // So many at once, or no object left at all: held until somebody agrees.
        let released = bench.server.post(&bench.path("/deletions/release"), json!({})).await.ok();
        let sync = bench.server.finished(released["syncId"].as_str().expect("an id")).await;
        assert_succeeded(&sync, "the release");
    }
    bench.assert_exact("after removing all").await;
    println!(
        "conformance {}: {version}: create {} ok, insert {added} ok, update {different} ok, partial delete {removed} ok, \
         full delete {} ok",
        S::SOURCE,
        first.len(),
        left.len()
    );
}

/// A connection that is cut anywhere costs no item and no exactness.
pub async fn cuts<S: Subject>() {
    let mut proxy = None;
    let bench = Bench::<S>::start_over(|subject| {
        let started = Proxy::start(subject.port()?, 1);
        let port = started.port;
        proxy = Some(started);
        Some(port)
    });
    let bench = bench.await;
    let Some(proxy) = proxy else { return };
    let sync = bench.sync().await;
    assert_succeeded(&sync, "through the proxy");
    let all = proxy.traffic().down;
    assert!(all > 0, "nothing came through the proxy");
    bench.subject.insert().await;
    for (round, share) in [5, 30, 60, 90].into_iter().enumerate() {
        let before = bench.items().await.len();
        proxy.follow(vec![Step::Connection(Fault::Reset { direction: Direction::Down, after: all * share / 100 })]);
        let run = bench.server.post(&bench.path("/run"), json!({"full": true})).await.ok();
        let sync = bench.server.finished(run["syncId"].as_str().expect("an id")).await;
        assert_succeeded(&sync, &format!("cut at {share} %"));
        bench.assert_exact(&format!("cut at {share} %")).await;
        assert!(proxy.struck() > round as u64 || proxy.is_exhausted(), "the connection was not cut");
        assert!(bench.items().await.len() >= before, "nothing was removed");
    }
    assert!(proxy.struck() > 0, "no connection was cut");
}

/// While the source cannot be read, whatever the reason, nothing is deleted.
pub async fn broken<S: Subject>() {
    let mut proxy = None;
    let bench = Bench::<S>::start_over(|subject| {
        let started = Proxy::start(subject.port()?, 2);
        let port = started.port;
        proxy = Some(started);
        Some(port)
    });
    let bench = bench.await;
    assert_succeeded(&bench.sync().await, "the first sync");
    let there = bench.items().await.len();
    if let Some(proxy) = &proxy {
        let most = proxy.traffic().down;
        for share in [2, 20, 45, 70, 95] {
            let fault = Fault::Reset { direction: Direction::Down, after: most * share / 100 };
            proxy.follow(vec![Step::Connection(fault); 3]);
            let run = bench.server.post(&bench.path("/run"), json!({"full": true})).await.ok();
            let sync = bench.server.finished(run["syncId"].as_str().expect("an id")).await;
            assert_eq!(counts(&sync)[3], 0, "cut at {share} %: {sync:#}");
            assert_eq!(bench.items().await.len(), there, "cut at {share} %");
        }
        proxy.follow(Vec::new());
    }
    if bench.subject.break_listing().await {
        let run = bench.server.post(&bench.path("/run"), json!({"full": true})).await.ok();
        let id = run["syncId"].as_str().expect("an id").to_owned();
        let sync = settled(&bench, &id).await;
        assert_ne!(sync["status"], json!("succeeded"), "a source that cannot be listed: {sync:#}");
        assert_eq!(counts(&sync)[3], 0, "{sync:#}");
        assert_eq!(bench.items().await.len(), there, "a source that cannot be listed");
    }
}

/// A sync that has ended, or waits for another try.
async fn settled<S: Subject>(bench: &Bench<S>, sync: &str) -> Value {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let body = bench.server.get(&format!("/api/v1/syncs/{sync}")).await.ok();
        let status = body["sync"]["status"].as_str().unwrap_or_default();
        if !["pending", "running"].contains(&status) {
            return body["sync"].clone();
        }
        assert!(tokio::time::Instant::now() < deadline, "it hangs: {body:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// An item of a hundred megabytes costs the service less memory than that.
pub async fn large<S: Subject>() {
    let service = Service::start().await;
    let subject = S::start(&service.files()).await;
    let settings = subject.settings(None);
    let connection = service.connect_source(S::SOURCE, settings.credentials, settings.config).await;
    let sync = service.run(&connection).await;
    service.until(&sync, &["succeeded"]).await;
    let bytes = subject.insert_large().await;
    let before = service.measure();
    let sync = service.run(&connection).await;
    let ended = service.until(&sync, &["succeeded", "failed"]).await;
    assert_eq!(ended["status"], json!("succeeded"), "{ended:#}");
    let rise = service.rise(before);
    println!("conformance {}: an item of {} MiB: memory rose by {rise} MiB", S::SOURCE, bytes >> 20);
    assert!(rise < MOST_MEMORY, "memory rose by {rise} MiB for an item of {} MiB", bytes >> 20);
}
