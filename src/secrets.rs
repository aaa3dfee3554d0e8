//! Sealing of secrets at rest. Every seal has a random data key of its own, which
//! is wrapped by a key-encryption key with an id; both are bound to the row that
//! they are stored in, so that a sealed secret moved elsewhere does not open.
//! There is no plain-text mode.
//!
//! Nothing here is `Debug`, `Serialize` or `Clone` that holds a secret; keys are
//! wiped when dropped.

pub mod api_key;
pub mod key_ring;
pub mod page_token;
pub mod source;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use rand::TryRngCore;
use rand::rngs::OsRng;
use zeroize::Zeroizing;

use crate::ids::{CollectionId, ConnectionId};

use key_ring::Key;
pub use key_ring::KeyRing;
pub use page_token::{TokenError, TokenSealer};

/// First byte of everything sealed: the layout that follows it.
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
const CANARY: &[u8] = b"tributary: the encryption key is the one that this store was written with";

/// Where a sealed secret belongs. It opens only with the same binding.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// What the secret is for (`credentials`).
    pub purpose: &'a str,
    /// Collection of the connection.
    pub collection: &'a CollectionId,
    /// Connection.
    pub connection: &'a ConnectionId,
    /// Version of the connection's credentials.
    pub credentials_version: i64,
}

/// A sealed secret, as stored. Without `wrapped_key` nobody can open it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Id of the key-encryption key.
    pub key_id: String,
    /// The data key, wrapped.
    pub wrapped_key: Vec<u8>,
    /// The secret, under the data key.
    pub ciphertext: Vec<u8>,
}

/// Why a secret could not be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// None of the keys at hand has the id.
    #[error("the encryption key `{wanted}` is needed, but only {} at hand", describe(.at_hand))]
    KeyMissing {
        /// Id of the key wanted.
        wanted: String,
        /// Ids of the keys that there are.
        at_hand: Vec<String>,
    },
    /// It was changed, cut, or sealed for another row.
    #[error("the sealed secret was changed, or belongs to another row")]
    Tampered,
    /// The cipher refused, which only an enormous text can bring about.
    #[error("the secret cannot be sealed")]
    Unsealable,
}

fn describe(ids: &[String]) -> String {
    match ids {
        [only] => format!("`{only}` is"),
        several => format!("{} are", several.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")),
    }
}

/// Seals and opens secrets with the keys of a ring.
pub struct Vault {
    keys: KeyRing,
}

impl Vault {
    /// A vault that seals with the ring's primary key and opens with any.
    pub fn new(keys: KeyRing) -> Self {
        Self { keys }
    }

    /// Id of the key that new secrets are sealed with.
    pub fn primary_key_id(&self) -> &str {
        &self.keys.primary().id
    }

    /// Seals under a new data key.
    pub fn seal(&self, binding: &Binding<'_>, plaintext: &[u8]) -> Result<Sealed, VaultError> {
        let key = self.keys.primary();
        let data_key = Zeroizing::new(random::<32>());
        Ok(Sealed {
            key_id: key.id.clone(),
            wrapped_key: wrap(key, binding, &data_key)?,
            ciphertext: encrypt(&data_key, plaintext, &secret_context(binding))?,
        })
    }

    /// Opens what was sealed with the same binding.
    pub fn open(&self, binding: &Binding<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let data_key = self.unwrap(binding, sealed)?;
        decrypt(&data_key, &sealed.ciphertext, &secret_context(binding))
    }

    /// The same secret with its data key wrapped by the primary key. The secret
    /// itself is not decrypted.
    pub fn rewrap(&self, binding: &Binding<'_>, sealed: &Sealed) -> Result<Sealed, VaultError> {
        let data_key = self.unwrap(binding, sealed)?;
        let key = self.keys.primary();
        Ok(Sealed {
            key_id: key.id.clone(),
            wrapped_key: wrap(key, binding, &data_key)?,
            ciphertext: sealed.ciphertext.clone(),
        })
    }

    /// A text to keep in a store, by which [`Vault::check_canary`] knows at start
    /// whether the right key was given.
    pub fn canary(&self) -> Result<String, VaultError> {
        let key = self.keys.primary();
        let sealed = encrypt(key.wrapping(), CANARY, &canary_context(&key.id))?;
        Ok(format!("{}.{}", key.id, STANDARD_NO_PAD.encode(sealed)))
    }

    /// True to the store that the canary is from? Names the key wanted where not.
    pub fn check_canary(&self, stored: &str) -> Result<(), VaultError> {
        let (id, sealed) = stored.split_once('.').ok_or(VaultError::Tampered)?;
        let sealed = STANDARD_NO_PAD.decode(sealed).map_err(|_| VaultError::Tampered)?;
        let opened = decrypt(self.key(id)?.wrapping(), &sealed, &canary_context(id))?;
        if opened.as_slice() == CANARY { Ok(()) } else { Err(VaultError::Tampered) }
    }

    /// Seals page tokens, with keys derived from the ring's.
    pub fn page_tokens(&self) -> TokenSealer {
        TokenSealer::new(&self.keys)
    }

    fn key(&self, id: &str) -> Result<&Key, VaultError> {
        self.keys.get(id).ok_or_else(|| VaultError::KeyMissing { wanted: printable(id), at_hand: self.keys.ids() })
    }

    fn unwrap(&self, binding: &Binding<'_>, sealed: &Sealed) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let key = self.key(&sealed.key_id)?;
        let opened = decrypt(key.wrapping(), &sealed.wrapped_key, &key_context(binding, &key.id))?;
        let data_key: [u8; 32] = opened.as_slice().try_into().map_err(|_| VaultError::Tampered)?;
        Ok(Zeroizing::new(data_key))
    }
}

fn wrap(key: &Key, binding: &Binding<'_>, data_key: &[u8; 32]) -> Result<Vec<u8>, VaultError> {
    encrypt(key.wrapping(), data_key, &key_context(binding, &key.id))
}

/// Random bytes of the operating system.
pub(crate) fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    OsRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes once it is up");
    bytes
}

/// Version, nonce and ciphertext.
pub(crate) fn encrypt(key: &[u8; 32], plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, VaultError> {
    let nonce = random::<NONCE_BYTES>();
    let payload = Payload { msg: plaintext, aad: context };
    let encrypted = XChaCha20Poly1305::new(key.into())
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| VaultError::Unsealable)?;
    let mut sealed = Vec::with_capacity(1 + NONCE_BYTES + encrypted.len());
    sealed.push(VERSION);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&encrypted);
    Ok(sealed)
}

pub(crate) fn decrypt(key: &[u8; 32], sealed: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let (version, rest) = sealed.split_first().ok_or(VaultError::Tampered)?;
    let (nonce, encrypted) = rest.split_at_checked(NONCE_BYTES).ok_or(VaultError::Tampered)?;
    let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| VaultError::Tampered)?;
    if *version != VERSION {
        return Err(VaultError::Tampered);
    }
    XChaCha20Poly1305::new(key.into())
        .decrypt(&XNonce::from(nonce), Payload { msg: encrypted, aad: context })
        .map(Zeroizing::new)
        .map_err(|_| VaultError::Tampered)
}

/// Each part with its length before it, so that no two lists of parts write the
/// same bytes.
fn context(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

fn key_context(binding: &Binding<'_>, key_id: &str) -> Vec<u8> {
    bound(b"tributary data key", binding, Some(key_id))
}

/// Without the key id, which the data key is bound to already: else a rotation
/// would have to decrypt every secret.
fn secret_context(binding: &Binding<'_>) -> Vec<u8> {
    bound(b"tributary secret", binding, None)
}

fn bound(label: &[u8], binding: &Binding<'_>, key_id: Option<&str>) -> Vec<u8> {
    let Binding { purpose, collection, connection, credentials_version } = binding;
    let version = credentials_version.to_be_bytes();
    let mut parts: Vec<&[u8]> = vec![
        label,
        &[VERSION],
        purpose.as_bytes(),
        collection.as_str().as_bytes(),
        connection.as_str().as_bytes(),
        &version,
    ];
    parts.extend(key_id.map(str::as_bytes));
    context(&parts)
}

fn canary_context(key_id: &str) -> Vec<u8> {
    context(&[b"tributary canary", &[VERSION], key_id.as_bytes()])
}

/// A key id out of a store is shown only as far as it looks like one.
fn printable(id: &str) -> String {
    id.chars().filter(char::is_ascii_hexdigit).take(8).collect()
}

#[cfg(test)]
mod tests;
