//! What a server does when it is killed, and what must be so afterwards.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::json;

use super::process::{Aim, Door};
use super::world::{Place, Verdict, World, id, until};

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trip {
    /// Syncs of changed sources, all at once.
    Sync,
    /// The first sync of a new connection.
    First,
    /// A sync that waits for its source for a while.
    Stalled,
    /// A start after a kill.
    Start,
    /// Deletions that are held back.
    Hold,
    /// A connection is cleared.
    Clear,
    /// A connection is deleted with its documents.
    DeleteWithData,
    /// A connection is deleted and its documents stay.
    DeleteOnly,
    /// A collection is deleted.
    DeleteCollection,
    /// A connection's config is replaced.
    Config,
    /// A collection and a connection are made, each with an idempotency key.
    Create,
    /// A damaged index is set aside.
    SetAside,
}

impl Trip {
    /// The trip that comes to a point.
    pub fn to(point: &str) -> Self {
        match point {
            "start.store_opened" | "start.leases_expired" | "start.leftovers_gone" | "job.reaped" => Self::Start,
            "request.begun" | "request.acted" => Self::Create,
            "progress.written" => Self::Stalled,
            "deletions.held" => Self::Hold,
            "index.set_aside" => Self::SetAside,
            "clear.counted" | "clear.deleting" | "clear.committed" | "removal.cleared" | "removal.hold_lifted" => {
                Self::Clear
            }
            "removal.row_gone" | "delete.marked" => Self::DeleteWithData,
            "delete.row_gone" => Self::DeleteOnly,
            "config.replaced" => Self::Config,
            _ if point.starts_with("collection.") => Self::DeleteCollection,
            _ if point.starts_with("batch.") || point.starts_with("checkpoint.") || point.starts_with("object.") => {
                Self::First
            }
            _ => Self::Sync,
        }
    }

    /// Goes on the trip, is killed, and looks whether all is well.
    pub async fn take(self, world: &mut World, aim: Aim<'_>, random: &mut StdRng) -> Verdict {
        match self {
            Self::Sync => sync(world, aim, random).await,
            Self::First => first(world, aim, random).await,
            Self::Stalled => stalled(world, aim, random).await,
            Self::Start => start(world, aim, random).await,
            Self::Hold => hold(world, aim).await,
            Self::Clear => clear(world, aim).await,
            Self::DeleteWithData => delete(world, aim, true).await,
            Self::DeleteOnly => delete(world, aim, false).await,
            Self::DeleteCollection => delete_collection(world, aim).await,
            Self::Config => config(world, aim).await,
            Self::Create => create(world, aim).await,
            Self::SetAside => set_aside(world, aim).await,
        }
    }
}

/// Syncs all connections of a place until the process dies of it. Without a point
/// it is killed at a moment.
async fn sync_all(door: Door, place: &Place, moment: Option<Duration>) {
    let syncs = join_all(place.connections.values().map(|connection| async {
        let sync = door.run(connection).await.ok()?;
        door.watch(&sync, |_, _| ()).await.ok()
    }));
    match moment {
        None => drop(syncs.await),
        Some(moment) => drop(tokio::time::timeout(moment, syncs).await),
    }
}

/// When a process is killed that has no point to die at.
fn moment(aim: Aim<'_>, random: &mut StdRng) -> Option<Duration> {
    let moment = Duration::from_millis(random.random_range(0..900));
    aim.point.is_none().then_some(moment)
}

/// What was interrupted goes on by itself, and then all is exact.
async fn recovers(world: &mut World, changed: &BTreeSet<String>) -> Verdict {
    let place = world.place.clone();
    let process = world.restart().await;
    world.resumed(&process, &place, changed).await?;
    world.exact(&process, &place).await?;
    process.kill().await;
    Ok(())
}

async fn sync(world: &mut World, aim: Aim<'_>, random: &mut StdRng) -> Verdict {
    world.sources.change(random).await;
    let (place, moment) = (world.place.clone(), moment(aim, random));
    world.strike(aim, |door| async move { sync_all(door, &place, moment).await }).await?;
    let changed = world.sources.change(random).await;
    recovers(world, &changed).await
}

async fn first(world: &mut World, aim: Aim<'_>, random: &mut StdRng) -> Verdict {
    let process = world.restart().await;
    let place = world.settle_in(&process.door, &["postgresql", "sqlite"]).await.expect("it lives");
    process.kill().await;
    let (syncing, moment) = (place.clone(), moment(aim, random));
    world.strike(aim, |door| async move { sync_all(door, &syncing, moment).await }).await?;
    let changed = world.sources.change(random).await;
    let process = world.restart().await;
    world.resumed(&process, &place, &changed).await?;
    world.exact(&process, &place).await?;
    let path = format!("/api/v1/collections/{}?force=true", place.collection);
    process.door.ok("DELETE", &path, None).await;
    process.kill().await;
    Ok(())
}

async fn stalled(world: &mut World, aim: Aim<'_>, random: &mut StdRng) -> Verdict {
    world.sources.change(random).await;
    let place = world.place.clone();
    world.sources.execute("BEGIN; LOCK TABLE pair IN ACCESS EXCLUSIVE MODE").await;
    // There is only progress to write.
    let aim = Aim { checkpoint_ms: Some(600_000), ..aim };
    world.strike(aim, |door| async move { sync_all(door, &place, None).await }).await?;
    world.sources.execute("COMMIT").await;
    let changed = world.sources.change(random).await;
    recovers(world, &changed).await
}

/// The second process is the one that dies at a point; the first is killed at a
/// moment.
async fn start(world: &mut World, aim: Aim<'_>, random: &mut StdRng) -> Verdict {
    world.sources.change(random).await;
    let place = world.place.clone();
    // The syncs hang until then: there is something to take over.
    world.sources.execute("BEGIN; LOCK TABLE pair IN ACCESS EXCLUSIVE MODE").await;
    world.figures.kills += 1;
    let process = world.restart().await;
    join_all(place.connections.values().map(|connection| process.door.run(connection))).await;
    process.door.running(&place.connections["postgresql"]).await;
    process.kill().await;
    world.sources.execute("COMMIT").await;
    world.strike(aim, |door| async move { sync_all_that_run(door, &place).await }).await?;
    let changed = world.sources.change(random).await;
    recovers(world, &changed).await
}

async fn sync_all_that_run(door: Door, place: &Place) {
    let door = &door;
    let follow = place.connections.values().map(|connection| async move {
        let path = format!("/api/v1/source-connections/{connection}");
        let (_, found) = door.call("GET", &path, None).await.ok()?;
        let sync = found["sourceConnection"]["currentSyncId"].as_str()?.to_owned();
        door.watch(&sync, |_, _| ()).await.ok()
    });
    drop(join_all(follow).await);
}

async fn hold(world: &mut World, aim: Aim<'_>) -> Verdict {
    let connection = world.place.connections["sqlite"].clone();
    let place = world.place.clone();
    world.sources.execute_sqlite("DELETE FROM notes");
    world.strike(aim, |door| async move { sync_all(door, &place, None).await }).await?;
    let process = world.restart().await;
    sync_all_that_run(process.door.clone(), &world.place).await;
    let path = format!("/api/v1/source-connections/{connection}");
    let found = process.door.ok("GET", &path, None).await;
    let held = &found["sourceConnection"]["deletionHold"];
    let items = process.door.items(&world.place.collection, &connection).await;
    let notes = items.get("notes").map_or(0, Vec::len);
    if held["items"] != json!(notes.to_string()) || notes <= 100 {
        return Err(format!("{notes} notes are there, and the hold is {held}"));
    }
    let released = process.door.ok("POST", &format!("{path}/deletions/release"), Some(json!({}))).await;
    let sync = released["syncId"].as_str().expect("an id");
    process.door.watch(sync, |_, _| ()).await.expect("it lives");
    world.compare_now(&process, &world.place.clone(), &BTreeSet::new()).await?;
    world.sources.execute_sqlite(
        "WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 400)
         INSERT INTO notes (name, n) SELECT 'again ' || i, 1 FROM s",
    );
    world.exact(&process, &world.place.clone()).await?;
    process.kill().await;
    Ok(())
}

async fn clear(world: &mut World, aim: Aim<'_>) -> Verdict {
    let (collection, connection) = (world.place.collection.clone(), world.place.connections["postgresql"].clone());
    let path = format!("/api/v1/source-connections/{connection}/data");
    world.strike(aim, |door| async move { door.call("DELETE", &path, None).await }).await?;
    let process = world.restart().await;
    let door = &process.door;
    world.idle(door, "postgresql").await?;
    if !door.items(&collection, &connection).await.is_empty() {
        return Err("what was cleared is there".to_owned());
    }
    world.exact(&process, &world.place.clone()).await?;
    process.kill().await;
    Ok(())
}

async fn delete(world: &mut World, aim: Aim<'_>, with_data: bool) -> Verdict {
    let (collection, connection) = (world.place.collection.clone(), world.place.connections["files"].clone());
    let path = format!("/api/v1/source-connections/{connection}?deleteData={with_data}");
    world.strike(aim, |door| async move { door.call("DELETE", &path, None).await }).await?;
    let process = world.restart().await;
    let (door, path) = (&process.door, format!("/api/v1/source-connections/{connection}"));
    until("the delete ends", || async { matches!(door.call("GET", &path, None).await, Ok((404, _))) }).await?;
    let left = door.items(&collection, &connection).await.len();
    if (left == 0) != with_data {
        return Err(format!("{left} objects are left of what was deleted, deleteData={with_data}"));
    }
    if !with_data {
        let path = format!("/api/v1/collections/{collection}/data?sourceConnectionId={connection}");
        door.ok("DELETE", &path, None).await;
    }
    let again = world.connect(door, "files", &collection).await.expect("it lives");
    world.place.connections.insert("files", again);
    world.exact(&process, &world.place.clone()).await?;
    process.kill().await;
    Ok(())
}

async fn delete_collection(world: &mut World, aim: Aim<'_>) -> Verdict {
    let process = world.restart().await;
    let other = world.settle_in(&process.door, &["files"]).await.expect("it lives");
    world.exact(&process, &other).await?;
    process.kill().await;
    let path = format!("/api/v1/collections/{}?force=true", other.collection);
    let asked = path.clone();
    world.strike(aim, |door| async move { door.call("DELETE", &asked, None).await }).await?;
    let process = world.restart().await;
    let (status, body) = process.door.call("DELETE", &path, None).await.expect("it lives");
    if status != 200 && status != 404 {
        return Err(format!("the collection cannot be deleted: {body}"));
    }
    world.exact(&process, &world.place.clone()).await?;
    process.kill().await;
    Ok(())
}

async fn config(world: &mut World, aim: Aim<'_>) -> Verdict {
    world.sources.without_number = !world.sources.without_number;
    let path = format!("/api/v1/source-connections/{}/config", world.place.connections["sqlite"]);
    let config = json!({"config": world.sources.sqlite_config()});
    world.strike(aim, |door| async move { door.call("PUT", &path, Some(config)).await }).await?;
    recovers(world, &BTreeSet::new()).await
}

async fn create(world: &mut World, aim: Aim<'_>) -> Verdict {
    let number = world.figures.kills;
    let collection = json!({"name": format!("Made {number}")});
    let connection = world.sources.connection("files", &world.place.collection);
    for (path, kind, body) in [
        ("/api/v1/collections", "collection", collection),
        ("/api/v1/source-connections", "sourceConnection", connection),
    ] {
        let key = format!("{kind}-{number}");
        let (asked, same) = (body.clone(), key.clone());
        world.strike(aim, |door| async move { door.call_once("POST", path, Some(asked), Some(&same)).await }).await?;
        let process = world.restart().await;
        let door = &process.door;
        let listed = |body: serde_json::Value| body[format!("{kind}s")].as_array().expect("a list").len();
        let before = listed(door.ok("GET", path, None).await);
        let mut made = BTreeSet::new();
        for _ in 0..2 {
            let (status, reply) = door.call_once("POST", path, Some(body.clone()), Some(&key)).await.expect("it lives");
            if status != 200 {
                return Err(format!("the same call again is refused: {reply}"));
            }
            made.insert(id(&reply[kind]));
        }
        let more = listed(door.ok("GET", path, None).await) - before;
        let had_effect = aim.point.is_some_and(|(point, _)| point == "request.acted");
        if made.len() != 1 || more != usize::from(!had_effect) {
            return Err(format!("{more} more were made, with the ids {made:?}"));
        }
        door.ok("DELETE", &format!("{path}/{}", made.first().expect("one")), None).await;
        process.kill().await;
    }
    recovers(world, &BTreeSet::new()).await
}

async fn set_aside(world: &mut World, aim: Aim<'_>) -> Verdict {
    let (place, index) = (world.place.clone(), world.index_of(&world.place.collection));
    std::fs::write(index.join("meta.json"), "no index").expect("it can be written");
    world.strike(aim, |door| async move { sync_all(door, &place, None).await }).await?;
    recovers(world, &BTreeSet::new()).await?;
    std::fs::remove_dir_all(index.with_extension("unusable-1")).map_err(|error| format!("nothing was kept: {error}"))
}
