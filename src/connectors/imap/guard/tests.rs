//! Streams of lines, cut anywhere; and the parser behind the guard.

use async_imap::imap_proto::Response;
use proptest::prelude::*;
use tokio::io::AsyncReadExt;

use super::*;
use crate::tests::{fuzz, worded};

/// What comes out, where the stream comes in pieces of a length.
async fn guarded(sent: &[u8], limits: Arc<Limits>, piece: usize) -> Result<Vec<u8>, Option<Breach>> {
    let pieces: Vec<_> =
        sent.chunks(piece).map(|piece| Ok::<_, std::io::Error>(std::io::Cursor::new(piece.to_vec()))).collect();
    let stream = tokio_util::io::StreamReader::new(futures::stream::iter(pieces));
    let mut out = Vec::new();
    match Guarded::new(stream, limits).read_to_end(&mut out).await {
        Ok(_) => Ok(out),
        Err(error) => Err(breach_of(&error)),
    }
}

#[tokio::test]
async fn an_ordinary_answer_passes_as_it_is_however_it_is_cut() {
    let sent = b"* OK [CAPABILITY IMAP4rev1] ready\r\n* LIST (\\HasNoChildren) \"/\" {5}\r\na(((b\r\n\
        * 1 FETCH (UID 7 BODY[] {12}\r\n((((((((\r\n{9} INTERNALDATE \"17-Jul-1996 02:44:25 -0700\")\r\nA1 OK done\r\n";
    for piece in [1, 2, 3, 7, 4096] {
        assert_eq!(guarded(sent, Limits::new(), piece).await.as_deref(), Ok(&sent[..]), "{piece}");
    }
}

#[tokio::test]
async fn each_breach_is_found_before_anything_of_it_goes_on() {
    let endless = [b"* LIST (".to_vec(), vec![b'a'; LONGEST_LINE]].concat();
    let nested = [b"* 1 FETCH (BODYSTRUCTURE ".to_vec(), vec![b'('; 1000], b"\r\n".to_vec()].concat();
    let literals = b"* LIST {1}\r\na".to_vec();
    let many = [&literals[..], &b" {1}\r\na".repeat(MOST_LITERALS)].concat();
    for (sent, breach) in [
        (&b"* 1 FETCH (BODY[] {4294967295}\r\n"[..], Breach::Literal),
        (b"* 1 FETCH (BODY[] {99999999999999999999999}\r\n", Breach::Literal),
        (b"* 1 FETCH (BODY[] {16385}\r\n", Breach::Literal),
        (b"* OK what comes is no literal {5}\r\n", Breach::Literal),
        (b"A1 NO {5}\r\n", Breach::Literal),
        (&endless, Breach::Line),
        (&nested, Breach::Nesting),
        (&many, Breach::Literal),
        (&b"* 1 EXPUNGE\r\n".repeat(FEW_LINES as usize + 1), Breach::Talk),
    ] {
        assert_eq!(guarded(sent, Limits::new(), 4096).await, Err(Some(breach)), "{}", sent.len());
    }
}

#[tokio::test]
async fn limits_are_those_of_the_command() {
    let sent = b"* 1 FETCH (BODY[] {20}\r\n01234567890123456789)\r\n* 2 FETCH (UID 2)\r\n";
    let limits = Limits::new();
    limits.allow(2, 20);
    assert!(guarded(sent, limits.clone(), 5).await.is_ok());
    assert_eq!(limits.received(), sent.len() as u64);
    limits.allow(1, 20);
    assert_eq!(guarded(sent, limits.clone(), 5).await, Err(Some(Breach::Talk)));
    limits.allow(2, 19);
    assert_eq!(guarded(sent, limits, 5).await, Err(Some(Breach::Literal)));
}

#[tokio::test]
async fn a_status_loses_what_is_not_ascii() {
    let out = guarded("* OK [ALERT]größe\r\n* LIST () \"/\" größe\r\n".as_bytes(), Limits::new(), 9).await.unwrap();
    assert_eq!(out, "* OK [ALERT]gr????e\r\n* LIST () \"/\" größe\r\n".as_bytes());
}

#[test]
fn whatever_passes_is_parsed_without_a_panic() {
    let words = &[
        "* ",
        "A1 ",
        "+ ",
        "OK",
        " NO ",
        "BAD ",
        "BYE",
        "1 ",
        "7 FETCH (",
        "UID 3",
        "BODY[]",
        "{3}\r\n",
        "\r\n",
        "(",
        ")",
        "\"",
        "\\",
        "[ALERT]",
        "[UIDNEXT 9]",
        "LIST ",
        "EXISTS",
        "EXPUNGE",
        "VANISHED (EARLIER) 1:4",
        "é",
        " ",
        "NIL",
        "INTERNALDATE",
        "RFC822.SIZE 5",
        "FLAGS (",
        "SEARCH 1 2",
        "STATUS ",
        "4294967295",
        "[",
        "]",
        "CAPABILITY IMAP4rev1",
        "ENVELOPE (",
        "BODYSTRUCTURE (",
        "MODSEQ (1)",
        "\0",
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    fuzz("imap lines", (worded(words), 1..40_usize), |(text, piece)| {
        if let Ok(passed) = runtime.block_on(guarded(text.as_bytes(), Limits::new(), piece)) {
            prop_assert!(passed.len() <= text.len());
            let mut rest = &passed[..];
            while let Ok((after, _)) = Response::parse(rest) {
                prop_assert!(after.len() < rest.len());
                rest = after;
            }
        }
        Ok(())
    });
}
