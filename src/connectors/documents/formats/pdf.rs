//! PDF: the text of its pages.

use lopdf::{Dictionary, Document, LoadOptions, Object};

use super::properties::{self, Properties};
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
    let mut content = properties(&document).into_content(Content::text("application/pdf", None, body));
    content.truncated |= truncated;
    // A scan has pages, but no text to take.
    content.extracted = has_text;
    Ok(content)
}

/// What the document says of itself.
fn properties(document: &Document) -> Properties {
    let mut properties = Properties::default();
    let Some(information) = dictionary(document) else { return properties };
    let text = |name: &[u8]| {
        let (_, value) = document.dereference(information.get(name).ok()?).ok()?;
        match value {
            Object::String(..) => lopdf::decode_text_string(value).ok(),
            _ => None,
        }
    };
    for (name, property) in [(&b"Title"[..], "title"), (&b"Author"[..], "author")] {
        properties.set(property, &text(name).unwrap_or_default());
    }
    properties.created_at = text(b"CreationDate").and_then(|text| time(&text));
    properties.updated_at = text(b"ModDate").and_then(|text| time(&text));
    properties
}

fn dictionary(document: &Document) -> Option<&Dictionary> {
    let (_, information) = document.dereference(document.trailer.get(b"Info").ok()?).ok()?;
    information.as_dict().ok()
}

/// `D:20240301120000+02'00'`, of which everything after the year may be missing.
fn time(text: &str) -> Option<i64> {
    let text = text.trim().strip_prefix("D:").unwrap_or(text.trim());
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, zone) = text.split_at(digits);
    let part = |range: std::ops::Range<usize>, other| digits.get(range).unwrap_or(other);
    let [year, month, day] = [part(0..4, ""), part(4..6, "01"), part(6..8, "01")];
    let [hour, minute, second] = [part(8..10, "00"), part(10..12, "00"), part(12..14, "00")];
    let zone = zone.replace('\'', "");
    let zone = match (zone.get(..1), zone.get(1..3), zone.get(3..5)) {
        (Some(sign @ ("+" | "-")), Some(hours), minutes) => format!("{sign}{hours}:{}", minutes.unwrap_or("00")),
        _ => "Z".to_owned(),
    };
    properties::time(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}{zone}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_be_short_and_may_have_a_zone() {
        assert_eq!(time("D:20240301120000+02'00'"), Some(1_709_287_200_000_000));
        assert_eq!(time("D:20240301100000Z"), Some(1_709_287_200_000_000));
        assert_eq!(time("20240301"), Some(1_709_251_200_000_000));
        assert_eq!(time("D:2024"), Some(1_704_067_200_000_000));
        assert_eq!((time("D:00000000000000"), time("yesterday"), time("")), (None, None, None));
    }
}
