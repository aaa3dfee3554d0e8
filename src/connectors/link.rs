//! The way to a server: resolve, connect, TLS, each noted in a report. [`open`] goes all of
//! it where TLS, if any, begins with the first byte; others ask for TLS in their own words.

use std::time::Instant;

use tokio::net::TcpStream;
use tokio_util::either::Either;

use super::ConnectorError;
use super::logins::SslMode;
use crate::egress::tls::{self, TlsError, TlsStream};
use crate::egress::{DialError, Dialer, Resolved};
use crate::report::{Report, StageKind};

/// A connected stream, plain or under TLS.
pub type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Where to, and how.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    /// Host name or address, of `credentials.host`.
    pub host: &'a str,
    /// TCP port, of `credentials.port`.
    pub port: u16,
    /// How much of TLS, of `config.sslMode`.
    pub ssl_mode: SslMode,
    /// PEM text, of `config.rootCertificate`; none means the public authorities.
    pub root_certificate: Option<&'a str>,
}

/// Connects and notes each stage. Takes no longer than the dialer's limits.
pub async fn open(dialer: &Dialer, way: Way<'_>, report: &mut Report) -> Result<Stream, ConnectorError> {
    let (resolved, stream) = reach(dialer, way.host, way.port, report).await?;
    let began = Instant::now();
    let Some(verification) = way.ssl_mode.verification(&resolved) else {
        let hint = way.ssl_mode.reason_for_plain_text();
        report.ok_with(StageKind::Tls, began.elapsed(), "plain_text_allowed", hint);
        return Ok(Either::Left(stream));
    };
    let limit = dialer.timeouts().handshake;
    match tls::client_handshake(stream, resolved.host(), verification, way.root_certificate, limit).await {
        Ok(stream) => {
            report.ok(StageKind::Tls, None, began.elapsed());
            Ok(Either::Right(Box::new(stream)))
        }
        Err(error) => Err(refused_tls(report, began, error)),
    }
}

/// Resolves `credentials.host` and connects to `credentials.port`.
pub async fn reach(
    dialer: &Dialer,
    host: &str,
    port: u16,
    report: &mut Report,
) -> Result<(Resolved, TcpStream), ConnectorError> {
    let began = Instant::now();
    let resolved = dialer.resolve(host, port).await;
    let resolved = resolved.map_err(|error| refused_by_dialer(report, StageKind::Resolve, began, error))?;
    report.ok(StageKind::Resolve, None, began.elapsed());
    let stream = connect(dialer, &resolved, report).await?;
    Ok((resolved, stream))
}

/// Connects to one of the addresses.
pub async fn connect(dialer: &Dialer, resolved: &Resolved, report: &mut Report) -> Result<TcpStream, ConnectorError> {
    let began = Instant::now();
    let stream = dialer.connect(resolved).await;
    let stream = stream.map_err(|error| refused_by_dialer(report, StageKind::Connect, began, error))?;
    report.ok(StageKind::Connect, None, began.elapsed());
    Ok(stream)
}

/// Notes the stages up to the login that were not come to.
pub fn skip_the_rest(report: &mut Report) {
    for kind in [StageKind::Resolve, StageKind::Connect, StageKind::Tls, StageKind::Login] {
        if report.stages.iter().all(|stage| stage.kind != kind) {
            report.skipped(kind, "earlier_stage_failed");
        }
    }
}

/// Notes what the dialer did not do, of either of its stages, and makes it the error of
/// the whole.
pub fn refused_by_dialer(report: &mut Report, kind: StageKind, began: Instant, error: DialError) -> ConnectorError {
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

/// Notes that there is no TLS, where `config.sslMode` says how much of it there is to be,
/// and makes it the error of the whole.
pub fn refused_tls(report: &mut Report, began: Instant, error: TlsError) -> ConnectorError {
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
