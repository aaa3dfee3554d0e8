//! Mail: one message, or a mailbox file of them. The text is the best that each
//! message has of itself; what is attached is taken apart like any file, within
//! bounds of number, depth and text.

mod headers;

use mail_parser::mailbox::mbox::MessageIterator;
use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders, PartType};
use serde_json::{Map, Value};

use super::budget::Budget;
use super::{Content, TEXT_BYTES, extension, html, unparsable};
use crate::connectors::RecordError;

/// Attachments of one file whose text is taken, and most names that are kept.
const MOST_ATTACHMENTS: usize = 100;
/// Messages within messages.
const DEEPEST: usize = 5;
/// Attachments within archives within attachments.
const DEEPEST_ATTACHMENT: usize = 2;
/// Longest name of an attachment, in characters.
const LONGEST_NAME: usize = 200;
/// Signatures and sealed mail: text at best by accident.
const OPAQUE: [&str; 5] = ["asc", "p7m", "p7s", "pgp", "sig"];
/// Archives keep to their names here, so that mail in archives in mail comes to an
/// end.
const ARCHIVES: [&str; 8] = ["7z", "bz2", "gz", "rar", "tar", "tgz", "xz", "zip"];

/// What is taken of attachments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attachments {
    /// Names and text.
    Parsed,
    /// Names alone.
    Named,
}

/// One message.
pub(super) fn message(bytes: &[u8], attachments: Attachments, budget: &Budget) -> Result<Content, RecordError> {
    let message = MessageParser::default().parse(bytes).ok_or_else(unparsable)?;
    let mut reader = Reader::new(attachments, budget);
    reader.message(&message, 0);
    let mut content = Content::text("message/rfc822", headers::subject(&message), reader.body);
    content.created_at = headers::date(&message);
    content.metadata = headers::metadata(&message);
    attached(&mut content.metadata, reader.names, reader.attached);
    Ok(content)
}

/// A mailbox file: all its messages one after the other.
pub(super) fn mailbox(bytes: &[u8], budget: &Budget) -> Result<Content, RecordError> {
    let mut reader = Reader::new(Attachments::Parsed, budget);
    let parser = MessageParser::default();
    let mut messages: u64 = 0;
    for raw in MessageIterator::new(bytes).flatten() {
        messages += 1;
        if reader.is_full() {
            continue;
        }
        if let Some(message) = parser.parse(raw.contents()) {
            reader.line(&headers::subject(&message).unwrap_or_default());
            reader.message(&message, 0);
            reader.body.push('\n');
        }
    }
    if messages == 0 {
        return Err(unparsable());
    }
    let mut content = Content::text("application/mbox", None, reader.body);
    content.metadata.insert("messages".to_owned(), messages.into());
    attached(&mut content.metadata, reader.names, reader.attached);
    Ok(content)
}

fn attached(metadata: &mut Map<String, Value>, names: Vec<String>, number: u64) {
    if number > 0 {
        metadata.insert("attachments".to_owned(), names.into());
        metadata.insert("attachmentCount".to_owned(), number.into());
    }
}

/// What was taken so far.
struct Reader<'a> {
    attachments: Attachments,
    budget: &'a Budget,
    body: String,
    names: Vec<String>,
    attached: u64,
}

impl<'a> Reader<'a> {
    fn new(attachments: Attachments, budget: &'a Budget) -> Self {
        Self { attachments, budget, body: String::new(), names: Vec::new(), attached: 0 }
    }

    /// More would be cut off.
    fn is_full(&self) -> bool {
        self.body.len() > TEXT_BYTES
    }

    fn line(&mut self, text: &str) {
        let text = text.trim();
        if !text.is_empty() && !self.is_full() {
            self.body.push_str(text);
            self.body.push('\n');
        }
    }

    fn message(&mut self, message: &Message<'_>, depth: usize) {
        for line in headers::lines(message) {
            self.line(&line);
        }
        self.body.push('\n');
        let text = text(message);
        self.line(&text);
        for part in message.attachments() {
            self.attachment(part, depth);
        }
    }

    fn attachment(&mut self, part: &MessagePart<'_>, depth: usize) {
        if is_of_page(part) {
            return;
        }
        self.attached += 1;
        if self.attached > MOST_ATTACHMENTS as u64 || self.is_full() {
            return;
        }
        let name = name(part);
        self.body.push('\n');
        self.line(&name);
        self.names.push(name.clone());
        if self.attachments == Attachments::Parsed && depth < DEEPEST {
            self.text_of(part, &name, depth + 1);
        }
    }

    fn text_of(&mut self, part: &MessagePart<'_>, name: &str, depth: usize) {
        let bytes = match &part.body {
            PartType::Message(message) => {
                self.line(&headers::subject(message).unwrap_or_default());
                return self.message(message, depth);
            }
            PartType::Text(text) | PartType::Html(text) => text.as_bytes(),
            PartType::Binary(bytes) | PartType::InlineBinary(bytes) => bytes,
            PartType::Multipart(_) => return,
        };
        let extension = extension(name);
        if extension == "eml" {
            if let Some(message) = MessageParser::default().parse(bytes) {
                self.line(&headers::subject(&message).unwrap_or_default());
                self.message(&message, depth);
            }
        } else if !["mbox", super::MAIL_WITHOUT_ATTACHMENTS].contains(&extension.as_str())
            && !OPAQUE.contains(&extension.as_str())
            && !ARCHIVES.contains(&extension.as_str())
            // One that is broken or locked is found by its name.
            && let Some(Ok(content)) =
                self.budget.deeper(DEEPEST_ATTACHMENT, || super::within(name, bytes, self.budget))
        {
            self.line(&content.title.unwrap_or_default());
            self.line(&content.body);
        }
    }
}

/// The plain text; that of the page where there is none, or an empty one.
fn text(message: &Message<'_>) -> String {
    let plain = joined(message.text_bodies());
    if plain.trim().is_empty() { joined(message.html_bodies()) } else { plain }
}

fn joined<'a>(parts: impl Iterator<Item = &'a MessagePart<'a>>) -> String {
    let mut joined = String::new();
    for part in parts {
        let text = match &part.body {
            PartType::Text(text) => text.to_string(),
            PartType::Html(page) => html::content(page).map(|content| content.body).unwrap_or_default(),
            PartType::Binary(_) | PartType::InlineBinary(_) | PartType::Message(_) | PartType::Multipart(_) => continue,
        };
        joined.push_str(text.trim());
        joined.push('\n');
        if joined.len() > TEXT_BYTES {
            break;
        }
    }
    joined
}

/// The pictures of a page are no documents.
fn is_of_page(part: &MessagePart<'_>) -> bool {
    let is_picture = part.content_type().is_some_and(|media_type| media_type.ctype().eq_ignore_ascii_case("image"));
    let is_attached = part.content_disposition().is_some_and(|disposition| disposition.is_attachment());
    is_picture && !is_attached && part.content_id().is_some()
}

/// The name of an attachment, with an extension that tells its type.
fn name(part: &MessagePart<'_>) -> String {
    let given = part.attachment_name().unwrap_or_default();
    let given = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let shown = |character: &char| !character.is_control();
    let mut name: String = given.chars().filter(shown).take(LONGEST_NAME).collect();
    if name.trim().is_empty() {
        name = if part.is_message() { "message".to_owned() } else { "attachment".to_owned() };
    }
    if !name.contains('.')
        && let Some(extension) = extension_of_type(part)
    {
        name.push('.');
        name.push_str(extension);
    }
    name
}

fn extension_of_type(part: &MessagePart<'_>) -> Option<&'static str> {
    let media_type = part.content_type()?;
    let subtype = media_type.subtype()?.to_ascii_lowercase();
    Some(match (media_type.ctype().to_ascii_lowercase().as_str(), subtype.as_str()) {
        ("message", _) => "eml",
        ("text", "html") => "html",
        ("text", "csv") => "csv",
        ("text", "markdown") => "md",
        ("text", _) => "txt",
        ("application", "pdf") => "pdf",
        ("application", "json") => "json",
        ("application", "pgp-signature") => "asc",
        ("application", "pkcs7-signature" | "x-pkcs7-signature") => "p7s",
        ("application", "vnd.openxmlformats-officedocument.wordprocessingml.document") => "docx",
        ("application", "vnd.openxmlformats-officedocument.spreadsheetml.sheet") => "xlsx",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
