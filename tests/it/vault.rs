//! The keys of stored credentials: rotated while calls go on, and gone when a
//! connection is.

mod keeper;
mod rotation;
mod shred;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::postgres::{self, Database};
use crate::support::process::Process;

/// A data directory, and what tests look up in it past the server.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn key_file(&self) -> PathBuf {
        self.path().join("encryption.key")
    }

    fn store(&self) -> Connection {
        let store = Connection::open(self.path().join("tributary.db")).unwrap();
        store.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
        store
    }

    /// Id of the key that the canary is sealed with.
    fn canary(&self) -> String {
        let sql = "SELECT value FROM settings WHERE name = 'encryption_canary'";
        let value: String = self.store().query_row(sql, [], |row| row.get(0)).unwrap();
        value.rsplit_once('.').unwrap().0.to_owned()
    }

    /// How many records are not sealed with the key.
    fn beside(&self, key: &str) -> i64 {
        let sql = "SELECT count(*) FROM sealed_credentials WHERE key_id <> ?";
        self.store().query_row(sql, [key], |row| row.get(0)).unwrap()
    }

    /// `tributary keys rotate` on it.
    fn rotate(&self, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
        command.args(["keys", "rotate", "--json", "--data-dir"]).arg(self.path()).args(flags);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// A connection to the database, as the process has it.
async fn connection(process: &Process, database: &Database) -> String {
    let name = ulid::Ulid::new().to_string();
    let collection = process.call("POST", "/api/v1/collections", Some(json!({"name": name}))).await;
    let body = json!({
        "collectionId": collection["collection"]["id"], "sourceShortName": "postgresql", "name": name,
        "credentials": {
            "host": "127.0.0.1", "port": database.port, "database": database.name,
            "username": postgres::USER, "password": postgres::PASSWORD,
        },
    });
    let made = process.call("POST", "/api/v1/source-connections", Some(body)).await;
    made["sourceConnection"]["id"].as_str().unwrap().to_owned()
}

/// Logs in with the stored credentials.
async fn test(process: &Process, connection: &str) -> Value {
    process.call("POST", &format!("/api/v1/source-connections/{connection}/test"), None).await
}
