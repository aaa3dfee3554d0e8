//! A session that is logged in: resolve, connect, TLS, login, each noted in a report.
//!
//! It speaks to the one server that the credentials name. Other members that a server
//! tells of are not spoken to.

use std::time::{Duration, Instant};

use bson::raw::RawDocument;
use bson::spec::BinarySubtype;
use bson::{Binary, Document, doc};
use secrecy::ExposeSecret;

use super::MongoDb;
use super::failure::Failure;
use super::scram::Login;
use super::wire::{Answer, Wire};
use crate::connectors::link::{self, Way};
use crate::connectors::{Account, ConnectorError};
use crate::report::{Report, StageKind};

/// Answers that bring nothing, of one cursor in a row.
const MOST_EMPTY: usize = 100;

/// A session that is logged in. Gone when dropped.
pub(super) struct Session {
    wire: Wire,
}

impl Session {
    /// Asks a database something, of a secondary too.
    pub(super) async fn ask(&mut self, database: &str, mut command: Document) -> Result<Answer, Failure> {
        command.insert("$readPreference", doc! {"mode": "primaryPreferred"});
        self.wire.ask(database, command).await
    }

    /// Begins a cursor.
    pub(super) async fn begin(&mut self, database: &str, command: Document) -> Result<Cursor, Failure> {
        let answer = self.ask(database, command).await?;
        Ok(Cursor { database: database.to_owned(), answer, empty: 0 })
    }
}

/// A cursor, with the batch that it gave last.
pub(super) struct Cursor {
    database: String,
    answer: Answer,
    empty: usize,
}

impl Cursor {
    /// The last batch.
    pub(super) fn documents(&self) -> Result<impl Iterator<Item = Result<&RawDocument, Failure>>, Failure> {
        self.answer.batch().map(|batch| batch.documents())
    }

    /// Brings the next batch; none at the end. The one before is let go of first.
    pub(super) async fn next(
        self,
        session: &mut Session,
        collection: &str,
        size: i32,
    ) -> Result<Option<Self>, Failure> {
        let Self { database, answer, empty } = self;
        let batch = answer.batch()?;
        let id = batch.id;
        let empty = if batch.documents().next().is_none() { empty + 1 } else { 0 };
        drop(answer);
        if id == 0 {
            return Ok(None);
        }
        if empty > MOST_EMPTY {
            return Err(Failure::Protocol("the server has a cursor that does not come to an end"));
        }
        let more = doc! {"getMore": id, "collection": collection, "batchSize": size};
        let answer = session.ask(&database, more).await?;
        Ok(Some(Self { database, answer, empty }))
    }
}

/// Waits for something of the server, but not for ever.
pub(super) async fn answered<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(limit, answer).await.unwrap_or(Err(Failure::TimedOut))
}

/// Opens a session and notes each stage; those after a failed one are skipped.
pub(super) async fn open(account: &Account<MongoDb>, report: &mut Report) -> Result<Session, ConnectorError> {
    let outcome = open_staged(account, report).await;
    if outcome.is_err() {
        link::skip_the_rest(report);
    }
    outcome
}

async fn open_staged(account: &Account<MongoDb>, report: &mut Report) -> Result<Session, ConnectorError> {
    let Account { credentials, config, resources } = account;
    let way = Way {
        host: &credentials.host,
        port: credentials.port,
        ssl_mode: config.ssl_mode,
        root_certificate: config.root_certificate.as_deref(),
    };
    let stream = link::open(&resources.dialer, way, report).await?;
    let limits = resources.dialer.timeouts();
    let began = Instant::now();
    match answered(limits.login, log_in(Wire::new(stream, limits), account)).await {
        Ok(session) => {
            report.ok(StageKind::Login, None, began.elapsed());
            Ok(session)
        }
        Err(failure) => Err(refused(report, began, failure)),
    }
}

async fn log_in(mut wire: Wire, account: &Account<MongoDb>) -> Result<Session, Failure> {
    let credentials = &account.credentials;
    let version = env!("CARGO_PKG_VERSION");
    let client = doc! {
        "application": {"name": "tributary"}, "driver": {"name": "tributary", "version": version},
        "os": {"type": std::env::consts::OS},
    };
    wire.ask("admin", doc! {"hello": 1, "client": client}).await?.document()?;

    let binary = |text: String| Binary { subtype: BinarySubtype::Generic, bytes: text.into_bytes() };
    let login = Login::new(&credentials.username, credentials.password.expose_secret());
    let begin = doc! {
        "saslStart": 1, "mechanism": "SCRAM-SHA-256", "payload": binary(login.first()),
        "options": {"skipEmptyExchange": true},
    };
    let source = credentials.auth_source();
    let answer = wire.ask(source, begin).await?;
    let conversation = answer.number("conversationId").ok_or(Failure::MALFORMED)?;
    let conversation = i32::try_from(conversation).map_err(|_| Failure::MALFORMED)?;
    let (last, proven) = login.prove(payload(&answer)?)?;
    let go_on = |payload| doc! {"saslContinue": 1, "conversationId": conversation, "payload": payload};
    let answer = wire.ask(source, go_on(binary(last))).await?;
    proven.judge(payload(&answer)?)?;
    if !is_done(&answer)? {
        let answer = wire.ask(source, go_on(binary(String::new()))).await?;
        if !is_done(&answer)? {
            return Err(Failure::Protocol("the server does not come to the end of the login"));
        }
    }
    wire.is_logged_in();
    Ok(Session { wire })
}

fn is_done(answer: &Answer) -> Result<bool, Failure> {
    answer.document()?.get_bool("done").map_err(|_| Failure::MALFORMED)
}

fn payload(answer: &Answer) -> Result<&[u8], Failure> {
    answer.document()?.get_binary("payload").map(|binary| binary.bytes).map_err(|_| Failure::MALFORMED)
}

fn refused(report: &mut Report, began: Instant, failure: Failure) -> ConnectorError {
    let (code, hint) = match failure {
        Failure::Rounds => (
            "login_refused",
            "the server asks for more than 100,000 rounds of hashing, or fewer than 4,096; set its \
             `scramSHA256IterationCount`, and the password anew",
        ),
        Failure::Impostor => (
            "login_refused",
            "the server could not show that it knows the password; check `credentials.host` and `credentials.port`",
        ),
        failure if failure.is_refused_login() => (
            "login_refused",
            "the server refused the login; check `credentials.username`, `credentials.password` and \
             `credentials.authSource`, and that the user may log in with SCRAM-SHA-256",
        ),
        Failure::TimedOut => ("timed_out", "the server took too long to log in; try again when it is less busy"),
        _ => (
            "unreachable",
            "what answers broke off before the login was done; check that it is MongoDB 4.4 or later, and whether it \
             wants TLS",
        ),
    };
    report.failed(StageKind::Login, None, began.elapsed(), code, hint);
    match failure {
        // Whatever the server says before the login is done is about the login.
        Failure::Server(_) if !failure.is_refused_login() => {
            ConnectorError::Unreachable { code: "unreachable", cause: Some(Box::new(failure)) }
        }
        failure => failure.into_error(),
    }
}
