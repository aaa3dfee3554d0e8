//! Sealing of secrets at rest. Every seal has a random data key of its own, which
//! is wrapped by a key-encryption key with an id; both are bound to the row that
//! they are stored in, so that a sealed secret moved elsewhere does not open.
//! There is no plain-text mode.
//!
//! Nothing here is `Debug`, `Serialize` or `Clone` that holds a secret; keys are
//! wiped when dropped.

pub mod api_key;
mod envelope;
pub mod key_ring;
pub mod page_token;
pub mod source;
pub mod transit;

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use tokio::sync::Mutex;
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::config::{KeySource, TransitConfig};
use crate::error::{Error, Reason};
use crate::ids::{CollectionId, ConnectionId};

use envelope::{canary_context, key_context, secret_context};
pub(crate) use envelope::{decrypt, encrypt, random};
pub use key_ring::KeyRing;
use key_ring::{Key, SharedRing};
pub use page_token::{TokenError, TokenSealer};
use source::SourceError;
use transit::{KeeperError, Transit};

/// How soon the source of the keys is asked again for one that it did not have.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Purpose that the credentials of connections are bound to.
pub const CREDENTIALS: &str = "credentials";
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
    /// The keeper of the key did not do it.
    #[error("the keeper of the encryption key {0}")]
    Keeper(KeeperError),
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

/// Why the keys were not read anew. Those that there were stay in use.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// There are none where they should be.
    #[error("the encryption keys cannot be read")]
    Source(#[source] SourceError),
    /// They do not open what the store was written with.
    #[error("the encryption keys are not those of this store")]
    WrongKeys(#[source] VaultError),
}

/// Seals with the primary key of a ring and opens with any of it. The ring can be
/// replaced while it is used.
pub struct Vault {
    ring: SharedRing,
    source: Option<KeySource>,
    /// Who wraps in the place of the ring's primary key.
    keeper: Option<Transit>,
    /// When the source was last asked for a key that is not in the ring. Held
    /// while it is asked, so that many who need the key ask once.
    asked: Mutex<Option<Instant>>,
}

impl Vault {
    /// A vault with these keys and no others.
    pub fn new(keys: KeyRing) -> Self {
        Self { ring: SharedRing::new(keys), source: None, keeper: None, asked: Mutex::default() }
    }

    /// A vault with the keys of a source, which is asked again for a key that was
    /// not there yet. Where a keeper is named, that one wraps.
    pub async fn load(source: &KeySource, keeper: Option<&TransitConfig>) -> Result<Self, SourceError> {
        let keys = source::load_aside(source).await?;
        let keeper = keeper.cloned().map(Transit::new).transpose()?;
        Ok(Self { source: Some(source.clone()), keeper, ..Self::new(keys) })
    }

    /// Id of the key that new secrets are sealed with. A keeper is asked, since its
    /// key may have a new version.
    pub async fn primary(&self) -> Result<String, VaultError> {
        match &self.keeper {
            Some(keeper) => Ok(keeper.wrap(CANARY, &[]).await.map_err(VaultError::Keeper)?.0),
            None => Ok(self.ring.now().primary().id.clone()),
        }
    }

    /// Ids of the keys of the ring, the primary's first.
    pub fn key_ids(&self) -> Vec<String> {
        self.ring.now().ids()
    }

    /// True when the key is at hand, or is now where the keys come from.
    pub async fn has(&self, key_id: &str) -> bool {
        self.keeper_of(key_id).is_some() || self.ring_with(key_id).await.is_ok()
    }

    /// Seals under a new data key.
    pub async fn seal(&self, binding: &Binding<'_>, plaintext: &[u8]) -> Result<Sealed, VaultError> {
        let data_key = Zeroizing::new(random::<32>());
        let ciphertext = encrypt(&data_key, plaintext, &secret_context(binding))?;
        let (key_id, wrapped_key) = self.wrap(binding, &data_key).await?;
        Ok(Sealed { key_id, wrapped_key, ciphertext })
    }

    /// Opens what was sealed with the same binding.
    pub async fn open(&self, binding: &Binding<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let data_key = self.unwrap(binding, sealed).await?;
        decrypt(&data_key, &sealed.ciphertext, &secret_context(binding))
    }

    /// The same secret with its data key wrapped by the primary key. The secret
    /// itself is not decrypted.
    pub async fn rewrap(&self, binding: &Binding<'_>, sealed: &Sealed) -> Result<Sealed, VaultError> {
        let data_key = self.unwrap(binding, sealed).await?;
        let (key_id, wrapped_key) = self.wrap(binding, &data_key).await?;
        Ok(Sealed { key_id, wrapped_key, ciphertext: sealed.ciphertext.clone() })
    }

    /// A text to keep in a store, by which [`Vault::check_canary`] knows at start
    /// whether the right key was given.
    pub async fn canary(&self) -> Result<String, VaultError> {
        let (id, sealed) = match &self.keeper {
            Some(keeper) => {
                let name = keeper.key_name();
                let wrapped = keeper.wrap(CANARY, &canary_context(&name)).await.map_err(VaultError::Keeper)?;
                (name, wrapped.1)
            }
            None => {
                let ring = self.ring.now();
                let key = ring.primary();
                (key.id.clone(), encrypt(key.wrapping(), CANARY, &canary_context(&key.id))?)
            }
        };
        Ok(format!("{id}.{}", STANDARD_NO_PAD.encode(sealed)))
    }

    /// True to the store that the canary is from? Names the key wanted where not.
    pub async fn check_canary(&self, stored: &str) -> Result<(), VaultError> {
        let (id, sealed) = parse_canary(stored)?;
        match self.keeper.as_ref().filter(|keeper| keeper.key_name() == id) {
            Some(keeper) => {
                let opened = keeper.unwrap(&sealed, &canary_context(id)).await.map_err(unopened)?;
                if opened.as_slice() == CANARY { Ok(()) } else { Err(VaultError::Tampered) }
            }
            None => check_canary(&self.ring.now(), id, &sealed),
        }
    }

    /// Reads the keys anew, if they open the canary of the store. A key that is
    /// no longer among them is let go, unless it is still `in_use`; answers the
    /// ids of those.
    pub async fn reload(&self, canary: &str, in_use: &[String]) -> Result<Vec<String>, ReloadError> {
        let Some(source) = &self.source else { return Ok(Vec::new()) };
        let keys = source::load_aside(source).await.map_err(ReloadError::Source)?;
        let (id, sealed) = parse_canary(canary).map_err(ReloadError::WrongKeys)?;
        // A keeper's canary says nothing of the ring.
        if !id.starts_with(transit::PREFIX) {
            check_canary(&keys, id, &sealed).map_err(ReloadError::WrongKeys)?;
        }
        Ok(self.ring.replace(keys, |id| in_use.iter().any(|used| used == id)))
    }

    /// Seals page tokens, with keys derived from the ring's.
    pub fn page_tokens(&self) -> TokenSealer {
        TokenSealer::new(self.ring.clone())
    }

    /// The data key, wrapped by the primary key, whose id goes with it.
    async fn wrap(&self, binding: &Binding<'_>, data_key: &[u8; 32]) -> Result<(String, Vec<u8>), VaultError> {
        if let Some(keeper) = &self.keeper {
            let context = key_context(binding, &keeper.key_name());
            return keeper.wrap(data_key, &context).await.map_err(VaultError::Keeper);
        }
        let ring = self.ring.now();
        let key = ring.primary();
        Ok((key.id.clone(), encrypt(key.wrapping(), data_key, &key_context(binding, &key.id))?))
    }

    async fn unwrap(&self, binding: &Binding<'_>, sealed: &Sealed) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        let opened = if let Some(keeper) = self.keeper_of(&sealed.key_id) {
            let context = key_context(binding, &keeper.key_name());
            keeper.unwrap(&sealed.wrapped_key, &context).await.map_err(unopened)?
        } else {
            let ring = self.ring_with(&sealed.key_id).await?;
            let key = key(&ring, &sealed.key_id)?;
            decrypt(key.wrapping(), &sealed.wrapped_key, &key_context(binding, &key.id))?
        };
        let data_key: [u8; 32] = opened.as_slice().try_into().map_err(|_| VaultError::Tampered)?;
        Ok(Zeroizing::new(data_key))
    }

    fn keeper_of(&self, key_id: &str) -> Option<&Transit> {
        self.keeper.as_ref().filter(|keeper| keeper.has(key_id))
    }

    /// A ring with the key. Another node may already seal with a new one that was
    /// put where our keys come from, so that is asked before we give up.
    async fn ring_with(&self, id: &str) -> Result<Arc<KeyRing>, VaultError> {
        let ring = self.ring.now();
        match (key(&ring, id), &self.source) {
            (Ok(_), _) => return Ok(ring),
            (Err(error), None) => return Err(error),
            (Err(_), Some(source)) => self.ask_for(id, source).await,
        }
        let ring = self.ring.now();
        key(&ring, id)?;
        Ok(ring)
    }

    async fn ask_for(&self, id: &str, source: &KeySource) {
        let mut asked = self.asked.lock().await;
        let is_too_soon = asked.is_some_and(|at| at.elapsed() < ASK_AGAIN);
        if is_too_soon || self.ring.now().get(id).is_some() {
            return;
        }
        match source::load_aside(source).await {
            // Nobody has proved the others useless, so they all stay.
            Ok(keys) if keys.get(id).is_some() => {
                self.ring.replace(keys, |_| true);
                info!(keys = ?self.key_ids(), "read the encryption keys anew, for one that was not known");
            }
            Ok(_) => {}
            Err(error) => warn!(error = &error as &dyn std::error::Error, "the encryption keys cannot be read anew"),
        }
        *asked = Some(Instant::now());
    }
}

fn key<'r>(ring: &'r KeyRing, id: &str) -> Result<&'r Key, VaultError> {
    ring.get(id).ok_or_else(|| VaultError::KeyMissing { wanted: printable(id), at_hand: ring.ids() })
}

/// What a keeper does not accept for unwrapping was changed, or is another row's.
fn unopened(error: KeeperError) -> VaultError {
    match error {
        KeeperError::Rejected => VaultError::Tampered,
        error => VaultError::Keeper(error),
    }
}

/// The id of a canary's key, and what is sealed with it.
fn parse_canary(stored: &str) -> Result<(&str, Vec<u8>), VaultError> {
    let (id, sealed) = stored.rsplit_once('.').ok_or(VaultError::Tampered)?;
    Ok((id, STANDARD_NO_PAD.decode(sealed).map_err(|_| VaultError::Tampered)?))
}

fn check_canary(ring: &KeyRing, id: &str, sealed: &[u8]) -> Result<(), VaultError> {
    let opened = decrypt(key(ring, id)?.wrapping(), sealed, &canary_context(id))?;
    if opened.as_slice() == CANARY { Ok(()) } else { Err(VaultError::Tampered) }
}

/// A key id out of a store is shown only as far as it looks like one.
fn printable(id: &str) -> String {
    let is_of_name = |letter: &char| letter.is_ascii_alphanumeric() || "-_./:".contains(*letter);
    match id.starts_with(transit::PREFIX) {
        true => id.chars().filter(is_of_name).take(128).collect(),
        false => id.chars().filter(char::is_ascii_hexdigit).take(8).collect(),
    }
}

impl From<VaultError> for Error {
    fn from(error: VaultError) -> Self {
        match &error {
            VaultError::Keeper(_) => {
                Error::new(Reason::Unavailable, error.to_string()).retry_after(ASK_AGAIN).caused_by(error)
            }
            VaultError::KeyMissing { .. } | VaultError::Tampered | VaultError::Unsealable => Error::internal(error),
        }
    }
}

#[cfg(test)]
mod tests;
