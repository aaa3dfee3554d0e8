//! The S3 source against SeaweedFS: what the suite of all connectors does not ask.

use serde_json::{Value, json};

use crate::support::seaweed::{self, Bucket};
use crate::support::server::{Server, id_of};

/// A service with a connection to a bucket.
struct World {
    server: Server,
    collection: String,
    connection: String,
}

impl World {
    async fn new(bucket: &Bucket, credentials: Value, config: Value) -> Self {
        let server = Server::start().await;
        let collection = server.collection("Files").await;
        let mut whole = json!({"bucket": bucket.name, "endpoint": format!("http://127.0.0.1:{}", bucket.port)});
        for (name, value) in config.as_object().expect("an object") {
            whole[name] = value.clone();
        }
        let body = json!({
            "collectionId": collection, "sourceShortName": "s3", "name": "Bucket",
            "credentials": credentials, "config": whole,
        });
        let connection = id_of(&server.post("/api/v1/source-connections", body).await.ok()["sourceConnection"]);
        Self { server, collection, connection }
    }

    async fn with_reader(bucket: &Bucket, config: Value) -> Self {
        let credentials = json!({"accessKeyId": seaweed::READER_KEY, "secretAccessKey": seaweed::SECRET});
        Self::new(bucket, credentials, config).await
    }

    async fn sync(&self) -> Value {
        let sync = self.server.sync(&self.connection).await;
        assert_eq!(sync["status"], json!("succeeded"), "{sync:#}");
        sync
    }

    async fn keys(&self) -> Vec<String> {
        let items = self.server.items(&self.collection).await;
        let mut keys: Vec<_> = items.iter().map(|item| item["sourceKey"].as_str().expect("a key").to_owned()).collect();
        keys.sort();
        keys
    }
}

fn count(sync: &Value, name: &str) -> u64 {
    sync["progress"][name].as_str().map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_names_come_through_listing_and_signature() {
    let bucket = Bucket::create().await;
    let names = [
        "a b/c d.txt",
        "a b/plus+and%25.txt",
        "a b/q?&=#'\"<>.txt",
        "ünïcode/日本語 🦀.txt",
        "a-b/dash.txt",
        "a/slash.txt",
        "semi;colon,comma!.txt",
        "star*(1)~.txt",
    ];
    bucket.write_all(names.iter().map(|name| (*name, name.as_bytes()))).await;
    let world = World::with_reader(&bucket, json!({})).await;
    world.sync().await;
    let mut wanted = names.map(str::to_owned);
    wanted.sort();
    assert_eq!(world.keys().await, wanted);
    for item in world.server.items(&world.collection).await {
        let content = item["content"].as_str().expect("its text");
        assert_eq!(content.trim(), item["sourceKey"].as_str().expect("a key"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_many_pages_is_read_to_its_end() {
    let bucket = Bucket::create().await;
    let names: Vec<_> = (0..2_300).map(|number| format!("many/{number:05}.txt")).collect();
    bucket.write_all(names.iter().map(|name| (name.as_str(), name.as_bytes()))).await;
    let world = World::with_reader(&bucket, json!({})).await;
    let sync = world.sync().await;
    assert_eq!(count(&sync, "itemsInserted"), 2_300);
    assert_eq!(world.keys().await, names);
    let again = world.sync().await;
    assert_eq!((count(&again, "itemsUnchanged"), count(&again, "itemsUpdated")), (2_300, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_is_a_folder_and_hidden_files_stay_hidden() {
    let bucket = Bucket::create().await;
    let names = ["docs/a/1.txt", "docs/2.txt", "docs/.hidden/3.txt", "docs/a/.4.txt", "docs2/5.txt", "6.txt"];
    bucket.write_all(names.map(|name| (name, name.as_bytes()))).await;
    let world = World::with_reader(&bucket, json!({"prefix": "docs", "urlTemplate": "https://x.example/{{ path }}"}));
    let world = world.await;
    world.sync().await;
    assert_eq!(world.keys().await, ["2.txt", "a/1.txt"]);
    let items = world.server.items(&world.collection).await;
    let urls: Vec<_> = items.iter().map(|item| item["url"].as_str().unwrap_or_default()).collect();
    assert!(urls.contains(&"https://x.example/a/1.txt"), "{urls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_everybody_may_read_needs_no_key() {
    let bucket = Bucket::named("public".to_owned()).await;
    bucket.write("open/1.txt", b"for everybody").await;
    let world = World::new(&bucket, json!({}), json!({})).await;
    let path = format!("/api/v1/source-connections/{}/test", world.connection);
    world.server.post(&path, json!({})).await.ok();
    world.sync().await;
    assert_eq!(world.keys().await, ["open/1.txt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_several_parts_and_large_ones_are_what_was_listed() {
    let bucket = Bucket::create().await;
    // SeaweedFS keeps it in chunks of 4 MiB, so that its ETag is none of the whole.
    let text = "a long line of text that goes on and on\n".repeat(300_000);
    bucket.write("large/1.txt", text.as_bytes()).await;
    bucket.write("large/too-large.txt", &vec![b'a'; 13 << 20]).await;
    bucket.write("large/empty.txt", b"").await;
    let world = World::with_reader(&bucket, json!({"maxFileSize": 12_500_000})).await;
    let sync = world.sync().await;
    assert_eq!((count(&sync, "itemsInserted"), count(&sync, "itemsFailed")), (3, 0), "{sync:#}");
    let items = world.server.items(&world.collection).await;
    let of = |key: &str| items.iter().find(|item| item["sourceKey"] == json!(key)).expect("it is there");
    assert_eq!(of("large/1.txt")["metadata"]["extracted"], json!(true));
    assert_eq!(of("large/too-large.txt")["metadata"]["extracted"], json!(false));
}
