//! Who wrote to whom, when, and about what.

use chrono::{DateTime, SecondsFormat, Utc};
use mail_parser::{Addr, Address, HeaderValue, Message};
use serde_json::{Map, Value};

/// Addresses of one field that are kept.
const MOST_ADDRESSES: usize = 100;
/// Longest value, in characters.
const LONGEST: usize = 1_000;

/// The subject, if there is one.
pub(super) fn subject(message: &Message<'_>) -> Option<String> {
    message.subject().map(short).filter(|subject| !subject.is_empty())
}

/// When it was written, microseconds since 1970 UTC.
pub(super) fn date(message: &Message<'_>) -> Option<i64> {
    let date = message.date().filter(|date| date.is_valid())?;
    date.to_timestamp().checked_mul(1_000_000)
}

/// What can be filtered by: addresses without names, and what threads are made of.
pub(super) fn metadata(message: &Message<'_>) -> Map<String, Value> {
    let mut metadata = Map::new();
    let mut put = |name: &str, value: Value| drop(metadata.insert(name.to_owned(), value));
    if let Some(subject) = subject(message) {
        put("subject", subject.into());
    }
    if let Some(sender) = message.from().and_then(Address::first) {
        if let Some(address) = sender.address().map(short) {
            put("from", address.into());
        }
        if let Some(name) = sender.name().map(short) {
            put("fromName", name.into());
        }
    }
    for (name, addresses) in [("to", message.to()), ("cc", message.cc())] {
        let addresses: Vec<String> = listed(addresses).filter_map(|address| address.address().map(short)).collect();
        if !addresses.is_empty() {
            put(name, addresses.into());
        }
    }
    if let Some(date) = date(message).and_then(DateTime::<Utc>::from_timestamp_micros) {
        put("date", date.to_rfc3339_opts(SecondsFormat::Secs, true).into());
    }
    if let Some(id) = message.message_id().map(short) {
        put("messageId", id.into());
    }
    if let Some(id) = first_text(message.in_reply_to()) {
        put("inReplyTo", id.into());
    }
    if let Some(list) = first_text(message.list_id()) {
        put("listId", list.into());
    }
    metadata
}

/// Lines that one reads above a message: `From: Ada <ada@example.org>`.
pub(super) fn lines(message: &Message<'_>) -> Vec<String> {
    let line = |label: &str, addresses: Option<&Address<'_>>| {
        let all: Vec<String> = listed(addresses).map(shown).filter(|address| !address.is_empty()).collect();
        (!all.is_empty()).then(|| format!("{label}: {}", all.join(", ")))
    };
    [("From", message.from()), ("To", message.to()), ("Cc", message.cc())]
        .into_iter()
        .filter_map(|(label, addresses)| line(label, addresses))
        .collect()
}

fn listed<'a>(addresses: Option<&'a Address<'a>>) -> impl Iterator<Item = &'a Addr<'a>> {
    addresses.into_iter().flat_map(Address::iter).take(MOST_ADDRESSES)
}

fn shown(address: &Addr<'_>) -> String {
    match (address.name().map(short), address.address().map(short)) {
        (Some(name), Some(address)) if !name.is_empty() => format!("{name} <{address}>"),
        (_, Some(address)) => address,
        (Some(name), None) => name,
        (None, None) => String::new(),
    }
}

fn first_text(value: &HeaderValue<'_>) -> Option<String> {
    let text = value.as_text().or_else(|| value.as_text_list()?.first().map(AsRef::as_ref));
    text.map(short).filter(|text| !text.is_empty())
}

/// On one line, and not longer than anybody reads.
fn short(text: &str) -> String {
    let words = text.split(|character: char| character.is_whitespace() || character.is_control());
    let joined = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    joined.chars().take(LONGEST).collect()
}
