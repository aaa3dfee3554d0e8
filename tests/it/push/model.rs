//! Random pushes against a map, with restarts: after each step the index is the map.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::{Bench, counts};

const STEPS: usize = 120;
const IDS: u32 = 60;
const OBJECTS: [&str; 3] = ["", "documents", "manuals"];

type Map = BTreeMap<(String, String), String>;

struct Walk {
    random: StdRng,
    map: Map,
}

impl Walk {
    /// Object as written, and the name of a document.
    fn name(&mut self) -> (&'static str, (String, String)) {
        let object = OBJECTS[self.random.random_range(0..OBJECTS.len())];
        let group = if object.is_empty() { "documents" } else { object };
        let id = format!("id {}", self.random.random_range(0..IDS));
        (object, (group.to_owned(), id))
    }

    /// Puts and deletes, each with what it must be counted as; names in one batch once.
    fn batch(&mut self, unique: bool) -> (Vec<Value>, [u64; 6]) {
        let (mut operations, mut expected, mut seen) = (Vec::new(), [0; 6], BTreeSet::new());
        for _ in 0..self.random.random_range(0..30) {
            let (object, name) = self.name();
            if unique && !seen.insert(name.clone()) {
                continue;
            }
            let at = if self.random.random_bool(0.3) {
                operations.push(json!({"delete": {"id": name.1, "object": object}}));
                if self.map.remove(&name).is_some() { 3 } else { 4 }
            } else {
                let title = format!("Title {}", self.random.random_range(0..3));
                operations.push(json!({"put": {"id": name.1, "object": object, "title": title}}));
                match self.map.insert(name, title.clone()) {
                    None => 0,
                    Some(before) if before == title => 2,
                    Some(_) => 1,
                }
            };
            expected[at] += 1;
        }
        (operations, expected)
    }
}

/// What a batch does first are its puts.
fn as_batch(operations: &[Value]) -> Value {
    let of =
        |name: &str| -> Vec<Value> { operations.iter().filter_map(|operation| operation.get(name).cloned()).collect() };
    json!({"documents": of("put"), "deletes": of("delete")})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_is_what_was_pushed_also_after_restarts() {
    for seed in 0..2 {
        let mut bench = Bench::start().await;
        let mut walk = Walk { random: StdRng::seed_from_u64(seed), map: Map::new() };
        for step in 0..STEPS {
            let what = walk.random.random_range(0..20);
            match what {
                0 => bench = bench.restart().await,
                1 => {
                    bench.server.delete(&bench.path("/data")).await.ok();
                    walk.map.clear();
                }
                2..=4 => {
                    let before = walk.map.clone();
                    walk.map.clear();
                    let (operations, _) = walk.batch(true);
                    let mut lines = vec![json!({"replace": {"releaseDeletions": true}})];
                    lines.extend(operations);
                    lines.push(json!({"commit": true}));
                    let reply = bench.lines(&lines).await.ok();
                    let came = walk.map.keys().filter(|name| before.contains_key(*name)).count();
                    let [inserted, updated, unchanged, ..] = counts(&reply);
                    assert_eq!((inserted + updated + unchanged) as usize, walk.map.len(), "seed {seed}, step {step}");
                    assert_eq!((updated + unchanged) as usize, came, "seed {seed}, step {step}: {reply}");
                }
                5..=11 => {
                    let (operations, expected) = walk.batch(false);
                    let reply = bench.lines(&operations).await.ok();
                    assert_eq!(counts(&reply), expected, "seed {seed}, step {step}");
                }
                _ => {
                    let (operations, expected) = walk.batch(true);
                    let reply = bench.batch(as_batch(&operations)).await.ok();
                    assert_eq!(counts(&reply), expected, "seed {seed}, step {step}");
                }
            }
            assert_eq!(bench.titles().await, walk.map, "seed {seed}, step {step}, action {what}");
        }
    }
}
