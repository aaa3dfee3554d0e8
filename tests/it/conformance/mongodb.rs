//! SecantusDB, which speaks MongoDB's protocol. MongoDB's own server is in no registry
//! that the tests can reach.

use std::path::Path;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::subject::{SECRET, Settings, Subject, Truth, Wrong};
use crate::support::mongodb::Database;

const COLLECTIONS: [&str; 3] = ["customers", "orders", "products"];

/// A database of three collections, and a user who may only read them.
pub struct Collections {
    database: Database,
}

impl Collections {
    fn with(&self, port: Option<u16>, password: &str, config: Value) -> Settings {
        let credentials = json!({
            "host": "127.0.0.1", "port": port.unwrap_or(self.database.port), "username": self.database.reader,
            "password": password,
        });
        Settings { credentials, config }
    }

    fn path(&self, collection: &str) -> String {
        format!("{}.{collection}", self.database.name)
    }

    fn put(&self, collection: &str, id: i32, name: &str) {
        self.database.insert(collection, json!([{"_id": id, "name": name}]));
    }

    fn rename(&self, collection: &str, id: i32, name: &str) {
        let change = json!([{"q": {"_id": id}, "u": {"$set": {"name": name}}}]);
        self.database.run(json!({"update": collection, "updates": change}));
    }

    fn remove(&self, collection: &str, which: Value, limit: i32) {
        self.database.run(json!({"delete": collection, "deletes": [{"q": which, "limit": limit}]}));
    }
}

#[async_trait]
impl Subject for Collections {
    const SOURCE: &'static str = "mongodb";

    async fn start(_files: &Path) -> Self {
        let collections = Self { database: Database::create().await };
        for collection in COLLECTIONS {
            for id in 1..=6 {
                collections.put(collection, id, &format!("{collection} number {id}"));
            }
        }
        collections
    }

    async fn version(&self) -> String {
        let told = self.database.admin(json!({"buildInfo": 1}));
        let version = |name: &str| told[name].as_str().expect("a version").to_owned();
        format!("SecantusDB {}, which calls itself MongoDB {}", version("secantusVersion"), version("version"))
    }

    fn port(&self) -> Option<u16> {
        Some(self.database.port)
    }

    fn settings(&self, port: Option<u16>) -> Settings {
        self.with(port, SECRET, json!({"databases": [self.database.name]}))
    }

    async fn wrong(&self) -> Vec<Wrong> {
        let other = Database::create().await;
        other.insert("secrets", json!([{"_id": 1}]));
        let secrets = format!("{}.secrets", other.name);
        vec![
            Wrong {
                what: "a wrong password",
                settings: self.with(None, "not-the-password", json!({"databases": [self.database.name]})),
                stage: "login",
                code: "login_refused",
                error: (400, "invalid_credentials"),
            },
            Wrong {
                what: "a collection without the right to read it",
                settings: self.with(None, SECRET, json!({"databases": [other.name], "collections": [secrets]})),
                stage: "permission",
                code: "permission_missing",
                error: (400, "source_permission_denied"),
            },
        ]
    }

    async fn truth(&self) -> Truth {
        let mut truth = Truth::new();
        for collection in COLLECTIONS {
            for document in self.database.documents(collection) {
                let key = format!("[{}]", document["_id"]);
                truth.insert((self.path(collection), key), document["name"].as_str().expect("a name").to_owned());
            }
        }
        truth
    }

    async fn insert(&self) {
        self.put("customers", 7, "a new customer");
        self.put("orders", 7, "a new order");
    }

    async fn update(&self) {
        self.rename("customers", 1, "another customer");
        self.rename("products", 2, "another product");
    }

    async fn delete_some(&self) {
        for (collection, id) in [("customers", 3), ("orders", 4)] {
            self.remove(collection, json!({"_id": id}), 1);
        }
    }

    async fn delete_all(&self) {
        for collection in COLLECTIONS {
            self.remove(collection, json!({}), 0);
        }
    }

    async fn insert_large(&self) -> u64 {
        // The server allows no more than 16 MiB.
        let bytes = 15 << 20;
        self.database.insert("customers", json!([{"_id": 100, "name": "large", "content": "x".repeat(bytes)}]));
        bytes as u64
    }

    async fn break_listing(&self) -> bool {
        self.database.admin(json!({"dropUser": self.database.reader}));
        true
    }
}
