//! A disk that runs full: a file system of a few megabytes in a mount namespace of
//! the server's own.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use tributary::disk::Room;

use super::{Source, run, texts};
use crate::support::process::Process;

const MEBIBYTE: usize = 1 << 20;

/// A server on a disk of its own.
struct Small {
    process: Process,
    /// The data directory, as others see it.
    disk: PathBuf,
    _folder: tempfile::TempDir,
}

impl Small {
    fn start(mebibytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("disk");
        fs::create_dir(&place).unwrap();
        let script = r#"mount -t tmpfs -o size="$2"m tmpfs "$1" && shift 2 && exec "$@""#;
        let mut command = Command::new("unshare");
        // Whoever is not root is so in a user namespace.
        command.args(["--mount", "--map-root-user", "--propagation", "private", "sh", "-c", script, "sh"]);
        command.arg(&place).arg(mebibytes.to_string());
        let process = Process::start_by(command, &place, &[]);
        let disk = PathBuf::from(format!("/proc/{}/root{}", process.id(), place.display()));
        Self { process, disk, _folder: folder }
    }

    /// Writes a file until only so much is left.
    fn fill(&self, left: usize) {
        let free = usize::try_from(Room::of(&self.disk).unwrap().free).unwrap();
        assert!(free < 128 * MEBIBYTE, "this is another disk");
        let mut ballast = File::create(self.disk.join("ballast")).unwrap();
        ballast.write_all(&vec![1; free - left]).unwrap();
    }

    fn make_room(&self) {
        fs::remove_file(self.disk.join("ballast")).unwrap();
    }

    /// Tries to make a collection until that ends with this status.
    async fn until_creating_gives(&self, status: u16) {
        for attempt in 0.. {
            let body = json!({"name": format!("{status} {attempt}")});
            let reply = self.process.ask("POST", "/api/v1/collections", Some(body)).await;
            if reply.status == status {
                return;
            }
            assert!(attempt < 1_200, "{}", reply.text);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_full_disk_stops_what_writes_and_nothing_else_until_there_is_room() {
    let source = Source::slow(2_600, 4).await;
    let small = Small::start(96);
    let (collection, connection) = source.connect(&small.process, "Notes").await;
    let sync = run(&small.process, &connection).await;
    small.process.until_read(&sync).await;
    small.fill(3 * MEBIBYTE);
    let sync_path = format!("/api/v1/syncs/{sync}");
    let waits = |body: &serde_json::Value| {
        body["sync"]["waitingReason"].as_str().is_some_and(|reason| reason.starts_with("storage_full"))
    };
    small.process.until(&sync_path, waits).await;
    small.until_creating_gives(507).await;
    let body = source.body(&collection);
    let refused = small.process.ask("POST", "/api/v1/source-connections", Some(body)).await;
    refused.error(507, "storage_full");
    let search = format!("/api/v1/collections/{collection}/search?query=word7");
    small.process.call("GET", &search, None).await;
    small.process.call("GET", "/api/v1/collections", None).await;

    small.make_room();
    let ended = small.process.finished(&sync).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    assert_eq!(texts(&small.process, &collection).await, source.titles().await);
    small.until_creating_gives(200).await;
}

#[tokio::test]
async fn a_disk_without_a_byte_left_breaks_nothing() {
    let source = Source::slow(40, 0).await;
    let mut small = Small::start(64);
    let (collection, connection) = source.connect(&small.process, "Notes").await;
    let sync = run(&small.process, &connection).await;
    small.process.finished(&sync).await;
    small.fill(0);
    small.until_creating_gives(507).await;
    let path = format!("/api/v1/source-connections/{connection}/run");
    small.process.ask("POST", &path, Some(json!({}))).await.error(507, "storage_full");
    assert_eq!(texts(&small.process, &collection).await, source.titles().await);
    small.make_room();
    small.until_creating_gives(200).await;
    let sync = run(&small.process, &connection).await;
    assert_eq!(small.process.finished(&sync).await["status"], "succeeded");
    assert_eq!(texts(&small.process, &collection).await, source.titles().await);
    small.process.kill();
}
