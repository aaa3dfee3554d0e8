//! The cipher of everything sealed, and what binds a ciphertext to its place.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use rand::TryRngCore;
use rand::rngs::OsRng;
use zeroize::Zeroizing;

use super::{Binding, VaultError};

/// First byte of everything sealed: the layout that follows it.
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;

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

/// What a wrapped data key is bound to.
pub(super) fn key_context(binding: &Binding<'_>, key_id: &str) -> Vec<u8> {
    bound(b"tributary data key", binding, Some(key_id))
}

/// What a secret is bound to: not the key id, which its data key is bound to
/// already; else a rotation would have to decrypt every secret.
pub(super) fn secret_context(binding: &Binding<'_>) -> Vec<u8> {
    bound(b"tributary secret", binding, None)
}

/// What a canary is bound to.
pub(super) fn canary_context(key_id: &str) -> Vec<u8> {
    context(&[b"tributary canary", &[VERSION], key_id.as_bytes()])
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
