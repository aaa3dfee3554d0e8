//! No secret gets out, whatever is done: everything that keeps, takes or fails with
//! one is done to the real binary at TRACE, then all that came out of it is searched.
//!
//! [`crate::support::canary`] looks for two of them at every server of the tests.

mod collector;
mod world;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use crate::support::canary::Canaries;
use world::World;

/// Where nothing of a source's content may be either.
const NO_CONTENT: [&str; 7] = ["log", "standard output", "metrics", "events", "errors", "traces", "configuration"];

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_gets_out_whatever_is_done() {
    let mut world = World::start().await;
    for source in ["postgresql", "sqlite", "files"] {
        world.connect(source).await;
    }
    world.say_what_is_wrong().await;
    world.make_and_use_keys().await;
    world.change_credentials().await;
    world.kill_and_start_again().await;
    world.speak_other_protocols().await;
    world.remove().await;
    let (secrets, contents, sinks) = world.end().await;

    let mut searched: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut found = Vec::new();
    let (secret, content) = (canaries(&secrets), canaries(&contents));
    for (sink, bytes) in &sinks {
        let (times, size) = searched.entry(sink).or_default();
        (*times, *size) = (*times + 1, *size + bytes.len());
        found.extend(secret.found(bytes).into_iter().map(|name| format!("{name} in {sink}")));
        if NO_CONTENT.contains(sink) {
            found.extend(content.found(bytes).into_iter().map(|name| format!("{name} in {sink}")));
        }
    }
    println!(
        "canaries: {} secrets and {} contents, {} forms, in {} sinks: {searched:?}; {} found",
        secrets.len(),
        contents.len(),
        secret.forms() + content.forms(),
        searched.len(),
        found.len()
    );
    assert!(found.is_empty(), "{found:#?}");
    // What was searched is what came out: a control that must be in each.
    for (sink, control) in [
        ("log", "INFO"),
        ("standard output", "listening"),
        ("errors", "\"success\":false"),
        ("commands", "data directory"),
        ("traces", "tributary"),
        ("metrics", "tributary_"),
        ("events", "finished"),
        ("answers", "sourceConnection"),
        ("configuration", "admin_key"),
        ("data directory", "SQLite format 3"),
    ] {
        let is_there = sinks.iter().any(|(name, bytes)| *name == sink && holds(bytes, control));
        assert!(is_there, "`{control}` is not in {sink}: {searched:?}");
    }
    assert!(world::content_is_found(&sinks), "the sources' content was read");
}

fn canaries(known: &[(String, String)]) -> Canaries {
    Canaries::new(known.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// The search finds what it is to find, in each form and wherever it begins.
#[test]
fn a_secret_is_found_in_every_form() {
    let secret = "pass-/+\"&=%-word";
    let canaries = Canaries::new([("it", secret), ("other", "nobody has this one")]);
    let within = |text: String| canaries.found(format!("before {text} after").as_bytes()) == ["it"];
    let hex: String = secret.bytes().map(|byte| format!("{byte:02X}")).collect();
    let escaped = "pass-%2F%2B%22%26%3D%25-word";
    for form in [secret.to_owned(), hex.to_lowercase(), hex, escaped.to_owned(), json!(secret).to_string()] {
        assert!(within(form.clone()), "{form}");
    }
    for before in ["", "u", "us", "use", "user"] {
        for after in ["", "a", "ab"] {
            let text = format!("{before}{secret}{after}");
            assert!(within(STANDARD.encode(&text)) && within(URL_SAFE_NO_PAD.encode(&text)), "{text}");
        }
    }
    assert!(canaries.found(b"pass-word, and nothing else").is_empty());
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
