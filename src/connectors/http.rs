//! What connectors over HTTP share: their errors, and the stages of a test.

use std::time::{Duration, Instant};

use http::{Request, StatusCode};

use super::ConnectorError;
use crate::egress::http::{Address, Body, Client, HttpError, Response};
use crate::report::{Report, StageKind};

/// How long a server that asks for patience without saying how much is left alone.
const BUSY: Duration = Duration::from_secs(30);

impl From<HttpError> for ConnectorError {
    fn from(error: HttpError) -> Self {
        match error.code() {
            code @ ("unreachable" | "timed_out" | "tls_failed" | "address_blocked") => {
                Self::Unreachable { code, cause: Some(Box::new(error)) }
            }
            _ => Self::Unexpected(Box::new(error)),
        }
    }
}

/// The answer, unless its status is one that means the same at every server: the
/// login was refused, the object may not be read, the server asks for patience or
/// has failed. All others are for the connector to read.
pub fn accepted(response: Response, object: &str) -> Result<Response, ConnectorError> {
    match response.status() {
        StatusCode::UNAUTHORIZED => Err(ConnectorError::LoginRefused(None)),
        StatusCode::FORBIDDEN => Err(ConnectorError::Forbidden { object: object.to_owned() }),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Err(ConnectorError::Throttled { retry_after: response.retry_after().unwrap_or(BUSY) })
        }
        status if status.is_server_error() => Err(ConnectorError::Unreachable { code: "unreachable", cause: None }),
        _ => Ok(response),
    }
}

/// The stages that all sources over HTTP have in a test: resolve, connect, TLS,
/// then a request that needs the credentials. `field` names the setting with the
/// address. The answer, if its status is none of [`accepted`]'s refusals.
pub async fn check(
    client: &Client,
    request: Request<Body>,
    field: &str,
    limit: Duration,
    report: &mut Report,
) -> Result<Response, ConnectorError> {
    let address = Address::parse(&request.uri().to_string()).ok_or_else(|| ConnectorError::Invalid {
        field: field.to_owned(),
        reason: "is not an http or https address".to_owned(),
    })?;
    client.reach(&address, field, report).await?;
    let began = Instant::now();
    let answered = match tokio::time::timeout(limit, client.send(request)).await {
        Ok(answered) => answered.map_err(ConnectorError::from),
        Err(_) => Err(ConnectorError::Unreachable { code: "timed_out", cause: None }),
    };
    let outcome = answered.and_then(|response| accepted(response, field));
    match &outcome {
        Ok(_) => report.ok(StageKind::Login, None, began.elapsed()),
        Err(error) => {
            let (code, hint) = login_failure(error);
            report.failed(StageKind::Login, None, began.elapsed(), code, hint);
        }
    }
    outcome
}

fn login_failure(error: &ConnectorError) -> (&'static str, &'static str) {
    match error {
        ConnectorError::LoginRefused(_) => ("login_refused", "the server refused the login; check the credentials"),
        ConnectorError::Forbidden { .. } => {
            ("permission_missing", "the server knows the login, and does not let it in; grant it the right to read")
        }
        ConnectorError::Throttled { .. } => ("throttled", "the server asks to wait; try again later"),
        ConnectorError::Unreachable { code: "timed_out", .. } => {
            ("timed_out", "the server took too long to answer; try again when it is less busy")
        }
        ConnectorError::Unreachable { code: "address_blocked", .. } => (
            "address_blocked",
            "the server redirects to an address that this server does not connect to; its operator can allow it with \
             `--allow-destinations`",
        ),
        ConnectorError::Unreachable { code: "tls_failed", .. } => {
            ("tls_failed", "the server redirects to one whose certificate is not accepted")
        }
        _ => ("unreachable", "the server does not answer as it should; check the address"),
    }
}
