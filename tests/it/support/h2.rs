//! HTTP/2 by hand, frame by frame: what no library would send.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const ACK: u8 = 1;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const INITIAL_WINDOW_SIZE: u16 = 4;

/// A frame that came.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A connection.
pub struct Raw {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    next: u32,
}

/// A frame as bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header block of literals that are not indexed.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            integer(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// An integer of HPACK after a prefix of seven bits.
fn integer(block: &mut Vec<u8>, mut value: usize) {
    if value < 127 {
        return block.push(value as u8);
    }
    block.push(127);
    value -= 127;
    while value >= 128 {
        block.push((value % 128 + 128) as u8);
        value /= 128;
    }
    block.push(value as u8);
}

/// The header block of a request.
pub fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut fields = vec![(":method", method), (":scheme", "http"), (":path", path), (":authority", "x")];
    fields.extend(more);
    block(&fields)
}

impl Raw {
    /// Connects and says hello, with a window for each stream.
    pub async fn connect(address: &str, window: u32) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let (reader, writer) = stream.into_split();
        let mut raw = Self { reader, writer, next: 1 };
        let mut settings = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        settings.extend(window.to_be_bytes());
        raw.write(&[PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat()).await.expect("it is taken");
        raw
    }

    /// The number of the next stream.
    pub fn stream(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// Writes bytes; an error once the server has ended the connection.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes).await
    }

    /// Writes the same bytes again and again, for so long at most, without a look at
    /// what comes back. How often they were taken, and whether the server ended it.
    pub async fn flood(&mut self, bytes: &[u8], limit: Duration) -> (usize, bool) {
        let mut times = 0;
        let flood = async {
            while self.writer.write_all(bytes).await.is_ok() {
                times += 1;
            }
        };
        let is_ended = tokio::time::timeout(limit, flood).await.is_ok();
        (times, is_ended)
    }

    /// The same, while what comes back is read; how many acknowledgements there were.
    pub async fn acknowledged(&mut self, bytes: &[u8], limit: Duration) -> usize {
        let Self { reader, writer, .. } = self;
        let mut acknowledged = 0;
        let flood = async {
            while writer.write_all(bytes).await.is_ok() {}
            // Ended: what has come is still to be counted.
            std::future::pending::<()>().await;
        };
        let answers = async {
            while let Some(frame) = next(reader).await {
                acknowledged += usize::from(frame.flags & ACK != 0 && matches!(frame.kind, PING | SETTINGS));
            }
        };
        let both = async {
            tokio::select! {
                () = flood => {}
                () = answers => {}
            }
        };
        let _ = tokio::time::timeout(limit, both).await;
        acknowledged
    }

    /// The next frame; none at the end.
    pub async fn read(&mut self) -> Option<Frame> {
        next(&mut self.reader).await
    }

    /// Reads until the server ends the connection, or for so long; the error code of
    /// its GOAWAY, if it said one. Panics when it does not end in time.
    pub async fn ended(&mut self, limit: Duration) -> Option<u32> {
        let end = async {
            let mut code = None;
            while let Some(frame) = self.read().await {
                if frame.kind == GOAWAY {
                    code = frame.payload[4..8].try_into().ok().map(u32::from_be_bytes);
                }
            }
            code
        };
        tokio::time::timeout(limit, end).await.expect("the server ends the connection")
    }

    /// Reads to the headers of the answer on a stream; its status where that is in
    /// HPACK's table of common ones.
    pub async fn status(&mut self, stream: u32) -> Option<u16> {
        while let Some(frame) = self.read().await {
            if frame.kind == HEADERS && frame.stream == stream {
                return status(&frame.payload);
            }
        }
        None
    }
}

async fn next(reader: &mut OwnedReadHalf) -> Option<Frame> {
    let mut head = [0; 9];
    reader.read_exact(&mut head).await.ok()?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload).await.ok()?;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some(Frame { kind: head[3], flags: head[4], stream, payload })
}

/// The status at the front of an answer's header block.
fn status(block: &[u8]) -> Option<u16> {
    // A change of the table's size may stand first.
    let at = block.iter().position(|byte| byte & 0xe0 != 0x20)?;
    match block[at] {
        0x88..=0x8e => Some([200, 204, 206, 304, 400, 404, 500][usize::from(block[at] - 0x88)]),
        // A literal with the name of the table; its value may be packed by Huffman,
        // where digits have five or six bits.
        _ => digits(&block[at + 1..]),
    }
}

fn digits(text: &[u8]) -> Option<u16> {
    let (length, is_packed) = (usize::from(text.first()? & 0x7f), text.first()? & 0x80 != 0);
    let bytes = text.get(1..=length)?;
    if !is_packed {
        return std::str::from_utf8(bytes).ok()?.parse().ok();
    }
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let mut rest = bits.as_slice();
    let take =
        |rest: &[u8], count: usize| rest.get(..count).map(|bits| bits.iter().fold(0u8, |sum, bit| sum << 1 | bit));
    let mut number = 0;
    for _ in 0..3 {
        // '0' to '2' are the codes 0 to 2 of five bits, '3' to '9' the codes 0x19 to
        // 0x1f of six.
        let short = take(rest, 5)?;
        let (digit, used) = if short <= 2 { (short, 5) } else { (take(rest, 6)?.checked_sub(0x19)? + 3, 6) };
        number = number * 10 + u16::from(digit);
        rest = &rest[used..];
    }
    Some(number)
}
