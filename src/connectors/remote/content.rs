//! The content of a file that is new or changed, and its document.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;

use super::{Opened, Stamp, Store, web};
use crate::connectors::documents::choice::Choice;
use crate::connectors::documents::file::File;
use crate::connectors::documents::formats::Content;
use crate::connectors::documents::isolation::Parsers;
use crate::connectors::loading::LoadError;
use crate::connectors::{ConnectorError, RecordError};
use crate::record::{Document, RawRecord};

/// How often a file is asked for again where the store was away for a moment.
const MOST_TRIES: u32 = 3;
/// The wait before the first of these; it doubles.
const PAUSE: Duration = Duration::from_millis(250);
/// A store that asks for more patience than this ends the pass, which says so.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Bytes to bring; none of a file that is empty, or too large to be read.
pub(in crate::connectors) fn content_size(choice: &Choice, record: &RawRecord) -> Option<u64> {
    let (stamp, _) = Stamp::unsealed(&record.payload)?;
    (1..=choice.size_limit()).contains(&stamp.size).then_some(stamp.size)
}

/// Brings the content. What is brought is what was listed, or the record fails.
pub(in crate::connectors) async fn load<S: Store>(
    store: &S,
    choice: &Choice,
    record: RawRecord,
) -> Result<RawRecord, LoadError> {
    let (stamp, _) = Stamp::unsealed(&record.payload).ok_or_else(undecodable)?;
    let mut tries = 1;
    loop {
        match fetch(store, choice, &record.source_key, &stamp).await {
            Err(LoadError::Source(error)) if tries < MOST_TRIES && is_short(&error) => {
                tokio::time::sleep(pause(&error, tries)).await;
                tries += 1;
            }
            Err(error) => return Err(error),
            Ok(payload) => return Ok(RawRecord { payload, ..record }),
        }
    }
}

/// The document of a file.
pub(in crate::connectors) fn document(
    choice: &Choice,
    parsers: &Parsers,
    record: &RawRecord,
) -> Result<Document, RecordError> {
    let (stamp, content) = Stamp::unsealed(&record.payload).ok_or_else(undecodable)?;
    let path = &record.source_key;
    let content =
        if stamp.size > choice.size_limit() { Content::name_only() } else { parsers.content(path.clone(), content)? };
    File { path, size: stamp.size, modified_at: stamp.modified_at }.document(content, choice.url_template.as_deref())
}

async fn fetch<S: Store>(store: &S, choice: &Choice, path: &str, stamp: &Stamp) -> Result<Bytes, LoadError> {
    let Opened { mut content, is_as_listed } = store.open(path, stamp, most_of_encoded(choice, stamp)).await?;
    let mut payload = stamp.sealed(usize::try_from(stamp.size).unwrap_or_default());
    let head = payload.len();
    let most = if is_as_listed { stamp.size } else { most_of_encoded(choice, stamp) };
    while let Some(chunk) = content.next().await {
        let chunk = chunk?;
        if (payload.len() - head) as u64 + chunk.len() as u64 > most {
            return Err(if is_as_listed { web::changed() } else { too_large() });
        }
        payload.extend_from_slice(&chunk);
    }
    if is_as_listed && (payload.len() - head) as u64 != stamp.size {
        return Err(web::changed());
    }
    Ok(payload.into())
}

/// Bytes that a file may become which the store keeps encoded.
fn most_of_encoded(choice: &Choice, stamp: &Stamp) -> u64 {
    stamp.size.saturating_mul(16).min(choice.size_limit()).max(stamp.size)
}

fn is_short(error: &ConnectorError) -> bool {
    match error {
        ConnectorError::Unreachable { code, .. } => *code == "unreachable",
        ConnectorError::Throttled { retry_after } => *retry_after <= LONGEST_PAUSE,
        _ => false,
    }
}

fn pause(error: &ConnectorError, tries: u32) -> Duration {
    match error {
        ConnectorError::Throttled { retry_after } => (*retry_after).max(PAUSE),
        _ => PAUSE * 2_u32.pow(tries - 1),
    }
}

fn too_large() -> LoadError {
    web::refused("too_large", "the file expands beyond the limits")
}

fn undecodable() -> RecordError {
    RecordError { code: "undecodable", message: "the record cannot be decoded".to_owned() }
}
