//! The provider's keys, and whether one of them has signed a token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::Value;

/// Keys that are read of one set.
const MOST_KEYS: usize = 100;

/// The algorithms that are accepted. There is no entry for `none`, nor for one with
/// a shared secret: a public key must never be taken for such a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A token in the right form, which nobody has vouched for yet.
pub(super) struct Token<'text> {
    signed: &'text str,
    algorithm: Algorithm,
    key_id: Option<String>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

impl<'text> Token<'text> {
    /// The parts of a token whose header asks for nothing that we do not do.
    pub(super) fn parse(text: &'text str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        let typ = header.typ.unwrap_or_else(|| "JWT".to_owned()).to_ascii_lowercase();
        let is_of_type = matches!(typ.trim_start_matches("application/"), "jwt" | "at+jwt");
        if header.crit.is_some() || !is_of_type {
            return None;
        }
        Some(Self {
            signed,
            algorithm: Algorithm::named(&header.alg)?,
            key_id: header.kid,
            payload: URL_SAFE_NO_PAD.decode(payload).ok()?,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }
}

/// What the keys say of a token.
pub(super) enum Lookup {
    /// The key signed it; its payload.
    Signed(Vec<u8>),
    /// The key did not sign it.
    NotSigned,
    /// There is no such key, or no single one that it could mean.
    NoSuchKey,
}

/// One public key, bound to the one algorithm that it is for.
enum PublicKey {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

struct Key {
    id: Option<String>,
    key: PublicKey,
}

/// Keys that sign.
#[derive(Default)]
pub(super) struct KeySet(Vec<Key>);

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// The keys of a JWK set that sign with an accepted algorithm; others are left
    /// out, as the standard asks.
    pub(super) fn read(set: &Value) -> Self {
        let listed = set["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
        let keys = listed.iter().take(MOST_KEYS).filter_map(|jwk| Key::read(Jwk::deserialize(jwk).ok()?));
        Self(keys.collect())
    }

    /// True when nobody can be let in.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ids of the keys, for the log and to see a change.
    pub(super) fn ids(&self) -> Vec<&str> {
        self.0.iter().map(|key| key.id.as_deref().unwrap_or("-")).collect()
    }

    /// Whether the key that the token names has signed it. The algorithm is the
    /// key's; that of the token only has to be the same.
    pub(super) fn verify(&self, token: &Token<'_>) -> Lookup {
        let mut fitting = self.0.iter().filter(|key| {
            let named = token.key_id.is_none() || token.key_id == key.id;
            named && key.key.algorithm() == token.algorithm
        });
        match (fitting.next(), fitting.next()) {
            (Some(key), None) if key.key.has_signed(token) => Lookup::Signed(token.payload.clone()),
            (Some(_), None) => Lookup::NotSigned,
            _ => Lookup::NoSuchKey,
        }
    }
}

impl Key {
    fn read(jwk: Jwk) -> Option<Self> {
        let Jwk { kty, kid, purpose, alg, crv, n, e, x, y } = jwk;
        let bytes = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let coordinate = |text: Option<String>| bytes(text).filter(|bytes| bytes.len() == 32);
        let key = match (kty.as_str(), crv.as_deref()) {
            ("RSA", None) => PublicKey::Rsa { modulus: unsigned(bytes(n)?), exponent: unsigned(bytes(e)?) },
            ("EC", Some("P-256")) => PublicKey::P256([vec![4], coordinate(x)?, coordinate(y)?].concat()),
            ("OKP", Some("Ed25519")) => PublicKey::Ed25519(coordinate(x)?),
            _ => return None,
        };
        let is_for_signing = purpose.is_none_or(|purpose| purpose == "sig");
        let is_for_algorithm = alg.is_none_or(|alg| Algorithm::named(&alg) == Some(key.algorithm()));
        (is_for_signing && is_for_algorithm).then_some(Self { id: kid, key })
    }
}

impl PublicKey {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::Rs256,
            Self::P256(_) => Algorithm::Es256,
            Self::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    fn has_signed(&self, token: &Token<'_>) -> bool {
        let (message, signature) = (token.signed.as_bytes(), token.signature.as_slice());
        let verified = match self {
            Self::Rsa { modulus, exponent } => {
                let key = RsaPublicKeyComponents { n: modulus.as_slice(), e: exponent.as_slice() };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            Self::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature),
            Self::Ed25519(point) => UnparsedPublicKey::new(&ED25519, point).verify(message, signature),
        };
        verified.is_ok()
    }
}

/// Without the zeros that some libraries put before a number.
fn unsigned(number: Vec<u8>) -> Vec<u8> {
    number.into_iter().skip_while(|byte| *byte == 0).collect()
}

#[cfg(test)]
mod tests;
