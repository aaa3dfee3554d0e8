//! A source whose content is brought later: in order, within the room, and with
//! failures told apart.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Map;

use super::{AT_ONCE, Budget, LoadError, documents};
use crate::connectors::documents::isolation::Parsers;
use crate::connectors::erased::{DynConnector, Session};
use crate::connectors::reading::{Output, ReadRequest};
use crate::connectors::{
    Account, AuthMethod, Connector, ConnectorError, ObjectPage, RecordError, Resources, SourceObject, Spec,
};
use crate::egress::{Dialer, Policy, Timeouts};
use crate::record::{Document, Fingerprint, RawRecord};
use crate::report::Report;

const UNIT: u64 = super::UNIT;

/// Loads what the key says: `ok:3` is content of three units.
#[derive(Default)]
struct Scripted {
    loading: AtomicU64,
    most: AtomicU64,
    held: AtomicU64,
    most_held: AtomicU64,
}

#[derive(serde::Deserialize)]
struct Nothing {}

#[async_trait]
impl Connector for Scripted {
    type Credentials = Nothing;
    type Config = Nothing;
    type Shape = ();

    fn spec(&self) -> Spec {
        Spec {
            short_name: "scripted",
            name: "Scripted",
            description: "Loads what its keys say",
            auth_methods: &[AuthMethod::None],
            labels: &[],
            supports_continuous: false,
            auth_fields: Vec::new(),
            config_fields: Vec::new(),
            mapper_version: 1,
        }
    }

    fn selects(&self, _config: &Nothing, _object: &str) -> bool {
        true
    }

    async fn check(&self, _account: &Account<Self>, _report: &mut Report) -> Result<(), ConnectorError> {
        Ok(())
    }

    async fn discover(
        &self,
        _account: &Account<Self>,
        _parent: Option<&str>,
        _page: ObjectPage<'_>,
    ) -> Result<Vec<SourceObject>, ConnectorError> {
        Ok(Vec::new())
    }

    async fn read(&self, _: &Account<Self>, _: ReadRequest, _: Output) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn content_size(&self, _account: &Account<Self>, _shape: &(), record: &RawRecord) -> Option<u64> {
        let (_, units) = record.source_key.split_once(':')?;
        Some(units.parse::<u64>().unwrap() * UNIT)
    }

    async fn load(
        &self,
        account: &Account<Self>,
        _object: &str,
        shape: &(),
        record: RawRecord,
    ) -> Result<RawRecord, LoadError> {
        let size = self.content_size(account, shape, &record).unwrap();
        self.most.fetch_max(self.loading.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        self.most_held.fetch_max(self.held.fetch_add(size, Ordering::SeqCst) + size, Ordering::SeqCst);
        // Later ones are done earlier.
        tokio::time::sleep(Duration::from_millis(20 - size.min(15 * UNIT) / UNIT)).await;
        self.loading.fetch_sub(1, Ordering::SeqCst);
        match record.source_key.split_once(':').unwrap().0 {
            "gone" => Err(RecordError { code: "gone", message: String::new() }.into()),
            "down" => Err(ConnectorError::Throttled { retry_after: Duration::from_secs(7) }.into()),
            "panics" => panic!("on purpose"),
            _ => Ok(RawRecord { payload: Bytes::from(vec![b'x'; 8]), ..record }),
        }
    }

    fn decode(&self, account: &Account<Self>, _: &str, _: &(), record: &RawRecord) -> Result<Document, RecordError> {
        if let Some(size) = self.content_size(account, &(), record) {
            assert_eq!(record.payload.len(), 8);
            self.held.fetch_sub(size, Ordering::SeqCst);
        }
        Ok(Document { title: record.source_key.clone(), ..Document::default() })
    }
}

fn session(units: u64) -> (Arc<Scripted>, Arc<dyn Session>) {
    let connector = Arc::new(Scripted::default());
    let resources = Resources {
        dialer: Arc::new(Dialer::new(Policy::default(), Timeouts::default())),
        file_roots: Arc::from([]),
        parsers: Arc::new(Parsers::default().with_budget(Budget::of(units * UNIT))),
    };
    let session = connector.clone().open(Map::new(), Map::new(), resources).unwrap();
    (connector, session)
}

fn records(keys: &[&str]) -> Vec<RawRecord> {
    let record = |key: &&str| RawRecord {
        source_key: (*key).to_owned(),
        fingerprint: Fingerprint::of(key.as_bytes()),
        payload: Bytes::new(),
    };
    keys.iter().map(record).collect()
}

async fn outcome(session: &Arc<dyn Session>, keys: &[&str]) -> Result<Vec<String>, ConnectorError> {
    let shape: Arc<dyn Any + Send + Sync> = Arc::new(());
    let documents = documents(session, &Arc::from("o"), &shape, records(keys)).await?;
    let said = |(record, document): (RawRecord, Result<Document, RecordError>)| {
        assert!(record.payload.is_empty());
        document.map_or_else(|error| error.code.to_owned(), |document| document.title)
    };
    Ok(documents.into_iter().map(said).collect())
}

#[tokio::test]
async fn content_comes_in_order_a_few_at_once_and_a_failure_costs_its_record() {
    let (connector, session) = session(100);
    let keys = ["ok:1", "plain", "gone:9", "ok:2", "panics:1", "ok:3", "ok:4", "ok:5", "ok:6"];
    let said = outcome(&session, &keys).await.unwrap();
    assert_eq!(said, ["ok:1", "plain", "gone", "ok:2", "undecodable", "ok:3", "ok:4", "ok:5", "ok:6"]);
    let most = connector.most.load(Ordering::SeqCst);
    assert!(most > 1 && most <= AT_ONCE as u64, "{most}");
}

#[tokio::test]
async fn a_source_that_fails_ends_the_batch() {
    let (_, session) = session(100);
    let ended = outcome(&session, &["ok:1", "down:1", "ok:1"]).await;
    assert!(matches!(ended, Err(ConnectorError::Throttled { retry_after }) if retry_after.as_secs() == 7));
}

#[tokio::test]
async fn batches_share_the_room_and_never_wait_for_each_other() {
    let (connector, session) = session(10);
    let keys = ["ok:2", "ok:9", "ok:1", "ok:7", "ok:7", "ok:3", "ok:10"];
    let batches = futures::future::join_all((0..5).map(|_| outcome(&session, &keys)));
    for said in tokio::time::timeout(Duration::from_secs(30), batches).await.expect("no batch waits for ever") {
        assert_eq!(said.unwrap(), keys);
    }
    assert!(connector.most_held.load(Ordering::SeqCst) <= 10 * UNIT);
}

#[tokio::test]
async fn what_is_larger_than_all_the_room_comes_alone() {
    let budget = Budget::of(10 * UNIT);
    let all = budget.reserve(1_000 * UNIT).await;
    assert!(tokio::time::timeout(Duration::from_millis(20), budget.reserve(1)).await.is_err());
    drop(all);
    budget.reserve(1).await;
}
