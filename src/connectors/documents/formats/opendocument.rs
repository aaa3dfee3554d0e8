//! OpenDocument: texts, spreadsheets, presentations and drawings.

use quick_xml::events::BytesStart;

use super::archive::Archive;
use super::lines::Lines;
use super::properties::Properties;
use super::xml::{self, Visitor};
use super::{Content, TEXT_BYTES, encrypted, unparsable};
use crate::connectors::RecordError;

/// What comes after `application/vnd.oasis.opendocument.` is the kind.
pub(super) fn content(mut archive: Archive<'_>, kind: &str) -> Result<Content, RecordError> {
    let media_type = match kind {
        "text" | "text-template" | "text-master" => "application/vnd.oasis.opendocument.text",
        "spreadsheet" | "spreadsheet-template" => "application/vnd.oasis.opendocument.spreadsheet",
        "presentation" | "presentation-template" => "application/vnd.oasis.opendocument.presentation",
        "graphics" | "graphics-template" => "application/vnd.oasis.opendocument.graphics",
        _ => "application/vnd.oasis.opendocument",
    };
    if archive.text("META-INF/manifest.xml").ok().flatten().is_some_and(|xml| xml.contains("encryption-data")) {
        return Err(encrypted());
    }
    let xml = archive.text("content.xml")?.ok_or_else(unparsable)?;
    let mut text = Text::everywhere();
    xml::walk(&xml, &mut text)?;
    let (heading, mut body) = (text.heading, text.lines.into_body());
    // Headers and footers are in the styles of pages.
    if let Ok(Some(xml)) = archive.text("styles.xml") {
        let mut text = Text::default();
        let _ = xml::walk(&xml, &mut text);
        body.push_str(&text.lines.into_body());
    }
    let mut properties = Properties::of_part(&mut archive, "meta.xml");
    properties.updated_at = properties.updated_at.or(properties.date);
    Ok(properties.into_content(Content::text(media_type, heading, body)))
}

#[derive(Default)]
struct Text {
    lines: Lines,
    heading: Option<String>,
    /// Depth of paragraphs: notes and comments stand in one.
    paragraphs: usize,
    /// Depth of what is not read: deleted text, who commented and when.
    skipped: usize,
    /// Depth of what is read; outside nothing is.
    wanted: usize,
}

impl Text {
    fn everywhere() -> Self {
        Self { wanted: 1, ..Self::default() }
    }
}

fn is_skipped(name: &str) -> bool {
    matches!(
        name,
        "tracked-changes"
            | "note-citation"
            | "creator"
            | "date"
            | "date-string"
            | "creator-initials"
            | "sender-initials"
    )
}

impl Visitor for Text {
    fn start(&mut self, element: &BytesStart<'_>) {
        match element.local_name().as_ref() {
            name if is_skipped(name) => self.skipped += 1,
            "header" | "footer" => self.wanted += 1,
            "p" | "h" => {
                if self.paragraphs > 0 {
                    self.lines.push(" ");
                }
                self.paragraphs += 1;
            }
            "s" | "tab" | "line-break" => self.lines.push(" "),
            "table-cell" | "covered-table-cell" => self.lines.start_cell(),
            "table" | "page" if self.wanted > 0 => {
                self.lines.end_part();
                if let Some(name) = xml::attribute(element, "name") {
                    self.lines.push(&name);
                    self.lines.end_paragraph();
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.paragraphs > 0 && self.skipped == 0 && self.wanted > 0 {
            self.lines.push(text);
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            name if is_skipped(name) => self.skipped = self.skipped.saturating_sub(1),
            "header" | "footer" => self.wanted = self.wanted.saturating_sub(1),
            "p" | "h" => {
                self.paragraphs = self.paragraphs.saturating_sub(1);
                if self.paragraphs > 0 {
                    self.lines.push(" ");
                    return;
                }
                if name == "h" && self.heading.is_none() && self.wanted > 0 {
                    self.heading = Some(self.lines.line()).filter(|line| !line.is_empty());
                }
                self.lines.end_paragraph();
            }
            "table-cell" | "covered-table-cell" => self.lines.end_cell(),
            "table-row" => self.lines.end_row(),
            _ => {}
        }
    }

    fn is_done(&self) -> bool {
        self.lines.len() > TEXT_BYTES
    }
}
