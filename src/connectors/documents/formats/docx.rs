//! Word documents: paragraphs, headings and tables of the main part, and the
//! title of the properties.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::archive::Archive;
use super::{Content, TEXT_BYTES, unparsable};
use crate::connectors::RecordError;

const MEDIA_TYPE: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

pub(super) fn content(bytes: &[u8]) -> Result<Content, RecordError> {
    let mut archive = Archive::open(bytes)?;
    let main = archive.text("word/document.xml")?.ok_or_else(unparsable)?;
    let properties = archive.text("docProps/core.xml")?;
    let text = body(&main)?;
    let title = properties.and_then(|properties| title(&properties)).or(text.heading);
    Ok(Content::text(MEDIA_TYPE, title, text.body))
}

#[derive(Default)]
struct Text {
    body: String,
    line: String,
    /// The first paragraph in the style of a title or heading.
    heading: Option<String>,
    is_heading: bool,
    /// Depth of table cells around the current paragraph.
    cells: usize,
}

impl Text {
    fn end_paragraph(&mut self) {
        if self.cells > 0 {
            // The row ends the line.
            self.line.push(' ');
            return;
        }
        let line = self.line.trim().to_owned();
        if self.is_heading && !line.is_empty() {
            self.heading.get_or_insert_with(|| line.clone());
        }
        self.end_line();
    }

    fn end_line(&mut self) {
        let line = self.line.trim().trim_end_matches('|').trim_end();
        if !line.is_empty() {
            self.body.push_str(line);
            self.body.push('\n');
        }
        self.line.clear();
    }

    fn start(&mut self, element: &BytesStart<'_>) {
        match element.local_name().as_ref() {
            "p" => self.is_heading = false,
            "pStyle" => self.is_heading |= style(element).is_some_and(|style| is_heading(&style)),
            "tc" => self.cells += 1,
            "tab" | "br" | "cr" => self.line.push(' '),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "p" => self.end_paragraph(),
            "tc" => {
                self.cells = self.cells.saturating_sub(1);
                self.line.truncate(self.line.trim_end().len());
                self.line.push_str(" | ");
            }
            "tr" if self.cells == 0 => self.end_line(),
            _ => {}
        }
    }
}

fn style(element: &BytesStart<'_>) -> Option<String> {
    let attribute = element.attributes().flatten().find(|attribute| attribute.key.local_name().as_ref() == "val")?;
    Some(attribute.value.to_string())
}

fn is_heading(style: &str) -> bool {
    let style = style.to_ascii_lowercase();
    style.starts_with("heading") || style == "title"
}

fn body(xml: &str) -> Result<Text, RecordError> {
    let mut reader = Reader::from_str(xml);
    let mut text = Text::default();
    let mut in_text = false;
    loop {
        match reader.read_event().map_err(|_| unparsable())? {
            Event::Start(element) => {
                in_text |= element.local_name().as_ref() == "t";
                text.start(&element);
            }
            Event::Empty(element) => text.start(&element),
            Event::End(element) => {
                let name = element.local_name();
                in_text &= name.as_ref() != "t";
                text.end(name.as_ref());
            }
            Event::Text(part) if in_text => text.line.push_str(&part.xml10_content()),
            Event::CData(part) if in_text => text.line.push_str(&part.xml10_content()),
            Event::GeneralRef(reference) if in_text => text.line.extend(character(&reference)),
            Event::Eof => break,
            _ => {}
        }
        if text.body.len() > TEXT_BYTES {
            break;
        }
    }
    text.end_line();
    Ok(text)
}

/// Only the five predefined entities and numbered characters exist for us.
fn character(reference: &BytesRef<'_>) -> Option<char> {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return Some(character);
    }
    match &*reference.xml10_content() {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

fn title(xml: &str) -> Option<String> {
    let mut reader = Reader::from_str(xml);
    let (mut in_title, mut title) = (false, String::new());
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) => in_title |= element.local_name().as_ref() == "title",
            Event::End(element) if element.local_name().as_ref() == "title" => break,
            Event::Text(part) if in_title => title.push_str(&part.xml10_content()),
            Event::GeneralRef(reference) if in_title => title.extend(character(&reference)),
            Event::Eof => break,
            _ => {}
        }
    }
    let title = title.trim();
    (!title.is_empty()).then(|| title.to_owned())
}
