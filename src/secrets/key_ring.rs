//! Key-encryption keys: several that open, the first of which seals.

use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hkdf::Hkdf;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Why a text holds no keys. Never says what it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// No key at all.
    #[error("there is no key; one line with 32 bytes in base64 or hex is needed")]
    Empty,
    /// A line that is no key.
    #[error("line {line} is not 32 bytes in base64 or hex")]
    NotAKey {
        /// Line, from 1.
        line: usize,
    },
    /// A key that nobody drew at random.
    #[error("the key on line {line} is too simple; make one with `tributary keys encryption`")]
    Weak {
        /// Line, from 1.
        line: usize,
    },
    /// The same key twice.
    #[error("line {line} repeats a key")]
    Repeated {
        /// Line, from 1.
        line: usize,
    },
}

/// One key-encryption key, as the keys derived from it.
pub struct Key {
    /// Its id: tells keys apart and gives nothing away.
    pub id: String,
    wrapping: Zeroizing<[u8; 32]>,
    paging: Zeroizing<[u8; 32]>,
}

impl Key {
    fn new(master: &[u8; 32]) -> Self {
        Self {
            id: id_of(master),
            wrapping: derive(master, b"tributary v1 wrapping"),
            paging: derive(master, b"tributary v1 page tokens"),
        }
    }

    /// For data keys and the canary.
    pub(crate) fn wrapping(&self) -> &[u8; 32] {
        &self.wrapping
    }

    /// For page tokens.
    pub(crate) fn paging(&self) -> &[u8; 32] {
        &self.paging
    }
}

fn id_of(master: &[u8; 32]) -> String {
    let digest = Sha256::new().chain_update(b"tributary v1 key id").chain_update(master).finalize();
    digest[..4].iter().fold(String::new(), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

fn derive(master: &[u8; 32], label: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, master).expand(label, key.as_mut_slice()).expect("32 bytes are fewer than HKDF can give");
    key
}

/// The keys at hand; never empty. The first is the primary.
pub struct KeyRing {
    keys: Vec<Arc<Key>>,
}

/// A ring that may be replaced by another while it is used.
#[derive(Clone)]
pub(crate) struct SharedRing(Arc<RwLock<Arc<KeyRing>>>);

impl SharedRing {
    pub(crate) fn new(ring: KeyRing) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(ring))))
    }

    /// The ring as it is now.
    pub(crate) fn now(&self) -> Arc<KeyRing> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another in its place, together with those keys that it lacks and that
    /// are to stay; answers the ids of those.
    pub(crate) fn replace(&self, mut ring: KeyRing, stays: impl Fn(&str) -> bool) -> Vec<String> {
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let lacking: Vec<_> =
            place.keys.iter().filter(|key| ring.get(&key.id).is_none() && stays(&key.id)).cloned().collect();
        let ids = lacking.iter().map(|key| key.id.clone()).collect();
        ring.keys.extend(lacking);
        *place = Arc::new(ring);
        ids
    }
}

impl KeyRing {
    /// Reads a key file: one key of 32 bytes a line in base64 or hex, the primary
    /// first. Empty lines and those that begin with `#` do not count.
    pub fn from_text(text: &str) -> Result<Self, KeyRingError> {
        let mut keys: Vec<Arc<Key>> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let (number, line) = (index + 1, line.trim());
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let master = parse(line).ok_or(KeyRingError::NotAKey { line: number })?;
            if is_weak(&master) {
                return Err(KeyRingError::Weak { line: number });
            }
            let key = Key::new(&master);
            if keys.iter().any(|other| other.id == key.id) {
                return Err(KeyRingError::Repeated { line: number });
            }
            keys.push(Arc::new(key));
        }
        if keys.is_empty() { Err(KeyRingError::Empty) } else { Ok(Self { keys }) }
    }

    /// A ring with one new key, and the text of its key file.
    pub fn generate() -> (Self, SecretString) {
        let master = Zeroizing::new(super::random::<32>());
        let key = Key::new(&master);
        let encoded = Zeroizing::new(STANDARD.encode(master.as_slice()));
        let text =
            format!("# Tributary encryption key {}. Without it no stored credential opens.\n{}\n", key.id, *encoded);
        (Self { keys: vec![Arc::new(key)] }, SecretString::from(text))
    }

    /// Ids, the primary's first.
    pub fn ids(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.id.clone()).collect()
    }

    pub(crate) fn primary(&self) -> &Key {
        self.keys.first().expect("a ring is never empty")
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id).map(Arc::as_ref)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().map(Arc::as_ref)
    }
}

fn parse(line: &str) -> Option<Zeroizing<[u8; 32]>> {
    let decoded = if line.len() == 64 { decode_hex(line) } else { decode_base64(line) }?;
    <[u8; 32]>::try_from(decoded.as_slice()).ok().map(Zeroizing::new)
}

fn decode_base64(line: &str) -> Option<Zeroizing<Vec<u8>>> {
    STANDARD.decode(line).or_else(|_| URL_SAFE.decode(line)).ok().map(Zeroizing::new)
}

fn decode_hex(line: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(32));
    for pair in line.as_bytes().chunks(2) {
        let mut value = 0;
        for digit in pair {
            value = value * 16 + u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
        }
        bytes.push(value);
        value.zeroize();
    }
    Some(bytes)
}

/// Fewer than eight different bytes: random keys never look like that, keys
/// copied from an example do.
fn is_weak(master: &[u8; 32]) -> bool {
    let mut bytes = Zeroizing::new(*master);
    bytes.sort_unstable();
    1 + bytes.windows(2).filter(|pair| pair[0] != pair[1]).count() < 8
}
