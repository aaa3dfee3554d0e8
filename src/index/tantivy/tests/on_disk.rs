//! What concerns Tantivy's folders: reopening, damage, closing.

use super::*;
use crate::index::IndexError;
use crate::index::tantivy::collection::Collection;

#[tokio::test]
async fn any_index_behaves_as_the_suite_says() {
    let folder = tempfile::tempdir().unwrap();
    suite::run(&open(&folder)).await;
}

#[tokio::test]
async fn the_manifest_after_a_restart_is_what_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let target = target();
    let index = open(&folder);
    let documents: Vec<Document> = (0..50).map(|number| document(&format!("t{number}"), "body")).collect();
    let changes = documents
        .iter()
        .enumerate()
        .map(|(number, document)| put(&target, "public.a", &number.to_string(), document.clone()));
    apply_and_commit(&index, &target, changes.collect()).await;
    index.apply(&target, vec![put(&target, "public.a", "new", document("new", "uncommitted"))]).await.unwrap();
    index.apply(&target, vec![delete(&target, "public.a", "0")]).await.unwrap();
    drop(index);

    let index = open(&folder);
    let manifest = index.manifest(&target, "public.a").await.unwrap();
    assert_eq!(manifest.len(), 50);
    for (number, document) in documents.iter().enumerate() {
        let found = manifest.get(&key(&target, "public.a", &number.to_string()));
        assert_eq!(found, Some(&fingerprint(document)));
    }
    assert!(titles(&index, &target.collection, &query("uncommitted")).await.is_empty());
}

#[tokio::test]
async fn a_damaged_index_is_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let target = target();
    let broken = folder.path().join("index").join("col_1");
    std::fs::create_dir_all(&broken).unwrap();
    std::fs::write(broken.join("meta.json"), "{").unwrap();
    let index = open(&folder);
    let failure = index.manifest(&target, "a").await.unwrap_err();
    assert!(matches!(failure, IndexError::Damaged { .. }), "{failure:?}");
}

#[tokio::test]
async fn a_dropped_collection_leaves_no_folder_and_can_be_filled_again() {
    let folder = tempfile::tempdir().unwrap();
    let target = target();
    let index = open(&folder);
    apply_and_commit(&index, &target, vec![put(&target, "a", "1", document("one", "word"))]).await;
    index.drop_collection(&target.collection).await.unwrap();
    assert!(!folder.path().join("index").join("col_1").exists());
    assert_eq!(index.count(&target.collection, None).await.unwrap(), 0);
    index.drop_collection(&target.collection).await.unwrap();
    apply_and_commit(&index, &target, vec![put(&target, "a", "2", document("two", "word"))]).await;
    assert_eq!(titles(&index, &target.collection, &query("word")).await, ["two"]);
}

#[test]
fn closing_an_idle_writer_keeps_what_is_pending() {
    let folder = tempfile::tempdir().unwrap();
    let target = target();
    let collection = Collection::open(target.collection.clone(), folder.path()).unwrap();
    let mut operations = Vec::new();
    crate::index::tantivy::append(&collection, &target, put(&target, "a", "1", document("one", "")), &mut operations)
        .unwrap();
    collection.apply(&target.connection, operations).unwrap();
    collection.close_if_idle(std::time::Duration::from_secs(60)).unwrap();
    assert_eq!(collection.searcher().num_docs(), 0);
    collection.close_if_idle(std::time::Duration::ZERO).unwrap();
    assert_eq!(collection.searcher().num_docs(), 1);
    // The lock of the folder is free again, so the writer is closed.
    let second = Collection::open(target.collection, folder.path()).unwrap();
    assert_eq!(second.clear(None).unwrap(), 1);
}

#[tokio::test]
async fn changes_that_go_down_with_a_writer_are_told_to_who_made_them() {
    let folder = tempfile::tempdir().unwrap();
    let target = target();
    let index = open(&folder);
    index.apply(&target, vec![put(&target, "a", "1", document("one", ""))]).await.unwrap();
    std::fs::rename(folder.path().join("index").join("col_1"), folder.path().join("elsewhere")).unwrap();
    assert!(index.commit(&target.collection).await.is_err());
    // Another connection's commit must not make the loss look like success.
    let refused = index.commit(&target.collection).await.unwrap_err();
    assert!(format!("{refused:?}").contains("must start over"), "{refused:?}");
    index.manifest(&target, "a").await.unwrap();
    index.commit(&target.collection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_apply_and_commit_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(&folder);
    let mut tasks = tokio::task::JoinSet::new();
    for connection in 0..6 {
        let index = index.clone();
        tasks.spawn(async move {
            let target = target_in(&format!("col_{}", connection % 2), &format!("sc_{connection}"));
            for batch in 0..5 {
                let changes = (0..20).map(|number| put(&target, "a", &format!("{batch} {number}"), document("t", "b")));
                apply_and_commit(&index, &target, changes.collect()).await;
            }
            assert_eq!(index.manifest(&target, "a").await.unwrap().len(), 100);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    for collection in ["col_0", "col_1"] {
        assert_eq!(index.count(&collection.parse().unwrap(), None).await.unwrap(), 300);
    }
}
