//! From a file to a document. What a file holds is parsed in another process, so
//! that a hostile one costs its record and nothing else.

use std::io::Read;
use std::path::Path;

use crate::connectors::RecordError;
use crate::connectors::documents::file::File;
use crate::connectors::documents::formats::Content;
use crate::connectors::documents::isolation::Parsers;
use crate::connectors::files::config::Config;
use crate::connectors::files::read::{self, Hashed};
use crate::connectors::paths::ConfinementError;
use crate::record::{Document, RawRecord};

/// The document of a file.
pub(super) fn document(
    folder: &Path,
    config: &Config,
    parsers: &Parsers,
    record: &RawRecord,
) -> Result<Document, RecordError> {
    let (fingerprint, path) =
        read::unsealed(&record.payload).ok_or_else(|| failed("undecodable", "the record cannot be decoded"))?;
    let mut file = read::open(folder, path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(|_| failed("unreadable", "the file cannot be read"))?;
    let content = if metadata.len() > config.choice.size_limit() {
        Content::name_only()
    } else {
        let mut bytes = Vec::new();
        let limit = config.choice.size_limit().saturating_add(1);
        file.by_ref()
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(|_| failed("unreadable", "the file cannot be read"))?;
        if Hashed::of_content(&bytes) != fingerprint {
            // Its text would not be what the fingerprint says that it is.
            return Err(failed("changed", "the file changed while it was read; the next sync takes it"));
        }
        parsers.content(path.to_owned(), bytes.into())?
    };
    let modified_at = read::microseconds(metadata.modified().ok());
    File { path, size: metadata.len(), modified_at }.document(content, config.choice.url_template.as_deref())
}

fn unreadable(error: ConfinementError) -> RecordError {
    match error {
        ConfinementError::NotFound => failed("gone", "the file went away while it was read"),
        _ => failed("unreadable", "the file cannot be read"),
    }
}

fn failed(code: &'static str, message: &str) -> RecordError {
    RecordError { code, message: message.to_owned() }
}
