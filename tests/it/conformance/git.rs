//! Git repositories behind `git http-backend`. Nothing of them is left out by the
//! server: that is its default, and costs us most.

use std::path::Path;

use async_trait::async_trait;
use serde_json::json;

use super::subject::{SECRET, Settings, Subject, Truth, Wrong};
use crate::support::git::{GitServer, USER};

const FOLDERS: [&str; 3] = ["guides", "notes", "orders"];

/// A repository with three folders, which only a login may read.
pub struct Repository(GitServer);

impl Repository {
    fn with(&self, port: Option<u16>, password: &str, branch: Option<&str>) -> Settings {
        let url = self.0.url(port.unwrap_or(self.0.port));
        let mut config = json!({"url": url});
        if let Some(branch) = branch {
            config["branch"] = json!(branch);
        }
        Settings { credentials: json!({"username": USER, "password": password}), config }
    }

    fn write(&self, path: &str, text: &str) {
        self.0.write(path, format!("{text}\n"));
    }
}

#[async_trait]
impl Subject for Repository {
    const SOURCE: &'static str = "git";

    async fn start(_files: &Path) -> Self {
        let repository = Self(GitServer::start(SECRET, false));
        for folder in FOLDERS {
            for number in 0..6 {
                repository.write(&format!("{folder}/{number}.txt"), &format!("text {number} of {folder}"));
            }
        }
        repository.write("README.md", "# The handbook");
        repository.0.push("Begin");
        repository
    }

    async fn version(&self) -> String {
        GitServer::version()
    }

    fn port(&self) -> Option<u16> {
        Some(self.0.port)
    }

    fn settings(&self, port: Option<u16>) -> Settings {
        self.with(port, SECRET, None)
    }

    async fn wrong(&self) -> Vec<Wrong> {
        let mut elsewhere = self.with(None, SECRET, None);
        elsewhere.config["url"] = json!(format!("{}-2", self.0.url(self.0.port)));
        vec![
            Wrong {
                what: "a wrong password",
                settings: self.with(None, "not-the-password", None),
                stage: "login",
                code: "login_refused",
                error: (400, "invalid_credentials"),
            },
            Wrong {
                what: "a repository that is not there",
                settings: elsewhere,
                stage: "permission",
                code: "object_missing",
                error: (400, "source_unreachable"),
            },
            Wrong {
                what: "a branch that is not there",
                settings: self.with(None, SECRET, Some("nothing")),
                stage: "permission",
                code: "object_missing",
                error: (400, "source_unreachable"),
            },
        ]
    }

    async fn truth(&self) -> Truth {
        let texts = self.0.cloned(SECRET).into_iter();
        texts.map(|(path, text)| (("files".to_owned(), path), text.trim_start_matches("# ").to_owned())).collect()
    }

    async fn insert(&self) {
        self.write("guides/new.txt", "a new guide");
        self.write("orders/new.txt", "a new order");
        self.0.push("Add");
    }

    async fn update(&self) {
        self.write("guides/1.txt", "another first guide");
        self.write("notes/2.txt", "another second note");
        self.0.push("Change");
    }

    async fn delete_some(&self) {
        self.0.remove("guides/3.txt");
        self.0.remove("notes/4.txt");
        self.0.push("Remove");
    }

    async fn delete_all(&self) {
        self.0.git(&["rm", "--quiet", "-r", "."]);
        self.0.push("Remove all");
    }

    async fn insert_large(&self) -> u64 {
        let bytes = 100 << 20;
        self.0.write("notes/large.txt", vec![b'a'; bytes]);
        self.0.push("Add much");
        bytes as u64
    }

    async fn break_listing(&self) -> bool {
        std::fs::rename(self.0.bare(), self.0.bare().with_extension("away")).expect("it moves");
        true
    }
}
