//! What went wrong with the server, without a word that the server said: its messages
//! may quote documents.

use std::fmt;

use mongodb::error::{Error, ErrorKind};

use super::guard::Breach;
use crate::connectors::ConnectorError;

/// Errors of the server by their numbers.
mod number {
    pub(super) const UNAUTHORIZED: i32 = 13;
    pub(super) const AUTHENTICATION_FAILED: i32 = 18;
    pub(super) const MAX_TIME: i32 = 50;
    pub(super) const QUERY_KILLED: i32 = 175;
    pub(super) const CURSOR_GONE: i32 = 43;
    pub(super) const SHUTDOWN: i32 = 91;
    pub(super) const INTERRUPTED_BY_SHUTDOWN: i32 = 11600;
    pub(super) const NOT_AUTHENTICATED: i32 = 8000;
}

/// An error of the driver, stripped to what holds no data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    code: Option<i32>,
    /// The session is gone.
    pub(super) fatal: bool,
    /// What the server did that none may do.
    pub(super) breach: Option<Breach>,
    is_login: bool,
    kind: &'static str,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match &*error.kind {
            ErrorKind::Command(sent) => {
                let fatal = [number::SHUTDOWN, number::INTERRUPTED_BY_SHUTDOWN].contains(&sent.code);
                Self { code: Some(sent.code), fatal, ..Self::broken("the server reported an error") }
            }
            ErrorKind::Authentication { .. } => Self { is_login: true, ..Self::broken("the login failed") },
            ErrorKind::Io(_) => Self::broken("the connection broke"),
            ErrorKind::ServerSelection { .. } | ErrorKind::ConnectionPoolCleared { .. } => {
                Self::broken("the server does not answer as one that can be read")
            }
            ErrorKind::IncompatibleServer { .. } => Self::broken("the server is too old"),
            _ => Self::broken("the server sent what was not expected"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.breach, self.code) {
            (Some(breach), _) => write!(formatter, "{breach}"),
            (None, Some(code)) => write!(formatter, "{} (error {code})", self.kind),
            (None, None) => formatter.write_str(self.kind),
        }
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// The server has gone, or does not keep to the protocol.
    pub(super) fn broken(kind: &'static str) -> Self {
        Self { code: None, fatal: true, breach: None, is_login: false, kind }
    }

    /// The same, by a breach, after which the session is gone.
    pub(super) fn caused_by(self, breach: Breach) -> Self {
        Self { breach: Some(breach), fatal: true, ..self }
    }

    fn is(&self, codes: &[i32]) -> bool {
        self.code.is_some_and(|code| codes.contains(&code))
    }

    /// The login was refused, whatever the reason.
    pub(super) fn is_refused_login(&self) -> bool {
        let is_breach = self.breach == Some(Breach::Iterations);
        is_breach || self.is_login || self.is(&[number::AUTHENTICATION_FAILED, number::NOT_AUTHENTICATED])
    }

    /// The user may not do what was asked for.
    pub(super) fn is_forbidden(&self) -> bool {
        self.is(&[number::UNAUTHORIZED])
    }

    /// As the error of a whole pass.
    pub(super) fn into_error(self) -> ConnectorError {
        if self.is_refused_login() {
            ConnectorError::LoginRefused(Some(Box::new(self)))
        } else if self.is_forbidden() {
            ConnectorError::Forbidden { object: "the list of collections".to_owned() }
        } else if self.fatal {
            ConnectorError::Unreachable { code: "unreachable", cause: Some(Box::new(self)) }
        } else {
            ConnectorError::Unexpected(Box::new(self))
        }
    }

    /// Code and words for one object that cannot be read.
    pub(super) fn of_object(&self) -> (&'static str, &'static str) {
        match self.code {
            Some(number::UNAUTHORIZED) => {
                ("permission_missing", "the login may not read this object; grant it the role `read`")
            }
            Some(number::QUERY_KILLED) => {
                ("object_changed", "the object changed while it was read; the next sync reads it again")
            }
            Some(number::MAX_TIME | number::CURSOR_GONE) => {
                ("timed_out", "the server did not let the object be read in time")
            }
            Some(_) | None => ("read_failed", "the server reported an error while the object was read"),
        }
    }
}
