//! One pass over a folder: every file is hashed in a stream; its text is taken
//! later, and only when it is new or changed.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use crate::connectors::ConnectorError;
use crate::connectors::documents::selection::{ROOT, Selection};
use crate::connectors::files::Shape;
use crate::connectors::files::config::Config;
use crate::connectors::files::walk::{self, Entry, Walk};
use crate::connectors::paths::{self, ConfinementError};
use crate::connectors::reading::{Message, Output, ReadRequest, Rest, Scope};
use crate::record::{Batch, Fingerprint, RawRecord};

const BATCH_RECORDS: usize = 200;
/// Bytes hashed after which a batch goes, so that big files show progress.
const BATCH_BYTES: u64 = 32 * 1024 * 1024;
/// Files that an estimate counts at most.
const COUNTED: usize = 200_000;

/// Reads every selected object.
pub(super) fn pass(
    folder: &Path,
    config: &Config,
    request: &ReadRequest,
    output: &Output,
) -> Result<(), ConnectorError> {
    let selection = config.choice.selection();
    let objects = objects(folder, &selection).map_err(super::refused)?;
    let scopes: Vec<Scope> = objects
        .iter()
        .map(|object| Scope { object: Arc::from(object.as_str()), estimate: estimate(folder, object, &selection) })
        .collect();
    output.blocking_send(Message::Objects(scopes.clone()))?;
    for scope in scopes {
        if request.finished.iter().any(|finished| **finished == *scope.object) {
            continue;
        }
        let object = Arc::clone(&scope.object);
        output.blocking_send(Message::Started(scope))?;
        read_object(folder, config, &object, request.sample, output)?;
    }
    Ok(())
}

/// `.` and the folders directly below; an error here ends the pass, since nothing
/// is proved by half a list.
fn objects(folder: &Path, selection: &Selection<'_>) -> Result<Vec<String>, ConfinementError> {
    let entries = walk::list(folder, ROOT)?;
    let folders = entries.into_iter().filter(|entry| entry.is_folder && entry.is_text).map(|entry| entry.path);
    Ok(std::iter::once(ROOT.to_owned()).chain(folders).filter(|object| selection.takes_object(object)).collect())
}

fn estimate(folder: &Path, object: &str, selection: &Selection<'_>) -> Option<u64> {
    let files = Walk::of(folder, object, selection).take(COUNTED + 1).count();
    (files <= COUNTED).then_some(files as u64)
}

/// How the first file of an object could be read.
pub(super) struct Sample {
    pub(super) object: String,
    pub(super) readable: bool,
    pub(super) took: Duration,
}

/// Tries each object with its first file.
pub(super) fn sample(folder: &Path, config: &Config) -> Result<Vec<Sample>, ConfinementError> {
    let selection = config.choice.selection();
    let try_object = |object: String| {
        let begun = Instant::now();
        let mut walk = Walk::of(folder, &object, &selection);
        let first = walk.next();
        let readable = match first {
            Some(file) => !matches!(Hashed::of(folder, &file.path, config), Err(ConfinementError::Unreadable(_))),
            None => walk.unlisted == 0,
        };
        Sample { object, readable, took: begun.elapsed() }
    };
    Ok(objects(folder, &selection)?.into_iter().map(try_object).collect())
}

fn read_object(
    folder: &Path,
    config: &Config,
    object: &Arc<str>,
    sample: Option<u64>,
    output: &Output,
) -> Result<(), ConnectorError> {
    let selection = config.choice.selection();
    let mut walk = Walk::of(folder, object, &selection);
    let shape = Arc::new(Shape { folder: folder.to_owned() });
    let mut batch = Vec::new();
    let (mut bytes, mut counted) = (0, 0);
    let flush = |batch: &mut Vec<RawRecord>, bytes: &mut u64| {
        if batch.is_empty() {
            return Ok(());
        }
        let (records, bytes_read) = (std::mem::take(batch), std::mem::take(bytes));
        output.blocking_send(Message::Batch(Batch {
            object: Arc::clone(object),
            records,
            bytes_read,
            position: None,
            shape: shape.clone(),
        }))
    };
    let wanted = sample.map_or(usize::MAX, |sample| usize::try_from(sample).unwrap_or(usize::MAX));
    let mut left = wanted;
    while left > 0
        && let Some(file) = walk.next()
    {
        left -= 1;
        match read_file(folder, config, &file) {
            Ok(Some((record, read))) => {
                bytes += read;
                counted += 1;
                batch.push(record);
            }
            Ok(None) => walk.note_vanished(),
            Err((code, message)) => {
                counted += 1;
                let (object, source_key) = (Arc::clone(object), file.path);
                output.blocking_send(Message::RecordFailed {
                    object,
                    source_key,
                    code,
                    message: message.to_owned(),
                })?;
            }
        }
        if batch.len() >= BATCH_RECORDS || bytes >= BATCH_BYTES {
            flush(&mut batch, &mut bytes)?;
        }
    }
    flush(&mut batch, &mut bytes)?;
    if sample.is_some() {
        // A sample proves nothing.
        return Ok(());
    }
    let is_whole = walk.is_whole(object);
    let object = Arc::clone(object);
    output.blocking_send(if walk.unlisted == 0 && is_whole {
        Message::Complete { object, counted: Some(counted), rest: Rest::Gone, mark: None }
    } else if !is_whole {
        let message = "it went away while it was read; the next sync looks again".to_owned();
        Message::Failed { object, code: "unreadable", message }
    } else {
        let message = format!("{} folders in it cannot be listed", walk.unlisted);
        Message::Failed { object, code: "unreadable", message }
    })
}

/// One file; nothing when it is gone since its folder was listed.
fn read_file(
    folder: &Path,
    config: &Config,
    file: &Entry,
) -> Result<Option<(RawRecord, u64)>, (&'static str, &'static str)> {
    if !file.is_text {
        return Err(("name_not_text", "the name of the file is not UTF-8"));
    }
    match Hashed::of(folder, &file.path, config) {
        Ok(hashed) => {
            let read = hashed.read;
            let payload = Bytes::from(file.path.clone().into_bytes());
            let fingerprint = hashed.fingerprint;
            Ok(Some((
                RawRecord { source_key: file.path.clone(), fingerprint, payload: sealed(fingerprint, payload) },
                read,
            )))
        }
        // Gone, or replaced by something that is not read at all.
        Err(ConfinementError::NotFound | ConfinementError::NotRegular | ConfinementError::Outside) => Ok(None),
        Err(ConfinementError::Unreadable(_) | ConfinementError::Malformed | ConfinementError::NoRoots) => {
            Err(("unreadable", "the file cannot be read; let the server's user read it, or exclude it"))
        }
    }
}

/// The payload: the fingerprint that the file had, then its path.
fn sealed(fingerprint: Fingerprint, path: Bytes) -> Bytes {
    let mut payload = fingerprint.0.to_le_bytes().to_vec();
    payload.extend_from_slice(&path);
    Bytes::from(payload)
}

/// Takes a payload apart.
pub(super) fn unsealed(payload: &[u8]) -> Option<(Fingerprint, &str)> {
    let (fingerprint, path) = payload.split_first_chunk::<16>()?;
    Some((Fingerprint(u128::from_le_bytes(*fingerprint)), std::str::from_utf8(path).ok()?))
}

/// What a file hashes to.
pub(super) struct Hashed {
    pub(super) fingerprint: Fingerprint,
    /// Bytes read for it.
    read: u64,
}

impl Hashed {
    /// Hashes content and size. Of a file above the size limit nothing is read,
    /// and its size and time of change stand for its content.
    pub(super) fn of(folder: &Path, relative: &str, config: &Config) -> Result<Self, ConfinementError> {
        let mut file = open(folder, relative)?;
        let metadata = file.metadata().map_err(ConfinementError::Unreadable)?;
        let mut hasher = Xxh3::new();
        let mut read: u64 = 0;
        if metadata.len() > config.choice.size_limit() {
            hasher.update(&metadata.len().to_le_bytes());
            hasher.update(&microseconds(metadata.modified().ok()).unwrap_or_default().to_le_bytes());
            return Ok(Self { fingerprint: Fingerprint(hasher.digest128()), read });
        }
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let length = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(ConfinementError::Unreadable(error)),
            };
            hasher.update(&buffer[..length]);
            read += length as u64;
        }
        hasher.update(&read.to_le_bytes());
        Ok(Self { fingerprint: Fingerprint(hasher.digest128()), read })
    }

    /// The same of content in memory.
    pub(super) fn of_content(content: &[u8]) -> Fingerprint {
        let mut hasher = Xxh3::new();
        hasher.update(content);
        hasher.update(&(content.len() as u64).to_le_bytes());
        Fingerprint(hasher.digest128())
    }
}

/// Opens a file of the folder. A link on the way is refused: none was followed to
/// find it.
pub(super) fn open(folder: &Path, relative: &str) -> Result<std::fs::File, ConfinementError> {
    let wanted = folder.join(relative);
    if paths::below(folder, &wanted)? != wanted {
        return Err(ConfinementError::Outside);
    }
    paths::open_regular(&wanted)
}

/// A time as microseconds since 1970 UTC.
pub(super) fn microseconds(time: Option<SystemTime>) -> Option<i64> {
    time.map(|time| chrono::DateTime::<chrono::Utc>::from(time).timestamp_micros())
}
