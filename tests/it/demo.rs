//! The first command that anybody tries.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The syncs of one `demo --once`.
fn demo(data_dir: &Path) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_tributary"))
        .args(["demo", "--once", "--json", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data_dir)
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    let first = output.stdout.split(|byte| *byte == b'\n').next().unwrap();
    serde_json::from_slice::<Value>(first).unwrap()["syncs"].as_array().unwrap().clone()
}

fn sum(syncs: &[Value], counter: &str) -> i64 {
    syncs.iter().map(|sync| sync[counter].as_i64().unwrap()).sum()
}

#[test]
fn a_second_demo_inserts_nothing_and_finds_everything_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let first = demo(folder.path());
    let items = sum(&first, "itemsInserted");
    assert!(items > 4_000 && sum(&first, "itemsFailed") == 0, "{first:?}");
    let second = demo(folder.path());
    assert_eq!(sum(&second, "itemsUnchanged"), items, "{second:?}");
    for counter in ["itemsInserted", "itemsUpdated", "itemsDeleted", "itemsFailed"] {
        assert_eq!(sum(&second, counter), 0, "{counter}: {second:?}");
    }
}
