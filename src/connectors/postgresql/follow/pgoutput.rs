//! What a stream of `pgoutput` says, version 1: a pure decoder.

use bytes::{Buf, Bytes};

/// Seconds between 1970 and 2000, where the server's clock begins.
const EPOCH_SECONDS: i64 = 946_684_800;

/// The bytes are not what the server would send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// A place in the server's log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lsn(pub(super) u64);

impl Lsn {
    /// Reads `16/B374D848`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('/')?;
        let part = |text| u32::from_str_radix(text, 16).ok().map(u64::from);
        Some(Self(part(high)? << 32 | part(low)?))
    }
}

impl std::fmt::Display for Lsn {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// A piece of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Part of what was decoded.
    Data(Bytes),
    /// Everything up to here has been sent.
    Alive { reached: Lsn, wants_reply: bool },
}

/// One message of the decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decoded {
    /// A transaction that has committed begins.
    Begin { transaction: u32 },
    /// It ends; what comes after is after this place.
    Commit { end: Lsn, at_micros: i64 },
    /// What the rows of a table are made of.
    Relation(Relation),
    /// A row came.
    Insert { relation: u32, new: Tuple },
    /// A row changed; the old key, where it was another.
    Update { relation: u32, old: Option<Tuple>, new: Tuple },
    /// A row went; at least its key.
    Delete { relation: u32, old: Tuple },
    /// Tables were emptied.
    Truncate { relations: Vec<u32> },
    /// Nothing of interest.
    Other,
}

/// A table as the stream knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) id: u32,
    pub(super) columns: Vec<RelationColumn>,
}

/// A column of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RelationColumn {
    pub(super) name: String,
    /// Part of what tells rows apart.
    pub(super) identifies: bool,
}

/// Values in the order of the relation's columns.
pub(super) type Tuple = Vec<Field>;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    Null,
    /// Stored apart and not changed, so not sent.
    Unsent,
    Text(Bytes),
}

/// Reads a piece of the stream.
pub(super) fn piece(mut body: Bytes) -> Result<Piece, Malformed> {
    match byte(&mut body)? {
        b'w' => {
            skip(&mut body, 24)?;
            Ok(Piece::Data(body))
        }
        b'k' => {
            let reached = Lsn(body.try_get_u64().map_err(|_| Malformed)?);
            skip(&mut body, 8)?;
            Ok(Piece::Alive { reached, wants_reply: byte(&mut body)? == 1 })
        }
        _ => Err(Malformed),
    }
}

/// What tells the server how far everything is kept.
pub(super) fn status(kept: Lsn, now_micros: i64, wants_reply: bool) -> Vec<u8> {
    let mut message = vec![b'r'];
    for _written_flushed_applied in 0..3 {
        message.extend_from_slice(&kept.0.to_be_bytes());
    }
    message.extend_from_slice(&(now_micros - EPOCH_SECONDS * 1_000_000).to_be_bytes());
    message.push(u8::from(wants_reply));
    message
}

/// Reads one message of the decoder.
pub(super) fn decode(mut body: Bytes) -> Result<Decoded, Malformed> {
    let body = &mut body;
    Ok(match byte(body)? {
        b'B' => {
            skip(body, 16)?;
            Decoded::Begin { transaction: number(body)? }
        }
        b'C' => {
            skip(body, 9)?;
            let end = Lsn(body.try_get_u64().map_err(|_| Malformed)?);
            let at = body.try_get_i64().map_err(|_| Malformed)?;
            Decoded::Commit { end, at_micros: at.saturating_add(EPOCH_SECONDS * 1_000_000) }
        }
        b'R' => Decoded::Relation(relation(body)?),
        b'I' => {
            let relation = number(body)?;
            expect(body, b'N')?;
            Decoded::Insert { relation, new: tuple(body)? }
        }
        b'U' => {
            let relation = number(body)?;
            match byte(body)? {
                b'N' => Decoded::Update { relation, old: None, new: tuple(body)? },
                b'K' | b'O' => {
                    let old = Some(tuple(body)?);
                    expect(body, b'N')?;
                    Decoded::Update { relation, old, new: tuple(body)? }
                }
                _ => return Err(Malformed),
            }
        }
        b'D' => {
            let relation = number(body)?;
            match byte(body)? {
                b'K' | b'O' => Decoded::Delete { relation, old: tuple(body)? },
                _ => return Err(Malformed),
            }
        }
        b'T' => {
            let count = number(body)?;
            skip(body, 1)?;
            Decoded::Truncate { relations: (0..count).map(|_| number(body)).collect::<Result<_, _>>()? }
        }
        b'Y' | b'O' | b'M' => Decoded::Other,
        _ => return Err(Malformed),
    })
}

fn relation(body: &mut Bytes) -> Result<Relation, Malformed> {
    let id = number(body)?;
    text(body)?;
    text(body)?;
    skip(body, 1)?;
    let count = body.try_get_u16().map_err(|_| Malformed)?;
    let mut columns = Vec::with_capacity(count.into());
    for _ in 0..count {
        let identifies = byte(body)? & 1 == 1;
        let name = text(body)?;
        skip(body, 8)?;
        columns.push(RelationColumn { name, identifies });
    }
    Ok(Relation { id, columns })
}

fn tuple(body: &mut Bytes) -> Result<Tuple, Malformed> {
    let count = body.try_get_u16().map_err(|_| Malformed)?;
    let mut fields = Vec::with_capacity(count.into());
    for _ in 0..count {
        fields.push(match byte(body)? {
            b'n' => Field::Null,
            b'u' => Field::Unsent,
            b't' => {
                let length = number(body)? as usize;
                if body.len() < length {
                    return Err(Malformed);
                }
                Field::Text(body.split_to(length))
            }
            _ => return Err(Malformed),
        });
    }
    Ok(fields)
}

fn byte(body: &mut Bytes) -> Result<u8, Malformed> {
    body.try_get_u8().map_err(|_| Malformed)
}

fn number(body: &mut Bytes) -> Result<u32, Malformed> {
    body.try_get_u32().map_err(|_| Malformed)
}

fn expect(body: &mut Bytes, wanted: u8) -> Result<(), Malformed> {
    if byte(body)? == wanted { Ok(()) } else { Err(Malformed) }
}

fn skip(body: &mut Bytes, count: usize) -> Result<(), Malformed> {
    if body.len() < count {
        return Err(Malformed);
    }
    body.advance(count);
    Ok(())
}

/// A text up to its zero.
fn text(body: &mut Bytes) -> Result<String, Malformed> {
    let end = body.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
    let text = body.split_to(end);
    body.advance(1);
    String::from_utf8(text.to_vec()).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(parts: &[&[u8]]) -> Bytes {
        Bytes::from(parts.concat())
    }

    #[test]
    fn places_are_written_as_the_server_writes_them() {
        let lsn = Lsn::parse("16/B374D848").unwrap();
        assert_eq!((lsn.0, lsn.to_string()), (0x16_B374_D848, "16/B374D848".to_owned()));
        assert_eq!(Lsn::parse("x"), None);
        assert!(Lsn::parse("0/FFFFFFFF") < Lsn::parse("1/0"));
    }

    #[test]
    fn a_transaction_is_read() {
        let begin = bytes(&[b"B", &[0; 16], &7_u32.to_be_bytes()]);
        assert_eq!(decode(begin), Ok(Decoded::Begin { transaction: 7 }));
        let relation =
            bytes(&[b"R", &9_u32.to_be_bytes(), b"public\0t\0d\0\x02", b"\x01id\0", &[0; 8], b"\0name\0", &[0; 8]]);
        let column = |name: &str, identifies| RelationColumn { name: name.to_owned(), identifies };
        let columns = vec![column("id", true), column("name", false)];
        assert_eq!(decode(relation), Ok(Decoded::Relation(Relation { id: 9, columns })));
        let update = bytes(&[b"U", &9_u32.to_be_bytes(), b"K\0\x02t\0\0\0\x011n", b"N\0\x02t\0\0\0\x012u"]);
        let (one, two) = (Field::Text(Bytes::from_static(b"1")), Field::Text(Bytes::from_static(b"2")));
        let expected =
            Decoded::Update { relation: 9, old: Some(vec![one, Field::Null]), new: vec![two, Field::Unsent] };
        assert_eq!(decode(update), Ok(expected));
        let truncate = bytes(&[b"T", &1_u32.to_be_bytes(), b"\0", &9_u32.to_be_bytes()]);
        assert_eq!(decode(truncate), Ok(Decoded::Truncate { relations: vec![9] }));
        let commit = bytes(&[b"C\0", &[0; 8], &77_u64.to_be_bytes(), &0_i64.to_be_bytes()]);
        assert_eq!(decode(commit), Ok(Decoded::Commit { end: Lsn(77), at_micros: 946_684_800_000_000 }));
    }

    #[test]
    fn what_is_cut_off_anywhere_is_malformed() {
        let update = bytes(&[b"U", &9_u32.to_be_bytes(), b"K\0\x01t\0\0\0\x011", b"N\0\x01t\0\0\0\x012"]);
        for length in 0..update.len() {
            assert_eq!(decode(update.slice(..length)), Err(Malformed), "{length}");
        }
        assert_eq!(piece(Bytes::from_static(b"k\0")), Err(Malformed));
    }

    #[test]
    fn a_sign_of_life_says_how_far_it_is() {
        let alive = bytes(&[b"k", &5_u64.to_be_bytes(), &[0; 8], b"\x01"]);
        assert_eq!(piece(alive), Ok(Piece::Alive { reached: Lsn(5), wants_reply: true }));
        let reply = status(Lsn(5), EPOCH_SECONDS * 1_000_000, false);
        assert_eq!((reply.len(), reply[0], reply[8], reply[16], reply[24]), (34, b'r', 5, 5, 5));
    }
}

/// What a server sends, tampered with.
#[cfg(test)]
mod fuzz {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::{fuzz, tampered};

    #[test]
    fn a_piece_of_the_stream_is_read_or_refused_and_never_grows() {
        let head = [&b"w"[..], &[0; 24]].concat();
        let messages: [&[u8]; 7] = [
            b"B\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07",
            b"R\0\0\0\x09public\0t\0d\0\x02\x01id\0\0\0\0\0\0\0\0\0\0name\0\0\0\0\0\0\0\0\0",
            b"I\0\0\0\x09N\0\x02t\0\0\0\x011n",
            b"U\0\0\0\x09K\0\x02t\0\0\0\x011nN\0\x02t\0\0\0\x012u",
            b"D\0\0\0\x09O\0\x01t\0\0\0\x01x",
            b"T\0\0\0\x02\0\0\0\0\x09\0\0\0\x0a",
            b"C\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x4d\0\0\0\0\0\0\0\0",
        ];
        let mut known: Vec<Vec<u8>> = messages.iter().map(|message| [&head, *message].concat()).collect();
        known.push([&b"k"[..], &[0; 16], &[1]].concat());
        fuzz("pieces of a stream", tampered(known), |bytes| {
            let length = bytes.len();
            let Ok(Piece::Data(data)) = piece(Bytes::from(bytes)) else { return Ok(()) };
            let fields = |tuple: &Tuple| tuple.len();
            let held = match decode(data) {
                Ok(Decoded::Insert { new, .. }) => fields(&new),
                Ok(Decoded::Update { old, new, .. }) => old.as_ref().map_or(0, fields) + fields(&new),
                Ok(Decoded::Delete { old, .. }) => fields(&old),
                Ok(Decoded::Relation(relation)) => relation.columns.len(),
                Ok(Decoded::Truncate { relations }) => relations.len(),
                Ok(Decoded::Begin { .. } | Decoded::Commit { .. } | Decoded::Other) | Err(Malformed) => 0,
            };
            prop_assert!(held <= length, "{held} of {length}");
            Ok(())
        });
    }
}
