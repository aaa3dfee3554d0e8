//! What any index must do. Each part has a collection of its own.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

/// All of it.
pub(crate) async fn run(index: &dyn Index) {
    a_collection_without_documents_is_empty(index).await;
    applying_twice_changes_nothing(index).await;
    an_upsert_replaces_all_chunks(index).await;
    the_last_change_of_a_key_wins(index).await;
    text_comes_back_exactly(index).await;
    objects_and_counts_are_of_records(index).await;
    fingerprints_are_those_that_were_committed(index).await;
    lists_page_completely(index).await;
    clearing_leaves_the_others(index).await;
    words_phrases_and_exclusions(index).await;
    a_record_is_found_once_by_its_best_chunk(index).await;
    results_page_and_scores_have_a_floor(index).await;
    odd_texts_are_never_an_error(index).await;
    filters_go_by_every_field(index).await;
    filters_agree_with_those_in_memory(index).await;
}

async fn a_collection_without_documents_is_empty(index: &dyn Index) {
    let target = target_in("col_none", "sc_1");
    assert!(index.manifest(&target, "a").await.unwrap().is_empty());
    assert!(index.objects(&target).await.unwrap().is_empty());
    assert_eq!(index.count(&target.collection, None).await.unwrap(), 0);
    assert!(index.list(&target.collection, &everything()).await.unwrap().is_empty());
    assert_eq!(index.get(&target.collection, &id(&target, "a", "1")).await.unwrap(), None);
    assert_eq!(index.clear(&target.collection, &target.connection).await.unwrap(), 0);
    assert_eq!(index.clear_collection(&target.collection).await.unwrap(), 0);
    index.commit(&target.collection).await.unwrap();
    index.drop_collection(&target.collection).await.unwrap();
    assert!(titles(index, &target.collection, &query("word")).await.is_empty());
}

async fn applying_twice_changes_nothing(index: &dyn Index) {
    let target = target_in("col_twice", "sc_1");
    let changes: Vec<Change> =
        (0..20).map(|number| put(&target, "a", &number.to_string(), document("title", "word"))).collect();
    apply(index, &target, changes.clone()).await;
    assert_eq!(index.count(&target.collection, None).await.unwrap(), 0);
    apply_and_commit(index, &target, changes.clone()).await;
    let once = index.list(&target.collection, &everything()).await.unwrap();
    apply_and_commit(index, &target, changes).await;
    assert_eq!(index.list(&target.collection, &everything()).await.unwrap(), once);
    assert_eq!(index.count(&target.collection, None).await.unwrap(), 20);
    assert_eq!(search(index, &target.collection, &query("word")).await.hits.len(), 20);
}

async fn an_upsert_replaces_all_chunks(index: &dyn Index) {
    let target = target_in("col_replace", "sc_1");
    let long = "old words here. ".repeat(1000);
    apply_and_commit(index, &target, vec![put(&target, "a", "1", document("long", &long))]).await;
    assert_eq!(search(index, &target.collection, &query("old")).await.hits.len(), 1);
    apply_and_commit(index, &target, vec![put(&target, "a", "1", document("short", "new"))]).await;
    assert!(search(index, &target.collection, &query("old")).await.hits.is_empty());
    let item = index.get(&target.collection, &id(&target, "a", "1")).await.unwrap().unwrap();
    assert_eq!((item.title.as_str(), item.content.as_str()), ("short", "new"));
    apply_and_commit(index, &target, vec![delete(&target, "a", "1"), delete(&target, "a", "never there")]).await;
    assert_eq!(index.get(&target.collection, &id(&target, "a", "1")).await.unwrap(), None);
}

async fn the_last_change_of_a_key_wins(index: &dyn Index) {
    let target = target_in("col_order", "sc_1");
    let changes = vec![
        put(&target, "a", "1", document("first", "")),
        put(&target, "a", "1", document("second", "")),
        put(&target, "a", "2", document("gone", "")),
        delete(&target, "a", "2"),
        delete(&target, "a", "3"),
        put(&target, "a", "3", document("back", "")),
    ];
    apply_and_commit(index, &target, changes).await;
    let items = index.list(&target.collection, &everything()).await.unwrap();
    let titles: BTreeSet<&str> = items.iter().map(|item| item.title.as_str()).collect();
    assert_eq!((items.len(), titles), (2, BTreeSet::from(["second", "back"])));
    let manifest = index.manifest(&target, "a").await.unwrap();
    assert_eq!(manifest.get(key(&target, "a", "1")), Some(fingerprint(&document("second", ""))));
}

async fn text_comes_back_exactly(index: &dyn Index) {
    let target = target_in("col_exact", "sc_1");
    let body = "Ça va? Größe zählt 😀 東京タワー。\r\n\r\n  \t".repeat(700);
    let metadata = json!({"big": "9007199254740993", "n": 9_007_199_254_740_993_i64, "f": 0.1, "deep": {"b": [1, null, "x"]}, "a": null});
    let whole = Document {
        url: Some("https://example.org/ü".to_owned()),
        created_at: Some(-1),
        updated_at: Some(1_700_000_000_123_456),
        ..with_metadata(document("Ünïcode \"title\"", &body), metadata)
    };
    apply_and_commit(index, &target, vec![put(&target, "ob ject", "[\"k\",1]", whole.clone())]).await;
    let item = index.get(&target.collection, &id(&target, "ob ject", "[\"k\",1]")).await.unwrap().unwrap();
    let listed = index.list(&target.collection, &everything()).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&item));
    assert_eq!(item.id, id(&target, "ob ject", "[\"k\",1]"));
    assert_eq!((item.connection, item.source), (target.connection, "postgres".to_owned()));
    assert_eq!((item.object.as_str(), item.source_key.as_str(), item.kind.as_str()), ("ob ject", "[\"k\",1]", "row"));
    assert_eq!((item.title, item.url, item.metadata), (whole.title, whole.url, whole.metadata));
    assert_eq!((item.created_at, item.updated_at), (whole.created_at, whole.updated_at));
    assert!(item.content == body, "the joined text differs");
}

async fn objects_and_counts_are_of_records(index: &dyn Index) {
    let (one, two) = (target_in("col_counts", "sc_1"), target_in("col_counts", "sc_12"));
    let long = "many words ".repeat(1000);
    let changes = vec![
        put(&one, "a", "1", document("", &long)),
        put(&one, "a", "2", document("", "")),
        put(&one, "b", "1", document("", &long)),
    ];
    apply_and_commit(index, &one, changes).await;
    apply_and_commit(index, &two, vec![put(&two, "c", "1", document("", ""))]).await;
    apply_and_commit(index, &one, vec![delete(&one, "a", "2")]).await;
    assert_eq!(index.objects(&one).await.unwrap(), [("a".to_owned(), 1), ("b".to_owned(), 1)]);
    assert_eq!(index.objects(&two).await.unwrap(), [("c".to_owned(), 1)]);
    assert_eq!(index.count(&one.collection, None).await.unwrap(), 3);
    assert_eq!(index.count(&one.collection, Some(&one.connection)).await.unwrap(), 2);
    assert_eq!(index.manifest(&one, "a").await.unwrap().len(), 1);
}

async fn fingerprints_are_those_that_were_committed(index: &dyn Index) {
    let target = target_in("col_fingerprints", "sc_1");
    let of = |names: &[&str]| names.iter().map(|name| key(&target, "a", name)).collect::<Vec<_>>();
    let none = index.fingerprints(&target, of(&["1", "2"])).await.unwrap();
    assert_eq!(none, [None, None]);
    let (first, long) = (document("first", ""), document("long", &"many words here. ".repeat(1_000)));
    let changes = vec![put(&target, "a", "1", first.clone()), put(&target, "a", "2", long.clone())];
    apply_and_commit(index, &target, changes).await;
    // In another segment, and one of them gone from the first.
    let other = document("other", "");
    apply_and_commit(index, &target, vec![put(&target, "a", "1", other.clone()), put(&target, "b", "1", first)]).await;
    apply(index, &target, vec![delete(&target, "a", "2")]).await;
    let found = index.fingerprints(&target, of(&["3", "2", "1", "2"])).await.unwrap();
    let (long, other) = (Some(fingerprint(&long)), Some(fingerprint(&other)));
    assert_eq!(found, [None, long, other, long]);
    index.commit(&target.collection).await.unwrap();
    assert_eq!(index.fingerprints(&target, of(&["2", "1"])).await.unwrap(), [None, other]);
}

async fn lists_page_completely(index: &dyn Index) {
    let (one, two) = (target_in("col_list", "sc_1"), target_in("col_list", "sc_2"));
    for (part, target) in [&one, &two, &one].into_iter().enumerate() {
        let changes = (0..40).map(|number| {
            let kind = if number % 2 == 0 { "row" } else { "file" };
            let body = "text ".repeat(number * 30);
            put(target, "a", &format!("{part} {number}"), Document { kind: kind.to_owned(), ..document("", &body) })
        });
        apply_and_commit(index, target, changes.collect()).await;
    }
    apply_and_commit(index, &one, vec![delete(&one, "a", "0 7")]).await;
    for (connection, kind, expected) in [
        (None, None, 119),
        (Some(&one.connection), None, 79),
        (Some(&two.connection), Some("file"), 20),
        (None, Some("row"), 60),
        (None, Some("other"), 0),
    ] {
        let mut listing =
            Listing { connection: connection.cloned(), kind: kind.map(str::to_owned), after: None, limit: 7 };
        let mut ids = Vec::new();
        loop {
            let page = index.list(&one.collection, &listing).await.unwrap();
            assert!(page.len() <= 7);
            let Some(last) = page.last() else { break };
            listing.after = Some(last.id.clone());
            ids.extend(page.into_iter().map(|item| item.id));
        }
        assert_eq!(ids.len(), expected, "{connection:?} {kind:?}");
        assert!(ids.is_sorted_by(|left, right| left < right));
    }
    let odd = Listing { after: Some("itm_x".to_owned()), ..everything() };
    assert!(matches!(index.list(&one.collection, &odd).await, Err(crate::index::IndexError::PageToken)));
}

async fn clearing_leaves_the_others(index: &dyn Index) {
    let (one, two) = (target_in("col_clear", "sc_1"), target_in("col_clear", "sc_2"));
    let changes = (0..5).map(|number| put(&one, "a", &number.to_string(), document("one", "word")));
    apply_and_commit(index, &one, changes.collect()).await;
    apply_and_commit(index, &two, vec![put(&two, "a", "1", document("two", "word"))]).await;
    apply(index, &one, vec![put(&one, "a", "pending", document("one", "word"))]).await;
    assert_eq!(index.clear(&one.collection, &one.connection).await.unwrap(), 6);
    assert_eq!(titles(index, &one.collection, &query("word")).await, ["two"]);
    assert_eq!(index.clear(&one.collection, &one.connection).await.unwrap(), 0);
    assert_eq!(index.clear_collection(&one.collection).await.unwrap(), 1);
    assert_eq!(index.count(&one.collection, None).await.unwrap(), 0);
    apply_and_commit(index, &one, vec![put(&one, "a", "1", document("again", "word"))]).await;
    assert_eq!(titles(index, &one.collection, &query("word")).await, ["again"]);
}

async fn words_phrases_and_exclusions(index: &dyn Index) {
    let target = target_in("col_words", "sc_1");
    let late = format!("{} the zebra sleeps", "filler words here. ".repeat(300));
    let documents = [
        ("fox", "The quick brown fox jumps over the lazy dogs"),
        ("wolf", "A brown quick wolf; crème brûlée for e-mail@example.org"),
        ("tokyo", "東京タワーは高い"),
        ("kyoto", "京都と東の国"),
        ("late", &late),
    ];
    let changes = documents.iter().map(|(title, body)| put(&target, "a", title, document(title, body)));
    apply_and_commit(index, &target, changes.collect()).await;
    let cases: &[(&str, &[&str])] = &[
        ("fox", &["fox"]),
        ("FOX", &["fox"]),
        ("brown", &["fox", "wolf"]),
        ("dog jumping", &["fox"]),
        ("fox wolf", &["fox", "wolf"]),
        ("\"quick brown\"", &["fox"]),
        ("\"brown quick\"", &["wolf"]),
        ("\"quick fox\"", &[]),
        ("brown -wolf", &["fox"]),
        ("brown -\"quick brown\"", &["wolf"]),
        ("creme brulee", &["wolf"]),
        ("e-mail", &["wolf"]),
        ("mail-e", &["wolf"]),
        ("東京", &["kyoto", "tokyo"]),
        ("\"東京\"", &["tokyo"]),
        ("qui*", &["fox", "wolf"]),
        ("qui", &[]),
        ("filler", &["late"]),
        // The excluded word is in another chunk than the wanted one.
        ("filler -zebra", &[]),
        ("-fox", &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(titles(index, &target.collection, &query(text)).await, *expected, "{text}");
    }
    let best = search(index, &target.collection, &query("quick lazy fox")).await;
    assert_eq!(best.hits[0].item.title, "fox");
}

async fn a_record_is_found_once_by_its_best_chunk(index: &dyn Index) {
    let target = target_in("col_once", "sc_1");
    let filler = "An apple a day. ".repeat(200);
    let body = format!("{filler}Here stands the needle in the hay. {filler}");
    let changes = vec![
        put(&target, "a", "1", document("Hay", &body)),
        put(&target, "a", "2", document("Pears", "no <b>apple</b> & nothing")),
    ];
    apply_and_commit(index, &target, changes).await;
    let found = search(index, &target.collection, &query("apple")).await;
    assert_eq!((found.hits.len(), found.more), (2, false));
    let found = search(index, &target.collection, &query("needles apple")).await;
    let hit = &found.hits[0];
    assert_eq!(hit.item.title, "Hay");
    assert!(hit.item.content.contains("needle") && hit.item.content.len() < body.len());
    let found = search(index, &target.collection, &query("needles")).await;
    let hit = &found.hits[0];
    assert!(hit.snippets.len() == 1 && hit.snippets[0].contains("needle"), "{:?}", hit.snippets);
    let plain = search(index, &target.collection, &query("nothing")).await;
    assert_eq!(plain.hits[0].snippets, ["no <b>apple</b> & nothing"]);
    let by_title = search(index, &target.collection, &query("pears")).await;
    assert_eq!(by_title.hits[0].snippets, ["Pears"]);
}

async fn results_page_and_scores_have_a_floor(index: &dyn Index) {
    let target = target_in("col_pages", "sc_1");
    let body = "word ".repeat(3000);
    let changes = (0..30).map(|number| {
        let title = if number == 0 { "word" } else { "other" };
        put(&target, "a", &number.to_string(), document(title, if number % 2 == 0 { &body } else { "word" }))
    });
    apply_and_commit(index, &target, changes.collect()).await;
    let mut seen = BTreeSet::new();
    for (offset, expected, more) in [(0, 12, true), (12, 12, true), (24, 6, false), (30, 0, false)] {
        let page = search(index, &target.collection, &Query { offset, limit: 12, ..query("word") }).await;
        assert_eq!((page.hits.len(), page.more), (expected, more), "{offset}");
        seen.extend(page.hits.into_iter().map(|hit| hit.item.id));
    }
    assert_eq!(seen.len(), 30);
    let exact = search(index, &target.collection, &Query { limit: 30, ..query("word") }).await;
    assert!(!exact.more);
    assert!(exact.hits.is_sorted_by(|left, right| left.score >= right.score));
    assert_eq!(exact.hits[0].item.title, "word");
    let floor = exact.hits[0].score;
    let best = search(index, &target.collection, &Query { min_score: Some(floor), ..query("word") }).await;
    assert_eq!((best.hits.len(), best.more), (1, false));
}

async fn odd_texts_are_never_an_error(index: &dyn Index) {
    let target = target_in("col_odd", "sc_1");
    apply_and_commit(index, &target, vec![put(&target, "a", "1", document("one", "word"))]).await;
    for text in
        ["", "???", "\"", "\"\"", "-", "--", "*", "(", "a:b:", "title:[a TO", "\\", "🙂", "'", "^2", "~", "\u{0}"]
    {
        assert!(search(index, &target.collection, &query(text)).await.hits.is_empty(), "{text:?}");
    }
    for text in ["word)", "(word", "+word", "word~", "\"word", "word AND", "wor*"] {
        assert_eq!(search(index, &target.collection, &query(text)).await.hits.len(), 1, "{text:?}");
    }
    assert!(search(index, &target.collection, &query(&"x".repeat(4096))).await.hits.is_empty());
    assert!(search(index, &target.collection, &query(&"x y\"-z\" ".repeat(500))).await.hits.is_empty());
}

async fn filters_go_by_every_field(index: &dyn Index) {
    let (one, two) = (target_in("col_fields", "sc_1"), target_in("col_fields", "sc_2"));
    let long = "word. ".repeat(1500);
    let first = Document {
        url: Some("https://example.org/1".to_owned()),
        created_at: Some(1_767_225_600_000_000),
        ..with_metadata(document("First Title", &long), json!({"amount": 5, "tags": ["x", "y"], "a b": {"c.d": true}}))
    };
    let second = Document { kind: "file".to_owned(), updated_at: Some(0), ..document("Second", "word") };
    apply_and_commit(index, &one, vec![put(&one, "public.a", "1", first)]).await;
    apply_and_commit(index, &two, vec![put(&two, "docs", "1", second)]).await;
    let (first, second) = (&["First Title"][..], &["Second"][..]);
    let cases: &[(&str, &[&str])] = &[
        ("", &["First Title", "Second"]),
        ("source_short_name = postgres", &["First Title", "Second"]),
        ("source_short_name != postgres", &[]),
        ("source_connection_id = sc_2", second),
        ("object = \"public.*\"", first),
        ("type = file", second),
        ("NOT type = file", first),
        ("title : title", first),
        ("title < Second", first),
        ("url : \"EXAMPLE.org\"", first),
        ("created_at >= 2026-01-01T00:00:00Z", first),
        ("created_at > 2026-01-01T00:00:00Z", &[]),
        ("created_at = 2026-01-01", first),
        ("updated_at <= 1970-01-01T00:00:00Z", second),
        ("metadata.amount > 4 metadata.amount < 6", first),
        ("metadata.tags = y AND type = row OR type = file", first),
        ("metadata.\"a b\".\"c.d\" = true", first),
        ("metadata.amount : * OR type = file", &["First Title", "Second"]),
        ("-metadata.amount : *", second),
    ];
    for (filter, expected) in cases {
        assert_eq!(titles(index, &one.collection, &filtered("word", filter)).await, *expected, "{filter}");
    }
    let last = search(index, &one.collection, &filtered("word", "metadata.amount = 5")).await;
    let unfiltered = search(index, &one.collection, &query("word")).await;
    let score = |hits: &Hits| hits.hits.iter().find(|hit| hit.item.title == "First Title").map(|hit| hit.score);
    assert_eq!(score(&last), score(&unfiltered), "a filter must not change scores");
    for filter in ["nope = 1", "metadata = 1", "created_at : 2026-01-01", "created_at > soon"] {
        let refused = index.search(&one.collection, &filtered("word", filter)).await;
        assert!(matches!(refused, Err(crate::index::IndexError::Query(_))), "{filter}");
    }
}

async fn filters_agree_with_those_in_memory(index: &dyn Index) {
    let values = crate::filter::tests::comparisons();
    // Each value three times: the second is judged by what the first taught, and the
    // third is in a chunk that has nothing of the record but its columns.
    let bodies = ["word".to_owned(), "word".to_owned(), format!("{}word", "filler. ".repeat(400))];
    type Metadata = fn(&Value) -> Value;
    let places: [(&str, &str, Metadata); 3] = [
        ("col_agreetop", "metadata.x", |value| json!({ "x": value })),
        ("col_agreebelow", "metadata.a.x", |value| json!({ "a": { "x": value } })),
        ("col_agreewithin", "metadata.a.x", |value| json!({ "a": [{ "x": value }, { "y": 1 }] })),
    ];
    for (collection, path, metadata) in places {
        let target = target_in(collection, "sc_1");
        let mut changes = Vec::new();
        for (number, (value, _, _)) in values.iter().enumerate() {
            for (copy, body) in bodies.iter().enumerate() {
                let title = format!("{number} {copy}");
                changes.push(put(&target, "a", &title, with_metadata(document(&title, body), metadata(value))));
            }
        }
        apply_and_commit(index, &target, changes).await;
        for (_, text, _) in &values {
            let filter = crate::filter::parse(text).unwrap();
            let matching = values
                .iter()
                .enumerate()
                .filter(|(_, (value, _, _))| filter.matches(&|_| Some(value.clone())).unwrap());
            let expected: BTreeSet<String> =
                matching.flat_map(|(number, _)| (0..3).map(move |copy| format!("{number} {copy}"))).collect();
            let query = Query { limit: 1000, ..filtered("word", &text.replace('x', path)) };
            let found = titles(index, &target.collection, &query).await;
            assert_eq!(BTreeSet::from_iter(found), expected, "{path}: {text}");
        }
    }
}
