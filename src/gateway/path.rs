//! The path of a request, cut into segments before anything is decoded, so
//! that `%2F` stays inside its segment.

/// A path that no route can have, or that nobody may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPath {
    /// Empty, `.` or `..` segments: nothing is there.
    NotFound,
    /// A bad percent escape, invalid UTF-8 or a NUL: malformed.
    Malformed,
}

/// One segment of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathSegment {
    /// As it was sent.
    pub raw: String,
    /// Decoded.
    pub text: String,
}

/// Characters that have a meaning in a path or URL. Where a variable covers
/// several segments they stay escaped, or `a%2Fb` and `a/b` would be one value.
const RESERVED: &[u8] = b"!#$&'()*+,/:;=?@[]";

/// Splits a raw path and decodes each segment. One trailing slash is accepted.
pub fn segments(path: &str) -> Result<Vec<PathSegment>, BadPath> {
    let inner = path.strip_prefix('/').ok_or(BadPath::NotFound)?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return if path == "/" { Ok(Vec::new()) } else { Err(BadPath::NotFound) };
    }
    let split = inner.split('/').map(|raw| Some(PathSegment { raw: raw.to_owned(), text: decode(raw)? }));
    let decoded = split.collect::<Option<Vec<_>>>().ok_or(BadPath::Malformed)?;
    if decoded.iter().any(|segment| matches!(segment.text.as_str(), "" | "." | "..")) {
        return Err(BadPath::NotFound);
    }
    Ok(decoded)
}

/// Decodes percent escapes; `None` for bad ones, invalid UTF-8 and NUL.
pub fn decode(text: &str) -> Option<String> {
    unescape(text, &[])
}

/// Decodes all escapes but those of reserved characters.
pub(super) fn decode_unreserved(text: &str) -> Option<String> {
    unescape(text, RESERVED)
}

fn unescape(text: &str, kept: &[u8]) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        if bytes[index] != b'%' {
            decoded.push(bytes[index]);
            index += 1;
            continue;
        }
        let escape = bytes.get(index..index + 3)?;
        let byte = hex_digit(escape[1])? << 4 | hex_digit(escape[2])?;
        if kept.contains(&byte) {
            decoded.extend_from_slice(escape);
        } else {
            decoded.push(byte);
        }
        index += 3;
    }
    if decoded.contains(&0) { None } else { String::from_utf8(decoded).ok() }
}

fn hex_digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}
