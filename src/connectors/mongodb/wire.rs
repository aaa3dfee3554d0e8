//! The protocol: one command, one answer, over one stream. A server is somebody else's,
//! so an answer has a bounded length, comes at a least pace, is an answer to what was
//! asked, and is never taken apart deeper than the reader asks.

use std::time::Duration;

use bson::Document;
use bson::raw::{RawArray, RawBsonRef, RawDocument};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};

use super::failure::Failure;
use crate::connectors::link::Stream;
use crate::egress::Timeouts;

/// Largest answer: a batch of 16 MiB, or one document of that, and what is around it.
const LARGEST: usize = 17 << 20;
/// Largest answer before the login is done; those of real servers are below 4 KiB.
const LARGEST_AT_LOGIN: usize = 64 << 10;
/// So much has to come within the limit for silence.
const PACE: usize = 256 << 10;
const BUFFER: usize = 64 << 10;
const HEADER: usize = 16;
/// The one kind of message that there is today.
const MESSAGE: u32 = 2013;
/// What answers may say of themselves, beside what may be overlooked.
const HAS_CHECKSUM: u32 = 1;
const CHECKSUM: usize = 4;
const MUST_BE_KNOWN: u32 = 0xffff;

/// A stream to a server, from one answer to the next.
pub(super) struct Wire {
    stream: BufReader<Stream>,
    asked: i32,
    largest: usize,
    limits: Timeouts,
}

impl Wire {
    /// Over a connected stream, before the login.
    pub(super) fn new(stream: Stream, limits: Timeouts) -> Self {
        Self { stream: BufReader::with_capacity(BUFFER, stream), asked: 0, largest: LARGEST_AT_LOGIN, limits }
    }

    /// From here on answers may be as large as batches are.
    pub(super) fn is_logged_in(&mut self) {
        self.largest = LARGEST;
    }

    /// Asks, and waits for the answer. One that is not `ok` is a failure with its number.
    pub(super) async fn ask(&mut self, database: &str, mut command: Document) -> Result<Answer, Failure> {
        command.insert("$db", database);
        let body = command.to_vec().map_err(|_| Failure::Protocol("a command cannot be written"))?;
        self.asked = self.asked.wrapping_add(1);
        let first_byte = self.limits.first_byte;
        within(first_byte, self.send(&body)).await?;
        let mut header = [0; HEADER];
        within(first_byte, async { Ok(self.stream.read_exact(&mut header).await.map(drop)?) }).await?;
        let mut rest = vec![0; judge(header, self.asked, self.largest)?];
        for part in rest.chunks_mut(PACE) {
            within(self.limits.idle, async { Ok(self.stream.read_exact(part).await.map(drop)?) }).await?;
        }
        let answer = Answer::read(rest)?;
        answer.judged().map(|()| answer)
    }

    async fn send(&mut self, body: &[u8]) -> Result<(), Failure> {
        // Commands are ours, and short.
        let length = (HEADER + 5 + body.len()) as u32;
        let number = self.asked.to_le_bytes();
        let head = [&length.to_le_bytes()[..], &number[..], &[0; 4], &MESSAGE.to_le_bytes(), &[0; 4], &[0]].concat();
        let stream = self.stream.get_mut();
        stream.write_all(&head).await?;
        stream.write_all(body).await?;
        Ok(stream.flush().await?)
    }
}

async fn within<T>(limit: Duration, answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(limit, answer).await.unwrap_or(Err(Failure::TimedOut))
}

/// Judges a message by its header, and gives the length of the rest.
fn judge(header: [u8; HEADER], asked: i32, largest: usize) -> Result<usize, Failure> {
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if number(12) != MESSAGE || number(8) != asked.cast_unsigned() {
        return Err(Failure::Protocol("the server does not keep to the protocol"));
    }
    let length = number(0) as usize;
    if !(HEADER + 10..=largest).contains(&length) {
        return Err(Failure::Protocol("the server sent a message of an impossible length"));
    }
    Ok(length - HEADER)
}

/// What a server answered.
pub(super) struct Answer {
    bytes: Vec<u8>,
    document: std::ops::Range<usize>,
}

impl Answer {
    /// Of what follows the header: flags, then one document.
    fn read(bytes: Vec<u8>) -> Result<Self, Failure> {
        const ODD: Failure = Failure::Protocol("the server does not keep to the protocol");
        let (flags, section) = bytes.split_first_chunk().ok_or(ODD)?;
        let flags = u32::from_le_bytes(*flags);
        if flags & MUST_BE_KNOWN & !HAS_CHECKSUM != 0 || section.first() != Some(&0) {
            return Err(ODD);
        }
        let checksum = if flags & HAS_CHECKSUM == 0 { 0 } else { CHECKSUM };
        let document = 5..bytes.len().checked_sub(checksum).ok_or(ODD)?;
        let inner = bytes.get(document.clone()).ok_or(ODD)?;
        RawDocument::from_bytes(inner).map_err(|_| ODD)?;
        Ok(Self { bytes, document })
    }

    /// The document.
    pub(super) fn document(&self) -> Result<&RawDocument, Failure> {
        RawDocument::from_bytes(&self.bytes[self.document.clone()]).map_err(|_| Failure::MALFORMED)
    }

    /// A number of it, of whatever kind.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.document().ok()?.get(name).ok()?.and_then(number)
    }

    /// The batch of a cursor.
    pub(super) fn batch(&self) -> Result<Answered<'_>, Failure> {
        let cursor = self.document()?.get_document("cursor").map_err(|_| Failure::MALFORMED)?;
        let id = cursor.get("id").ok().flatten().and_then(number).ok_or(Failure::MALFORMED)?;
        let documents = cursor.get_array("firstBatch").or_else(|_| cursor.get_array("nextBatch"));
        Ok(Answered { id, documents: documents.map_err(|_| Failure::MALFORMED)? })
    }

    fn judged(&self) -> Result<(), Failure> {
        let is_ok = match self.document()?.get("ok") {
            Ok(Some(RawBsonRef::Boolean(is_ok))) => is_ok,
            Ok(Some(value)) => number(value) == Some(1),
            Ok(None) | Err(_) => return Err(Failure::MALFORMED),
        };
        if is_ok { Ok(()) } else { Err(Failure::Server(self.number("code").unwrap_or(0))) }
    }
}

/// Part of what a cursor runs over.
pub(super) struct Answered<'a> {
    /// What the rest is asked for with; 0 when there is none.
    pub(super) id: i64,
    documents: &'a RawArray,
}

impl<'a> Answered<'a> {
    /// Its documents, one by one.
    pub(super) fn documents(&self) -> impl Iterator<Item = Result<&'a RawDocument, Failure>> + use<'a> {
        self.documents.into_iter().map(|value| match value {
            Ok(RawBsonRef::Document(document)) => Ok(document),
            Ok(_) | Err(_) => Err(Failure::MALFORMED),
        })
    }
}

/// A whole number, however it is written.
pub(super) fn number(value: RawBsonRef<'_>) -> Option<i64> {
    match value {
        RawBsonRef::Int32(number) => Some(i64::from(number)),
        RawBsonRef::Int64(number) => Some(number),
        RawBsonRef::Double(number) if number.fract() == 0.0 && number.abs() < 1e15 => Some(number as i64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    fn header(length: u32, answered: u32, kind: u32) -> [u8; HEADER] {
        let parts = [length, 0, answered, kind].map(u32::to_le_bytes);
        parts.concat().try_into().unwrap()
    }

    fn answer(document: &Document) -> Vec<u8> {
        [&[0; 5][..], &document.to_vec().unwrap()].concat()
    }

    #[test]
    fn lengths_and_kinds_are_bounded() {
        assert_eq!(judge(header(100, 7, MESSAGE), 7, LARGEST).unwrap(), 84);
        assert_eq!(judge(header(16 << 20, 7, MESSAGE), 7, LARGEST).unwrap(), (16 << 20) - 16);
        for length in [0, 16, 25, 18 << 20, i32::MAX as u32, u32::MAX] {
            assert!(judge(header(length, 7, MESSAGE), 7, LARGEST).is_err(), "{length}");
        }
        assert!(judge(header(100_000, 7, MESSAGE), 7, LARGEST_AT_LOGIN).is_err());
        assert!(judge(header(100, 8, MESSAGE), 7, LARGEST).is_err(), "an answer to something else");
        for kind in [0, 1, 2004, 2012] {
            assert!(judge(header(100, 7, kind), 7, LARGEST).is_err(), "{kind}");
        }
    }

    #[test]
    fn an_answer_is_taken_apart_and_an_error_has_its_number() {
        let batch = doc! {"cursor": {"id": 5_i64, "ns": "a.b", "firstBatch": [{"_id": 1}, {"_id": 2}]}, "ok": 1.0};
        let read = Answer::read(answer(&batch)).unwrap();
        let found = read.batch().unwrap();
        assert_eq!((found.id, found.documents().count(), read.judged()), (5, 2, Ok(())));
        let refused = Answer::read(answer(&doc! {"ok": 0.0, "code": 13, "errmsg": "no"})).unwrap();
        assert_eq!(refused.judged(), Err(Failure::Server(13)));
        let with_checksum = [&[1, 0, 0, 0, 0][..], &batch.to_vec().unwrap(), &[0; 4]].concat();
        assert!(Answer::read(with_checksum).is_ok());
        for odd in [vec![], vec![0; 5], [&[2, 0, 0, 0, 0][..], &batch.to_vec().unwrap()].concat()] {
            assert!(Answer::read(odd).is_err());
        }
        let scalar = doc! {"cursor": {"id": 0_i64, "nextBatch": [1]}, "ok": 1};
        let read = Answer::read(answer(&scalar)).unwrap();
        assert!(read.batch().unwrap().documents().all(|document| document.is_err()));
    }

    #[test]
    fn no_bytes_are_one_too_many() {
        let known = doc! {"cursor": {"id": 5_i64, "firstBatch": [{"_id": 1, "a": {"b": [1]}}]}, "ok": 1.0, "code": 2};
        crate::tests::fuzz("mongodb answers", crate::tests::tampered(vec![answer(&known)]), |bytes| {
            if let Ok(read) = Answer::read(bytes) {
                let _ = read.judged();
                if let Ok(found) = read.batch() {
                    found.documents().for_each(drop);
                }
            }
            Ok(())
        });
    }
}
