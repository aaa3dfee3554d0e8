//! PDF: the text of its pages.

use lopdf::{Document, LoadOptions, Object};

use super::{Content, TEXT_BYTES, encrypted, unparsable};
use crate::connectors::RecordError;

const MOST_PAGES: usize = 2_000;
/// What one stream may expand to.
const STREAM_BYTES: usize = 32 * 1024 * 1024;

pub(super) fn content(bytes: &[u8]) -> Result<Content, RecordError> {
    let options = LoadOptions { max_decompressed_size: Some(STREAM_BYTES), ..LoadOptions::default() };
    let document = Document::load_mem_with_options(bytes, options).map_err(|error| match error {
        lopdf::Error::InvalidPassword | lopdf::Error::Decryption(_) => encrypted(),
        _ => unparsable(),
    })?;
    if document.is_encrypted() {
        return Err(encrypted());
    }
    let pages: Vec<u32> = document.get_pages().into_keys().collect();
    if pages.is_empty() {
        return Err(unparsable());
    }
    let mut body = String::new();
    let mut truncated = pages.len() > MOST_PAGES;
    for page in pages.iter().take(MOST_PAGES) {
        // A page that cannot be read does not take the others with it.
        for text in document.extract_text_chunks_with_limit(&[*page], STREAM_BYTES).into_iter().flatten() {
            body.push_str(&text);
        }
        body.push('\n');
        if body.len() > TEXT_BYTES {
            truncated = true;
            break;
        }
    }
    let has_text = !body.trim().is_empty();
    if !has_text && document.xref_recovery.is_some() {
        // What was saved of a damaged file is nothing.
        return Err(unparsable());
    }
    let mut content = Content::text("application/pdf", title(&document), body);
    content.truncated |= truncated;
    // A scan has pages, but no text to take.
    content.extracted = has_text;
    Ok(content)
}

fn title(document: &Document) -> Option<String> {
    let information = document.trailer.get(b"Info").ok()?;
    let (_, information) = document.dereference(information).ok()?;
    let (_, title) = document.dereference(information.as_dict().ok()?.get(b"Title").ok()?).ok()?;
    match title {
        Object::String(..) => lopdf::decode_text_string(title).ok().map(|title| title.trim().to_owned()),
        _ => None,
    }
}
