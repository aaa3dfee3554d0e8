//! A process that dies while it brings a store up to date.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::postgres::Database;
use crate::support::process::Process;

/// Milliseconds after which it is killed; the schema takes some tens of them.
const MOMENTS: [u64; 12] = [2, 5, 8, 11, 14, 18, 22, 27, 33, 40, 50, 65];

fn killed_after(moment: u64, data_dir: &std::path::Path, url: Option<&str>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    command.args(["keys", "list", "--data-dir"]).arg(data_dir).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(url) = url {
        command.env("TRIBUTARY_DATABASE_URL", url).env("TRIBUTARY_ENCRYPTION_KEY_COMMAND", "echo");
    }
    let mut child = command.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(moment));
    drop(child.kill());
    child.wait().unwrap();
}

#[test]
fn a_sqlite_store_whose_making_was_killed_again_and_again_is_whole_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    for moment in MOMENTS {
        killed_after(moment, folder.path(), None);
        // From the beginning, too.
        let fresh = folder.path().join(moment.to_string());
        std::fs::create_dir(&fresh).unwrap();
        killed_after(moment, &fresh, None);
        drop(Process::start(&fresh));
    }
    drop(Process::start(folder.path()));
}

#[tokio::test]
async fn a_postgresql_store_whose_making_was_killed_again_and_again_is_whole_in_the_end() {
    let (folder, database) = (tempfile::tempdir().unwrap(), Database::create().await);
    for moment in MOMENTS {
        killed_after(moment, folder.path(), Some(&database.url()));
    }
    let store = tributary::store::Store::open(&database.url()).await.unwrap();
    assert!(store.collection_ids().await.unwrap().is_empty());
    let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'";
    let found: i64 = database.connect().await.query_one(tables, &[]).await.unwrap().get(0);
    let whole = Database::create().await;
    tributary::store::Store::open(&whole.url()).await.unwrap();
    let wanted: i64 = whole.connect().await.query_one(tables, &[]).await.unwrap().get(0);
    assert_eq!(found, wanted);
}
