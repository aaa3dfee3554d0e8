//! The pieces that Rich Text is written in, and what its words stand for.

use encoding_rs::Encoding;

/// One piece.
pub(super) enum Piece<'a> {
    Open,
    Close,
    /// `\*`: who does not know the next word leaves the group out.
    Optional,
    /// A word and its number.
    Word(&'a str, Option<i32>),
    /// A byte that was written as two digits.
    Byte(u8),
    Text(&'a [u8]),
}

/// Takes a document apart.
pub(super) struct Pieces<'a> {
    rest: &'a [u8],
}

impl<'a> Pieces<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn skip(&mut self, length: usize) {
        self.rest = self.rest.get(length..).unwrap_or_default();
    }

    fn while_true(&mut self, is_part: impl Fn(&u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().position(|byte| !is_part(byte)).unwrap_or(self.rest.len());
        let (part, rest) = self.rest.split_at(length);
        self.rest = rest;
        part
    }

    /// What comes after a backslash.
    fn control(&mut self) -> Piece<'a> {
        match self.rest.first() {
            Some(b'a'..=b'z' | b'A'..=b'Z') => self.word(),
            Some(b'\'') => {
                let digits = self.rest.get(1..3).and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                self.skip(if byte.is_some() { 3 } else { 1 });
                byte.map_or(Piece::Text(b""), Piece::Byte)
            }
            Some(symbol) => {
                let piece = match symbol {
                    b'*' => Piece::Optional,
                    b'~' => Piece::Text(b" "),
                    b'_' => Piece::Text(b"-"),
                    b'\n' | b'\r' => Piece::Word("par", None),
                    b'\\' | b'{' | b'}' => Piece::Text(&self.rest[..1]),
                    _ => Piece::Text(b""),
                };
                self.skip(1);
                piece
            }
            None => Piece::Text(b""),
        }
    }

    fn word(&mut self) -> Piece<'a> {
        let word = std::str::from_utf8(self.while_true(u8::is_ascii_alphabetic)).unwrap_or_default();
        let is_negative = self.rest.first() == Some(&b'-');
        if is_negative {
            self.skip(1);
        }
        let digits = std::str::from_utf8(self.while_true(u8::is_ascii_digit)).unwrap_or_default();
        // More digits than a number has mean as much as possible.
        let number = (!digits.is_empty()).then(|| digits.parse::<i32>().unwrap_or(i32::MAX));
        if self.rest.first() == Some(&b' ') {
            self.skip(1);
        }
        if word == "bin" {
            // So many bytes of anything follow.
            self.skip(usize::try_from(number.unwrap_or_default()).unwrap_or_default());
            return Piece::Text(b"");
        }
        Piece::Word(word, number.map(|number| if is_negative { -number } else { number }))
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let first = *self.rest.first()?;
        Some(match first {
            b'{' | b'}' | b'\\' | b'\r' | b'\n' => {
                self.skip(1);
                match first {
                    b'{' => Piece::Open,
                    b'}' => Piece::Close,
                    b'\\' => self.control(),
                    // Lines of the file are none of the text.
                    _ => Piece::Text(b""),
                }
            }
            _ => Piece::Text(self.while_true(|byte| !matches!(byte, b'{' | b'}' | b'\\' | b'\r' | b'\n'))),
        })
    }
}

/// The encoding of a code page of Windows.
pub(super) fn code_page(number: i32) -> Option<&'static Encoding> {
    let label = match number {
        874 => "windows-874",
        932 => "shift_jis",
        936 => "gbk",
        949 => "euc-kr",
        950 => "big5",
        866 => "ibm866",
        10_000 => "macintosh",
        65_001 => "utf-8",
        1250..=1258 => return Encoding::for_label(format!("windows-{number}").as_bytes()),
        _ => return None,
    };
    Encoding::for_label(label.as_bytes())
}

/// The encoding of a font's character set.
pub(super) fn character_set(number: i32) -> Option<&'static Encoding> {
    code_page(match number {
        0 => 1252,
        77 => 10_000,
        128 => 932,
        129 => 949,
        134 => 936,
        136 => 950,
        161 => 1253,
        162 => 1254,
        163 => 1258,
        177 => 1255,
        178 => 1256,
        186 => 1257,
        204 => 1251,
        222 => 874,
        238 => 1250,
        _ => return None,
    })
}

/// What words stand for that are characters.
pub(super) fn character(word: &str) -> Option<&'static str> {
    Some(match word {
        "tab" | "enspace" | "emspace" | "qmspace" => " ",
        "emdash" => "—",
        "endash" => "–",
        "bullet" => "•",
        "lquote" => "‘",
        "rquote" => "’",
        "ldblquote" => "“",
        "rdblquote" => "”",
        _ => return None,
    })
}

/// Groups that may be left out, and have text nevertheless.
pub(super) fn is_text(word: &str) -> bool {
    matches!(word, "annotation" | "footnote" | "shpinst" | "shptxt" | "shppict" | "atnid" | "atnauthor" | "nestrow")
}
