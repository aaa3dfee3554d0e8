//! A folder of documents; there is no server but the disk.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde_json::json;

use super::subject::{Settings, Subject, Truth, Wrong};

const OBJECTS: [&str; 3] = ["guides", "notes", "orders"];

/// A folder with three folders.
pub struct Folder {
    root: PathBuf,
    outside: tempfile::TempDir,
}

impl Folder {
    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.root.join(path), format!("{text}\n")).expect("a file");
    }
}

#[async_trait]
impl Subject for Folder {
    const SOURCE: &'static str = "files";

    async fn start(files: &Path) -> Self {
        let folder = Self { root: files.join("subject"), outside: tempfile::tempdir().expect("a folder") };
        for object in OBJECTS {
            std::fs::create_dir_all(folder.root.join(object)).expect("a folder");
            for number in 0..6 {
                folder.write(&format!("{object}/{number}.txt"), &format!("text {number} of {object}"));
            }
        }
        folder
    }

    async fn version(&self) -> String {
        "the file system".to_owned()
    }

    fn port(&self) -> Option<u16> {
        None
    }

    fn settings(&self, _port: Option<u16>) -> Settings {
        Settings { credentials: json!({}), config: json!({"path": self.root}) }
    }

    async fn wrong(&self) -> Vec<Wrong> {
        let of = |path: PathBuf| Settings { credentials: json!({}), config: json!({"path": path}) };
        vec![
            Wrong {
                what: "a folder that is not there",
                settings: of(self.root.join("nothing")),
                stage: "connect",
                code: "not_found",
                error: (400, "validation_error"),
            },
            Wrong {
                what: "a folder outside of the roots",
                settings: of(self.outside.path().to_owned()),
                stage: "connect",
                code: "outside_roots",
                error: (400, "validation_error"),
            },
        ]
    }

    async fn truth(&self) -> Truth {
        let mut truth = Truth::new();
        for object in std::fs::read_dir(&self.root).expect("the folder").flatten() {
            for file in std::fs::read_dir(object.path()).expect("a folder").flatten() {
                let text = std::fs::read_to_string(file.path()).expect("a text");
                let name = |entry: &std::fs::DirEntry| entry.file_name().into_string().expect("UTF-8");
                let place = (name(&object), format!("{}/{}", name(&object), name(&file)));
                truth.insert(place, text.trim().to_owned());
            }
        }
        truth
    }

    async fn insert(&self) {
        self.write("guides/new.txt", "a new guide");
        self.write("orders/new.txt", "a new order");
    }

    async fn update(&self) {
        self.write("guides/1.txt", "another first guide");
        self.write("notes/2.txt", "another second note");
    }

    async fn delete_some(&self) {
        for path in ["guides/3.txt", "notes/4.txt"] {
            std::fs::remove_file(self.root.join(path)).expect("it was there");
        }
    }

    async fn delete_all(&self) {
        for object in OBJECTS {
            std::fs::remove_dir_all(self.root.join(object)).expect("it was there");
        }
    }

    async fn insert_large(&self) -> u64 {
        let bytes = 100 << 20;
        std::fs::write(self.root.join("notes/large.txt"), vec![b'a'; bytes]).expect("a file");
        bytes as u64
    }

    async fn break_listing(&self) -> bool {
        std::fs::rename(&self.root, self.outside.path().join("elsewhere")).expect("it moves");
        true
    }
}
