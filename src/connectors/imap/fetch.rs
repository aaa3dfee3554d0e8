//! What a mailbox holds, by the numbers of its messages, and the messages themselves.

use std::collections::BTreeMap;

use async_imap::imap_proto::{AttributeValue, MessageSection, Response, SectionPath};
use chrono::{DateTime, FixedOffset, NaiveDate};

use super::document;
use super::failure::{Failure, Refusal};
use super::guard::{FEW_LINES, SMALL_LITERAL};
use super::wire::Wire;

/// Most messages of a mailbox.
const MOST_MESSAGES: usize = 2_000_000;
/// Most bytes that are taken of a header.
pub(super) const LARGEST_HEADER: usize = 64 * 1024;

/// A message, as the list tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) uid: u32,
    pub(super) size: u32,
    /// It came on or after the day that the config names.
    pub(super) is_wanted: bool,
}

/// How much of messages is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All, of which so many bytes are taken.
    Whole(usize),
    /// The header alone.
    Header,
}

impl Part {
    fn limit(self) -> usize {
        match self {
            Self::Whole(limit) => limit,
            Self::Header => LARGEST_HEADER,
        }
    }

    /// One byte more than is taken, to know that there are more; so the server
    /// cannot send a large message whose size it does not know.
    fn item(self) -> String {
        let bytes = self.limit() + 1;
        match self {
            Self::Whole(_) => format!("BODY.PEEK[]<0.{bytes}>"),
            Self::Header => format!("BODY.PEEK[HEADER]<0.{bytes}>"),
        }
    }
}

/// A message that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fetched {
    pub(super) uid: u32,
    pub(super) size: u32,
    /// When it came, microseconds since 1970 UTC.
    pub(super) received_at: Option<i64>,
    /// The whole message, or its header.
    pub(super) raw: Vec<u8>,
    pub(super) is_whole: bool,
}

/// Lists the messages with numbers in the range, in the order of their numbers.
pub(super) async fn list(
    wire: &mut Wire,
    range: (u32, Option<u32>),
    since: Option<NaiveDate>,
) -> Result<Vec<Listed>, Failure> {
    let (first, end) = range;
    let mut listed = Vec::new();
    let command = format!("UID FETCH {first}:* (UID RFC822.SIZE INTERNALDATE)");
    // More are counted than taken, so that the answer is read to its end.
    let most_lines = 4 * MOST_MESSAGES as u64 + FEW_LINES;
    let mut are_too_many = false;
    let add = |said: &Response<'_>| {
        // `n:*` has the last message also where its number is below.
        if let Some((uid, size, came)) = told(said)
            && uid >= first
            && end.is_none_or(|end| uid < end)
        {
            if listed.len() >= MOST_MESSAGES {
                are_too_many = true;
                return Ok(());
            }
            let is_wanted = since.is_none_or(|since| came.is_none_or(|came| came.date_naive() >= since));
            listed.push(Listed { uid, size, is_wanted });
        }
        Ok(())
    };
    wire.run_within(&command, most_lines, SMALL_LITERAL, add).await?;
    if are_too_many {
        return Err(Failure::Refused(Refusal::TooMany));
    }
    listed.sort_unstable_by_key(|message| message.uid);
    listed.dedup_by_key(|message| message.uid);
    Ok(listed)
}

/// The last messages by their place in the mailbox.
pub(super) async fn last(wire: &mut Wire, exists: u32, number: u32) -> Result<Vec<Listed>, Failure> {
    let mut listed = Vec::new();
    if exists == 0 || number == 0 {
        return Ok(listed);
    }
    let first = exists - number.min(exists) + 1;
    let add = |said: &Response<'_>| {
        if let Some((uid, size, _)) = told(said)
            && listed.len() < number as usize
        {
            listed.push(Listed { uid, size, is_wanted: true });
        }
        Ok(())
    };
    wire.run(&format!("FETCH {first}:{exists} (UID RFC822.SIZE INTERNALDATE)"), add).await?;
    Ok(listed)
}

/// True when the server still lists the message.
pub(super) async fn is_there(wire: &mut Wire, uid: u32) -> Result<bool, Failure> {
    let mut is_there = false;
    let note = |said: &Response<'_>| {
        is_there |= told(said).is_some_and(|(found, ..)| found == uid);
        Ok(())
    };
    wire.run(&format!("UID FETCH {uid} (UID)"), note).await?;
    Ok(is_there)
}

/// Number, size and arrival of a message that the response tells of. Zero is no
/// number.
fn told(said: &Response<'_>) -> Option<(u32, u32, Option<DateTime<FixedOffset>>)> {
    let Response::Fetch(_, attributes) = said else { return None };
    let (mut uid, mut size, mut came) = (None, 0, None);
    for attribute in attributes {
        match attribute {
            AttributeValue::Uid(number) => uid = Some(*number),
            AttributeValue::Rfc822Size(bytes) => size = *bytes,
            AttributeValue::InternalDate(date) => came = moment(date),
            _ => {}
        }
    }
    Some((uid.filter(|uid| *uid > 0)?, size, came))
}

fn moment(text: &str) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_str(text.trim(), "%d-%b-%Y %H:%M:%S %z").ok()
}

/// Fetches messages. Once `budget` bytes have come, those that follow are left out;
/// so are those that are gone.
pub(super) async fn messages(
    wire: &mut Wire,
    uids: &[u32],
    part: Part,
    budget: usize,
) -> Result<BTreeMap<u32, Fetched>, Failure> {
    let limit = part.limit();
    let numbers: Vec<String> = uids.iter().map(u32::to_string).collect();
    let command = format!("UID FETCH {} (UID RFC822.SIZE INTERNALDATE {})", numbers.join(","), part.item());
    let mut fetched = BTreeMap::new();
    let mut bytes = 0;
    let take = |said: &Response<'_>| {
        let (Some((uid, size, came)), Some(raw)) = (told(said), body(said)) else { return Ok(()) };
        let fits = bytes == 0 || bytes + raw.len() <= budget;
        if !fits || !uids.contains(&uid) || fetched.contains_key(&uid) {
            return Ok(());
        }
        bytes += raw.len();
        let is_whole = matches!(part, Part::Whole(_)) && raw.len() <= limit;
        let raw = if is_whole { raw } else { header(raw) };
        let received_at = came.map(|came| came.timestamp_micros());
        // Room for what its record has in front of it.
        let mut kept = Vec::with_capacity(document::HEAD + raw.len());
        kept.extend_from_slice(raw);
        fetched.insert(uid, Fetched { uid, size, received_at, raw: kept, is_whole });
        Ok(())
    };
    wire.run_within(&command, FEW_LINES, limit + 1, take).await?;
    Ok(fetched)
}

fn body<'a>(said: &'a Response<'_>) -> Option<&'a [u8]> {
    let Response::Fetch(_, attributes) = said else { return None };
    attributes.iter().find_map(|attribute| match attribute {
        AttributeValue::BodySection {
            section: None | Some(SectionPath::Full(MessageSection::Header)), data, ..
        } => data.as_deref(),
        _ => None,
    })
}

/// The header of a message, as far as it is taken.
pub(super) fn header(raw: &[u8]) -> &[u8] {
    let raw = &raw[..raw.len().min(LARGEST_HEADER)];
    let ends = [&b"\r\n\r\n"[..], b"\n\n"];
    let end = ends.iter().filter_map(|end| {
        let begin = raw.windows(end.len()).position(|window| window == *end)?;
        Some(begin + end.len())
    });
    &raw[..end.min().unwrap_or(raw.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_ends_at_the_empty_line() {
        assert_eq!(header(b"a: b\r\nc: d\r\n\r\nbody\r\n\r\n"), b"a: b\r\nc: d\r\n\r\n");
        assert_eq!(header(b"a: b\n\nbody"), b"a: b\n\n");
        assert_eq!(header(b"a: b"), b"a: b");
        assert_eq!(header(&vec![b'x'; LARGEST_HEADER + 5]).len(), LARGEST_HEADER);
    }

    #[test]
    fn arrivals_are_read_in_both_spellings() {
        for text in ["17-Jul-1996 02:44:25 -0700", "17-Jul-1996 09:44:25 +0000"] {
            assert_eq!(moment(text).map(|came| came.timestamp_micros()), Some(837_596_665_000_000), "{text}");
        }
        assert_eq!(
            moment(" 7-Jul-1996 02:44:25 -0700").map(|came| came.date_naive().to_string()).as_deref(),
            Some("1996-07-07")
        );
        assert_eq!(moment("yesterday"), None);
    }
}
