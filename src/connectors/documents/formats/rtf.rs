//! Rich Text Format: the text of its paragraphs, notes and comments.
//!
//! A reader of our own: a group more costs six bytes, nothing recurses, and what is
//! not understood is left out.

mod words;

use std::collections::HashMap;

use encoding_rs::{Encoding, WINDOWS_1252};

use super::lines::Lines;
use super::properties::Properties;
use super::{Content, TEXT_BYTES, unparsable};
use crate::connectors::RecordError;
use words::{Piece, Pieces};

/// Fonts whose encoding is remembered.
const MOST_FONTS: usize = 10_000;

pub(super) fn content(bytes: &[u8]) -> Result<Content, RecordError> {
    if !bytes.starts_with(b"{\\rtf") {
        return Err(unparsable());
    }
    let mut reader = Reader::default();
    for piece in Pieces::of(bytes) {
        reader.take(piece);
        if reader.lines.len() > TEXT_BYTES {
            break;
        }
    }
    reader.flush();
    let Reader { lines, properties, .. } = reader;
    Ok(properties.into_content(Content::text("application/rtf", None, lines.into_body())))
}

/// What a group is for.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Destination {
    #[default]
    Body,
    Fonts,
    /// Its inner groups have title, author and times.
    Information,
    Title,
    Author,
    Created,
    Changed,
    /// Nothing of it is read.
    Skipped,
}

#[derive(Clone, Copy)]
struct Group {
    destination: Destination,
    /// Characters that stand for one in Unicode, for readers without it.
    replaced: u8,
    font: u16,
}

impl Default for Group {
    fn default() -> Self {
        Self { destination: Destination::Body, replaced: 1, font: 0 }
    }
}

struct Reader {
    lines: Lines,
    properties: Properties,
    outer: Vec<Group>,
    group: Group,
    /// Bytes in the encoding of their font that are no text yet.
    pending: Vec<u8>,
    encoding: &'static Encoding,
    fonts: HashMap<u16, &'static Encoding>,
    /// The group began with `\*`: what is not known is left out.
    is_optional: bool,
    /// Characters left out after one in Unicode.
    left_out: u8,
    /// First half of a character above 65535.
    high: Option<u16>,
    moment: [i32; 5],
    word: String,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            lines: Lines::default(),
            properties: Properties::default(),
            outer: Vec::new(),
            group: Group::default(),
            pending: Vec::new(),
            encoding: WINDOWS_1252,
            fonts: HashMap::new(),
            is_optional: false,
            left_out: 0,
            high: None,
            moment: [0; 5],
            word: String::new(),
        }
    }
}

impl Reader {
    fn take(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Open => {
                self.flush();
                self.outer.push(self.group);
            }
            Piece::Close => self.close(),
            Piece::Byte(_) if self.left_out > 0 => self.left_out -= 1,
            Piece::Byte(byte) => self.pending.push(byte),
            Piece::Text(text) => {
                let left_out = usize::from(self.left_out).min(text.len());
                self.left_out -= u8::try_from(left_out).unwrap_or_default();
                if self.group.destination != Destination::Skipped {
                    self.pending.extend_from_slice(&text[left_out..]);
                }
            }
            Piece::Optional => self.is_optional = true,
            Piece::Word(word, number) => {
                self.flush();
                self.control(word, number);
                self.is_optional = false;
            }
        }
    }

    fn close(&mut self) {
        self.flush();
        let moment = self.moment_at();
        match self.group.destination {
            Destination::Title => self.properties.set("title", &std::mem::take(&mut self.word)),
            Destination::Author => self.properties.set("author", &std::mem::take(&mut self.word)),
            Destination::Created => self.properties.created_at = moment,
            Destination::Changed => self.properties.updated_at = moment,
            Destination::Body | Destination::Fonts | Destination::Information | Destination::Skipped => {}
        }
        self.is_optional = false;
        self.left_out = 0;
        self.group = self.outer.pop().unwrap_or_default();
    }

    fn moment_at(&self) -> Option<i64> {
        let [year, month, day, hour, minute] = self.moment;
        super::properties::time(&format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:00"))
    }

    /// What was read as bytes becomes text.
    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        self.high = None;
        let encoding = self.fonts.get(&self.group.font).copied().unwrap_or(self.encoding);
        let text = encoding.decode_without_bom_handling(&self.pending).0.into_owned();
        self.pending.clear();
        self.push(&text);
    }

    fn push(&mut self, text: &str) {
        match self.group.destination {
            Destination::Body => self.lines.push(text),
            Destination::Title | Destination::Author if self.word.len() < 10_000 => self.word.push_str(text),
            _ => {}
        }
    }

    fn control(&mut self, word: &str, number: Option<i32>) {
        if self.group.destination == Destination::Skipped {
            return;
        }
        let value = number.unwrap_or_default();
        let part = ["yr", "mo", "dy", "hr", "min"].iter().position(|name| *name == word);
        match word {
            _ if part.is_some() => self.moment[part.unwrap_or_default()] = value,
            "uc" => self.group.replaced = u8::try_from(value).unwrap_or(1),
            "u" => self.unicode(value),
            "f" => self.group.font = u16::try_from(value).unwrap_or_default(),
            "plain" => self.group.font = 0,
            "ansicpg" => self.encoding = words::code_page(value).unwrap_or(self.encoding),
            "mac" => self.encoding = encoding_rs::MACINTOSH,
            "fcharset" if self.group.destination == Destination::Fonts => {
                if let Some(encoding) = words::character_set(value)
                    && self.fonts.len() < MOST_FONTS
                {
                    self.fonts.insert(self.group.font, encoding);
                }
            }
            _ => match (destination(word), words::character(word)) {
                (Some(destination), _) => self.enter(destination),
                (None, Some(character)) => self.push(character),
                (None, None) => self.line_end(word),
            },
        }
    }

    fn enter(&mut self, destination: Destination) {
        self.word.clear();
        self.moment = [0; 5];
        self.group.destination = destination;
    }

    fn line_end(&mut self, word: &str) {
        if self.group.destination != Destination::Body {
            return;
        }
        match word {
            "par" | "line" | "sect" | "page" | "row" | "nestrow" => self.lines.end_line(),
            "cell" | "nestcell" => self.lines.push(" | "),
            _ if self.is_optional && !words::is_text(word) => self.group.destination = Destination::Skipped,
            _ => {}
        }
    }

    /// A character as a number of 16 bits with a sign.
    fn unicode(&mut self, number: i32) {
        self.left_out = self.group.replaced;
        let unit = (number & 0xffff) as u16;
        let units = [self.high.take().unwrap_or_default(), unit];
        if (0xd800..0xdc00).contains(&unit) {
            self.high = Some(unit);
            return;
        }
        let units = if units[0] == 0 { &units[1..] } else { &units[..] };
        self.push(&String::from_utf16_lossy(units));
    }
}

fn destination(word: &str) -> Option<Destination> {
    Some(match word {
        "fonttbl" => Destination::Fonts,
        "info" => Destination::Information,
        "title" => Destination::Title,
        "author" => Destination::Author,
        "creatim" => Destination::Created,
        "revtim" => Destination::Changed,
        "colortbl" | "stylesheet" | "pict" | "objdata" | "fldinst" | "nonshppict" | "listtext" | "pntext"
        | "operator" | "subject" | "keywords" | "doccomm" | "company" | "category" | "manager" | "printim"
        | "buptim" | "themedata" | "colorschememapping" | "datastore" | "latentstyles" | "listtable"
        | "listoverridetable" | "rsidtbl" | "generator" | "xmlnstbl" | "bkmkstart" | "bkmkend" | "tc" | "xe"
        | "filetbl" | "revtbl" => Destination::Skipped,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> String {
        content(text.as_bytes()).unwrap().body
    }

    #[test]
    fn paragraphs_rows_and_characters_become_text() {
        let document = r"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0\fswiss Helvetica;}{\f1\fcharset204 Arial;}}{\*\generator x;}
{\info{\title Care \'e9}{\author Ada}{\creatim\yr2024\mo3\dy1\hr10}}\pard Gr\'f6\'dfe {\b bold}\par
\u8364 ?\u-10179?\u-8704? {\f1\'cf\'f0}\line a\{b\}\emdash c\tab d\par\trowd one\cell two\cell\row{\pict 00ff}{\*\unknown no}}";
        assert_eq!(body(document), "Größe bold\n€😀 Пр\na{b}—c d\none | two\n");
        let content = content(document.as_bytes()).unwrap();
        assert_eq!((content.title.as_deref(), content.metadata["author"].as_str()), (Some("Care é"), Some("Ada")));
        assert_eq!(content.created_at, Some(1_709_287_200_000_000));
    }

    #[test]
    fn broken_ones_end_without_harm() {
        assert_eq!(body(r"{\rtf1 a\bin99999999999 b"), "a\n");
        assert_eq!(body(r"{\rtf1 a}}}}b\'"), "ab\n");
        assert_eq!(body(r"{\rtf1\uc-5\u55357 xy"), "y\n");
        let deep = format!("{{\\rtf1 {}deep", "{".repeat(1_000_000));
        assert_eq!(body(&deep), "deep\n");
        assert_eq!(content(b"plain").unwrap_err().code, "unparsable");
    }
}
