//! Trees made by hand, good ones and others.

use proptest::prelude::*;

use super::*;
use crate::connectors::git::pack::tests::{object_id, packed};
use crate::tests::{fuzz, tampered};

fn entry(mode: &str, name: &[u8], id: ObjectId) -> Vec<u8> {
    [mode.as_bytes(), b" ", name, b"\0", id.as_slice()].concat()
}

fn file(name: &[u8]) -> Vec<u8> {
    entry("100644", name, ObjectId::Sha1([7; 20]))
}

fn walked(trees: &[Vec<u8>], root: usize) -> Result<Vec<Entry>, TreeError> {
    let pack = packed(&trees.iter().map(|tree| (Kind::Tree, tree.as_slice())).collect::<Vec<_>>());
    let mut walk = Walk::of(&pack, &object_id(Kind::Tree, &trees[root]), |folder| folder != "left-out")?;
    let mut entries = Vec::new();
    while let Some(entry) = walk.next()? {
        entries.push(entry);
    }
    Ok(entries)
}

#[test]
fn a_tree_is_walked_in_git_order_and_only_where_it_is_wanted() {
    let inner = [file(b"b.md"), entry("120000", b"link", ObjectId::Sha1([7; 20]))].concat();
    let id = object_id(Kind::Tree, &inner);
    let root = [
        file(b"a"),
        file(b"docs.md"),
        entry("40000", b"docs", id),
        entry("40000", b"left-out", id),
        entry("160000", b"module", ObjectId::Sha1([9; 20])),
        entry("100755", b"run", ObjectId::Sha1([7; 20])),
    ]
    .concat();
    let entries = walked(&[inner, root], 1).unwrap();
    let found: Vec<_> = entries.iter().map(|entry| (entry.path.as_str(), entry.kind)).collect();
    use EntryKind::{File, Link, Submodule};
    let wanted = [
        ("a", File),
        ("docs.md", File),
        ("docs/b.md", File),
        ("docs/link", Link),
        ("module", Submodule),
        ("run", File),
    ];
    assert_eq!(found, wanted);
    assert!(entries.iter().all(|entry| entry.problem.is_none()));
}

#[test]
fn names_that_no_file_may_have_cost_themselves() {
    let inner = file(b"x");
    let id = object_id(Kind::Tree, &inner);
    let names: [&[u8]; 8] = [b"..", b".", b".GIT", b"", b"a\nb", b"a/b", b"b\xff", b"good"];
    let root: Vec<u8> = names.iter().flat_map(|name| entry("40000", name, id)).collect();
    let entries = walked(&[inner, root], 1).unwrap();
    let problems: Vec<_> = entries.iter().map(|entry| entry.problem.map(|(code, _)| code)).collect();
    let refused = Some("name_refused");
    assert_eq!(problems, [refused, refused, refused, refused, refused, refused, Some("name_not_text"), None]);
    assert_eq!((entries[6].path.as_str(), entries[7].path.as_str()), ("b\\xff", "good/x"));
}

#[test]
fn the_same_name_twice_and_damaged_trees_are_refused() {
    let twice = [file(b"a"), file(b"a")].concat();
    let unordered = [file(b"b"), file(b"a")].concat();
    let short = file(b"a")[..20].to_vec();
    let odd = entry("777777", b"a", ObjectId::Sha1([7; 20]));
    let absent = entry("40000", b"a", ObjectId::Sha1([7; 20]));
    for (what, tree) in [("twice", twice), ("unordered", unordered), ("short", short), ("odd", odd), ("absent", absent)]
    {
        assert!(matches!(walked(&[tree], 0), Err(TreeError::Damaged)), "{what}");
    }
}

#[test]
fn trees_that_unfold_without_end_are_refused() {
    // Each holds the one before ten times: a thousand million files in ten trees.
    let mut trees = vec![(0..10).flat_map(|number| file(format!("{number}").as_bytes())).collect::<Vec<u8>>()];
    for _ in 0..9 {
        let id = object_id(Kind::Tree, trees.last().unwrap());
        trees.push((0..10).flat_map(|number| entry("40000", format!("{number}").as_bytes(), id)).collect());
    }
    assert!(matches!(walked(&trees, 9), Err(TreeError::TooLarge)));
    let mut deep = vec![file(b"a")];
    for _ in 0..100 {
        deep.push(entry("40000", b"a", object_id(Kind::Tree, deep.last().unwrap())));
    }
    assert!(matches!(walked(&deep, 100), Err(TreeError::TooLarge)));
}

#[test]
fn a_level_is_listed_in_pages_by_path() {
    let inner = file(b"b.md");
    let id = object_id(Kind::Tree, &inner);
    let root = [file(b"docs.md"), entry("40000", b"docs", id), file(b"z")].concat();
    let pack = packed(&[(Kind::Tree, &inner), (Kind::Tree, &root)]);
    let tree = object_id(Kind::Tree, &root);
    let paths = |after, limit| {
        let entries = list(&pack, &tree, "", after, limit).unwrap();
        entries.into_iter().map(|entry| entry.path).collect::<Vec<_>>()
    };
    assert_eq!(paths(None, 10), ["docs", "docs.md", "z"]);
    assert_eq!(paths(Some("docs"), 1), ["docs.md"]);
    assert_eq!(folder(&pack, &tree, "docs").unwrap(), Some(id));
    assert_eq!(folder(&pack, &tree, "").unwrap(), Some(tree));
    assert_eq!(folder(&pack, &tree, "z").unwrap(), None);
}

#[test]
fn no_tree_makes_it_panic() {
    let known = vec![[file(b"a"), entry("40000", b"b", ObjectId::Sha1([1; 20])), file(b"c")].concat()];
    fuzz("git trees", tampered(known), |tree| {
        let length = tree.len();
        if let Ok(entries) = walked(&[tree], 0) {
            prop_assert!(entries.len() <= length / 20);
        }
        Ok(())
    });
}
