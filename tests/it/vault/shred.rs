//! A deleted connection's key is nowhere in the files any more.

use std::fs;
use std::path::Path;

use super::{Place, connection};
use crate::support::postgres::Database;
use crate::support::process::Process;

/// True when a file below the folder holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        let content = fs::read(&path).unwrap();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

fn keys(place: &Place) -> Vec<(String, Vec<u8>)> {
    let store = place.store();
    let mut statement = store.prepare("SELECT connection_id, wrapped_key FROM sealed_credentials").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[tokio::test]
async fn the_key_of_a_deleted_connection_is_in_no_file_though_the_server_goes_on() {
    let (place, database) = (Place::new(), Database::create().await);
    let process = Process::start(place.path());
    for _ in 0..12 {
        connection(&process, &database).await;
    }
    let mut keys = keys(&place);
    assert_eq!(keys.len(), 12);
    assert!(keys.iter().all(|(_, key)| holds(place.path(), key)));
    for keep_data in [true, false] {
        let (gone, key) = keys.remove(keys.len() / 2);
        let path = format!("/api/v1/source-connections/{gone}?deleteData={}", !keep_data);
        process.call("DELETE", &path, None).await;
        assert!(!holds(place.path(), &key), "deleteData={}", !keep_data);
    }
    assert!(keys.iter().all(|(_, key)| holds(place.path(), key)));
}

#[tokio::test]
async fn a_rotation_leaves_no_wrapping_by_the_old_key() {
    let (place, database) = (Place::new(), Database::create().await);
    let process = Process::start(place.path());
    for _ in 0..12 {
        connection(&process, &database).await;
    }
    let keys = keys(&place);
    let rotated = place.rotate(&["--new-key"]).output().unwrap();
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    assert!(keys.iter().all(|(_, key)| !holds(place.path(), key)));
}
