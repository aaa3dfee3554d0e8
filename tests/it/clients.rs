//! Clients that nobody here wrote, against a running server.

mod browser;
mod buf;
mod curl;
mod python;
mod schemathesis;

use serde_json::{Value, json};

use crate::support::postgres::Database;
use crate::support::server::Server;

/// A connection whose sync runs until it is cancelled.
struct Busy {
    connection: String,
    sync: String,
    _database: Database,
}

impl Busy {
    async fn start(server: &Server) -> Self {
        let database = Database::create().await;
        database.connect().await.batch_execute("CREATE VIEW slow AS SELECT pg_sleep(60)::text AS id").await.unwrap();
        let collection = server.collection("Busy").await;
        let connection = server.postgres_connection(&collection, &database, json!({})).await;
        let run = server.post(&format!("/api/v1/source-connections/{connection}/run"), json!({})).await.ok();
        Self { connection, sync: run["syncId"].as_str().expect("an id").to_owned(), _database: database }
    }

    /// Ends the sync: a stopping server would wait for it.
    async fn stop(self, server: &Server) {
        server.post(&format!("/api/v1/syncs/{}/cancel", self.sync), json!({})).await.ok();
        server.finished(&self.sync).await;
    }
}

/// A text that a search finds.
fn write_note(server: &Server) {
    std::fs::write(server.files().join("note.md"), "# A note\n\nThe ferry leaves at noon.\n").expect("a file");
}

/// The five documented errors as a gRPC client has seen them: each with its code,
/// its reason and what else tells the caller where to look. The names of the codes
/// are the client's own.
#[track_caller]
fn the_five_errors(seen: &Value, codes: [&str; 5], busy: &Busy) {
    let words = ["invalid_credentials", "unauthorized", "forbidden", "not_found", "sync_in_progress"];
    for (word, code) in words.into_iter().zip(codes) {
        let error = &seen[word];
        assert_eq!(error["code"], json!(code), "{word}: {error}");
        assert_eq!(error["reason"], json!(word.to_uppercase()), "{word}: {error}");
        assert_eq!(error["domain"], json!("tributary"), "{word}: {error}");
    }
    let fields = seen["invalid_credentials"]["violations"].as_array().expect("violations");
    for field in ["credentials.port", "credentials.database", "credentials.password", "credentials.extra"] {
        assert!(fields.contains(&json!(field)), "{field} in {fields:?}");
    }
    assert_eq!(seen["sync_in_progress"]["metadata"]["syncId"], json!(busy.sync));
}
