//! From a file to a document. What a file holds is parsed in another process, so
//! that a hostile one costs its record and nothing else.

use std::fs::Metadata;
use std::io::Read;
use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use crate::connectors::RecordError;
use crate::connectors::documents::formats::{self, Content};
use crate::connectors::documents::isolation::Parsers;
use crate::connectors::files::config::Config;
use crate::connectors::files::read::{self, Hashed};
use crate::connectors::paths::ConfinementError;
use crate::connectors::rows::template::Template;
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
    let content = if metadata.len() > config.size_limit() {
        Content::name_only()
    } else {
        let mut bytes = Vec::new();
        let limit = config.size_limit().saturating_add(1);
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
    assemble(path, &metadata, content, config)
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

fn assemble(path: &str, file: &Metadata, content: Content, config: &Config) -> Result<Document, RecordError> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let modified_at = read::microseconds(file.modified().ok());
    let mut metadata = Map::new();
    metadata.insert("path".to_owned(), path.into());
    metadata.insert("name".to_owned(), name.into());
    metadata.insert("extension".to_owned(), formats::extension(path).into());
    metadata.insert("size".to_owned(), file.len().into());
    metadata.insert("mediaType".to_owned(), content.media_type.into());
    if let Some(time) = modified_at.and_then(DateTime::<Utc>::from_timestamp_micros) {
        metadata.insert("modifiedAt".to_owned(), time.to_rfc3339_opts(SecondsFormat::Secs, true).into());
    }
    if let Some(language) = content.language {
        metadata.insert("language".to_owned(), language.into());
    }
    metadata.insert("extracted".to_owned(), content.extracted.into());
    // What the file says of itself takes no place of what is known of it.
    for (name, value) in content.metadata {
        metadata.entry(name).or_insert(value);
    }
    if content.truncated {
        metadata.insert("truncated".to_owned(), true.into());
    }
    let url = match Template::compile_optional("urlTemplate", config.url_template.as_deref()) {
        Ok(Some(template)) => Some(template.render(&Value::Object(metadata.clone()))?),
        Ok(None) => None,
        Err(error) => return Err(failed("template_failed", &error.reason)),
    };
    Ok(Document {
        title: content.title.filter(|title| !title.is_empty()).unwrap_or_else(|| name.to_owned()),
        body: content.body,
        url: url.filter(|url| !url.is_empty()),
        kind: "file".to_owned(),
        created_at: content.created_at,
        // What a document says itself outlives copies of its file.
        updated_at: content.updated_at.or(modified_at),
        metadata,
    })
}
