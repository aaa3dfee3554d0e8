//! Which part of an office document leads to which.

use quick_xml::events::BytesStart;

use super::archive::Archive;
use super::xml::{self, Visitor};

/// From a part to another.
pub(super) struct Relation {
    pub(super) id: String,
    /// The last word of its type: `slide`, `notesSlide`.
    pub(super) kind: String,
    /// Name of the other part.
    pub(super) target: String,
}

/// The relations of a part, or of the whole where the name is empty.
pub(super) fn of(archive: &mut Archive<'_>, part: &str) -> Vec<Relation> {
    let (folder, file) = part.rsplit_once('/').unwrap_or(("", part));
    let separator = if folder.is_empty() { "" } else { "/" };
    let name = format!("{folder}{separator}_rels/{file}.rels");
    let mut reading = Reading { folder, relations: Vec::new() };
    if let Ok(Some(xml)) = archive.text(&name) {
        // What was read before an error is as good.
        let _ = xml::walk(&xml, &mut reading);
    }
    reading.relations
}

/// A name beside another: `..` leads up, and never out of the archive.
pub(super) fn resolved(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = if target.starts_with('/') { Vec::new() } else { folder.split('/').collect() };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("/")
}

struct Reading<'a> {
    folder: &'a str,
    relations: Vec<Relation>,
}

impl Visitor for Reading<'_> {
    fn start(&mut self, element: &BytesStart<'_>) {
        let attribute = |name| xml::attribute(element, name);
        if element.local_name().as_ref() != "Relationship" || attribute("TargetMode").as_deref() == Some("External") {
            return;
        }
        if let (Some(id), Some(kind), Some(target)) = (attribute("Id"), attribute("Type"), attribute("Target")) {
            let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
            self.relations.push(Relation { id, kind, target: resolved(self.folder, &target) });
        }
    }

    fn text(&mut self, _text: &str) {}

    fn end(&mut self, _name: &str) {}

    fn is_done(&self) -> bool {
        self.relations.len() >= 10_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_found_beside_their_part_and_nowhere_outside() {
        assert_eq!(resolved("ppt/slides", "../notesSlides/notesSlide1.xml"), "ppt/notesSlides/notesSlide1.xml");
        assert_eq!(resolved("ppt", "/ppt/slides/slide1.xml"), "ppt/slides/slide1.xml");
        assert_eq!(resolved("", "../../../etc/passwd"), "etc/passwd");
    }
}
