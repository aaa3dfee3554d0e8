//! What the service stands on gives way: its disk, its database, its folder, its
//! clock, its files. Each ends in words, loses nothing, and mends itself where it
//! can.

mod clock;
mod damage;
mod disk;
mod folder;
mod migration;
mod store;
mod upgrade;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::postgres::{self, Database};
use crate::support::process::Process;

/// A source whose view gives its rows slowly, so that a sync of it can be met.
struct Source {
    database: Database,
}

impl Source {
    /// So many rows of about a kilobyte each, each of which takes some milliseconds.
    async fn slow(rows: u32, milliseconds: u32) -> Self {
        let database = Database::create().await;
        let sql = format!(
            "CREATE FUNCTION later(id int) RETURNS int LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM pg_sleep({milliseconds} / 1000.0); RETURN id; END $$;
             CREATE TABLE stored (id int PRIMARY KEY, text text NOT NULL);
             INSERT INTO stored SELECT n, n || repeat(' word' || n, 100) FROM generate_series(1, {rows}) n;
             CREATE VIEW notes AS SELECT later(id) AS id, text FROM stored"
        );
        database.connect().await.batch_execute(&sql).await.unwrap();
        Self { database }
    }

    /// Makes a collection with a connection to the view; its ids.
    async fn connect(&self, process: &Process, name: &str) -> (String, String) {
        let made = process.call("POST", "/api/v1/collections", Some(json!({"name": name}))).await;
        let collection = made["collection"]["id"].as_str().unwrap().to_owned();
        let made = process.call("POST", "/api/v1/source-connections", Some(self.body(&collection))).await;
        (collection, made["sourceConnection"]["id"].as_str().unwrap().to_owned())
    }

    fn body(&self, collection: &str) -> Value {
        json!({
            "collectionId": collection, "sourceShortName": "postgresql", "name": "Notes",
            "config": {"tables": ["public.notes"]},
            "credentials": {
                "host": "127.0.0.1", "port": self.database.port, "database": self.database.name,
                "username": postgres::USER, "password": postgres::PASSWORD,
            },
        })
    }

    async fn titles(&self) -> BTreeSet<String> {
        let rows = self.database.connect().await.query("SELECT text FROM stored", &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

/// Starts a sync; its id.
async fn run(process: &Process, connection: &str) -> String {
    let path = format!("/api/v1/source-connections/{connection}/run");
    process.call("POST", &path, Some(json!({}))).await["syncId"].as_str().unwrap().to_owned()
}

/// The text of every item; none is there twice.
async fn texts(process: &Process, collection: &str) -> BTreeSet<String> {
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/collections/{collection}/items?pageSize=1000&pageToken={token}");
        let page = process.call("GET", &path, None).await;
        let text = |item: &Value| item["metadata"]["text"].as_str().unwrap().to_owned();
        found.extend(page["items"].as_array().unwrap().iter().map(text));
        match page["nextPageToken"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    let once: BTreeSet<String> = found.iter().cloned().collect();
    assert_eq!(once.len(), found.len(), "a record is there twice");
    once
}
