//! The PostgreSQL source against a real server.

mod reading;
mod rights;
mod settings;
mod testing;
mod tls;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tributary::connectors::erased::{DynConnector, Session};
use tributary::connectors::postgresql::PostgreSql;
use tributary::connectors::reading::{Message, Output, ReadRequest, Scope};
use tributary::connectors::{ConnectorError, Resources};
use tributary::egress::{Dialer, Policy, Timeouts};
use tributary::record::{Document, RawRecord};

use crate::support::postgres::{Database, PASSWORD, USER};

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("not an object: {other}"),
    }
}

fn resources(timeouts: Timeouts) -> Resources {
    let policy = Policy { local_allowed: true, ..Policy::default() };
    Resources { dialer: Arc::new(Dialer::new(policy, timeouts)), file_roots: Arc::new([]), parsers: Arc::default() }
}

/// The five fields of a login to a database.
pub fn credentials(database: &Database) -> Value {
    json!({
        "host": "127.0.0.1", "port": database.port, "database": database.name, "username": USER, "password": PASSWORD,
    })
}

/// A session with these settings.
pub fn open(credentials: Value, config: Value) -> Arc<dyn Session> {
    open_with(credentials, config, Timeouts::default())
}

fn open_with(credentials: Value, config: Value, timeouts: Timeouts) -> Arc<dyn Session> {
    let connector = Arc::new(PostgreSql);
    let config = DynConnector::config(&*connector, &object(config)).expect("the config is valid");
    connector.open(object(credentials), config, resources(timeouts)).expect("the settings fit")
}

/// One object as a pass told of it.
#[derive(Default)]
struct Read {
    documents: BTreeMap<String, Document>,
    fingerprints: BTreeMap<String, u128>,
    counted: Option<u64>,
    complete: bool,
    failed: Option<&'static str>,
    failed_records: Vec<&'static str>,
}

impl Read {
    fn only(&self) -> &Document {
        assert_eq!(self.documents.len(), 1);
        self.documents.values().next().unwrap()
    }

    fn keys(&self) -> Vec<&str> {
        self.documents.keys().map(String::as_str).collect()
    }
}

struct Pass {
    objects: Vec<Scope>,
    read: BTreeMap<String, Read>,
    outcome: Result<(), ConnectorError>,
}

async fn read_with(session: &Arc<dyn Session>, request: ReadRequest) -> Pass {
    let (output, mut messages) = Output::channel(4);
    let reader = tokio::spawn({
        let session = session.clone();
        async move { session.read(request, output).await }
    });
    let mut objects = Vec::new();
    let mut read: BTreeMap<String, Read> = BTreeMap::new();
    while let Some(message) = messages.recv().await {
        match message {
            Message::Objects(scopes) => objects = scopes,
            Message::Started(scope) => drop(read.entry(scope.object.to_string()).or_default()),
            Message::Batch(batch) => {
                let into = read.get_mut(&*batch.object).expect("the object has started");
                for record in &batch.records {
                    let RawRecord { source_key, fingerprint, .. } = record;
                    let document = session.decode(&batch.object, &*batch.shape, record).expect("it decodes");
                    let earlier = into.documents.insert(source_key.clone(), document);
                    assert!(earlier.is_none(), "the key {source_key} came twice");
                    into.fingerprints.insert(source_key.clone(), fingerprint.0);
                }
            }
            Message::RecordFailed { object, code, .. } => {
                read.get_mut(&*object).expect("the object has started").failed_records.push(code);
            }
            Message::Complete { object, counted, .. } => {
                let into = read.get_mut(&*object).expect("the object has started");
                (into.complete, into.counted) = (true, counted);
            }
            Message::Failed { object, code, .. } => {
                read.get_mut(&*object).expect("the object has started").failed = Some(code);
            }
            Message::Waiting { .. } => {}
            Message::Present { .. } | Message::Ask { .. } | Message::Unmoved { .. } => {
                panic!("nothing is known from before")
            }
        }
    }
    Pass { objects, read, outcome: reader.await.expect("the reader ends") }
}

async fn read(database: &Database, config: Value) -> Pass {
    let pass = read_with(&open(credentials(database), config), ReadRequest::default()).await;
    if let Err(error) = &pass.outcome {
        panic!("{error}: {:?}", std::error::Error::source(error));
    }
    pass
}

/// A database after these statements.
async fn database(statements: &str) -> Database {
    let database = Database::create().await;
    database.connect().await.batch_execute(statements).await.expect("the statements are right");
    database
}
