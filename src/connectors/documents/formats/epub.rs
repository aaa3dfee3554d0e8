//! Electronic books: the chapters in the order of reading.

use std::collections::HashMap;

use quick_xml::events::BytesStart;

use super::archive::Archive;
use super::properties::Properties;
use super::xml::{self, Visitor};
use super::{Content, TEXT_BYTES, encrypted, html, relations, unparsable};
use crate::connectors::RecordError;

pub(super) fn content(mut archive: Archive<'_>) -> Result<Content, RecordError> {
    let mut place = Place::default();
    let container = archive.text("META-INF/container.xml")?.ok_or_else(unparsable)?;
    xml::walk(&container, &mut place)?;
    let package = place.package.ok_or_else(unparsable)?;
    let xml = archive.text(&package)?.ok_or_else(unparsable)?;
    let folder = package.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut spine = Spine::default();
    xml::walk(&xml, &mut spine)?;
    let chapters = spine.chapters(folder);
    if is_protected(&mut archive, &chapters) {
        return Err(encrypted());
    }
    let mut body = String::new();
    let mut truncated = false;
    for chapter in &chapters {
        // A chapter that is not there does not take the others with it.
        let Ok(Some(page)) = archive.text(chapter) else { continue };
        if let Ok(page) = html::content(&page) {
            body.push_str(page.body.trim());
            body.push_str("\n\n");
        }
        if body.len() > TEXT_BYTES {
            truncated = true;
            break;
        }
    }
    let mut properties = Properties::of_xml(&xml);
    properties.created_at = properties.created_at.or(properties.date);
    let mut content = properties.into_content(Content::text("application/epub+zip", None, body));
    content.truncated |= truncated;
    Ok(content)
}

/// Whether a chapter is encrypted; fonts often are, which hides nothing.
fn is_protected(archive: &mut Archive<'_>, chapters: &[String]) -> bool {
    let mut hidden = Hidden::default();
    if let Ok(Some(xml)) = archive.text("META-INF/encryption.xml") {
        let _ = xml::walk(&xml, &mut hidden);
    }
    hidden.names.iter().any(|name| chapters.contains(name))
}

/// Where the package is.
#[derive(Default)]
struct Place {
    package: Option<String>,
}

impl Visitor for Place {
    fn start(&mut self, element: &BytesStart<'_>) {
        if element.local_name().as_ref() == "rootfile" && self.package.is_none() {
            self.package = xml::attribute(element, "full-path").map(|path| relations::resolved("", &path));
        }
    }

    fn text(&mut self, _text: &str) {}

    fn end(&mut self, _name: &str) {}
}

/// The order of reading.
#[derive(Default)]
struct Spine {
    items: HashMap<String, String>,
    order: Vec<String>,
}

impl Spine {
    fn chapters(&self, folder: &str) -> Vec<String> {
        let found = self.order.iter().filter_map(|id| self.items.get(id));
        found.map(|target| relations::resolved(folder, &unescaped(target))).collect()
    }
}

impl Visitor for Spine {
    fn start(&mut self, element: &BytesStart<'_>) {
        match element.local_name().as_ref() {
            "item" => {
                if let (Some(id), Some(target)) = (xml::attribute(element, "id"), xml::attribute(element, "href")) {
                    self.items.insert(id, target);
                }
            }
            "itemref" => self.order.extend(xml::attribute(element, "idref")),
            _ => {}
        }
    }

    fn text(&mut self, _text: &str) {}

    fn end(&mut self, _name: &str) {}

    fn is_done(&self) -> bool {
        self.order.len() >= 5_000
    }
}

/// What is encrypted.
#[derive(Default)]
struct Hidden {
    names: Vec<String>,
}

impl Visitor for Hidden {
    fn start(&mut self, element: &BytesStart<'_>) {
        if element.local_name().as_ref() == "CipherReference" {
            let name = xml::attribute(element, "URI");
            self.names.extend(name.map(|name| relations::resolved("", &unescaped(&name))));
        }
    }

    fn text(&mut self, _text: &str) {}

    fn end(&mut self, _name: &str) {}

    fn is_done(&self) -> bool {
        self.names.len() >= 5_000
    }
}

/// A name as the archive has it: without escapes, and without a place in the page.
fn unescaped(target: &str) -> String {
    let target = target.split('#').next().unwrap_or_default();
    let mut bytes = Vec::with_capacity(target.len());
    let mut rest = target.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_escapes_and_places() {
        assert_eq!(unescaped("a%20b%C3%BC.xhtml#part"), "a bü.xhtml");
        assert_eq!(unescaped("100%.xhtml"), "100%.xhtml");
        assert_eq!(unescaped("%zz%4"), "%zz%4");
    }
}
