//! XML: a walk over its events that all formats made of it share, and the text of
//! files that are just XML. Nothing that a document declares itself exists for us:
//! no entities, no files elsewhere.

use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::lines::Lines;
use super::{Content, TEXT_BYTES, unparsable};
use crate::connectors::RecordError;

/// Takes what a walk comes by. Names are without their prefix.
pub(super) trait Visitor {
    fn start(&mut self, element: &BytesStart<'_>);
    fn text(&mut self, text: &str);
    fn end(&mut self, name: &str);
    /// True when the rest is not wanted.
    fn is_done(&self) -> bool {
        false
    }
}

/// Walks from begin to end. An empty element begins and ends.
pub(super) fn walk(xml: &str, visitor: &mut impl Visitor) -> Result<(), RecordError> {
    let mut reader = Reader::from_str(xml);
    while !visitor.is_done() {
        match reader.read_event().map_err(|_| unparsable())? {
            Event::Start(element) => visitor.start(&element),
            Event::Empty(element) => {
                visitor.start(&element);
                visitor.end(element.local_name().as_ref());
            }
            Event::End(element) => visitor.end(element.local_name().as_ref()),
            Event::Text(part) => visitor.text(&part.xml10_content()),
            Event::CData(part) => visitor.text(&part.xml10_content()),
            Event::GeneralRef(reference) => {
                if let Some(character) = character(&reference) {
                    visitor.text(character.encode_utf8(&mut [0; 4]));
                }
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    Ok(())
}

/// An attribute by its name without prefix. Doubles are not looked for, which would
/// take the square of their number.
pub(super) fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut attributes = element.attributes();
    attributes.with_checks(false);
    let attribute = attributes.flatten().find(|attribute| attribute.key.local_name().as_ref() == name)?;
    Some(
        attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_or_else(|_| attribute.value.to_string(), |value| value.into_owned()),
    )
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

/// The text of the elements, a line each; the first element `title` is the title. A
/// file that is no XML, or has all it says in attributes, is taken as it stands.
pub(super) fn content(media_type: &'static str, xml: String) -> Content {
    let mut elements = Elements::default();
    let walked = walk(&xml, &mut elements);
    elements.lines.end_line();
    let body = elements.lines.into_body();
    if walked.is_err() || body.is_empty() {
        return Content::text(media_type, elements.title, xml);
    }
    Content::text(media_type, elements.title.filter(|title| !title.is_empty()), body)
}

#[derive(Default)]
struct Elements {
    lines: Lines,
    title: Option<String>,
    in_title: bool,
    /// Elements open whose text is for machines.
    skipped: usize,
}

impl Visitor for Elements {
    fn start(&mut self, element: &BytesStart<'_>) {
        match element.local_name().as_ref() {
            "style" | "script" => self.skipped += 1,
            "title" if self.title.is_none() => self.in_title = true,
            // Part of the line that it is in, in SVG and in documents.
            "tspan" | "em" | "emphasis" | "strong" | "b" | "i" | "code" => return,
            _ => {}
        }
        self.lines.end_line();
        for name in ["title", "text", "label", "name", "summary", "description", "alt"] {
            if let Some(value) = attribute(element, name) {
                self.lines.push(&value);
                self.lines.end_line();
            }
        }
    }

    fn text(&mut self, text: &str) {
        if self.skipped == 0 {
            self.lines.push(text);
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "style" | "script" => self.skipped = self.skipped.saturating_sub(1),
            "title" if self.in_title => {
                self.in_title = false;
                self.title = Some(self.lines.line());
            }
            "tspan" | "em" | "emphasis" | "strong" | "b" | "i" | "code" => return,
            _ => {}
        }
        self.lines.end_line();
    }

    fn is_done(&self) -> bool {
        self.lines.len() > TEXT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_lines_and_what_is_no_xml_stays_as_it_is() {
        let feed = "<rss><channel><title>News &amp; more</title><item><title>One</title><d><![CDATA[a <b>]]></d></item></channel></rss>";
        let taken = content("application/xml", feed.to_owned());
        assert_eq!((taken.title.as_deref(), taken.body.as_str()), (Some("News & more"), "News & more\nOne\na <b>\n"));
        let drawing = "<svg><title>Map</title><style>.a{}</style><text>Ten <tspan>steps</tspan> north</text></svg>";
        assert_eq!(content("image/svg+xml", drawing.to_owned()).body, "Map\nTen steps north\n");
        assert_eq!(content("application/xml", "<a>no end".to_owned()).body, "no end\n");
        assert_eq!(content("application/xml", "<a></b>".to_owned()).body, "<a></b>");
    }

    #[test]
    fn declared_entities_are_nothing() {
        let bomb = "<!DOCTYPE d [<!ENTITY a \"aaaa\"><!ENTITY f SYSTEM \"file:///etc/passwd\">]><d>x&a;&f;y</d>";
        assert_eq!(content("application/xml", bomb.to_owned()).body, "xy\n");
    }
}
