//! From a message to a document. It is parsed in another process; one that breaks the
//! parser is still found by its header.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use super::Imap;
use super::fetch::{self, Fetched};
use crate::connectors::documents::formats::{Content, MAIL_WITHOUT_ATTACHMENTS};
use crate::connectors::rows::template::Template;
use crate::connectors::{Account, RecordError};
use crate::record::{Document, Fingerprint, RawRecord};

const WITH_ATTACHMENTS: &str = "eml";
/// Size, arrival, how much of it there is.
pub(super) const HEAD: usize = 4 + 8 + 1;
const HEADER: u8 = 0;
const WHOLE: u8 = 1;
const LISTED: u8 = 2;
/// Stands for an arrival that the server does not tell.
const NEVER: i64 = i64::MIN;

/// The record of a message. Its content is what it is for as long as it has its
/// number.
pub(super) fn record(validity: u32, message: Fetched) -> RawRecord {
    let Fetched { uid, size, received_at, raw, is_whole } = message;
    sealed(key(validity, uid), size, received_at, if is_whole { WHOLE } else { HEADER }, raw)
}

/// The record of a message that was only listed.
pub(super) fn listing(validity: u32, uid: u32, size: u32) -> RawRecord {
    sealed(key(validity, uid), size, None, LISTED, Vec::new())
}

/// Number and size of a message that was only listed; none of another.
pub(super) fn listed(record: &RawRecord) -> Option<(u32, u32)> {
    let payload = Payload::of(&record.payload).filter(|payload| payload.part == LISTED)?;
    let (_, uid) = record.source_key.split_once('/')?;
    Some((uid.parse().ok()?, payload.size))
}

/// Where there is room in front of the message, nothing is copied.
fn sealed(source_key: String, size: u32, received_at: Option<i64>, part: u8, mut payload: Vec<u8>) -> RawRecord {
    let received_at = received_at.unwrap_or(NEVER);
    let head = size.to_le_bytes().into_iter().chain(received_at.to_le_bytes()).chain([part]);
    drop(payload.splice(0..0, head.collect::<Vec<u8>>()));
    RawRecord { fingerprint: Fingerprint::of(source_key.as_bytes()), source_key, payload: Bytes::from(payload) }
}

/// The key of a message within its mailbox.
pub(super) fn key(validity: u32, uid: u32) -> String {
    format!("{validity}/{uid}")
}

struct Payload<'a> {
    size: u32,
    received_at: Option<i64>,
    part: u8,
    raw: &'a [u8],
}

impl<'a> Payload<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk::<4>()?;
        let (received_at, rest) = rest.split_first_chunk::<8>()?;
        let (part, raw) = rest.split_first()?;
        let received_at = Some(i64::from_le_bytes(*received_at)).filter(|at| *at != NEVER);
        Some(Self { size: u32::from_le_bytes(*size), received_at, part: *part, raw })
    }
}

/// The document of a message.
pub(super) fn decode(account: &Account<Imap>, object: &str, record: &RawRecord) -> Result<Document, RecordError> {
    let undecodable = || RecordError { code: "undecodable", message: "the record cannot be decoded".to_owned() };
    let payload = Payload::of(&record.payload).ok_or_else(undecodable)?;
    let (content, is_whole) = parsed(account, &payload, &record.payload)?;
    let Content { title, body, created_at, metadata: told, truncated, .. } = content;
    let mut metadata = Map::new();
    metadata.insert("mailbox".to_owned(), object.into());
    if let Some((validity, uid)) = record.source_key.split_once('/') {
        metadata.insert("uid".to_owned(), number(uid));
        metadata.insert("uidValidity".to_owned(), number(validity));
    }
    metadata.insert("size".to_owned(), payload.size.into());
    if let Some(at) = payload.received_at.and_then(DateTime::<Utc>::from_timestamp_micros) {
        metadata.insert("receivedAt".to_owned(), at.to_rfc3339_opts(SecondsFormat::Secs, true).into());
    }
    for (name, value) in told {
        metadata.entry(name).or_insert(value);
    }
    metadata.insert("extracted".to_owned(), is_whole.into());
    if truncated {
        metadata.insert("truncated".to_owned(), true.into());
    }
    let url = match Template::compile_optional("urlTemplate", account.config.url_template.as_deref()) {
        Ok(Some(template)) => Some(template.render(&Value::Object(metadata.clone()))?),
        Ok(None) => None,
        Err(error) => return Err(RecordError { code: "template_failed", message: error.reason }),
    };
    Ok(Document {
        title: title.unwrap_or_else(|| "(no subject)".to_owned()),
        body,
        url: url.filter(|url| !url.is_empty()),
        kind: "message".to_owned(),
        created_at: created_at.or(payload.received_at),
        updated_at: payload.received_at,
        metadata,
    })
}

fn number(text: &str) -> Value {
    text.parse::<u32>().map_or(Value::Null, Value::from)
}

/// The message, else what its header says, else nothing but that it is there: a
/// broken message must not be fetched again by each sync.
fn parsed(account: &Account<Imap>, payload: &Payload<'_>, whole: &Bytes) -> Result<(Content, bool), RecordError> {
    let parsers = &account.resources.parsers;
    if payload.part == WHOLE {
        let extension = if account.config.takes_attachments() { WITH_ATTACHMENTS } else { MAIL_WITHOUT_ATTACHMENTS };
        match parsers.content(format!("message.{extension}"), whole.slice(HEAD..)) {
            Ok(content) => return Ok((content, true)),
            // Our own fault is no property of the message.
            Err(error) if error.code == "internal" => return Err(error),
            Err(_) => {}
        }
    }
    let header = Bytes::copy_from_slice(fetch::header(payload.raw));
    match parsers.content(format!("message.{MAIL_WITHOUT_ATTACHMENTS}"), header) {
        Ok(content) => Ok((content, false)),
        Err(error) if error.code == "internal" => Err(error),
        Err(_) => Ok((Content::name_only(), false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_all_that_its_document_needs() {
        let message = Fetched {
            uid: 7,
            size: 99,
            received_at: Some(-5),
            raw: b"Subject: x\r\n\r\nbody".to_vec(),
            is_whole: true,
        };
        let record = record(3, message);
        assert_eq!(record.source_key, "3/7");
        let payload = Payload::of(&record.payload).unwrap();
        assert_eq!((payload.size, payload.received_at, payload.part), (99, Some(-5), WHOLE));
        assert_eq!(payload.raw, b"Subject: x\r\n\r\nbody");
        assert!(Payload::of(b"short").is_none());
        assert_eq!((listed(&record), listed(&listing(3, 8, 100))), (None, Some((8, 100))));
        assert_eq!(listing(3, 7, 99).fingerprint, record.fingerprint, "the listing tells the same content");
    }
}
