//! Page tokens: a position in one list with the same arguments, for a limited
//! time, that a caller can neither read nor make up.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::key_ring::SharedRing;
use super::{decrypt, encrypt};

const CONTEXT: &[u8] = b"tributary page token";
/// Longer texts are refused before anything is decoded.
const LONGEST: usize = 4096;

/// Why a page token cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not one of ours.
    #[error("is not a page token of this server")]
    Malformed,
    /// Made by another list, or by this one with other arguments.
    #[error("belongs to a call with other arguments")]
    OtherCall,
    /// Too old.
    #[error("has expired; start again from the first page")]
    Expired,
}

/// Seals and opens page tokens.
#[derive(Clone)]
pub struct TokenSealer {
    /// Its primary seals. Others only open.
    ring: SharedRing,
}

impl TokenSealer {
    pub(crate) fn new(ring: SharedRing) -> Self {
        Self { ring }
    }

    /// A token for a position in a list. `arguments_hash` stands for everything
    /// else that the caller asked for.
    pub fn seal(&self, list: &str, arguments_hash: u64, position: &[u8], expires_at_ms: i64) -> String {
        let mut plain = Vec::with_capacity(20 + list.len() + position.len());
        plain.extend_from_slice(&expires_at_ms.to_be_bytes());
        plain.extend_from_slice(&arguments_hash.to_be_bytes());
        plain.extend_from_slice(&(list.len() as u32).to_be_bytes());
        plain.extend_from_slice(list.as_bytes());
        plain.extend_from_slice(position);
        let sealed = encrypt(self.ring.now().primary().paging(), &plain, CONTEXT);
        URL_SAFE_NO_PAD.encode(sealed.expect("a position is far below the cipher's limit"))
    }

    /// The position, if the token is ours, fits the call and is still good.
    pub fn open(&self, list: &str, arguments_hash: u64, token: &str, now_ms: i64) -> Result<Vec<u8>, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::Malformed);
        }
        let sealed = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError::Malformed)?;
        let ring = self.ring.now();
        let plain = ring.keys().find_map(|key| decrypt(key.paging(), &sealed, CONTEXT).ok());
        let plain = plain.ok_or(TokenError::Malformed)?;
        let parts = Parts::read(&plain).ok_or(TokenError::Malformed)?;
        if parts.list != list.as_bytes() || parts.arguments_hash != arguments_hash {
            return Err(TokenError::OtherCall);
        }
        if parts.expires_at_ms <= now_ms {
            return Err(TokenError::Expired);
        }
        Ok(parts.position.to_vec())
    }
}

struct Parts<'a> {
    expires_at_ms: i64,
    arguments_hash: u64,
    list: &'a [u8],
    position: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(plain: &'a [u8]) -> Option<Self> {
        let (expires_at_ms, rest) = plain.split_first_chunk::<8>()?;
        let (arguments_hash, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (list, position) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        Some(Self {
            expires_at_ms: i64::from_be_bytes(*expires_at_ms),
            arguments_hash: u64::from_be_bytes(*arguments_hash),
            list,
            position,
        })
    }
}
