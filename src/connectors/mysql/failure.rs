//! What went wrong with the server, without a word that the server said: its messages
//! may quote rows.

use std::fmt;

use mysql_async::{DriverError, Error, IoError};

use super::guard::Breach;
use crate::connectors::ConnectorError;

/// Errors of the server by their numbers, which MySQL and MariaDB mostly share.
mod number {
    pub(super) const CONNECTIONS: u16 = 1040;
    pub(super) const DATABASE_DENIED: u16 = 1044;
    pub(super) const ACCESS_DENIED: u16 = 1045;
    pub(super) const SHUTDOWN: u16 = 1053;
    pub(super) const NO_COLUMN: u16 = 1054;
    pub(super) const HOST_BLOCKED: u16 = 1129;
    pub(super) const HOST_DENIED: u16 = 1130;
    pub(super) const TABLE_DENIED: u16 = 1142;
    pub(super) const COLUMN_DENIED: u16 = 1143;
    pub(super) const NO_TABLE: u16 = 1146;
    pub(super) const LOCK_TIMEOUT: u16 = 1205;
    pub(super) const USER_CONNECTIONS: u16 = 1203;
    pub(super) const RESOURCES: u16 = 1226;
    pub(super) const SPECIFIC_DENIED: u16 = 1227;
    pub(super) const OLD_METHOD: u16 = 1251;
    pub(super) const LOG: u16 = 1236;
    pub(super) const INTERRUPTED: u16 = 1317;
    pub(super) const VIEW_INVALID: u16 = 1356;
    pub(super) const TABLE_CHANGED: u16 = 1412;
    pub(super) const UNKNOWN_METHOD: u16 = 1524;
    pub(super) const ACCESS_DENIED_WITHOUT_PASSWORD: u16 = 1698;
    pub(super) const EXPIRED: u16 = 1862;
    pub(super) const KILLED: u16 = 1927;
    pub(super) const TIME_LIMIT_OF_MARIADB: u16 = 1969;
    pub(super) const TIME_LIMIT_OF_MYSQL: u16 = 3024;
    pub(super) const LOCKED: u16 = 3118;
    pub(super) const NEEDS_TLS: u16 = 3159;
    pub(super) const LOCKED_IN_MARIADB: u16 = 4151;
    pub(super) const EXPIRED_IN_MARIADB: u16 = 4161;
}

/// An error of the driver, stripped to what holds no data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The server's number of it, if it sent one.
    pub(super) code: Option<u16>,
    /// The session is gone.
    pub(super) fatal: bool,
    /// What the server did that none may do.
    pub(super) breach: Option<Breach>,
    kind: &'static str,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Server(sent) => Self::of_server(sent.code),
            Error::Io(IoError::Io(_)) => Self::broken("the connection broke"),
            Error::Io(IoError::Tls(_)) => Self::broken("the driver was asked for TLS"),
            Error::Driver(DriverError::UnknownAuthPlugin { .. } | DriverError::MysqlOldPasswordDisabled) => {
                Self { breach: Some(Breach::Method), ..Self::broken("the method of the login is not supported") }
            }
            Error::Driver(_) | Error::Other(_) | Error::Url(_) => Self::broken("the server sent what was not expected"),
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
    /// The server reported an error.
    pub(super) fn of_server(code: u16) -> Self {
        let fatal = [number::SHUTDOWN, number::KILLED].contains(&code);
        Self { code: Some(code), fatal, breach: None, kind: "the server reported an error" }
    }

    /// The server has gone, or does not keep to the protocol.
    pub(super) fn broken(kind: &'static str) -> Self {
        Self { code: None, fatal: true, breach: None, kind }
    }

    /// The same, by a breach, after which the session is gone.
    pub(super) fn caused_by(self, breach: Breach) -> Self {
        Self { breach: Some(breach), fatal: true, ..self }
    }

    fn is(&self, codes: &[u16]) -> bool {
        self.code.is_some_and(|code| codes.contains(&code))
    }

    /// The login was refused, whatever the reason.
    pub(super) fn is_refused_login(&self) -> bool {
        self.breach.is_some_and(Breach::is_of_login)
            || self.is(&[
                number::DATABASE_DENIED,
                number::ACCESS_DENIED,
                number::ACCESS_DENIED_WITHOUT_PASSWORD,
                number::HOST_DENIED,
                number::OLD_METHOD,
                number::UNKNOWN_METHOD,
                number::EXPIRED,
                number::EXPIRED_IN_MARIADB,
                number::LOCKED,
                number::LOCKED_IN_MARIADB,
            ])
    }

    /// The server takes no more connections just now.
    pub(super) fn is_busy(&self) -> bool {
        self.is(&[number::CONNECTIONS, number::USER_CONNECTIONS, number::RESOURCES, number::HOST_BLOCKED])
    }

    /// The server speaks to nobody without TLS.
    pub(super) fn needs_tls(&self) -> bool {
        self.is(&[number::NEEDS_TLS])
    }

    /// The login may not read the object.
    pub(super) fn is_forbidden(&self) -> bool {
        self.is(&[
            number::DATABASE_DENIED,
            number::ACCESS_DENIED,
            number::TABLE_DENIED,
            number::COLUMN_DENIED,
            number::SPECIFIC_DENIED,
        ])
    }

    /// There is no such object.
    pub(super) fn is_missing(&self) -> bool {
        self.is(&[number::NO_TABLE])
    }

    /// The log cannot be read from where it was asked for.
    pub(super) fn is_purged(&self) -> bool {
        self.is(&[number::LOG])
    }

    /// As the error of a stream, which has ended in any case.
    pub(super) fn into_stream_error(self) -> ConnectorError {
        Self { fatal: true, ..self }.into_error()
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
        if self.is_forbidden() {
            return ("permission_missing", "the login may not read this object; grant it SELECT");
        }
        match self.code {
            Some(number::NO_TABLE | number::NO_COLUMN | number::TABLE_CHANGED) => {
                ("object_changed", "the object changed while it was read; the next sync reads it again")
            }
            Some(number::VIEW_INVALID) => {
                ("read_failed", "the view refers to something that is gone or that its definer may not read")
            }
            Some(
                number::LOCK_TIMEOUT
                | number::INTERRUPTED
                | number::TIME_LIMIT_OF_MARIADB
                | number::TIME_LIMIT_OF_MYSQL,
            ) => ("timed_out", "the server did not let the object be read in time"),
            Some(_) | None => ("read_failed", "the server reported an error while the object was read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_the_server_said_is_kept() {
        let sent = mysql_async::ServerError {
            code: 1045,
            message: "Access denied: SECRET".to_owned(),
            state: "SECRET".to_owned(),
        };
        let failure = Failure::from(Error::Server(sent));
        assert!(!format!("{failure} {failure:?}").contains("SECRET"));
        assert!(failure.is_refused_login() && !failure.fatal);
        let payload = b"SECRET".to_vec();
        let failure = Failure::from(Error::Driver(DriverError::UnexpectedPacket { payload }));
        assert!(!format!("{failure} {failure:?}").contains("SECRET"));
        assert!(failure.fatal);
    }
}
