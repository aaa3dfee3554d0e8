//! A bucket of SeaweedFS, which speaks the protocol of S3.

use std::path::Path;

use async_trait::async_trait;
use serde_json::json;

use super::subject::{Settings, Subject, Truth, Wrong};
use crate::support::seaweed::{self, Bucket};

const OBJECTS: [&str; 3] = ["guides", "notes", "orders"];

/// A bucket with three folders, and a login that may only read.
pub struct Weed {
    bucket: Bucket,
}

impl Weed {
    fn with(&self, port: Option<u16>, key: &str, secret: &str, bucket: &str) -> Settings {
        Settings {
            credentials: json!({"accessKeyId": key, "secretAccessKey": secret}),
            config: json!({
                "bucket": bucket,
                "endpoint": format!("http://127.0.0.1:{}", port.unwrap_or(self.bucket.port)),
            }),
        }
    }

    async fn write(&self, files: &[(&str, &str)]) {
        self.bucket.write_all(files.iter().map(|(path, text)| (*path, text.as_bytes()))).await;
    }
}

#[async_trait]
impl Subject for Weed {
    const SOURCE: &'static str = "s3";

    async fn start(_files: &Path) -> Self {
        let subject = Self { bucket: Bucket::create().await };
        let files: Vec<_> = OBJECTS
            .iter()
            .flat_map(|object| {
                (0..6).map(move |number| (format!("{object}/{number}.txt"), format!("text {number} of {object}")))
            })
            .collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        subject.write(&files).await;
        subject
    }

    async fn version(&self) -> String {
        seaweed::version().await
    }

    fn port(&self) -> Option<u16> {
        Some(self.bucket.port)
    }

    fn settings(&self, port: Option<u16>) -> Settings {
        self.with(port, seaweed::READER_KEY, seaweed::SECRET, &self.bucket.name)
    }

    async fn wrong(&self) -> Vec<Wrong> {
        let refused = |what, key, secret| Wrong {
            what,
            settings: self.with(None, key, secret, &self.bucket.name),
            stage: "login",
            code: "login_refused",
            error: (400, "invalid_credentials"),
        };
        vec![
            refused("a wrong secret", seaweed::READER_KEY, "not-the-secret"),
            refused("a key that nobody has", "AKNOBODY", "not-the-secret"),
            Wrong {
                what: "a bucket that is not there",
                settings: self.with(None, seaweed::READER_KEY, seaweed::SECRET, "no-such-bucket"),
                stage: "permission",
                code: "not_found",
                error: (400, "source_unreachable"),
            },
            Wrong {
                what: "a bucket that the key may not list",
                settings: self.with(None, seaweed::STRANGER_KEY, seaweed::SECRET, &self.bucket.name),
                stage: "permission",
                code: "permission_missing",
                error: (400, "source_permission_denied"),
            },
            Wrong {
                what: "a bucket that not everybody may list",
                settings: Settings { credentials: json!({}), ..self.settings(None) },
                stage: "permission",
                code: "permission_missing",
                error: (400, "source_permission_denied"),
            },
        ]
    }

    async fn truth(&self) -> Truth {
        let text = |(path, content): (String, Vec<u8>)| {
            let object = path.split_once('/').map_or(".", |(object, _)| object).to_owned();
            let text = String::from_utf8(content).expect("a text");
            ((object, path), text.trim().to_owned())
        };
        self.bucket.files().await.into_iter().map(text).collect()
    }

    async fn insert(&self) {
        self.write(&[("guides/new.txt", "a new guide"), ("orders/deep/below/new.txt", "a new order")]).await;
    }

    async fn update(&self) {
        self.write(&[("guides/1.txt", "another first guide"), ("notes/2.txt", "text 7 of notes")]).await;
    }

    async fn delete_some(&self) {
        self.bucket.remove("guides/3.txt").await;
        self.bucket.remove("notes/4.txt").await;
    }

    async fn delete_all(&self) {
        self.bucket.clear().await;
    }

    async fn insert_large(&self) -> u64 {
        let bytes = 100 << 20;
        self.bucket.write("notes/large.txt", &vec![b'a'; bytes]).await;
        bytes as u64
    }

    async fn break_listing(&self) -> bool {
        self.bucket.purge().await;
        true
    }
}
