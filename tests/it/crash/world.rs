//! A data directory that outlives its processes, the sources beside it, and the
//! question whether the index is exact.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Aim, Door, Gone, LOOK_EVERY, Process};
use super::source::{Sources, differences, indexed};
use crate::support::postgres::Database;

/// What is wrong, if anything.
pub type Verdict = Result<(), String>;

/// How long the removal of what a process left may take.
const REMOVAL: Duration = Duration::from_secs(30);

/// What was done.
#[derive(Debug, Default)]
pub struct Figures {
    /// Processes killed.
    pub kills: usize,
    /// Indexes compared with their sources.
    pub comparisons: usize,
    /// From the start of a process to the interrupted sync running again.
    pub recoveries: Vec<Duration>,
}

/// A collection and its connections, by source.
#[derive(Debug, Clone)]
pub struct Place {
    /// The collection.
    pub collection: String,
    /// Source to connection.
    pub connections: BTreeMap<&'static str, String>,
}

/// A data directory, its sources and its standing collection.
pub struct World {
    folder: TempDir,
    /// The sources.
    pub sources: Sources,
    /// The standing collection.
    pub place: Place,
    /// What was done.
    pub figures: Figures,
    /// The wrong order that its processes have.
    pub mutant: Option<&'static str>,
    collections: u32,
}

impl World {
    /// A world that has not been synced yet.
    pub async fn new(rows: u32, kinds: &[&'static str]) -> Self {
        Self::on(Database::create().await, rows, kinds, None).await
    }

    /// A world with this database.
    pub async fn on(database: Database, rows: u32, kinds: &[&'static str], mutant: Option<&'static str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let sources = Sources::new(&folder.path().join("source"), database, rows).await;
        let place = Place { collection: String::new(), connections: BTreeMap::new() };
        let mut world = Self { folder, sources, place, figures: Figures::default(), mutant, collections: 0 };
        let process = world.start(Aim::default()).await.expect("it starts");
        world.place = world.settle_in(&process.door, kinds).await.expect("it lives");
        process.kill().await;
        world
    }

    /// Makes a collection with connections.
    pub async fn settle_in(&mut self, door: &Door, kinds: &[&'static str]) -> Result<Place, Gone> {
        self.collections += 1;
        let name = format!("Collection {}", self.collections);
        let (status, made) = door.call("POST", "/api/v1/collections", Some(json!({"name": name}))).await?;
        assert_eq!(status, 200, "{made}");
        let collection = id(&made["collection"]);
        let mut connections = BTreeMap::new();
        for kind in kinds {
            connections.insert(*kind, self.connect(door, kind, &collection).await?);
        }
        Ok(Place { collection, connections })
    }

    /// Makes a connection.
    pub async fn connect(&self, door: &Door, kind: &str, collection: &str) -> Result<String, Gone> {
        let body = self.sources.connection(kind, collection);
        let (status, made) = door.call("POST", "/api/v1/source-connections", Some(body)).await?;
        assert_eq!(status, 200, "{made}");
        Ok(id(&made["sourceConnection"]))
    }

    /// Starts a process.
    pub async fn start(&self, aim: Aim<'_>) -> Result<Process, Gone> {
        Process::start(self.folder.path(), Aim { mutant: self.mutant, ..aim }).await
    }

    /// Starts a process that is to live.
    pub async fn restart(&self) -> Process {
        self.start(Aim::default()).await.unwrap_or_else(|_| panic!("it does not start again:\n{}", self.log()))
    }

    /// Has a process work until it dies at a point.
    pub async fn strike<Work: Future>(&mut self, aim: Aim<'_>, work: impl FnOnce(Door) -> Work) -> Verdict {
        self.figures.kills += 1;
        let has_died = match self.start(aim).await {
            Ok(process) => process.dies_of(work).await,
            Err(Gone) => true,
        };
        match (has_died, aim.point) {
            (false, Some((point, 1))) => Err(format!("the point `{point}` was not reached")),
            _ => Ok(()),
        }
    }

    /// Path of an index in the data directory.
    pub fn index_of(&self, collection: &str) -> std::path::PathBuf {
        self.folder.path().join("data/index").join(collection)
    }

    /// The last that the processes said.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(60).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Follows what goes on by itself after a kill to its end. What did not change
    /// since the kill must then be exact.
    pub async fn resumed(&mut self, process: &Process, place: &Place, changed: &BTreeSet<String>) -> Verdict {
        let follow = place.connections.iter().map(|(kind, connection)| async move {
            let path = format!("/api/v1/source-connections/{connection}");
            let found = process.door.ok("GET", &path, None).await;
            let sync = found["sourceConnection"]["currentSyncId"].as_str()?.to_owned();
            let (mut running, mut watched) = (None, Watched::default());
            let ended = process.door.watch(&sync, |name, value| {
                if name != "snapshot" || value["status"] == "running" {
                    running.get_or_insert_with(|| process.started.elapsed());
                }
                watched.see(if name == "progress" { value } else { &value["progress"] });
            });
            let ended = ended.await.expect("it lives");
            Some((*kind, ended, running, watched.wrong))
        });
        let mut wrong = Vec::new();
        for (kind, ended, running, mut counters) in join_all(follow).await.into_iter().flatten() {
            self.figures.recoveries.extend(running);
            wrong.append(&mut counters);
            if ended["status"] != "succeeded" {
                wrong.push(format!("{kind}: {ended:#}"));
            }
            wrong.extend(self.compare(&process.door, place, kind, changed).await.0);
        }
        verdict("after the interrupted sync", wrong)
    }

    /// One more sync of each connection, after which everything must be exact.
    pub async fn exact(&mut self, process: &Process, place: &Place) -> Verdict {
        let door = &process.door;
        let syncs = place.connections.iter().map(|(kind, connection)| async move {
            let (sync, mut watched) = (door.run(connection).await.expect("it lives"), Watched::default());
            let tell =
                |name: &str, value: &Value| watched.see(if name == "progress" { value } else { &value["progress"] });
            let ended = door.watch(&sync, tell).await.expect("it lives");
            if ended["status"] != "succeeded" || ended["warnings"] != json!([]) {
                watched.wrong.push(format!("{kind}: {ended:#}"));
            }
            watched.wrong
        });
        let mut wrong: Vec<String> = join_all(syncs).await.concat();
        wrong.extend(self.compare_now(process, place, &BTreeSet::new()).await.err());
        verdict("after a sync", wrong)
    }

    /// Where the index of a connection differs from its source, and how many items
    /// it has.
    async fn compare(
        &mut self,
        door: &Door,
        place: &Place,
        kind: &str,
        but_for: &BTreeSet<String>,
    ) -> (Vec<String>, usize) {
        self.figures.comparisons += 1;
        let items = door.items(&place.collection, &place.connections[kind]).await;
        let differences = differences(&self.sources.expected(kind).await, &indexed(kind, &items), but_for);
        (differences, items.values().map(Vec::len).sum())
    }

    /// Compares now, without a sync.
    pub async fn compare_now(&mut self, process: &Process, place: &Place, but_for: &BTreeSet<String>) -> Verdict {
        let (door, mut wrong, mut listed) = (&process.door, Vec::new(), 0);
        for kind in place.connections.keys() {
            let (differences, items) = self.compare(door, place, kind, but_for).await;
            wrong.extend(differences);
            listed += items;
        }
        // A record that is there twice is listed once.
        let found = door.ok("GET", &format!("/api/v1/collections/{}", place.collection), None).await;
        if found["collection"]["itemCount"] != json!(listed.to_string()) {
            wrong.push(format!("{listed} items are listed, {} counted", found["collection"]["itemCount"]));
        }
        wrong.extend(self.left_over(door).await);
        verdict("compared", wrong)
    }

    /// Jobs that hang, and folders of nobody.
    async fn left_over(&self, door: &Door) -> Vec<String> {
        let mut wrong = Vec::new();
        let active = "/api/v1/syncs?statuses=pending&statuses=running&statuses=waiting&statuses=cancelling";
        let active = door.ok("GET", active, None).await;
        if active["syncs"] != json!([]) {
            wrong.push(format!("still active: {:#}", active["syncs"]));
        }
        let collections = door.ok("GET", "/api/v1/collections?pageSize=1000", None).await;
        let known: BTreeSet<String> = collections["collections"].as_array().expect("a list").iter().map(id).collect();
        for entry in std::fs::read_dir(self.folder.path().join("data/index")).expect("the folder of indexes") {
            let name = entry.expect("an entry").file_name().into_string().expect("text");
            if !known.contains(&name) && !name.contains(".unusable-") {
                wrong.push(format!("a folder `{name}` is left over"));
            }
        }
        wrong
    }

    /// Waits until no clear of a connection is on its way. No event tells of its
    /// end; credentials can be given again from then on, and stay the same.
    pub async fn idle(&self, door: &Door, kind: &str) -> Verdict {
        let path = format!("/api/v1/source-connections/{}/credentials", self.place.connections[kind]);
        let credentials = json!({"credentials": self.sources.connection(kind, "")["credentials"]});
        let given = || async { matches!(door.call("PUT", &path, Some(credentials.clone())).await, Ok((200, _))) };
        until("the connection is idle", given).await
    }
}

/// Looks until it is so: for what no event tells of.
pub async fn until<Look: Future<Output = bool>>(what: &str, mut look: impl FnMut() -> Look) -> Verdict {
    let begun = Instant::now();
    while !look().await {
        if begun.elapsed() > REMOVAL {
            return Err(format!("{what}: not within {REMOVAL:?}"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// The counters of a sync as somebody sees them who watches it.
#[derive(Default)]
struct Watched {
    last: BTreeMap<&'static str, i64>,
    wrong: Vec<String>,
}

impl Watched {
    fn see(&mut self, progress: &Value) {
        let number = |name: &str| progress[name].as_str().map_or(0, |text| text.parse::<i64>().expect("a number"));
        let parts = ["itemsInserted", "itemsUpdated", "itemsUnchanged", "itemsFailed"];
        let sum: i64 = parts.iter().map(|name| number(name)).sum();
        if number("itemsRead") != sum {
            self.wrong.push(format!("{} were read, the parts are {sum}: {progress}", number("itemsRead")));
        }
        for name in parts.into_iter().chain(["itemsRead", "itemsDeleted"]) {
            let before = self.last.insert(name, number(name)).unwrap_or(0);
            if number(name) < before {
                self.wrong.push(format!("{name} fell from {before} to {}", number(name)));
            }
        }
    }
}

/// The `id` of a resource.
pub fn id(resource: &Value) -> String {
    resource["id"].as_str().unwrap_or_else(|| panic!("no id in {resource}")).to_owned()
}

/// Nothing wrong, or all of it.
pub fn verdict(when: &str, wrong: Vec<String>) -> Verdict {
    if wrong.is_empty() { Ok(()) } else { Err(format!("{when}: {}", wrong.join("; "))) }
}
