//! Collections.

use tributary::ids::CollectionId;
use tributary::store::Visible;
use tributary::store::collections::{CollectionPatch, CreateError, DeleteError, NewCollection, UpdateError};

use super::bench::{Bench, collection, connection, new_key};

on_both! {
    collection_names_are_unique_and_versions_are_checked
    pages_of_collections_miss_nothing_and_repeat_nothing
    a_collection_with_connections_is_not_deleted
    deleting_a_collection_takes_it_from_its_keys
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
