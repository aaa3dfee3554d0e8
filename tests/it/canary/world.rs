//! The binary with secrets of its own in every place that takes one, and whatever
//! came out of it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tributary::secrets::KeyRing;

use super::collector::Collector;
use crate::support::grpc::{self, Client};
use crate::support::postgres::Database;

/// Letters that look different in JSON, in a URL and in base64.
const ODD: &str = r#"/+"&=%"#;

/// Everything.
pub struct World {
    folder: TempDir,
    database: Database,
    collector: Collector,
    process: Option<Child>,
    base: String,
    client: reqwest::Client,
    admin: String,
    encryption: String,
    secrets: Vec<(String, String)>,
    contents: Vec<(String, String)>,
    sinks: Vec<(&'static str, Vec<u8>)>,
    collection: String,
    connections: Vec<(String, Value)>,
}

/// What must not get out, what is content of the sources, and what came out.
pub type Outcome = (Vec<(String, String)>, Vec<(String, String)>, Vec<(&'static str, Vec<u8>)>);

impl World {
    /// Starts the binary beside a database and a folder with something to find.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Database::create().await;
        let collector = Collector::start().await;
        let master = secrecy::ExposeSecret::expose_secret(&KeyRing::generate().1).to_owned();
        let encryption = master.lines().last().expect("the key").to_owned();
        let mut world = Self {
            folder,
            database,
            collector,
            process: None,
            base: String::new(),
            client: reqwest::Client::new(),
            admin: String::new(),
            encryption: encryption.clone(),
            secrets: vec![("the encryption key".to_owned(), encryption)],
            contents: Vec::new(),
            sinks: Vec::new(),
            collection: String::new(),
            connections: Vec::new(),
        };
        world.admin = world.secret("the administrator's key");
        world.fill_sources().await;
        world.boot("json").await;
        let made = world.call("POST", "/api/v1/collections", json!({"name": "Canaries"})).await;
        world.collection = made["collection"]["id"].as_str().expect("an id").to_owned();
        world
    }

    /// A new secret; `name` is what it is called when it is found.
    fn secret(&mut self, name: &str) -> String {
        let secret = format!("secret-{}-{}{ODD}", self.secrets.len(), ulid::Ulid::new());
        self.secrets.push((name.to_owned(), secret.clone()));
        secret
    }

    /// A new text for a source to hold.
    fn content(&mut self, name: &str) -> String {
        let content = format!("content{}{}", self.contents.len(), ulid::Ulid::new());
        self.contents.push((name.to_owned(), content.clone()));
        content
    }

    async fn fill_sources(&mut self) {
        let (row, key, long) = (self.content("a row"), self.content("a key"), self.content("a row that is too long"));
        let client = self.database.connect().await;
        client
            .batch_execute(&format!(
                "CREATE TABLE people (id text PRIMARY KEY, name text);
                 INSERT INTO people VALUES ('{key}', '{row}'), ('long', repeat('{long}', 800000));
                 CREATE VIEW broken AS SELECT ('{row}')::text AS id, (name::int) AS n FROM people WHERE id = '{key}';"
            ))
            .await
            .expect("the database is filled");
        let files = self.files();
        std::fs::create_dir_all(&files).expect("a folder");
        let (text, broken, line) = (self.content("a file"), self.content("a broken file"), self.content("a line"));
        std::fs::write(files.join("note.md"), format!("# Note\n\n{text}\n")).expect("a file");
        std::fs::write(files.join("broken.pdf"), format!("%PDF-1.7 {broken}")).expect("a file");
        std::fs::write(files.join("broken.docx"), broken).expect("a file");
        let sqlite = rusqlite::Connection::open(files.join("notes.db")).expect("a database");
        let sql =
            format!("CREATE TABLE notes (id INTEGER PRIMARY KEY, line); INSERT INTO notes (line) VALUES ('{line}')");
        sqlite.execute_batch(&sql).expect("it is filled");
    }

    fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
        command
            .args(arguments)
            .env("TRIBUTARY_DATA_DIR", self.data())
            .env("TRIBUTARY_FILE_ROOTS", self.files())
            .env("TRIBUTARY_ADMIN_KEY", &self.admin)
            .env("TRIBUTARY_ENCRYPTION_KEY", &self.encryption)
            .env("TRIBUTARY_LISTEN", "127.0.0.1:0")
            .env("TRIBUTARY_LOG_LEVEL", "trace")
            .env("TRIBUTARY_OTLP_ENDPOINT", &self.collector.endpoint);
        command
    }

    async fn boot(&mut self, format: &str) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).expect("a log");
        let out = self.folder.path().join("out");
        let stdout = std::fs::File::create(&out).expect("a file");
        let mut command = self.command(&["serve", "--json", "--log-format", format]);
        self.process = Some(command.stdout(stdout).stderr(log).stdin(Stdio::null()).spawn().expect("it starts"));
        let begun = Instant::now();
        let line = loop {
            let said = std::fs::read_to_string(&out).unwrap_or_default();
            if let Some((line, _)) = said.split_once('\n') {
                break line.to_owned();
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let said: Value = serde_json::from_str(&line).expect("JSON");
        self.base = format!("http://{}", said["addresses"][0].as_str().expect("an address"));
        self.sinks.push(("standard output", line.into_bytes()));
    }

    /// Calls the REST door as the administrator; what it answers is kept.
    async fn call(&mut self, method: &str, path: &str, body: Value) -> Value {
        let request = self.client.request(method.parse().expect("a method"), format!("{}{path}", self.base));
        let request = request.bearer_auth(&self.admin);
        self.keep(if body.is_null() { request } else { request.json(&body) }).await
    }

    async fn keep(&mut self, request: reqwest::RequestBuilder) -> Value {
        let response = request.timeout(Duration::from_secs(60)).send().await.expect("an answer");
        let status = response.status();
        let headers = format!("{:?}", response.headers());
        let body = response.bytes().await.expect("a body");
        let sink = if status.is_success() { "answers" } else { "errors" };
        self.sinks.push((sink, [headers.as_bytes(), &body].concat()));
        serde_json::from_slice(&body).unwrap_or(Value::Null)
    }

    /// Every secret field of a source is filled, rightly and wrongly, and all that a
    /// connection can do is done.
    pub async fn connect(&mut self, source: &str) {
        let described = self.call("GET", &format!("/api/v1/sources/{source}"), Value::Null).await;
        let fields = described["source"]["authFields"].as_array().expect("fields").clone();
        let mut credentials = json!({});
        for field in fields.iter().filter(|field| field["type"] == json!("password")) {
            let name = field["name"].as_str().expect("a name");
            credentials[name] = json!(self.secret(&format!("{source}: {name}")));
        }
        let mut wrong = credentials.clone();
        if source == "postgresql" {
            let (role, password) = (format!("canary_{}", self.database.name), credentials["password"].clone());
            let password = password.as_str().expect("a password").replace('\'', "''");
            let sql = format!(
                "CREATE ROLE {role} LOGIN PASSWORD '{password}'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
            );
            self.database.connect().await.batch_execute(&sql).await.expect("a role");
            for credentials in [&mut credentials, &mut wrong] {
                credentials["host"] = json!("127.0.0.1");
                credentials["port"] = json!(self.database.port);
                credentials["database"] = json!(self.database.name);
                credentials["username"] = json!(role);
            }
            wrong["password"] = json!(self.secret("a wrong password"));
        }
        wrong["nobodyKnowsThis"] = json!(self.secret("an unknown field"));
        let config = match source {
            "files" => json!({"path": self.files()}),
            "sqlite" => json!({"path": self.files().join("notes.db")}),
            _ => json!({}),
        };
        let create = json!({"collectionId": self.collection, "sourceShortName": source, "name": source,
            "credentials": credentials, "config": config});
        for change in [json!({"credentials": wrong}), json!({"validateOnly": true}), json!({})] {
            let mut body = create.clone();
            body.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
            let made = self.call("POST", "/api/v1/source-connections", body).await;
            if let Some(id) = made["sourceConnection"]["id"].as_str().filter(|id| !id.is_empty()) {
                let id = id.to_owned();
                self.connections.push((id, create.clone()));
            }
        }
        let id = self.connections.last().expect("it was made").0.clone();
        let path = format!("/api/v1/source-connections/{id}");
        for (method, path) in [
            ("GET", path.clone()),
            ("POST", format!("{path}/test")),
            ("POST", format!("{path}/discover")),
            ("POST", format!("{path}/plan")),
        ] {
            let body = if method == "GET" { Value::Null } else { json!({}) };
            self.call(method, &path, body).await;
        }
        self.sync(&id).await;
    }

    async fn sync(&mut self, connection: &str) {
        let run = self.call("POST", &format!("/api/v1/source-connections/{connection}/run"), json!({})).await;
        let sync = run["syncId"].as_str().unwrap_or_else(|| panic!("it runs: {run}")).to_owned();
        let events = self.client.get(format!("{}/api/v1/syncs/{sync}/events", self.base)).bearer_auth(&self.admin);
        let events = events.header("accept", "text/event-stream").timeout(Duration::from_secs(120));
        let events = events.send().await.expect("events").bytes().await.expect("events");
        self.sinks.push(("events", events.to_vec()));
        for path in [format!("/api/v1/syncs/{sync}"), format!("/api/v1/syncs/{sync}/errors")] {
            self.call("GET", &path, Value::Null).await;
        }
        let words: Vec<String> = self.contents.iter().map(|(_, word)| word.clone()).collect();
        for word in words {
            let body = json!({"collectionId": self.collection, "query": word});
            self.call("POST", "/api/v1/search", body).await;
        }
    }

    /// What is refused, with secrets where they do not belong. Names of fields are none:
    /// an error tells its caller which it does not know.
    pub async fn say_what_is_wrong(&mut self) {
        let stray = self.secret("a secret in the wrong place");
        let (connection, create) = self.connections[0].clone();
        let put = format!("/api/v1/source-connections/{connection}/credentials");
        for credentials in [
            json!({"host": stray, "port": stray, "username": [stray], "password": {"a": stray}}),
            json!(stray),
            json!({"nobodyKnowsThis": stray}),
        ] {
            self.call("PUT", &put, json!({"credentials": credentials})).await;
            let mut body = create.clone();
            body["credentials"] = credentials;
            body["config"] = json!({"tables": stray, "nobodyKnowsThis": stray});
            self.call("POST", "/api/v1/source-connections", body).await;
        }
        for body in [format!("{{\"credentials\": \"{stray}"), stray.clone(), format!("[{}]", json!(stray))] {
            let request = self.client.put(format!("{}{put}", self.base)).bearer_auth(&self.admin).body(body);
            self.keep(request.header("content-type", "application/json")).await;
        }
        let nobody = self.secret("a key that nobody has");
        for (name, value) in [
            ("authorization", format!("Bearer {nobody}")),
            ("authorization", format!("Basic {nobody}")),
            ("authorization", nobody.clone()),
            ("x-api-key", nobody.clone()),
            ("cookie", format!("session={nobody}")),
            ("proxy-authorization", nobody.clone()),
            ("x-forwarded-authorization", nobody.clone()),
        ] {
            let request = self.client.get(format!("{}/api/v1/collections", self.base));
            self.keep(request.header(name, value)).await;
        }
    }

    /// Keys are shown once, used, refused and revoked.
    pub async fn make_and_use_keys(&mut self) {
        for role in ["viewer", "runner", "editor", "owner", "admin"] {
            let body = json!({"name": role, "role": role});
            let answered =
                self.client.post(format!("{}/api/v1/api-keys", self.base)).bearer_auth(&self.admin).json(&body);
            let made: Value = answered.send().await.expect("an answer").json().await.expect("JSON");
            // The one answer that shows it is not among the sinks.
            let secret = made["secret"].as_str().expect("the secret").to_owned();
            self.secrets.push((format!("a {role}'s key"), secret.clone()));
            let id = made["apiKey"]["id"].as_str().expect("an id").to_owned();
            let cut = &secret[..secret.len() - 1];
            for key in [secret.as_str(), cut] {
                let request = self.client.get(format!("{}/api/v1/collections", self.base)).bearer_auth(key);
                self.keep(request).await;
                let request = self.client.post(format!("{}/api/v1/api-keys", self.base)).header("x-api-key", key);
                self.keep(request.json(&body)).await;
            }
            self.call("GET", &format!("/api/v1/api-keys/{id}"), Value::Null).await;
            self.call("GET", "/api/v1/api-keys?pageSize=1", Value::Null).await;
            self.call("DELETE", &format!("/api/v1/api-keys/{id}"), Value::Null).await;
            let request = self.client.get(format!("{}/api/v1/collections", self.base)).bearer_auth(&secret);
            self.keep(request).await;
        }
    }

    /// New credentials, of which the source knows nothing.
    pub async fn change_credentials(&mut self) {
        let (connection, create) = self.connections[0].clone();
        let mut credentials = create["credentials"].clone();
        credentials["password"] = json!(self.secret("a password that was put later"));
        let path = format!("/api/v1/source-connections/{connection}");
        self.call("PUT", &format!("{path}/credentials"), json!({"credentials": credentials})).await;
        for call in ["test", "discover", "run"] {
            self.call("POST", &format!("{path}/{call}"), json!({})).await;
        }
        self.call("PUT", &format!("{path}/credentials"), json!({"credentials": create["credentials"]})).await;
        self.call("POST", &format!("{path}/test"), json!({})).await;
    }

    /// Killed, and started again with a log for people.
    pub async fn kill_and_start_again(&mut self) {
        let connection = self.connections[0].0.clone();
        self.call("POST", &format!("/api/v1/source-connections/{connection}/run"), json!({})).await;
        self.kill();
        self.boot("text").await;
        self.sync_when_free(&connection).await;
    }

    async fn sync_when_free(&mut self, connection: &str) {
        let syncs = format!("/api/v1/syncs?sourceConnectionId={connection}");
        let begun = Instant::now();
        loop {
            let listed = self.call("GET", &syncs, Value::Null).await;
            let active = ["pending", "running", "waiting", "cancelling"];
            let is_active = |sync: &Value| active.iter().any(|status| sync["status"] == json!(status));
            if !listed["syncs"].as_array().expect("syncs").iter().any(is_active) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "{listed}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.sync(connection).await;
    }

    /// gRPC; what it answers as JSON, and its refusals.
    pub async fn speak_other_protocols(&mut self) {
        let client = Client::connect(&self.base).await;
        let (connection, create) = self.connections[0].clone();
        let stray = self.secret("a secret over gRPC");
        let mut wrong = create.clone();
        wrong["credentials"] = json!({"password": stray, "port": stray, "nobodyKnowsThis": stray});
        for (method, request) in [
            ("CreateSourceConnection", wrong.clone()),
            ("UpdateSourceConnectionCredentials", json!({"id": connection, "credentials": wrong["credentials"]})),
            ("GetSourceConnection", json!({"id": connection})),
            ("TestSourceConnection", json!({"id": connection})),
            ("ListApiKeys", json!({})),
        ] {
            for key in [self.admin.as_str(), stray.as_str()] {
                let answer = client.call(&grpc::method(method), &request, Some(key)).await;
                let (sink, bytes) = match answer {
                    Ok(message) => ("answers", message.to_string().into_bytes()),
                    Err(status) => ("errors", [format!("{status:?}").as_bytes(), status.details()].concat()),
                };
                self.sinks.push((sink, bytes));
            }
        }
    }

    /// Cleared and deleted, and what pages and commands say.
    pub async fn remove(&mut self) {
        for path in ["/openapi.json", "/docs", "/api/v1/sources", "/api/v1/source-connections", "/api/v1/syncs"] {
            self.call("GET", path, Value::Null).await;
        }
        let metrics = self.client.get(format!("{}/metrics", self.base)).bearer_auth(&self.admin);
        let metrics = metrics.send().await.expect("metrics").bytes().await.expect("metrics");
        self.sinks.push(("metrics", metrics.to_vec()));
        // While all of it is there.
        self.keep_data();
        let connection = self.connections[0].0.clone();
        self.call("DELETE", &format!("/api/v1/source-connections/{connection}"), Value::Null).await;
        for arguments in [["config", "--json"].as_slice(), &["config"], &["doctor"], &["keys", "list"]] {
            let output = self.command(arguments).output().expect("it runs");
            let sink = if arguments[0] == "config" { "configuration" } else { "commands" };
            self.sinks.push((sink, [output.stdout, output.stderr].concat()));
        }
    }

    fn keep_data(&mut self) {
        let mut folders = vec![self.data()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    self.sinks.push(("data directory", std::fs::read(entry.path()).unwrap_or_default()));
                }
            }
        }
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            drop(process.wait());
        }
    }

    /// Stops it in good order, so that what it holds back is sent.
    pub async fn end(mut self) -> Outcome {
        let process = self.process.as_ref().expect("it runs").id();
        let stopped = Command::new("kill").arg(process.to_string()).status().expect("kill is there");
        assert!(stopped.success());
        let mut child = self.process.take().expect("it runs");
        tokio::task::spawn_blocking(move || child.wait()).await.expect("no panic").expect("it ends");
        self.keep_data();
        let log = std::fs::read(self.log()).expect("the log");
        self.sinks.push(("log", log));
        self.sinks.push(("traces", self.collector.kept()));
        (std::mem::take(&mut self.secrets), std::mem::take(&mut self.contents), std::mem::take(&mut self.sinks))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a search found what the sources hold, and so whether they were read.
pub fn content_is_found(sinks: &[(&'static str, Vec<u8>)]) -> bool {
    let found = |bytes: &[u8]| {
        let answer = String::from_utf8_lossy(bytes);
        answer.contains("\"results\":[{") || answer.contains("\"results\": [{")
    };
    sinks.iter().any(|(sink, bytes)| *sink == "answers" && found(bytes))
}
