//! API keys, and the keys of requests.

use std::time::Duration;

use tributary::ids::{CollectionId, KeyId};
use tributary::store::Visible;
use tributary::store::idempotency::{Begun, Completion};
use tributary::store::keys::{CreateKeyError, NewKey};

use super::bench::{Behind, Bench, collection, new_key};

on_both! {
    keys_are_found_revoked_and_touched
    a_key_is_found_while_a_write_waits
    owners_see_only_keys_within_their_collections
    an_idempotency_key_has_one_effect_and_one_answer
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
