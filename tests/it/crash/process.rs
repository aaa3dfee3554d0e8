//! The real binary as a process that may die at any moment, and a client that
//! takes that for an answer.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::server::ADMIN_KEY;

/// Nothing may take longer, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks, where there is no event to wait for.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a process is started with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Aim<'a> {
    /// Where it is to die, and at the how many-eth time.
    pub point: Option<(&'a str, u32)>,
    /// The wrong order that it has.
    pub mutant: Option<&'a str>,
    /// Milliseconds between two checkpoints; few, when not given.
    pub checkpoint_ms: Option<u32>,
}

/// The process has died, and does not answer any more.
#[derive(Debug)]
pub struct Gone;

/// A running `tributary serve`; killed when dropped.
pub struct Process {
    child: Child,
    /// Kept, so that whatever it says finds a reader.
    _said: BufReader<ChildStdout>,
    /// Its API.
    pub door: Door,
    /// When it was started.
    pub started: Instant,
}

/// The API of a process, alive or dead.
#[derive(Clone)]
pub struct Door {
    base: String,
    client: reqwest::Client,
}

impl Process {
    /// Starts it below a folder; gone when it dies before it listens.
    pub async fn start(folder: &Path, aim: Aim<'_>) -> Result<Self, Gone> {
        let log = OpenOptions::new().create(true).append(true).open(folder.join("log")).expect("a log");
        let started = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
        command
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--log-level", "info", "--data-dir"])
            .arg(folder.join("data"))
            .arg("--file-roots")
            .arg(folder.join("source"))
            .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY)
            // Nobody waits for another's sync to end.
            .env("TRIBUTARY_WORKERS", "4")
            .kill_on_drop(true)
            .stdout(Stdio::piped())
            .stderr(log);
        if let Some((name, times)) = aim.point {
            command.env("TRIBUTARY_TEST_FAILPOINT", format!("{name}:{times}"));
        }
        if let Some(mutant) = aim.mutant {
            command.env("TRIBUTARY_TEST_MUTANT", mutant);
        }
        command.env("TRIBUTARY_TEST_CHECKPOINT_MS", aim.checkpoint_ms.unwrap_or(30).to_string());
        let mut child = command.spawn().expect("the binary starts");
        let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        said.read_line(&mut line).await.expect("its output can be read");
        let Ok(first) = serde_json::from_str::<Value>(&line) else {
            child.wait().await.expect("it has ended");
            return Err(Gone);
        };
        let base = format!("http://{}", first["addresses"][0].as_str().expect("an address"));
        let client = reqwest::Client::builder().timeout(PATIENCE).build().expect("a client");
        Ok(Self { child, _said: said, door: Door { base, client }, started })
    }

    /// Kills it at once.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it is ours");
    }

    /// Lets it work until it dies by itself; false, and it is killed, when the work
    /// has come to its end before that.
    pub async fn dies_of<Work: Future>(mut self, work: impl FnOnce(Door) -> Work) -> bool {
        let work = tokio::time::timeout(PATIENCE, work(self.door.clone()));
        tokio::select! {
            status = self.child.wait() => {
                assert!(!status.expect("it is ours").success(), "it was to be killed, and ended well");
                true
            }
            ended = work => {
                assert!(ended.is_ok(), "nothing happens any more");
                // Its sockets close before it can be seen to be dead.
                let is_dead = self.door.call("GET", "/healthz", None).await.is_err();
                self.child.kill().await.expect("it is ours");
                is_dead
            }
        }
    }
}

impl Door {
    /// Calls it: status and body.
    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Result<(u16, Value), Gone> {
        self.call_once(method, path, body, None).await
    }

    /// Calls it with an idempotency key.
    pub async fn call_once(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        key: Option<&str>,
    ) -> Result<(u16, Value), Gone> {
        let mut request = self.client.request(method.parse().expect("a method"), format!("{}{path}", self.base));
        request = request.bearer_auth(ADMIN_KEY);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.map_err(|_| Gone)?;
        let status = response.status().as_u16();
        let text = response.text().await.map_err(|_| Gone)?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Calls it; anything but success fails the test.
    pub async fn ok(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, body) = self.call(method, path, body).await.expect("it lives");
        assert_eq!(status, 200, "{method} {path}: {body}");
        body
    }

    /// Starts a sync.
    pub async fn run(&self, connection: &str) -> Result<String, Gone> {
        let path = format!("/api/v1/source-connections/{connection}/run");
        let (status, body) = self.call("POST", &path, Some(json!({}))).await?;
        assert_eq!(status, 200, "{body}");
        Ok(body["syncId"].as_str().expect("an id").to_owned())
    }

    /// Follows a sync to its end, which it answers; tells of each event.
    pub async fn watch(&self, sync: &str, mut tell: impl FnMut(&str, &Value)) -> Result<Value, Gone> {
        let request = self.client.get(format!("{}/api/v1/syncs/{sync}/events", self.base)).bearer_auth(ADMIN_KEY);
        let response = request.header("accept", "text/event-stream").send().await.map_err(|_| Gone)?;
        assert_eq!(response.status(), 200);
        let (mut body, mut text) = (response.bytes_stream(), String::new());
        while let Some(chunk) = body.next().await {
            text.push_str(std::str::from_utf8(&chunk.map_err(|_| Gone)?).expect("UTF-8"));
            while let Some((event, rest)) = text.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data:"));
                let data: Value = serde_json::from_str(data.unwrap_or("{}")).expect("JSON");
                for name in ["snapshot", "progress", "finished"] {
                    if let Some(value) = data.get(name) {
                        tell(name, value);
                    }
                }
                if let Some(finished) = data.get("finished") {
                    return Ok(finished.clone());
                }
                text = rest.to_owned();
            }
        }
        Err(Gone)
    }

    /// Waits until a worker has a connection's sync.
    pub async fn running(&self, connection: &str) {
        let path = format!("/api/v1/source-connections/{connection}");
        let found = self.ok("GET", &path, None).await;
        let path = format!("/api/v1/syncs/{}", found["sourceConnection"]["currentSyncId"].as_str().expect("an id"));
        while self.ok("GET", &path, None).await["sync"]["status"] == "pending" {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Items of a connection, by object.
    pub async fn items(&self, collection: &str, connection: &str) -> BTreeMap<String, Vec<Value>> {
        let (mut items, mut token) = (BTreeMap::<String, Vec<Value>>::new(), String::new());
        loop {
            let path = format!(
                "/api/v1/collections/{collection}/items?sourceConnectionId={connection}&pageSize=1000&pageToken={token}"
            );
            let body = self.ok("GET", &path, None).await;
            for item in body["items"].as_array().expect("items") {
                items.entry(item["object"].as_str().expect("an object").to_owned()).or_default().push(item.clone());
            }
            match body["nextPageToken"].as_str() {
                Some(next) => token = next.to_owned(),
                None => return items,
            }
        }
    }
}
