//! The way to a session: resolve, connect, TLS, login. Every stage is noted in a
//! report.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio_util::either::Either;

use super::Imap;
use super::failure::Failure;
use super::guard::{Guarded, Limits};
use super::login::{self, NoLogin};
use super::settings::{Config, Security};
use super::wire::{Stream, Wire};
use crate::connectors::{Account, ConnectorError, link};
use crate::egress::Resolved;
use crate::egress::tls::{self, TlsError, Verification};
use crate::report::{Report, StageKind};

/// Opens a session and notes each stage; those after a failed one are skipped.
pub(super) async fn open(account: &Account<Imap>, report: &mut Report) -> Result<Wire, ConnectorError> {
    let outcome = open_staged(account, report).await;
    if outcome.is_err() {
        link::skip_the_rest(report);
    }
    outcome
}

async fn open_staged(account: &Account<Imap>, report: &mut Report) -> Result<Wire, ConnectorError> {
    let Account { credentials, config, resources } = account;
    let dialer = &resources.dialer;
    let limits = dialer.timeouts();
    let deadline = Instant::now() + limits.login;
    if credentials.username.chars().any(char::is_control) {
        let reason = "must not have control characters".to_owned();
        return Err(ConnectorError::Invalid { field: "credentials.username".to_owned(), reason });
    }

    let (resolved, stream) = link::reach(dialer, &credentials.host, credentials.port, report).await?;
    let stream = secured(stream, &resolved, config, limits.handshake, report).await?;
    let began = Instant::now();
    let guard = Limits::new();
    let mut stream = Guarded::new(stream, guard.clone());
    let log_in = async {
        if config.security != Security::StartTls {
            login::greeting(&mut stream).await?;
        }
        login::log_in(&mut stream, credentials, config.authentication).await
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let outcome = match tokio::time::timeout(left, log_in).await {
        Ok(outcome) => outcome,
        Err(_) => Err(NoLogin::Failed(Failure::TimedOut)),
    };
    outcome.map_err(|error| refused_by_server(report, began, error))?;
    report.ok(StageKind::Login, None, began.elapsed());
    Ok(Wire::new(stream, guard, limits))
}

fn refused_by_server(report: &mut Report, began: Instant, error: NoLogin) -> ConnectorError {
    let mut failed = |code, hint| report.failed(StageKind::Login, None, began.elapsed(), code, hint);
    match error {
        NoLogin::Refused => {
            failed(
                "login_refused",
                "the server refused the login; check `credentials.username` and `credentials.password`; many \
                 providers want an app password, or `xoauth2` as `config.authentication`",
            );
            ConnectorError::LoginRefused(None)
        }
        NoLogin::ClearText => {
            failed(
                "login_refused",
                "the server takes no password without TLS; set `config.security` to `tls` or `startTls`",
            );
            ConnectorError::LoginRefused(None)
        }
        NoLogin::Method => {
            failed(
                "login_refused",
                "the server does not take access tokens; set `config.authentication` to `password`",
            );
            ConnectorError::LoginRefused(None)
        }
        NoLogin::Failed(Failure::Busy) => {
            failed("throttled", "the server takes no further login just now; try again later");
            Failure::Busy.into_error()
        }
        NoLogin::Failed(Failure::TimedOut) => {
            failed(
                "timed_out",
                "the server took too long to log in; check that `config.security` is what it speaks at \
                 `credentials.port`, or try again when it is less busy",
            );
            Failure::TimedOut.into_error()
        }
        NoLogin::Failed(failure) => {
            failed(
                "unreachable",
                "the server broke off before the login was done; check that it speaks IMAP at `credentials.port`, and \
                 that `config.security` is what it speaks there",
            );
            failure.into_error()
        }
    }
}

async fn secured(
    mut stream: TcpStream,
    resolved: &Resolved,
    config: &Config,
    limit: Duration,
    report: &mut Report,
) -> Result<Stream, ConnectorError> {
    let began = Instant::now();
    if config.security == Security::Plain {
        report.ok_with(
            StageKind::Tls,
            began.elapsed(),
            "plain_text_allowed",
            "plain text, since `security` is `plain`",
        );
        return Ok(Either::Left(stream));
    }
    let asked = async {
        if config.security == Security::StartTls {
            login::greeting(&mut stream).await?;
            login::start_tls(&mut stream).await?;
        }
        Ok::<_, Failure>(())
    };
    let outcome = match tokio::time::timeout(limit, asked).await {
        Ok(Ok(())) => {
            let root = config.root_certificate.as_deref();
            tls::client_handshake(stream, resolved.host(), Verification::Full, root, limit).await
        }
        Ok(Err(failure)) => Err(TlsError::Handshake(Box::new(failure))),
        Err(_) => Err(TlsError::TimedOut),
    };
    match outcome {
        Ok(stream) => {
            report.ok(StageKind::Tls, None, began.elapsed());
            Ok(Either::Right(Box::new(stream)))
        }
        Err(error) => {
            let (code, hint) = told(&error);
            report.failed(StageKind::Tls, None, began.elapsed(), code, hint);
            Err(ConnectorError::Unreachable { code, cause: Some(Box::new(error)) })
        }
    }
}

fn told(error: &TlsError) -> (&'static str, &'static str) {
    match error {
        TlsError::InvalidRoot => ("tls_failed", "`config.rootCertificate` must be PEM text with a certificate"),
        TlsError::InvalidName => ("tls_failed", "give the name in the server's certificate as `credentials.host`"),
        TlsError::Certificate(_) => (
            "tls_failed",
            "the server's certificate is not accepted; give its authority as `config.rootCertificate` and its name as \
             `credentials.host`",
        ),
        TlsError::Handshake(_) => (
            "tls_failed",
            "the server does not offer TLS that we take; check that `config.security` is what it speaks at \
             `credentials.port`: `tls` at 993, `startTls` at 143",
        ),
        TlsError::TimedOut => ("timed_out", "the server did not finish the TLS handshake in time"),
    }
}
