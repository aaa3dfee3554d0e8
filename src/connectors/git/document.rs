//! From a file of a commit to a document.

use gix_hash::ObjectId;
use gix_object::Kind;
use serde_json::{Map, Value};

use super::links;
use super::pack::{Pack, PackError};
use super::settings::Config;
use crate::connectors::RecordError;
use crate::connectors::documents::formats::{self, Content};
use crate::connectors::documents::isolation::Parsers;
use crate::connectors::rows::template::Template;
use crate::record::Document;

/// Longest pointer of Git LFS.
const LONGEST_POINTER: usize = 1_024;
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";

/// What the files of a pass have in common.
pub(super) struct Files {
    /// The packs that may have them.
    pub(super) packs: Vec<Pack>,
    /// Name of the branch or tag.
    pub(super) branch: String,
    /// The server was told to leave out large files.
    pub(super) without_large: bool,
}

/// What was found of a file.
enum Found {
    Bytes(Vec<u8>),
    /// More than is taken; how much, if it is known.
    TooLarge(Option<u64>),
}

/// The document of a file.
pub(super) fn document(
    files: &Files,
    config: &Config,
    parsers: &Parsers,
    path: &str,
    id: &ObjectId,
) -> Result<Document, RecordError> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let mut metadata = Map::new();
    metadata.insert("path".to_owned(), path.into());
    metadata.insert("name".to_owned(), name.into());
    metadata.insert("extension".to_owned(), formats::extension(path).into());
    metadata.insert("branch".to_owned(), files.branch.as_str().into());
    metadata.insert("blob".to_owned(), id.to_string().into());
    let content = match find(files, config.file_limit(), id)? {
        Found::Bytes(bytes) if is_pointer(&bytes) => {
            metadata.insert("lfs".to_owned(), true.into());
            if let Some(size) = pointed_size(&bytes) {
                metadata.insert("size".to_owned(), size.into());
            }
            Content::name_only()
        }
        Found::Bytes(bytes) => {
            metadata.insert("size".to_owned(), bytes.len().into());
            parsers.content(path.to_owned(), bytes.into())?
        }
        Found::TooLarge(size) => {
            if let Some(size) = size {
                metadata.insert("size".to_owned(), size.into());
            }
            Content::name_only()
        }
    };
    metadata.insert("mediaType".to_owned(), content.media_type.into());
    if let Some(language) = content.language {
        metadata.insert("language".to_owned(), language.into());
    }
    metadata.insert("extracted".to_owned(), content.extracted.into());
    if content.truncated {
        metadata.insert("truncated".to_owned(), true.into());
    }
    let url = match Template::compile_optional("urlTemplate", config.url_template.as_deref()) {
        Ok(Some(template)) => Some(template.render(&Value::Object(metadata.clone()))?),
        Ok(None) => config.address().and_then(|address| links::file(&address, &files.branch, path)),
        Err(error) => return Err(failed("template_failed", &error.reason)),
    };
    Ok(Document {
        title: content.title.filter(|title| !title.is_empty()).unwrap_or_else(|| name.to_owned()),
        body: content.body,
        url: url.filter(|url| !url.is_empty()),
        kind: "file".to_owned(),
        created_at: None,
        updated_at: None,
        metadata,
    })
}

fn find(files: &Files, limit: u64, id: &ObjectId) -> Result<Found, RecordError> {
    for pack in &files.packs {
        if let Some(size) = pack.plain_size(id).filter(|size| *size > limit) {
            return Ok(Found::TooLarge(Some(size)));
        }
        match pack.object(id) {
            Ok(Some((Kind::Blob, bytes))) if bytes.len() as u64 > limit => {
                return Ok(Found::TooLarge(Some(bytes.len() as u64)));
            }
            Ok(Some((Kind::Blob, bytes))) => {
                return Ok(Found::Bytes(std::sync::Arc::unwrap_or_clone(bytes)));
            }
            Ok(Some(_)) => return Err(failed("undecodable", "the file is none in the repository")),
            Ok(None) => {}
            Err(PackError::TooLarge(_)) => return Ok(Found::TooLarge(None)),
            Err(_) => return Err(failed("unreadable", "the file cannot be read")),
        }
    }
    if files.without_large || files.packs.iter().any(|pack| pack.has_nameless) {
        Ok(Found::TooLarge(None))
    } else {
        Err(failed("missing", "the server did not send the file"))
    }
}

/// True for what Git LFS puts in the place of a file that it keeps elsewhere.
fn is_pointer(bytes: &[u8]) -> bool {
    bytes.len() <= LONGEST_POINTER && bytes.starts_with(POINTER)
}

fn pointed_size(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.lines().find_map(|line| line.strip_prefix("size ")?.parse().ok())
}

fn failed(code: &'static str, message: &str) -> RecordError {
    RecordError { code, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_told_from_a_file() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        assert!(is_pointer(pointer) && !is_pointer(b"version https://example.com\nsize 1\n"));
        assert_eq!(pointed_size(pointer), Some(12_345));
        assert_eq!(pointed_size(b"size many\n"), None);
    }
}
