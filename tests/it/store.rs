//! The store: one suite, run on SQLite and on PostgreSQL.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, json};
use tributary::ids::{CollectionId, ConnectionId, KeyId, SyncId};
use tributary::store::collections::{CollectionPatch, CreateError, DeleteError, NewCollection, UpdateError};
use tributary::store::connections::{
    AuthState, Connection, ConnectionPatch, DeletionHold, Lifecycle, NewConnection, NewCredentials, Order, Outcome,
    Schedule, Sealed,
};
use tributary::store::followers::FollowNote;
use tributary::store::idempotency::{Begun, Completion};
use tributary::store::keys::{CreateKeyError, NewKey};
use tributary::store::queue::{CancelError, Commit, EnqueueError, Finish, FinishOutcome, Lease, LeaseError, NewSync};
use tributary::store::rewrap::Rewrapped;
use tributary::store::syncs::{Counters, JobKind, LogLine, State, Sync, SyncErrorRow, Trigger};
use tributary::store::{Store, StoreError, Visible};

use crate::support::postgres::Database;

const LEASE: Duration = Duration::from_secs(30);
const ALL: &[JobKind] = &[JobKind::Sync, JobKind::Clear, JobKind::Purge];

/// A store and a way past it, to make time pass and to look at its tables.
struct Bench {
    store: Store,
    url: String,
    behind: Behind,
}

enum Behind {
    Sqlite(tempfile::TempDir),
    Postgres(Database),
}

impl Bench {
    async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("store.db").display());
        Self { store: Store::open(&url).await.expect("it opens"), url, behind: Behind::Sqlite(folder) }
    }

    async fn postgres() -> Self {
        let database = Database::create().await;
        let url = database.url();
        Self { store: Store::open(&url).await.expect("it opens"), url, behind: Behind::Postgres(database) }
    }

    async fn execute(&self, sql: &str) {
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
    async fn columns(&self) -> BTreeSet<String> {
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

/// Runs each behaviour on both databases.
macro_rules! on_both {
    ($($behaviour:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $behaviour() { super::$behaviour(super::Bench::sqlite().await).await; })*
        }
        mod on_postgresql {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $behaviour() { super::$behaviour(super::Bench::postgres().await).await; })*
        }
    };
}

on_both! {
    opening_again_keeps_the_data
    collection_names_are_unique_and_versions_are_checked
    pages_of_collections_miss_nothing_and_repeat_nothing
    a_collection_with_connections_is_not_deleted
    deleting_a_collection_takes_it_from_its_keys
    connections_page_in_every_order
    a_connection_round_trips_with_everything_it_has
    credentials_are_wrapped_anew_only_where_they_are_still_what_was_read
    edits_that_matter_to_a_job_are_refused_while_it_is_active
    new_credentials_forget_what_was_known_of_the_old
    an_outcome_of_old_versions_is_not_noted
    a_connection_knows_how_its_sync_ended_as_soon_as_it_has
    a_deletion_hold_is_set_and_lifted
    only_due_connections_that_may_run_are_due
    a_delete_ends_with_nothing_left
    fifty_racing_enqueues_give_one_job
    an_edit_and_a_run_never_both_win
    a_job_goes_through_its_life
    errors_beyond_a_thousand_are_counted_and_not_kept
    an_item_that_fails_again_in_a_later_attempt_is_listed_once
    kept_progress_is_thinned_evenly
    an_expired_lease_is_taken_over_and_the_old_worker_cannot_write
    a_job_is_poisoned_after_five_crashes
    a_job_handed_back_is_taken_again_at_once
    a_waiting_job_is_not_taken_before_its_time
    cancelling_ends_a_job_that_nobody_holds_and_asks_one_that_is_held
    an_ended_job_never_changes
    racing_workers_take_each_job_once
    the_last_sync_is_the_one_that_ended_last
    keys_are_found_revoked_and_touched
    a_key_is_found_while_a_write_waits
    owners_see_only_keys_within_their_collections
    an_idempotency_key_has_one_effect_and_one_answer
    a_run_and_its_answer_are_kept_together
    a_setting_is_put_once
    a_connection_has_one_follower_whose_fence_only_grows
}

async fn a_connection_has_one_follower_whose_fence_only_grows(bench: Bench) {
    let store = &bench.store;
    let connection = connection(store).await;
    let take = async |owner: &str| store.take_follower(&connection.id, owner, LEASE).await.expect("it answers");
    let first = take("one").await.expect("nobody has it");
    assert!(take("two").await.is_none(), "one has it");
    let position =
        |at: &str| FollowNote { position: Some(at.to_owned()), in_step: Some(true), ..FollowNote::default() };
    store.note_follower(&first, position("0/1")).await.expect("the lease stands");
    bench.execute("UPDATE followers SET lease_expires_at = 0").await;
    let second = take("two").await.expect("the lease of one has run out");
    assert!(matches!(store.note_follower(&first, position("0/0")).await, Err(LeaseError::Lost)));
    assert!(matches!(store.renew_follower(&first, LEASE).await, Err(LeaseError::Lost)));
    store.renew_follower(&second, LEASE).await.expect("the lease stands");
    let found = async || store.followers(std::slice::from_ref(&connection.id)).await.expect("it answers");
    let follower = &found().await[&connection.id];
    assert_eq!((follower.position.as_deref(), follower.in_step), (Some("0/1"), true));
    // A clear takes documents that a follower would not bring again.
    store.enqueue(&new_sync(&connection.id, JobKind::Clear)).await.expect("it is enqueued");
    assert!(!found().await[&connection.id].in_step);
    store.release_follower(second).await.expect("the lease stands");
    let third = take("three").await.expect("nobody has it");
    assert!(store.break_follower(&connection.id).await.expect("it answers"));
    assert!(matches!(store.renew_follower(&third, LEASE).await, Err(LeaseError::Lost)));
    store.forget_follower(&connection.id).await.expect("it answers");
    assert!(found().await.is_empty());
}

async fn collection(store: &Store) -> CollectionId {
    let id = CollectionId::mint();
    let new = NewCollection { id: id.clone(), name: id.to_string(), description: None };
    store.insert_collection(&new).await.expect("a collection");
    id
}

fn sealed(text: &str) -> Sealed {
    Sealed { key_id: "k1".into(), wrapped_key: vec![0, 1, 255], ciphertext: text.as_bytes().to_vec() }
}

fn new_connection(collection: &CollectionId, name: &str) -> NewConnection {
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

async fn connection(store: &Store) -> Connection {
    let collection = collection(store).await;
    store.insert_connection(&new_connection(&collection, "orders")).await.expect("a connection")
}

fn new_sync(connection: &ConnectionId, kind: JobKind) -> NewSync {
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

async fn run(store: &Store, connection: &ConnectionId) -> Sync {
    store.enqueue(&new_sync(connection, JobKind::Sync)).await.expect("it is enqueued")
}

async fn taken(store: &Store, lease: Duration) -> Lease {
    store.take("worker", ALL, lease).await.expect("the store answers").expect("a job is due")
}

fn finish(outcome: FinishOutcome) -> Finish {
    Finish {
        outcome,
        counters: Counters::default(),
        progress: json!({}),
        checkpoint: None,
        marks: Vec::new(),
        login_refused: false,
    }
}

fn succeeded() -> Finish {
    finish(FinishOutcome::Succeeded { warnings: json!([]) })
}

async fn opening_again_keeps_the_data(bench: Bench) {
    let id = collection(&bench.store).await;
    let (first, second) = tokio::join!(Store::open(&bench.url), Store::open(&bench.url));
    for store in [first.expect("it opens again"), second.expect("and beside")] {
        assert!(store.collection(&id).await.expect("it answers").is_some());
        store.ping().await.expect("it answers");
        store.close().await;
    }
}

#[tokio::test]
async fn two_servers_may_make_the_schema_at_once() {
    let database = Database::create().await;
    let url = database.url();
    let (first, second) = tokio::join!(Store::open(&url), Store::open(&url));
    first.expect("one opens");
    second.expect("the other opens");
}

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    let (sqlite, postgres) = (Bench::sqlite().await, Bench::postgres().await);
    let columns = sqlite.columns().await;
    assert!(columns.len() > 80, "{columns:?}");
    assert_eq!(columns, postgres.columns().await);
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_of_a_store_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::sqlite().await;
    collection(&bench.store).await;
    let Behind::Sqlite(folder) = &bench.behind else { panic!("a file") };
    for entry in std::fs::read_dir(folder.path()).expect("it lists") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn a_database_that_does_not_listen_is_away() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let url = format!("postgres://user:secret@127.0.0.1:{port}/nothing");
    let error = Store::open(&url).await.err().expect("nothing listens");
    assert!(matches!(error, StoreError::Away(_)), "{error:?}");
    assert!(!format!("{error:?}").contains("secret"));
}

#[test]
fn ended_states_change_no_more_and_active_ones_only_along_the_table() {
    use State::{Cancelled, Cancelling, Failed, Pending, Running, Succeeded, Waiting};
    let allowed = [
        (Pending, vec![Running, Cancelled]),
        (Waiting, vec![Running, Cancelled]),
        (Running, vec![Pending, Waiting, Cancelling, Succeeded, Failed, Cancelled]),
        (Cancelling, vec![Succeeded, Failed, Cancelled]),
        (Succeeded, vec![]),
        (Failed, vec![]),
        (Cancelled, vec![]),
    ];
    for (from, to) in allowed {
        for next in State::ALL {
            assert_eq!(from.can_become(next), to.contains(&next), "{from:?} -> {next:?}");
        }
        assert_eq!(from.is_terminal(), to.is_empty());
    }
}

async fn collection_names_are_unique_and_versions_are_checked(bench: Bench) {
    let store = &bench.store;
    let new = |name: &str| NewCollection { id: CollectionId::mint(), name: name.into(), description: None };
    let one = store.insert_collection(&new("one")).await.expect("a collection");
    assert!(matches!(store.insert_collection(&new("one")).await, Err(CreateError::NameTaken)));
    let two = store.insert_collection(&new("two")).await.expect("another");
    let rename = CollectionPatch { name: Some("one".into()), description: None };
    assert!(matches!(store.update_collection(&two.id, None, rename).await, Err(UpdateError::NameTaken)));
    let describe = CollectionPatch { name: None, description: Some(Some("first".into())) };
    let changed = store.update_collection(&one.id, Some(1), describe.clone()).await.expect("it changes");
    assert_eq!((changed.version, changed.description.as_deref()), (2, Some("first")));
    assert_eq!(store.collection(&one.id).await.expect("it answers"), Some(changed));
    let stale = store.update_collection(&one.id, Some(1), describe.clone()).await;
    assert!(matches!(stale, Err(UpdateError::VersionMismatch)));
    let missing = store.update_collection(&CollectionId::mint(), None, describe).await;
    assert!(matches!(missing, Err(UpdateError::NotFound)));
}

async fn pages_of_collections_miss_nothing_and_repeat_nothing(bench: Bench) {
    let store = &bench.store;
    let mut all = Vec::new();
    for _ in 0..7 {
        all.push(collection(store).await);
    }
    // Equal times leave the order to the id.
    bench.execute("UPDATE collections SET created_at = 5").await;
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = store.collections(&Visible::All, after, 3).await.expect("a page");
        let Some(last) = page.last() else { break };
        after = Some((last.created_at, last.id.clone()));
        seen.extend(page.into_iter().map(|collection| collection.id));
    }
    all.sort();
    all.reverse();
    assert_eq!(seen, all);
    let only = store.collections(&Visible::Only(vec![all[2].clone()]), None, 10).await.expect("a page");
    assert_eq!(only.len(), 1);
    assert!(store.collections(&Visible::Only(vec![]), None, 10).await.expect("a page").is_empty());
}

async fn a_collection_with_connections_is_not_deleted(bench: Bench) {
    let store = &bench.store;
    let connection = connection(store).await;
    let refused = store.delete_collection(&connection.collection, None).await;
    assert!(matches!(refused, Err(DeleteError::NotEmpty)), "{refused:?}");
    let counts = store.connection_counts(std::slice::from_ref(&connection.collection)).await.expect("counts");
    assert_eq!(counts.get(&connection.collection), Some(&1));
    store.begin_delete(&connection.id, None, None).await.expect("it begins");
    store.finish_delete(&connection.id).await.expect("it ends");
    let stale = store.delete_collection(&connection.collection, Some(9)).await;
    assert!(matches!(stale, Err(DeleteError::VersionMismatch)));
    store.delete_collection(&connection.collection, Some(1)).await.expect("it goes");
    assert!(matches!(store.delete_collection(&connection.collection, None).await, Err(DeleteError::NotFound)));
}

async fn deleting_a_collection_takes_it_from_its_keys(bench: Bench) {
    let store = &bench.store;
    let (kept, gone) = (collection(store).await, collection(store).await);
    let key = store.insert_key(&new_key(&[kept.clone(), gone.clone()])).await.expect("a key");
    store.delete_collection(&gone, None).await.expect("it goes");
    let key = store.key(&key.id).await.expect("it answers").expect("the key stays");
    assert_eq!((key.collections, key.all_collections), (vec![kept], false));
}

async fn connections_page_in_every_order(bench: Bench) {
    let store = &bench.store;
    let collection = collection(store).await;
    for name in ["b", "a", "B", "a", "\u{e9}", "c"] {
        store.insert_connection(&new_connection(&collection, name)).await.expect("a connection");
    }
    for order in [Order::CreatedDesc, Order::CreatedAsc, Order::NameAsc, Order::NameDesc] {
        let list = |after, limit| store.connections(&Visible::All, Some(&collection), order, after, limit);
        let whole = list(None, 100).await.expect("the list");
        let mut paged = Vec::new();
        let mut after = None;
        loop {
            let page = list(after, 2).await.expect("a page");
            let Some(last) = page.last() else { break };
            after = Some((order.sort_value(last), last.id.clone()));
            paged.extend(page);
        }
        assert_eq!(paged, whole, "{order:?}");
        if order == Order::NameAsc {
            let names: Vec<&str> = whole.iter().map(|connection| connection.name.as_str()).collect();
            assert_eq!(names, ["B", "a", "a", "b", "c", "\u{e9}"]);
        }
    }
    let elsewhere = Visible::Only(vec![CollectionId::mint()]);
    assert!(store.connections(&elsewhere, None, Order::NameAsc, None, 9).await.expect("a page").is_empty());
}

async fn a_connection_round_trips_with_everything_it_has(bench: Bench) {
    let store = &bench.store;
    let orphan = store.insert_connection(&new_connection(&CollectionId::mint(), "orders")).await;
    assert!(matches!(orphan, Err(CreateError::NoCollection)));
    let collection = collection(store).await;
    let new = new_connection(&collection, "orders");
    let made = store.insert_connection(&new).await.expect("a connection");
    assert_eq!(store.connection(&new.id).await.expect("it answers"), Some(made.clone()));
    assert_eq!((made.config, made.schedule, made.credential_fields), (new.config, new.schedule, new.credential_fields));
    let kept = store.sealed_credentials(&new.id).await.expect("it answers").expect("credentials");
    assert!(kept.sealed == sealed("one") && kept.credentials_version == 1 && kept.collection == collection);
    let patch = ConnectionPatch { name: Some("sales".into()), schedule: Some(None), ..ConnectionPatch::default() };
    let changed = store.update_connection(&new.id, Some(1), patch).await.expect("it changes");
    assert_eq!((changed.name.as_str(), changed.schedule, changed.version), ("sales", None, 2));
    assert_eq!(changed.description.as_deref(), Some("orders"));
}

async fn credentials_are_wrapped_anew_only_where_they_are_still_what_was_read(bench: Bench) {
    let store = &bench.store;
    let made = connection(store).await;
    let beside = async |key| store.credentials_beside(key, None, 9).await.expect("it answers").len();
    assert_eq!((beside("k1").await, beside("k2").await), (0, 1));
    let wrapped = |version, old: &str, key: &str| Rewrapped {
        connection: made.id.clone(),
        credentials_version: version,
        old_key_id: old.into(),
        sealed: Sealed { key_id: key.into(), wrapped_key: vec![7], ciphertext: b"ignored".to_vec() },
    };
    let rewrap = async |new: Rewrapped| store.rewrap_credentials(&[new]).await.expect("it answers");
    assert_eq!(rewrap(wrapped(2, "k1", "k2")).await, 0, "the credentials were replaced");
    assert_eq!(rewrap(wrapped(1, "k1", "k2")).await, 1);
    assert_eq!(rewrap(wrapped(1, "k1", "k3")).await, 0, "another rotation was first");
    let kept = store.sealed_credentials(&made.id).await.expect("it answers").expect("credentials").sealed;
    assert!(kept.key_id == "k2" && kept.wrapped_key == [7] && kept.ciphertext == b"one");
    assert_eq!(store.credentials_by_key().await.expect("it answers"), [("k2".to_owned(), 1)]);
    assert!(store.forget_overwritten().await.expect("it answers"));
}

async fn edits_that_matter_to_a_job_are_refused_while_it_is_active(bench: Bench) {
    let store = &bench.store;
    let before = connection(store).await;
    let job = run(store, &before.id).await;
    let credentials =
        || NewCredentials { sealed: sealed("two"), fields: vec!["host".into()], expected_credentials_version: 1 };
    let refusals = [
        store.replace_credentials(&before.id, None, credentials()).await,
        store.replace_config(&before.id, None, Map::new(), Some(credentials())).await,
        store.begin_delete(&before.id, None, Some(&SyncId::mint())).await,
    ];
    for refusal in refusals {
        let Err(UpdateError::Busy { job: busy, operation }) = refusal else { panic!("{refusal:?}") };
        assert_eq!((busy, operation), (job.id.clone(), JobKind::Sync));
    }
    let second = store.enqueue(&new_sync(&before.id, JobKind::Clear)).await;
    assert!(matches!(second, Err(EnqueueError::Busy { kind: JobKind::Sync, .. })));
    assert_eq!(store.connection(&before.id).await.expect("it answers"), Some(before.clone()));
    let paused = ConnectionPatch { paused: Some(true), ..ConnectionPatch::default() };
    assert!(store.update_connection(&before.id, None, paused).await.expect("allowed").paused);
    store.request_cancel(&job.id).await.expect("it ends");
    store.replace_credentials(&before.id, None, credentials()).await.expect("allowed again");
}

async fn new_credentials_forget_what_was_known_of_the_old(bench: Bench) {
    let store = &bench.store;
    let id = connection(store).await.id;
    store.note_outcome(&id, 1, 1, AuthState::Failed, Outcome::Failed, Some("refused")).await.expect("noted");
    let stale = NewCredentials { sealed: sealed("two"), fields: vec![], expected_credentials_version: 7 };
    assert!(matches!(store.replace_credentials(&id, None, stale).await, Err(UpdateError::VersionMismatch)));
    let new = NewCredentials { sealed: sealed("two"), fields: vec!["uri".into()], expected_credentials_version: 1 };
    let changed = store.replace_credentials(&id, Some(1), new).await.expect("replaced");
    assert_eq!((changed.auth, changed.outcome, changed.status_message), (AuthState::Untested, Outcome::None, None));
    assert_eq!((changed.credentials_version, changed.config_version, changed.version), (2, 1, 2));
    let kept = store.sealed_credentials(&id).await.expect("it answers").expect("credentials");
    assert!(kept.sealed == sealed("two") && kept.credentials_version == 2);
    let changed = store.replace_config(&id, Some(2), Map::new(), None).await.expect("replaced");
    assert_eq!((changed.credentials_version, changed.config_version, changed.version), (2, 2, 3));
    assert!(changed.config.is_empty());
}

async fn an_outcome_of_old_versions_is_not_noted(bench: Bench) {
    let store = &bench.store;
    let id = connection(store).await.id;
    assert!(!store.note_outcome(&id, 2, 1, AuthState::Ok, Outcome::Succeeded, None).await.expect("it answers"));
    assert!(store.note_outcome(&id, 1, 1, AuthState::Ok, Outcome::Failed, Some("slow")).await.expect("it answers"));
    let noted = store.connection(&id).await.expect("it answers").expect("a connection");
    assert_eq!((noted.auth, noted.outcome, noted.version), (AuthState::Ok, Outcome::Failed, 1));
    assert_eq!(noted.status_message.as_deref(), Some("slow"));
}

async fn a_connection_knows_how_its_sync_ended_as_soon_as_it_has(bench: Bench) {
    let store = &bench.store;
    let id = connection(store).await.id;
    let failed = || finish(FinishOutcome::Failed { reason: "SOURCE_UNREACHABLE".into(), message: "away".into() });
    let ends = [
        (succeeded(), AuthState::Ok, Outcome::Succeeded, None),
        (failed(), AuthState::Ok, Outcome::Failed, Some("away")),
        (Finish { login_refused: true, ..failed() }, AuthState::Failed, Outcome::Failed, Some("away")),
        // Whoever was not even reached has not taken the login either.
        (failed(), AuthState::Failed, Outcome::Failed, Some("away")),
        (finish(FinishOutcome::Cancelled), AuthState::Failed, Outcome::Failed, Some("away")),
        (succeeded(), AuthState::Ok, Outcome::Succeeded, None),
    ];
    for (end, auth, outcome, message) in ends {
        run(store, &id).await;
        let lease = taken(store, LEASE).await;
        store.finish(lease, end).await.expect("it ends");
        let noted = store.connection(&id).await.expect("it answers").expect("a connection");
        assert_eq!((noted.auth, noted.outcome, noted.status_message.as_deref()), (auth, outcome, message));
    }
}

async fn a_deletion_hold_is_set_and_lifted(bench: Bench) {
    let store = &bench.store;
    let id = connection(store).await.id;
    let hold = DeletionHold { items: 40, indexed_items: 100, sync: SyncId::mint(), created_at: 0 };
    run(store, &id).await;
    let lease = taken(store, LEASE).await;
    store.set_hold(&lease, Some(&hold)).await.expect("set");
    let set = store.connection(&id).await.expect("it answers").and_then(|connection| connection.hold).expect("a hold");
    assert_eq!((set.items, set.indexed_items, &set.sync), (40, 100, &hold.sync));
    assert!(set.created_at > 1_700_000_000_000);
    store.lift_hold(&id).await.expect("lifted");
    assert_eq!(store.connection(&id).await.expect("it answers").expect("a connection").hold, None);
    store.set_hold(&lease, Some(&hold)).await.expect("set");
    store.set_hold(&lease, None).await.expect("lifted");
    assert_eq!(store.connection(&id).await.expect("it answers").expect("a connection").hold, None);
}

async fn only_due_connections_that_may_run_are_due(bench: Bench) {
    let store = &bench.store;
    let collection = collection(store).await;
    let mut new = new_connection(&collection, "due");
    new.next_run_at = Some(2_000);
    store.insert_connection(&new).await.expect("a connection");
    for (name, paused, auth, next_run_at) in [
        ("paused", true, AuthState::Ok, Some(1_000)),
        ("refused", false, AuthState::Failed, Some(1_000)),
        ("later", false, AuthState::Ok, Some(i64::MAX)),
        ("never", false, AuthState::Ok, None),
    ] {
        let other = NewConnection { paused, auth, next_run_at, ..new_connection(&collection, name) };
        store.insert_connection(&other).await.expect("a connection");
    }
    let due = store.due_connections(10).await.expect("the due");
    assert_eq!(due.iter().map(|connection| connection.name.as_str()).collect::<Vec<_>>(), ["due"]);
    assert!(store.set_next_run(&new.id, Some(2_000), Some(i64::MAX)).await.expect("moved"));
    assert!(!store.set_next_run(&new.id, Some(2_000), None).await.expect("it answers"), "it fires once");
    assert!(store.due_connections(10).await.expect("the due").is_empty());
}

async fn a_delete_ends_with_nothing_left(bench: Bench) {
    let store = &bench.store;
    let id = connection(store).await.id;
    store.finish_delete(&id).await.expect("it answers");
    assert!(store.connection(&id).await.expect("it answers").is_some(), "it is not being deleted");
    let purge = SyncId::mint();
    let deleting = store.begin_delete(&id, Some(1), Some(&purge)).await.expect("it begins");
    assert_eq!(deleting.lifecycle, Lifecycle::Deleting);
    assert!(matches!(store.enqueue(&new_sync(&id, JobKind::Sync)).await, Err(EnqueueError::Deleting)));
    assert!(store.stranded_deletes().await.expect("it answers").is_empty());
    let held = taken(store, LEASE).await;
    assert_eq!((&held.sync.id, held.sync.kind), (&purge, JobKind::Purge));
    let failure = FinishOutcome::Failed { reason: "INTERNAL".into(), message: "damaged".into() };
    store.finish(held, finish(failure)).await.expect("it ends");
    let stranded = store.stranded_deletes().await.expect("it answers");
    assert!(stranded.len() == 1 && stranded[0].purge && stranded[0].connection == id);
    store.enqueue(&new_sync(&id, JobKind::Purge)).await.expect("once more");
    let held = taken(store, LEASE).await;
    store.finish(held, succeeded()).await.expect("it ends");
    assert!(!store.stranded_deletes().await.expect("it answers")[0].purge);
    store.finish_delete(&id).await.expect("it ends");
    assert!(store.connection(&id).await.expect("it answers").is_none());
    assert!(store.sealed_credentials(&id).await.expect("it answers").is_none());
    assert!(store.sync(&purge).await.expect("it answers").is_none());
}

async fn fifty_racing_enqueues_give_one_job(bench: Bench) {
    let id = connection(&bench.store).await.id;
    let racers: Vec<_> = (0..50)
        .map(|_| {
            let (store, new) = (bench.store.clone(), new_sync(&id, JobKind::Sync));
            tokio::spawn(async move { store.enqueue(&new).await })
        })
        .collect();
    let (mut won, mut busy) = (Vec::new(), Vec::new());
    for racer in racers {
        match racer.await.expect("no panic") {
            Ok(job) => won.push(job.id),
            Err(EnqueueError::Busy { id, .. }) => busy.push(id),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!((won.len(), busy.len()), (1, 49));
    assert!(busy.iter().all(|id| *id == won[0]));
}

async fn an_edit_and_a_run_never_both_win(bench: Bench) {
    for _ in 0..10 {
        let id = connection(&bench.store).await.id;
        let (editor, runner, new) = (bench.store.clone(), bench.store.clone(), new_sync(&id, JobKind::Sync));
        let edit = async { editor.replace_config(&id, None, Map::new(), None).await };
        let (edited, started) = tokio::join!(edit, runner.enqueue(&new));
        let started = started.expect("nothing stands against a run");
        let expected = if edited.is_ok() { 2 } else { 1 };
        assert_eq!(started.config_version, expected, "a job runs under the config that it was started with");
        let kept = bench.store.connection(&id).await.expect("it answers").expect("a connection");
        assert_eq!(kept.config_version, expected);
    }
}

async fn a_job_goes_through_its_life(bench: Bench) {
    let store = &bench.store;
    let connection = connection(store).await;
    let job = run(store, &connection.id).await;
    assert_eq!((job.state, job.sequence, job.attempt), (State::Pending, 1, 0));
    let other_kinds = [JobKind::Clear, JobKind::Purge];
    assert!(store.take("worker", &other_kinds, LEASE).await.expect("it answers").is_none());
    assert_eq!((&job.collection, job.config_version), (&connection.collection, 1));
    let held = taken(store, LEASE).await;
    assert_eq!((held.sync.state, held.sync.attempt, held.sync.owner.as_deref()), (State::Running, 1, Some("worker")));
    assert!(store.take("another", ALL, LEASE).await.expect("it answers").is_none());
    let commit = Commit {
        counters: Counters { read: 10, inserted: 9, failed: 1, ..Counters::default() },
        progress: json!({"objects": ["orders"]}),
        brief: json!({}),
        checkpoint: Some(json!({"key": 10})),
        errors: vec![failed_item(1)],
        log: vec![LogLine { level: "warning".into(), message: "one item failed".into() }],
    };
    let renewed = store.commit(&held, &commit).await.expect("it holds");
    assert!(!renewed.cancel_requested && renewed.sequence == 4);
    assert_eq!(store.renew(&held, LEASE).await.expect("it holds").sequence, 4);
    let smaller = Commit { counters: Counters { read: 2, ..Counters::default() }, ..Commit::default() };
    store.commit(&held, &smaller).await.expect("it holds");
    let now = store.sync(&job.id).await.expect("it answers").expect("the job");
    assert_eq!((now.counters.read, now.checkpoint.clone()), (10, json!({"key": 10})));
    let warnings = json!([{"code": "items_failed"}]);
    let outcome = FinishOutcome::Succeeded { warnings: warnings.clone() };
    let ended = store.finish(held, finish(outcome)).await.expect("it ends");
    assert_eq!((ended.state, ended.warnings.clone(), ended.owner.clone()), (State::Succeeded, warnings, None));
    assert!(ended.finished_at.is_some() && ended.sequence == 6);
    assert_eq!(store.sync(&job.id).await.expect("it answers"), Some(ended));
    let errors = store.sync_errors(&job.id, 0, 10).await.expect("errors");
    assert_eq!(errors.iter().map(|kept| kept.error.clone()).collect::<Vec<_>>(), [failed_item(1)]);
    assert_eq!(store.sync_log(&job.id, 2).await.expect("lines").len(), 1);
    assert!(store.sync_log(&job.id, 3).await.expect("lines").is_empty());
    assert!(store.active_job(&connection.id).await.expect("it answers").is_none());
}

fn failed_item(number: i64) -> SyncErrorRow {
    SyncErrorRow {
        object: "orders".into(),
        key: number.to_string(),
        stage: "decode".into(),
        code: "invalid_utf8".into(),
        message: "not UTF-8".into(),
    }
}

async fn errors_beyond_a_thousand_are_counted_and_not_kept(bench: Bench) {
    let store = &bench.store;
    let job = run(store, &connection(store).await.id).await;
    let held = taken(store, LEASE).await;
    for batch in 0..3 {
        let errors = (0..400).map(|item| failed_item(batch * 400 + item)).collect();
        let counters = Counters { read: 400 * (batch + 1), failed: 400 * (batch + 1), ..Counters::default() };
        store.commit(&held, &Commit { counters, errors, ..Commit::default() }).await.expect("it holds");
    }
    let kept = store.sync_errors(&job.id, 0, 5_000).await.expect("errors");
    assert_eq!((kept.len(), kept[999].number, kept[999].error.key.as_str()), (1_000, 1_000, "999"));
    assert_eq!(store.sync_errors(&job.id, 990, 5).await.expect("errors").len(), 5);
    let counters = store.sync(&job.id).await.expect("it answers").expect("the job").counters;
    assert_eq!((counters.read, counters.failed), (1_200, 1_200));
    drop(held);
}

async fn an_item_that_fails_again_in_a_later_attempt_is_listed_once(bench: Bench) {
    let store = &bench.store;
    let job = run(store, &connection(store).await.id).await;
    let old = taken(store, Duration::ZERO).await;
    let commit = Commit { errors: vec![failed_item(1), failed_item(2)], ..Commit::default() };
    store.commit(&old, &commit).await.expect("it holds");
    store.reap(5).await.expect("it answers");
    let new = taken(store, LEASE).await;
    let commit = Commit { errors: vec![failed_item(1), failed_item(2), failed_item(3)], ..Commit::default() };
    store.commit(&new, &commit).await.expect("it holds");
    let kept = store.sync_errors(&job.id, 0, 10).await.expect("errors");
    assert_eq!(kept.iter().map(|kept| kept.error.clone()).collect::<Vec<_>>(), [1, 2, 3].map(failed_item));
    drop(new);
}

async fn kept_progress_is_thinned_evenly(bench: Bench) {
    let store = &bench.store;
    let job = run(store, &connection(store).await.id).await;
    let held = taken(store, LEASE).await;
    for read in 0..900 {
        let commit = Commit { counters: Counters { read, ..Counters::default() }, ..Commit::default() };
        store.commit(&held, &commit).await.expect("it holds");
    }
    let kept = store.kept_progress(&job.id, 0).await.expect("progress");
    let read: Vec<i64> = kept.iter().map(|kept| kept.counters.read).collect();
    assert_eq!(read, (0..900).step_by(4).collect::<Vec<_>>());
    assert!(kept.windows(2).all(|pair| pair[0].sequence < pair[1].sequence && pair[0].at <= pair[1].at));
    let after = kept[100].sequence;
    assert_eq!(store.kept_progress(&job.id, after).await.expect("progress"), kept[101..]);
    drop(held);
}

async fn an_expired_lease_is_taken_over_and_the_old_worker_cannot_write(bench: Bench) {
    let store = &bench.store;
    run(store, &connection(store).await.id).await;
    let old = taken(store, Duration::ZERO).await;
    assert_eq!(store.reap(5).await.expect("it answers"), std::slice::from_ref(&old.sync.id));
    assert!(store.reap(5).await.expect("it answers").is_empty());
    let new = store.take("another", ALL, LEASE).await.expect("it answers").expect("it is due");
    assert!(new.fence() > old.fence());
    assert_eq!((new.sync.attempt, new.sync.crashes), (2, 1));
    let before = store.sync(&new.sync.id).await.expect("it answers");
    assert!(matches!(store.renew(&old, LEASE).await, Err(LeaseError::Lost)));
    let commit = Commit { errors: vec![failed_item(1)], ..Commit::default() };
    assert!(matches!(store.commit(&old, &commit).await, Err(LeaseError::Lost)));
    let hold = DeletionHold { items: 4, indexed_items: 5, sync: old.sync.id.clone(), created_at: 0 };
    assert!(matches!(store.set_hold(&old, Some(&hold)).await, Err(LeaseError::Lost)));
    let held = store.connection(&old.sync.connection).await.expect("it answers").and_then(|found| found.hold);
    assert_eq!(held, None);
    assert!(matches!(store.finish(old, succeeded()).await, Err(LeaseError::Lost)));
    assert_eq!(store.sync(&new.sync.id).await.expect("it answers"), before);
    store.commit(&new, &commit).await.expect("the new one writes");
    store.finish(new, succeeded()).await.expect("and ends");
}

async fn a_job_is_poisoned_after_five_crashes(bench: Bench) {
    let store = &bench.store;
    let job = run(store, &connection(store).await.id).await;
    for _ in 0..5 {
        drop(taken(store, Duration::ZERO).await);
        store.reap(5).await.expect("it answers");
    }
    let ended = store.sync(&job.id).await.expect("it answers").expect("the job");
    assert_eq!((ended.state, ended.crashes), (State::Failed, 5));
    assert_eq!(ended.error_reason.as_deref(), Some("POISONED"));
    assert!(store.take("worker", ALL, LEASE).await.expect("it answers").is_none());
}

async fn a_job_handed_back_is_taken_again_at_once(bench: Bench) {
    let store = &bench.store;
    run(store, &connection(store).await.id).await;
    let held = taken(store, LEASE).await;
    let left = store.finish(held, finish(FinishOutcome::HandBack)).await.expect("it is handed back");
    assert_eq!((left.state, left.crashes, left.owner), (State::Pending, 0, None));
    assert_eq!(taken(store, LEASE).await.sync.id, left.id);
}

async fn a_waiting_job_is_not_taken_before_its_time(bench: Bench) {
    let store = &bench.store;
    run(store, &connection(store).await.id).await;
    let held = taken(store, LEASE).await;
    let wait = |until_ms_from_now| finish(FinishOutcome::Waiting { until_ms_from_now, reason: "throttled".into() });
    let waiting = store.finish(held, wait(3_600_000)).await.expect("it waits");
    assert_eq!((waiting.state, waiting.waiting_reason.as_deref()), (State::Waiting, Some("throttled")));
    assert!(waiting.waiting_until > Some(store.now().await.expect("the time")));
    assert!(store.take("worker", ALL, LEASE).await.expect("it answers").is_none());
    bench.execute("UPDATE syncs SET due_at = 0").await;
    let held = taken(store, LEASE).await;
    assert_eq!((held.sync.waiting_until, held.sync.waiting_reason.clone()), (None, None));
    store.request_cancel(&waiting.id).await.expect("it is asked");
    let ended = store.finish(held, wait(1_000)).await.expect("it ends");
    assert_eq!(ended.state, State::Cancelled, "a job that was asked to stop does not wait");
}

async fn cancelling_ends_a_job_that_nobody_holds_and_asks_one_that_is_held(bench: Bench) {
    let store = &bench.store;
    let id = connection(store).await.id;
    assert!(matches!(store.request_cancel(&SyncId::mint()).await, Err(CancelError::NotFound)));
    let pending = run(store, &id).await;
    for _ in 0..2 {
        assert_eq!(store.request_cancel(&pending.id).await.expect("it ends").state, State::Cancelled);
    }
    let job = run(store, &id).await;
    let held = taken(store, LEASE).await;
    for _ in 0..2 {
        assert_eq!(store.request_cancel(&job.id).await.expect("it is asked").state, State::Cancelling);
    }
    assert!(store.renew(&held, LEASE).await.expect("it holds").cancel_requested);
    assert!(store.commit(&held, &Commit::default()).await.expect("it holds").cancel_requested);
    let ended = store.finish(held, finish(FinishOutcome::Cancelled)).await.expect("it ends");
    assert_eq!(ended.state, State::Cancelled);
    run(store, &id).await;
    let abandoned = taken(store, Duration::ZERO).await;
    store.request_cancel(&abandoned.sync.id).await.expect("it is asked");
    store.reap(5).await.expect("it answers");
    let ended = store.sync(&abandoned.sync.id).await.expect("it answers").expect("the job");
    assert_eq!(ended.state, State::Cancelled);
}

async fn an_ended_job_never_changes(bench: Bench) {
    let store = &bench.store;
    let job = run(store, &connection(store).await.id).await;
    let held = taken(store, Duration::ZERO).await;
    let ended = store.finish(held, succeeded()).await.expect("it ends");
    assert!(matches!(store.request_cancel(&job.id).await, Err(CancelError::NotRunning)));
    assert!(store.reap(1).await.expect("it answers").is_empty());
    store.expire_leases_of_previous_run().await.expect("it answers");
    assert!(store.take("worker", ALL, LEASE).await.expect("it answers").is_none());
    assert_eq!(store.sync(&job.id).await.expect("it answers"), Some(ended));
}

async fn racing_workers_take_each_job_once(bench: Bench) {
    let mut jobs = BTreeSet::new();
    for _ in 0..8 {
        jobs.insert(run(&bench.store, &connection(&bench.store).await.id).await.id);
    }
    let workers: Vec<_> = (0..16)
        .map(|number| {
            let store = bench.store.clone();
            tokio::spawn(async move { store.take(&format!("worker {number}"), ALL, LEASE).await })
        })
        .collect();
    let mut found = Vec::new();
    for worker in workers {
        found.extend(worker.await.expect("no panic").expect("it answers").map(|held| held.sync.id));
    }
    // A worker that met only locked rows comes back with nothing; it looks again.
    while let Some(held) = bench.store.take("last", ALL, LEASE).await.expect("it answers") {
        found.push(held.sync.id);
    }
    assert_eq!(found.len(), jobs.len());
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), jobs);
}

async fn the_last_sync_is_the_one_that_ended_last(bench: Bench) {
    let store = &bench.store;
    let id = connection(store).await.id;
    let ids = [id.clone(), connection(store).await.id];
    assert!(store.last_sync(&ids).await.expect("it answers").is_empty());
    let mut last = None;
    for kind in [JobKind::Sync, JobKind::Sync, JobKind::Clear] {
        let job = store.enqueue(&new_sync(&id, kind)).await.expect("it is enqueued");
        let held = taken(store, LEASE).await;
        store.finish(held, succeeded()).await.expect("it ends");
        if kind == JobKind::Sync {
            last = Some(job.id);
        }
    }
    let active = run(store, &id).await;
    // Times may be equal within a millisecond; then the later id counts.
    let found = store.last_sync(&ids).await.expect("it answers");
    assert_eq!(found.len(), 1);
    assert!(found.get(&id).is_some_and(|sync| sync.kind == JobKind::Sync && sync.state == State::Succeeded));
    bench
        .execute(&format!("UPDATE syncs SET finished_at = finished_at + 9 WHERE id = '{}'", last.as_ref().unwrap()))
        .await;
    let found = store.last_sync(&ids).await.expect("it answers");
    assert_eq!(found.get(&id).map(|sync| sync.id.clone()), last);
    assert_eq!(store.active_jobs(&ids).await.expect("it answers").get(&id).map(|job| &job.id), Some(&active.id));
    let syncs = store.syncs(&Visible::All, Some(&id), &[], None, 10).await.expect("a page");
    assert_eq!(syncs.len(), 3, "a clear is no sync");
    let pending = store.syncs(&Visible::All, Some(&id), &[State::Pending], None, 10).await.expect("a page");
    assert_eq!(pending.len(), 1);
    let next = store.syncs(&Visible::All, Some(&id), &[], Some((syncs[0].created_at, syncs[0].id.clone())), 10).await;
    assert_eq!(next.expect("a page"), syncs[1..]);
}

fn new_key(collections: &[CollectionId]) -> NewKey {
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

async fn keys_are_found_revoked_and_touched(bench: Bench) {
    let store = &bench.store;
    assert!(!store.any_admin_key().await.expect("it answers"));
    let orphan = store.insert_key(&new_key(&[CollectionId::mint()])).await;
    assert!(matches!(orphan, Err(CreateKeyError::NoCollection)), "{orphan:?}");
    let key = store.insert_key(&new_key(&[])).await.expect("a key");
    assert!(store.any_admin_key().await.expect("it answers"));
    let found = store.key_for_auth(&key.id).await.expect("it answers").expect("the key");
    assert_eq!((&found.key, found.hash), (&key, [7; 32]));
    assert!(found.now >= key.created_at, "{}", found.now);
    let granted = [collection(store).await, collection(store).await];
    let some = NewKey { role: "viewer".into(), ..new_key(&granted) };
    let some = store.insert_key(&some).await.expect("a key");
    assert_eq!(store.key_for_auth(&some.id).await.expect("it answers").expect("the key").key, some);
    store.touch_keys(&[key.id.clone(), some.id]).await.expect("touched");
    let used = store.key(&key.id).await.expect("it answers").and_then(|key| key.last_used_at).expect("a time");
    assert_eq!(used % 60_000, 0);
    let revoked = store.revoke_key(&key.id).await.expect("it answers").expect("the key");
    assert!(revoked.revoked_at.is_some());
    assert_eq!(store.revoke_key(&key.id).await.expect("it answers"), Some(revoked));
    assert!(!store.any_admin_key().await.expect("it answers"));
    assert!(store.revoke_key(&KeyId::mint()).await.expect("it answers").is_none());
}

async fn a_key_is_found_while_a_write_waits(bench: Bench) {
    let store = bench.store.clone();
    let key = store.insert_key(&new_key(&[])).await.expect("a key");
    let Behind::Sqlite(folder) = &bench.behind else {
        // A server lets readers read; only a file needs the second way in.
        assert_eq!(store.backend(), "postgresql");
        assert!(store.key_for_auth(&key.id).await.expect("it answers").is_some());
        return;
    };
    let other = rusqlite::Connection::open(folder.path().join("store.db")).expect("it opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
    let waiting = tokio::spawn({
        let (store, id) = (store.clone(), key.id.clone());
        async move { store.touch_keys(&[id]).await }
    });
    for _ in 0..200 {
        let found = tokio::time::timeout(Duration::from_secs(5), store.key_for_auth(&key.id)).await;
        assert!(found.expect("it waits for no writer").expect("it answers").is_some());
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished(), "the write has not been held up");
    other.execute_batch("ROLLBACK").expect("it goes back");
    waiting.await.expect("it ends").expect("it is written");
}

async fn owners_see_only_keys_within_their_collections(bench: Bench) {
    let store = &bench.store;
    let (mine, other) = (collection(store).await, collection(store).await);
    let within = store.insert_key(&new_key(std::slice::from_ref(&mine))).await.expect("a key");
    store.insert_key(&new_key(&[mine.clone(), other.clone()])).await.expect("a wider key");
    store.insert_key(&new_key(&[])).await.expect("a key for all");
    let seen = store.keys(&Visible::Only(vec![mine]), None, 10).await.expect("a page");
    assert_eq!(seen, [within]);
    let first = store.keys(&Visible::All, None, 2).await.expect("a page");
    let rest = store.keys(&Visible::All, Some((first[1].created_at, first[1].id.clone())), 2).await.expect("a page");
    assert_eq!((first.len(), rest.len()), (2, 1));
}

async fn an_idempotency_key_has_one_effect_and_one_answer(bench: Bench) {
    let store = &bench.store;
    let caller = KeyId::mint();
    let begin = |hash: u8| store.begin(&caller, "Create", "request", [hash; 32]);
    assert_eq!(begin(1).await.expect("it answers"), Begun::Fresh);
    assert_eq!(begin(1).await.expect("it answers"), Begun::InUse);
    assert_eq!(begin(2).await.expect("it answers"), Begun::Reused);
    store.abandon(&caller, "Create", "request").await.expect("forgotten");
    assert_eq!(begin(2).await.expect("it answers"), Begun::Fresh);
    bench.execute("UPDATE requests SET begun_at = begun_at - 301000").await;
    assert_eq!(begin(2).await.expect("it answers"), Begun::Fresh, "whoever began it is dead");
    assert_eq!(begin(2).await.expect("it answers"), Begun::InUse);
    let completion = Completion {
        caller: caller.clone(),
        method: "Create".into(),
        request_id: "request".into(),
        response: vec![0, 255],
    };
    store.complete(&completion).await.expect("kept");
    store.abandon(&caller, "Create", "request").await.expect("too late");
    assert_eq!(begin(2).await.expect("it answers"), Begun::Replay(vec![0, 255]));
    assert_eq!(store.begin(&KeyId::mint(), "Create", "request", [2; 32]).await.expect("it answers"), Begun::Fresh);
    bench.execute("UPDATE requests SET begun_at = begun_at - 86400000").await;
    assert_eq!(begin(3).await.expect("it answers"), Begun::Fresh, "a day has passed");
    assert_eq!(store.prune().await.expect("pruned"), 1);
}

async fn a_run_and_its_answer_are_kept_together(bench: Bench) {
    let store = &bench.store;
    let id = connection(store).await.id;
    let caller = KeyId::mint();
    let completion =
        Completion { caller: caller.clone(), method: "Run".into(), request_id: "r".into(), response: vec![1] };
    store.begin(&caller, "Run", "r", [1; 32]).await.expect("fresh");
    let new = NewSync { completes: Some(completion.clone()), ..new_sync(&id, JobKind::Sync) };
    store.enqueue(&new).await.expect("it is enqueued");
    assert_eq!(store.begin(&caller, "Run", "r", [1; 32]).await.expect("it answers"), Begun::Replay(vec![1]));
    store.begin(&caller, "Run", "s", [1; 32]).await.expect("fresh");
    let second = Completion { request_id: "s".into(), ..completion };
    let new = NewSync { completes: Some(second), ..new_sync(&id, JobKind::Sync) };
    assert!(matches!(store.enqueue(&new).await, Err(EnqueueError::Busy { .. })));
    assert_eq!(store.begin(&caller, "Run", "s", [1; 32]).await.expect("it answers"), Begun::InUse);
}

async fn a_setting_is_put_once(bench: Bench) {
    let store = &bench.store;
    assert_eq!(store.get_setting("canary").await.expect("it answers"), None);
    assert_eq!(store.put_setting_if_absent("canary", "one").await.expect("put"), "one");
    assert_eq!(store.put_setting_if_absent("canary", "two").await.expect("there"), "one");
    assert_eq!(store.get_setting("canary").await.expect("it answers").as_deref(), Some("one"));
}

#[tokio::test]
async fn a_restarted_single_server_takes_up_its_jobs_at_once() {
    let bench = Bench::sqlite().await;
    let job = run(&bench.store, &connection(&bench.store).await.id).await;
    drop(taken(&bench.store, LEASE).await);
    let store = Store::open(&bench.url).await.expect("it opens");
    assert_eq!(store.expire_leases_of_previous_run().await.expect("it answers"), 1);
    assert_eq!(store.reap(5).await.expect("it answers"), std::slice::from_ref(&job.id));
    assert_eq!(taken(&store, LEASE).await.sync.id, job.id);
}
