//! One connection: resolve, connect, TLS, each noted in a report.

use std::time::Instant;

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{Address, Body, HttpError, PlainText, Settings};
use crate::egress::tls::{TlsError, client_handshake};
use crate::egress::{DialError, Dialer, Resolved};
use crate::report::{Report, StageKind};

/// Headers of an answer, and of its trailers.
const MOST_HEADERS: usize = 128;
/// Bytes of all of them together.
const LARGEST_HEAD: usize = 64 * 1024;
/// What is read ahead of whoever takes the body.
const BUFFER: usize = 128 * 1024;

/// Gone when dropped.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Body>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // An answer under way would else be read to its end.
        self.driver.abort();
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Opens a connection and notes each stage; those after a failed one are skipped.
pub(super) async fn open(
    dialer: &Dialer,
    settings: &Settings,
    address: &Address,
    field: &str,
    report: &mut Report,
) -> Result<Connection, HttpError> {
    let outcome = open_staged(dialer, settings, address, field, report).await;
    if outcome.is_err() {
        for kind in [StageKind::Resolve, StageKind::Connect, StageKind::Tls, StageKind::Login] {
            if report.stages.iter().all(|stage| stage.kind != kind) {
                report.skipped(kind, "earlier_stage_failed");
            }
        }
    }
    outcome
}

async fn open_staged(
    dialer: &Dialer,
    settings: &Settings,
    address: &Address,
    field: &str,
    report: &mut Report,
) -> Result<Connection, HttpError> {
    let began = Instant::now();
    let resolved = dialer.resolve(address.host(), address.port()).await;
    let resolved = resolved.map_err(|error| refused(report, StageKind::Resolve, began, field, error))?;
    report.ok(StageKind::Resolve, None, began.elapsed());

    let began = Instant::now();
    let stream = dialer.connect(&resolved).await;
    let stream = stream.map_err(|error| refused(report, StageKind::Connect, began, field, error))?;
    report.ok(StageKind::Connect, None, began.elapsed());

    let stream = secured(dialer, settings, address, field, &resolved, stream, report).await?;
    let mut builder = Builder::new();
    builder.max_headers(MOST_HEADERS).max_header_size(LARGEST_HEAD).max_buf_size(BUFFER);
    let (sender, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(HttpError::broken)?;
    // Whatever ends it is also told to the request that waits on it.
    let driver = tokio::spawn(async move { drop(driver.await) });
    Ok(Connection { sender, driver })
}

async fn secured(
    dialer: &Dialer,
    settings: &Settings,
    address: &Address,
    field: &str,
    resolved: &Resolved,
    stream: TcpStream,
    report: &mut Report,
) -> Result<Box<dyn Stream>, HttpError> {
    let began = Instant::now();
    if !address.is_encrypted() {
        if settings.plain_text == PlainText::Loopback && !resolved.is_loopback() {
            let hint = format!("give an https address as `{field}`: plain text is allowed to this machine only");
            report.failed(StageKind::Tls, None, began.elapsed(), "tls_failed", &hint);
            return Err(HttpError::PlainText);
        }
        let hint = "plain text, since the address says http";
        report.ok_with(StageKind::Tls, began.elapsed(), "plain_text_allowed", hint);
        return Ok(Box::new(stream));
    }
    let limit = dialer.timeouts().handshake;
    let root = settings.root_certificate.as_deref();
    match client_handshake(stream, resolved.host(), settings.verification, root, limit).await {
        Ok(stream) => {
            report.ok(StageKind::Tls, None, began.elapsed());
            Ok(Box::new(stream))
        }
        Err(error) => {
            let hint = match &error {
                TlsError::InvalidRoot => "the root certificate must be PEM text with a certificate".to_owned(),
                TlsError::InvalidName | TlsError::Certificate(_) => format!(
                    "the server's certificate is not accepted; give the name that it has in `{field}`, and its \
                     authority as the root certificate if that is no public one"
                ),
                TlsError::Handshake(_) => format!("the server does not offer TLS that we take; check `{field}`"),
                TlsError::TimedOut => "the server did not finish the TLS handshake in time".to_owned(),
            };
            let error = HttpError::Tls(error);
            report.failed(StageKind::Tls, None, began.elapsed(), error.code(), &hint);
            Err(error)
        }
    }
}

fn refused(report: &mut Report, kind: StageKind, began: Instant, field: &str, error: DialError) -> HttpError {
    let hint = match &error {
        DialError::InvalidHost => format!("give an address with one plain host name as `{field}`"),
        DialError::NotFound(_) => format!("the host name has no address; check `{field}`"),
        DialError::TooManyAddresses => format!("the host name has too many addresses; give one of them in `{field}`"),
        DialError::AddressBlocked => "this server does not connect to that address; its operator can allow it with \
                                      `--allow-destinations`"
            .to_owned(),
        DialError::Refused(_) => format!("nothing listens there; check host and port in `{field}`"),
        DialError::TimedOut => "no answer; check the address and the firewalls on the way".to_owned(),
        DialError::Failed(_) => format!("the connection failed; check host and port in `{field}`"),
    };
    report.failed(kind, None, began.elapsed(), error.code(), &hint);
    HttpError::Dial(error)
}
