//! The floors of ARCHITECTURE.md, and the words that the project may not say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Module to floor. `proto` is the generated API and its descriptors.
const FLOORS: &[(&str, u8)] = &[
    ("ids", 0),
    ("record", 0),
    ("report", 0),
    ("error", 0),
    ("failpoint", 0),
    ("filter", 0),
    ("config", 0),
    ("telemetry", 0),
    ("secrets", 1),
    ("connectors", 1),
    ("index", 1),
    ("egress", 1),
    ("access", 1),
    ("demo_data", 1),
    ("disk", 1),
    ("store", 2),
    ("audit", 3),
    ("backup", 3),
    ("catalog", 3),
    ("collections", 3),
    ("connections", 3),
    ("etag", 3),
    ("history", 3),
    ("keys", 3),
    ("oidc", 3),
    ("paging", 3),
    ("search", 3),
    ("syncs", 3),
    ("proto", 4),
    ("api", 4),
    ("auth", 4),
    ("gateway", 5),
    ("server", 6),
    ("cli", 7),
    ("main", 7),
];

/// Edges on one floor, as ARCHITECTURE.md draws them; each must be used.
const ON_ONE_FLOOR: &[(&str, &str)] = &[
    ("api", "auth"),
    ("api", "proto"),
    ("audit", "paging"),
    ("auth", "proto"),
    ("backup", "audit"),
    ("backup", "keys"),
    ("collections", "connections"),
    ("collections", "etag"),
    ("collections", "keys"),
    ("collections", "paging"),
    ("collections", "search"),
    ("collections", "syncs"),
    ("connections", "catalog"),
    ("connections", "etag"),
    ("connections", "paging"),
    ("connections", "syncs"),
    ("connectors", "egress"),
    ("error", "report"),
    ("index", "disk"),
    ("history", "paging"),
    ("keys", "audit"),
    ("keys", "paging"),
    ("record", "ids"),
    ("search", "paging"),
    ("secrets", "egress"),
    ("telemetry", "config"),
];

fn floor(module: &str) -> u8 {
    FLOORS.iter().find(|(name, _)| *name == module).unwrap_or_else(|| panic!("`{module}` has no floor in tidy.rs")).1
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Code without its tests: those may use anything.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let text = text.split("#[cfg(test)]\npub(super) mod tests {").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Top-level modules of ours that a text names: `crate::x`, `use crate::{x, y}`.
fn named(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for part in text.split("crate::").skip(1) {
        if let Some(group) = part.strip_prefix('{') {
            let group = group.split('}').next().unwrap_or_default();
            found.extend(group.split(',').map(first_word).filter(|word| !word.is_empty()));
        } else {
            found.insert(first_word(part));
        }
    }
    found
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|letter| letter.is_ascii_lowercase() || *letter == '_').collect()
}

/// Module -> modules that it uses.
fn edges() -> BTreeMap<String, BTreeSet<String>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in rust_files(&source) {
        let is_test = path.with_extension("").iter().any(|part| part == "tests" || part == "suite");
        if is_test || path.ends_with("lib.rs") {
            continue;
        }
        let relative = path.strip_prefix(&source).unwrap();
        let module = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let mut used = named(&code(&path));
        used.remove(&module);
        edges.entry(module).or_default().extend(used);
    }
    edges
}

#[test]
fn modules_use_only_floors_below_their_own() {
    let mut sideways = BTreeSet::new();
    for (module, used) in edges() {
        for other in used {
            if module == "gateway" {
                panic!("the gateway knows nothing of ours, and uses `{other}`");
            }
            if floor(&other) == floor(&module) {
                sideways.insert((module.clone(), other));
            } else {
                assert!(floor(&other) < floor(&module), "`{module}` uses `{other}`, which is above it");
            }
        }
    }
    let drawn: BTreeSet<(String, String)> =
        ON_ONE_FLOOR.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    assert_eq!(sideways, drawn, "edges on one floor");
}

#[test]
fn edges_on_one_floor_go_round_in_no_circle() {
    fn reaches(from: &str, to: &str) -> bool {
        ON_ONE_FLOOR.iter().any(|(start, end)| *start == from && (*end == to || reaches(end, to)))
    }
    for (from, to) in ON_ONE_FLOOR {
        assert!(!reaches(to, from), "{from} and {to} use each other");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "tests", "migrations/src"] {
        for path in rust_files(&root.join(folder)) {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("//! "), "{} does not open with `//!`", path.display());
        }
    }
}

#[test]
fn sockets_are_opened_by_egress_alone() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in rust_files(&source) {
        let relative = path.strip_prefix(&source).unwrap().display().to_string();
        let ours = ["egress", "server", "cli", "config", "main"].iter().any(|module| relative.starts_with(module));
        let text = code(&path);
        for call in ["TcpStream::connect", "TcpSocket::", "lookup_host", "to_socket_addrs"] {
            assert!(ours || !text.contains(call), "{relative} uses {call}");
        }
    }
}

#[test]
fn each_reason_of_the_code_is_in_the_proto_and_the_other_way_round() {
    let pool = prost_reflect::DescriptorPool::decode(tributary::proto::DESCRIPTORS).unwrap();
    let listed: BTreeSet<String> = pool
        .get_enum_by_name("tributary.v1.Error.Reason")
        .unwrap()
        .values()
        .filter(|value| value.number() != 0)
        .map(|value| value.name().trim_start_matches("REASON_").to_owned())
        .collect();
    let ours: BTreeSet<String> = tributary::error::Reason::ALL.iter().map(|reason| reason.name().to_owned()).collect();
    assert_eq!(listed, ours);
}
