//! A store, a way past it, and what the tests make in it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, json};
use tributary::ids::{CollectionId, ConnectionId, KeyId, SyncId};
use tributary::store::Store;
use tributary::store::collections::NewCollection;
use tributary::store::connections::{AuthState, Connection, NewConnection, Outcome, Schedule, Sealed};
use tributary::store::keys::NewKey;
use tributary::store::queue::{Finish, FinishOutcome, Lease, NewSync};
use tributary::store::syncs::{Counters, JobKind, Sync, Trigger};

use crate::support::postgres::Database;

/// Longer than a test.
pub const LEASE: Duration = Duration::from_secs(30);
/// Every kind of job.
pub const ALL: &[JobKind] = &[JobKind::Sync, JobKind::Clear, JobKind::Purge];

/// A store and a way past it, to make time pass and to look at its tables.
pub struct Bench {
    pub store: Store,
    pub url: String,
    pub behind: Behind,
}

/// The database itself.
pub enum Behind {
    Sqlite(tempfile::TempDir),
    Postgres(Database),
}

impl Bench {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("store.db").display());
        Self { store: Store::open(&url).await.expect("it opens"), url, behind: Behind::Sqlite(folder) }
    }

    pub async fn postgres() -> Self {
        let database = Database::create().await;
        let url = database.url();
        Self { store: Store::open(&url).await.expect("it opens"), url, behind: Behind::Postgres(database) }
    }

    pub async fn execute(&self, sql: &str) {
        match &self.behind {
            Behind::Sqlite(folder) => {
                let connection = rusqlite::Connection::open(folder.path().join("store.db")).expect("it opens");
                connection.busy_timeout(Duration::from_secs(10)).expect("it takes a limit");
                connection.execute_batch(sql).expect(sql);
            }
            Behind::Postgres(database) => database.connect().await.batch_execute(sql).await.expect(sql),
        }
    }

    /// `table.column` of everything, with `?` where null is allowed.
    pub async fn columns(&self) -> BTreeSet<String> {
        match &self.behind {
            Behind::Sqlite(folder) => {
                let connection = rusqlite::Connection::open(folder.path().join("store.db")).expect("it opens");
                let sql = "SELECT t.name || '.' || c.name || CASE WHEN c.\"notnull\" THEN '' ELSE '?' END \
                    FROM sqlite_schema t, pragma_table_info(t.name) c \
                    WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' AND t.name <> 'seaql_migrations'";
                let mut statement = connection.prepare(sql).expect("it prepares");
                let rows = statement.query_map([], |row| row.get(0)).expect("it answers");
                rows.map(|row| row.expect("a row")).collect()
            }
            Behind::Postgres(database) => {
                let sql = "SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'NO' THEN '' ELSE '?' END \
                    FROM information_schema.columns \
                    WHERE table_schema = 'public' AND table_name <> 'seaql_migrations'";
                let rows = database.connect().await.query(sql, &[]).await.expect("it answers");
                rows.iter().map(|row| row.get(0)).collect()
            }
        }
    }
}

pub async fn collection(store: &Store) -> CollectionId {
    let id = CollectionId::mint();
    let new = NewCollection { id: id.clone(), name: id.to_string(), description: None };
    store.insert_collection(&new).await.expect("a collection");
    id
}

pub fn sealed(text: &str) -> Sealed {
    Sealed { key_id: "k1".into(), wrapped_key: vec![0, 1, 255], ciphertext: text.as_bytes().to_vec() }
}

pub fn new_connection(collection: &CollectionId, name: &str) -> NewConnection {
    let mut config = Map::new();
    config.insert("rate".into(), json!(0.1));
    NewConnection {
        id: ConnectionId::mint(),
        collection: collection.clone(),
        source: "postgresql".into(),
        name: name.into(),
        description: Some("orders".into()),
        auth_method: "direct".into(),
        config,
        credential_fields: vec!["host".into(), "password".into()],
        schedule: Some(Schedule { cron: Some("0 * * * *".into()), continuous: false, time_zone: "UTC".into() }),
        next_run_at: None,
        paused: false,
        sealed: sealed("one"),
        auth: AuthState::Untested,
        outcome: Outcome::None,
    }
}

pub async fn connection(store: &Store) -> Connection {
    let collection = collection(store).await;
    store.insert_connection(&new_connection(&collection, "orders")).await.expect("a connection")
}

pub fn new_sync(connection: &ConnectionId, kind: JobKind) -> NewSync {
    NewSync {
        id: SyncId::mint(),
        connection: connection.clone(),
        kind,
        trigger: Trigger::Manual,
        full: false,
        release_deletions: false,
        traceparent: None,
        completes: None,
    }
}

pub async fn run(store: &Store, connection: &ConnectionId) -> Sync {
    store.enqueue(&new_sync(connection, JobKind::Sync)).await.expect("it is enqueued")
}

pub async fn taken(store: &Store, lease: Duration) -> Lease {
    store.take("worker", ALL, lease).await.expect("the store answers").expect("a job is due")
}

pub fn finish(outcome: FinishOutcome) -> Finish {
    Finish {
        outcome,
        counters: Counters::default(),
        progress: json!({}),
        checkpoint: None,
        marks: Vec::new(),
        login_refused: false,
    }
}

pub fn succeeded() -> Finish {
    finish(FinishOutcome::Succeeded { warnings: json!([]) })
}

pub fn new_key(collections: &[CollectionId]) -> NewKey {
    NewKey {
        id: KeyId::mint(),
        name: "deploy".into(),
        role: "admin".into(),
        all_collections: collections.is_empty(),
        collections: collections.to_vec(),
        expires_at: None,
        hash: [7; 32],
    }
}
