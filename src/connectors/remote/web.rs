//! What stores over HTTP share: escaped paths, and an answer as the file that was
//! listed.

use futures::StreamExt;

use super::{Opened, Stamp};
use crate::connectors::RecordError;
use crate::connectors::loading::LoadError;
use crate::egress::http::{HttpError, Response};

/// Escapes all but the unreserved characters, as signatures want it; of a path the
/// slashes stay.
pub(in crate::connectors) fn escaped(text: &str, is_path: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') || (is_path && byte == b'/') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// The content of an answer, unless it is of another version than was listed, as
/// far as it says.
pub(in crate::connectors) fn opened(answer: Response, stamp: &Stamp, most: u64) -> Result<Opened, LoadError> {
    let is_as_listed = answer.header("content-encoding").is_none_or(|encoding| encoding == "identity");
    let length = answer.header("content-length").and_then(|length| length.parse::<u64>().ok());
    let has_length = !is_as_listed || length.is_none_or(|length| length == stamp.size);
    let has_version =
        answer.header("etag").is_none_or(|etag| stamp.version.is_empty() || bare(etag) == bare(&stamp.version));
    if !has_length || !has_version {
        return Err(changed());
    }
    let content = answer.stream(most).map(|chunk| chunk.map_err(broken)).boxed();
    Ok(Opened { content, is_as_listed })
}

/// The file alone is refused, and the others are not.
pub(in crate::connectors) fn refused(code: &'static str, message: &str) -> LoadError {
    RecordError { code, message: message.to_owned() }.into()
}

/// The file went away.
pub(in crate::connectors) fn gone() -> LoadError {
    refused("gone", "the file went away since it was listed")
}

/// The file is not what was listed.
pub(in crate::connectors) fn changed() -> LoadError {
    refused("changed", "the file changed since it was listed; the next sync takes it")
}

/// An ETag without its quotes, whether it is a weak one or not.
fn bare(etag: &str) -> &str {
    etag.trim_start_matches("W/").trim_matches('"')
}

fn broken(error: HttpError) -> LoadError {
    match error {
        HttpError::TooLarge => refused("too_large", "the file is larger than it may be"),
        HttpError::Encoding => refused("unreadable", "the encoding of the file cannot be read"),
        error => LoadError::Source(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_keep_their_slashes_and_nothing_else() {
        assert_eq!(escaped("a b/ü+%~.txt", true), "a%20b/%C3%BC%2B%25~.txt");
        assert_eq!(escaped("a/b=", false), "a%2Fb%3D");
    }

    #[test]
    fn versions_are_compared_without_their_dress() {
        assert_eq!(bare("W/\"a-1\""), bare("\"a-1\""));
        assert_ne!(bare("\"a-1\""), bare("\"a-2\""));
    }
}
