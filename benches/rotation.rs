//! How long `tributary keys rotate` takes for many credentials while calls go on,
//! and what it costs those calls:
//!
//! ```text
//! cargo bench --bench rotation -- 100000
//! ```
//!
//! The goal is 100,000 in at most 60 s. The data is made in the folder that it is
//! run in, in a folder of its own that is removed again.

#[path = "../tests/it/support/crowd.rs"]
#[allow(unreachable_pub)]
mod crowd;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

type Failed = Box<dyn std::error::Error + Send + Sync>;

const KEY: &str = "an-admin-key-for-the-bench";
const QUIET: Duration = Duration::from_secs(5);

fn main() -> Result<(), Failed> {
    // Cargo adds arguments of its own.
    let count = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let Some(count) = count.and_then(|count| count.parse().ok()) else {
        println!("give how many credentials to rotate");
        return Ok(());
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(count))
}

/// A running server; killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn measure(count: usize) -> Result<(), Failed> {
    let folder = tempfile::tempdir_in(".")?;
    let (_server, base) = serve(folder.path())?;
    let client = reqwest::Client::new();
    let template = connection(&client, &base).await?;
    crowd::gather(folder.path(), &template, count - 1).await;

    let calls = Calls { client, base, template };
    let quiet = calls.until(tokio::time::sleep(QUIET)).await?;
    println!("calls before:     {quiet}");
    let path = folder.path().to_owned();
    let started = Instant::now();
    let rotation = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_tributary"))
            .args(["keys", "rotate", "--new-key", "--json", "--data-dir"])
            .arg(path)
            .stderr(Stdio::inherit())
            .output()
    });
    let ended = AtomicBool::new(false);
    let noted = async {
        let rotated = rotation.await;
        ended.store(true, Ordering::Relaxed);
        rotated
    };
    let (rotated, during) = tokio::join!(noted, calls.until_set(&ended));
    let seconds = started.elapsed().as_secs_f64();
    let output = rotated??;
    if !output.status.success() {
        return Err("the rotation failed".into());
    }
    let said: Value = serde_json::from_slice(&output.stdout)?;
    println!("calls meanwhile:  {}", during?);
    println!("{} credentials in {seconds:.1} s, {:.0} a second", said["rewrapped"], count as f64 / seconds);
    Ok(())
}

fn serve(data_dir: &Path) -> Result<(Server, String), Failed> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tributary"))
        .args(["serve", "--json", "--listen", "127.0.0.1:0", "--log-level", "warn", "--data-dir"])
        .arg(data_dir)
        .env("TRIBUTARY_ADMIN_KEY", KEY)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let output = child.stdout.take().ok_or("it has no output")?;
    let server = Server(child);
    BufReader::new(output).read_line(&mut line)?;
    let said: Value = serde_json::from_str(&line)?;
    Ok((server, format!("http://{}/api/v1", said["addresses"][0].as_str().ok_or("no address")?)))
}

async fn connection(client: &reqwest::Client, base: &str) -> Result<String, Failed> {
    let post = async |path: &str, body: Value| -> Result<Value, Failed> {
        let request = client.post(format!("{base}{path}")).bearer_auth(KEY).json(&body);
        Ok(request.send().await?.error_for_status()?.json().await?)
    };
    let collection = post("/collections", json!({"name": "Rotated"})).await?;
    let body = json!({
        "collectionId": collection["collection"]["id"], "sourceShortName": "postgresql", "name": "Template",
        "credentials": {"host": "127.0.0.1", "port": 5432, "database": "d", "username": "u", "password": "p"},
    });
    let made = post("/source-connections", body).await?;
    Ok(made["sourceConnection"]["id"].as_str().ok_or("no id")?.to_owned())
}

/// Reads and writes, one after the other.
struct Calls {
    client: reqwest::Client,
    base: String,
    template: String,
}

impl Calls {
    async fn until(&self, end: impl Future<Output = ()>) -> Result<String, Failed> {
        let ended = AtomicBool::new(false);
        let noted = async {
            end.await;
            ended.store(true, Ordering::Relaxed);
        };
        tokio::join!(noted, self.until_set(&ended)).1
    }

    async fn until_set(&self, ended: &AtomicBool) -> Result<String, Failed> {
        let path = format!("{}/source-connections/{}", self.base, self.template);
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        while !ended.load(Ordering::Relaxed) {
            let read = self.client.get(&path);
            let write = self.client.patch(&path).json(&json!({"description": writes.len().to_string()}));
            for (request, times) in [(read, &mut reads), (write, &mut writes)] {
                let started = Instant::now();
                request.bearer_auth(KEY).send().await?.error_for_status()?;
                times.push(started.elapsed());
            }
        }
        Ok(format!("{} of each; reads {}; writes {}", reads.len(), spread(reads), spread(writes)))
    }
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).copied().unwrap_or_default().as_secs_f64();
    format!("p50 {:.1} ms, p99 {:.1} ms", at(0.5) * 1e3, at(0.99) * 1e3)
}
