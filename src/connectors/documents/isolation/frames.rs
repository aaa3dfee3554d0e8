//! What the two processes say to each other over pipes. Neither believes a length
//! of the other's.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::connectors::RecordError;
use crate::connectors::documents::formats::{self, Content, TEXT_BYTES};

/// Longest path, and longest of all beside text that a reply has.
const SHORT: u64 = 16 * 1024 * 1024;

/// What a reply has beside its text.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    title: Option<String>,
    media_type: String,
    language: Option<String>,
    extracted: bool,
    truncated: bool,
    created_at: Option<i64>,
    updated_at: Option<i64>,
    metadata: Map<String, Value>,
}

/// How a document went, beside its text. The order is that of the codes.
const FAILURES: [fn() -> RecordError; 3] = [formats::unparsable, formats::encrypted, formats::too_large];

/// Asks for a document.
pub(super) fn write_request(pipe: &mut impl Write, path: &str, content: &[u8]) -> io::Result<()> {
    write_part(pipe, path.as_bytes())?;
    write_part(pipe, content)?;
    pipe.flush()
}

/// The next document; none when there will be no more.
pub(super) fn read_request(pipe: &mut impl Read) -> io::Result<Option<(String, Vec<u8>)>> {
    let path = match read_part(pipe, SHORT) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let content = read_part(pipe, u64::MAX)?;
    Ok(Some((String::from_utf8(path).map_err(io::Error::other)?, content)))
}

/// Answers.
pub(super) fn write_reply(pipe: &mut impl Write, outcome: Result<Content, RecordError>) -> io::Result<()> {
    match outcome {
        Ok(Content { title, body, media_type, language, extracted, truncated, created_at, updated_at, metadata }) => {
            let (media_type, language) = (media_type.into_owned(), language.map(|language| language.into_owned()));
            let head = Head { title, media_type, language, extracted, truncated, created_at, updated_at, metadata };
            pipe.write_all(&[0])?;
            write_part(pipe, &serde_json::to_vec(&head)?)?;
            write_part(pipe, body.as_bytes())?;
        }
        Err(error) => {
            let known = FAILURES.iter().position(|failure| failure().code == error.code).unwrap_or_default();
            pipe.write_all(&[1 + u8::try_from(known).unwrap_or_default()])?;
        }
    }
    pipe.flush()
}

/// The answer.
pub(super) fn read_reply(pipe: &mut impl Read) -> io::Result<Result<Content, RecordError>> {
    let mut verdict = [0];
    pipe.read_exact(&mut verdict)?;
    if let Some(failure) = usize::from(verdict[0]).checked_sub(1) {
        return FAILURES.get(failure).map(|failure| Err(failure())).ok_or_else(|| io::ErrorKind::InvalidData.into());
    }
    let head: Head = serde_json::from_slice(&read_part(pipe, SHORT)?)?;
    let body = String::from_utf8(read_part(pipe, TEXT_BYTES as u64)?).map_err(io::Error::other)?;
    let Head { title, media_type, language, extracted, truncated, created_at, updated_at, metadata } = head;
    let (media_type, language) = (media_type.into(), language.map(Into::into));
    Ok(Ok(Content { title, body, media_type, language, extracted, truncated, created_at, updated_at, metadata }))
}

fn write_part(pipe: &mut impl Write, part: &[u8]) -> io::Result<()> {
    pipe.write_all(&(part.len() as u64).to_le_bytes())?;
    pipe.write_all(part)
}

/// Room is made as the bytes come, not as they are announced.
fn read_part(pipe: &mut impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    pipe.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > most {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut part = Vec::new();
    if pipe.take(length).read_to_end(&mut part)? as u64 == length {
        Ok(part)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut pipe = Vec::new();
        write_request(&mut pipe, "a/ü.pdf", b"bytes").unwrap();
        let mut pipe = &pipe[..];
        assert_eq!(read_request(&mut pipe).unwrap(), Some(("a/ü.pdf".to_owned(), b"bytes".to_vec())));
        assert_eq!(read_request(&mut pipe).unwrap(), None);
        let content = Content { title: Some("T".to_owned()), truncated: true, ..Content::name_only() };
        let mut pipe = Vec::new();
        write_reply(&mut pipe, Ok(content)).unwrap();
        write_reply(&mut pipe, Err(formats::too_large())).unwrap();
        let mut pipe = &pipe[..];
        let content = read_reply(&mut pipe).unwrap().unwrap();
        assert_eq!((content.title.as_deref(), content.truncated, content.extracted), (Some("T"), true, false));
        assert_eq!(read_reply(&mut pipe).unwrap().unwrap_err().code, "too_large");
    }

    #[test]
    fn lengths_and_verdicts_that_cannot_be_are_errors() {
        let announced = |length: u64| [&[0][..], &length.to_le_bytes(), b"{}"].concat();
        for reply in [announced(u64::MAX), announced(1000), announced(2), vec![9], vec![]] {
            assert!(read_reply(&mut &reply[..]).is_err(), "{reply:?}");
        }
    }
}
