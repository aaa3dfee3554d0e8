//! The stream of a binary log. The driver logs in and sets what is to be set; then its
//! stream is taken over, since what the driver makes of a log has no bounds.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::gtid::Position;
use crate::connectors::following::Place;
use crate::connectors::mysql::failure::Failure;
use crate::connectors::mysql::relay::{self, Carried};
use crate::connectors::mysql::session::{self, answered};
use crate::connectors::mysql::{MySql, sql};
use crate::connectors::{Account, ConnectorError};
use crate::report::Report;
use xxhash_rust::xxh3::xxh3_64;

/// Largest event that is read whole: a row as it was and as it is, and what is around
/// them.
const LARGEST_EVENT: usize = 17 << 20;
/// What is kept of a larger one: which table it is about.
const BEGINNING: usize = 1024;
/// How often the server says that it is there, where nothing happens: nanoseconds.
const HEARTBEAT: u64 = 5_000_000_000;
/// A server that was silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(30);
/// Bytes that have to come within that time.
const PIECE: usize = 1 << 20;
/// A packet of this length goes on in the next.
const LONGEST_PACKET: usize = 0xff_ffff;

const DUMP: u8 = 0x12;
const DUMP_BY_GTID: u8 = 0x1e;
/// The stream ends where the log does.
const NOT_BLOCKING: u16 = 1;
const BY_GTID: u16 = 4;
/// Where every file begins.
const BEGIN: u32 = 4;

/// Whether the stream waits for what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// To the end of the log.
    Now,
    /// For ever.
    Stopped,
}

/// A stream of a log. Gone when dropped.
pub(super) struct Wire {
    stream: Box<dyn Carried>,
}

/// An event as it came.
pub(super) struct Packet {
    pub(super) event: Vec<u8>,
    /// It was larger; this is its beginning.
    pub(super) is_cut: bool,
}

/// The number under which we read the log: servers keep one stream for each. It is in
/// the upper half, where administrators choose none.
fn server_id(place: &Place) -> u32 {
    xxh3_64(place.name().as_bytes()) as u32 | 0x8000_0000
}

impl Wire {
    /// Asks for what comes after a position.
    pub(super) async fn open(
        account: &Account<MySql>,
        place: &Place,
        position: &Position,
        until: Until,
    ) -> Result<Self, ConnectorError> {
        let limit = account.resources.dialer.timeouts().first_byte;
        let mut session = session::open(account, &mut Report::default()).await?;
        let asked = async {
            for statement in settings(position) {
                session.run(&statement).await?;
            }
            let mut stream = session.into_stream().await?;
            let command = command(server_id(place), position, until);
            let sent = relay::write_packet(&mut *stream, 0, &command).await;
            sent.and(tokio::io::AsyncWriteExt::flush(&mut stream).await).map_err(|_| broke())?;
            Ok(Self { stream })
        };
        answered(limit, asked).await
    }

    /// The next event; none at the end of the log.
    pub(super) async fn next(&mut self) -> Result<Option<Packet>, Failure> {
        let mut event = Vec::new();
        let (mut is_cut, mut is_first) = (false, true);
        loop {
            let header = self.read(4).await?;
            let mut left = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
            let goes_on = left == LONGEST_PACKET;
            if std::mem::take(&mut is_first) {
                if left == 0 {
                    return Err(Failure::broken("the server sent an event of no length"));
                }
                let kind = self.read(1).await?[0];
                left -= 1;
                match kind {
                    0 => {}
                    0xfe if left < 8 => return Ok(None),
                    0xff => {
                        let words = self.read(left.min(BEGINNING)).await?;
                        let code = words.first_chunk::<2>().map_or(0, |code| u16::from_le_bytes(*code));
                        return Err(Failure::of_server(code));
                    }
                    _ => return Err(Failure::broken("the server sent something else than its log")),
                }
            }
            while left > 0 {
                let count = left.min(PIECE);
                left -= count;
                let piece = self.read(count).await?;
                if is_cut || event.len() + count > LARGEST_EVENT {
                    event.truncate(BEGINNING);
                    is_cut = true;
                } else {
                    event.extend(piece);
                }
            }
            if !goes_on {
                return Ok(Some(Packet { event, is_cut }));
            }
        }
    }

    async fn read(&mut self, count: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; count];
        match tokio::time::timeout(SILENCE, self.stream.read_exact(&mut bytes)).await {
            Ok(Ok(_)) => Ok(bytes),
            Ok(Err(_)) => Err(broke()),
            Err(_) => Err(Failure::broken("the server was silent for too long")),
        }
    }
}

fn broke() -> Failure {
    Failure::broken("the connection broke")
}

/// What is set before the log is asked for.
fn settings(position: &Position) -> Vec<String> {
    let names = match position {
        Position::MariaDb(_) => &["master"][..],
        Position::MySql(_) => &["master", "source"],
    };
    let mut settings = Vec::new();
    for name in names {
        settings.push(format!("SET @{name}_heartbeat_period = {HEARTBEAT}"));
        settings.push(format!("SET @{name}_binlog_checksum = @@GLOBAL.binlog_checksum"));
    }
    if let Position::MariaDb(_) = position {
        // We know its identifiers of transactions.
        settings.push("SET @mariadb_slave_capability = 4".to_owned());
        settings.push(format!("SET @slave_connect_state = {}", sql::text(&position.to_string())));
        settings.push("SET @slave_gtid_strict_mode = 0".to_owned());
        settings.push("SET @slave_gtid_ignore_duplicates = 0".to_owned());
    }
    settings
}

fn command(server_id: u32, position: &Position, until: Until) -> Vec<u8> {
    let blocking = if until == Until::Now { NOT_BLOCKING } else { 0 };
    match position {
        Position::MariaDb(_) => {
            [&[DUMP][..], &BEGIN.to_le_bytes(), &blocking.to_le_bytes(), &server_id.to_le_bytes()].concat()
        }
        Position::MySql(_) => {
            let set = position.encoded();
            let mut command = vec![DUMP_BY_GTID];
            command.extend((BY_GTID | blocking).to_le_bytes());
            command.extend(server_id.to_le_bytes());
            // No name of a file.
            command.extend(0u32.to_le_bytes());
            command.extend(u64::from(BEGIN).to_le_bytes());
            command.extend((set.len() as u32).to_le_bytes());
            command.extend(set);
            command
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_a_number_of_its_own() {
        let (one, other) = (server_id(&Place::of("sc_1")), server_id(&Place::of("sc_2")));
        assert!(one != other && one >= 1 << 31 && other >= 1 << 31);
    }

    #[test]
    fn the_log_is_asked_for_as_each_server_has_it() {
        let mariadb = Position::parse("0-1-42", true).unwrap();
        assert_eq!(command(7, &mariadb, Until::Stopped), [0x12, 4, 0, 0, 0, 0, 0, 7, 0, 0, 0]);
        assert!(settings(&mariadb).contains(&"SET @slave_connect_state = _utf8mb4 x'302d312d3432'".to_owned()));
        let mysql = Position::parse("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5", false).unwrap();
        let asked = command(7, &mysql, Until::Now);
        assert_eq!((asked[0], asked[1], asked.len()), (0x1e, 5, 1 + 2 + 4 + 4 + 8 + 4 + 48));
    }

    #[tokio::test]
    async fn events_come_in_pieces_and_of_those_that_are_too_large_the_beginning() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let packet = |body: &[u8], number: u8| {
            let [low, middle, high, ..] = (body.len() as u32).to_le_bytes();
            [&[low, middle, high, number][..], body].concat()
        };
        let whole = [&[0][..], &[7; 100]].concat();
        let long = [&[0][..], &vec![8; LONGEST_PACKET - 1]].concat();
        let sent = [
            packet(&whole, 1),
            packet(&long, 2),
            packet(&vec![8; 2 << 20], 3),
            packet(&long, 4),
            packet(&[], 5),
            packet(b"\xff\xd4\x04#HY000purged", 6),
        ]
        .concat();
        let sending = tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut theirs, &sent).await });
        let mut wire = Wire { stream: Box::new(ours) };
        let mut next =
            async || wire.next().await.map(|packet| packet.map(|packet| (packet.event.len(), packet.is_cut)));
        assert_eq!(next().await, Ok(Some((100, false))));
        let Ok(Some((length, true))) = next().await else { panic!("it is cut") };
        assert!(length <= LARGEST_EVENT);
        assert_eq!(next().await, Ok(Some((LONGEST_PACKET - 1, false))));
        assert_eq!(next().await.unwrap_err().code, Some(1236));
        sending.await.unwrap().unwrap();
    }
}
