//! A client of the streaming replication protocol, which the driver does not
//! speak: log in with `replication=database`, ask simply, stream both ways.

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::frontend;
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::error::SqlState;

use crate::connectors::link::Stream;
use crate::connectors::postgresql::PostgreSql;
use crate::connectors::postgresql::failure::Failure;
use crate::connectors::postgresql::guard::Guarded;
use crate::connectors::postgresql::object::LARGEST_ROW;
use crate::connectors::postgresql::session::{self, answered};
use crate::connectors::postgresql::settings::Credentials;
use crate::connectors::{Account, ConnectorError};
use crate::report::Report;

/// Room that is made for a message at once: it may never come.
const ROOM: usize = 1024 * 1024;

/// Largest message: what a row may be, and what is around it.
const LARGEST_MESSAGE: usize = LARGEST_ROW + 4096;
/// Largest answer to what is asked here: names and places.
const LARGEST_ANSWER: usize = 64 * 1024;

/// What decides how the server writes values, as in an ordinary session.
const SETTINGS: [(&str, &str); 6] = [
    ("client_encoding", "UTF8"),
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
];

/// A connection in replication mode. Gone when dropped.
pub(super) struct Wire {
    stream: Guarded<Stream>,
    received: BytesMut,
}

/// A message of the server: its tag and its body.
type Message = (u8, Bytes);

/// A row of an answer; NULL is none.
pub(super) type Row = Vec<Option<String>>;

impl Wire {
    /// Connects and logs in.
    pub(super) async fn open(account: &Account<PostgreSql>) -> Result<Self, ConnectorError> {
        let limits = account.resources.dialer.timeouts();
        let stream = session::reach(account, &mut Report::default()).await?;
        // Of a change that is larger only the beginning arrives; a sync tells then
        // what it was.
        let stream = session::guarded(stream, LARGEST_MESSAGE);
        let mut wire = Self { stream, received: BytesMut::with_capacity(64 * 1024) };
        answered(limits.login, wire.log_in(&account.credentials)).await?;
        Ok(wire)
    }

    async fn log_in(&mut self, credentials: &Credentials) -> Result<(), Failure> {
        let named = [
            ("user", credentials.username.as_str()),
            ("database", credentials.database.as_str()),
            ("replication", "database"),
            ("application_name", "tributary"),
        ];
        let mut message = BytesMut::new();
        frontend::startup_message(named.into_iter().chain(SETTINGS), &mut message)?;
        self.send(&message).await?;
        self.authenticate(credentials).await?;
        loop {
            match self.receive().await? {
                (b'Z', _) => return Ok(()),
                (b'E', body) => return Err(server_error(&body)),
                _ => {}
            }
        }
    }

    async fn authenticate(&mut self, credentials: &Credentials) -> Result<(), Failure> {
        let password = credentials.password.expose_secret().as_bytes();
        let mut exchange = None;
        loop {
            let mut body = match self.receive().await? {
                (b'R', body) if body.len() >= 4 => body,
                (b'E', body) => return Err(server_error(&body)),
                (b'N' | b'v', _) => continue,
                _ => return Err(Failure::broken("the server answered a login with something else")),
            };
            let mut reply = BytesMut::new();
            match body.get_i32() {
                0 => return Ok(()),
                3 => frontend::password_message(password, &mut reply)?,
                5 => {
                    let salt = body.get(..4).and_then(|salt| salt.try_into().ok());
                    let salt = salt.ok_or_else(|| Failure::broken("the server sent a salt that is none"))?;
                    let hash = md5_hash(credentials.username.as_bytes(), password, salt);
                    frontend::password_message(hash.as_bytes(), &mut reply)?;
                }
                10 => {
                    if !body.split(|byte| *byte == 0).any(|name| name == SCRAM_SHA_256.as_bytes()) {
                        return Err(Failure::broken("the server asks for a kind of login that is not known"));
                    }
                    let scram = ScramSha256::new(password, ChannelBinding::unsupported());
                    frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut reply)?;
                    exchange = Some(scram);
                }
                11 => {
                    let scram = exchange.as_mut().ok_or_else(out_of_turn)?;
                    scram.update(&body)?;
                    frontend::sasl_response(scram.message(), &mut reply)?;
                }
                12 => {
                    exchange.as_mut().ok_or_else(out_of_turn)?.finish(&body)?;
                    continue;
                }
                _ => return Err(Failure::broken("the server asks for a kind of login that is not known")),
            }
            self.send(&reply).await?;
        }
    }

    /// Asks one thing and answers its rows.
    pub(super) async fn query(&mut self, statement: &str) -> Result<Vec<Row>, Failure> {
        self.ask(statement).await?;
        let mut rows = Vec::new();
        let mut failed = None;
        let mut length = 0;
        loop {
            match self.receive().await? {
                (b'D', body) => {
                    length += body.len();
                    if length > LARGEST_ANSWER {
                        return Err(Failure::broken("the server answers more than was asked"));
                    }
                    rows.push(row(body)?);
                }
                (b'E', body) => failed = Some(server_error(&body)),
                (b'Z', _) => return failed.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }

    /// Asks for what begins to stream both ways.
    pub(super) async fn start(&mut self, statement: &str) -> Result<(), Failure> {
        self.ask(statement).await?;
        let mut failed = None;
        loop {
            match self.receive().await? {
                (b'W', _) => return Ok(()),
                (b'E', body) => failed = Some(server_error(&body)),
                (b'Z', _) => {
                    return Err(failed.unwrap_or_else(|| Failure::broken("the server did not begin to stream")));
                }
                _ => {}
            }
        }
    }

    /// The next piece of the stream. Safe to drop: nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Bytes, Failure> {
        loop {
            match self.receive().await? {
                (b'd', body) => return Ok(body),
                (b'E', body) => return Err(server_error(&body)),
                (b'c' | b'C' | b'Z', _) => return Err(Failure::broken("the server ended the stream")),
                _ => {}
            }
        }
    }

    /// Sends one piece of the stream.
    pub(super) async fn reply(&mut self, piece: &[u8]) -> Result<(), Failure> {
        let mut message = BytesMut::with_capacity(piece.len() + 5);
        frontend::CopyData::new(piece)?.write(&mut message);
        self.send(&message).await
    }

    async fn ask(&mut self, statement: &str) -> Result<(), Failure> {
        let mut message = BytesMut::new();
        frontend::query(statement, &mut message)?;
        self.send(&message).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    async fn receive(&mut self) -> Result<Message, Failure> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(message);
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(Failure::broken("the server closed the connection"));
            }
        }
    }

    fn take(&mut self) -> Result<Option<Message>, Failure> {
        let Some(header) = self.received.first_chunk::<5>() else { return Ok(None) };
        let [tag, length @ ..] = *header;
        let length = u32::from_be_bytes(length) as usize;
        if !(4..=LARGEST_MESSAGE).contains(&length) {
            return Err(Failure::broken("the server sent a message of no possible length"));
        }
        if self.received.len() < length + 1 {
            self.received.reserve((length + 1 - self.received.len()).min(ROOM));
            return Ok(None);
        }
        let mut message = self.received.split_to(length + 1).freeze();
        message.advance(5);
        Ok(Some((tag, message)))
    }
}

fn out_of_turn() -> Failure {
    Failure::broken("the server answered a login out of turn")
}

/// Severity and state alone: the words of a server may quote rows.
fn server_error(body: &[u8]) -> Failure {
    let field = |kind: u8| {
        let fields = body.split(|byte| *byte == 0);
        fields.filter_map(|field| field.split_first()).find(|(tag, _)| **tag == kind).map(|(_, text)| text)
    };
    let is_error = field(b'V').or_else(|| field(b'S')).is_some_and(|severity| severity == b"ERROR");
    let state = field(b'C').and_then(|code| std::str::from_utf8(code).ok()).map(SqlState::from_code);
    Failure::of_server(state, !is_error)
}

fn row(mut body: Bytes) -> Result<Row, Failure> {
    let malformed = || Failure::broken("the server sent a row that is none");
    let count = body.try_get_u16().map_err(|_| malformed())?;
    let mut fields = Vec::with_capacity(count.into());
    for _ in 0..count {
        let length = body.try_get_i32().map_err(|_| malformed())?;
        let Ok(length) = usize::try_from(length) else {
            fields.push(None);
            continue;
        };
        if body.len() < length {
            return Err(malformed());
        }
        fields.push(Some(String::from_utf8_lossy(&body.split_to(length)).into_owned()));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_error_only_severity_and_state_are_kept() {
        let failure = server_error(b"SERROR\0VERROR\0C42704\0Msecret row\0\0");
        assert_eq!(failure.state, Some(SqlState::UNDEFINED_OBJECT));
        assert!(!failure.fatal && !failure.to_string().contains("secret"));
        assert!(server_error(b"SFATAL\0VFATAL\0C57P01\0\0").fatal);
    }

    #[test]
    fn a_row_that_is_cut_off_is_an_error() {
        assert_eq!(row(Bytes::from_static(b"\0\x02\0\0\0\x01a\xff\xff\xff\xff")), Ok(vec![Some("a".to_owned()), None]));
        assert!(row(Bytes::from_static(b"\0\x01\0\0\0\x09a")).is_err());
        assert!(row(Bytes::from_static(b"\0")).is_err());
    }
}
