//! What a file holds, by its type: title, text, language.

mod archive;
mod docx;
mod html;
mod mail;
mod pdf;
mod plain;
mod records;
mod xlsx;

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::connectors::RecordError;

/// Most text that a document takes; the rest is cut and said so.
pub(in crate::connectors) const TEXT_BYTES: usize = 10 * 1024 * 1024;
/// The extension of a message of which the attachments are only named. No file has
/// it: a source of mail asks with it.
pub(in crate::connectors) const MAIL_WITHOUT_ATTACHMENTS: &str = "eml-without-attachments";

/// What a file holds.
#[derive(Debug, Default)]
pub(in crate::connectors) struct Content {
    /// The document's own title.
    pub(in crate::connectors) title: Option<String>,
    /// Its text.
    pub(in crate::connectors) body: String,
    pub(in crate::connectors) media_type: Cow<'static, str>,
    /// Programming language of source code.
    pub(in crate::connectors) language: Option<Cow<'static, str>>,
    /// False when the type is not one whose text is taken.
    pub(in crate::connectors) extracted: bool,
    /// True when text was cut off.
    pub(in crate::connectors) truncated: bool,
    /// When it was made, by its own word: microseconds since 1970 UTC.
    pub(in crate::connectors) created_at: Option<i64>,
    /// When it was changed, by its own word.
    pub(in crate::connectors) updated_at: Option<i64>,
    /// What else it says of itself, for filters: who wrote it.
    pub(in crate::connectors) metadata: Map<String, Value>,
}

impl Content {
    /// A file of which only the name is searched.
    pub(in crate::connectors) fn name_only() -> Self {
        Self { media_type: "application/octet-stream".into(), ..Self::default() }
    }

    fn text(media_type: &'static str, title: Option<String>, body: String) -> Self {
        let mut content = Self { title, body, media_type: media_type.into(), extracted: true, ..Self::default() };
        if content.body.len() > TEXT_BYTES {
            content.body.truncate(content.body.floor_char_boundary(TEXT_BYTES));
            content.truncated = true;
        }
        content
    }
}

/// The file is broken, or not what its name says.
pub(super) fn unparsable() -> RecordError {
    RecordError { code: "unparsable", message: "the file is damaged, or not of the type that its name says".to_owned() }
}

pub(super) fn encrypted() -> RecordError {
    RecordError { code: "encrypted", message: "the file is protected by a password".to_owned() }
}

pub(super) fn too_large() -> RecordError {
    RecordError { code: "too_large", message: "the file expands beyond the limits".to_owned() }
}

/// Lower-case extension of a path, empty when there is none.
pub(in crate::connectors) fn extension(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map(|(_, extension)| extension.to_lowercase()).unwrap_or_default()
}

/// Takes title and text out of a file.
pub(super) fn content(path: &str, bytes: &[u8]) -> Result<Content, RecordError> {
    let extension = extension(path);
    match extension.as_str() {
        "pdf" => return pdf::content(bytes),
        "docx" | "docm" => return docx::content(bytes),
        "xlsx" | "xlsm" => return xlsx::content(bytes),
        "eml" => return mail::message(bytes, mail::Attachments::Parsed),
        MAIL_WITHOUT_ATTACHMENTS => return mail::message(bytes, mail::Attachments::Named),
        "mbox" => return mail::mailbox(bytes),
        _ => {}
    }
    let Some((text, certain)) = plain::decode(bytes) else { return Ok(Content::name_only()) };
    Ok(match extension.as_str() {
        "md" | "markdown" | "mdx" => Content::text("text/markdown", plain::markdown_title(&text), text),
        "html" | "htm" | "xhtml" => html::content(&text)?,
        "csv" => records::separated("text/csv", &text),
        "tsv" => records::separated("text/tab-separated-values", &text),
        "jsonl" | "ndjson" => records::json_lines(&text),
        "json" => records::json(&text),
        "txt" | "text" | "log" | "rst" | "adoc" | "asciidoc" | "org" | "tex" => Content::text("text/plain", None, text),
        other => match plain::language(other) {
            Some(language) => Content { language: Some(language.into()), ..Content::text("text/plain", None, text) },
            // Anything can be read as windows-1252; an unknown type must be surer.
            None if certain => Content::text("text/plain", None, text),
            None => Content::name_only(),
        },
    })
}

#[cfg(test)]
mod tests;
