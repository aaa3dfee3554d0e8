//! What a server means by a status and an error code. Codes are compared with those
//! that we know and never shown.

use std::time::Duration;

use http::StatusCode;

use crate::connectors::ConnectorError;
use crate::connectors::remote::xml::{self, Step};
use crate::egress::http::Response;

/// Most of an answer that is an error.
const LARGEST: u64 = 64 * 1024;
/// How long a server that asks for patience without saying how much is left alone.
const BUSY: Duration = Duration::from_secs(2);

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The key is not known, not right, or not valid any more.
    Login,
    /// The key may not do it.
    Permission,
    /// There is no such bucket.
    NoBucket,
    /// There is no such key.
    NoKey,
    /// It is another version than the one asked for.
    Changed,
    /// The object lies in an archive, and must be restored first.
    Archived,
    /// The bucket is in another region, or under another address.
    Elsewhere,
    /// Our clock and the server's differ too much.
    Clock,
    /// Too many requests.
    Busy(Duration),
    /// Anything else.
    Other(StatusCode),
}

impl Refusal {
    /// Reads the answer to its end, of an error.
    pub(super) async fn of(response: Response) -> Self {
        let (status, wait) = (response.status(), response.retry_after());
        let body = response.bytes(LARGEST).await.unwrap_or_default();
        Self::read(status, &code(&body), wait)
    }

    fn read(status: StatusCode, code: &str, wait: Option<Duration>) -> Self {
        match code {
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired"
            | "InvalidSecurity"
            | "InvalidClientTokenId"
            | "NotSignedUp"
            | "AccountProblem"
            | "UnauthorizedAccess" => Self::Login,
            "NoSuchBucket" => Self::NoBucket,
            "NoSuchKey" | "NoSuchVersion" => Self::NoKey,
            "PreconditionFailed" => Self::Changed,
            "InvalidObjectState" => Self::Archived,
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException"
            | "Redirect" => Self::Elsewhere,
            "RequestTimeTooSkewed" | "RequestExpired" => Self::Clock,
            "SlowDown" | "ServiceUnavailable" | "ThrottlingException" | "RequestLimitExceeded" | "TooManyRequests" => {
                Self::Busy(wait.unwrap_or(BUSY))
            }
            _ => match status {
                StatusCode::UNAUTHORIZED => Self::Login,
                StatusCode::FORBIDDEN => Self::Permission,
                StatusCode::PRECONDITION_FAILED => Self::Changed,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Self::Busy(wait.unwrap_or(BUSY)),
                status if status.is_redirection() => Self::Elsewhere,
                status => Self::Other(status),
            },
        }
    }

    /// What it means for a listing.
    pub(super) fn of_listing(self, bucket: &str) -> ConnectorError {
        let invalid =
            |field: &str, reason: &str| ConnectorError::Invalid { field: field.to_owned(), reason: reason.to_owned() };
        match self {
            Self::Login => ConnectorError::LoginRefused(None),
            Self::Permission => ConnectorError::Forbidden { object: bucket.to_owned() },
            Self::NoBucket => invalid("config.bucket", "names no bucket of this server"),
            Self::Elsewhere => invalid("config.region", "is not the region of the bucket"),
            Self::Busy(retry_after) => ConnectorError::Throttled { retry_after },
            Self::Other(status) if status.is_server_error() => {
                ConnectorError::Unreachable { code: "unreachable", cause: None }
            }
            Self::NoKey | Self::Changed | Self::Archived | Self::Clock | Self::Other(_) => {
                ConnectorError::Unexpected(format!("the server refused the listing: {self:?}").into())
            }
        }
    }
}

fn code(body: &[u8]) -> String {
    let (mut code, mut is_error) = (String::new(), false);
    let read = xml::each(body, &mut |step| match step {
        Step::Begin("Error") => is_error = true,
        Step::End("Code", text) if is_error && code.is_empty() => code = text.trim().to_owned(),
        Step::Begin(_) | Step::End(..) => {}
    });
    read.map(|()| code).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_before_statuses() {
        let read = |status: u16, body: &str| {
            Refusal::read(StatusCode::from_u16(status).unwrap(), &code(body.as_bytes()), None)
        };
        let error =
            |code: &str| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message></Error>");
        assert_eq!(read(403, &error("SignatureDoesNotMatch")), Refusal::Login);
        assert_eq!(read(403, &error("AccessDenied")), Refusal::Permission);
        assert_eq!(read(403, &error("InvalidObjectState")), Refusal::Archived);
        assert_eq!(read(404, &error("NoSuchBucket")), Refusal::NoBucket);
        assert_eq!(read(404, &error("NoSuchKey")), Refusal::NoKey);
        assert_eq!(read(301, &error("PermanentRedirect")), Refusal::Elsewhere);
        assert_eq!(read(503, "not xml"), Refusal::Busy(BUSY));
        assert_eq!(read(412, ""), Refusal::Changed);
        assert_eq!(read(403, ""), Refusal::Permission);
        assert_eq!(read(500, &error("InternalError")), Refusal::Other(StatusCode::INTERNAL_SERVER_ERROR));
    }
}
