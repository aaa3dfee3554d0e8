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
    let epoch = index.begin(&target).await.unwrap();
    index.apply(&target, epoch, vec![put(&target, "public.a", "new", document("new", "uncommitted"))]).await.unwrap();
    index.apply(&target, epoch, vec![delete(&target, "public.a", "0")]).await.unwrap();
    drop(index);

    let index = open(&folder);
    let manifest = index.manifest(&target, "public.a").await.unwrap();
    assert_eq!(manifest.len(), 50);
    for (number, document) in documents.iter().enumerate() {
        let found = manifest.get(key(&target, "public.a", &number.to_string()));
        assert_eq!(found, Some(fingerprint(document)));
    }
    assert!(titles(&index, &target.collection, &query("uncommitted")).await.is_empty());
}

#[tokio::test]
async fn a_damaged_index_is_set_aside_and_filled_anew() {
    let folder = tempfile::tempdir().unwrap();
    let target = target();
    let broken = folder.path().join("index").join("col_1");
    std::fs::create_dir_all(&broken).unwrap();
    std::fs::write(broken.join("meta.json"), "{").unwrap();
    let index = open(&folder);
    assert!(index.manifest(&target, "a").await.unwrap().is_empty());
    apply_and_commit(&index, &target, vec![put(&target, "a", "1", document("one", "word"))]).await;
    assert_eq!(titles(&index, &target.collection, &query("word")).await, ["one"]);
    let kept = std::fs::read_to_string(folder.path().join("index").join("col_1.unusable-1").join("meta.json"));
    assert_eq!(kept.unwrap(), "{");
}

#[tokio::test]
async fn only_what_was_to_go_and_is_not_known_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let target = target();
    let index = open(&folder);
    apply_and_commit(&index, &target, vec![put(&target, "a", "1", document("one", "word"))]).await;
    drop(index);
    let indexes = folder.path().join("index");
    std::fs::create_dir_all(indexes.join("col_gone")).unwrap();
    std::fs::create_dir_all(indexes.join("col_unknown")).unwrap();
    std::fs::create_dir_all(indexes.join("col_gone.unusable-1")).unwrap();
    let index = open(&folder);
    index.condemn(&"col_gone".parse().unwrap()).await.unwrap();
    index.condemn(&target.collection).await.unwrap();
    index.retain(&[target.collection.clone()].into()).await.unwrap();
    assert!(indexes.join("col_unknown").exists(), "the store may be the wrong one");
    let files = std::fs::read_dir(&indexes).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file());
    assert_eq!(files.count(), 0, "nothing is to go any more");
    assert!(!indexes.join("col_gone").exists() && indexes.join("col_gone.unusable-1").exists());
    assert_eq!(titles(&index, &target.collection, &query("word")).await, ["one"]);
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
    let epoch = collection.begin(&target.connection, None).unwrap();
    collection.apply(&target.connection, epoch, operations).unwrap();
    collection.tend(std::time::Duration::from_secs(60)).unwrap();
    assert_eq!(collection.searcher().num_docs(), 0);
    collection.tend(std::time::Duration::ZERO).unwrap();
    assert_eq!(collection.searcher().num_docs(), 1);
    // The lock of the folder is free again, so the writer is closed.
    let second = Collection::open(target.collection, folder.path()).unwrap();
    assert_eq!(second.clear(None).unwrap(), 1);
}

#[test]
fn segments_are_merged_after_the_index_is_filled() {
    let folder = tempfile::tempdir().unwrap();
    let target = target();
    let collection = Collection::open(target.collection.clone(), folder.path()).unwrap();
    let epoch = collection.begin(&target.connection, None).unwrap();
    for number in 0..20 {
        let mut operations = Vec::new();
        let change = put(&target, "a", &number.to_string(), document("one", ""));
        crate::index::tantivy::append(&collection, &target, change, &mut operations).unwrap();
        collection.apply(&target.connection, epoch, operations).unwrap();
        collection.commit().unwrap();
    }
    assert_eq!(collection.searcher().segment_readers().len(), 20);
    let started = std::time::Instant::now();
    // Searchers let go of what was merged, without another commit.
    while collection.searcher().segment_readers().len() > 1 {
        assert!(started.elapsed() < std::time::Duration::from_secs(30), "nothing is merged, or nobody sees it");
        collection.tend(std::time::Duration::from_secs(60)).unwrap();
    }
    assert_eq!(collection.searcher().num_docs(), 20);
}

#[tokio::test]
async fn changes_that_go_down_with_a_writer_are_told_to_who_made_them() {
    let folder = tempfile::tempdir().unwrap();
    let target = target();
    let index = open(&folder);
    apply(&index, &target, vec![put(&target, "a", "1", document("one", ""))]).await;
    std::fs::rename(folder.path().join("index").join("col_1"), folder.path().join("elsewhere")).unwrap();
    assert!(index.commit(&target.collection).await.is_err());
    // Another connection's commit must not make the loss look like success.
    let refused = index.commit(&target.collection).await.unwrap_err();
    assert!(format!("{refused:?}").contains("must start over"), "{refused:?}");
    index.begin(&target).await.unwrap();
    index.commit(&target.collection).await.unwrap();
}

#[tokio::test]
async fn who_was_superseded_cannot_write_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let target = target();
    let index = open(&folder);
    let change = |key: &str| vec![put(&target, "a", key, document(key, "word"))];
    let first = index.begin(&target).await.unwrap();
    index.apply(&target, first, change("one")).await.unwrap();
    let second = index.begin(&target).await.unwrap();
    // What the first applied is known to the second, committed or not.
    assert_eq!(index.manifest(&target, "a").await.unwrap().len(), 1);
    let refused = index.apply(&target, first, change("two")).await.unwrap_err();
    assert!(matches!(refused, IndexError::Superseded), "{refused:?}");
    index.apply(&target, second, change("three")).await.unwrap();
    assert_eq!(index.clear(&target.collection, &target.connection).await.unwrap(), 2);
    let refused = index.apply(&target, second, change("four")).await.unwrap_err();
    assert!(matches!(refused, IndexError::Superseded), "{refused:?}");
    assert_eq!(index.count(&target.collection, None).await.unwrap(), 0);
}

#[tokio::test]
async fn a_digest_is_that_of_the_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let target = target();
    let index = open(&folder);
    let changes = (0..30).map(|number| Change::Insert(entry(&target, "a", &number.to_string(), document("t", "b"))));
    apply_and_commit(&index, &target, changes.collect()).await;
    apply_and_commit(&index, &target, vec![delete(&target, "a", "7"), put(&target, "a", "9", document("u", ""))]).await;
    let digest = index.digest(&target, "a").await.unwrap();
    assert_eq!(digest, index.manifest(&target, "a").await.unwrap().digest());
    assert_eq!((digest.records, index.digest(&target, "b").await.unwrap().records), (29, 0));
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
