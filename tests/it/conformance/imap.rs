//! Dovecot, as the system has it.

use std::path::Path;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::subject::{SECRET, Settings, Subject, Truth, Wrong};
use crate::support::dovecot::{Dovecot, USER, message};

/// Mailboxes by path, and by the name that the protocol has for them.
const MAILBOXES: [(&str, &str); 4] =
    [("INBOX", "INBOX"), ("Archive", "Archive"), ("Archive/2024", "Archive/2024"), ("Entwürfe", "Entw&APw-rfe")];

/// A mail account of four mailboxes.
pub struct Mail {
    server: Dovecot,
}

impl Mail {
    fn with(&self, port: Option<u16>, password: &str, config: Value) -> Settings {
        let credentials = json!({
            "host": "127.0.0.1", "port": port.unwrap_or(self.server.port), "username": USER, "password": password,
        });
        let mut whole = json!({"security": "plain"});
        whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        Settings { credentials, config: whole }
    }

    async fn remove(&self, path: &str, name: &str, number: usize) {
        let server = &self.server;
        let keys: Vec<String> = server.subjects(name).await.into_keys().take(number).collect();
        assert_eq!(keys.len(), number, "{path} has so many");
        let uids: Vec<&str> = keys.iter().map(|key| key.split_once('/').unwrap().1).collect();
        server.remove(name, &uids.join(",")).await;
    }
}

#[async_trait]
impl Subject for Mail {
    const SOURCE: &'static str = "imap";

    async fn start(_files: &Path) -> Self {
        let server = Dovecot::start(SECRET).await;
        let others: Vec<&str> = MAILBOXES.iter().map(|(_, name)| *name).filter(|name| *name != "INBOX").collect();
        server.create(&others).await;
        for (path, name) in MAILBOXES {
            let messages: Vec<String> =
                (1..=6).map(|number| message(&format!("{} letter {number}", path.len()))).collect();
            server.append(name, &messages).await;
        }
        Self { server }
    }

    async fn version(&self) -> String {
        self.server.version()
    }

    fn port(&self) -> Option<u16> {
        Some(self.server.port)
    }

    fn settings(&self, port: Option<u16>) -> Settings {
        self.with(port, SECRET, json!({}))
    }

    async fn wrong(&self) -> Vec<Wrong> {
        vec![
            Wrong {
                what: "a wrong password",
                settings: self.with(None, "not-the-password", json!({})),
                stage: "login",
                code: "login_refused",
                error: (400, "invalid_credentials"),
            },
            Wrong {
                what: "a folder that is not there",
                settings: self.with(None, SECRET, json!({"folders": ["Nowhere"]})),
                stage: "permission",
                code: "object_missing",
                error: (400, "source_unreachable"),
            },
        ]
    }

    async fn truth(&self) -> Truth {
        let server = &self.server;
        let mut truth = Truth::new();
        for (path, name) in MAILBOXES {
            let subjects = server.subjects(name).await;
            truth.extend(subjects.into_iter().map(|(key, subject)| ((path.to_owned(), key), subject)));
        }
        truth
    }

    async fn insert(&self) {
        let server = &self.server;
        server.append("INBOX", &[message("A new letter"), message("Another new letter")]).await;
        server.append("Archive/2024", &[message("An old letter")]).await;
    }

    /// A message does not change: it goes, and another comes in its place.
    async fn update(&self) {
        for (path, name) in &MAILBOXES[..2] {
            self.remove(path, name, 1).await;
            self.server.append(name, &[message("A letter written again")]).await;
        }
    }

    async fn delete_some(&self) {
        self.remove("INBOX", "INBOX", 2).await;
        self.remove("Entwürfe", "Entw&APw-rfe", 1).await;
    }

    async fn delete_all(&self) {
        for (_, name) in MAILBOXES {
            self.server.remove(name, "1:*").await;
        }
    }

    async fn insert_large(&self) -> u64 {
        let line = format!("{}\n", "x".repeat(1023));
        let bytes = 100 << 20;
        let large = format!("{}{}", message("A large letter"), line.repeat(bytes / line.len()));
        self.server.append("INBOX", &[large]).await;
        bytes as u64
    }

    async fn break_listing(&self) -> bool {
        self.server.stop();
        true
    }
}
