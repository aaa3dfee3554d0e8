//! One read-only session with the server: resolve, connect, TLS, login, one
//! snapshot. Every stage is noted in a report.

use std::future::Future;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};
use tokio_util::either::Either;

use super::failure::Failure;
use super::guard::Guarded;
use super::horizon::Horizon;
use super::object::LARGEST_ROW;
use super::settings::{Config, Credentials};
use crate::connectors::link::{self, Stream};
use crate::connectors::{Account, ConnectorError};
use crate::egress::tls::{self, TlsError};
use crate::egress::{DialError, Resolved};
use crate::report::{Report, StageKind};

/// Everything that would let the server or the role decide how values look, or
/// how long we may take, is set here. The role's search path stays: functions
/// behind a view may need it. What we ask ourselves is in `pg_catalog`, which is
/// searched first. A pass that breaks off goes on by the place of rows, so a scan
/// begins at the beginning also where another is on its way.
const SETTINGS: &str = "\
    SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; \
    SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; \
    SET xmloption = 'content'; SET statement_timeout = 0; SET lock_timeout = '30s'; \
    SET idle_in_transaction_session_timeout = 0; SET default_transaction_deferrable = off; \
    SET synchronize_seqscans = off; \
    BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// How long a server that is full or starting is left alone.
const BUSY: Duration = Duration::from_secs(30);

/// What asks the server for TLS: length 8, code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// A session inside its one transaction. Gone when dropped.
pub(super) struct Session {
    pub(super) client: Client,
    /// How far back what ends after the snapshot may have begun, where cursor
    /// columns ask for it.
    pub(super) horizon: Option<Horizon>,
    connection: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // A query under way would else be read to its end.
        self.connection.abort();
    }
}

impl Session {
    /// Ends the transaction, so that the server need not wonder.
    pub(super) async fn close(self) {
        // Nothing depends on it: the session is gone in any case.
        drop(tokio::time::timeout(Duration::from_secs(1), self.client.batch_execute("COMMIT")).await);
    }
}

/// With a guard on what the server says, which cuts larger pieces of a copy.
pub(super) fn guarded(stream: Stream, largest_piece: usize) -> Guarded<Stream> {
    let is_encrypted = matches!(stream, Either::Right(_));
    Guarded::new(stream, is_encrypted, largest_piece)
}

/// Opens a session and notes each stage; those after a failed one are skipped.
pub(super) async fn open<C>(account: &Account<C>, report: &mut Report) -> Result<Session, ConnectorError>
where
    C: crate::connectors::Connector<Credentials = Credentials, Config = Config>,
{
    let outcome = open_staged(account, report).await;
    if outcome.is_err() {
        link::skip_the_rest(report);
    }
    outcome
}

async fn open_staged<C>(account: &Account<C>, report: &mut Report) -> Result<Session, ConnectorError>
where
    C: crate::connectors::Connector<Credentials = Credentials, Config = Config>,
{
    let deadline = Instant::now() + account.resources.dialer.timeouts().login;
    let stream = reach(account, report).await?;
    let began = Instant::now();
    let login = log_in(stream, &account.credentials, &account.config);
    match tokio::time::timeout(deadline.saturating_duration_since(Instant::now()), login).await {
        Ok(Ok(session)) => {
            report.ok(StageKind::Login, None, began.elapsed());
            Ok(session)
        }
        Ok(Err(failure)) => Err(refused_by_server(report, began, failure)),
        Err(_) => {
            let hint = "the server took too long to log in; try again when it is less busy";
            report.failed(StageKind::Login, None, began.elapsed(), "timed_out", hint);
            Err(ConnectorError::Unreachable { code: "timed_out", cause: None })
        }
    }
}

/// Everything before the login.
pub(super) async fn reach<C>(account: &Account<C>, report: &mut Report) -> Result<Stream, ConnectorError>
where
    C: crate::connectors::Connector<Credentials = Credentials, Config = Config>,
{
    let Account { credentials, config, resources } = account;
    let limits = resources.dialer.timeouts();

    let began = Instant::now();
    let resolved = resources.dialer.resolve(&credentials.host, credentials.port).await;
    let resolved = resolved.and_then(|resolved| {
        let own = resources.dialer.denies_database(&resolved, &credentials.database);
        if own { Err(DialError::AddressBlocked) } else { Ok(resolved) }
    });
    let resolved = resolved.map_err(|error| link::refused_by_dialer(report, StageKind::Resolve, began, error))?;
    report.ok(StageKind::Resolve, None, began.elapsed());

    let stream = link::connect(&resources.dialer, &resolved, report).await?;
    secured(stream, &resolved, config, limits.handshake, report, Instant::now()).await
}

/// Asks the server, over a connection of its own, to give up what the session
/// waits for.
pub(super) async fn interrupt<C>(account: &Account<C>, session: &Session) -> Result<(), ConnectorError>
where
    C: crate::connectors::Connector<Credentials = Credentials, Config = Config>,
{
    let stream = reach(account, &mut Report::default()).await?;
    let token = session.client.cancel_token();
    answered(account.resources.dialer.timeouts().login, token.cancel_query_raw(stream, NoTls)).await
}

fn refused_by_server(report: &mut Report, began: Instant, failure: Failure) -> ConnectorError {
    if failure.is_refused_login() {
        let hint = failure.breach.map_or(
            "the server refused the login; check `credentials.username`, `credentials.password`, \
             `credentials.database` and the server's access rules",
            |breach| breach.hint(),
        );
        report.failed(StageKind::Login, None, began.elapsed(), "login_refused", hint);
        return ConnectorError::LoginRefused(Some(Box::new(failure)));
    }
    let busy = [SqlState::TOO_MANY_CONNECTIONS, SqlState::CANNOT_CONNECT_NOW];
    if failure.state.as_ref().is_some_and(|state| busy.contains(state)) {
        let hint = "the server takes no further connection just now; try again later";
        report.failed(StageKind::Login, None, began.elapsed(), "unreachable", hint);
        return ConnectorError::Throttled { retry_after: BUSY };
    }
    let hint = failure.breach.map_or(
        "the server broke off before the login was done; check that it is PostgreSQL and takes connections",
        |breach| breach.hint(),
    );
    report.failed(StageKind::Login, None, began.elapsed(), "unreachable", hint);
    ConnectorError::Unreachable { code: "unreachable", cause: Some(Box::new(failure)) }
}

async fn secured(
    stream: TcpStream,
    resolved: &Resolved,
    config: &Config,
    limit: Duration,
    report: &mut Report,
    began: Instant,
) -> Result<Stream, ConnectorError> {
    let Some(verification) = config.ssl_mode.verification(resolved) else {
        let hint = config.ssl_mode.reason_for_plain_text();
        report.ok_with(StageKind::Tls, began.elapsed(), "plain_text_allowed", hint);
        return Ok(Either::Left(stream));
    };
    let root = config.root_certificate.as_deref();
    let outcome = match tokio::time::timeout(limit, ask_for_tls(stream)).await {
        Ok(Ok(stream)) => tls::client_handshake(stream, resolved.host(), verification, root, limit).await,
        Ok(Err(error)) => Err(TlsError::Handshake(error.into())),
        Err(_) => Err(TlsError::TimedOut),
    };
    match outcome {
        Ok(stream) => {
            report.ok(StageKind::Tls, None, began.elapsed());
            Ok(Either::Right(Box::new(stream)))
        }
        Err(error) => Err(link::refused_tls(report, began, error)),
    }
}

/// The one byte of the answer is read alone: what a stranger on the way puts
/// behind it must not pass as sent under TLS.
async fn ask_for_tls(mut stream: TcpStream) -> std::io::Result<TcpStream> {
    stream.write_all(&SSL_REQUEST).await?;
    match stream.read_u8().await? {
        b'S' => Ok(stream),
        _ => Err(std::io::Error::other("the server does not offer TLS")),
    }
}

async fn log_in(stream: Stream, credentials: &Credentials, config: &Config) -> Result<Session, Failure> {
    let mut options = tokio_postgres::Config::new();
    options
        .user(&credentials.username)
        .password(credentials.password.expose_secret())
        .dbname(&credentials.database)
        .application_name("tributary")
        .ssl_mode(tokio_postgres::config::SslMode::Disable)
        .channel_binding(tokio_postgres::config::ChannelBinding::Disable);
    let (client, connection) = options.connect_raw(guarded(stream, LARGEST_ROW + 4096), NoTls).await?;
    // Whatever ends the connection is also told to the query that waits on it.
    let connection = tokio::spawn(async move { drop(connection.await) });
    let mut session = Session { client, horizon: None, connection };
    if !config.cursor_columns.is_empty() {
        session.horizon = Horizon::of(&session.client).await;
    }
    session.client.batch_execute(SETTINGS).await?;
    Ok(session)
}

/// Waits for an answer of the server, but not for ever.
pub(super) async fn answered<T, E>(
    limit: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, ConnectorError>
where
    Failure: From<E>,
{
    match tokio::time::timeout(limit, answer).await {
        Ok(outcome) => outcome.map_err(|error| Failure::from(error).into_error()),
        Err(_) => Err(ConnectorError::Unreachable { code: "timed_out", cause: None }),
    }
}
