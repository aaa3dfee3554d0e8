//! What a listing says of a file, and the payload of its record: the stamp first, its
//! content behind it once that was brought.

use bytes::Bytes;

use crate::record::Fingerprint;

/// What a listing says of a file. While it stays, so does the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::connectors) struct Stamp {
    pub(in crate::connectors) size: u64,
    /// Microseconds since 1970 UTC.
    pub(in crate::connectors) modified_at: Option<i64>,
    /// An ETag or version; empty where the store has none.
    pub(in crate::connectors) version: String,
}

impl Stamp {
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.sealed(0))
    }

    /// The stamp as the beginning of a payload, with room for content.
    pub(super) fn sealed(&self, room: usize) -> Vec<u8> {
        let version = self.version.as_bytes();
        let mut payload = Vec::with_capacity(20 + version.len() + room);
        payload.extend_from_slice(&self.size.to_le_bytes());
        payload.extend_from_slice(&self.modified_at.unwrap_or(i64::MIN).to_le_bytes());
        payload.extend_from_slice(&u32::try_from(version.len()).unwrap_or(u32::MAX).to_le_bytes());
        payload.extend_from_slice(version);
        payload
    }

    /// Takes a payload apart: the stamp, and the content.
    pub(super) fn unsealed(payload: &Bytes) -> Option<(Self, Bytes)> {
        let (size, rest) = payload.split_first_chunk()?;
        let (modified_at, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let version = std::str::from_utf8(rest.get(..length)?).ok()?;
        let modified_at = Some(i64::from_le_bytes(*modified_at)).filter(|time| *time != i64::MIN);
        let stamp = Self { size: u64::from_le_bytes(*size), modified_at, version: version.to_owned() };
        Some((stamp, payload.slice(20 + length..)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_unsealed() {
        for stamp in [
            Stamp { size: 7, modified_at: Some(-5), version: "\"äé\"".to_owned() },
            Stamp { size: u64::MAX, modified_at: None, version: String::new() },
        ] {
            let mut payload = stamp.sealed(7);
            payload.extend_from_slice(b"content");
            let payload = Bytes::from(payload);
            assert_eq!(Stamp::unsealed(&payload), Some((stamp, Bytes::from_static(b"content"))));
            for length in 0..20 {
                assert_eq!(Stamp::unsealed(&payload.slice(..length)), None);
            }
        }
    }
}
