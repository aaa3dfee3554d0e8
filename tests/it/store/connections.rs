//! Connections, their credentials, holds, schedules and followers.

use serde_json::Map;
use tributary::ids::{CollectionId, SyncId};
use tributary::store::Visible;
use tributary::store::collections::{CreateError, UpdateError};
use tributary::store::connections::{
    AuthState, ConnectionPatch, DeletionHold, Lifecycle, NewConnection, NewCredentials, Order, Outcome, Sealed,
};
use tributary::store::followers::FollowNote;
use tributary::store::queue::{EnqueueError, Finish, FinishOutcome, LeaseError};
use tributary::store::rewrap::Rewrapped;
use tributary::store::syncs::JobKind;

use super::bench::{
    Bench, LEASE, collection, connection, finish, new_connection, new_sync, run, sealed, succeeded, taken,
};

on_both! {
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
    a_connection_has_one_follower_whose_fence_only_grows
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
