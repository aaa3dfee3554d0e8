//! What a document says of itself: title, author, times.

use quick_xml::events::BytesStart;
use serde_json::Value;

use super::Content;
use super::archive::Archive;
use super::xml::{self, Visitor};
use crate::connectors::rows::times;

/// From 1900 to 2200; what says otherwise was never set.
const SENSIBLE: std::ops::Range<i64> = -2_208_988_800_000_000..7_258_118_400_000_000;

/// The properties.
#[derive(Debug, Default)]
pub(super) struct Properties {
    pub(super) title: Option<String>,
    pub(super) author: Option<String>,
    /// Microseconds since 1970 UTC.
    pub(super) created_at: Option<i64>,
    /// The same.
    pub(super) updated_at: Option<i64>,
    /// A date of which only the format knows what happened then.
    pub(super) date: Option<i64>,
}

impl Properties {
    /// Those in a part of an archive; none where it has none that can be read.
    pub(super) fn of_part(archive: &mut Archive<'_>, name: &str) -> Self {
        archive.text(name).ok().flatten().map(|xml| Self::of_xml(&xml)).unwrap_or_default()
    }

    /// Those of Dublin Core, as office documents and electronic books have them.
    pub(super) fn of_xml(xml: &str) -> Self {
        let mut reading = Reading::default();
        // What was read before an error is as good.
        let _ = xml::walk(xml, &mut reading);
        reading.properties
    }

    /// Gives them to a document, whose own title is better than none.
    pub(super) fn into_content(self, content: Content) -> Content {
        let Self { title, author, created_at, updated_at, date: _ } = self;
        let mut content = Content { title: title.or(content.title), created_at, updated_at, ..content };
        if let Some(author) = author {
            content.metadata.insert("author".to_owned(), author.into());
        }
        content
    }

    pub(super) fn set(&mut self, name: &str, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        match name {
            "title" if self.title.is_none() => self.title = Some(text.to_owned()),
            "creator" | "initial-creator" | "author" if self.author.is_none() => self.author = Some(text.to_owned()),
            "created" | "creation-date" => self.created_at = self.created_at.or_else(|| time(text)),
            "modified" => self.updated_at = self.updated_at.or_else(|| time(text)),
            "date" => self.date = self.date.or_else(|| time(text)),
            _ => {}
        }
    }
}

/// A time in ISO form; without a zone it is taken for UTC.
pub(super) fn time(text: &str) -> Option<i64> {
    times::microseconds(&Value::from(text)).filter(|time| SENSIBLE.contains(time))
}

#[derive(Default)]
struct Reading {
    properties: Properties,
    name: String,
    text: String,
}

impl Visitor for Reading {
    fn start(&mut self, element: &BytesStart<'_>) {
        element.local_name().as_ref().clone_into(&mut self.name);
        // Electronic books have the time of change so.
        if let Some("dcterms:modified") = xml::attribute(element, "property").as_deref() {
            "modified".clone_into(&mut self.name);
        }
        self.text.clear();
    }

    fn text(&mut self, text: &str) {
        if self.text.len() < 10_000 {
            self.text.push_str(text);
        }
    }

    fn end(&mut self, _name: &str) {
        self.properties.set(&self.name, &self.text);
        self.name.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_by_their_names_and_times_that_cannot_be_are_none() {
        let core = "<cp:coreProperties><dc:title>Tents &amp; poles</dc:title><dc:creator>Ada</dc:creator>\
                    <dcterms:created>2024-03-01T10:00:00Z</dcterms:created><dcterms:modified>0001-01-01T00:00:00Z\
                    </dcterms:modified></cp:coreProperties>";
        let found = Properties::of_xml(core);
        assert_eq!((found.title.as_deref(), found.author.as_deref()), (Some("Tents & poles"), Some("Ada")));
        assert_eq!((found.created_at, found.updated_at), (Some(1_709_287_200_000_000), None));
        assert_eq!(
            Properties::of_xml("<meta><dc:date>2024-03-01T10:00:00.5</dc:date>").date,
            Some(1_709_287_200_500_000)
        );
    }
}
