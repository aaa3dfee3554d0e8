//! The XML of listings, element by element. No entity but the predefined ones, no
//! document type, and no deep nesting: nothing of a server's answer expands.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

/// Levels of elements.
const DEEPEST: usize = 32;

/// A step through a document. Names are without their prefix.
pub(in crate::connectors) enum Step<'a> {
    /// An element begins.
    Begin(&'a str),
    /// An element ends: its name, and the text that stands in it behind its last
    /// child.
    End(&'a str, &'a str),
}

/// The document is none that we read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not the XML that was asked for")]
pub(in crate::connectors) struct Malformed;

/// Goes through a document.
pub(in crate::connectors) fn each(xml: &[u8], take: &mut dyn FnMut(Step<'_>)) -> Result<(), Malformed> {
    let mut reader = Reader::from_str(std::str::from_utf8(xml).map_err(|_| Malformed)?);
    let (mut depth, mut has_root, mut text) = (0_usize, false, String::new());
    loop {
        match reader.read_event().map_err(|_| Malformed)? {
            Event::Start(element) => {
                (depth, has_root) = (depth + 1, true);
                if depth > DEEPEST {
                    return Err(Malformed);
                }
                text.clear();
                take(Step::Begin(element.local_name().as_ref()));
            }
            Event::Empty(element) => {
                has_root = true;
                let name = element.local_name();
                text.clear();
                take(Step::Begin(name.as_ref()));
                take(Step::End(name.as_ref(), ""));
            }
            Event::End(element) => {
                depth = depth.checked_sub(1).ok_or(Malformed)?;
                take(Step::End(element.local_name().as_ref(), &text));
                text.clear();
            }
            Event::Text(part) => text.push_str(&part.xml10_content()),
            Event::CData(part) => text.push_str(&part.xml10_content()),
            Event::GeneralRef(reference) => text.push(character(&reference).ok_or(Malformed)?),
            Event::DocType(_) => return Err(Malformed),
            // An answer that was cut off has open elements.
            Event::Eof => return if depth == 0 && has_root { Ok(()) } else { Err(Malformed) },
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(xml: &str) -> Result<String, Malformed> {
        let mut steps = String::new();
        each(xml.as_bytes(), &mut |step| match step {
            Step::Begin(name) => steps.push_str(&format!("<{name} ")),
            Step::End(name, text) => steps.push_str(&format!("{name}>{} ", text.trim())),
        })?;
        Ok(steps.trim().to_owned())
    }

    #[test]
    fn elements_and_their_text_come_in_order() {
        let xml = "<?xml version=\"1.0\"?><a xmlns:x=\"y\">\n<x:b>1 &amp;&#65;<![CDATA[<]]></x:b><c/></a>";
        assert_eq!(steps(xml).unwrap(), "<a <b b>1 &A< <c c> a>");
    }

    #[test]
    fn what_could_expand_or_was_cut_off_is_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bbbb\">]><a>&b;</a>";
        for odd in [bomb, "<a>&b;</a>", "<a><b></b>", "", "text", "</a>", "<a></b>", &"<a>".repeat(100)] {
            assert_eq!(steps(odd), Err(Malformed), "{odd}");
        }
    }
}
