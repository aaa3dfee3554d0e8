//! For each wrong order the kill that exposes it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::process::{Aim, Door, Process};
use super::resuming::Stalled;
use super::source::{differences, indexed};
use super::world::{Verdict, World, until};
use crate::support::postgres::{Database, OwnCluster};

/// Only what must be is written: each step by itself.
const RARELY: Option<u32> = Some(600_000);
/// Rows of the database's table; the others have a quarter.
const ROWS: u32 = 400;

/// Plays the schedule of a wrong order. With the order right all is well.
pub async fn play(mutant: &str, on: bool) -> Verdict {
    let listed = tributary::failpoint::MUTANTS.iter().find(|name| **name == mutant);
    let name = *listed.expect("it is listed");
    let rows = if name == "position_before_batch" { 6_000 } else { ROWS };
    // What moved is known only where no transaction of another test is open.
    let own = matches!(name, "mark_without_digest" | "position_before_batch").then(OwnCluster::start_new);
    let database = match &own {
        Some(cluster) => cluster.database().await,
        None => Database::create().await,
    };
    let mut world = World::on(database, rows, &["postgresql", "files"], on.then_some(name)).await;
    world.sources.execute("ANALYZE").await;
    let world = &mut world;
    match name {
        // The checkpoint with all objects finished, of a sync that wrote only this one.
        "checkpoint_before_index" => first(world, ("checkpoint.between", 3)).await,
        "position_before_batch" => first(world, ("checkpoint.written", 2)).await,
        "checkpoint_with_progress" => half_read(world, End::Kill).await,
        "pending_unknown" => half_read(world, End::Cancel).await,
        "finished_though_absent" => changed(world, ("deletions.applied", 1)).await,
        "finish_before_commit" => changed(world, ("job.finished", 1)).await,
        "insert_for_update" => changed(world, ("checkpoint.between", 2)).await,
        "mark_without_digest" => cleared(world, ("removal.cleared", 1), true).await,
        "clear_uncommitted" => cleared(world, ("job.finished", 1), false).await,
        "row_before_documents" => deleted(world).await,
        "unfinished_proves_absence" => half_failed(world).await,
        "key_after_effect" => asked_twice(world).await,
        other => panic!("`{other}` has no schedule"),
    }
}

fn at(point: (&str, u32)) -> Aim<'_> {
    Aim { point: Some(point), checkpoint_ms: RARELY, ..Aim::default() }
}

async fn run(door: Door, connection: String) {
    if let Ok(sync) = door.run(&connection).await {
        drop(door.watch(&sync, |_, _| ()).await);
    }
}

/// Has the database's sync die at a point.
async fn strike(world: &mut World, point: (&str, u32)) -> Verdict {
    let connection = world.place.connections["postgresql"].clone();
    world.strike(at(point), |door| run(door, connection)).await
}

/// What went on by itself has made it exact; no further sync heals anything.
async fn resumes(world: &mut World) -> Verdict {
    let place = world.place.clone();
    let process = world.restart().await;
    world.resumed(&process, &place, &BTreeSet::new()).await?;
    compare_database(world, &process).await
}

/// The files are of no interest, and may not have been synced.
async fn compare_database(world: &mut World, process: &Process) -> Verdict {
    let (place, files) = (world.place.clone(), [".", "a", "b"].map(str::to_owned));
    world.compare_now(process, &place, &files.into()).await
}

async fn first(world: &mut World, point: (&str, u32)) -> Verdict {
    strike(world, point).await?;
    resumes(world).await
}

async fn exact(world: &mut World) -> Verdict {
    let process = world.restart().await;
    let place = world.place.clone();
    world.exact(&process, &place).await?;
    process.kill().await;
    Ok(())
}

async fn changed(world: &mut World, point: (&str, u32)) -> Verdict {
    exact(world).await?;
    world.sources.execute("UPDATE keyed SET n = 7 WHERE id % 3 = 0").await;
    world.sources.execute("DELETE FROM keyed WHERE id % 10 = 1").await;
    strike(world, point).await?;
    resumes(world).await
}

enum End {
    Kill,
    Cancel,
}

/// A first sync of which two tables are read, and nothing more can be.
async fn half_read(world: &mut World, end: End) -> Verdict {
    let connection = world.place.connections["postgresql"].clone();
    let stalled = Stalled::begin(world, RARELY).await;
    match end {
        End::Kill => {
            stalled.process.kill().await;
            stalled.locker.batch_execute("COMMIT").await.expect("it is unlocked");
            resumes(world).await
        }
        End::Cancel => {
            let Stalled { process, locker, sync } = stalled;
            process.door.ok("POST", &format!("/api/v1/syncs/{sync}/cancel"), Some(json!({}))).await;
            drop(process.door.watch(&sync, |_, _| ()).await);
            locker.batch_execute("COMMIT").await.expect("it is unlocked");
            run(process.door.clone(), connection).await;
            compare_database(world, &process).await
        }
    }
}

async fn cleared(world: &mut World, point: (&str, u32), again: bool) -> Verdict {
    exact(world).await?;
    let connection = world.place.connections["postgresql"].clone();
    let path = format!("/api/v1/source-connections/{connection}");
    let data = format!("{path}/data");
    world.strike(at(point), |door| async move { door.call("DELETE", &data, None).await }).await?;
    let process = world.restart().await;
    world.idle(&process.door, "postgresql").await?;
    if !process.door.items(&world.place.collection, &connection).await.is_empty() {
        return Err("what was cleared is there".to_owned());
    }
    if again {
        run(process.door.clone(), connection).await;
        compare_database(world, &process).await?;
    }
    Ok(())
}

async fn deleted(world: &mut World) -> Verdict {
    exact(world).await?;
    let connection = world.place.connections["postgresql"].clone();
    let path = format!("/api/v1/source-connections/{connection}");
    let with_data = format!("{path}?deleteData=true");
    let point = ("removal.row_gone", 1);
    world.strike(at(point), |door| async move { door.call("DELETE", &with_data, None).await }).await?;
    let process = world.restart().await;
    until("it is gone", || async { matches!(process.door.call("GET", &path, None).await, Ok((404, _))) }).await?;
    match process.door.items(&world.place.collection, &connection).await.len() {
        0 => Ok(()),
        left => Err(format!("{left} objects are left of what was deleted")),
    }
}

/// A view that can be read no more: its documents stay.
async fn half_failed(world: &mut World) -> Verdict {
    world.sources.execute("CREATE VIEW v AS SELECT id, 10 / (n - 1) AS q FROM keyed WHERE id <= 80").await;
    let connection = world.place.connections["postgresql"].clone();
    let process = world.restart().await;
    run(process.door.clone(), connection.clone()).await;
    process.kill().await;
    world.sources.execute("UPDATE keyed SET n = 1 WHERE id = 80").await;
    strike(world, ("job.finished", 1)).await?;
    let process = world.restart().await;
    let mut items = process.door.items(&world.place.collection, &connection).await;
    let kept = items.remove("public.v").map_or(0, |items| items.len());
    let wrong =
        differences(&world.sources.expected("postgresql").await, &indexed("postgresql", &items), &BTreeSet::new());
    if kept == 80 && wrong.is_empty() { Ok(()) } else { Err(format!("{kept} rows of the view are kept; {wrong:?}")) }
}

/// Whoever got no answer asks again, and must get the first one.
async fn asked_twice(world: &mut World) -> Verdict {
    let path = format!("/api/v1/source-connections/{}/run", world.place.connections["postgresql"]);
    let asked = path.clone();
    let point = ("job.enqueued", 1);
    let ask = |door: Door| async move { door.call_once("POST", &asked, Some(json!({})), Some("once")).await };
    world.strike(at(point), ask).await?;
    resumes(world).await?;
    let process = world.restart().await;
    let (status, reply) = process.door.call_once("POST", &path, Some(json!({})), Some("once")).await.expect("it lives");
    if status != 200 {
        return Err(format!("the same call again is refused: {reply}"));
    }
    let syncs = path.replace("/run", "/syncs");
    let syncs = process.door.ok("GET", &syncs, None).await;
    let ids: Vec<&Value> = syncs["syncs"].as_array().expect("syncs").iter().map(|sync| &sync["id"]).collect();
    if ids == [&reply["syncId"]] { Ok(()) } else { Err(format!("{ids:?} were started, {reply} is the answer")) }
}
