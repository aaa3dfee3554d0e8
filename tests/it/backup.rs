//! Backups that are taken while the server works, and what comes back of them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tributary::backup::{self, BackupError, restore};
use tributary::store::audit::Wanted;
use tributary::store::{Store, Visible};

use crate::support::postgres::{self, Database};
use crate::support::process::Process;

/// A database as the source, a data directory, and room for backups.
struct World {
    folder: tempfile::TempDir,
    database: Database,
}

impl World {
    async fn with_rows(rows: u32) -> Self {
        let database = Database::create().await;
        let sql = format!(
            "CREATE TABLE notes (id int PRIMARY KEY, text text NOT NULL);
             INSERT INTO notes SELECT n, 'note ' || n FROM generate_series(1, {rows}) n"
        );
        database.connect().await.batch_execute(&sql).await.unwrap();
        Self { folder: tempfile::tempdir().unwrap(), database }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a collection with a connection to the database.
    async fn connect(&self, process: &Process, name: &str) -> Place {
        let made = process.call("POST", "/api/v1/collections", Some(json!({"name": name}))).await;
        let collection = made["collection"]["id"].as_str().unwrap().to_owned();
        let connection = self.add(process, &collection, name).await;
        Place { collection, connection }
    }

    async fn add(&self, process: &Process, collection: &str, name: &str) -> String {
        let body = json!({
            "collectionId": collection, "sourceShortName": "postgresql", "name": name,
            "credentials": {
                "host": "127.0.0.1", "port": self.database.port, "database": self.database.name,
                "username": postgres::USER, "password": postgres::PASSWORD,
            },
        });
        let made = process.call("POST", "/api/v1/source-connections", Some(body)).await;
        made["sourceConnection"]["id"].as_str().unwrap().to_owned()
    }

    /// What the source has, as `id text`.
    async fn source(&self) -> BTreeSet<String> {
        let rows = self.database.connect().await.query("SELECT id || ' ' || text FROM notes", &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn change(&self, sql: &str) {
        self.database.connect().await.batch_execute(sql).await.unwrap();
    }

    /// A data directory in which a backup is, with the key of the first.
    fn restore(&self, backup: &Path, name: &str) -> (PathBuf, Output) {
        let target = self.path(name);
        fs::create_dir(&target).unwrap();
        fs::copy(self.path("data/encryption.key"), target.join("encryption.key")).unwrap();
        let output = run("restore", &["--from", backup.to_str().unwrap()], &target);
        (target, output)
    }
}

/// A collection and its connection.
struct Place {
    collection: String,
    connection: String,
}

impl Place {
    async fn start_sync(&self, process: &Process) -> String {
        let path = format!("/api/v1/source-connections/{}/run", self.connection);
        process.call("POST", &path, Some(json!({}))).await["syncId"].as_str().unwrap().to_owned()
    }

    async fn sync(&self, process: &Process) -> Value {
        let id = self.start_sync(process).await;
        process.finished(&id).await
    }

    /// What is indexed, as `id text`.
    async fn items(&self, process: &Process) -> BTreeSet<String> {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/collections/{}/items?pageSize=1000&pageToken={token}", self.collection);
            let page = process.call("GET", &path, None).await;
            let text = |item: &Value| {
                let Value::Object(row) = &item["metadata"] else { panic!("{item}") };
                format!("{} {}", row["id"], row["text"].as_str().unwrap())
            };
            found.extend(page["items"].as_array().unwrap().iter().map(text));
            match page["nextPageToken"].as_str() {
                Some(next) => token = next.to_owned(),
                None => break,
            }
        }
        let once: BTreeSet<String> = found.iter().cloned().collect();
        assert_eq!(once.len(), found.len(), "a record is there twice");
        once
    }
}

fn run(command: &str, flags: &[&str], data_dir: &Path) -> Output {
    tributary(command, flags, data_dir).output().unwrap()
}

fn tributary(command: &str, flags: &[&str], data_dir: &Path) -> Command {
    let mut tributary = Command::new(env!("CARGO_BIN_EXE_tributary"));
    tributary.arg(command).args(flags).arg("--data-dir").arg(data_dir).arg("--json");
    tributary.stdout(Stdio::piped()).stderr(Stdio::piped());
    tributary
}

#[track_caller]
fn said(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refused(output: &Output, word: &str) {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && complaint.contains(word), "{complaint}");
}

#[tokio::test]
async fn a_backup_taken_while_a_sync_runs_is_exact_after_the_next_sync() {
    let world = World::with_rows(4_000).await;
    let process = Process::start(&world.path("data"));
    let settled = world.connect(&process, "Settled").await;
    settled.sync(&process).await;
    let busy = world.connect(&process, "Busy").await;
    let sync = busy.start_sync(&process).await;
    process.until_read(&sync).await;
    let target = world.path("backup");
    let made = said(&run("backup", &["--to", target.to_str().unwrap()], &world.path("data")));
    assert!(made["files"].as_u64().unwrap() > 5 && made["keyIds"].as_array().unwrap().len() == 1, "{made}");
    process.finished(&sync).await;

    // The world goes on, and the first server with it; then it is lost.
    world
        .change(
            "DELETE FROM notes WHERE id % 50 = 0; UPDATE notes SET text = 'changed' WHERE id % 7 = 0;
             INSERT INTO notes SELECT n, 'new ' || n FROM generate_series(10001, 10100) n",
        )
        .await;
    settled.sync(&process).await;
    assert_eq!(settled.items(&process).await, world.source().await);
    drop(process);

    let (data, output) = world.restore(&target, "second");
    let restored = said(&output);
    assert_eq!(restored["missingKeyIds"], json!([]), "{restored}");
    let process = Process::start(&data);
    for place in [&settled, &busy] {
        // The sync that was under way goes on by itself first.
        process.until_idle(&place.connection).await;
        let sync = place.sync(&process).await;
        assert_eq!(sync["status"], "succeeded", "{sync}");
        assert_eq!(place.items(&process).await, world.source().await);
    }
}

#[tokio::test]
async fn what_the_copied_store_does_not_know_is_not_found_after_a_restore() {
    let world = World::with_rows(30).await;
    let process = Process::start(&world.path("data"));
    let first = world.connect(&process, "First").await;
    first.sync(&process).await;
    let data = world.path("data");
    let store = Store::open(&format!("sqlite://{}", data.join("tributary.db").display())).await.unwrap();
    store.deployment().await.unwrap();
    let copied = world.path("copied.db");
    store.copy_to(&copied).await.unwrap();
    store.close().await;
    // Made between the copy of the store and that of the index: in the same
    // collection, and in a new one.
    let added = world.add(&process, &first.collection, "Late").await;
    Place { collection: first.collection.clone(), connection: added }.sync(&process).await;
    let late = world.connect(&process, "Late").await;
    late.sync(&process).await;

    let store = Store::open(&format!("sqlite://{}", copied.display())).await.unwrap();
    let target = world.path("backup");
    let made = backup::make(&store, &data, &target, |_| {}).await.unwrap();
    store.close().await;
    assert!(made.manifest.files.iter().any(|file| file.path.contains(&late.collection)));
    drop(process);
    let (data, output) = world.restore(&target, "second");
    assert_eq!(said(&output)["orphanedItems"], 30);
    assert!(!data.join("index").join(&late.collection).exists());
    let process = Process::start(&data);
    assert_eq!(first.items(&process).await, world.source().await);
}

#[tokio::test]
async fn a_backup_that_was_killed_does_not_look_whole_and_the_next_one_is() {
    let world = World::with_rows(30).await;
    let data = world.path("data");
    let process = Process::start(&data);
    let place = world.connect(&process, "Notes").await;
    place.sync(&process).await;
    let target = world.path("backup");
    // It waits for this lock when the store is copied and the index is not.
    let lock = File::create(data.join("index").join(&place.collection).join(".tantivy-meta.lock")).unwrap();
    lock.lock().unwrap();
    let flags = ["--to", target.to_str().unwrap()];
    let mut killed = tributary("backup", &flags, &data).spawn().unwrap();
    let staged = data.join(".backup/tributary.db");
    while !staged.exists() {
        tokio::task::yield_now().await;
    }
    refused(&run("backup", &["--to", world.path("other").to_str().unwrap()], &data), "another backup");
    killed.kill().unwrap();
    killed.wait().unwrap();
    lock.unlock().unwrap();

    assert!(!target.exists());
    let names = fs::read_dir(world.folder.path()).unwrap().flatten().map(|entry| entry.path());
    let partial: Vec<PathBuf> = names.filter(|path| path.to_str().unwrap().contains(".partial-")).collect();
    assert_eq!(partial.len(), 1);
    refused(&run("restore", &["--from", partial[0].to_str().unwrap()], &world.path("nothing")), "not a whole backup");
    said(&run("backup", &flags, &data));
    assert!(!data.join(".backup").exists());
    refused(&run("backup", &flags, &data), "exists already");
}

#[tokio::test]
async fn a_restore_refuses_what_is_damaged_and_where_something_is() {
    let world = World::with_rows(30).await;
    let data = world.path("data");
    let process = Process::start(&data);
    world.connect(&process, "Notes").await.sync(&process).await;
    let target = world.path("backup");
    said(&run("backup", &["--to", target.to_str().unwrap()], &data));
    let from = ["--from", target.to_str().unwrap()];
    refused(&run("restore", &from, &data), "a server is running");
    drop(process);
    refused(&run("restore", &from, &data), "not empty");

    let manifest: Value = serde_json::from_slice(&fs::read(target.join("manifest.json")).unwrap()).unwrap();
    for entry in manifest["files"].as_array().unwrap() {
        let path = target.join(entry["path"].as_str().unwrap());
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x10;
        fs::write(&path, flipped).unwrap();
        let (place, output) = world.restore(&target, "damaged");
        refused(&output, "is not what it was");
        let left: Vec<_> = fs::read_dir(&place).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert!(left.iter().all(|name| name == "lock" || name == "encryption.key"), "{left:?}");
        fs::remove_dir_all(&place).unwrap();
        fs::write(&path, whole).unwrap();
    }
    // Without the key it says which one is needed.
    let output = run("restore", &from, &world.path("keyless"));
    assert_eq!(said(&output)["missingKeyIds"], manifest["keyIds"]);
}

/// Command and outcome of the events of a store, newest first.
async fn logged(database: &Database) -> Vec<(String, Option<String>)> {
    let store = Store::open(&database.url()).await.unwrap();
    let events = store.audit_events(&Visible::All, &Wanted::default(), None, 10).await.unwrap();
    store.close().await;
    events.into_iter().map(|event| (event.event.method, event.outcome)).collect()
}

#[tokio::test]
async fn the_index_of_a_postgresql_store_goes_back_to_that_store_only() {
    let world = World::with_rows(30).await;
    let process = Process::start(&world.path("data"));
    world.connect(&process, "Notes").await.sync(&process).await;
    let (ours, other) = (Database::create().await, Database::create().await);
    let store = Store::open(&ours.url()).await.unwrap();
    let target = world.path("backup");
    let made = backup::make(&store, &world.path("data"), &target, |_| {}).await.unwrap();
    store.close().await;
    assert_eq!(made.manifest.store, "postgresql");
    assert!(made.manifest.files.iter().all(|file| file.path.starts_with("index/")));
    let into = |name: &str| world.path(name);
    let wrong = restore::restore(&target, &into("wrong"), &other.url(), |_| {}).await.unwrap_err();
    assert!(matches!(wrong, BackupError::OtherDeployment), "{wrong}");
    let wrong = restore::restore(&target, &into("wrong"), "sqlite:///x/tributary.db", |_| {}).await.unwrap_err();
    assert!(matches!(wrong, BackupError::OtherStore(_)), "{wrong}");
    restore::restore(&target, &into("right"), &ours.url(), |_| {}).await.unwrap();
    assert_eq!(logged(&other).await, [("restore".to_owned(), Some("INVALID_ARGUMENT".to_owned()))]);
    let ok = Some("OK".to_owned());
    assert_eq!(logged(&ours).await, [("restore".to_owned(), ok.clone()), ("backup".to_owned(), ok)]);
}
