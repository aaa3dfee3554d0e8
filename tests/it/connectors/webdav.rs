//! The WebDAV source against Apache: what the suite of all connectors does not ask.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::apache::Apache;
use crate::support::postgres::PASSWORD;
use crate::support::server::{Server, id_of};

struct World {
    server: Server,
    collection: String,
    connection: String,
}

impl World {
    async fn new(credentials: Value, url: String) -> Self {
        let server = Server::start().await;
        let collection = server.collection("Files").await;
        let body = json!({
            "collectionId": collection, "sourceShortName": "webdav", "name": "Folder",
            "credentials": credentials, "config": {"url": url},
        });
        let connection = id_of(&server.post("/api/v1/source-connections", body).await.ok()["sourceConnection"]);
        Self { server, collection, connection }
    }

    async fn keys(&self) -> Vec<String> {
        let items = self.server.items(&self.collection).await;
        let mut keys: Vec<_> = items.iter().map(|item| item["sourceKey"].as_str().expect("a key").to_owned()).collect();
        keys.sort();
        keys
    }
}

fn write(root: &Path, path: &str) {
    let file = root.join(path);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    std::fs::write(file, path).expect("a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_everybody_may_read_needs_no_login() {
    let apache = Apache::start("reader", PASSWORD);
    for path in ["a/1 & 2.txt", "a/ü/%41.txt", "#.txt", ".hidden/3.txt"] {
        write(&apache.public(), path);
    }
    let world = World::new(json!({}), format!("http://127.0.0.1:{}/public", apache.port)).await;
    let sync = world.server.sync(&world.connection).await;
    assert_eq!(sync["status"], json!("succeeded"), "{sync:#}");
    assert_eq!(world.keys().await, ["#.txt", "a/1 & 2.txt", "a/ü/%41.txt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_listed_costs_its_object_and_no_document() {
    let apache = Apache::start("reader", PASSWORD);
    let root = apache.files();
    for path in ["guides/deep/1.txt", "guides/2.txt", "notes/3.txt"] {
        write(&root, path);
    }
    let url = format!("http://127.0.0.1:{}/dav/", apache.port);
    let world = World::new(json!({"username": "reader", "password": PASSWORD}), url).await;
    let sync = world.server.sync(&world.connection).await;
    assert_eq!(sync["status"], json!("succeeded"), "{sync:#}");

    let forbidden = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(root.join("guides/deep"), forbidden).expect("our folder");
    write(&root, "notes/4.txt");
    std::fs::remove_file(root.join("guides/2.txt")).expect("it was there");
    let sync = world.server.sync(&world.connection).await;
    assert_eq!(sync["status"], json!("failed"), "{sync:#}");
    let all = ["guides/2.txt", "guides/deep/1.txt", "notes/3.txt", "notes/4.txt"];
    assert_eq!(world.keys().await, all);

    std::fs::set_permissions(root.join("guides/deep"), std::fs::Permissions::from_mode(0o755)).expect("our folder");
    let sync = world.server.sync(&world.connection).await;
    assert_eq!(sync["status"], json!("succeeded"), "{sync:#}");
    assert_eq!(world.keys().await, ["guides/deep/1.txt", "notes/3.txt", "notes/4.txt"]);
}
