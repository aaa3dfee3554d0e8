//! Word documents: paragraphs, headings and tables of the main part, then notes,
//! comments, headers and footers.

use std::collections::HashSet;

use quick_xml::events::BytesStart;

use super::archive::Archive;
use super::lines::Lines;
use super::properties::Properties;
use super::xml::{self, Visitor};
use super::{Content, TEXT_BYTES, unparsable};
use crate::connectors::RecordError;

const MEDIA_TYPE: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
/// Parts beside the main one, in the order in which their text follows it.
const PARTS: [&str; 5] = ["footnotes", "endnotes", "comments", "header", "footer"];

pub(super) fn content(mut archive: Archive<'_>, main: &str) -> Result<Content, RecordError> {
    let xml = archive.text(main)?.ok_or_else(unparsable)?;
    let mut text = Text::default();
    xml::walk(&xml, &mut text)?;
    let (heading, mut body) = (text.heading, text.lines.into_body());
    // Each section repeats its headers.
    let mut seen = HashSet::new();
    let folder = main.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    for part in PARTS {
        for name in archive.names_like(&format!("{folder}{part}"), ".xml") {
            for line in of_part(&mut archive, &name).lines() {
                if body.len() <= TEXT_BYTES && seen.insert(line.to_owned()) {
                    body.push_str(line);
                    body.push('\n');
                }
            }
        }
    }
    let properties = Properties::of_part(&mut archive, "docProps/core.xml");
    Ok(properties.into_content(Content::text(MEDIA_TYPE, heading, body)))
}

/// The text of another part; a broken one does not take the main part with it.
fn of_part(archive: &mut Archive<'_>, name: &str) -> String {
    let mut text = Text::default();
    if let Ok(Some(xml)) = archive.text(name) {
        let _ = xml::walk(&xml, &mut text);
    }
    text.lines.into_body()
}

#[derive(Default)]
struct Text {
    lines: Lines,
    /// The first paragraph in the style of a title or heading.
    heading: Option<String>,
    is_heading: bool,
    in_text: bool,
    /// Depth of what repeats the same for older programs.
    repeated: usize,
}

impl Text {
    fn end_paragraph(&mut self) {
        if self.is_heading && self.heading.is_none() {
            self.heading = Some(self.lines.line()).filter(|line| !line.is_empty());
        }
        self.lines.end_paragraph();
    }
}

impl Visitor for Text {
    fn start(&mut self, element: &BytesStart<'_>) {
        match element.local_name().as_ref() {
            "t" => self.in_text = true,
            "p" => self.is_heading = false,
            "pStyle" => self.is_heading |= xml::attribute(element, "val").is_some_and(|style| is_heading(&style)),
            "tc" => self.lines.start_cell(),
            "tab" | "br" | "cr" => self.lines.push(" "),
            "noBreakHyphen" => self.lines.push("-"),
            "comment" => {
                if let Some(author) = xml::attribute(element, "author") {
                    self.lines.push(&format!("{author}: "));
                }
            }
            "Fallback" => self.repeated += 1,
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.in_text && self.repeated == 0 {
            self.lines.push(text);
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "t" => self.in_text = false,
            "p" => self.end_paragraph(),
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

fn is_heading(style: &str) -> bool {
    let style = style.to_ascii_lowercase();
    style.starts_with("heading") || style == "title"
}
