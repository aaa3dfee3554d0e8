//! What went wrong with the server, without a word that the server said: its messages
//! may quote documents.

use crate::connectors::ConnectorError;

/// Errors of the server by their numbers.
mod number {
    pub(super) const UNAUTHORIZED: i64 = 13;
    pub(super) const AUTHENTICATION_FAILED: i64 = 18;
    pub(super) const CURSOR_GONE: i64 = 43;
    pub(super) const MAX_TIME: i64 = 50;
    pub(super) const SHUTDOWN: i64 = 91;
    pub(super) const QUERY_KILLED: i64 = 175;
    pub(super) const MECHANISM_UNAVAILABLE: i64 = 334;
    pub(super) const NOT_AUTHENTICATED: i64 = 8000;
    pub(super) const INTERRUPTED_BY_SHUTDOWN: i64 = 11600;
}

/// Why something could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The connection is gone.
    #[error("the connection broke")]
    Gone(std::io::ErrorKind),
    /// Nothing came in time.
    #[error("the server took too long")]
    TimedOut,
    /// What was sent is none of what a server sends.
    #[error("{0}")]
    Protocol(&'static str),
    /// It wants a password hashed too often, or too seldom.
    #[error("the server asks for an amount of hashing that is not accepted")]
    Rounds,
    /// It could not show that it knows the password.
    #[error("the server does not know the password")]
    Impostor,
    /// The server reports an error of this number.
    #[error("the server reported error {0}")]
    Server(i64),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Gone(error.kind())
    }
}

impl Failure {
    /// Bytes that are no answer.
    pub(super) const MALFORMED: Self = Self::Protocol("the server sent an answer that cannot be read");

    /// The session cannot go on.
    pub(super) fn is_fatal(self) -> bool {
        match self {
            Self::Server(code) => [number::SHUTDOWN, number::INTERRUPTED_BY_SHUTDOWN].contains(&code),
            Self::Gone(_) | Self::TimedOut | Self::Protocol(_) | Self::Rounds | Self::Impostor => true,
        }
    }

    /// The login was refused, by either side.
    pub(super) fn is_refused_login(self) -> bool {
        const REFUSED: [i64; 3] =
            [number::AUTHENTICATION_FAILED, number::NOT_AUTHENTICATED, number::MECHANISM_UNAVAILABLE];
        match self {
            Self::Rounds | Self::Impostor => true,
            Self::Server(code) => REFUSED.contains(&code),
            Self::Gone(_) | Self::TimedOut | Self::Protocol(_) => false,
        }
    }

    /// The user may not do what was asked for.
    pub(super) fn is_forbidden(self) -> bool {
        self == Self::Server(number::UNAUTHORIZED)
    }

    /// As the error of a whole pass.
    pub(super) fn into_error(self) -> ConnectorError {
        let cause: Box<dyn std::error::Error + Send + Sync> = Box::new(self);
        match self {
            _ if self.is_refused_login() => ConnectorError::LoginRefused(Some(cause)),
            _ if self.is_forbidden() => ConnectorError::Forbidden { object: "the list of collections".to_owned() },
            Self::TimedOut => ConnectorError::Unreachable { code: "timed_out", cause: Some(cause) },
            _ if self.is_fatal() => ConnectorError::Unreachable { code: "unreachable", cause: Some(cause) },
            _ => ConnectorError::Unexpected(cause),
        }
    }

    /// Code and words for one object that cannot be read.
    pub(super) fn of_object(self) -> (&'static str, &'static str) {
        match self {
            Self::Server(number::UNAUTHORIZED) => super::read::PERMISSION_MISSING,
            Self::Server(number::QUERY_KILLED) => {
                ("object_changed", "the object changed while it was read; the next sync reads it again")
            }
            Self::Server(number::MAX_TIME | number::CURSOR_GONE) => {
                ("timed_out", "the server did not let the object be read in time")
            }
            _ => ("read_failed", "the server reported an error while the object was read"),
        }
    }
}
