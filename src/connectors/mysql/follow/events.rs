//! Events of a binary log (version 4): a pure decoder of those that say which rows
//! changed, of MariaDB and MySQL alike.

use super::gtid::Id;
use super::images::{self, Logged};

const HEAD: usize = 19;
const CHECKSUM: usize = 4;
/// What is added by a server and stands in no log.
const IGNORABLE: u16 = 0x80;
/// The last event of a statement.
const END_OF_STATEMENT: u16 = 1;
/// A group of MariaDB that is one statement and has no end of its own.
const STANDALONE: u8 = 1;

/// The bytes are not what a server would send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// What an event says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// What follows is in this file.
    File { name: &'a [u8] },
    /// A transaction, or a statement that is none, begins.
    Group { id: Id, is_alone: bool },
    /// A statement in words.
    Statement { database: &'a [u8], text: &'a [u8] },
    /// What a table looks like to the events after.
    Table { id: u64, table: Table<'a> },
    /// Rows of a table; of one that is too large, none.
    Rows { table: u64, rows: Option<Rows<'a>>, is_last: bool },
    /// The transaction ends.
    Commit,
    /// Something changed that is written in a way that is not read here.
    Unread,
    /// The log cannot be followed beyond.
    Lost,
    /// Nothing of interest.
    Nothing,
}

/// A table as the log describes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table<'a> {
    pub(super) database: &'a [u8],
    pub(super) name: &'a [u8],
    /// None when a column is of a type that is not known.
    pub(super) columns: Option<Vec<Logged>>,
}

/// What happened to rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Inserted,
    Updated,
    Deleted,
}

/// Rows as they are written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rows<'a> {
    pub(super) deed: Deed,
    /// Which columns are there, in the images before and after.
    pub(super) present: [&'a [u8]; 2],
    pub(super) columns: usize,
    pub(super) images: &'a [u8],
}

/// An event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    /// Seconds since 1970, by the clock of the server.
    pub(super) at: u32,
    /// Where it ends in its file: the lower 32 bits.
    pub(super) end: u32,
    pub(super) said: Said<'a>,
}

/// Decodes one event after the other.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    has_checksums: bool,
}

impl Decoder {
    /// Decodes an event, of which only the beginning is there where it `is_cut`.
    pub(super) fn decode<'a>(&mut self, bytes: &'a [u8], is_cut: bool) -> Result<Event<'a>, Malformed> {
        let (head, body) = bytes.split_at_checked(HEAD).ok_or(Malformed)?;
        let mut head = Bytes(head);
        let (at, kind, server) = (head.number(4)? as u32, head.number(1)?, head.number(4)? as u32);
        let (_size, end, flags) = (head.number(4)?, head.number(4)? as u32, head.number(2)? as u16);
        let body = match (kind, is_cut) {
            (15, _) => {
                let alg = body.len().checked_sub(CHECKSUM + 1).ok_or(Malformed)?;
                self.has_checksums = body[alg] == 1;
                &[]
            }
            (4, false) => without_checksum(bytes),
            (_, false) if self.has_checksums => body.split_last_chunk::<CHECKSUM>().ok_or(Malformed)?.0,
            _ => body,
        };
        let mut body = Bytes(body);
        let said = match kind {
            4 if !is_cut => {
                body.take(8)?;
                Said::File { name: body.0 }
            }
            162 => {
                let (number, domain) = (body.number(8)?, body.number(4)? as u32);
                let is_alone = body.number(1)? as u8 & STANDALONE != 0;
                Said::Group { id: Id::MariaDb { domain, server, number }, is_alone }
            }
            33 => {
                body.take(1)?;
                let source = body.take(16)?.try_into().map_err(|_| Malformed)?;
                // Alone until it says BEGIN.
                Said::Group { id: Id::MySql { source, number: body.number(8)? }, is_alone: true }
            }
            2 if !is_cut => statement(body)?,
            // One that is so long is no BEGIN and no COMMIT.
            2 => Said::Unread,
            19 => table(body)?,
            23 | 30 => rows(body, Deed::Inserted, kind >= 30, is_cut)?,
            24 | 31 => rows(body, Deed::Updated, kind >= 30, is_cut)?,
            25 | 32 => rows(body, Deed::Deleted, kind >= 30, is_cut)?,
            16 | 38 => Said::Commit,
            // Of statements in words, those that load files; rows in part, packed, or
            // of long ago.
            18 | 20..=22 | 39 | 40 | 165..=171 => Said::Unread,
            // What happened is not in the log, or under a name with a tag.
            26 | 42 => Said::Lost,
            1 | 3 | 5 | 13..=15 | 17 | 27..=29 | 34..=37 | 41 | 160 | 161 | 163 | 164 => Said::Nothing,
            _ if flags & IGNORABLE != 0 => Said::Nothing,
            _ => Said::Unread,
        };
        Ok(Event { at, end, said })
    }
}

/// The name of a file comes before anybody has said whether there are checksums.
fn without_checksum(bytes: &[u8]) -> &[u8] {
    match bytes.split_last_chunk::<CHECKSUM>() {
        Some((rest, sum)) if rest.len() > HEAD && crc32fast::hash(rest) == u32::from_le_bytes(*sum) => &rest[HEAD..],
        Some(_) | None => &bytes[HEAD..],
    }
}

fn statement(mut body: Bytes<'_>) -> Result<Said<'_>, Malformed> {
    body.take(8)?;
    let database = body.number(1)? as usize;
    body.take(2)?;
    let settings = body.number(2)? as usize;
    body.take(settings)?;
    let database = body.take(database)?;
    body.take(1)?;
    Ok(Said::Statement { database, text: body.0 })
}

fn table(mut body: Bytes<'_>) -> Result<Said<'_>, Malformed> {
    let id = body.number(6)?;
    body.take(2)?;
    let name = |body: &mut Bytes<'_>| body.number(1);
    let length = name(&mut body)? as usize;
    let database = body.take(length)?;
    body.take(1)?;
    let length = name(&mut body)? as usize;
    let name = body.take(length)?;
    body.take(1)?;
    let columns = body.length()?;
    let types = body.take(columns)?;
    let length = body.length()?;
    let details = body.take(length)?;
    Ok(Said::Table { id, table: Table { database, name, columns: images::columns(types, details) } })
}

fn rows(mut body: Bytes<'_>, deed: Deed, has_extra: bool, is_cut: bool) -> Result<Said<'_>, Malformed> {
    let (table, flags) = (body.number(6)?, body.number(2)? as u16);
    let is_last = flags & END_OF_STATEMENT != 0;
    if is_cut {
        return Ok(Said::Rows { table, rows: None, is_last });
    }
    if has_extra {
        let length = body.number(2)?.checked_sub(2).ok_or(Malformed)?;
        body.take(length as usize)?;
    }
    let columns = body.length()?;
    let bits = columns.div_ceil(8);
    let before: &[u8] = if deed == Deed::Inserted { &[] } else { body.take(bits)? };
    let after: &[u8] = if deed == Deed::Deleted { &[] } else { body.take(bits)? };
    Ok(Said::Rows { table, rows: Some(Rows { deed, present: [before, after], columns, images: body.0 }), is_last })
}

/// Bytes that are taken from their beginning.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next so many.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number of up to eight bytes, the lowest first.
    pub(super) fn number(&mut self, width: usize) -> Result<u64, Malformed> {
        let mut bytes = [0; 8];
        bytes.get_mut(..width).ok_or(Malformed)?.copy_from_slice(self.take(width)?);
        Ok(u64::from_le_bytes(bytes))
    }

    /// A length of one, three, four or nine bytes.
    fn length(&mut self) -> Result<usize, Malformed> {
        let length = match self.number(1)? {
            small @ 0..=0xfa => small,
            0xfc => self.number(2)?,
            0xfd => self.number(3)?,
            0xfe => self.number(8)?,
            _ => return Err(Malformed),
        };
        usize::try_from(length).map_err(|_| Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn event(kind: u8, body: &[u8]) -> Vec<u8> {
        let size = (HEAD + body.len()) as u32;
        [
            &7u32.to_le_bytes()[..],
            &[kind],
            &1u32.to_le_bytes(),
            &size.to_le_bytes(),
            &900u32.to_le_bytes(),
            &[0, 0],
            body,
        ]
        .concat()
    }

    fn table_map() -> Vec<u8> {
        event(19, b"\x05\0\0\0\0\0\x01\0\x04shop\0\x06orders\0\x02\x03\x0f\x02\x40\0\x02")
    }

    #[test]
    fn what_is_of_interest_is_read() {
        let mut decoder = Decoder::default();
        let mut said = |bytes: &[u8]| format!("{:?}", decoder.decode(bytes, false).unwrap().said);
        assert!(said(&event(162, b"\x2a\0\0\0\0\0\0\0\0\0\0\0\x01")).contains("number: 42"));
        assert!(said(&event(2, b"\0\0\0\0\0\0\0\0\x01\0\0\x02\0xxd\0BEGIN")).contains("[66, 69, 71, 73, 78]"));
        let map = table_map();
        let Said::Table { id: 5, table } = Decoder::default().decode(&map, false).unwrap().said else {
            panic!("it is a table")
        };
        assert_eq!(
            (table.database, table.name, table.columns.map(|columns| columns.len())),
            (&b"shop"[..], &b"orders"[..], Some(2))
        );
        let rows = event(24, b"\x05\0\0\0\0\0\x01\0\x02\x03\x03\0\x07\0\0\0\x01a\0\x08\0\0\0\x01b");
        let Said::Rows { table: 5, rows: Some(rows), is_last: true } =
            Decoder::default().decode(&rows, false).unwrap().said
        else {
            panic!("they are rows")
        };
        assert_eq!((rows.deed, rows.columns, rows.images.len()), (Deed::Updated, 2, 14));
        assert_eq!(decoder.decode(&event(16, b"\0\0\0\0\0\0\0\0"), false).unwrap().said, Said::Commit);
    }

    #[test]
    fn checksums_are_no_part_of_what_is_said() {
        let mut decoder = Decoder::default();
        decoder.decode(&event(15, &[&[0; 60][..], &[1], &[9; 4]].concat()), false).unwrap();
        let body = [&b"\0\0\0\0\0\0\0\0\x01\0\0\0\0d\0COMMIT"[..], &[1, 2, 3, 4]].concat();
        let bytes = event(2, &body);
        let Said::Statement { text, .. } = decoder.decode(&bytes, false).unwrap().said else { panic!("a statement") };
        assert_eq!(text, b"COMMIT");
        let plain = event(4, b"\x04\0\0\0\0\0\0\0bin.000001");
        let summed = [&plain[..], &crc32fast::hash(&plain).to_le_bytes()].concat();
        for bytes in [plain, summed] {
            let said = Decoder::default().decode(&bytes, false).unwrap().said;
            assert_eq!(said, Said::File { name: b"bin.000001" });
        }
    }

    #[test]
    fn of_rows_that_are_too_large_only_the_table_is_known() {
        let bytes = event(23, b"\x05\0\0\0\0\0\x01\0\x02\x03");
        let said = Decoder::default().decode(&bytes, true).unwrap().said;
        assert_eq!(said, Said::Rows { table: 5, rows: None, is_last: true });
    }

    #[test]
    fn no_event_is_one_too_many() {
        let known = vec![
            table_map(),
            event(24, b"\x05\0\0\0\0\0\x01\0\x02\x03\x03\0\x07\0\0\0\x01a\0\x08\0\0\0\x01b"),
            event(30, b"\x05\0\0\0\0\0\x01\0\x02\0\x02\x03\0\x07\0\0\0\x01a"),
            event(162, b"\x2a\0\0\0\0\0\0\0\0\0\0\0\x01"),
            event(2, b"\0\0\0\0\0\0\0\0\x01\0\0\x02\0xxd\0BEGIN"),
            event(15, &[0; 70]),
        ];
        let map = table_map();
        let Said::Table { table, .. } = Decoder::default().decode(&map, false).unwrap().said else { panic!("a table") };
        let columns = table.columns.unwrap();
        crate::tests::fuzz("mysql events", crate::tests::tampered(known), |bytes| {
            for is_cut in [false, true] {
                let mut decoder = Decoder::default();
                drop(decoder.decode(&bytes, is_cut));
                decoder.has_checksums = true;
                if let Ok(Event { said: Said::Rows { rows: Some(rows), .. }, .. }) = decoder.decode(&bytes, is_cut) {
                    let mut reader = images::Reader::new(&rows, &columns);
                    while let Some(Ok(Some(_))) = reader.as_mut().map(|reader| reader.next(&columns)) {}
                }
            }
            Ok(())
        });
    }
}
