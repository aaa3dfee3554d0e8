//! API keys: `trb_`, the key's id, `_`, 43 base62 characters (256 bits) and a
//! checksum of six. Stored as id and SHA-256 only; the checksum lets a typo be
//! told from a stranger without asking the store.

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::ids::KeyId;

const PREFIX: &str = "trb_";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SECRET_LENGTH: usize = 43;
const CHECKSUM_LENGTH: usize = 6;
const LONGEST_ID: usize = 64;

/// A new key. The token is shown once; the hash is stored.
pub struct Minted {
    /// Its id.
    pub id: KeyId,
    /// The whole token.
    pub token: SecretString,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
}

/// A token that somebody presented, in the right form; whether it is a key only
/// the store knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Presented {
    /// Id to look up.
    pub id: KeyId,
    /// To compare with the stored hash by [`equal`].
    pub hash: [u8; 32],
}

/// A new key with a new id.
pub fn mint() -> Minted {
    let id = KeyId::mint();
    let mut token =
        Zeroizing::new(String::with_capacity(PREFIX.len() + LONGEST_ID + 1 + SECRET_LENGTH + CHECKSUM_LENGTH));
    token.push_str(PREFIX);
    token.push_str(&id.as_str()[KeyId::PREFIX.len()..]);
    token.push('_');
    push_secret(&mut token);
    let checksum = checksum(&token);
    token.push_str(std::str::from_utf8(&checksum).expect("the alphabet is ASCII"));
    Minted { id, hash: hash(&token), token: SecretString::from(token.as_str()) }
}

/// The parts of a token whose form and checksum are right.
pub fn parse(text: &str) -> Option<Presented> {
    let rest = text.strip_prefix(PREFIX)?;
    let id_length = rest.len().checked_sub(1 + SECRET_LENGTH + CHECKSUM_LENGTH)?;
    if !text.is_ascii() || id_length > LONGEST_ID {
        return None;
    }
    let (body, presented) = text.split_at(text.len() - CHECKSUM_LENGTH);
    if checksum(body) != presented.as_bytes() {
        return None;
    }
    let (id, secret) = rest[..rest.len() - CHECKSUM_LENGTH].split_at(id_length);
    let secret = secret.strip_prefix('_')?;
    if !secret.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let id = format!("{}{id}", KeyId::PREFIX).parse().ok()?;
    Some(Presented { id, hash: hash(text) })
}

/// What is stored of a token, also of an operator's own `TRIBUTARY_ADMIN_KEY`.
pub fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// True when the hashes are the same; takes as long when they are not.
pub fn equal(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.ct_eq(other).into()
}

/// Characters drawn without a bias: bytes past the last whole multiple of 62 are
/// thrown away.
fn push_secret(token: &mut String) {
    let wanted = token.len() + SECRET_LENGTH;
    while token.len() < wanted {
        let bytes = Zeroizing::new(super::random::<64>());
        for byte in bytes.iter().filter(|byte| **byte < 248) {
            if token.len() < wanted {
                token.push(char::from(ALPHABET[usize::from(byte % 62)]));
            }
        }
    }
}

fn checksum(body: &str) -> [u8; CHECKSUM_LENGTH] {
    let mut value = crc32fast::hash(body.as_bytes());
    let mut text = [b'0'; CHECKSUM_LENGTH];
    for place in text.iter_mut().rev() {
        *place = ALPHABET[(value % 62) as usize];
        value /= 62;
    }
    text
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_minted_key_parses_to_its_id_and_hash() {
        let minted = mint();
        let token = minted.token.expose_secret();
        let presented = parse(token).unwrap();
        assert!(presented.id == minted.id && equal(&presented.hash, &minted.hash));
        assert_eq!(token.len(), 4 + 26 + 1 + 43 + 6);
        assert!(mint().token.expose_secret() != token);
    }

    #[test]
    fn any_changed_character_is_noticed() {
        let minted = mint();
        let token = minted.token.expose_secret();
        for index in 0..token.len() {
            let mut changed = token.as_bytes().to_vec();
            changed[index] = if changed[index] == b'x' { b'y' } else { b'x' };
            assert!(parse(std::str::from_utf8(&changed).unwrap()).is_none(), "{index}");
        }
    }

    #[test]
    fn other_texts_are_no_keys() {
        let minted = mint();
        let token = minted.token.expose_secret();
        let long = format!("trb_{}_{}", "a".repeat(65), &token[31..]);
        for text in ["", "trb_", "trb__", &token[1..], &token[..token.len() - 1], &long, &"\u{e9}".repeat(60)] {
            assert!(parse(text).is_none());
        }
    }

    #[test]
    fn hashes_are_compared_whole() {
        let mut other = hash("one");
        assert!(equal(&hash("one"), &other));
        other[31] ^= 1;
        assert!(!equal(&hash("one"), &other));
    }
}
