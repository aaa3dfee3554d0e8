//! A document as its owner brings it: what is wrong with it, what it hashes to, and
//! what is indexed of it.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::connectors::RecordError;
use crate::connectors::documents::formats::{self, Content};
use crate::connectors::documents::isolation::Parsers;
use crate::error::Violation;
use crate::record::{Document, Fingerprint};

/// Longest id, in bytes: it is stored with each document.
const LONGEST_ID: usize = 512;
/// Most keys of the metadata, each of which has columns of its own.
const MOST_KEYS: usize = 200;
/// Longest metadata as JSON, in bytes.
const LONGEST_METADATA: usize = 64 * 1024;
/// Longest title that is taken from a text, in characters.
const LONGEST_TITLE: usize = 200;

/// A document that its owner brings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PushedDocument {
    /// Its name within its object.
    pub id: String,
    /// The object that it is in.
    pub object: String,
    /// Its title; may be empty.
    pub title: String,
    /// What it says.
    pub content: PushedContent,
    /// Its address.
    pub url: Option<String>,
    /// When it was made, in microseconds since 1970 UTC.
    pub created_at: Option<i64>,
    /// When it last changed, in microseconds since 1970 UTC.
    pub updated_at: Option<i64>,
    /// What filters go by.
    pub metadata: Map<String, Value>,
}

/// What a document says.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum PushedContent {
    /// No more than its title.
    #[default]
    Nothing,
    /// Text.
    Text(String),
    /// A file, to be parsed.
    File {
        /// Its bytes.
        bytes: Bytes,
        /// Its name; may be empty.
        name: String,
        /// Its media type; may be empty.
        media_type: String,
    },
}

impl PushedDocument {
    /// What its proto cannot say is wrong with it. `path` is where it was given.
    pub fn violations(&self, path: &str) -> Vec<Violation> {
        let mut violations = id_violations(&self.id, &format!("{path}.id"));
        let metadata = format!("{path}.metadata");
        if self.metadata.len() > MOST_KEYS {
            violations.push(Violation::new(&metadata, "TOO_MANY", format!("must have at most {MOST_KEYS} keys")));
        }
        if written(&self.metadata).len() > LONGEST_METADATA {
            let description = format!("must have at most {LONGEST_METADATA} bytes of JSON");
            violations.push(Violation::new(&metadata, "TOO_LONG", description));
        }
        violations
    }

    /// Roughly what it takes in memory, in bytes.
    pub fn size(&self) -> usize {
        let content = match &self.content {
            PushedContent::Nothing => 0,
            PushedContent::Text(text) => text.len(),
            PushedContent::File { bytes, .. } => bytes.len(),
        };
        // Metadata is bounded, and mostly short.
        512 + self.title.len() + content
    }

    /// What all of it hashes to. Each part has its length before it, so that no two
    /// documents write the same bytes.
    pub fn fingerprint(&self) -> Fingerprint {
        let Self { id: _, object: _, title, content, url, created_at, updated_at, metadata } = self;
        let mut buffer = Vec::with_capacity(self.size());
        let mut part = |bytes: &[u8]| {
            buffer.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            buffer.extend_from_slice(bytes);
        };
        part(title.as_bytes());
        match content {
            PushedContent::Nothing => part(b"nothing"),
            PushedContent::Text(text) => {
                part(b"text");
                part(text.as_bytes());
            }
            PushedContent::File { bytes, name, media_type } => {
                part(b"file");
                part(bytes);
                part(name.as_bytes());
                part(media_type.as_bytes());
            }
        }
        for text in [url.clone(), created_at.map(|time| time.to_string()), updated_at.map(|time| time.to_string())] {
            part(&[u8::from(text.is_some())]);
            part(text.unwrap_or_default().as_bytes());
        }
        part(&written(metadata));
        Fingerprint::of(&buffer)
    }

    /// What is indexed of it. Blocks while a file is parsed.
    pub fn document(&self, parsers: &Parsers) -> Result<Document, RecordError> {
        let mut metadata = self.metadata.clone();
        let (kind, title, body) = match &self.content {
            PushedContent::Nothing => ("document", None, String::new()),
            PushedContent::Text(text) => ("document", beginning(text), text.clone()),
            PushedContent::File { bytes, name, media_type } => {
                let content = parsers.content(path_of(name, media_type), bytes.clone())?;
                let title = content.title.clone().filter(|title| !title.trim().is_empty());
                let title = title.or_else(|| Some(name.clone()).filter(|name| !name.is_empty()));
                describe(&mut metadata, name, media_type, bytes.len(), &content);
                ("file", title, content.body)
            }
        };
        let given = Some(self.title.clone()).filter(|title| !title.is_empty());
        Ok(Document {
            title: given.or(title).unwrap_or_else(|| self.id.clone()),
            body,
            url: self.url.clone().filter(|url| !url.is_empty()),
            kind: kind.to_owned(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            metadata,
        })
    }
}

/// What its proto cannot say is wrong with an id.
pub fn id_violations(id: &str, path: &str) -> Vec<Violation> {
    if id.len() <= LONGEST_ID {
        return Vec::new();
    }
    vec![Violation::new(path, "TOO_LONG", format!("must have at most {LONGEST_ID} bytes"))]
}

fn written(metadata: &Map<String, Value>) -> Vec<u8> {
    serde_json::to_vec(metadata).unwrap_or_default()
}

/// How a text begins: its first line that says anything.
fn beginning(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let line = line.trim_start_matches('#').trim_start();
    let title: String = line.chars().take(LONGEST_TITLE).collect();
    Some(title).filter(|title| !title.is_empty())
}

/// A path whose ending tells the parsers what the file is. A media type that is one of
/// theirs says it better than the name.
fn path_of(name: &str, media_type: &str) -> String {
    const KNOWN: [(&str, &str); 12] = [
        ("application/pdf", "pdf"),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
        ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
        ("application/json", "json"),
        ("application/x-ndjson", "jsonl"),
        ("application/xhtml+xml", "xhtml"),
        ("text/csv", "csv"),
        ("text/html", "html"),
        ("text/markdown", "md"),
        ("text/plain", "txt"),
        ("text/tab-separated-values", "tsv"),
        ("text/x-markdown", "md"),
    ];
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match KNOWN.iter().find(|(known, _)| *known == essence) {
        // A text may be source code, which only its name tells.
        Some((_, "txt")) if !formats::extension(name).is_empty() => name.to_owned(),
        Some((_, extension)) => format!("document.{extension}"),
        None => name.to_owned(),
    }
}

/// Notes what the file is, under names that its owner has not used.
fn describe(metadata: &mut Map<String, Value>, name: &str, media_type: &str, size: usize, content: &Content) {
    let media_type = if media_type.is_empty() { &content.media_type } else { media_type };
    let mut note = |key: &str, value: Value| {
        metadata.entry(key).or_insert(value);
    };
    if !name.is_empty() {
        note("name", name.into());
    }
    note("mediaType", media_type.into());
    note("size", size.into());
    note("extracted", content.extracted.into());
    if content.truncated {
        note("truncated", true.into());
    }
    if let Some(language) = &content.language {
        note("language", language.as_ref().into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(id: &str, title: &str, body: &str) -> PushedDocument {
        let (id, title) = (id.to_owned(), title.to_owned());
        PushedDocument { id, title, content: PushedContent::Text(body.to_owned()), ..PushedDocument::default() }
    }

    #[test]
    fn every_part_decides_the_fingerprint_and_the_id_does_not() {
        let whole = text("a", "Title", "Body");
        assert_eq!(whole.fingerprint(), PushedDocument { id: "b".to_owned(), ..whole.clone() }.fingerprint());
        let others = [
            text("a", "Titl", "eBody"),
            PushedDocument { content: PushedContent::Nothing, ..whole.clone() },
            PushedDocument { url: Some(String::new()), ..whole.clone() },
            PushedDocument { created_at: Some(0), ..whole.clone() },
            PushedDocument { updated_at: Some(0), ..whole.clone() },
            PushedDocument { metadata: Map::from_iter([("k".to_owned(), json!(1))]), ..whole.clone() },
            PushedDocument {
                content: PushedContent::File {
                    bytes: Bytes::from_static(b"Body"),
                    name: String::new(),
                    media_type: String::new(),
                },
                ..whole.clone()
            },
        ];
        let mut seen = vec![whole.fingerprint()];
        for other in others {
            assert!(!seen.contains(&other.fingerprint()), "{other:?}");
            seen.push(other.fingerprint());
        }
    }

    #[test]
    fn a_title_is_given_or_how_the_text_begins_or_the_id() {
        let parsers = Parsers::default();
        let title = |document: PushedDocument| document.document(&parsers).expect("text needs no parser").title;
        assert_eq!(title(text("a", "Given", "Text")), "Given");
        assert_eq!(title(text("a", "", "\n\n# How it begins\nmore")), "How it begins");
        assert_eq!(title(text("a", "", &"ä".repeat(300))), "ä".repeat(200));
        assert_eq!(title(text("the-id", "", " \n")), "the-id");
    }

    #[test]
    fn a_media_type_tells_the_format_where_it_is_known() {
        assert_eq!(path_of("", "application/pdf"), "document.pdf");
        assert_eq!(path_of("report.docx", "Text/HTML; charset=utf-8"), "document.html");
        assert_eq!(path_of("main.rs", "text/plain"), "main.rs");
        assert_eq!(path_of("", "text/plain"), "document.txt");
        assert_eq!(path_of("report.docx", "application/octet-stream"), "report.docx");
    }

    #[test]
    fn what_is_too_large_is_named() {
        let mut document = text(&"ä".repeat(300), "", "");
        document.metadata = (0..=MOST_KEYS).map(|number| (number.to_string(), json!("x".repeat(400)))).collect();
        let violations = document.violations("documents[3]");
        let fields: Vec<&str> = violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["documents[3].id", "documents[3].metadata", "documents[3].metadata"]);
        assert!(text("a", "", "").violations("document").is_empty());
    }
}
