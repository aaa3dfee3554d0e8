//! A client of the server: resolve, connect, TLS, login. Every stage is noted in a
//! report.
//!
//! The driver opens its sockets itself, several of them. So it is given a [`Bridge`]
//! only; each time that it comes over, it finds a stream that the dialer has connected
//! and that is under TLS already, with a [`guard`](super::guard) in between.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::doc;
use mongodb::options::{ClientOptions, Credential, ServerAddress, ServerMonitoringMode};
use secrecy::ExposeSecret;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

use super::MongoDb;
use super::failure::Failure;
use super::guard::{self, Told};
use super::settings::{Config, SslMode};
use crate::connectors::{Account, ConnectorError};
use crate::egress::bridge::Bridge;
use crate::egress::tls::{self, TlsError, TlsStream, Verification};
use crate::egress::{DialError, Dialer, Resolved};
use crate::report::{Report, StageKind};

/// Sockets that the driver may have at once: one that reads, and those that watch.
const MOST_SOCKETS: usize = 6;
/// How often the driver looks whether the server is still there.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// A client that is logged in. Gone when dropped.
pub(super) struct Session {
    pub(super) client: Client,
    told: Told,
    ferry: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // A query under way would else be read to its end.
        self.ferry.abort();
    }
}

impl Session {
    /// What the server did wrong is a better cause than what the driver made of it.
    pub(super) fn failure(&self, error: mongodb::error::Error) -> Failure {
        explained(error.into(), &self.told)
    }

    /// Waits for an answer of the server, but not for ever.
    pub(super) async fn answered<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = mongodb::error::Result<T>>,
    ) -> Result<Result<T, Failure>, ConnectorError> {
        match tokio::time::timeout(limit, answer).await {
            Ok(outcome) => Ok(outcome.map_err(|error| self.failure(error))),
            Err(_) => Err(ConnectorError::Unreachable { code: "timed_out", cause: None }),
        }
    }
}

fn explained(failure: Failure, told: &Told) -> Failure {
    match guard::breach(told) {
        Some(breach) => failure.caused_by(breach),
        None => failure,
    }
}

/// Opens a session and notes each stage; those after a failed one are skipped.
pub(super) async fn open(account: &Account<MongoDb>, report: &mut Report) -> Result<Session, ConnectorError> {
    let outcome = open_staged(account, report).await;
    if outcome.is_err() {
        for kind in [StageKind::Resolve, StageKind::Connect, StageKind::Tls, StageKind::Login] {
            if report.stages.iter().all(|stage| stage.kind != kind) {
                report.skipped(kind, "earlier_stage_failed");
            }
        }
    }
    outcome
}

async fn open_staged(account: &Account<MongoDb>, report: &mut Report) -> Result<Session, ConnectorError> {
    let limits = account.resources.dialer.timeouts();
    let route = Route::of(account);
    let began = Instant::now();
    let resolved = route.dialer.resolve(&route.host, route.port).await;
    let resolved = resolved.map_err(|error| refused_by_dialer(report, StageKind::Resolve, began, error))?;
    report.ok(StageKind::Resolve, None, began.elapsed());

    let began = Instant::now();
    let stream = route.dialer.connect(&resolved).await;
    let stream = stream.map_err(|error| refused_by_dialer(report, StageKind::Connect, began, error))?;
    report.ok(StageKind::Connect, None, began.elapsed());

    let began = Instant::now();
    let stream = route.secured(stream, &resolved).await.map_err(|error| refused_tls(report, began, error))?;
    match (&stream, account.config.ssl_mode) {
        (Stream::Tls(_), _) => report.ok(StageKind::Tls, None, began.elapsed()),
        (Stream::Plain(_), SslMode::Disable) => {
            let hint = "plain text, since `sslMode` is `disable`";
            report.ok_with(StageKind::Tls, began.elapsed(), "plain_text_allowed", hint);
        }
        (Stream::Plain(_), SslMode::Auto | SslMode::Require | SslMode::VerifyFull) => {
            let hint = "plain text, since the server is on this machine";
            report.ok_with(StageKind::Tls, began.elapsed(), "plain_text_allowed", hint);
        }
    }

    let began = Instant::now();
    match tokio::time::timeout(limits.login, log_in(account, route, stream)).await {
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

/// What is needed to reach the server again.
struct Route {
    dialer: Arc<Dialer>,
    host: String,
    port: u16,
    ssl_mode: SslMode,
    root_certificate: Option<String>,
}

impl Route {
    fn of(account: &Account<MongoDb>) -> Self {
        let Account { credentials, config: Config { ssl_mode, root_certificate, .. }, resources } = account;
        Self {
            dialer: resources.dialer.clone(),
            host: credentials.host.clone(),
            port: credentials.port,
            ssl_mode: *ssl_mode,
            root_certificate: root_certificate.clone(),
        }
    }

    async fn secured(&self, stream: TcpStream, resolved: &Resolved) -> Result<Stream, TlsError> {
        let verification = match self.ssl_mode {
            SslMode::Auto if resolved.is_loopback() => return Ok(Stream::Plain(stream)),
            SslMode::Disable => return Ok(Stream::Plain(stream)),
            SslMode::Auto | SslMode::VerifyFull => Verification::Full,
            SslMode::Require => Verification::Chain,
        };
        let (root, limit) = (self.root_certificate.as_deref(), self.dialer.timeouts().handshake);
        let stream = tls::client_handshake(stream, resolved.host(), verification, root, limit).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// The whole way; none where it is closed, which the driver then sees.
    async fn reach(&self) -> Option<Stream> {
        let resolved = self.dialer.resolve(&self.host, self.port).await.ok()?;
        let stream = self.dialer.connect(&resolved).await.ok()?;
        self.secured(stream, &resolved).await.ok()
    }
}

/// What the driver is led to.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Lets the driver over, each time to a stream of its own. The first is there already.
async fn ferry(bridge: Bridge, route: Route, first: Stream, told: Told) {
    let mut first = Some(first);
    let mut sockets = JoinSet::new();
    while let Ok(driver) = bridge.accept().await {
        while sockets.try_join_next().is_some() {}
        if sockets.len() >= MOST_SOCKETS {
            continue;
        }
        let stream = match first.take() {
            Some(stream) => Some(stream),
            None => route.reach().await,
        };
        match stream {
            Some(Stream::Plain(stream)) => drop(sockets.spawn(guard::carry(driver, stream, told.clone()))),
            Some(Stream::Tls(stream)) => drop(sockets.spawn(guard::carry(driver, stream, told.clone()))),
            None => {}
        }
    }
}

async fn log_in(account: &Account<MongoDb>, route: Route, stream: Stream) -> Result<Session, Failure> {
    let Account { credentials, config: _, resources } = account;
    let limits = resources.dialer.timeouts();
    let bridge = Bridge::open().map_err(|_| Failure::broken("no socket for the driver can be made"))?;
    let address = ServerAddress::Unix { path: bridge.socket().to_owned() };
    let credential = Credential::builder()
        .username(credentials.username.clone())
        .password(credentials.password.expose_secret().to_owned())
        .source(credentials.auth_database().to_owned())
        .build();
    let options = ClientOptions::builder()
        .hosts(vec![address])
        .direct_connection(true)
        .credential(credential)
        .app_name("tributary".to_owned())
        .connect_timeout(limits.login)
        .server_selection_timeout(limits.login)
        .heartbeat_freq(HEARTBEAT)
        .server_monitoring_mode(ServerMonitoringMode::Poll)
        .max_pool_size(1)
        .min_pool_size(0)
        .max_connecting(1)
        .retry_reads(false)
        .retry_writes(false)
        .build();
    let told = Told::default();
    let ferry = tokio::spawn(ferry(bridge, route, stream, told.clone()));
    let client = Client::with_options(options).map_err(|error| {
        ferry.abort();
        Failure::from(error)
    })?;
    let session = Session { client, told, ferry };
    let asked = session.client.database("admin").run_command(doc! {"ping": 1}).await;
    asked.map_err(|error| session.failure(error))?;
    Ok(session)
}

fn refused_by_dialer(report: &mut Report, kind: StageKind, began: Instant, error: DialError) -> ConnectorError {
    let hint = match &error {
        DialError::InvalidHost => "give one plain host name or address as `credentials.host`",
        DialError::NotFound(_) => "the host name has no address; check `credentials.host`",
        DialError::TooManyAddresses => "the host name has too many addresses; give one of them as `credentials.host`",
        DialError::AddressBlocked => {
            "this server does not connect to that address; its operator can allow it with `--allow-destinations`"
        }
        DialError::Refused(_) => "nothing listens there; check `credentials.host` and `credentials.port`",
        DialError::TimedOut => "no answer; check the address and the firewalls on the way",
        DialError::Failed(_) => "the connection failed; check `credentials.host` and `credentials.port`",
    };
    let code = error.code();
    report.failed(kind, None, began.elapsed(), code, hint);
    ConnectorError::Unreachable { code, cause: Some(Box::new(error)) }
}

fn refused_tls(report: &mut Report, began: Instant, error: TlsError) -> ConnectorError {
    let (code, hint) = match &error {
        TlsError::InvalidRoot => ("tls_failed", "`config.rootCertificate` must be PEM text with a certificate"),
        TlsError::InvalidName => ("tls_failed", "give the name in the server's certificate as `credentials.host`"),
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

fn refused_by_server(report: &mut Report, began: Instant, failure: Failure) -> ConnectorError {
    let own_hint = failure.breach.map(|breach| breach.hint());
    if failure.is_refused_login() {
        let hint = own_hint.unwrap_or(
            "the server refused the login; check `credentials.username`, `credentials.password` and \
             `credentials.authDatabase`",
        );
        report.failed(StageKind::Login, None, began.elapsed(), "login_refused", hint);
        return ConnectorError::LoginRefused(Some(Box::new(failure)));
    }
    let hint = own_hint.unwrap_or(
        "the server broke off before the login was done; check that it is MongoDB 4.2 or later, and whether it wants TLS",
    );
    report.failed(StageKind::Login, None, began.elapsed(), "unreachable", hint);
    ConnectorError::Unreachable { code: "unreachable", cause: Some(Box::new(failure)) }
}
