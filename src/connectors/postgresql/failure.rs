//! What went wrong with the server, without a word that the server said: its
//! messages may quote rows.

use std::error::Error as _;
use std::fmt;

use tokio_postgres::error::{Severity, SqlState};

use super::guard::{Breach, breach_of};
use crate::connectors::ConnectorError;

/// An error of the driver, stripped to what holds no data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// SQLSTATE, if the server sent one.
    pub(super) state: Option<SqlState>,
    /// The session is gone.
    pub(super) fatal: bool,
    /// What the server did that none may do.
    pub(super) breach: Option<Breach>,
    kind: String,
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        let state = error.code().cloned();
        let fatal = match error.as_db_error() {
            Some(sent) => !matches!(sent.parsed_severity(), Some(Severity::Error)),
            None => true,
        };
        let io = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
        let breach = io.and_then(breach_of);
        let kind = match io {
            Some(_) if breach.is_some() => breach.map(|breach| breach.to_string()).unwrap_or_default(),
            Some(io) => format!("{error} ({:?})", io.kind()),
            None => error.to_string(),
        };
        // The driver's own words; those of the server are in the source only.
        let kind = if error.as_db_error().is_some() { "the server reported an error".to_owned() } else { kind };
        Self { state, fatal, breach, kind }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let breach = breach_of(&error);
        let kind = breach.map(|breach| breach.to_string());
        let kind = kind.unwrap_or_else(|| format!("the connection failed ({:?})", error.kind()));
        Self { state: None, fatal: true, breach, kind }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            Some(state) => write!(formatter, "{} (SQLSTATE {})", self.kind, state.code()),
            None => formatter.write_str(&self.kind),
        }
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// What the server said, in the replication protocol.
    pub(super) fn of_server(state: Option<SqlState>, fatal: bool) -> Self {
        Self { state, fatal, breach: None, kind: "the server reported an error".to_owned() }
    }

    /// The server does not keep to the protocol, or has gone.
    pub(super) fn broken(kind: &str) -> Self {
        Self { state: None, fatal: true, breach: None, kind: kind.to_owned() }
    }

    /// The login was refused, whatever the reason: password, role, database.
    pub(super) fn is_refused_login(&self) -> bool {
        let refused = [
            SqlState::INVALID_PASSWORD,
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            SqlState::INVALID_CATALOG_NAME,
            SqlState::INSUFFICIENT_PRIVILEGE,
        ];
        match &self.state {
            Some(state) => refused.contains(state),
            None => self.kind.starts_with("authentication error") || self.breach.is_some_and(Breach::is_of_login),
        }
    }

    /// As the error of a whole pass.
    pub(super) fn into_error(self) -> ConnectorError {
        if self.fatal {
            ConnectorError::Unreachable { code: "unreachable", cause: Some(Box::new(self)) }
        } else {
            ConnectorError::Unexpected(Box::new(self))
        }
    }

    /// Code and words for one object that cannot be read.
    pub(super) fn of_object(&self) -> (&'static str, &'static str) {
        match &self.state {
            Some(state) if *state == SqlState::INSUFFICIENT_PRIVILEGE => {
                ("permission_missing", "the login may not read this object; grant it SELECT")
            }
            Some(state) if *state == SqlState::UNDEFINED_TABLE || *state == SqlState::UNDEFINED_COLUMN => {
                ("object_changed", "the object changed while it was read; the next sync reads it again")
            }
            Some(state) if *state == SqlState::LOCK_NOT_AVAILABLE || *state == SqlState::QUERY_CANCELED => {
                ("timed_out", "the server did not let the object be read in time")
            }
            Some(_) | None => ("read_failed", "the server reported an error while the object was read"),
        }
    }
}
