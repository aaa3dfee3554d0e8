//! A process that dies while it brings an older store, with rows in it, up to date:
//! at the beginning and the end of every statement, and again at the next start.

mod postgresql;
mod sqlite;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::process::Process;

/// Migrations of the older build: all its tables are there, and have rows.
const OLDER: u32 = 6;
/// An upgrade has fewer steps by far.
const MOST_STEPS: u32 = 200;

/// Rows by table, each as text, in order.
type Rows = BTreeMap<String, Vec<String>>;
/// What a process is told by its environment.
type Variables = Vec<(&'static str, String)>;

/// Lists the keys of a store: opens it, which brings it up to date, and no more.
fn keys(data_dir: &Path, variables: &Variables, step: Option<u32>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    command.args(["keys", "list", "--json", "--data-dir"]).arg(data_dir).envs(variables.iter().cloned());
    if let Some(step) = step {
        command.env("TRIBUTARY_TEST_MIGRATION_CRASH", step.to_string());
    }
    command.output().expect("it runs")
}

/// Dies at a step of the upgrade; false where the upgrade had ended before it.
fn dies(data_dir: &Path, variables: &Variables, step: u32) -> bool {
    assert!(step < MOST_STEPS);
    let output = keys(data_dir, variables, Some(step));
    let has_died = output.status.signal().is_some();
    assert!(has_died || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    has_died
}

/// Brings it up to date, and has the key that was made before.
#[track_caller]
fn lives(data_dir: &Path, variables: &Variables) {
    let output = keys(data_dir, variables, None);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(listed["apiKeys"][0]["name"], "kept", "{listed}");
}

/// What a server was used for.
struct Used {
    files: tempfile::TempDir,
    collection: String,
    connection: String,
    sync: String,
}

impl Used {
    /// Has a server make a collection, a connection with credentials' place, a sync
    /// and a key, and kills it.
    async fn with(data_dir: &Path, variables: &Variables) -> Self {
        let files = tempfile::tempdir().expect("a folder");
        for number in 0..12 {
            let text = format!("# Note {number}\n\nThe ferry leaves at {number}.\n");
            std::fs::write(files.path().join(format!("{number:02}.md")), text).expect("a file");
        }
        let process = Self::serve(files.path(), data_dir, variables);
        let made = process.call("POST", "/api/v1/collections", Some(json!({"name": "Kept"}))).await;
        let collection = made["collection"]["id"].as_str().expect("an id").to_owned();
        let body = json!({
            "collectionId": collection, "sourceShortName": "files", "name": "Kept", "credentials": {},
            "config": {"path": files.path()}, "schedule": {"cron": "0 3 1 1 *"},
        });
        let made = process.call("POST", "/api/v1/source-connections", Some(body)).await;
        let connection = made["sourceConnection"]["id"].as_str().expect("an id").to_owned();
        let sync = super::run(&process, &connection).await;
        process.finished(&sync).await;
        process.call("POST", "/api/v1/api-keys", Some(json!({"name": "kept", "role": "viewer"}))).await;
        Self { files, collection, connection, sync }
    }

    fn serve(files: &Path, data_dir: &Path, variables: &Variables) -> Process {
        let roots = ("TRIBUTARY_FILE_ROOTS", files.display().to_string());
        Process::start_with(data_dir, &[&variables[..], &[roots]].concat())
    }

    /// A server on the store that was brought up to date finds everything, and goes on.
    async fn is_whole(&self, data_dir: &Path, variables: &Variables) {
        let process = Self::serve(self.files.path(), data_dir, variables);
        let connection = process.call("GET", &format!("/api/v1/source-connections/{}", self.connection), None).await;
        assert_eq!(connection["sourceConnection"]["schedule"]["cron"], "0 3 1 1 *", "{connection}");
        let first = process.call("GET", &format!("/api/v1/syncs/{}", self.sync), None).await;
        assert_eq!(first["sync"]["status"], "succeeded", "{first}");
        std::fs::remove_file(self.files.path().join("03.md")).expect("it was there");
        std::fs::write(self.files.path().join("20.md"), "# Note 20\n\nA new one.\n").expect("a file");
        let sync = super::run(&process, &self.connection).await;
        let ended = process.finished(&sync).await;
        assert_eq!(ended["status"], "succeeded", "{ended}");
        let items = process.call("GET", &format!("/api/v1/collections/{}/items", self.collection), None).await;
        let key = |item: &Value| item["sourceKey"].as_str().expect("a key").to_owned();
        let found: BTreeSet<String> = items["items"].as_array().expect("items").iter().map(key).collect();
        let wanted = (0..12).filter(|number| *number != 3).chain([20]).map(|number| format!("{number:02}.md"));
        assert_eq!(found, wanted.collect());
    }
}
