//! The real binary as a process.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::server::{ADMIN_KEY, send};

/// A running `tributary serve`; killed when dropped.
pub struct Process {
    child: Child,
    base: String,
    client: reqwest::Client,
}

impl Process {
    /// Starts it on a data directory.
    pub fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, [])
    }

    /// Starts it with more flags.
    pub fn start_with(data_dir: &Path, flags: impl IntoIterator<Item = String>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tributary"))
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--log-level", "warn", "--data-dir"])
            .arg(data_dir)
            .args(flags)
            .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY)
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
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.base));
        let request = request.bearer_auth(ADMIN_KEY);
        send(if let Some(body) = body { request.json(&body) } else { request }).await.ok()
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// Its number among processes.
    pub fn id(&self) -> u32 {
        self.child.id()
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
