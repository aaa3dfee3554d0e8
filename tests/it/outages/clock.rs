//! A clock that jumps an hour while a sync goes on.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Source, run, texts};
use crate::support::process::Process;

/// The library that shows a process another time.
fn faketime() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path().join("faketime"));
    let library = folders.map(|folder| folder.join("libfaketimeMT.so.1")).find(|path| path.exists());
    library.expect("libfaketime is missing: install the package `faketime`")
}

#[tokio::test]
async fn a_clock_that_jumps_an_hour_ahead_and_back_costs_no_sync_and_starts_a_schedule_once() {
    let source = Source::slow(500, 4).await;
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    let tick = |offset: &str| {
        // Replaced as a whole: it is read all the time.
        let next = folder.path().join("next");
        fs::write(&next, offset).unwrap();
        fs::rename(next, &clock).unwrap();
    };
    tick("+0");
    let variables = [
        ("LD_PRELOAD", faketime().display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let process = Process::start_with(&folder.path().join("data"), &variables);
    let (collection, connection) = source.connect(&process, "Notes").await;
    for offset in ["+1h", "+0"] {
        let sync = run(&process, &connection).await;
        process.until_read(&sync).await;
        tick(offset);
        let ended = process.finished(&sync).await;
        assert_eq!(ended["status"], "succeeded", "{offset}: {ended}");
        assert_eq!(texts(&process, &collection).await, source.titles().await, "{offset}");
    }

    let path = format!("/api/v1/source-connections/{connection}");
    let hourly = json!({"schedule": {"cron": "0 * * * *", "timeZone": "UTC"}});
    process.call("PATCH", &path, Some(hourly)).await;
    let list = format!("/api/v1/source-connections/{connection}/syncs");
    let scheduled = |body: &Value| {
        let syncs = body["syncs"].as_array().unwrap();
        syncs.iter().filter(|sync| sync["trigger"] == "schedule").cloned().collect::<Vec<_>>()
    };
    tick("+5h");
    let started = process.until(&list, |body| !scheduled(body).is_empty()).await;
    let first = scheduled(&started)[0]["id"].as_str().unwrap().to_owned();
    process.finished(&first).await;
    // A storm would have begun by the time that another call has gone through.
    let sync = run(&process, &connection).await;
    process.finished(&sync).await;
    let after = process.call("GET", &list, None).await;
    assert_eq!(scheduled(&after).len(), 1, "{after}");
}
