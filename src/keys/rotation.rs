//! The rotation of encryption keys: every data key is wrapped anew by the primary
//! key while calls go on.
//!
//! Each record says itself which key it needs, so a rotation that was killed goes
//! on by being started again. The canary moves last: until then a start without
//! the old key is refused, and after it no record needs that key.

use std::collections::BTreeSet;

use futures::StreamExt as _;

use crate::ids::ConnectionId;
use crate::secrets::{Binding, CREDENTIALS, Sealed, Vault, VaultError};
use crate::store::connections::SealedCredentials;
use crate::store::rewrap::Rewrapped;
use crate::store::{self, Store, StoreError};

use super::encryption::CANARY;

/// Records of one transaction: others wait no longer than it takes.
const AT_ONCE: u64 = 200;
/// Walks over all records: those that a server seals with an old key meanwhile are
/// found by the next.
const MOST_WALKS: usize = 5;
/// Calls to a keeper at once.
const KEEPER_CALLS: usize = 8;

/// How far a rotation is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records that are under the primary key by now.
    pub done: u64,
    /// Records to be brought there.
    pub total: u64,
}

/// A rotation that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Key that every record is under now.
    pub primary: String,
    /// Records that were wrapped anew.
    pub records: u64,
    /// Keys that no record needs any more.
    pub retired: Vec<String>,
}

/// Why a rotation is not done. What was wrapped anew stays so.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The store failed.
    #[error("the rotation has stopped; start it again to go on")]
    Store(#[source] StoreError),
    /// The keys are not those of this store.
    #[error("the encryption keys are not those of this store")]
    WrongKeys(#[source] VaultError),
    /// The keeper of the key does not do its part.
    #[error("the rotation has stopped; start it again to go on")]
    Keeper(#[source] VaultError),
    /// Some records do not open with the keys at hand.
    #[error(
        "the credentials of {} cannot be opened; add the key that they need, or replace or delete them",
        list(.records)
    )]
    Unopened {
        /// Whose, with the reason.
        records: Vec<(ConnectionId, VaultError)>,
    },
    /// Others go on to seal with another key.
    #[error(
        "{left} records came under another key meanwhile: a server still seals with it, or another rotation is \
         under way; have every server read the new key, then start again"
    )]
    Unsettled {
        /// How many.
        left: u64,
    },
}

fn list(records: &[(ConnectionId, VaultError)]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = records.iter().take(SHOWN).map(|(id, error)| format!("`{id}` ({error})")).collect();
    match records.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Brings every record under the primary key, then the canary.
pub async fn rotate(store: &Store, vault: &Vault, mut told: impl FnMut(Tally)) -> Result<Rotated, RotationError> {
    let canary = store.get_setting(CANARY).await.map_err(RotationError::Store)?;
    if let Some(canary) = &canary {
        vault.check_canary(canary).await.map_err(wrong)?;
    }
    let primary = vault.primary().await.map_err(wrong)?;
    let before = beside(store, &primary).await?;
    let mut tally = Tally { done: 0, total: before.iter().map(|(_, records)| records).sum() };
    told(tally);
    let mut left = tally.total;
    for _ in 0..MOST_WALKS {
        let unopened = walk(store, vault, &primary, &mut tally, &mut told).await?;
        if !unopened.is_empty() {
            return Err(RotationError::Unopened { records: unopened });
        }
        left = beside(store, &primary).await?.iter().map(|(_, records)| records).sum();
        if left == 0 {
            break;
        }
    }
    if left > 0 {
        return Err(RotationError::Unsettled { left });
    }
    if let Some(old) = canary {
        move_canary(store, vault, &old).await?;
    }
    store.forget_overwritten().await.map_err(RotationError::Store)?;
    let mut retired: BTreeSet<String> = before.into_iter().map(|(key, _)| key).collect();
    let ring = vault.key_ids();
    // Where a keeper seals, the ring is there for page tokens.
    if ring.contains(&primary) {
        retired.extend(ring.into_iter().filter(|key| *key != primary));
    }
    Ok(Rotated { primary, records: tally.done, retired: retired.into_iter().collect() })
}

/// Another rotation may have moved it already; then that one is under the same
/// key, since no record was under another.
async fn move_canary(store: &Store, vault: &Vault, old: &str) -> Result<(), RotationError> {
    let new = vault.canary().await.map_err(wrong)?;
    if store.replace_setting(CANARY, old, &new).await.map_err(RotationError::Store)? {
        return Ok(());
    }
    let stored = store.get_setting(CANARY).await.map_err(RotationError::Store)?.unwrap_or_default();
    vault.check_canary(&stored).await.map_err(wrong)
}

/// How many records are under which other keys.
async fn beside(store: &Store, primary: &str) -> Result<Vec<(String, u64)>, RotationError> {
    let mut groups = store.credentials_by_key().await.map_err(RotationError::Store)?;
    groups.retain(|(key, _)| key != primary);
    Ok(groups)
}

fn wrong(error: VaultError) -> RotationError {
    match error {
        VaultError::Keeper(_) => RotationError::Keeper(error),
        error => RotationError::WrongKeys(error),
    }
}

/// One walk; answers the records that did not open.
async fn walk(
    store: &Store,
    vault: &Vault,
    primary: &str,
    tally: &mut Tally,
    told: &mut impl FnMut(Tally),
) -> Result<Vec<(ConnectionId, VaultError)>, RotationError> {
    let mut unopened = Vec::new();
    let mut after = None;
    loop {
        let found = store.credentials_beside(primary, after.as_ref(), AT_ONCE).await.map_err(RotationError::Store)?;
        let Some((last, _)) = found.last() else { return Ok(unopened) };
        after = Some(last.clone());
        let mut rewrapped = Vec::with_capacity(found.len());
        let outcomes = found.into_iter().map(async |(connection, credentials)| {
            let outcome = rewrap(vault, &connection, credentials).await;
            (connection, outcome)
        });
        // A keeper is asked for several at once.
        let mut outcomes = futures::stream::iter(outcomes).buffered(KEEPER_CALLS);
        while let Some((connection, outcome)) = outcomes.next().await {
            match outcome {
                Ok(new) => rewrapped.push(new),
                Err(error @ VaultError::Keeper(_)) => return Err(RotationError::Keeper(error)),
                Err(error) => unopened.push((connection, error)),
            }
        }
        tally.done += store.rewrap_credentials(&rewrapped).await.map_err(RotationError::Store)?;
        tally.total = tally.total.max(tally.done);
        told(*tally);
    }
}

async fn rewrap(
    vault: &Vault,
    connection: &ConnectionId,
    credentials: SealedCredentials,
) -> Result<Rewrapped, VaultError> {
    let SealedCredentials { sealed, credentials_version, collection } = credentials;
    let binding = Binding { purpose: CREDENTIALS, collection: &collection, connection, credentials_version };
    let store::connections::Sealed { key_id: old_key_id, wrapped_key, ciphertext } = sealed;
    let sealed = Sealed { key_id: old_key_id.clone(), wrapped_key, ciphertext };
    let Sealed { key_id, wrapped_key, ciphertext } = vault.rewrap(&binding, &sealed).await?;
    let sealed = store::connections::Sealed { key_id, wrapped_key, ciphertext };
    Ok(Rewrapped { connection: connection.clone(), credentials_version, old_key_id, sealed })
}
