//! The lines that Git speaks in: four hexadecimal digits of length, then bytes.

use bytes::{Bytes, BytesMut};

/// Longest line, its length included.
const LONGEST: usize = 65_520;
const HEAD: usize = 4;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// Bytes.
    Data(Bytes),
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: the end of a section.
    Delimiter,
    /// `0002`: the end of an answer.
    End,
}

/// The server does not speak in lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not made of lines as Git has them")]
pub(super) struct Malformed;

/// Takes the next line off what came so far; none when it is not all there.
pub(super) fn take(received: &mut BytesMut) -> Result<Option<Line>, Malformed> {
    let Some(head) = received.first_chunk::<HEAD>() else { return Ok(None) };
    if !head.iter().all(u8::is_ascii_hexdigit) {
        return Err(Malformed);
    }
    let digits = std::str::from_utf8(head).map_err(|_| Malformed)?;
    let length = usize::from_str_radix(digits, 16).map_err(|_| Malformed)?;
    let special = match length {
        0 => Some(Line::Flush),
        1 => Some(Line::Delimiter),
        2 => Some(Line::End),
        3 => return Err(Malformed),
        _ => None,
    };
    if special.is_some() {
        drop(received.split_to(HEAD));
        return Ok(special);
    }
    if length > LONGEST {
        return Err(Malformed);
    }
    if received.len() < length {
        return Ok(None);
    }
    let mut line = received.split_to(length).freeze();
    Ok(Some(Line::Data(line.split_off(HEAD))))
}

/// Writes a line of text.
pub(super) fn put(text: &str, message: &mut Vec<u8>) {
    message.extend_from_slice(format!("{:04x}{text}\n", text.len() + HEAD + 1).as_bytes());
}

/// A line as text, without its end.
pub(super) fn text(line: &Bytes) -> Option<&str> {
    std::str::from_utf8(line).ok().map(|text| text.strip_suffix('\n').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::{fuzz, tampered};

    fn all(bytes: &[u8]) -> (Vec<Line>, Result<usize, Malformed>) {
        let mut received = BytesMut::from(bytes);
        let mut lines = Vec::new();
        loop {
            match take(&mut received) {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => return (lines, Ok(received.len())),
                Err(error) => return (lines, Err(error)),
            }
        }
    }

    #[test]
    fn lines_are_read_as_they_come() {
        let mut message = Vec::new();
        put("version 2", &mut message);
        message.extend(b"000100020000000bhal");
        let (lines, rest) = all(&message);
        let wanted = [Line::Data(Bytes::from_static(b"version 2\n")), Line::Delimiter, Line::End, Line::Flush];
        assert_eq!((lines.as_slice(), rest), (&wanted[..], Ok(7)));
        assert_eq!(all(b"0004").0, [Line::Data(Bytes::new())]);
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for bytes in [&b"0003"[..], b"<htm", b"+00a", b"fff1", b"ffff", b" 0 0"] {
            assert_eq!(all(bytes).1, Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        fuzz("git lines", tampered(vec![b"000eversion 2\n0000001e# service=git-upload-pack\n".to_vec()]), |bytes| {
            let (lines, _) = all(&bytes);
            prop_assert!(lines.len() <= bytes.len() / HEAD);
            Ok(())
        });
    }
}
