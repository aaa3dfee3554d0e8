//! What a file holds, by its type: title, text, language.

mod archive;
mod avro;
mod budget;
mod calendars;
mod compound;
mod docx;
mod epub;
mod html;
mod kinds;
mod lines;
mod mail;
mod notebook;
mod opendocument;
mod packages;
mod packed;
mod parquet;
mod pdf;
mod plain;
mod pptx;
mod properties;
mod records;
mod relations;
mod rows;
mod rtf;
mod subtitles;
mod xls;
mod xlsx;
mod xml;

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::connectors::RecordError;
use budget::Budget;
use kinds::Kind;

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
    within(path, bytes, &Budget::default())
}

/// The same of something that may be a part of another.
fn within(path: &str, bytes: &[u8], budget: &Budget) -> Result<Content, RecordError> {
    let extension = extension(path);
    match extension.as_str() {
        "eml" => return mail::message(bytes, mail::Attachments::Parsed, budget),
        MAIL_WITHOUT_ATTACHMENTS => return mail::message(bytes, mail::Attachments::Named, budget),
        "mbox" => return mail::mailbox(bytes, budget),
        _ => {}
    }
    match Kind::of(&extension, bytes) {
        Kind::Pdf => pdf::content(bytes),
        Kind::Package => packages::content(&extension, bytes, budget),
        Kind::Compound => compound::content(&extension, bytes),
        Kind::RichText => rtf::content(bytes),
        Kind::Parquet => parquet::content(bytes),
        Kind::Avro => avro::content(bytes, budget),
        Kind::Tar => packed::tar(bytes, budget),
        Kind::Gzip => packed::gzip(path, bytes, budget),
        Kind::Zstandard => packed::zstandard(path, bytes, budget),
        Kind::Text => text(&extension, bytes),
        Kind::Broken => Err(unparsable()),
    }
}

fn text(extension: &str, bytes: &[u8]) -> Result<Content, RecordError> {
    if let Some(content) = marked_up(extension, bytes) {
        return content;
    }
    let Some((text, certain)) = plain::decode(bytes) else { return Ok(Content::name_only()) };
    Ok(match extension {
        "md" | "markdown" | "mdx" => Content::text("text/markdown", plain::markdown_title(&text), text),
        "csv" => records::separated("text/csv", &text),
        "tsv" | "xls" => records::separated("text/tab-separated-values", &text),
        "jsonl" | "ndjson" => records::json_lines(&text),
        "json" | "geojson" => records::json(&text),
        "ipynb" => notebook::content(&text),
        "srt" => subtitles::content("application/x-subrip", &text),
        "vtt" => subtitles::content("text/vtt", &text),
        "ics" | "ical" | "ifb" => calendars::content("text/calendar", &text)?,
        "vcf" | "vcard" => calendars::content("text/vcard", &text)?,
        "txt" | "text" | "log" | "rst" | "adoc" | "asciidoc" | "org" | "tex" => Content::text("text/plain", None, text),
        other => match plain::language(other) {
            Some(language) => Content { language: Some(language.into()), ..Content::text("text/plain", None, text) },
            // Anything can be read as windows-1252; an unknown type must be surer.
            None if certain => Content::text("text/plain", None, text),
            None => Content::name_only(),
        },
    })
}

/// HTML and XML, which say their encoding themselves; none of another text.
fn marked_up(extension: &str, bytes: &[u8]) -> Option<Result<Content, RecordError>> {
    let media_type = match extension {
        "html" | "htm" | "xhtml" => "text/html",
        "svg" => "image/svg+xml",
        "rss" => "application/rss+xml",
        "atom" => "application/atom+xml",
        "xml" | "xsd" | "xsl" | "xslt" | "rdf" | "opml" | "gpx" | "kml" | "dita" | "docbook" => "application/xml",
        // What the name does not say, the begin may.
        "txt" | "text" | "log" | "md" | "markdown" | "mdx" | "rst" => return None,
        other if plain::language(other).is_some() || !kinds::is_markup(bytes) => return None,
        _ if kinds::is_page(bytes) => "text/html",
        _ => "application/xml",
    };
    let text = plain::marked_up(bytes)?;
    Some(if media_type == "text/html" { html::content(&text) } else { Ok(xml::content(media_type, text)) })
}

#[cfg(test)]
mod tests;
