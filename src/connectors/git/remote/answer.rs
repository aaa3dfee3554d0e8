//! What a server answers, line by line.

use bytes::{Bytes, BytesMut};
use gix_hash::ObjectId;

use super::{Abilities, Tip, invalid, odd, too_large};
use crate::connectors::ConnectorError;
use crate::connectors::git::pktline::{self, Line};
use crate::egress::http::{HttpError, Response};

const MOST_ABILITIES: usize = 1_000;

/// The lines of an answer.
pub(super) struct Lines {
    response: Response,
    received: BytesMut,
    limit: u64,
    /// What it means when there is more.
    beyond: fn() -> ConnectorError,
    talked: u64,
}

impl Lines {
    /// Those of a list of at most so many bytes.
    pub(super) fn of_list(response: Response, limit: u64) -> Self {
        Self { response, received: BytesMut::new(), limit, beyond: || odd("a list without end"), talked: 0 }
    }

    /// Those of a pack of at most so many bytes.
    pub(super) fn of_pack(response: Response, limit: u64) -> Self {
        Self { response, received: BytesMut::new(), limit, beyond: too_large, talked: 0 }
    }

    /// The next line. An answer ends with a flush, so that one which just ends was
    /// cut off.
    pub(super) async fn next(&mut self) -> Result<Line, ConnectorError> {
        loop {
            match pktline::take(&mut self.received) {
                Ok(Some(Line::Data(line))) if line.starts_with(b"ERR ") => return Err(refused()),
                Ok(Some(line)) => return Ok(line),
                Ok(None) => {}
                Err(error) => {
                    return Err(ConnectorError::Unreachable { code: "unreachable", cause: Some(error.into()) });
                }
            }
            match self.response.chunk(self.limit).await {
                Ok(Some(chunk)) => self.received.extend_from_slice(&chunk),
                Ok(None) => return Err(odd("an answer that was cut off")),
                Err(HttpError::TooLarge) => return Err((self.beyond)()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Counts a line that says nothing.
    pub(super) fn talk(&mut self, most: u64) -> Result<(), ConnectorError> {
        self.talked += 64;
        if self.talked > most { Err(odd("talk without end")) } else { Ok(()) }
    }
}

/// The server understood, and will not.
fn refused() -> ConnectorError {
    ConnectorError::Unexpected("the server refused a command".into())
}

/// What a server says that it can do.
pub(super) async fn abilities(mut lines: Lines) -> Result<Abilities, ConnectorError> {
    let mut abilities = Abilities::default();
    let mut is_second = false;
    for _ in 0..MOST_ABILITIES {
        let line = match lines.next().await? {
            Line::Data(line) => line,
            // The name of the service, where it is said, is a message of its own.
            Line::Flush if !is_second => continue,
            Line::Flush => return Ok(abilities),
            Line::Delimiter | Line::End => continue,
        };
        let text = pktline::text(&line).ok_or_else(|| odd("capabilities that are no text"))?;
        match text.split_once('=').unwrap_or((text, "")) {
            ("# service", _) => {}
            ("version 2", _) => is_second = true,
            _ if !is_second => {
                return Err(invalid(super::URL, "is of a server that does not speak version 2 of Git's protocol"));
            }
            ("object-format", format) if format != "sha1" => {
                return Err(invalid(super::URL, "is of a repository whose objects are not named by SHA-1"));
            }
            ("fetch", features) => abilities.filter = features.split(' ').any(|feature| feature == "filter"),
            ("ls-refs", features) => abilities.unborn = features.split(' ').any(|feature| feature == "unborn"),
            _ => {}
        }
    }
    Err(odd("capabilities without end"))
}

/// A reference by its full name; none where the name is no text.
pub(super) fn reference(line: &Bytes) -> Result<Option<(String, Tip)>, ConnectorError> {
    let Some(text) = pktline::text(line) else { return Ok(None) };
    let mut words = text.split(' ');
    let (id, name) = words.next().zip(words.next()).ok_or_else(|| odd("a reference without a name"))?;
    let id_of = |hex: &str| {
        let id = ObjectId::from_hex(hex.as_bytes()).ok().filter(|id| id.kind() == gix_hash::Kind::Sha1);
        id.ok_or_else(|| odd("a reference without an object"))
    };
    let mut commit = if id == "unborn" { None } else { Some(id_of(id)?) };
    let mut shown = name;
    for word in words {
        match word.split_once(':') {
            // A tag that is an object of its own leads to the commit.
            Some(("peeled", peeled)) => commit = Some(id_of(peeled)?),
            Some(("symref-target", target)) => shown = target,
            _ => {}
        }
    }
    let short = shown.strip_prefix("refs/heads/").or_else(|| shown.strip_prefix("refs/tags/")).unwrap_or(shown);
    Ok(Some((name.to_owned(), Tip { commit, name: short.to_owned() })))
}

/// The commit behind which the server sends nothing, where a line says one.
pub(super) fn boundary(line: &Bytes) -> Result<Option<ObjectId>, ConnectorError> {
    let Some(hex) = pktline::text(line).and_then(|text| text.strip_prefix("shallow ")) else { return Ok(None) };
    ObjectId::from_hex(hex.as_bytes()).map(Some).map_err(|_| odd("a boundary that is no object"))
}

/// The bytes of a pack that a line brings; none where it brings words or nothing.
pub(super) fn band(mut piece: Bytes) -> Result<Option<Bytes>, ConnectorError> {
    match piece.first().copied() {
        Some(1) if piece.len() > 1 => Ok(Some(piece.split_off(1))),
        Some(1 | 2) => Ok(None),
        Some(3) => Err(refused()),
        Some(_) | None => Err(odd("a pack in no band")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::{fuzz, tampered};

    const ID: &str = "ce013625030ba8dba906f756967f9e9ca394464a";

    fn read(line: &str) -> Option<(String, Option<String>, String)> {
        let found = reference(&Bytes::from(line.to_owned())).unwrap();
        found.map(|(name, tip)| (name, tip.commit.map(|commit| commit.to_string()), tip.name))
    }

    #[test]
    fn references_lead_to_commits_under_short_names() {
        let other = "0".repeat(40);
        for (line, name, commit, short) in [
            (format!("{ID} HEAD symref-target:refs/heads/main\n"), "HEAD", Some(ID), "main"),
            (format!("{ID} refs/heads/a/b"), "refs/heads/a/b", Some(ID), "a/b"),
            (format!("{other} refs/tags/v1 peeled:{ID}"), "refs/tags/v1", Some(ID), "v1"),
            ("unborn HEAD symref-target:refs/heads/main".to_owned(), "HEAD", None, "main"),
            (format!("{ID} HEAD"), "HEAD", Some(ID), "HEAD"),
        ] {
            let wanted = (name.to_owned(), commit.map(str::to_owned), short.to_owned());
            assert_eq!(read(&line), Some(wanted), "{line}");
        }
        for line in ["", "HEAD", "1234 HEAD", "unborn", &format!("{ID}{ID} HEAD"), &format!("{ID} a peeled:x")] {
            assert!(reference(&Bytes::from(line.to_owned())).is_err(), "{line}");
        }
    }

    #[test]
    fn only_the_first_band_is_the_pack() {
        let of = |bytes: &'static [u8]| band(Bytes::from_static(bytes));
        assert_eq!(of(b"\x01PACK").unwrap().as_deref(), Some(&b"PACK"[..]));
        assert_eq!(of(b"\x02counting").unwrap(), None);
        assert_eq!(of(b"\x01").unwrap(), None);
        assert!(of(b"\x03no").is_err() && of(b"\x04").is_err() && of(b"").is_err());
    }

    #[test]
    fn no_reference_makes_it_panic() {
        let known = vec![format!("{ID} HEAD symref-target:refs/heads/main peeled:{ID}").into_bytes()];
        fuzz("git references", tampered(known), |bytes| {
            let _ = reference(&Bytes::from(bytes));
            prop_assert!(true);
            Ok(())
        });
    }
}
