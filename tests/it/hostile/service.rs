//! The real binary, whose memory is looked at all the time and whose log, at its
//! most talkative, is read at the end.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{MARKER, MOST_MEMORY, PASSWORD};
use crate::support::server::{ADMIN_KEY, Reply, id_of, send};

/// A running one; killed when dropped.
pub struct Service {
    child: Child,
    base: String,
    client: reqwest::Client,
    folder: tempfile::TempDir,
    highest: Arc<AtomicU64>,
    parsers: Arc<AtomicU64>,
    watch: JoinHandle<()>,
    collection: String,
}

impl Service {
    /// Starts it, with a collection and a folder of files. Its log says everything.
    pub async fn start() -> Self {
        Self::start_with(&["--log-level", "trace"]).await
    }

    /// Starts it with these flags.
    pub async fn start_with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("files")).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tributary"))
            .args(["serve", "--json", "--listen", "127.0.0.1:0"])
            .args(flags)
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .arg("--file-roots")
            .arg(folder.path().join("files"))
            .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).expect("it says where it listens");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in `{line}`"));
        let base = format!("http://{}", said["addresses"][0].as_str().unwrap());
        let highest = Arc::new(AtomicU64::new(0));
        let parsers = Arc::new(AtomicU64::new(0));
        let (peak, others, process) = (highest.clone(), parsers.clone(), child.id());
        let watch = tokio::spawn(async move {
            while let Some(memory) = resident(process) {
                peak.fetch_max(memory, Ordering::SeqCst);
                others.fetch_max(resident_of_children(process), Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let client = reqwest::Client::new();
        let mut service = Self { child, base, client, folder, highest, parsers, watch, collection: String::new() };
        let made = service.call("POST", "/api/v1/collections", Some(json!({"name": "Hostile"}))).await.ok();
        service.collection = id_of(&made["collection"]);
        service
    }

    /// Calls it.
    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.base));
        let request = request.bearer_auth(ADMIN_KEY).timeout(Duration::from_secs(120));
        send(if let Some(body) = body { request.json(&body) } else { request }).await
    }

    /// The collection that all its connections are in.
    pub fn collection(&self) -> &str {
        &self.collection
    }

    /// Folder of files that it may read.
    pub fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    /// A connection to a server on this machine.
    pub async fn connect(&self, port: u16, database: &str, login: (&str, &str), config: Value) -> String {
        let body = json!({
            "collectionId": self.collection, "sourceShortName": "postgresql", "name": "Rogue", "config": config,
            "credentials": {
                "host": "127.0.0.1", "port": port, "database": database, "username": login.0, "password": login.1,
            },
        });
        id_of(&self.call("POST", "/api/v1/source-connections", Some(body)).await.ok()["sourceConnection"])
    }

    /// A connection to a source of files.
    pub async fn connect_files(&self, source: &str, config: Value) -> String {
        self.connect_source(source, json!({}), config).await
    }

    /// A connection to any source.
    pub async fn connect_source(&self, source: &str, credentials: Value, config: Value) -> String {
        let body = json!({
            "collectionId": self.collection, "sourceShortName": source, "name": "Rogue", "config": config,
            "credentials": credentials,
        });
        id_of(&self.call("POST", "/api/v1/source-connections", Some(body)).await.ok()["sourceConnection"])
    }

    /// A rogue's connection.
    pub async fn connect_rogue(&self, port: u16) -> String {
        self.connect(port, "shop", ("reader", PASSWORD), json!({})).await
    }

    /// Starts a sync and answers its id.
    pub async fn run(&self, connection: &str) -> String {
        let path = format!("/api/v1/source-connections/{connection}/run");
        self.call("POST", &path, Some(json!({}))).await.ok()["syncId"].as_str().unwrap().to_owned()
    }

    /// Looks at a sync until it is in one of these states; fails after five minutes.
    pub async fn until(&self, sync: &str, states: &[&str]) -> Value {
        for _ in 0..1500 {
            let body = self.call("GET", &format!("/api/v1/syncs/{sync}"), None).await.ok();
            if states.contains(&body["sync"]["status"].as_str().unwrap_or_default()) {
                return body["sync"].clone();
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("{sync} is stuck: {}", self.call("GET", &format!("/api/v1/syncs/{sync}"), None).await.text);
    }

    /// Its memory now; what is measured from here on is what is added to it.
    pub fn measure(&self) -> u64 {
        let now = resident(self.child.id()).expect("it runs");
        self.highest.store(now, Ordering::SeqCst);
        now
    }

    /// MiB that were added at the most since then.
    pub fn rise(&self, since: u64) -> u64 {
        (self.highest.load(Ordering::SeqCst).saturating_sub(since)) / 1024
    }

    /// MiB that the processes had at the most that it started to parse documents.
    pub fn parsers_peak(&self) -> u64 {
        self.parsers.load(Ordering::SeqCst) / 1024
    }

    /// Fails if more was added than one hostile source may.
    pub fn assert_rise(&self, since: u64, what: &str) {
        let rise = self.rise(since);
        println!("{what}: memory rose by {rise} MiB");
        assert!(rise < MOST_MEMORY, "{what}: memory rose by {rise} MiB");
    }

    /// Fails if the log has a word of a rogue, or a password, or an escape code.
    pub fn assert_silent(&self) {
        let log = std::fs::read(self.folder.path().join("log")).unwrap();
        assert!(!log.is_empty(), "there is a log");
        for word in [MARKER.as_bytes(), PASSWORD.as_bytes(), b"hunter2", b"\x1b]0;", b"\x1b[2J"] {
            let found = log.windows(word.len()).position(|window| window == word);
            if let Some(place) = found {
                let line =
                    String::from_utf8_lossy(&log[place.saturating_sub(300)..(place + 200).min(log.len())]).into_owned();
                panic!("{} is in the log: {line:?}", String::from_utf8_lossy(word));
            }
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.watch.abort();
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Resident memory of the processes that it started, whichever thread did.
fn resident_of_children(process: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<u32> = lists
        .flat_map(|list| list.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>())
        .collect();
    children.into_iter().filter_map(resident).sum()
}

/// Resident memory in KiB that no file stands for.
fn resident(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
