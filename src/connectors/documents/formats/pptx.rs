//! Presentations: the slides in the order in which they are shown, each with its
//! diagrams, notes and comments.

use quick_xml::events::BytesStart;

use super::archive::Archive;
use super::lines::Lines;
use super::properties::Properties;
use super::relations::{self, Relation};
use super::xml::{self, Visitor};
use super::{Content, TEXT_BYTES, unparsable};
use crate::connectors::RecordError;

const MEDIA_TYPE: &str = "application/vnd.openxmlformats-officedocument.presentationml.presentation";
const MOST_SLIDES: usize = 2_000;
/// What PowerPoint writes where nobody gave a title.
const NO_TITLE: [&str; 2] = ["PowerPoint Presentation", "PowerPoint-Präsentation"];

pub(super) fn content(mut archive: Archive<'_>, main: &str) -> Result<Content, RecordError> {
    let xml = archive.text(main)?.ok_or_else(unparsable)?;
    let mut order = Order::default();
    xml::walk(&xml, &mut order)?;
    let relations = relations::of(&mut archive, main);
    let (mut body, mut heading) = (String::new(), None);
    let mut truncated = order.slides.len() > MOST_SLIDES;
    for id in order.slides.iter().take(MOST_SLIDES) {
        // A slide that is not there does not take the others with it.
        let Some(slide) = relations.iter().find(|relation| relation.id == *id) else { continue };
        let text = of_part(&mut archive, &slide.target);
        heading = heading.or(text.title);
        body.push_str(&text.body);
        for Relation { target, kind, .. } in relations::of(&mut archive, &slide.target) {
            if ["notesSlide", "diagramData", "comments", "comment"].contains(&kind.as_str()) {
                body.push_str(&of_part(&mut archive, &target).body);
            }
        }
        if body.len() > TEXT_BYTES {
            truncated = true;
            break;
        }
        body.push('\n');
    }
    let mut properties = Properties::of_part(&mut archive, "docProps/core.xml");
    properties.title = properties.title.filter(|title| !NO_TITLE.contains(&title.as_str()));
    let mut content = properties.into_content(Content::text(MEDIA_TYPE, heading, body));
    content.truncated |= truncated;
    Ok(content)
}

/// The slides, by the names of their relations.
#[derive(Default)]
struct Order {
    slides: Vec<String>,
}

impl Visitor for Order {
    fn start(&mut self, element: &BytesStart<'_>) {
        if element.local_name().as_ref() == "sldId" {
            // It has two attributes of that name, one of which is a number.
            let mut attributes = element.attributes();
            attributes.with_checks(false);
            let id = attributes.flatten().find(|attribute| attribute.key.as_ref().ends_with(":id"));
            self.slides.extend(id.map(|id| id.value.to_string()));
        }
    }

    fn text(&mut self, _text: &str) {}

    fn end(&mut self, _name: &str) {}

    fn is_done(&self) -> bool {
        self.slides.len() > MOST_SLIDES
    }
}

struct Slide {
    body: String,
    title: Option<String>,
}

fn of_part(archive: &mut Archive<'_>, name: &str) -> Slide {
    let mut text = Text::default();
    if let Ok(Some(xml)) = archive.text(name) {
        let _ = xml::walk(&xml, &mut text);
    }
    Slide { body: text.lines.into_body(), title: text.title.filter(|title| !title.is_empty()) }
}

#[derive(Default)]
struct Text {
    lines: Lines,
    title: Option<String>,
    in_text: bool,
    /// In the shape that has the title.
    is_title: bool,
    /// In a field with a number that nobody looks for.
    in_number: bool,
    repeated: usize,
}

impl Visitor for Text {
    fn start(&mut self, element: &BytesStart<'_>) {
        match element.local_name().as_ref() {
            "t" | "text" => self.in_text = true,
            "sp" => self.is_title = false,
            "ph" => self.is_title = matches!(xml::attribute(element, "type").as_deref(), Some("title" | "ctrTitle")),
            "fld" => self.in_number = xml::attribute(element, "type").is_some_and(|kind| kind == "slidenum"),
            "tc" => self.lines.start_cell(),
            "br" | "tab" => self.lines.push(" "),
            "Fallback" => self.repeated += 1,
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.in_text && !self.in_number && self.repeated == 0 {
            self.lines.push(text);
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "t" => self.in_text = false,
            "fld" => self.in_number = false,
            "p" | "text" => {
                self.in_text = false;
                if self.is_title && self.repeated == 0 {
                    let title = self.title.get_or_insert_default();
                    let line = self.lines.line();
                    if !title.is_empty() && !line.is_empty() {
                        title.push(' ');
                    }
                    title.push_str(&line);
                }
                self.lines.end_paragraph();
            }
            "sp" => self.is_title = false,
            "tc" => self.lines.end_cell(),
            "tr" => self.lines.end_row(),
            "Fallback" => self.repeated = self.repeated.saturating_sub(1),
            _ => {}
        }
    }

    fn is_done(&self) -> bool {
        self.lines.len() > TEXT_BYTES
    }
}
