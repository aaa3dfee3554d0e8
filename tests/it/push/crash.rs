//! The real binary is killed while batches are written: whatever was answered is there
//! afterwards, and what was not is there as it was sent or as it was before.
//!
//! `TRIBUTARY_TEST_PUSH_KILLS` is how often, and `TRIBUTARY_TEST_PUSH_SEED` the seed of
//! the first round; each further round has the next.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::crash::process::{Aim, Door, Process};

const KILLS: u64 = 12;
const WRITERS: u32 = 4;
/// Where it is killed, beside random moments: each between two steps of a push.
const POINTS: [&str; 3] = ["index.committing", "index.committed", "request.acted"];

/// What a document may be: None is not there.
type May = Vec<Option<u64>>;
type Documents = BTreeMap<String, May>;

/// One writer's documents, which nobody else writes.
struct Writer {
    name: u32,
    random: StdRng,
    documents: Documents,
    version: u64,
    batches: u64,
}

impl Writer {
    /// Writes until the server is gone.
    async fn write(&mut self, door: &Door, path: &str) {
        loop {
            self.batches += 1;
            let (mut puts, mut deletes, mut after) = (Vec::new(), Vec::new(), BTreeMap::new());
            for _ in 0..self.random.random_range(1..40) {
                let id = format!("{}-{}", self.name, self.random.random_range(0..80));
                if after.contains_key(&id) {
                    continue;
                }
                if self.random.random_bool(0.25) {
                    deletes.push(json!({"id": id}));
                    after.insert(id, None);
                } else {
                    self.version += 1;
                    puts.push(json!({"id": id, "title": self.version.to_string(), "body": "word ".repeat(200)}));
                    after.insert(id, Some(self.version));
                }
            }
            for (id, after) in &after {
                let may = self.documents.entry(id.clone()).or_insert_with(|| vec![None]);
                may.push(*after);
            }
            let key = self.random.random_bool(0.5).then(|| format!("{}-{}", self.name, self.batches));
            let body = Some(json!({"documents": puts, "deletes": deletes}));
            match door.call_once("POST", path, body, key.as_deref()).await {
                Ok((200, _)) => {
                    after.into_iter().for_each(|(id, after)| drop(self.documents.insert(id, vec![after])));
                }
                Ok((status, body)) => panic!("{status}: {body}"),
                Err(_gone) => return,
            }
        }
    }

    /// Compares with what is there, which is from now on all that may be.
    fn compare(&mut self, there: &BTreeMap<String, u64>) -> Vec<String> {
        let mut wrong = Vec::new();
        for (id, may) in &mut self.documents {
            let found = there.get(id).copied();
            if !may.contains(&found) {
                wrong.push(format!("`{id}` is {found:?}, and may be {may:?}"));
            }
            *may = vec![found];
        }
        wrong
    }
}

fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().map_or(usual, |value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

async fn there(door: &Door, collection: &str, connection: &str) -> BTreeMap<String, u64> {
    let items = door.items(collection, connection).await;
    let mut there = BTreeMap::new();
    for item in items.values().flatten() {
        let id = item["sourceKey"].as_str().expect("a key").to_owned();
        let version = item["title"].as_str().expect("a title").parse().expect("a version");
        assert_eq!(there.insert(id, version), None, "a document is there twice: {item}");
    }
    there
}

#[tokio::test(flavor = "multi_thread")]
async fn every_batch_that_was_answered_is_there_after_a_kill() {
    let (kills, first) = (setting("TRIBUTARY_TEST_PUSH_KILLS", KILLS), setting("TRIBUTARY_TEST_PUSH_SEED", 0));
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(folder.path(), Aim::default()).await.unwrap_or_else(|_| panic!("it does not start"));
    let made = process.door.ok("POST", "/api/v1/collections", Some(json!({"name": "Pushed"}))).await;
    let id = |resource: &Value| resource["id"].as_str().expect("an id").to_owned();
    let collection = id(&made["collection"]);
    let body = json!({"collectionId": collection, "sourceShortName": "push", "name": "Mine", "credentials": {}});
    let made = process.door.ok("POST", "/api/v1/source-connections", Some(body)).await;
    let connection = id(&made["sourceConnection"]);
    process.kill().await;
    let path = format!("/api/v1/source-connections/{connection}/documents:batch");
    let writers: Vec<_> = (0..WRITERS)
        .map(|name| {
            let random = StdRng::seed_from_u64(first + u64::from(name));
            Arc::new(Mutex::new(Some(Writer { name, random, documents: Documents::new(), version: 0, batches: 0 })))
        })
        .collect();
    let mut answered = 0;
    for seed in first..first + kills {
        let mut random = StdRng::seed_from_u64(seed);
        let point =
            POINTS.get(random.random_range(0..POINTS.len() + 2)).map(|point| (*point, random.random_range(1..30)));
        let process = Process::start(folder.path(), Aim { point, ..Aim::default() }).await;
        let process = process.unwrap_or_else(|_| panic!("seed {seed}: it does not start"));
        let door = process.door.clone();
        let tasks: Vec<_> = writers
            .iter()
            .map(|place| {
                let (place, door, path) = (place.clone(), door.clone(), path.clone());
                let mut writer = place.lock().expect("nobody panicked").take().expect("it is here");
                tokio::spawn(async move {
                    writer.write(&door, &path).await;
                    *place.lock().expect("nobody panicked") = Some(writer);
                })
            })
            .collect();
        match point {
            None => {
                tokio::time::sleep(Duration::from_millis(random.random_range(100..1_200))).await;
                process.kill().await;
            }
            Some(_) => {
                assert!(process.dies_of(|_| futures::future::pending::<()>()).await, "seed {seed}");
            }
        }
        for task in tasks {
            task.await.expect("it writes until the server is gone");
        }
        let process = Process::start(folder.path(), Aim::default()).await;
        let process = process.unwrap_or_else(|_| panic!("seed {seed}: it does not start again"));
        let there = there(&process.door, &collection, &connection).await;
        let mut wrong = Vec::new();
        for place in &writers {
            let mut writer = place.lock().expect("nobody panicked");
            wrong.extend(writer.as_mut().expect("it is back").compare(&there));
        }
        assert!(wrong.is_empty(), "seed {seed}, {point:?}: {}", wrong.join("; "));
        answered = there.len();
        // The same again changes nothing, and counts every document once.
        let count = process.door.ok("GET", &format!("/api/v1/collections/{collection}"), None).await;
        assert_eq!(count["collection"]["itemCount"], there.len().to_string(), "seed {seed}");
        process.kill().await;
    }
    println!("push: {kills} kills, {WRITERS} writers, {answered} documents at the end, next seed {}", first + kills);
}
