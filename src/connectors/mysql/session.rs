//! One read-only session with the server: resolve, connect, TLS, login, one snapshot.
//! Every stage is noted in a report.
//!
//! The driver opens its sockets itself, so it comes over a [`Bridge`] to a stream that
//! the dialer has connected and that is under TLS already; the [`relay`](super::relay)
//! in between lets pass what a server may say.

use std::future::Future;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, QueryResult, TextProtocol};
use secrecy::ExposeSecret;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_util::either::Either;

use super::cursor::Horizon;
use super::failure::Failure;
use super::greeting::{First, Greeting};
use super::guard::Breach;
use super::relay::{self, Carried, Relay, Told};
use super::settings::Config;
use super::{MySql, sql};
use crate::connectors::link::{self, Stream};
use crate::connectors::{Account, ConnectorError};
use crate::egress::Resolved;
use crate::egress::bridge::Bridge;
use crate::egress::tls::{self, TlsError};
use crate::report::{Report, StageKind};

/// How long a server that is full is left alone.
const BUSY: Duration = Duration::from_secs(30);
/// Largest packet of the driver, statements included.
const LARGEST_PACKET: usize = 16 << 20;
/// Largest greeting; those of real servers are below 200 bytes.
const LARGEST_GREETING: usize = 4096;

/// What the rows of an answer may take that is held as a whole, and what a value takes
/// beside its bytes.
const MOST_BYTES: usize = 24 << 20;
const VALUE: usize = 40;

/// A session inside its one transaction. Gone when dropped.
pub(super) struct Session {
    conn: Conn,
    told: Told,
    relay: Relay,
    pub(super) is_mariadb: bool,
    /// How far back what ends after the snapshot may have begun, where cursor columns
    /// ask for it.
    pub(super) horizon: Option<Horizon>,
}

/// A row as the server wrote it: one text a column, none for NULL.
pub(super) type Row = Vec<Option<Vec<u8>>>;

/// The rows of a statement, one by one.
pub(super) struct Rows<'a> {
    result: QueryResult<'a, 'static, TextProtocol>,
    told: Told,
}

impl Rows<'_> {
    /// The next row; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Row>, Failure> {
        let row = self.result.next().await.map_err(|error| explained(error.into(), &self.told))?;
        Ok(row.map(|row| row.unwrap_raw().into_iter().map(text_of).collect()))
    }
}

/// In text, every value is bytes or NULL.
fn text_of(value: Option<mysql_async::Value>) -> Option<Vec<u8>> {
    match value {
        Some(mysql_async::Value::Bytes(bytes)) => Some(bytes),
        Some(_) | None => None,
    }
}

/// What the server did wrong is a better cause than what the driver made of it.
fn explained(failure: Failure, told: &Told) -> Failure {
    match relay::breach(told) {
        Some(breach) => failure.caused_by(breach),
        None => failure,
    }
}

impl Session {
    /// Begins a statement whose rows are read one by one.
    pub(super) async fn rows(&mut self, statement: &str) -> Result<Rows<'_>, Failure> {
        let told = self.told.clone();
        match self.conn.query_iter(statement.to_owned()).await {
            Ok(result) => Ok(Rows { result, told }),
            Err(error) => Err(explained(error.into(), &told)),
        }
    }

    /// Runs a statement and gives the rows, of which there are few.
    pub(super) async fn all(&mut self, statement: &str, most: usize) -> Result<Vec<Row>, Failure> {
        let mut rows = self.rows(statement).await?;
        let (mut all, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next().await? {
            bytes += row.iter().map(|value| VALUE + value.as_ref().map_or(0, Vec::len)).sum::<usize>();
            if all.len() == most || bytes > MOST_BYTES {
                return Err(Failure::broken("the server gave more rows than there can be"));
            }
            all.push(row);
        }
        Ok(all)
    }

    /// Runs a statement without rows.
    pub(super) async fn run(&mut self, statement: &str) -> Result<(), Failure> {
        self.all(statement, 0).await.map(drop)
    }

    /// Ends the transaction and gives the stream behind it, where the server waits for
    /// the next command.
    pub(super) async fn into_stream(mut self) -> Result<Box<dyn Carried>, Failure> {
        self.run("COMMIT").await?;
        let Self { conn: _driver, told: _, relay, is_mariadb: _, horizon: _ } = self;
        relay.take_over().await.ok_or_else(|| Failure::broken("the server spoke out of turn"))
    }

    /// A snapshot of now, in the place of the one before.
    pub(super) async fn new_snapshot(&mut self) -> Result<(), Failure> {
        self.run("COMMIT").await?;
        self.run(sql::SNAPSHOT).await
    }

    /// Ends the snapshot, which would keep the server from cleaning up.
    pub(super) async fn leave_snapshot(&mut self) -> Result<(), Failure> {
        self.run("COMMIT").await
    }

    /// Ends the transaction, so that the server need not wonder.
    pub(super) async fn close(mut self) {
        // Nothing depends on it: the session is gone in any case.
        drop(tokio::time::timeout(Duration::from_secs(1), self.run("COMMIT")).await);
    }
}

/// Waits for an answer of the server, but not for ever.
pub(super) async fn answered<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, Failure>>,
) -> Result<T, ConnectorError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(outcome) => outcome.map_err(Failure::into_error),
        Err(_) => Err(ConnectorError::Unreachable { code: "timed_out", cause: None }),
    }
}

/// Opens a session and notes each stage; those after a failed one are skipped.
pub(super) async fn open(account: &Account<MySql>, report: &mut Report) -> Result<Session, ConnectorError> {
    let outcome = open_staged(account, report).await;
    if outcome.is_err() {
        link::skip_the_rest(report);
    }
    outcome
}

async fn open_staged(account: &Account<MySql>, report: &mut Report) -> Result<Session, ConnectorError> {
    let Account { credentials, config, resources } = account;
    let limits = resources.dialer.timeouts();
    let deadline = Instant::now() + limits.login;

    let (resolved, mut stream) = link::reach(&resources.dialer, &credentials.host, credentials.port, report).await?;

    // The server speaks first, in plain text, also where TLS follows.
    let began = Instant::now();
    let left = deadline.saturating_duration_since(Instant::now());
    let greeting = match tokio::time::timeout(left, greeting(&mut stream)).await {
        Ok(Ok(greeting)) => greeting,
        Ok(Err(failure)) => return Err(refused_by_server(report, began, failure)),
        Err(_) => return Err(silent(report, began)),
    };
    let stream = secured(stream, &greeting, &resolved, config, limits.handshake, report).await?;

    let began = Instant::now();
    let login = async {
        match stream {
            Either::Left(stream) => log_in(stream, false, greeting, account).await,
            Either::Right(stream) => log_in(stream, true, greeting, account).await,
        }
    };
    match tokio::time::timeout(deadline.saturating_duration_since(Instant::now()), login).await {
        Ok(Ok(session)) => {
            report.ok(StageKind::Login, None, began.elapsed());
            Ok(session)
        }
        Ok(Err(failure)) => Err(refused_by_server(report, began, failure)),
        Err(_) => Err(silent(report, began)),
    }
}

fn silent(report: &mut Report, began: Instant) -> ConnectorError {
    let hint = "the server took too long to log in; try again when it is less busy";
    report.failed(StageKind::Login, None, began.elapsed(), "timed_out", hint);
    ConnectorError::Unreachable { code: "timed_out", cause: None }
}

fn refused_by_server(report: &mut Report, began: Instant, failure: Failure) -> ConnectorError {
    let own_hint = failure.breach.map(Breach::hint);
    if failure.is_refused_login() {
        let hint = own_hint.unwrap_or(
            "the server refused the login; check `credentials.username`, `credentials.password` and from which hosts \
             the account may log in",
        );
        report.failed(StageKind::Login, None, began.elapsed(), "login_refused", hint);
        return ConnectorError::LoginRefused(Some(Box::new(failure)));
    }
    if failure.is_busy() {
        let hint = "the server takes no further connection just now; try again later";
        report.failed(StageKind::Login, None, began.elapsed(), "unreachable", hint);
        return ConnectorError::Throttled { retry_after: BUSY };
    }
    if failure.needs_tls() {
        let hint = "the server speaks to nobody without TLS; set `config.sslMode` to `require` or `verify-full`";
        report.failed(StageKind::Login, None, began.elapsed(), "tls_failed", hint);
        return ConnectorError::Unreachable { code: "tls_failed", cause: Some(Box::new(failure)) };
    }
    let hint = own_hint.unwrap_or(
        "the server broke off before the login was done; check that it is MySQL or MariaDB and takes connections",
    );
    report.failed(StageKind::Login, None, began.elapsed(), "unreachable", hint);
    ConnectorError::Unreachable { code: "unreachable", cause: Some(Box::new(failure)) }
}

async fn greeting(stream: &mut TcpStream) -> Result<Greeting, Failure> {
    let of_breach = |breach| Failure::broken("the greeting is none").caused_by(breach);
    let body = match relay::read_packet(stream, LARGEST_GREETING).await {
        Ok((_, body)) => body,
        Err(error) => {
            let breach = error.get_ref().and_then(|inner| inner.downcast_ref::<Breach>());
            return Err(breach.map_or_else(|| Failure::broken("the connection broke"), |breach| of_breach(*breach)));
        }
    };
    match First::read(&body).map_err(of_breach)? {
        First::Greeting(greeting) => Ok(greeting),
        First::Refusal(code) => Err(Failure::of_server(code)),
    }
}

async fn secured(
    mut stream: TcpStream,
    greeting: &Greeting,
    resolved: &Resolved,
    config: &Config,
    limit: Duration,
    report: &mut Report,
) -> Result<Stream, ConnectorError> {
    let began = Instant::now();
    let Some(verification) = config.ssl_mode.verification(resolved) else {
        let hint = config.ssl_mode.reason_for_plain_text();
        report.ok_with(StageKind::Tls, began.elapsed(), "plain_text_allowed", hint);
        return Ok(Either::Left(stream));
    };
    let name = resolved.host();
    let asked = async {
        if !greeting.has_tls {
            return Err(TlsError::Handshake("the server does not offer TLS".into()));
        }
        let sent = stream.write_all(&greeting.ssl_request()).await;
        sent.map_err(|error| TlsError::Handshake(error.into()))?;
        tls::client_handshake(stream, name, verification, config.root_certificate.as_deref(), limit).await
    };
    match asked.await {
        Ok(stream) => {
            report.ok(StageKind::Tls, None, began.elapsed());
            Ok(Either::Right(Box::new(stream)))
        }
        Err(error) => Err(refused_tls(report, began, error)),
    }
}

fn refused_tls(report: &mut Report, began: Instant, error: TlsError) -> ConnectorError {
    let (code, hint) = match &error {
        TlsError::InvalidRoot => ("tls_failed", "`config.rootCertificate` is not PEM text with a certificate"),
        TlsError::InvalidName => ("tls_failed", "`credentials.host` is no name that a certificate can have"),
        TlsError::Certificate(_) => (
            "tls_failed",
            "the server's certificate is not accepted; give its authority as `config.rootCertificate` and its name as \
             `credentials.host`",
        ),
        TlsError::Handshake(_) => {
            ("tls_failed", "the server does not offer TLS that we take; turn it on there, or set `config.sslMode`")
        }
        TlsError::TimedOut => ("timed_out", "the server did not finish the TLS handshake in time"),
    };
    report.failed(StageKind::Tls, None, began.elapsed(), code, hint);
    ConnectorError::Unreachable { code, cause: Some(Box::new(error)) }
}

async fn log_in<S>(
    stream: S,
    is_encrypted: bool,
    greeting: Greeting,
    account: &Account<MySql>,
) -> Result<Session, Failure>
where
    S: Carried + 'static,
{
    let Account { credentials, config, resources: _ } = account;
    let has_cursors = !config.cursor_columns.is_empty();
    let bridge = Bridge::open().map_err(|_| Failure::broken("no socket for the driver can be made"))?;
    // Nothing hands out files, and the guard lets nobody ask.
    let options = OptsBuilder::default()
        .socket(bridge.socket().to_str())
        .user(Some(&credentials.username))
        .pass(Some(credentials.password.expose_secret()))
        .db_name(None::<String>)
        .prefer_socket(false)
        .ssl_opts(None)
        .compression(None)
        .secure_auth(true)
        .enable_cleartext_plugin(is_encrypted)
        .stmt_cache_size(0)
        .max_allowed_packet(Some(LARGEST_PACKET))
        .wait_timeout(Some(0));
    let told = Told::default();
    let (accepted, driver) = (bridge.accept(), Conn::new(options));
    let carrying = async {
        let driver = accepted.await.map_err(|_| Failure::broken("the driver did not come"))?;
        Ok::<_, Failure>(Relay::start(driver, stream, greeting.for_driver(), is_encrypted, told.clone()))
    };
    let driver = async { driver.await.map_err(|error| explained(error.into(), &told)) };
    let (relay, conn) = tokio::try_join!(carrying, driver)?;
    drop(bridge);
    let mut session = Session { conn, told: told.clone(), relay, is_mariadb: greeting.is_mariadb, horizon: None };
    if has_cursors {
        session.horizon = Horizon::of(&mut session).await?;
    }
    for statement in sql::settings(session.is_mariadb) {
        session.run(statement).await?;
    }
    Ok(session)
}
