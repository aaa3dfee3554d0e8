//! Plain text: its encoding, the title of Markdown, and which extensions are
//! source code.

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// Bytes at the begin in which a document says its encoding.
const HEAD_BYTES: usize = 1024;

/// The text of HTML or XML, in the encoding that it says itself; none for binary
/// content.
pub(super) fn marked_up(bytes: &[u8]) -> Option<String> {
    // Without a mark, the first sign of both is the same in all encodings.
    let wide = match bytes {
        [0, b'<', ..] => Some(UTF_16BE),
        [b'<', 0, ..] => Some(UTF_16LE),
        _ => None,
    };
    let said = wide.or_else(|| if std::str::from_utf8(bytes).is_ok() { None } else { declared(bytes) });
    match said {
        Some(encoding) => Some(encoding.decode(bytes).0.into_owned()),
        None => decode(bytes).map(|(text, _)| text),
    }
}

/// What comes after `charset=` or `encoding=`.
fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(HEAD_BYTES)]).to_ascii_lowercase();
    let (_, after) = head.split_once("charset=").or_else(|| head.split_once("encoding="))?;
    let after = after.trim_start_matches(['"', '\'', ' ']);
    let end = after.find(|character: char| !character.is_ascii_alphanumeric() && !"-_:.".contains(character))?;
    // Whoever could read this was not told the truth by `utf-16`.
    Encoding::for_label(&after.as_bytes()[..end]).filter(|encoding| encoding.is_ascii_compatible())
}

/// The text, and whether its encoding is certain; none for binary content.
pub(super) fn decode(bytes: &[u8]) -> Option<(String, bool)> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        let (text, _) = encoding.decode_without_bom_handling(&bytes[mark..]);
        return Some((text.into_owned(), true));
    }
    if bytes.contains(&0) {
        return None;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Some((text.to_owned(), true)),
        Err(_) => {
            let controls = bytes.iter().filter(|byte| matches!(byte, 1..=8 | 14..=31)).count();
            if controls * 100 > bytes.len() {
                return None;
            }
            let (text, _) = WINDOWS_1252.decode_without_bom_handling(bytes);
            Some((text.into_owned(), false))
        }
    }
}

/// The title in the front matter, or the first heading.
pub(super) fn markdown_title(text: &str) -> Option<String> {
    let mut lines = text.lines().peekable();
    if lines.next_if(|line| line.trim_end() == "---").is_some() {
        for line in lines.by_ref() {
            if line.trim_end() == "---" {
                break;
            }
            if let Some(title) = line.strip_prefix("title:") {
                return Some(title.trim().trim_matches(['"', '\'']).to_owned());
            }
        }
    }
    let mut in_code = false;
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            let heading = line.trim_start_matches('#');
            if heading.len() < line.len() && heading.starts_with(' ') {
                return Some(heading.trim().trim_end_matches('#').trim_end().to_owned());
            }
            let is_underlined =
                lines.peek().is_some_and(|next| next.len() >= 3 && next.bytes().all(|byte| byte == b'='));
            if is_underlined && !line.trim().is_empty() {
                return Some(line.trim().to_owned());
            }
        }
    }
    None
}

/// The language of an extension of source code or settings.
pub(super) fn language(extension: &str) -> Option<&'static str> {
    Some(match extension {
        "rs" => "rust",
        "py" | "pyi" => "python",
        "js" | "mjs" | "cjs" | "jsx" => "javascript",
        "ts" | "tsx" => "typescript",
        "go" => "go",
        "java" => "java",
        "kt" | "kts" => "kotlin",
        "c" | "h" => "c",
        "cc" | "cpp" | "cxx" | "hpp" | "hh" => "c++",
        "cs" => "c#",
        "rb" => "ruby",
        "php" => "php",
        "swift" => "swift",
        "scala" => "scala",
        "sh" | "bash" | "zsh" => "shell",
        "ps1" => "powershell",
        "sql" => "sql",
        "lua" => "lua",
        "r" => "r",
        "pl" | "pm" => "perl",
        "ex" | "exs" => "elixir",
        "hs" => "haskell",
        "dart" => "dart",
        "css" | "scss" | "less" => "css",
        "proto" => "protobuf",
        "graphql" => "graphql",
        "tf" => "terraform",
        "yaml" | "yml" => "yaml",
        "toml" => "toml",
        "ini" | "cfg" | "conf" => "ini",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_recognised_and_binary_is_not_text() {
        assert_eq!(decode("Größe".as_bytes()), Some(("Größe".to_owned(), true)));
        assert_eq!(decode(b"\xff\xfeh\0i\0"), Some(("hi".to_owned(), true)));
        assert_eq!(decode(b"\xef\xbb\xbfhi"), Some(("hi".to_owned(), true)));
        assert_eq!(decode(b"Gr\xf6\xdfe"), Some(("Größe".to_owned(), false)));
        assert_eq!(decode(b"PK\x03\x04\0\0"), None);
    }

    #[test]
    fn pages_say_their_encoding() {
        let russian = "<?xml version=\"1.0\" encoding='koi8-r'?><a>\u{43f}</a>";
        let (bytes, ..) = encoding_rs::KOI8_R.encode(russian);
        assert_eq!(marked_up(&bytes).unwrap(), russian);
        assert_eq!(marked_up(b"<meta charset=utf-8>\xc3\xa9").unwrap(), "<meta charset=utf-8>é");
        assert_eq!(marked_up(b"<\0a\0>\0").unwrap(), "<a>");
        assert_eq!(marked_up(b"\0<\0a\0>").unwrap(), "<a>");
        assert_eq!(marked_up(b"<a>\0"), None);
    }

    #[test]
    fn markdown_has_its_title_in_three_places() {
        assert_eq!(markdown_title("---\ntitle: \"A\"\n---\n# B").as_deref(), Some("A"));
        assert_eq!(markdown_title("---\nx: y\n---\n\n## B ##").as_deref(), Some("B"));
        assert_eq!(markdown_title("```\n# no\n```\nTitle\n=====").as_deref(), Some("Title"));
        assert_eq!(markdown_title("#hashtag\ntext"), None);
    }
}
