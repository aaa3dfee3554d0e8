//! Names of mailboxes: modified UTF-7 (RFC 3501, 5.1.3) to text, and back onto the
//! wire as they came.

use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// The name as people read it. One that is not well written stays as it is.
pub(super) fn decoded(name: &str) -> String {
    decode(name).unwrap_or_else(|| name.to_owned())
}

fn decode(name: &str) -> Option<String> {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((plain, shifted)) = rest.split_once('&') {
        text.push_str(plain);
        let (encoded, after) = shifted.split_once('-')?;
        if encoded.is_empty() {
            text.push('&');
        } else {
            let bytes = ENGINE.decode(encoded).ok()?;
            let (pairs, odd) = bytes.as_chunks::<2>();
            let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            if !odd.is_empty() {
                return None;
            }
            text.push_str(&String::from_utf16(&units).ok()?);
        }
        rest = after;
    }
    text.push_str(rest);
    (!text.chars().any(char::is_control)).then_some(text)
}

/// The name for a command. None for one that cannot be said without saying
/// something else: a line's end would begin a command of the server's making.
pub(super) fn quoted(name: &str) -> Option<String> {
    if name.chars().any(char::is_control) {
        return None;
    }
    Some(format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// What a quoted name stands for; the parser leaves the escapes in.
pub(super) fn unescaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut characters = name.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push(characters.next().unwrap_or('\\')),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::{fuzz, worded};

    #[test]
    fn names_are_decoded_and_what_is_no_encoding_stays() {
        for (name, expected) in [
            ("INBOX", "INBOX"),
            ("Entw&APw-rfe", "Entwürfe"),
            ("&U,BTFw-", "台北"),
            ("a&-b", "a&b"),
            ("&2D3cjA-", "\u{1f48c}"),
            ("a&b", "a&b"),
            ("a&!!-", "a&!!-"),
            ("&2D0-", "&2D0-"),
            ("x&AAo-y", "x&AAo-y"),
            ("", ""),
        ] {
            assert_eq!(decoded(name), expected, "{name}");
        }
    }

    #[test]
    fn names_are_quoted_or_refused() {
        assert_eq!(quoted(r#"a "b" \c"#).as_deref(), Some(r#""a \"b\" \\c""#));
        assert_eq!(unescaped(r#"a \"b\" \\c"#), r#"a "b" \c"#);
        assert_eq!(quoted("a\r\nA1 DELETE INBOX"), None);
    }

    #[test]
    fn any_name_is_decoded_into_one_without_line_ends() {
        fuzz("mailbox names", worded(&["&", "-", "AAo", "2D3c", "jA", "INBOX", "/", "\r\n", ",", "+"]), |name| {
            let text = decoded(&name);
            prop_assert!(text == name || !text.chars().any(char::is_control));
            prop_assert!(quoted(&name).is_none_or(|quoted| !quoted.contains(['\r', '\n'])));
            Ok(())
        });
    }
}
