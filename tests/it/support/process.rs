//! The real binary as a process.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::server::{ADMIN_KEY, Reply, send};

/// A running `tributary serve`; killed when dropped.
pub struct Process {
    child: Child,
    base: String,
    client: reqwest::Client,
}

impl Process {
    /// Starts it on a data directory.
    pub fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, &[])
    }

    /// Starts it with these variables too.
    pub fn start_with(data_dir: &Path, variables: &[(&str, String)]) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_tributary")), data_dir, variables)
    }

    /// Starts it as what a command runs that takes another and its arguments.
    pub fn start_by(mut command: Command, data_dir: &Path, variables: &[(&str, String)]) -> Self {
        command.arg(env!("CARGO_BIN_EXE_tributary"));
        Self::run(command, data_dir, variables)
    }

    /// Starts a copy of it so.
    pub fn start_as(mut command: Command, copy: &Path, data_dir: &Path) -> Self {
        command.arg(copy);
        Self::run(command, data_dir, &[])
    }

    fn run(mut command: Command, data_dir: &Path, variables: &[(&str, String)]) -> Self {
        let mut child = command
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--log-level", "warn", "--data-dir"])
            .arg(data_dir)
            .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY)
            .envs(variables.iter().cloned())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).expect("it says where it listens");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in `{line}`"));
        let base = format!("http://{}", said["addresses"][0].as_str().unwrap());
        // No connection of ours stays open in what it has open.
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { child, base, client }
    }

    /// Calls it; anything but success fails the test.
    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        self.ask(method, path, body).await.ok()
    }

    /// Calls it, whatever it answers.
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.base));
        let request = request.bearer_auth(ADMIN_KEY);
        send(if let Some(body) = body { request.json(&body) } else { request }).await
    }

    /// Waits for the end of a sync and answers it.
    pub async fn finished(&self, sync: &str) -> Value {
        self.until(&format!("/api/v1/syncs/{sync}"), |body| !body["sync"]["finishedAt"].is_null()).await["sync"].clone()
    }

    /// Waits until a sync has read something.
    pub async fn until_read(&self, sync: &str) {
        let read = |body: &Value| {
            let items = &body["sync"]["progress"]["itemsRead"];
            items.as_str().is_some_and(|items| items != "0") || !body["sync"]["finishedAt"].is_null()
        };
        self.until(&format!("/api/v1/syncs/{sync}"), read).await;
    }

    /// Waits until a connection has no sync on its way.
    pub async fn until_idle(&self, connection: &str) {
        let idle = |body: &Value| body["sourceConnection"]["currentSyncId"].as_str().unwrap_or_default().is_empty();
        self.until(&format!("/api/v1/source-connections/{connection}"), idle).await;
    }

    /// Asks until the answer is as wanted.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let body = self.call("GET", path, None).await;
            if wanted(&body) {
                return body;
            }
            assert!(Instant::now() < deadline, "{body}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// Its number among processes.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, by name.
    pub fn tell(&self, signal: &str) {
        let told = Command::new("kill").args(["-s", signal, &self.id().to_string()]).status();
        assert!(told.expect("kill runs").success());
    }

    /// Waits until its metrics have a line.
    pub async fn until_metrics_say(&self, line: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let reply = self.client.get(format!("{}/metrics", self.base)).bearer_auth(ADMIN_KEY);
            let text = send(reply).await.text;
            if text.lines().any(|found| found == line) {
                return;
            }
            assert!(Instant::now() < deadline, "no `{line}` in {text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
