//! What went wrong with the server, without a word that the server said: its lines
//! hold mail.

use std::time::Duration;

use super::guard::{Breach, breach_of};
use crate::connectors::ConnectorError;
use crate::connectors::reading::Stopped;

/// How long a server that asks to wait is left alone, unless it says how long.
const BUSY: Duration = Duration::from_secs(60);

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server refused the command.
    #[error("the server refused a command")]
    Refused(Refusal),
    /// The server has no time for us.
    #[error("the server asks to wait")]
    Busy,
    /// The server does not keep to the protocol.
    #[error("the server does not keep to the protocol: {0}")]
    Protocol(&'static str),
    /// The server did what none may do.
    #[error(transparent)]
    Breach(Breach),
    /// The connection is gone.
    #[error("the connection is gone ({0:?})")]
    Gone(std::io::ErrorKind),
    /// No answer in time, or one that comes too slowly.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The engine stopped listening.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// What a refusal is about, by its response code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The thing is not there.
    Missing,
    /// The login lacks the right.
    Forbidden,
    /// The mailbox has more messages than one may have.
    TooMany,
    /// The numbers of messages do not last.
    Numberless,
    /// Another reason, or none given.
    Other,
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match breach_of(&error) {
            Some(breach) => Self::Breach(breach),
            // The parser's own errors quote what it could not read.
            None if error.kind() == std::io::ErrorKind::Other => Self::Protocol("an answer cannot be read"),
            None => Self::Gone(error.kind()),
        }
    }
}

impl From<ConnectorError> for Failure {
    /// Of an output, which fails in one way only.
    fn from(_: ConnectorError) -> Self {
        Self::Stopped(Stopped)
    }
}

impl Failure {
    /// A refusal with this text, of which only the code at its beginning is read.
    pub(super) fn refused(text: &str) -> Self {
        match code(text).as_deref() {
            Some("UNAVAILABLE" | "INUSE" | "LIMIT" | "THROTTLED" | "SERVERBUG") => Self::Busy,
            Some("NONEXISTENT" | "TRYCREATE") => Self::Refused(Refusal::Missing),
            Some("NOPERM" | "ACL" | "AUTHORIZATIONFAILED" | "PRIVACYREQUIRED") => Self::Refused(Refusal::Forbidden),
            _ => Self::Refused(Refusal::Other),
        }
    }

    /// As the error of a whole pass.
    pub(super) fn into_error(self) -> ConnectorError {
        match self {
            Self::Busy => ConnectorError::Throttled { retry_after: BUSY },
            Self::Stopped(stopped) => ConnectorError::Stopped(stopped),
            Self::TimedOut => ConnectorError::Unreachable { code: "timed_out", cause: None },
            Self::Refused(_) => ConnectorError::Unexpected(Box::new(self)),
            Self::Protocol(_) | Self::Breach(_) | Self::Gone(_) => {
                ConnectorError::Unreachable { code: "unreachable", cause: Some(Box::new(self)) }
            }
        }
    }
}

impl Refusal {
    /// Code and words for a mailbox that cannot be read.
    pub(super) fn of_mailbox(self) -> (&'static str, &'static str) {
        match self {
            Self::Missing => ("object_missing", "the folder went away; the next sync looks again"),
            Self::Forbidden => {
                ("permission_missing", "the login may not read this folder; give it the right, or exclude it")
            }
            Self::TooMany => ("too_large", "the folder has more than two million messages; exclude it, or divide it"),
            Self::Numberless => ("key_missing", "the server gives the messages of this folder no lasting numbers"),
            Self::Other => ("read_failed", "the server refused to open or read this folder"),
        }
    }
}

/// `UNAVAILABLE` of `[UNAVAILABLE] try later`.
fn code(text: &str) -> Option<String> {
    let code = text.trim_start().strip_prefix('[')?;
    let end = code.find([']', ' '])?;
    Some(code[..end].to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart_by_their_code_alone() {
        assert!(matches!(Failure::refused("[unavailable] later"), Failure::Busy));
        assert!(matches!(Failure::refused("[NOPERM] no"), Failure::Refused(Refusal::Forbidden)));
        assert!(matches!(Failure::refused("[NONEXISTENT] no such mailbox"), Failure::Refused(Refusal::Missing)));
        for text in ["no [UNAVAILABLE] code", "", "[", "[X", "[]"] {
            assert!(matches!(Failure::refused(text), Failure::Refused(Refusal::Other)), "{text}");
        }
    }
}
