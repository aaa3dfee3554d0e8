//! Bits that a disk has turned over.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Source, run, texts};
use crate::support::process::Process;

fn flip(path: &Path, at: usize) {
    let mut content = fs::read(path).unwrap();
    content[at] ^= 0x10;
    fs::write(path, content).unwrap();
}

/// The largest file of a folder.
fn largest(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    files.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

#[tokio::test]
async fn a_bit_flipped_in_an_index_is_noticed_and_the_index_is_filled_again_by_itself() {
    let source = Source::slow(300, 0).await;
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path());
    let (collection, connection) = source.connect(&process, "Notes").await;
    let sync = run(&process, &connection).await;
    process.finished(&sync).await;
    process.kill();
    let index = folder.path().join("index").join(&collection);
    let file = largest(&index);
    flip(&file, fs::metadata(&file).unwrap().len() as usize / 2);

    let process = Process::start(folder.path());
    let list = format!("/api/v1/source-connections/{connection}/syncs");
    let refilled = |body: &Value| {
        let syncs = body["syncs"].as_array().unwrap();
        syncs.len() == 2 && syncs.iter().all(|sync| sync["status"] == "succeeded")
    };
    process.until(&list, refilled).await;
    assert_eq!(texts(&process, &collection).await, source.titles().await);
    assert!(index.with_extension("unusable-1").join(file.file_name().unwrap()).exists());
}

#[tokio::test]
async fn a_damaged_store_is_not_opened_and_the_mend_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::start(folder.path());
    let source = Source::slow(1, 0).await;
    source.connect(&process, "Notes").await;
    process.kill();
    let store = folder.path().join("tributary.db");
    // Nothing is in the log any more, and the second page has something to lose.
    rusqlite::Connection::open(&store).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    flip(&store, 4_096);
    let output = Command::new(env!("CARGO_BIN_EXE_tributary"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && complaint.contains("metadata store"), "{complaint}");
}
