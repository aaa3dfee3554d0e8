//! Why a command did not do what it should, and the exit code that says so.

use std::error::Error as StdError;
use std::process::ExitCode;

use crate::connectors::ConnectorError;
use crate::error::Reason;
use crate::store::StoreError;

/// Kinds of failure; each has an exit code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything not below.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// A source or store cannot be reached.
    Unreachable = 3,
    /// A login was refused, or lacks a right.
    Refused = 4,
}

/// A command that failed.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
}

impl Failure {
    /// A failure with a message for people.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A failure with an error and its causes.
    pub fn of(kind: Kind, error: &(dyn StdError + 'static)) -> Self {
        Self::new(kind, chain(error))
    }

    /// Wrong usage or configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// The exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The reason that the audit log gives for it.
    pub fn reason(&self) -> Reason {
        match self.kind {
            Kind::Failed => Reason::Internal,
            Kind::Usage => Reason::InvalidArgument,
            Kind::Unreachable => Reason::Unavailable,
            Kind::Refused => Reason::Forbidden,
        }
    }

    /// Says it on standard error.
    pub fn print(&self, json: bool) {
        if json {
            eprintln!("{}", serde_json::json!({ "error": self.message }));
        } else {
            eprintln!("error: {}", self.message);
        }
    }
}

/// An error and its causes in one line.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let line = error.to_string();
        // A transparent layer says the same as the one above it.
        if !text.ends_with(&line) {
            text.push_str(": ");
            text.push_str(&line);
        }
        cause = error.source();
    }
    text
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::of(Kind::Unreachable, &error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::of(Kind::Failed, &error)
    }
}

impl From<ConnectorError> for Failure {
    /// Only our own words: the causes may quote what the source sent.
    fn from(error: ConnectorError) -> Self {
        let kind = match &error {
            ConnectorError::LoginRefused(_) | ConnectorError::Forbidden { .. } => Kind::Refused,
            ConnectorError::Unreachable { .. } => Kind::Unreachable,
            ConnectorError::Invalid { .. } => Kind::Usage,
            ConnectorError::Throttled { .. } | ConnectorError::Stopped(_) | ConnectorError::Unexpected(_) => {
                Kind::Failed
            }
        };
        Self::new(kind, error.to_string())
    }
}
