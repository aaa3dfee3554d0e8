//! Ten syncs in a row on the real binary: memory and descriptors come back to
//! where they were.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::postgres::{self, Database};
use crate::support::process::Process;

const SYNCS: usize = 10;
/// The first two fill caches and pools.
const BASE: usize = 2;
const ROWS: u32 = 10_000;
/// What memory may differ by, beside a fifth: segments are merged now and then.
const SLACK_KIB: u64 = 16 * 1024;
/// What descriptors may differ by: pools keep a few connections.
const SLACK_DESCRIPTORS: u64 = 8;

/// Reads everything again.
async fn synced(process: &Process, connection: &str) -> Value {
    let path = format!("/api/v1/source-connections/{connection}/run");
    let run = process.call("POST", &path, Some(json!({"full": true}))).await;
    let path = format!("/api/v1/syncs/{}", run["syncId"].as_str().unwrap());
    loop {
        let body = process.call("GET", &path, None).await;
        match body["sync"]["status"].as_str().unwrap() {
            "succeeded" => return body["sync"].clone(),
            "pending" | "running" => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            other => panic!("{other}: {body:#}"),
        }
    }
}

fn folder(process: &Process) -> PathBuf {
    Path::new("/proc").join(process.id().to_string())
}

/// KiB of memory that is its own, not the page cache's.
fn memory_of(process: &Process) -> u64 {
    let status = std::fs::read_to_string(folder(process).join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line for it");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn descriptors_of(process: &Process) -> u64 {
    std::fs::read_dir(folder(process).join("fd")).unwrap().count() as u64
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn ten_syncs_in_a_row_leave_memory_and_descriptors_where_they_were() {
    let database = Database::create().await;
    let source = database.connect().await;
    source
        .batch_execute(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, version int, body text);
             INSERT INTO t SELECT i, 0, repeat('row ' || i || ' ', 20) FROM generate_series(1, {ROWS}) i"
        ))
        .await
        .unwrap();
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path());
    let collection = process.call("POST", "/api/v1/collections", Some(json!({"name": "Stable"}))).await;
    let body = json!({
        "collectionId": collection["collection"]["id"], "sourceShortName": "postgresql", "name": "Stable",
        "config": {"tables": ["public.t"]},
        "credentials": {
            "host": "127.0.0.1", "port": database.port, "database": database.name,
            "username": postgres::USER, "password": postgres::PASSWORD,
        },
    });
    let created = process.call("POST", "/api/v1/source-connections", Some(body)).await;
    let connection = created["sourceConnection"]["id"].as_str().unwrap().to_owned();
    let (mut memory, mut descriptors) = (Vec::new(), Vec::new());
    for number in 0..SYNCS {
        // Each has the same to do, after the first.
        source
            .batch_execute(&format!("UPDATE t SET version = version + 1 WHERE id % {SYNCS} = {number}"))
            .await
            .unwrap();
        let sync = synced(&process, &connection).await;
        assert_eq!(sync["progress"]["itemsRead"], ROWS.to_string(), "{sync:#}");
        memory.push(memory_of(&process));
        descriptors.push(descriptors_of(&process));
    }
    println!("memory of its own in KiB: {memory:?}; descriptors: {descriptors:?}");
    let last = |values: &[u64]| median(values[SYNCS - 3..].to_vec());
    let most = memory[BASE] + memory[BASE] / 5 + SLACK_KIB;
    assert!(last(&memory) <= most, "memory grows: {memory:?} KiB");
    let most = descriptors[BASE] + SLACK_DESCRIPTORS;
    assert!(last(&descriptors) <= most, "descriptors grow: {descriptors:?}");
}
