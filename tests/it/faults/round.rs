//! One round: an exact index, a bad network, and an exact index again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::proxy::Proxy;
use super::schedule::{Kind, Schedule};
use crate::support::postgres::{self, Database};
use crate::support::server::{Server, id_of};
use crate::support::tls::Certificates;

/// No sync may be at a standstill for longer: every wait within an attempt is
/// shorter.
const STANDSTILL: Duration = Duration::from_secs(20);
/// No sync may take longer in all.
const LONGEST: Duration = Duration::from_secs(90);
/// Syncs that a script may need until it has struck.
const SYNCS: usize = 4;
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What rounds share.
pub struct Place {
    /// The service.
    pub server: Server,
    /// Where the sources are, one schema a round.
    pub database: Database,
    /// An end of TLS in front of it, and its certificates.
    pub tls_port: u16,
    /// The certificates of that.
    pub certificates: Certificates,
}

/// What a round came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Faults that came to pass.
    pub struck: u64,
    /// Attempts of syncs.
    pub attempts: u64,
    /// How syncs ended while the network was bad.
    pub ended: BTreeMap<String, u64>,
    /// Looks at the index while the network was bad.
    pub looks: u64,
    /// The longest sync.
    pub longest: Duration,
}

/// A row as the source has it at some version.
type Versions = BTreeMap<(String, i64), i64>;

/// Plays the round of a seed; fails when anything is not as it must be.
pub async fn play(place: &Place, seed: u64) -> Outcome {
    let mut schedule = Schedule::of(seed);
    let round = Round::prepare(place, &schedule).await;
    round.clean_sync(false).await;
    let mut traffic = round.proxy.traffic();
    if !schedule.full {
        round.clean_sync(false).await;
        traffic = round.proxy.traffic();
    }
    round.change(&mut StdRng::seed_from_u64(seed), 3).await;
    let steps = schedule.steps(traffic);
    round.proxy.follow(steps.clone());
    let mut outcome = Outcome::default();
    let watched = round.watch(&schedule);
    let mut moving = StdRng::seed_from_u64(!seed);
    let trouble = async {
        for _ in 0..SYNCS {
            let sync = round.run(schedule.full).await;
            let ended = round.until_ended(&sync, &mut outcome).await;
            let status = ended["status"].as_str().unwrap();
            let exact = status == "succeeded" && !schedule.source_moves && !schedule.kind.may_show_wrong_values();
            if exact {
                round.assert_exact("after a sync through the bad network").await;
            }
            if schedule.source_moves {
                round.change(&mut moving, 1).await;
            }
            if round.proxy.is_exhausted() {
                break;
            }
        }
    };
    let looks = tokio::select! {
        () = trouble => None,
        looks = watched => Some(looks),
    };
    assert!(looks.is_none(), "the watch never ends");
    outcome.looks = round.looks.load(std::sync::atomic::Ordering::Relaxed);
    outcome.struck = round.proxy.struck();
    round.proxy.follow(Vec::new());
    // What arrived as a right value is one to us: only reading it again tells.
    round.clean_sync(schedule.kind.may_show_wrong_values()).await;
    round.remove().await;
    outcome
}

struct Round<'a> {
    place: &'a Place,
    client: Client,
    schema: String,
    proxy: Proxy,
    collection: String,
    connection: String,
    looks: std::sync::atomic::AtomicU64,
}

impl<'a> Round<'a> {
    async fn prepare(place: &'a Place, schedule: &Schedule) -> Self {
        let schema = format!("round_{}", schedule.seed);
        let client = place.database.connect().await;
        client.batch_execute(&tables(&schema)).await.unwrap();
        let upstream = if schedule.kind == Kind::TlsByte { place.tls_port } else { place.database.port };
        let proxy = Proxy::start(upstream, schedule.seed);
        let collection = place.server.collection(&schema).await;
        let mut config = json!({"schemas": [schema]});
        if schedule.kind == Kind::TlsByte {
            config["sslMode"] = json!("verify-full");
            config["rootCertificate"] = json!(place.certificates.root());
        }
        let body = json!({
            "collectionId": collection, "sourceShortName": "postgresql", "name": schema, "config": config,
            "credentials": {
                "host": "127.0.0.1", "port": proxy.port, "database": place.database.name,
                "username": postgres::USER, "password": postgres::PASSWORD,
            },
        });
        let created = place.server.post("/api/v1/source-connections", body).await.ok();
        let connection = id_of(&created["sourceConnection"]);
        Self { place, client, schema, proxy, collection, connection, looks: Default::default() }
    }

    /// Changes the rows that may change: a few are new, another version, or gone.
    async fn change(&self, random: &mut StdRng, times: u32) {
        for _ in 0..times {
            let table = ["a", "b"][random.random_range(0..2)];
            let (rest, new) = (random.random_range(0..10), random.random_range(1..8));
            let statement = format!(
                "UPDATE {schema}.{table} SET version = version + 1, body = {body} WHERE id % 10 = 1 AND id / 10 % 10 = {rest};
                 DELETE FROM {schema}.{table} WHERE id % 10 = 2 AND id / 10 % 10 = {rest};
                 INSERT INTO {schema}.{table} SELECT i * 10 + 2, 0, repeat('body ' || (i * 10 + 2) || '.0 ', 8)
                     FROM generate_series(1000 + {rest} * 10, 1000 + {rest} * 10 + {new}) i ON CONFLICT DO NOTHING",
                schema = self.schema,
                body = "repeat('body ' || id || '.' || (version + 1) || ' ', 8)",
            );
            self.client.batch_execute(&statement).await.unwrap();
        }
    }

    async fn run(&self, full: bool) -> String {
        let path = format!("/api/v1/source-connections/{}/run", self.connection);
        let run = self.place.server.post(&path, json!({"full": full})).await.ok();
        run["syncId"].as_str().unwrap().to_owned()
    }

    /// Follows a sync to its end; fails when it stands still without a reason.
    async fn until_ended(&self, sync: &str, outcome: &mut Outcome) -> Value {
        let began = Instant::now();
        let (mut seen, mut since) = (Value::Null, Instant::now());
        loop {
            let body = self.place.server.get(&format!("/api/v1/syncs/{sync}")).await.ok();
            let sync = &body["sync"];
            let status = sync["status"].as_str().unwrap();
            if ["succeeded", "failed", "cancelled"].contains(&status) {
                let reason = sync["error"]["details"][0]["reason"].as_str().unwrap_or_default();
                *outcome.ended.entry(format!("{status} {reason}").trim_end().to_owned()).or_default() += 1;
                outcome.attempts += sync["attempt"].as_u64().unwrap();
                outcome.longest = outcome.longest.max(began.elapsed());
                return sync.clone();
            }
            if status == "waiting" {
                assert!(sync["waitingReason"].as_str().is_some_and(|reason| !reason.is_empty()), "{sync:#}");
                assert!(sync["waitingUntil"].is_string(), "{sync:#}");
            }
            let progress = &sync["progress"];
            let now = json!([status, sync["attempt"], progress["itemsRead"], progress["objects"]]);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            assert!(since.elapsed() < STANDSTILL, "it hangs: {sync:#}");
            assert!(began.elapsed() < LONGEST, "it does not come to an end: {sync:#}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Through a good network it succeeds without a warning, and the index is the
    /// source.
    async fn clean_sync(&self, full: bool) {
        let mut outcome = Outcome::default();
        let sync = self.run(full).await;
        let ended = self.until_ended(&sync, &mut outcome).await;
        assert_eq!(ended["status"], "succeeded", "{ended:#}");
        assert_eq!(ended.get("warnings").cloned().unwrap_or(json!([])), json!([]), "{ended:#}");
        self.assert_exact("after a sync through a good network").await;
    }

    async fn assert_exact(&self, when: &str) {
        let source = self.source().await;
        let indexed = self.indexed().await;
        let missing: Vec<_> = source.keys().filter(|key| !indexed.contains_key(*key)).collect();
        let left: Vec<_> = indexed.keys().filter(|key| !source.contains_key(*key)).collect();
        assert!(missing.is_empty() && left.is_empty(), "{when}: missing {missing:?}, left over {left:?}");
        for (key, version) in &source {
            assert_eq!(right_version(key, &indexed[key]), Some(*version), "{when}: {key:?} is {}", indexed[key]);
        }
    }

    async fn source(&self) -> Versions {
        let mut rows = BTreeMap::new();
        for table in ["a", "b", "c"] {
            let query = format!("SELECT id, version FROM {}.{table}", self.schema);
            for row in self.client.query(&query, &[]).await.unwrap() {
                rows.insert((format!("{}.{table}", self.schema), row.get(0)), row.get::<_, i64>(1));
            }
        }
        rows
    }

    async fn indexed(&self) -> BTreeMap<(String, i64), Value> {
        let mut rows = BTreeMap::new();
        for item in self.place.server.items(&self.collection).await {
            let key: Vec<String> = serde_json::from_str(item["sourceKey"].as_str().unwrap()).unwrap();
            let object = item["object"].as_str().unwrap().to_owned();
            let before = rows.insert((object, key[0].parse().unwrap()), item["metadata"].clone());
            assert!(before.is_none(), "twice in the index: {item}");
        }
        rows
    }

    /// Looks at the index for as long as it is polled: what is at the source the
    /// whole time is in the index the whole time, and is what the source had.
    async fn watch(&self, schedule: &Schedule) {
        let stays = |(_, id): &&(String, i64)| id % 10 != 2;
        let stable: BTreeSet<_> = self.source().await.keys().filter(stays).cloned().collect();
        loop {
            let indexed = self.indexed().await;
            let missing: Vec<_> = stable.iter().filter(|key| !indexed.contains_key(*key)).collect();
            assert!(missing.is_empty(), "deleted, and still at the source: {missing:?}");
            if !schedule.kind.may_show_wrong_values() {
                for (key, row) in &indexed {
                    assert!(right_version(key, row).is_some(), "the source never had {key:?} as {row}");
                }
            }
            self.looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn remove(&self) {
        let path = format!("/api/v1/source-connections/{}?deleteData=true", self.connection);
        self.place.server.delete(&path).await.ok();
        self.place.server.delete(&format!("/api/v1/collections/{}", self.collection)).await.ok();
        self.client.batch_execute(&format!("DROP SCHEMA {} CASCADE", self.schema)).await.unwrap();
    }
}

/// The version of a row that the source had like this.
fn right_version((_, id): &(String, i64), row: &Value) -> Option<i64> {
    let version = row["version"].as_i64()?;
    let body = format!("body {id}.{version} ").repeat(8);
    let right = row["id"].as_i64() == Some(*id) && row["body"].as_str() == Some(&body);
    right.then_some(version)
}

/// Rows are a function of id and version. Those whose id ends in 2 may go, those
/// in 1 may change.
fn tables(schema: &str) -> String {
    let table = |name: &str, rows: u32| {
        format!(
            "CREATE TABLE {schema}.{name} (id bigint PRIMARY KEY, version bigint, body text);
             INSERT INTO {schema}.{name} SELECT i, 0, repeat('body ' || i || '.0 ', 8) FROM generate_series(1, {rows}) i;"
        )
    };
    format!("CREATE SCHEMA {schema}; {}{}{}", table("a", 300), table("b", 100), table("c", 3))
}
