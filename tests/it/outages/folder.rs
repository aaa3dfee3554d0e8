//! A data directory that cannot be written. Rights say nothing to root, so the
//! server is then somebody else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{Source, run, texts};
use crate::support::process::Process;

/// What runs the rest of its arguments as who may not write everywhere.
fn without_rights() -> Command {
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !is_root {
        return Command::new("env");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
    command
}

/// A copy of the binary where everybody may run it, beside a folder for data.
fn place() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_tributary"), folder.path().join("tributary")).unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    // Nobody's, where there is a choice.
    drop(Command::new("chown").arg("nobody").arg(&data).output());
    folder
}

fn set_mode(below: &Path, mode: u32) {
    if below.is_dir() {
        fs::read_dir(below).unwrap().flatten().for_each(|entry| set_mode(&entry.path(), mode));
        fs::set_permissions(below, fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
fn a_server_does_not_start_on_a_folder_that_it_cannot_write() {
    let place = place();
    let data = place.path().join("data");
    // Neither the folder nor a right to change that.
    drop(Command::new("chown").arg("root").arg(&data).output());
    set_mode(&data, 0o555);
    let output = without_rights()
        .arg(place.path().join("tributary"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data.join("below"))
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("data directory") && complaint.contains("cannot be used"), "{complaint}");
}

#[tokio::test]
async fn an_index_that_cannot_be_written_ends_syncs_in_words_and_is_read_on() {
    let source = Source::slow(60, 0).await;
    let place = place();
    let data = place.path().join("data");
    let process = Process::start_as(without_rights(), &place.path().join("tributary"), &data);
    let (collection, connection) = source.connect(&process, "Notes").await;
    let sync = run(&process, &connection).await;
    process.finished(&sync).await;
    source.database.connect().await.batch_execute("UPDATE stored SET text = text || ' new'").await.unwrap();
    set_mode(&data.join("index"), 0o555);
    let sync = run(&process, &connection).await;
    let ended = process.finished(&sync).await;
    assert_eq!(ended["status"], "failed", "{ended}");
    assert_eq!(texts(&process, &collection).await.len(), 60);
    process.call("POST", "/api/v1/collections", Some(json!({"name": "Still"}))).await;
    set_mode(&data.join("index"), 0o755);
    let sync = run(&process, &connection).await;
    assert_eq!(process.finished(&sync).await["status"], "succeeded");
    assert_eq!(texts(&process, &collection).await, source.titles().await);
}
