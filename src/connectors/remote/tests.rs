//! A store of a test's own: trees, failures in the middle, and what is made of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt;

use super::*;
use crate::connectors::ObjectPage;
use crate::connectors::documents::choice::Choice;
use crate::connectors::reading::{Message, Output, ReadRequest};
use crate::record::RawRecord;

/// How a listing fails.
type Failing = fn() -> ListError;

/// Files by path; each folder is listed in pages of two.
#[derive(Default)]
struct Tree {
    files: BTreeMap<&'static str, &'static str>,
    is_deep: bool,
    /// Folders, and how often their listing fails before it does not.
    failing: Mutex<HashMap<&'static str, (u32, Failing)>>,
    /// How often opening fails.
    opening: AtomicU32,
    opened: AtomicU32,
}

impl Tree {
    fn of(paths: &[&'static str]) -> Self {
        Self { files: paths.iter().map(|path| (*path, "content")).collect(), ..Self::default() }
    }

    fn failing(self, folder: &'static str, times: u32, error: fn() -> ListError) -> Self {
        self.failing.lock().unwrap().insert(folder, (times, error));
        self
    }

    fn stamp(content: &str) -> Stamp {
        Stamp { size: content.len() as u64, modified_at: None, version: "1".to_owned() }
    }

    fn entries(&self, folder: &str, depth: Depth) -> Vec<Entry> {
        let mut entries = Vec::new();
        let inside = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        for (path, content) in &self.files {
            let Some(name) = path.strip_prefix(&inside) else { continue };
            let entry = match name.split_once('/') {
                Some((below, _)) if depth == Depth::Folder => Entry::Folder(format!("{inside}{below}")),
                _ => Entry::File((*path).to_owned(), Self::stamp(content)),
            };
            if entries.last() != Some(&entry) {
                entries.push(entry);
            }
        }
        entries
    }
}

#[async_trait]
impl Store for Tree {
    fn lists_below(&self) -> bool {
        self.is_deep
    }

    async fn list(&self, folder: &str, depth: Depth, page: Option<&str>) -> Result<Page, ListError> {
        if let Some((left, error)) = self.failing.lock().unwrap().get_mut(folder)
            && *left > 0
        {
            *left -= 1;
            return Err(error());
        }
        let begin: usize = page.map_or(0, |page| page.parse().unwrap());
        let entries = self.entries(folder, depth);
        let next = (begin + 2 < entries.len()).then(|| (begin + 2).to_string());
        Ok(Page { entries: entries.into_iter().skip(begin).take(2).collect(), next })
    }

    async fn open(&self, path: &str, _stamp: &Stamp, _most: u64) -> Result<Opened, LoadError> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        if self.opening.load(Ordering::SeqCst) > 0 {
            self.opening.fetch_sub(1, Ordering::SeqCst);
            return Err(away().into());
        }
        let content = self.files.get(path).copied().ok_or_else(web::gone)?;
        let chunks = content.as_bytes().chunks(3).map(|chunk| Ok(Bytes::copy_from_slice(chunk)));
        Ok(Opened { content: futures::stream::iter(chunks.collect::<Vec<_>>()).boxed(), is_as_listed: true })
    }
}

fn away() -> ConnectorError {
    ConnectorError::Unreachable { code: "unreachable", cause: None }
}

/// What a pass said: keys by object, and how each object ended.
#[derive(Debug, Default, PartialEq)]
struct Said {
    objects: Vec<String>,
    keys: BTreeMap<String, Vec<String>>,
    ends: BTreeMap<String, String>,
    waits: usize,
}

async fn pass(tree: Tree, choice: &Choice, request: ReadRequest) -> (Said, Result<(), ConnectorError>) {
    let (output, mut messages) = Output::channel(4);
    let collect = async {
        let mut said = Said::default();
        while let Some(message) = messages.recv().await {
            match message {
                Message::Objects(scopes) => {
                    said.objects = scopes.iter().map(|scope| scope.object.to_string()).collect()
                }
                Message::Started(scope) => drop(said.keys.entry(scope.object.to_string()).or_default()),
                Message::Batch(batch) => {
                    let keys = batch.records.into_iter().map(|record| record.source_key);
                    said.keys.get_mut(&*batch.object).unwrap().extend(keys);
                }
                Message::Complete { object, counted, .. } => {
                    said.ends.insert(object.to_string(), format!("{}", counted.unwrap()));
                }
                Message::Failed { object, code, .. } => drop(said.ends.insert(object.to_string(), code.to_owned())),
                Message::Waiting { .. } => said.waits += 1,
                _ => panic!("nothing else is said"),
            }
        }
        said
    };
    let reading = read(Arc::new(tree), choice, request, output);
    let (said, outcome) = tokio::join!(collect, reading);
    (said, outcome)
}

const PATHS: [&str; 9] =
    ["1.txt", "2.txt", "3.txt", ".hidden", "a/4.txt", "a/b/5.txt", "a/b/c/6.txt", "a/.git/7.txt", "z/8.txt"];

#[tokio::test]
async fn a_tree_is_read_whole_folder_by_folder_and_at_once() {
    for is_deep in [false, true] {
        let tree = Tree { is_deep, ..Tree::of(&PATHS) };
        let (said, outcome) = pass(tree, &Choice::default(), ReadRequest::default()).await;
        outcome.unwrap();
        assert_eq!(said.objects, [".", "a", "z"]);
        assert_eq!(said.keys["."], ["1.txt", "2.txt", "3.txt"]);
        let mut keys = said.keys["a"].clone();
        keys.sort();
        assert_eq!(keys, ["a/4.txt", "a/b/5.txt", "a/b/c/6.txt"]);
        let ends: Vec<_> = said.ends.values().map(String::as_str).collect();
        assert_eq!(ends, ["3", "3", "1"]);
    }
}

#[tokio::test]
async fn what_was_finished_or_is_not_chosen_is_not_read_and_a_sample_proves_nothing() {
    let choice = Choice { include: vec!["a/**".to_owned()], ..Choice::default() };
    let (said, outcome) = pass(Tree::of(&PATHS), &choice, ReadRequest::default()).await;
    outcome.unwrap();
    assert_eq!((said.objects.as_slice(), said.ends["a"].as_str()), (["a".to_owned()].as_slice(), "3"));

    let request = ReadRequest { finished: vec!["a".to_owned()], sample: Some(1), ..ReadRequest::default() };
    let (said, outcome) = pass(Tree::of(&PATHS), &Choice::default(), request).await;
    outcome.unwrap();
    assert_eq!(said.objects, [".", "a", "z"]);
    let read: Vec<_> = said.keys.iter().map(|(object, keys)| (object.as_str(), keys.len())).collect();
    assert_eq!((read, said.ends.len()), (vec![(".", 1), ("z", 1)], 0));
}

#[tokio::test]
async fn a_folder_that_cannot_be_listed_proves_nothing_of_its_object() {
    for (folder, error, end) in [
        ("a/b", (|| ListError::Forbidden) as fn() -> ListError, "unreadable"),
        ("a/b", || ListError::NotFound, "unreadable"),
        ("a", || ListError::Forbidden, "permission_missing"),
        ("a", || ListError::NotFound, "unreadable"),
        ("a/b", || ListError::Contradiction, "unreadable"),
        ("a/b", || ListError::TooMany, "too_large"),
    ] {
        let tree = Tree::of(&PATHS).failing(folder, 9, error);
        let (said, outcome) = pass(tree, &Choice::default(), ReadRequest::default()).await;
        outcome.unwrap();
        assert_eq!((said.ends["a"].as_str(), said.ends["z"].as_str()), (end, "1"), "{folder}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_for_a_moment_is_asked_again_and_else_ends_the_pass() {
    let away = || ListError::Source(away());
    let (said, outcome) =
        pass(Tree::of(&PATHS).failing("a/b", 2, away), &Choice::default(), ReadRequest::default()).await;
    outcome.unwrap();
    assert_eq!((said.ends["a"].as_str(), said.waits), ("3", 0));
    let (said, outcome) =
        pass(Tree::of(&PATHS).failing("a/b", 9, away), &Choice::default(), ReadRequest::default()).await;
    assert!(matches!(outcome, Err(ConnectorError::Unreachable { .. })) && !said.ends.contains_key("a"), "{said:?}");
    let (said, outcome) = pass(Tree::of(&PATHS).failing("", 9, away), &Choice::default(), ReadRequest::default()).await;
    assert!(outcome.is_err() && said.objects.is_empty(), "{said:?}");

    let busy = || ListError::Source(ConnectorError::Throttled { retry_after: Duration::from_millis(10) });
    let (said, outcome) =
        pass(Tree::of(&PATHS).failing("a", 1, busy), &Choice::default(), ReadRequest::default()).await;
    outcome.unwrap();
    assert_eq!((said.ends["a"].as_str(), said.waits), ("3", 1));
    let very = || ListError::Source(ConnectorError::Throttled { retry_after: Duration::from_secs(2_000) });
    let (_, outcome) = pass(Tree::of(&PATHS).failing("a", 1, very), &Choice::default(), ReadRequest::default()).await;
    assert!(matches!(outcome, Err(ConnectorError::Throttled { .. })));
}

#[tokio::test]
async fn pages_of_a_level_are_the_level() {
    let tree = Tree::of(&["a-b/1", "a/2", "a", "b", "c/d/e", ".f"]);
    let level = |after: Option<String>, limit| {
        let tree = &tree;
        async move {
            let page = ObjectPage { after: after.as_deref(), limit };
            discover(tree, &Choice::default(), None, page).await.unwrap()
        }
    };
    let whole = level(None, 100).await;
    let shown: Vec<_> = whole.iter().map(|object| (object.path.as_str(), object.has_children)).collect();
    assert_eq!(shown, [("a", true), ("a-b", true), ("b", false), ("c", true)]);
    let (mut paged, mut after) = (Vec::new(), None);
    while let [object] = &level(after.take(), 1).await[..] {
        after = Some(object.path.clone());
        paged.push(object.clone());
    }
    assert_eq!(paged, whole);
}

fn record(path: &str, stamp: &Stamp) -> RawRecord {
    RawRecord { source_key: path.to_owned(), fingerprint: stamp.fingerprint(), payload: stamp.sealed(0).into() }
}

#[tokio::test]
async fn content_is_what_was_listed_or_the_record_fails() {
    let tree = Tree::of(&["a.txt"]);
    let choice = Choice { max_file_size: Some(10), ..Choice::default() };
    let stamp = Tree::stamp("content");
    let listed = record("a.txt", &stamp);
    assert_eq!(content_size(&choice, &listed), Some(7));
    let loaded = load(&tree, &choice, listed).await.unwrap();
    assert_eq!(Stamp::unsealed(&loaded.payload), Some((stamp.clone(), Bytes::from_static(b"content"))));

    for (size, code) in [(6, "changed"), (8, "changed")] {
        let Err(LoadError::Record(error)) =
            load(&tree, &choice, record("a.txt", &Stamp { size, ..stamp.clone() })).await
        else {
            panic!("{size} is not the size");
        };
        assert_eq!(error.code, code);
    }
    let gone = load(&tree, &choice, record("b.txt", &stamp)).await;
    assert!(matches!(gone, Err(LoadError::Record(error)) if error.code == "gone"));
    for size in [0, 11] {
        assert_eq!(content_size(&choice, &record("a.txt", &Stamp { size, ..stamp.clone() })), None);
    }

    tree.opening.store(2, Ordering::SeqCst);
    load(&tree, &choice, record("a.txt", &stamp)).await.unwrap();
    tree.opening.store(9, Ordering::SeqCst);
    let before = tree.opened.load(Ordering::SeqCst);
    let ended = load(&tree, &choice, record("a.txt", &stamp)).await;
    assert!(matches!(ended, Err(LoadError::Source(ConnectorError::Unreachable { .. }))));
    assert_eq!(tree.opened.load(Ordering::SeqCst) - before, 3);
}
