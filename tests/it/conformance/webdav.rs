//! A folder of Apache with `mod_dav`.

use std::path::Path;

use async_trait::async_trait;
use serde_json::json;

use super::subject::{SECRET, Settings, Subject, Truth, Wrong};
use crate::support::apache::{self, Apache};

const OBJECTS: [&str; 3] = ["guides", "notes", "orders"];
const USER: &str = "reader";

/// A folder with three folders, and a login that may not read a fourth.
pub struct Folder {
    apache: Apache,
    outside: tempfile::TempDir,
}

impl Folder {
    fn write(&self, path: &str, text: &str) {
        let file = self.apache.files().join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, format!("{text}\n")).expect("a file");
    }

    fn with(&self, port: Option<u16>, username: &str, password: &str, path: &str) -> Settings {
        let port = port.unwrap_or(self.apache.port);
        Settings {
            credentials: json!({"username": username, "password": password}),
            config: json!({"url": format!("http://127.0.0.1:{port}{path}"), "exclude": ["secret"]}),
        }
    }
}

#[async_trait]
impl Subject for Folder {
    const SOURCE: &'static str = "webdav";

    async fn start(_files: &Path) -> Self {
        let folder = Self { apache: Apache::start(USER, SECRET), outside: tempfile::tempdir().expect("a folder") };
        for object in OBJECTS {
            for number in 0..6 {
                folder.write(&format!("{object}/{number}.txt"), &format!("text {number} of {object}"));
            }
        }
        folder
    }

    async fn version(&self) -> String {
        apache::version().await
    }

    fn port(&self) -> Option<u16> {
        Some(self.apache.port)
    }

    fn settings(&self, port: Option<u16>) -> Settings {
        self.with(port, USER, SECRET, "/dav/")
    }

    async fn wrong(&self) -> Vec<Wrong> {
        std::fs::create_dir(self.apache.files().join("secret")).expect("a folder");
        let mut with_secret = self.settings(None);
        with_secret.config["exclude"] = json!([]);
        vec![
            Wrong {
                what: "a wrong password",
                settings: self.with(None, USER, "not-the-password", "/dav/"),
                stage: "login",
                code: "login_refused",
                error: (400, "invalid_credentials"),
            },
            Wrong {
                what: "a folder that is not there",
                settings: self.with(None, USER, SECRET, "/dav/nothing/"),
                stage: "permission",
                code: "not_found",
                error: (400, "source_unreachable"),
            },
            Wrong {
                what: "a folder that the login may not list",
                settings: with_secret,
                stage: "read",
                code: "permission_missing",
                error: (400, "source_permission_denied"),
            },
        ]
    }

    async fn truth(&self) -> Truth {
        let root = self.apache.files();
        let (mut truth, mut folders) = (Truth::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    // What `mod_dav` keeps for itself begins with a dot.
                    folders.extend((!entry.file_name().to_string_lossy().starts_with('.')).then_some(path));
                    continue;
                }
                let key = path.strip_prefix(&root).expect("within").to_str().expect("UTF-8").to_owned();
                let object = key.split_once('/').map_or(".", |(object, _)| object).to_owned();
                let text = std::fs::read_to_string(&path).expect("a text");
                truth.insert((object, key), text.trim().to_owned());
            }
        }
        truth
    }

    async fn insert(&self) {
        self.write("guides/new.txt", "a new guide");
        self.write("orders/deep/below/new äöü & more.txt", "a new order");
    }

    async fn update(&self) {
        self.write("guides/1.txt", "another first guide");
        self.write("notes/2.txt", "text 7 of notes");
    }

    async fn delete_some(&self) {
        for path in ["guides/3.txt", "notes/4.txt"] {
            std::fs::remove_file(self.apache.files().join(path)).expect("it was there");
        }
    }

    async fn delete_all(&self) {
        for object in OBJECTS {
            std::fs::remove_dir_all(self.apache.files().join(object)).expect("it was there");
        }
    }

    async fn insert_large(&self) -> u64 {
        let bytes = 100 << 20;
        std::fs::write(self.apache.files().join("notes/large.txt"), vec![b'a'; bytes]).expect("a file");
        bytes as u64
    }

    async fn break_listing(&self) -> bool {
        std::fs::rename(self.apache.files(), self.outside.path().join("elsewhere")).expect("it moves");
        true
    }
}
