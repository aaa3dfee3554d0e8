//! The mail source against Dovecot.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tributary::connectors::documents::isolation::Parsers;
use tributary::connectors::erased::Session;
use tributary::connectors::loading;
use tributary::connectors::reading::{Known, Message, Output, Reached, ReadRequest, Rest};
use tributary::connectors::{ConnectorError, Resources};
use tributary::egress::{Dialer, Policy, Timeouts};
use tributary::record::{Batch, Document};
use tributary::report::{Outcome, Report, StageKind};

use super::passes::connector;
use crate::support::dovecot::{Dovecot, USER, message};

const PASSWORD: &str = "the-password-of-a-mail-account";

fn open(port: u16, password: &str, config: Value) -> Arc<dyn Session> {
    let connector = connector("imap");
    let credentials = json!({"host": "127.0.0.1", "port": port, "username": USER, "password": password});
    let credentials = connector.credentials(credentials.as_object().unwrap()).expect("valid credentials");
    let config = connector.config(config.as_object().unwrap()).expect("a valid config");
    let dialer = Dialer::new(Policy { local_allowed: true, ..Policy::default() }, Timeouts::default());
    let parsers = Arc::new(Parsers::by(env!("CARGO_BIN_EXE_tributary").into()));
    let resources = Resources { dialer: Arc::new(dialer), file_roots: Arc::from([]), parsers };
    connector.open(credentials, config, resources).expect("a session")
}

/// What one pass said of its objects.
#[derive(Default)]
struct Said {
    objects: Vec<String>,
    documents: BTreeMap<(String, String), Document>,
    positions: BTreeMap<String, Value>,
    present: BTreeMap<String, usize>,
    unmoved: Vec<String>,
    rest: BTreeMap<String, Rest>,
    marks: BTreeMap<String, Value>,
    failed: BTreeMap<String, &'static str>,
}

impl Said {
    fn titles(&self, object: &str) -> Vec<&str> {
        let of = |(place, _): &(&(String, String), &Document)| place.0 == object;
        self.documents.iter().filter(of).map(|(_, document)| document.title.as_str()).collect()
    }

    /// What the next pass knows, where the index has so many records of each object.
    fn known(&self, records: u64) -> BTreeMap<String, Known> {
        let known = |mark: &Value| Known { mark: mark.clone(), records, proved_at: 0 };
        self.marks.iter().map(|(object, mark)| (object.clone(), known(mark))).collect()
    }
}

async fn pass(session: &Arc<dyn Session>, request: ReadRequest) -> Said {
    let (output, mut messages) = Output::channel(4);
    let reader = Arc::clone(session);
    let reading = tokio::spawn(async move { reader.read(request, output).await });
    let mut said = Said::default();
    while let Some(message) = messages.recv().await {
        match message {
            Message::Objects(scopes) => said.objects = scopes.iter().map(|scope| scope.object.to_string()).collect(),
            Message::Batch(batch) => {
                assert!(batch.records.len() <= 1_000, "a batch of {}", batch.records.len());
                let Batch { object, records, shape, position, .. } = batch;
                said.positions.extend(position.map(|position| (object.to_string(), position)));
                let decoded = loading::documents(session, &object, &shape, records).await.expect("it is brought");
                for (record, document) in decoded {
                    let document = document.expect("it decodes");
                    let place = (object.to_string(), record.source_key.clone());
                    assert!(said.documents.insert(place, document).is_none(), "{} comes twice", record.source_key);
                }
            }
            Message::Present { object, source_keys } => {
                *said.present.entry(object.to_string()).or_default() += source_keys.len();
            }
            Message::Unmoved { object, mark, .. } => {
                said.unmoved.push(object.to_string());
                said.marks.insert(object.to_string(), mark);
            }
            Message::Complete { object, rest, mark, .. } => {
                said.rest.insert(object.to_string(), rest);
                said.marks.extend(mark.map(|mark| (object.to_string(), mark)));
            }
            Message::Failed { object, code, .. } => drop(said.failed.insert(object.to_string(), code)),
            Message::Ask { answer, .. } => drop(answer.send(Reached::default())),
            Message::Started(_) => {}
            Message::RecordFailed { source_key, code, .. } => panic!("{source_key}: {code}"),
            Message::Waiting { reason, .. } => panic!("{reason}"),
        }
    }
    reading.await.expect("reading does not panic").expect("the pass ends well");
    said
}

fn plain(config: Value) -> Value {
    let mut whole = json!({"security": "plain"});
    whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    whole
}

async fn checked(port: u16, password: &str, config: Value) -> (Result<(), ConnectorError>, Report) {
    let mut report = Report::default();
    let outcome = open(port, password, config).check(&mut report).await;
    (outcome, report)
}

fn failure(report: &Report) -> Option<(StageKind, &'static str)> {
    let failed = report.stages.iter().find(|stage| stage.outcome == Outcome::Failed)?;
    Some((failed.kind, failed.code.unwrap_or_default()))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_protect_the_connection_is_taken_and_no_other() {
    let server = Dovecot::start(PASSWORD).await;
    server.append("INBOX", &[message("A tent")]).await;
    let root = server.certificates.root();
    for (port, security) in [(server.tls_port, "tls"), (server.port, "startTls"), (server.port, "plain")] {
        let config = json!({"security": security, "rootCertificate": root});
        let (outcome, report) = checked(port, PASSWORD, config.clone()).await;
        assert!(outcome.is_ok() && report.passed(), "{security}: {report:?}");
        let read = report.stages.iter().find(|stage| stage.kind == StageKind::Read).expect("a message was read");
        assert_eq!(read.object.as_deref(), Some("INBOX"));
        let said = pass(&open(port, PASSWORD, config), ReadRequest::default()).await;
        assert_eq!(said.titles("INBOX"), ["A tent"], "{security}");
    }
    for (port, security) in [(server.tls_port, "tls"), (server.port, "startTls")] {
        let (outcome, report) = checked(port, PASSWORD, json!({"security": security})).await;
        assert!(matches!(outcome, Err(ConnectorError::Unreachable { code: "tls_failed", .. })), "{security}");
        assert_eq!(failure(&report), Some((StageKind::Tls, "tls_failed")), "{security}: not our authority");
    }
    let (_, report) = checked(server.port, PASSWORD, json!({"security": "tls", "rootCertificate": root})).await;
    assert_eq!(failure(&report), Some((StageKind::Tls, "tls_failed")), "{report:?}");
    let (outcome, report) = checked(server.port, "another", plain(json!({}))).await;
    assert!(matches!(outcome, Err(ConnectorError::LoginRefused(_))));
    assert_eq!(failure(&report), Some((StageKind::Login, "login_refused")));
    let token = plain(json!({"authentication": "xoauth2"}));
    assert_eq!(failure(&checked(server.port, PASSWORD, token).await.1), Some((StageKind::Login, "login_refused")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_becomes_a_document_and_stays_unread() {
    let server = Dovecot::start(PASSWORD).await;
    let parts = std::fs::read_to_string("tests/corpus/eml/parts.eml").unwrap().replace("\r\n", "\n");
    let large = format!("{}{}", message("A large letter"), "a line of it\n".repeat(20_000));
    server.append("INBOX", &[parts, large, "no header at all\n".to_owned()]).await;
    let template = "https://mail.example.org/{{ mailbox }}/{{ uid }}";
    let config = plain(json!({"maxMessageSize": 100_000, "urlTemplate": template}));
    let said = pass(&open(server.port, PASSWORD, config), ReadRequest::default()).await;
    let keys: Vec<&(String, String)> = said.documents.keys().collect();
    let [first, second, third] = keys[..] else { panic!("{keys:?}") };
    let document = &said.documents[first];
    assert_eq!((document.title.as_str(), document.kind.as_str()), ("Größe der Zelte", "message"));
    assert!(document.body.contains("Zelt für 20 €") && document.body.contains("size: small, price: 12"));
    assert_eq!(document.created_at, Some(1_709_287_200_000_000));
    assert!(document.updated_at > document.created_at, "it came later");
    assert_eq!(document.url.as_deref(), Some("https://mail.example.org/INBOX/1"));
    assert_eq!(document.metadata["messageId"], "1@example.org");
    assert_eq!((&document.metadata["mailbox"], &document.metadata["uid"]), (&json!("INBOX"), &json!(1)));
    let document = &said.documents[second];
    assert_eq!((document.title.as_str(), &document.metadata["extracted"]), ("A large letter", &json!(false)));
    assert!(!document.body.contains("a line of it"), "only the header of a large message is read");
    assert_eq!(said.documents[third].title, "(no subject)");
    assert!(!server.has_seen("INBOX").await, "reading marks nothing as seen");

    let without = plain(json!({"attachments": false}));
    let said = pass(&open(server.port, PASSWORD, without), ReadRequest::default()).await;
    let body = &said.documents[first].body;
    assert!(body.contains("sizes.csv") && !body.contains("price: 12"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_new_is_fetched_and_only_what_is_listed_no_more_is_gone() {
    let server = Dovecot::start(PASSWORD).await;
    server.create(&["Archive"]).await;
    server.append("INBOX", &[message("1"), message("2"), message("3")]).await;
    let session = open(server.port, PASSWORD, plain(json!({})));
    let first = pass(&session, ReadRequest::default()).await;
    assert_eq!(first.titles("INBOX"), ["1", "2", "3"]);
    assert_eq!(first.rest["INBOX"], Rest::Gone);

    let with = |said: &Said| ReadRequest { known: said.known(3), ..ReadRequest::default() };
    let same = pass(&session, with(&first)).await;
    assert_eq!((same.unmoved.len(), same.documents.len()), (2, 0), "nothing is read where nothing changed");

    server.append("INBOX", &[message("4")]).await;
    let grown = pass(&session, with(&first)).await;
    assert_eq!((grown.titles("INBOX"), grown.rest["INBOX"]), (vec!["4"], Rest::Unmoved));
    assert_eq!(grown.present.get("INBOX"), None, "the others need not be listed");

    server.append("INBOX", &[message("5")]).await;
    server.remove("INBOX", "2").await;
    let mixed = pass(&session, with(&grown)).await;
    assert_eq!((mixed.titles("INBOX"), mixed.rest["INBOX"]), (vec!["5"], Rest::Gone));
    assert_eq!(mixed.present["INBOX"], 3, "1, 3 and 4 are there, and 2 is not");

    let mut client = server.client().await;
    client.delete("Archive").await.unwrap();
    client.create("Archive").await.unwrap();
    server.append("Archive", &[message("of another Archive")]).await;
    let other = pass(&session, with(&mixed)).await;
    assert_eq!(other.titles("Archive"), ["of another Archive"]);
    assert_eq!((other.rest["Archive"], other.present.get("Archive")), (Rest::Gone, None), "its numbers are new");
    assert_eq!(other.unmoved, ["INBOX"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_goes_on_behind_its_last_position() {
    let server = Dovecot::start(PASSWORD).await;
    let messages: Vec<String> = (1..=250).map(|number| message(&format!("{number:03}"))).collect();
    server.append("INBOX", &messages).await;
    let session = open(server.port, PASSWORD, plain(json!({})));
    let request = |positions| ReadRequest { positions: Some(positions), ..ReadRequest::default() };
    let whole = pass(&session, request(BTreeMap::new())).await;
    assert_eq!(whole.documents.len(), 250);
    let mut position = whole.positions["INBOX"].clone();
    assert_eq!(position["after"], 250);
    position["after"] = json!(100);
    let rest = pass(&session, request(BTreeMap::from([("INBOX".to_owned(), position.clone())]))).await;
    assert_eq!((rest.documents.len(), rest.present["INBOX"], rest.rest["INBOX"]), (150, 100, Rest::Gone));
    position["validity"] = json!(1);
    let other = pass(&session, request(BTreeMap::from([("INBOX".to_owned(), position)]))).await;
    assert_eq!(other.documents.len(), 250, "a position of other numbers is none");
    let sample = pass(&session, ReadRequest { sample: Some(1), ..ReadRequest::default() }).await;
    assert_eq!((sample.titles("INBOX"), sample.rest.len()), (vec!["250"], 0), "a sample proves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_and_days_are_chosen_by_the_config() {
    let server = Dovecot::start(PASSWORD).await;
    server.create(&["Archive/2024", "Entw&APw-rfe", "Trash"]).await;
    let mut client = server.client().await;
    for (day, subject) in [("30-Dec-2023", "old"), ("01-Jan-2024", "new")] {
        let date = format!("\"{day} 12:00:00 +0000\"");
        client.append("Entw&APw-rfe", None, Some(&date), message(subject).replace('\n', "\r\n")).await.unwrap();
    }
    let config =
        json!({"folders": ["Entwürfe", "Archive/*", "T*"], "excludeFolders": ["Trash"], "since": "2024-01-01"});
    let session = open(server.port, PASSWORD, plain(config));
    let said = pass(&session, ReadRequest::default()).await;
    assert_eq!(said.objects, ["Archive/2024", "Entwürfe"]);
    assert_eq!(said.titles("Entwürfe"), ["new"]);
    assert!(session.selects("Archive/2023") && !session.selects("Trash") && !session.selects("INBOX"));
    let page = tributary::connectors::ObjectPage { after: None, limit: 100 };
    let level = session.discover(None, page).await.unwrap();
    let shown: Vec<_> =
        level.iter().map(|object| (object.path.as_str(), object.has_children, object.selected)).collect();
    assert_eq!(
        shown,
        [("Archive", true, false), ("Entwürfe", false, true), ("INBOX", false, false), ("Trash", false, false)]
    );
    assert!(matches!(session.discover(Some("Nowhere"), page).await, Err(ConnectorError::Invalid { .. })));
}
