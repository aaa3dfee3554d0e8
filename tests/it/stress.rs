//! Many at once: of a thousand runs one starts, and whoever changes a connection
//! and whoever runs it never both win.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Barrier;
use tonic::Code;
use tonic_types::StatusExt as _;
use tributary::egress::Timeouts;
use tributary::server::Options;

use crate::support::grpc::{Client, methods};
use crate::support::postgres::{self, Database};
use crate::support::server::{ADMIN_KEY, Reply, Server, send};

/// The gate stays closed for as long as a thousand calls take.
fn patient() -> Options {
    Options { timeouts: Timeouts { first_byte: Duration::from_secs(600), ..Timeouts::default() }, ..Options::default() }
}

/// Two tables; a sync of either ends only while nobody holds the gate.
struct Gated {
    database: Database,
    gate: tokio_postgres::Client,
    server: Server,
    collection: String,
    connection: String,
}

impl Gated {
    async fn start() -> Self {
        let database = Database::create().await;
        let gate = database.connect().await;
        gate.batch_execute(
            "CREATE FUNCTION through(id int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM pg_advisory_xact_lock_shared(1); RETURN id; END $$;
             CREATE VIEW a AS SELECT through(1) AS id; CREATE VIEW b AS SELECT through(2) AS id",
        )
        .await
        .unwrap();
        let server = Server::start_with_options(|_| {}, patient).await;
        let collection = server.collection("Gated").await;
        let connection = server.postgres_connection(&collection, &database, config("a")).await;
        Self { database, gate, server, collection, connection }
    }

    async fn close(&self) {
        self.gate.batch_execute("SELECT pg_advisory_lock(1)").await.unwrap();
    }

    async fn open(&self) {
        self.gate.batch_execute("SELECT pg_advisory_unlock(1)").await.unwrap();
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/source-connections/{}{rest}", self.connection)
    }

    /// The connection without what a sync changes in it.
    async fn settings(&self) -> Value {
        let mut body = self.server.get(&self.path("")).await.ok();
        let connection = body["sourceConnection"].as_object_mut().unwrap();
        for of_syncs in ["status", "statusMessage", "currentSyncId", "lastSync"] {
            connection.remove(of_syncs);
        }
        body
    }

    async fn syncs(&self) -> Vec<Value> {
        let body = self.server.get(&self.path("/syncs?pageSize=1000")).await.ok();
        body["syncs"].as_array().unwrap().clone()
    }

    fn credentials(&self) -> Value {
        json!({
            "host": "127.0.0.1", "port": self.database.port, "database": self.database.name,
            "username": postgres::USER, "password": postgres::PASSWORD,
        })
    }
}

fn config(table: &str) -> Value {
    json!({"tables": [format!("public.{table}")]})
}

/// What a call of `run` came to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Ran {
    Started(String),
    /// Refused, with the sync that is on its way.
    Busy(String),
    Other(String),
}

impl Ran {
    fn of(reply: &Reply) -> Self {
        let busy = &reply.body["details"][0]["metadata"]["syncId"];
        match (reply.status, busy.as_str()) {
            (200, _) => Self::Started(reply.body["syncId"].as_str().unwrap().to_owned()),
            (409, Some(sync)) => Self::Busy(sync.to_owned()),
            _ => Self::Other(reply.text.clone()),
        }
    }

    fn of_grpc(reply: Result<Value, tonic::Status>) -> Self {
        let status = match reply {
            Ok(body) => return Self::Started(body["syncId"].as_str().unwrap().to_owned()),
            Err(status) => status,
        };
        let info = status.get_details_error_info();
        let busy = info.filter(|info| info.reason == "SYNC_IN_PROGRESS" && status.code() == Code::Aborted);
        match busy.and_then(|info| info.metadata.get("syncId").cloned()) {
            Some(sync) => Self::Busy(sync),
            None => Self::Other(status.to_string()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_runs_at_once_one_starts_and_the_others_change_nothing() {
    const OVER_HTTP_1: usize = 250;
    const OVER_HTTP_2: usize = 250;
    const OVER_GRPC: usize = 500;
    let gated = Gated::start().await;
    gated.close().await;
    let before = gated.settings().await;

    let all = Arc::new(Barrier::new(OVER_HTTP_1 + OVER_HTTP_2 + OVER_GRPC));
    let path = format!("{}{}", gated.server.base, gated.path("/run"));
    let http_1 = reqwest::Client::builder().http1_only().build().unwrap();
    let http_2 = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let mut runs = tokio::task::JoinSet::new();
    for number in 0..OVER_HTTP_1 + OVER_HTTP_2 {
        let client = if number < OVER_HTTP_1 { &http_1 } else { &http_2 };
        let (request, all) = (client.post(&path).bearer_auth(ADMIN_KEY).json(&json!({})), all.clone());
        runs.spawn(async move {
            all.wait().await;
            Ran::of(&send(request).await)
        });
    }
    let grpc = Arc::new(Client::connect(&gated.server.base).await);
    let method = methods().into_iter().find(|method| method.name() == "RunSourceConnection").unwrap();
    for _ in 0..OVER_GRPC {
        let (grpc, method, all) = (grpc.clone(), method.clone(), all.clone());
        let request = json!({"id": gated.connection});
        runs.spawn(async move {
            all.wait().await;
            Ran::of_grpc(grpc.call(&method, &request, Some(ADMIN_KEY)).await)
        });
    }
    let mut counted: BTreeMap<Ran, usize> = BTreeMap::new();
    for ran in runs.join_all().await {
        *counted.entry(ran).or_default() += 1;
    }

    let syncs = gated.syncs().await;
    assert_eq!(syncs.len(), 1, "{syncs:#?}");
    let sync = syncs[0]["id"].as_str().unwrap().to_owned();
    let wanted = BTreeMap::from([(Ran::Started(sync.clone()), 1), (Ran::Busy(sync.clone()), 999)]);
    assert_eq!(counted, wanted);
    assert_eq!(gated.settings().await, before);

    gated.open().await;
    assert_eq!(gated.server.finished(&sync).await["status"], "succeeded");
    assert_eq!(gated.server.items(&gated.collection).await.len(), 1);
}

/// Either the change came first, and the sync works with it; or the sync came
/// first, and the change was refused and changed nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_and_a_run_at_once_never_both_win() {
    let mut gated = Gated::start().await;
    let (mut runs_won, mut changes_won) = (0, 0);
    let mut table = "a";
    for round in 0..40 {
        gated.close().await;
        let other = if table == "a" { "b" } else { "a" };
        let (of_config, of_credentials) = match round % 3 {
            0 => (true, false),
            1 => (false, true),
            _ => (true, true),
        };
        let before = gated.settings().await;
        let change_config = async {
            let body = json!({"config": config(other)});
            if of_config { Some(gated.server.put(&gated.path("/config"), body).await) } else { None }
        };
        let change_credentials = async {
            let body = json!({"credentials": gated.credentials()});
            if of_credentials { Some(gated.server.put(&gated.path("/credentials"), body).await) } else { None }
        };
        let run = async {
            // Who is first is up to chance, once each has had a head start.
            for _ in 0..round % 5 {
                tokio::task::yield_now().await;
            }
            Ran::of(&gated.server.post(&gated.path("/run"), json!({})).await)
        };
        let (config_changed, credentials_changed, ran) = tokio::join!(change_config, change_credentials, run);
        let Ran::Started(sync) = ran else { panic!("nothing else runs: {ran:?}") };
        let mut refused = 0;
        for reply in [&config_changed, &credentials_changed].into_iter().flatten() {
            if reply.status != 200 {
                assert_eq!(Ran::of(reply), Ran::Busy(sync.clone()), "{}", reply.text);
                refused += 1;
            }
        }
        let after = gated.settings().await;
        let changes = usize::from(of_config) + usize::from(of_credentials);
        assert_eq!(after == before, refused == changes, "{before:#}\n{after:#}");
        if config_changed.is_some_and(|reply| reply.status == 200) {
            table = other;
        }
        assert_eq!(after["sourceConnection"]["config"]["tables"], config(table)["tables"]);
        gated.open().await;
        let ended = gated.server.finished(&sync).await;
        let objects = &ended["progress"]["objects"];
        let read: Vec<_> = objects.as_array().unwrap().iter().map(|object| &object["path"]).collect();
        assert_eq!(read, [&config(table)["tables"][0]], "the sync works with the config that stands: {ended:#}");
        if refused == changes { runs_won += 1 } else { changes_won += 1 }
    }
    println!("a change was first {changes_won} times, a run {runs_won} times");

    for round in 0..20 {
        gated.close().await;
        let path = gated.path("?deleteData=true");
        let delete = async {
            for _ in 0..round % 5 {
                tokio::task::yield_now().await;
            }
            gated.server.delete(&path).await
        };
        let run_path = gated.path("/run");
        let run = gated.server.post(&run_path, json!({}));
        let (deleted, run) = tokio::join!(delete, run);
        match (deleted.status, run.status) {
            // The run was first.
            (409, 200) => {
                let Ran::Started(sync) = Ran::of(&run) else { panic!("{}", run.text) };
                assert_eq!(Ran::of(&deleted), Ran::Busy(sync.clone()));
                gated.open().await;
                assert_eq!(gated.server.finished(&sync).await["status"], "succeeded");
                assert_eq!(gated.server.items(&gated.collection).await.len(), 1);
            }
            // The delete was first.
            (200, 409 | 404) => {
                gated.open().await;
                gated.server.get(&gated.path("")).await.error(404, "not_found");
                assert!(gated.server.items(&gated.collection).await.is_empty());
                gated.connection =
                    gated.server.postgres_connection(&gated.collection, &gated.database, config("a")).await;
            }
            _ => panic!("both won: {} {}", deleted.text, run.text),
        }
    }
}
