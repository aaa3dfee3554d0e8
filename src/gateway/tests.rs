//! What the door promises, as tables: paths, queries, JSON, and whole requests
//! against a small service in this process.

mod door;
mod fuzz;
mod json;
mod lines;
mod odd_json;
mod paths;
mod protos;
mod queries;
mod service;
mod streams;
mod tables;

use std::path::Path;

/// Shared cases that not every checkout has; our own tables cover the same rules.
fn shared_cases(file: &str) -> Option<serde_json::Value> {
    let folder = std::env::var_os("TRIBUTARY_CONFORMANCE").map(std::path::PathBuf::from);
    let beside =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(1).map(|parent| parent.join("shared/conformance"));
    let path = folder.into_iter().chain(beside).map(|folder| folder.join(file)).find(|path| path.exists());
    let Some(path) = path else {
        eprintln!("{file} is not here: only our own tables are checked");
        return None;
    };
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}
