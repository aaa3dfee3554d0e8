//! What the operator does at the command line, seen through the door afterwards.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::process::Process;
use crate::support::server::ADMIN_KEY;

fn tributary(arguments: &[&str], data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    command.args(arguments).arg("--json").arg("--data-dir").arg(data_dir);
    command
}

#[track_caller]
fn done(mut command: Command) -> Value {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[track_caller]
fn refused(mut command: Command) -> Output {
    let output = command.output().expect("it runs");
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    output
}

/// Who started these tests, as the system says.
fn user() -> String {
    let output = Command::new("id").arg("-un").output().expect("id runs");
    String::from_utf8(output.stdout).expect("a name").trim().to_owned()
}

/// Command and outcome of every event of the operator, oldest first.
async fn told(process: &Process) -> Vec<(String, String)> {
    let body = process.call("GET", &format!("/api/v1/audit-events?pageSize=1000&actor={}", user()), None).await;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let events = body["events"].as_array().expect("events").iter().rev();
    events
        .map(|event| {
            assert_eq!(event["actorType"], "operator", "{event}");
            (text(&event["method"]), text(&event["outcome"]))
        })
        .collect()
}

fn wanted(events: &[(&str, &str)]) -> Vec<(String, String)> {
    events.iter().map(|(method, outcome)| ((*method).to_owned(), (*outcome).to_owned())).collect()
}

#[tokio::test]
async fn commands_that_change_keys_or_copy_data_are_in_the_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, other, target) = (folder.path().join("data"), folder.path().join("other"), folder.path().join("backup"));
    let process = Process::start(&data);
    process.call("POST", "/api/v1/collections", Some(json!({"name": "Kept"}))).await;

    done(tributary(&["keys", "rotate", "--new-key"], &data));
    let mut make = Command::new(env!("CARGO_BIN_EXE_tributary"));
    make.args(["keys", "encryption", "--json"]);
    let foreign = done(make);
    let foreign = foreign["keyFile"].as_str().expect("keys");
    let foreign = foreign.lines().rfind(|line| !line.starts_with('#')).expect("a key").to_owned();
    let mut with_another = tributary(&["keys", "rotate"], &data);
    with_another.env("TRIBUTARY_ENCRYPTION_KEY", &foreign);
    let said = refused(with_another);
    assert!(String::from_utf8_lossy(&said.stderr).contains("not those of this store"), "{said:?}");
    let made = done(tributary(&["keys", "create", "--name", "by hand", "--role", "viewer"], &data));
    let id = made["apiKey"]["id"].as_str().expect("an id");
    done(tributary(&["keys", "revoke", id], &data));
    let to = target.display().to_string();
    done(tributary(&["backup", "--to", &to], &data));
    // It is refused before it begins.
    refused(tributary(&["backup", "--to", &to], &data));
    let before = [
        ("keys rotate", "OK"),
        ("keys rotate", "INVALID_ARGUMENT"),
        ("keys create", "OK"),
        ("keys revoke", "OK"),
        ("backup", "OK"),
    ];
    assert_eq!(told(&process).await, wanted(&before));

    let keys = fs::read_to_string(data.join("encryption.key")).expect("a key file");
    let log = process.call("GET", "/api/v1/audit-events?pageSize=1000", None).await.to_string();
    let secrets = keys.lines().chain(foreign.lines()).filter(|line| !line.starts_with('#') && !line.is_empty());
    for secret in secrets.chain([ADMIN_KEY, made["secret"].as_str().expect("a secret")]) {
        assert!(!log.contains(secret), "a secret is in the log");
    }
    drop(process);

    fs::create_dir(&other).expect("a folder");
    fs::copy(data.join("encryption.key"), other.join("encryption.key")).expect("it is copied");
    done(tributary(&["restore", "--from", &to], &other));
    let restored = Process::start(&other);
    // The store was copied before the backup had ended.
    let after = [&before[..4], &[("backup", "UNKNOWN"), ("restore", "OK")]].concat();
    assert_eq!(told(&restored).await, wanted(&after));
}

#[tokio::test]
async fn a_command_whose_beginning_cannot_be_written_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, target) = (folder.path().join("data"), folder.path().join("backup"));
    let process = Process::start(&data);
    let behind = rusqlite::Connection::open(data.join("tributary.db")).expect("it opens");
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'no room'); END";
    behind.execute_batch(refuse).expect("a trigger");
    let keys = fs::read_to_string(data.join("encryption.key")).expect("a key file");
    refused(tributary(&["keys", "rotate", "--new-key"], &data));
    refused(tributary(&["backup", "--to", &target.display().to_string()], &data));
    assert_eq!(fs::read_to_string(data.join("encryption.key")).expect("a key file"), keys);
    assert!(!target.exists());
    behind.execute_batch("DROP TRIGGER refuse").expect("no trigger");
    assert_eq!(told(&process).await, []);
    done(tributary(&["keys", "rotate", "--new-key"], &data));
    assert_ne!(fs::read_to_string(data.join("encryption.key")).expect("a key file"), keys);
}
