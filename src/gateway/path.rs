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

/// Splits a raw path and decodes each segment. One trailing slash is accepted.
pub fn segments(path: &str) -> Result<Vec<String>, BadPath> {
    let inner = path.strip_prefix('/').ok_or(BadPath::NotFound)?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return if path == "/" { Ok(Vec::new()) } else { Err(BadPath::NotFound) };
    }
    let decoded: Vec<String> =
        inner.split('/').map(decode).collect::<Result<_, _>>().map_err(|()| BadPath::Malformed)?;
    if decoded.iter().any(|segment| matches!(segment.as_str(), "" | "." | "..")) {
        return Err(BadPath::NotFound);
    }
    Ok(decoded)
}

/// Decodes percent escapes; refuses bad ones, invalid UTF-8 and NUL.
pub fn decode(text: &str) -> Result<String, ()> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        if bytes[index] == b'%' {
            let pair = bytes.get(index + 1..index + 3).ok_or(())?;
            decoded.push(hex_digit(pair[0])? << 4 | hex_digit(pair[1])?);
            index += 3;
        } else {
            decoded.push(bytes[index]);
            index += 1;
        }
    }
    if decoded.contains(&0) { Err(()) } else { String::from_utf8(decoded).map_err(|_| ()) }
}

fn hex_digit(byte: u8) -> Result<u8, ()> {
    (byte as char).to_digit(16).map(|digit| digit as u8).ok_or(())
}
