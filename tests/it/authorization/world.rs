//! Two collections with everything that a method can name, and callers of every
//! kind with keys for the first.

use std::time::Duration;

use chrono::Utc;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tributary::secrets::api_key;

use crate::support::server::{ADMIN_KEY, Server, id_of, send};

/// What is in one collection.
pub(super) struct Ids {
    pub(super) collection: String,
    pub(super) connection: String,
    pub(super) sync: String,
    pub(super) key: String,
    pub(super) item: String,
}

/// All of it.
pub(super) struct World {
    pub(super) own: Ids,
    pub(super) other: Ids,
    /// Name and key of each caller, in the order of the table.
    pub(super) callers: Vec<(&'static str, Option<String>)>,
}

impl World {
    pub(super) async fn make(server: &Server) -> Self {
        std::fs::write(server.files().join("one.txt"), "some text").expect("a file");
        let (own, other) = (collection(server, "Own").await, collection(server, "Other").await);
        let mine = |role: &str| json!({"name": role, "role": role, "collectionIds": [own.collection]});
        let expired = expired(server, mine("owner")).await;
        let (revoked_id, revoked) = key(server, mine("owner")).await;
        server.delete(&format!("/api/v1/api-keys/{revoked_id}")).await.ok();
        let stranger = api_key::mint().token.expose_secret().to_owned();
        let mut callers =
            vec![("none", None), ("bad", Some(stranger)), ("expired", Some(expired)), ("revoked", Some(revoked))];
        for role in ["viewer", "runner", "editor", "owner"] {
            callers.push((role, Some(key(server, mine(role)).await.1)));
        }
        callers.push(("admin", Some(ADMIN_KEY.to_owned())));
        Self { own, other, callers }
    }
}

async fn collection(server: &Server, name: &str) -> Ids {
    let collection = server.collection(name).await;
    let connection = server.files_connection(&collection, json!({})).await;
    let sync = id_of(&server.sync(&connection).await);
    let item = id_of(server.items(&collection).await.first().expect("an item"));
    let (key, _) = key(server, json!({"name": name, "role": "viewer", "collectionIds": [collection]})).await;
    Ids { collection, connection, sync, key, item }
}

async fn key(server: &Server, body: Value) -> (String, String) {
    let body = server.post("/api/v1/api-keys", body).await.ok();
    (id_of(&body["apiKey"]), body["secret"].as_str().expect("a secret").to_owned())
}

/// A key whose time is over: it was one, and is none any more.
async fn expired(server: &Server, mut body: Value) -> String {
    let end = Utc::now() + Duration::from_secs(3);
    body["expiresAt"] = json!(end.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
    let (_, secret) = key(server, body).await;
    for _ in 0..600 {
        if send(server.anonymous("GET", "/api/v1/sources").bearer_auth(&secret)).await.status == 401 {
            return secret;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a key does not expire");
}
