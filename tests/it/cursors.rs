//! Only what changed is read, and no change can hide behind that: sessions read
//! into a mirror, which does with the messages what a sync does with its index.

mod mysql;
mod postgresql;
mod sqlite;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tributary::connectors::ConnectorError;
use tributary::connectors::erased::Session;
use tributary::connectors::reading::{Known, Message, Output, Reached, ReadRequest, Rest};

/// What an index has, and what the last pass left.
struct Mirror {
    session: Arc<dyn Session>,
    /// Fingerprints by object and key.
    rows: BTreeMap<String, BTreeMap<String, u128>>,
    known: BTreeMap<String, Known>,
}

/// What a pass said.
#[derive(Default)]
struct Told {
    /// Keys of the rows that were read, by object.
    read: BTreeMap<String, BTreeSet<String>>,
    present: BTreeMap<String, BTreeSet<String>>,
    rest: BTreeMap<String, Rest>,
    unmoved: BTreeSet<String>,
    /// Of the last batch of each object.
    positions: BTreeMap<String, Value>,
    batches: usize,
    bytes: u64,
    failed: BTreeMap<String, &'static str>,
}

impl Told {
    fn read(&self, object: &str) -> Vec<&str> {
        self.read.get(object).map(|keys| keys.iter().map(String::as_str).collect()).unwrap_or_default()
    }
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

impl Mirror {
    fn of(session: Arc<dyn Session>) -> Self {
        Self { session, rows: BTreeMap::new(), known: BTreeMap::new() }
    }

    /// A sync after the first.
    async fn sync(&mut self) -> Told {
        let request = ReadRequest { known: self.known.clone(), ..ReadRequest::default() };
        self.take(request, usize::MAX).await.unwrap()
    }

    /// A sync, and the proof that the mirror then has what the source has.
    async fn exact_sync(&mut self) -> Told {
        let told = self.sync().await;
        self.assert_exact().await;
        told
    }

    /// An attempt of the first sync that breaks off after so many batches, going
    /// on from where another broke off.
    async fn attempt(&mut self, positions: BTreeMap<String, Value>, batches: usize) -> Told {
        let request = ReadRequest { positions: Some(positions), ..ReadRequest::default() };
        self.take(request, batches).await.unwrap()
    }

    async fn assert_exact(&self) {
        let mut other = Self::of(self.session.clone());
        other.take(ReadRequest::default(), usize::MAX).await.unwrap();
        assert_eq!(self.rows, other.rows);
    }

    async fn take(&mut self, request: ReadRequest, batches: usize) -> Result<Told, ConnectorError> {
        let (output, mut messages) = Output::channel(1);
        let session = self.session.clone();
        let reader = tokio::spawn(async move { session.read(request, output).await });
        let mut told = Told::default();
        let before = self.rows.clone();
        let had = |object: &str, key: &str| before.get(object).is_some_and(|rows| rows.contains_key(key));
        while told.batches < batches
            && let Some(message) = messages.recv().await
        {
            match message {
                Message::Objects(_) => {}
                Message::Started(scope) => {
                    told.read.insert(scope.object.to_string(), BTreeSet::new());
                    self.rows.entry(scope.object.to_string()).or_default();
                }
                Message::Batch(batch) => {
                    told.batches += 1;
                    told.bytes += batch.bytes_read;
                    let object = batch.object.to_string();
                    if let Some(position) = batch.position {
                        told.positions.insert(object.clone(), position);
                    }
                    for record in batch.records {
                        let is_new = told.read.get_mut(&object).unwrap().insert(record.source_key.clone());
                        assert!(is_new, "{} came twice", record.source_key);
                        self.rows.get_mut(&object).unwrap().insert(record.source_key, record.fingerprint.0);
                    }
                }
                Message::Present { object, source_keys } => {
                    told.present.entry(object.to_string()).or_default().extend(source_keys);
                }
                Message::Ask { object, answer } => {
                    let known = before.get(&*object).map_or(0, BTreeMap::len) as u64;
                    let new = told.read[&*object].iter().filter(|key| !had(&object, key)).count() as u64;
                    answer.send(Reached { known, new }).unwrap();
                }
                Message::Unmoved { object, records, mark } => {
                    assert_eq!(records, self.rows[&*object].len() as u64);
                    self.known.insert(object.to_string(), Known { mark, records, proved_at: now() });
                    told.unmoved.insert(object.to_string());
                }
                Message::Complete { object, counted, rest, mark } => {
                    let object = object.to_string();
                    let present = told.present.get(&object).cloned().unwrap_or_default();
                    let rows = self.rows.get_mut(&object).unwrap();
                    if matches!(rest, Rest::Gone | Rest::Listed) {
                        rows.retain(|key, _| told.read[&object].contains(key) || present.contains(key));
                    }
                    let records = rows.len() as u64;
                    if rest != Rest::Unknown {
                        assert!(counted.is_none_or(|counted| counted == records), "{object}: {counted:?} {records}");
                    }
                    let proved_before = self.known.get(&object).map_or(0, |known| known.proved_at);
                    let is_proof = matches!(rest, Rest::Gone | Rest::Unmoved);
                    let proved_at = if is_proof { now() } else { proved_before };
                    match mark {
                        Some(mark) => drop(self.known.insert(object.clone(), Known { mark, records, proved_at })),
                        None => drop(self.known.remove(&object)),
                    }
                    told.rest.insert(object, rest);
                }
                Message::Failed { object, code, .. } => drop(told.failed.insert(object.to_string(), code)),
                Message::RecordFailed { source_key, code, .. } => panic!("{source_key}: {code}"),
                Message::Waiting { reason, .. } => panic!("{reason}"),
            }
        }
        let is_broken_off = told.batches >= batches;
        drop(messages);
        let outcome = reader.await.expect("reading does not panic");
        if is_broken_off { Ok(told) } else { outcome.map(|()| told) }
    }
}
