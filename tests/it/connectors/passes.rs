//! Opens a session and collects what a pass says.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use tributary::connectors::documents::isolation::Parsers;
use tributary::connectors::erased::{DynConnector, Session};
use tributary::connectors::reading::{Message, Output, ReadRequest};
use tributary::connectors::{ConnectorError, RecordError, Resources, builtin};
use tributary::egress::{Dialer, Policy, Timeouts};
use tributary::record::{Document, RawRecord};

fn dialer() -> Dialer {
    Dialer::new(Policy::default(), Timeouts::default())
}

/// The connector of a source.
pub fn connector(source: &str) -> Arc<dyn DynConnector> {
    builtin().into_iter().find(|connector| connector.spec().short_name == source).expect("the source is built in")
}

/// A session without credentials that may read below one root.
pub fn open(source: &str, config: Value, root: &Path) -> Arc<dyn Session> {
    let connector = connector(source);
    let config = connector.config(config.as_object().expect("an object")).expect("a valid config");
    let parsers = Arc::new(Parsers::by(env!("CARGO_BIN_EXE_tributary").into()));
    let resources = Resources { dialer: Arc::new(dialer()), file_roots: Arc::from([root.to_owned()]), parsers };
    connector.open(Map::new(), config, resources).expect("a session")
}

/// What one pass said.
#[derive(Default)]
pub struct Pass {
    pub objects: Vec<(String, Option<u64>)>,
    pub started: Vec<String>,
    /// Records of each object by key.
    pub records: BTreeMap<String, BTreeMap<String, RawRecord>>,
    /// Documents by object and key.
    pub documents: BTreeMap<(String, String), Result<Document, RecordError>>,
    pub complete: BTreeMap<String, Option<u64>>,
    pub failed: BTreeMap<String, &'static str>,
    pub failed_records: BTreeMap<(String, String), &'static str>,
    pub outcome: Option<Result<(), ConnectorError>>,
}

impl Pass {
    /// The document of a key, which must be there.
    pub fn document(&self, object: &str, key: &str) -> &Document {
        let found = self.documents.get(&(object.to_owned(), key.to_owned()));
        let known: Vec<_> = self.documents.keys().collect();
        found.unwrap_or_else(|| panic!("no {object} {key} in {known:?}")).as_ref().expect("it decodes")
    }

    /// Keys of an object.
    pub fn keys(&self, object: &str) -> Vec<&str> {
        self.records.get(object).map(|records| records.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    /// How the decoding of a key failed.
    pub fn refusal(&self, object: &str, key: &str) -> &'static str {
        match &self.documents[&(object.to_owned(), key.to_owned())] {
            Ok(document) => panic!("{key} decodes: {document:?}"),
            Err(error) => error.code,
        }
    }
}

/// Runs a pass to its end and decodes everything.
pub async fn pass(session: &Arc<dyn Session>, request: ReadRequest) -> Pass {
    let (output, mut messages) = Output::channel(4);
    let reader = Arc::clone(session);
    let reading = tokio::spawn(async move { reader.read(request, output).await });
    let mut pass = Pass::default();
    while let Some(message) = messages.recv().await {
        match message {
            Message::Objects(scopes) => {
                assert!(pass.objects.is_empty() && pass.started.is_empty(), "the objects come first and once");
                pass.objects = scopes.into_iter().map(|scope| (scope.object.to_string(), scope.estimate)).collect();
            }
            Message::Started(scope) => pass.started.push(scope.object.to_string()),
            Message::Batch(batch) => {
                for record in batch.records {
                    let document = session.decode(&batch.object, &*batch.shape, &record);
                    let place = (batch.object.to_string(), record.source_key.clone());
                    assert!(pass.documents.insert(place, document).is_none(), "{} comes twice", record.source_key);
                    let object = pass.records.entry(batch.object.to_string()).or_default();
                    object.insert(record.source_key.clone(), record);
                }
            }
            Message::RecordFailed { object, source_key, code, .. } => {
                pass.failed_records.insert((object.to_string(), source_key), code);
            }
            Message::Complete { object, counted, .. } => {
                pass.complete.insert(object.to_string(), counted);
            }
            Message::Failed { object, code, .. } => {
                pass.failed.insert(object.to_string(), code);
            }
            Message::Waiting { .. } => panic!("files never ask for patience"),
            Message::Present { .. } | Message::Ask { .. } | Message::Unmoved { .. } => {
                panic!("nothing is known from before")
            }
        }
    }
    pass.outcome = Some(reading.await.expect("reading does not panic"));
    pass
}
