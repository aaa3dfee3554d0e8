//! What a sync knows of its attempt before, which was killed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::process::{Aim, Process};
use super::source::{differences, indexed};
use super::world::{World, until};

const ROWS: u32 = 400;
/// Rows of all tables.
const ALL: &str = "600";

/// A sync of a database of which two tables are read, and the third is locked.
pub struct Stalled {
    /// What syncs.
    pub process: Process,
    /// Who has the lock.
    pub locker: tokio_postgres::Client,
    /// The sync.
    pub sync: String,
}

impl Stalled {
    /// Begins one, and waits until the two are read.
    pub async fn begin(world: &World, checkpoint_ms: Option<u32>) -> Self {
        let locker = world.sources.database.connect().await;
        locker.batch_execute("BEGIN; LOCK TABLE pair IN ACCESS EXCLUSIVE MODE").await.expect("it is locked");
        let process = world.start(Aim { checkpoint_ms, ..Aim::default() }).await.expect("it starts");
        let sync = process.door.run(&world.place.connections["postgresql"]).await.expect("it lives");
        let path = format!("/api/v1/syncs/{sync}");
        let two = || async {
            let found = process.door.ok("GET", &path, None).await;
            let objects = found["sync"]["progress"]["objects"].as_array().cloned().unwrap_or_default();
            objects.iter().filter(|object| object["status"] == "complete").count() == 2
        };
        until("two tables are read", two).await.expect("nothing else is locked");
        Self { process, locker, sync }
    }
}

/// A world with a database alone.
async fn world() -> World {
    let world = World::new(ROWS, &["postgresql"]).await;
    world.sources.execute("ANALYZE").await;
    world
}

/// The sync that goes on by itself, at its end.
async fn resumed(world: &World, process: &Process) -> Value {
    let path = format!("/api/v1/source-connections/{}", world.place.connections["postgresql"]);
    let found = process.door.ok("GET", &path, None).await;
    let sync = found["sourceConnection"]["currentSyncId"].as_str().expect("it goes on").to_owned();
    process.door.watch(&sync, |_, _| ()).await.expect("it lives")
}

/// Has the database's sync die when the index is committed and the checkpoint is
/// not written; the first checkpoint is that of the beginning.
async fn strike_between(world: &mut World) {
    let connection = world.place.connections["postgresql"].clone();
    let aim = Aim { point: Some(("checkpoint.between", 2)), checkpoint_ms: Some(600_000), ..Aim::default() };
    let work = |door: super::process::Door| async move {
        let sync = door.run(&connection).await.ok()?;
        door.watch(&sync, |_, _| ()).await.ok()
    };
    world.strike(aim, work).await.expect("it dies");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_and_not_noted_is_counted_once() {
    let mut world = world().await;
    strike_between(&mut world).await;
    let process = world.restart().await;
    let ended = resumed(&world, &process).await;
    assert_eq!((&ended["status"], &ended["progress"]["itemsRead"]), (&json!("succeeded"), &json!(ALL)), "{ended:#}");
    let place = world.place.clone();
    world.compare_now(&process, &place, &BTreeSet::new()).await.expect("it is exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_objects_are_not_read_again() {
    let mut world = world().await;
    // Checkpoints are written all the time, of the two that are read too.
    let stalled = Stalled::begin(&world, Some(0)).await;
    stalled.process.kill().await;
    world.sources.execute("UPDATE keyed SET n = 5; DELETE FROM bare; INSERT INTO bare VALUES ('other', 1)").await;
    stalled.locker.batch_execute("COMMIT").await.expect("it is unlocked");
    let process = world.restart().await;
    let ended = resumed(&world, &process).await;
    assert_eq!((&ended["status"], &ended["progress"]["itemsRead"]), (&json!("succeeded"), &json!(ALL)), "{ended:#}");
    let place = world.place.clone();
    let items = process.door.items(&place.collection, &place.connections["postgresql"]).await;
    let (there, have) = (world.sources.expected("postgresql").await, indexed("postgresql", &items));
    assert_eq!(differences(&there, &have, &BTreeSet::new()).len(), 2, "both are as they were");
    world.exact(&process, &place).await.expect("the next sync reads them");
}

/// 200 of 600 are too many; of the 1,000 that the killed attempt left they would
/// not be.
#[tokio::test(flavor = "multi_thread")]
async fn the_brake_is_measured_against_what_there_was_before_the_first_attempt() {
    let mut world = world().await;
    let (process, place) = (world.restart().await, world.place.clone());
    world.exact(&process, &place).await.expect("the first sync is exact");
    process.kill().await;
    world.sources.execute("DELETE FROM keyed WHERE id <= 200").await;
    world.sources.execute("INSERT INTO keyed SELECT i, 'new', 0 FROM generate_series(1001, 1400) i").await;
    strike_between(&mut world).await;
    let process = world.restart().await;
    let ended = resumed(&world, &process).await;
    assert_eq!(ended["warnings"][0]["code"], "deletions_held", "{ended:#}");
    assert_eq!(ended["progress"]["itemsDeleted"], "0", "{ended:#}");
}
