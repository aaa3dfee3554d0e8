//! A whole server of its own for a test, on a free port, with a store of its own,
//! and a REST client that knows its address and key.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use secrecy::SecretString;
use serde_json::{Value, json};
use tributary::config::{Config, Database, KeySource};
use tributary::connectors::documents::isolation::Parsers;
use tributary::server::{self, Options, Running};

use super::canary::{self, Watched};
use super::postgres;

/// Key of the administrator in tests.
pub const ADMIN_KEY: &str = "an-admin-key-that-only-tests-use";

/// A running server.
pub struct Server {
    running: Option<Running>,
    folder: Watched,
    configure: Box<dyn Fn(&mut Config) + Send + Sync>,
    options: fn() -> Options,
    /// `http://127.0.0.1:PORT`, or `https://` where it speaks TLS.
    pub base: String,
    client: reqwest::Client,
}

/// An answer of the REST door.
#[derive(Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: reqwest::header::HeaderMap,
    /// JSON body, or null.
    pub body: Value,
    /// Body as text.
    pub text: String,
}

impl Reply {
    /// The body, if the status is 200; else fails the test with all there is.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        assert_eq!(self.body["success"], json!(true), "{}", self.text);
        self.body
    }

    /// Checks an error's status and word, and answers its body.
    #[track_caller]
    pub fn error(self, status: u16, word: &str) -> Value {
        assert_eq!((self.status, self.body["error"].as_str()), (status, Some(word)), "{}", self.text);
        assert_eq!(self.body["success"], json!(false), "{}", self.text);
        self.body
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Server {
    /// Starts one.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts one with other settings.
    pub async fn start_with(change: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        Self::start_with_options(change, Options::default).await
    }

    /// Starts one with other settings and options.
    pub async fn start_with_options(
        change: impl Fn(&mut Config) + Send + Sync + 'static,
        options: fn() -> Options,
    ) -> Self {
        canary::watch_log();
        let folder = Watched(tempfile::tempdir().expect("a folder"));
        let files = folder.0.path().join("files");
        std::fs::create_dir_all(&files).expect("a folder for files");
        let store = match std::env::var("TRIBUTARY_TEST_STORE").as_deref() {
            Ok("postgresql") => {
                let url = SecretString::from(postgres::Database::create().await.url());
                Some((url, tributary::secrets::KeyRing::generate().1))
            }
            Ok("sqlite") | Err(_) => None,
            Ok(other) => panic!("TRIBUTARY_TEST_STORE is `{other}`, not `sqlite` or `postgresql`"),
        };
        let configure = Box::new(move |config: &mut Config| {
            config.admin_key = Some(SecretString::from(ADMIN_KEY));
            config.file_roots = vec![files.clone()];
            if let Some((url, key)) = &store {
                config.database = Database::Postgres;
                config.database_url = url.clone();
                config.encryption_key = KeySource::Given(key.clone());
            }
            change(config);
        });
        Self::boot(folder, configure, options).await
    }

    async fn boot(
        folder: Watched,
        configure: Box<dyn Fn(&mut Config) + Send + Sync>,
        options: fn() -> Options,
    ) -> Self {
        let mut config = Config::in_folder(&folder.0.path().join("data"));
        configure(&mut config);
        // This process is the tests', which parse nothing.
        let parsers = Arc::new(Parsers::by(env!("CARGO_BIN_EXE_tributary").into()));
        let started_with = Options { parsers, ..options() };
        let running = server::start(config, started_with).await.expect("the server starts");
        let base = format!("{}://{}", running.scheme(), running.addresses()[0]);
        let client = reqwest::Client::builder().build().expect("a client");
        Self { running: Some(running), folder, configure, options, base, client }
    }

    /// Stops it in good order and starts it again on the same data.
    pub async fn restart(mut self) -> Self {
        self.stop().await;
        let Self { folder, configure, options, .. } = self;
        Self::boot(folder, configure, options).await
    }

    /// Stops it in good order.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown().await;
        }
    }

    /// The running server itself.
    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("it has not been stopped")
    }

    /// Folder that file-like sources may read.
    pub fn files(&self) -> PathBuf {
        self.folder.0.path().join("files")
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        self.base.split_once("://").expect("a URL").1
    }

    /// A request as the administrator; the path begins with `/`.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.anonymous(method, path).bearer_auth(ADMIN_KEY)
    }

    /// A request without a key.
    pub fn anonymous(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        self.client.request(method, format!("{}{path}", self.base)).timeout(Duration::from_secs(60))
    }

    /// GET as the administrator.
    pub async fn get(&self, path: &str) -> Reply {
        send(self.request("GET", path)).await
    }

    /// POST as the administrator.
    pub async fn post(&self, path: &str, body: Value) -> Reply {
        send(self.request("POST", path).json(&body)).await
    }

    /// PUT as the administrator.
    pub async fn put(&self, path: &str, body: Value) -> Reply {
        send(self.request("PUT", path).json(&body)).await
    }

    /// DELETE as the administrator.
    pub async fn delete(&self, path: &str) -> Reply {
        send(self.request("DELETE", path)).await
    }

    /// Makes a collection.
    pub async fn collection(&self, name: &str) -> String {
        let body = self.post("/api/v1/collections", json!({"name": name})).await.ok();
        id_of(&body["collection"])
    }

    /// Makes a connection to a database of the tests' PostgreSQL.
    pub async fn postgres_connection(&self, collection: &str, database: &postgres::Database, config: Value) -> String {
        let body = json!({
            "collectionId": collection, "sourceShortName": "postgresql", "name": "Database", "config": config,
            "credentials": {
                "host": "127.0.0.1", "port": database.port, "database": database.name,
                "username": postgres::USER, "password": postgres::PASSWORD,
            },
        });
        let body = self.post("/api/v1/source-connections", body).await.ok();
        id_of(&body["sourceConnection"])
    }

    /// Makes a connection to the folder of files.
    pub async fn files_connection(&self, collection: &str, config: Value) -> String {
        let mut config = config;
        config["path"] = json!(self.files());
        let body = json!({
            "collectionId": collection, "sourceShortName": "files", "name": "Files", "config": config,
            "credentials": {},
        });
        let body = self.post("/api/v1/source-connections", body).await.ok();
        id_of(&body["sourceConnection"])
    }

    /// Runs a sync to its end and answers it.
    pub async fn sync(&self, connection: &str) -> Value {
        let run = self.post(&format!("/api/v1/source-connections/{connection}/run"), json!({})).await.ok();
        assert_eq!(run["status"], json!("started"));
        self.finished(run["syncId"].as_str().expect("an id")).await
    }

    /// Follows a sync by its event stream to its end and answers it.
    pub async fn finished(&self, sync: &str) -> Value {
        let events = self.events(sync, None).await;
        let last = events.last().expect("an event");
        assert_eq!(last.name, "finished", "{events:?}");
        last.data["finished"].clone()
    }

    /// Reads an event stream to its end.
    pub async fn events(&self, sync: &str, after: Option<&str>) -> Vec<Event> {
        let mut request =
            self.request("GET", &format!("/api/v1/syncs/{sync}/events")).timeout(Duration::from_secs(300));
        request = request.header("accept", "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = request.send().await.expect("an answer");
        if response.status() == 204 {
            return Vec::new();
        }
        assert_eq!(response.status(), 200, "{:?}", response.text().await);
        let mut text = String::new();
        let mut body = response.bytes_stream();
        while let Some(chunk) = body.next().await {
            text.push_str(std::str::from_utf8(&chunk.expect("the stream goes on")).expect("UTF-8"));
        }
        canary::look_through(&text);
        parse_events(&text)
    }

    /// Every item of a collection, through ListItems.
    pub async fn items(&self, collection: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut token = String::new();
        loop {
            let path = format!("/api/v1/collections/{collection}/items?pageSize=1000&pageToken={token}");
            let mut body = self.get(&path).await.ok();
            items.append(body["items"].as_array_mut().expect("items"));
            match body["nextPageToken"].as_str() {
                Some(next) => token = next.to_owned(),
                None => return items,
            }
        }
    }
}

/// One server-sent event.
#[derive(Debug, Clone)]
pub struct Event {
    /// `id:` line.
    pub id: String,
    /// `event:` line.
    pub name: String,
    /// `data:` line.
    pub data: Value,
}

fn parse_events(text: &str) -> Vec<Event> {
    let field = |block: &str, name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name).map(|value| value.trim_start().to_owned()))
    };
    text.split("\n\n")
        .filter_map(|block| {
            let data = field(block, "data:")?;
            Some(Event {
                id: field(block, "id:").unwrap_or_default(),
                name: field(block, "event:").unwrap_or_default(),
                data: serde_json::from_str(&data).expect("JSON"),
            })
        })
        .collect()
}

/// Sends a request and reads the answer.
pub async fn send(request: reqwest::RequestBuilder) -> Reply {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let text = response.text().await.expect("a body");
    canary::look_through(&format!("{headers:?}{text}"));
    Reply { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null), text }
}

/// The `id` of a resource.
#[track_caller]
pub fn id_of(resource: &Value) -> String {
    resource["id"].as_str().expect("an id").to_owned()
}

/// Fails unless every member of `documented` is in `actual`, with the same value
/// where it is not one that varies.
#[track_caller]
pub fn contains(actual: &Value, documented: &Value, path: &str) {
    match documented {
        Value::Object(members) => {
            for (name, value) in members {
                let found = actual.get(name).unwrap_or_else(|| panic!("{path}.{name} is missing in {actual}"));
                contains(found, value, &format!("{path}.{name}"));
            }
        }
        Value::Array(elements) => {
            for (position, element) in elements.iter().enumerate() {
                contains(&actual[position], element, &format!("{path}[{position}]"));
            }
        }
        Value::String(text) if text == "<any>" => assert!(actual.is_string(), "{path} is {actual}"),
        other => assert_eq!(actual, other, "{path}"),
    }
}
