//! Zip archives that are documents: which ones, by what is in them.

use super::archive::Archive;
use super::budget::Budget;
use super::{Content, docx, epub, opendocument, packed, pptx, relations, unparsable, xlsx};
use crate::connectors::RecordError;

/// Longest word for what an archive is.
const MEDIA_TYPE_BYTES: u64 = 200;

/// A document, or an archive of files.
pub(super) fn content(extension: &str, bytes: &[u8], budget: &Budget) -> Result<Content, RecordError> {
    let mut archive = Archive::open(bytes, budget)?;
    if let Some(media_type) = media_type(&mut archive) {
        if media_type == "application/epub+zip" {
            return epub::content(archive.into_document()?);
        }
        if let Some(kind) = media_type.strip_prefix("application/vnd.oasis.opendocument.") {
            return opendocument::content(archive.into_document()?, kind);
        }
    }
    if let Some(main) = main_part(&mut archive) {
        let archive = archive.into_document()?;
        return match main.split('/').next() {
            Some("word") => docx::content(archive, &main),
            Some("ppt") => pptx::content(archive, &main),
            Some("xl") => xlsx::content(archive, &main, bytes),
            _ => Err(unparsable()),
        };
    }
    if super::kinds::is_package(extension) {
        return Err(unparsable());
    }
    packed::zip(archive, budget)
}

/// What documents of OpenDocument and electronic books say in their first entry.
fn media_type(archive: &mut Archive<'_>) -> Option<String> {
    if archive.len() == 0 || archive.name(0) != "mimetype" {
        return None;
    }
    let bytes = archive.bytes(0, MEDIA_TYPE_BYTES).ok()?;
    String::from_utf8(bytes).ok().map(|text| text.trim().to_owned())
}

/// The main part of a document of Microsoft Office.
fn main_part(archive: &mut Archive<'_>) -> Option<String> {
    let relations = relations::of(archive, "");
    let main = relations.into_iter().find(|relation| relation.kind == "officeDocument");
    let usual = ["word/document.xml", "ppt/presentation.xml", "xl/workbook.xml"];
    let named = main.map(|relation| relation.target).filter(|target| archive.has(target));
    named.or_else(|| usual.into_iter().find(|name| archive.has(name)).map(str::to_owned))
}
