//! SecantusDB, which speaks MongoDB's protocol. MongoDB's own server is in no registry
//! that the tests can reach.

use std::path::Path;

use async_trait::async_trait;
use futures::TryStreamExt;
use mongodb::bson::doc;
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

    async fn put(&self, collection: &str, id: i32, name: &str) {
        self.database.collection(collection).insert_one(doc! {"_id": id, "name": name}).await.expect("it is inserted");
    }

    async fn rename(&self, collection: &str, id: i32, name: &str) {
        let change = doc! {"$set": {"name": name}};
        self.database.collection(collection).update_one(doc! {"_id": id}, change).await.expect("it is updated");
    }
}

#[async_trait]
impl Subject for Collections {
    const SOURCE: &'static str = "mongodb";

    async fn start(_files: &Path) -> Self {
        let collections = Self { database: Database::create().await };
        for collection in COLLECTIONS {
            for id in 1..=6 {
                collections.put(collection, id, &format!("{collection} number {id}")).await;
            }
        }
        collections
    }

    async fn version(&self) -> String {
        let told = self.database.admin(doc! {"buildInfo": 1}).await;
        format!("SecantusDB that calls itself MongoDB {}", told.get_str("version").expect("a version"))
    }

    fn port(&self) -> Option<u16> {
        Some(self.database.port)
    }

    fn settings(&self, port: Option<u16>) -> Settings {
        self.with(port, SECRET, json!({"databases": [self.database.name]}))
    }

    async fn wrong(&self) -> Vec<Wrong> {
        let other = Database::create().await;
        other.collection("secrets").insert_one(doc! {"_id": 1}).await.expect("it is inserted");
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
            let mut cursor = self.database.collection(collection).find(doc! {}).await.expect("a cursor");
            while let Some(document) = cursor.try_next().await.expect("a document") {
                let key = format!("[{}]", document.get_i32("_id").expect("an id"));
                truth.insert((self.path(collection), key), document.get_str("name").expect("a name").to_owned());
            }
        }
        truth
    }

    async fn insert(&self) {
        self.put("customers", 7, "a new customer").await;
        self.put("orders", 7, "a new order").await;
    }

    async fn update(&self) {
        self.rename("customers", 1, "another customer").await;
        self.rename("products", 2, "another product").await;
    }

    async fn delete_some(&self) {
        for (collection, id) in [("customers", 3), ("orders", 4)] {
            self.database.collection(collection).delete_one(doc! {"_id": id}).await.expect("it is deleted");
        }
    }

    async fn delete_all(&self) {
        for collection in COLLECTIONS {
            self.database.collection(collection).delete_many(doc! {}).await.expect("they are deleted");
        }
    }

    async fn insert_large(&self) -> u64 {
        // The server allows no more than 16 MiB.
        let bytes = 15 << 20;
        let document = doc! {"_id": 100, "name": "large", "content": "x".repeat(bytes)};
        self.database.collection("customers").insert_one(document).await.expect("it is inserted");
        bytes as u64
    }

    async fn break_listing(&self) -> bool {
        self.database.admin(doc! {"dropUser": &self.database.reader}).await;
        true
    }
}
