//! Rotation of encryption keys.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Map, Value};
use tributary::ids::{CollectionId, ConnectionId};
use tributary::keys::encryption::CANARY;
use tributary::keys::rotation::{RotationError, rotate};
use tributary::secrets::{Binding, CREDENTIALS, KeyRing, Sealed, Vault};
use tributary::store::Store;
use tributary::store::collections::NewCollection;
use tributary::store::connections::{self, AuthState, NewConnection, NewCredentials, Outcome};

use super::{Place, connection, test};
use crate::support::crowd;
use crate::support::postgres::Database;
use crate::support::process::Process;

#[tokio::test]
async fn a_rotation_that_was_killed_goes_on_while_calls_do_and_moves_the_canary_last() {
    let (place, database) = (Place::new(), Database::create().await);
    let mut process = Process::start(place.path());
    let first = connection(&process, &database).await;
    let old = place.canary();
    crowd::gather(place.path(), &first, 3_000).await;

    let mut rotation = place.rotate(&["--new-key"]).spawn().unwrap();
    while place.beside(&old) == 0 {
        tokio::task::yield_now().await;
    }
    // It waits for us, so that it is killed in the middle.
    let store = place.store();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    rotation.kill().unwrap();
    rotation.wait().unwrap();
    store.execute_batch("ROLLBACK").unwrap();
    let moved = place.beside(&old);
    assert!((1..3_001).contains(&moved), "{moved}");
    assert_eq!(place.canary(), old);
    let keys = fs::read_to_string(place.key_file()).unwrap();
    assert_eq!(keys.lines().filter(|line| !line.starts_with('#')).count(), 2);

    // The server has not been told of the new key: it meets it.
    test(&process, &first).await;
    let second = connection(&process, &database).await;
    let said: Value = serde_json::from_slice(&place.rotate(&[]).output().unwrap().stdout).unwrap();
    let new = said["keyId"].as_str().unwrap().to_owned();
    assert_ne!(new, old);
    assert!(said["rewrapped"].as_i64().unwrap() >= 3_001 - moved, "{said}");
    assert_eq!(said["retiredKeyIds"], serde_json::json!([old]));
    assert_eq!((place.beside(&new), place.canary()), (0, new.clone()));
    let log = process.call("GET", "/api/v1/audit-events?method=keys%20rotate", None).await;
    let outcomes: Vec<&Value> = log["events"].as_array().unwrap().iter().map(|event| &event["outcome"]).collect();
    assert_eq!(outcomes, ["OK", "UNKNOWN"], "the newest first; the other was killed");
    test(&process, &first).await;
    process.tell("HUP");
    process.until_metrics_say("tributary_credentials_under_old_keys 0").await;

    // The old key goes, and nobody misses it.
    let without = keys.lines().find(|line| !line.starts_with('#')).unwrap();
    fs::write(place.key_file(), without).unwrap();
    process.kill();
    let mut process = Process::start(place.path());
    test(&process, &first).await;
    test(&process, &second).await;
    process.kill();
    let only_old = keys.lines().rfind(|line| !line.starts_with('#')).unwrap();
    fs::write(place.key_file(), only_old).unwrap();
    let refused = Command::new(env!("CARGO_BIN_EXE_tributary"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(place.path())
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && complaint.contains(&new), "{complaint}");
}

/// Records in a store, and who sealed them.
struct Records {
    url: String,
    store: Store,
    collection: CollectionId,
    ids: Vec<ConnectionId>,
    _kept: Option<tempfile::TempDir>,
}

impl Records {
    async fn seal(vault: &Vault, count: usize) -> Self {
        let (url, kept) = match std::env::var("TRIBUTARY_TEST_STORE").as_deref() {
            Ok("postgresql") => (Database::create().await.url(), None),
            _ => {
                let folder = tempfile::tempdir().unwrap();
                (format!("sqlite://{}", folder.path().join("store.db").display()), Some(folder))
            }
        };
        let store = Store::open(&url).await.unwrap();
        store.put_setting_if_absent(CANARY, &vault.canary().await.unwrap()).await.unwrap();
        let collection = CollectionId::mint();
        let new = NewCollection { id: collection.clone(), name: "Sealed".to_owned(), description: None };
        store.insert_collection(&new).await.unwrap();
        let mut records = Self { url, store, collection, ids: Vec::new(), _kept: kept };
        for _ in 0..count {
            records.add(vault).await;
        }
        records
    }

    async fn add(&mut self, vault: &Vault) {
        let id = ConnectionId::mint();
        let new = NewConnection {
            id: id.clone(),
            collection: self.collection.clone(),
            source: "postgresql".to_owned(),
            name: id.to_string(),
            description: None,
            auth_method: "credentials".to_owned(),
            config: Map::new(),
            credential_fields: Vec::new(),
            schedule: None,
            next_run_at: None,
            paused: false,
            sealed: self.sealed(vault, &id, 1).await,
            auth: AuthState::Untested,
            outcome: Outcome::None,
        };
        self.store.insert_connection(&new).await.unwrap();
        self.ids.push(id);
    }

    fn binding<'a>(&'a self, connection: &'a ConnectionId, credentials_version: i64) -> Binding<'a> {
        Binding { purpose: CREDENTIALS, collection: &self.collection, connection, credentials_version }
    }

    async fn sealed(&self, vault: &Vault, id: &ConnectionId, version: i64) -> connections::Sealed {
        let text = format!("{id} {version}");
        let Sealed { key_id, wrapped_key, ciphertext } =
            vault.seal(&self.binding(id, version), text.as_bytes()).await.unwrap();
        connections::Sealed { key_id, wrapped_key, ciphertext }
    }

    /// Opens every record; each says what it is.
    async fn check(&self, vault: &Vault) {
        for id in &self.ids {
            let kept = self.store.sealed_credentials(id).await.unwrap().unwrap();
            let connections::Sealed { key_id, wrapped_key, ciphertext } = kept.sealed;
            let sealed = Sealed { key_id, wrapped_key, ciphertext };
            let opened = vault.open(&self.binding(id, kept.credentials_version), &sealed).await.unwrap();
            assert!(opened.as_slice() == format!("{id} {}", kept.credentials_version).as_bytes(), "{id}");
        }
    }
}

/// A ring with only an old key, with a new one before it, and with the new alone.
fn vaults() -> (Vault, impl Fn() -> Vault, Vault) {
    use secrecy::ExposeSecret;
    let (old, new) = (KeyRing::generate().1, KeyRing::generate().1);
    let ring = |text: &str| Vault::new(KeyRing::from_text(text).unwrap_or_else(|error| panic!("{error}")));
    let both = format!("{}{}", new.expose_secret(), old.expose_secret());
    (ring(old.expose_secret()), move || ring(&both), ring(new.expose_secret()))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rotations_at_once_and_changes_meanwhile_lose_nothing() {
    let (old, both, new) = vaults();
    let records = Arc::new(Records::seal(&old, 450).await);
    let rotations = (0..2).map(|_| {
        let (url, vault) = (records.url.clone(), both());
        tokio::spawn(async move { rotate(&Store::open(&url).await.unwrap(), &vault, |_| {}).await.map(drop) })
    });
    let rotations: Vec<_> = rotations.collect();
    for id in records.ids.iter().step_by(9) {
        // Sealed by a server that does not know of the new key yet.
        let credentials = NewCredentials {
            sealed: records.sealed(&old, id, 2).await,
            fields: Vec::new(),
            expected_credentials_version: 1,
        };
        records.store.replace_credentials(id, None, credentials).await.unwrap();
    }
    for rotation in rotations {
        rotation.await.unwrap().unwrap_or_else(|error| panic!("{error}"));
    }
    rotate(&records.store, &both(), |_| {}).await.unwrap();
    records.check(&new).await;
    let canary = records.store.get_setting(CANARY).await.unwrap().unwrap();
    new.check_canary(&canary).await.unwrap();
}

#[tokio::test]
async fn a_record_that_does_not_open_is_named_and_keeps_the_canary_where_it_is() {
    let (old, both, _) = vaults();
    let stranger = Vault::new(KeyRing::generate().0);
    let mut records = Records::seal(&old, 3).await;
    records.add(&stranger).await;
    let canary = records.store.get_setting(CANARY).await.unwrap();
    let refused = rotate(&records.store, &both(), |_| {}).await.unwrap_err();
    let lost = records.ids.last().unwrap();
    assert!(matches!(&refused, RotationError::Unopened { records } if records.len() == 1), "{refused}");
    assert!(refused.to_string().contains(lost.as_str()), "{refused}");
    assert!(refused.to_string().contains(&stranger.key_ids()[0]), "{refused}");
    assert_eq!(records.store.get_setting(CANARY).await.unwrap(), canary);
    let refused = rotate(&records.store, &stranger, |_| {}).await.unwrap_err();
    assert!(matches!(refused, RotationError::WrongKeys(_)), "{refused}");
}
