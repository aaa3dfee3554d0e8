//! The real thing: one server for all sequences, a collection and a schema for
//! each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;
use tributary::egress::Timeouts;
use tributary::server::Options;

use super::machine::{Answer, Connection, Model, Transition};
use super::source::{Effect, Table};
use crate::support::postgres::{self, Database};
use crate::support::server::{Reply, Server, id_of};

/// Longest that anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// A sync that was asked to stop has stopped by then.
const CANCELLED_WITHIN: Duration = Duration::from_secs(5);

struct World {
    runtime: Runtime,
    /// None while it restarts.
    server: Mutex<Option<Server>>,
    database: Database,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let runtime = Runtime::new().unwrap();
        let database = runtime.block_on(Database::create());
        World { runtime, server: Mutex::new(None), database }
    })
}

/// Runs work to its end.
pub fn wait_for<T>(work: impl Future<Output = T>) -> T {
    world().runtime.block_on(work)
}

/// A gate may be closed for as long as a sequence likes.
fn patient() -> Options {
    Options { timeouts: Timeouts { first_byte: Duration::from_secs(600), ..Timeouts::default() }, ..Options::default() }
}

async fn start() -> Server {
    Server::start_with_options(|config| config.workers = 4, patient).await
}

/// One sequence under test.
pub struct Case {
    number: u32,
    /// As superuser, and the one who closes the gate.
    client: tokio_postgres::Client,
    closed: bool,
    collection: String,
    /// Ids of the connections made, in order.
    connections: Vec<String>,
    /// Ids of the syncs of the connection, oldest first.
    syncs: Vec<String>,
    /// Syncs that have ended, as they were when that was first seen.
    ended: std::sync::Mutex<BTreeMap<String, Value>>,
}

impl Case {
    /// The source and the collection of a fresh sequence.
    pub fn start(model: &Model) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        wait_for(async {
            let mut server = world().server.lock().await;
            if server.is_none() {
                *server = Some(start().await);
            }
            let server = server.as_ref().unwrap();
            let client = world().database.connect().await;
            client.batch_execute(&schema(number, model)).await.unwrap();
            let collection = server.collection(&format!("Model {number}")).await;
            let (connections, syncs) = (Vec::new(), Vec::new());
            Self { number, client, closed: false, collection, connections, syncs, ended: Default::default() }
        })
    }

    fn schema(&self) -> String {
        format!("model_{}", self.number)
    }

    fn object(&self, table: Table) -> String {
        format!("{}.{}", self.schema(), table.name())
    }

    fn config(&self, narrow: bool) -> Value {
        if narrow {
            json!({"sslMode": "auto", "tables": [self.object(Table::A), self.object(Table::Gate)]})
        } else {
            json!({"sslMode": "auto", "schemas": [self.schema()]})
        }
    }

    fn credentials(&self, good: bool) -> Value {
        let Database { port, name } = &world().database;
        let password = if good { postgres::PASSWORD } else { "not the password" };
        json!({"host": "127.0.0.1", "port": port, "database": name, "username": postgres::USER, "password": password})
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/source-connections/{}{rest}", self.connections.last().expect("a connection"))
    }

    /// Does the step and checks the answer.
    pub async fn apply(&mut self, model: &Model, transition: Transition) {
        match transition {
            Transition::Change(table, _) => return self.change(table, &model.effect).await,
            Transition::Restart => return self.restart(model).await,
            _ => {}
        }
        let guard = world().server.lock().await;
        let server = guard.as_ref().expect("a server");
        let before = match model.answer {
            Answer::Busy => Some(self.settings(server).await),
            Answer::Ok | Answer::Refused(..) => None,
        };
        let reply = self.call(server, model, transition).await;
        match model.answer {
            Answer::Ok => drop(reply.ok()),
            Answer::Refused(status, word) => drop(reply.error(status, word)),
            Answer::Busy => {
                let body = reply.error(409, "sync_in_progress");
                assert_eq!(body["details"][0]["metadata"]["syncId"], json!(self.syncs.last()), "{body:#}");
                assert_eq!(self.settings(server).await, before.unwrap(), "a 409 changes nothing");
            }
        }
    }

    async fn call(&mut self, server: &Server, model: &Model, transition: Transition) -> Reply {
        match transition {
            Transition::Create => {
                let body = json!({
                    "collectionId": self.collection, "sourceShortName": "postgresql", "name": "Model",
                    "config": self.config(false), "credentials": self.credentials(true),
                });
                let reply = server.post("/api/v1/source-connections", body).await;
                self.connections.push(id_of(&reply.body["sourceConnection"]));
                self.syncs.clear();
                reply
            }
            Transition::Run { held } => {
                if held && model.answer == Answer::Ok && held_attempt(model).is_some() {
                    self.close().await;
                }
                let since = self.now().await;
                let reply = server.post(&self.path("/run"), json!({})).await;
                if let Some(sync) = reply.body["syncId"].as_str() {
                    self.syncs.push(sync.to_owned());
                    match held_attempt(model) {
                        Some(attempt) => self.until_at_the_gate(server, attempt, since).await,
                        None => drop(self.until_ended(server, PATIENCE).await),
                    }
                }
                reply
            }
            Transition::Release => {
                self.open().await;
                self.until_ended(server, PATIENCE).await
            }
            Transition::Cancel => {
                let sync = self.syncs.last().expect("a sync");
                let reply = server.post(&format!("/api/v1/syncs/{sync}/cancel"), json!({})).await;
                self.until_ended(server, CANCELLED_WITHIN).await;
                self.open().await;
                reply
            }
            Transition::Pause(true) => server.post(&self.path("/pause"), json!({})).await,
            Transition::Pause(false) => server.post(&self.path("/resume"), json!({})).await,
            Transition::Credentials { good } => {
                server.put(&self.path("/credentials"), json!({"credentials": self.credentials(good)})).await
            }
            Transition::Config { narrow } => {
                server.put(&self.path("/config"), json!({"config": self.config(narrow)})).await
            }
            Transition::Test => server.post(&self.path("/test"), json!({})).await,
            Transition::Clear => server.delete(&self.path("/data")).await,
            Transition::Delete { data } => server.delete(&self.path(&format!("?deleteData={data}"))).await,
            Transition::Change(..) | Transition::Restart => unreachable!("no call"),
        }
    }

    async fn change(&self, table: Table, effect: &Effect) {
        let object = self.object(table);
        let statement = match effect {
            Effect::New(first, last) => {
                format!("INSERT INTO {object} SELECT i, 0, 'row ' || i FROM generate_series({first}, {last}) i")
            }
            Effect::Version(id, version) => format!("UPDATE {object} SET version = {version} WHERE id = {id}"),
            Effect::Gone(id) => format!("DELETE FROM {object} WHERE id = {id}"),
            Effect::Nothing => return,
        };
        self.client.batch_execute(&statement).await.unwrap();
    }

    async fn restart(&self, model: &Model) {
        let mut server = world().server.lock().await;
        let since = self.now().await;
        let restarted = server.take().expect("a server").restart().await;
        if let Some(attempt) = held_attempt(model) {
            self.until_at_the_gate(&restarted, attempt, since).await;
        }
        *server = Some(restarted);
    }

    async fn close(&mut self) {
        self.client.execute("SELECT pg_advisory_lock($1)", &[&i64::from(self.number)]).await.unwrap();
        self.closed = true;
    }

    async fn open(&mut self) {
        if std::mem::take(&mut self.closed) {
            self.client.execute("SELECT pg_advisory_unlock($1)", &[&i64::from(self.number)]).await.unwrap();
        }
    }

    async fn now(&self) -> SystemTime {
        self.client.query_one("SELECT clock_timestamp()", &[]).await.unwrap().get(0)
    }

    /// Waits until a session that began since then stands at the gate: what the
    /// sync sees of the source is settled by then.
    async fn until_at_the_gate(&self, server: &Server, attempt: u64, since: SystemTime) {
        let gate = self.object(Table::Gate);
        let is_there = |sync: &Value| {
            // Whatever is not at the gate has been read.
            let stands =
                |object: &Value| object["status"] == if object["path"] == gate { "reading" } else { "complete" };
            let objects = sync["progress"]["objects"].as_array();
            let all_stand = objects.is_some_and(|objects| !objects.is_empty() && objects.iter().all(stands));
            sync["status"] == "running"
                && sync["attempt"] == attempt
                && sync["progress"]["currentObject"] == gate
                && all_stand
        };
        self.until(server, PATIENCE, is_there).await;
        let began = Instant::now();
        let query = "SELECT count(*) FROM pg_stat_activity WHERE backend_start >= $1 AND state = 'active'
            AND query LIKE 'COPY%' AND strpos(query, $2) > 0";
        let view = format!("\"{}\".\"{}\"", self.schema(), Table::Gate.name());
        while self.client.query_one(query, &[&since, &view]).await.unwrap().get::<_, i64>(0) == 0 {
            assert!(began.elapsed() < PATIENCE, "no session came to the gate");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_ended(&self, server: &Server, within: Duration) -> Reply {
        let is_ended = |sync: &Value| matches!(sync["status"].as_str(), Some("succeeded" | "failed" | "cancelled"));
        self.until(server, within, is_ended).await
    }

    async fn until(&self, server: &Server, within: Duration, is_so: impl Fn(&Value) -> bool) -> Reply {
        let path = format!("/api/v1/syncs/{}", self.syncs.last().expect("a sync"));
        let began = Instant::now();
        loop {
            let reply = server.get(&path).await;
            if is_so(&reply.body["sync"]) {
                return reply;
            }
            assert!(began.elapsed() < within, "not so after {within:?}: {}", reply.text);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The connection without what a sync changes in it.
    async fn settings(&self, server: &Server) -> Value {
        let mut body = server.get(&self.path("")).await.ok();
        let connection = body["sourceConnection"].as_object_mut().unwrap();
        for of_syncs in ["currentSyncId", "lastSync"] {
            connection.remove(of_syncs);
        }
        body
    }

    /// Compares everything with the model.
    pub async fn check(&self, model: &Model) {
        let guard = world().server.lock().await;
        let server = guard.as_ref().expect("a server");
        match &model.connection {
            Some(connection) => {
                self.check_connection(server, connection).await;
                self.check_syncs(server, connection).await;
            }
            None if self.connections.is_empty() => {}
            None => {
                drop(server.get(&self.path("")).await.error(404, "not_found"));
                let all = server.get("/api/v1/syncs?pageSize=1000").await.ok();
                let id = self.connections.last().unwrap();
                assert!(!all.to_string().contains(id), "a sync of a removed connection: {all:#}");
            }
        }
        self.check_documents(server, model).await;
    }

    async fn check_connection(&self, server: &Server, model: &Connection) {
        let body = server.get(&self.path("")).await.ok();
        let found = &body["sourceConnection"];
        assert_eq!(found["status"], model.status(), "{body:#}");
        assert_eq!(found["paused"].as_bool().unwrap_or_default(), model.paused, "{body:#}");
        assert_eq!(found["config"], self.config(model.narrow), "{body:#}");
        let current = model.held.as_ref().map(|_| self.syncs.last().unwrap().as_str());
        assert_eq!(found["currentSyncId"].as_str(), current, "{body:#}");
        assert!(found.get("deletionHold").is_none(), "{body:#}");
    }

    async fn check_syncs(&self, server: &Server, model: &Connection) {
        let body = server.get(&self.path("/syncs?pageSize=1000")).await.ok();
        let mut found = body["syncs"].as_array().cloned().unwrap_or_default();
        found.reverse();
        let ids: Vec<_> = found.iter().map(id_of).collect();
        assert_eq!(ids, self.syncs, "as they were started");
        let mut wanted: Vec<_> = model.ended.iter().map(|ended| ended.status).collect();
        wanted.extend(model.held.as_ref().map(|_| "running"));
        let statuses: Vec<_> = found.iter().map(|sync| sync["status"].as_str().unwrap()).collect();
        assert_eq!(statuses, wanted, "{body:#}");
        for sync in &found {
            let [read, inserted, updated, _, unchanged, failed] = counters(sync);
            assert_eq!(read, inserted + updated + unchanged + failed, "{sync:#}");
        }
        for (sync, ended) in found.iter().zip(&model.ended) {
            let mut known = self.ended.lock().unwrap();
            let first = known.entry(id_of(sync)).or_insert_with(|| sync.clone());
            assert_eq!(first, sync, "what has ended never changes");
            if let Some(wanted) = ended.counters {
                let [read, inserted, updated, deleted, unchanged, _] = counters(sync);
                assert_eq!([read, inserted, updated, deleted, unchanged], wanted, "{sync:#}");
            }
        }
    }

    async fn check_documents(&self, server: &Server, model: &Model) {
        let mut found = BTreeMap::new();
        let tables = [Table::A, Table::B, Table::Gate];
        for item in server.items(&self.collection).await {
            let id = item["sourceConnectionId"].as_str().unwrap();
            let connection = self.connections.iter().position(|known| known == id).expect("a connection of ours");
            let object = item["object"].as_str().unwrap();
            let table = tables.into_iter().find(|table| self.object(*table) == object).expect("a table of ours");
            let metadata = &item["metadata"];
            let key = (connection, table, metadata["id"].as_i64().unwrap());
            let before = found.insert(key, metadata["version"].as_i64().unwrap());
            assert!(before.is_none(), "twice in the index: {item}");
        }
        let keys: BTreeSet<_> = found.keys().copied().collect();
        let missing: Vec<_> = model.documents.must.difference(&keys).collect();
        assert!(missing.is_empty(), "missing {missing:?}\nfound {found:?}");
        for (key, version) in &found {
            let possible = model.documents.may.get(key);
            assert!(
                possible.is_some_and(|versions| versions.contains(version)),
                "{key:?} in version {version}: {possible:?}"
            );
        }
        let search = format!("/api/v1/collections/{}/search?query=row&pageSize=200", self.collection);
        let results = server.get(&search).await.ok();
        let rows = keys.iter().filter(|key| key.1 != Table::Gate).count();
        assert_eq!(results["results"].as_array().map_or(0, Vec::len), rows, "what is there is found");
    }

    /// Leaves nothing behind.
    pub async fn remove(mut self) {
        self.open().await;
        let guard = world().server.lock().await;
        let server = guard.as_ref().expect("a server");
        if !self.syncs.is_empty() && server.get(&self.path("")).await.status == 200 {
            self.until_ended(server, PATIENCE).await;
        }
        drop(server.delete(&format!("/api/v1/collections/{}?force=true", self.collection)).await.ok());
        self.client.batch_execute(&format!("DROP SCHEMA {} CASCADE", self.schema())).await.unwrap();
    }
}

fn held_attempt(model: &Model) -> Option<u64> {
    model.connection.as_ref().and_then(|connection| connection.held.as_ref()).map(|held| held.attempt)
}

/// Read, inserted, updated, deleted, unchanged and failed.
fn counters(sync: &Value) -> [u64; 6] {
    ["Read", "Inserted", "Updated", "Deleted", "Unchanged", "Failed"]
        .map(|name| sync["progress"][format!("items{name}")].as_str().unwrap().parse().unwrap())
}

/// The tables of the model, and a view that is read only while the gate is open.
fn schema(number: u32, model: &Model) -> String {
    let rows = |table: Table| {
        let rows = model.source.rows(table).iter().map(|(id, version)| format!("({id}, {version}, 'row {id}')"));
        rows.collect::<Vec<_>>().join(", ")
    };
    format!(
        "CREATE SCHEMA model_{number};
         CREATE TABLE model_{number}.a (id bigint PRIMARY KEY, version bigint, name text);
         CREATE TABLE model_{number}.b (id bigint PRIMARY KEY, version bigint, name text);
         INSERT INTO model_{number}.a VALUES {}; INSERT INTO model_{number}.b VALUES {};
         CREATE FUNCTION model_{number}.through(id bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
             WHILE NOT pg_try_advisory_xact_lock_shared({number}) LOOP PERFORM pg_sleep(0.02); END LOOP;
             RETURN id; END $$;
         CREATE VIEW model_{number}.zz AS SELECT model_{number}.through(1) AS id, 0::bigint AS version",
        rows(Table::A),
        rows(Table::B)
    )
}
