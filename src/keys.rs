//! API keys: who holds one is the caller. The store has hashes only.

pub mod encryption;
mod known;
pub mod rotation;
mod used;

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tracing::warn;

use crate::access::{Caller, Collections, Role};
use crate::audit;
use crate::error::{Error, Reason};
use crate::ids::{CollectionId, KeyId};
use crate::paging::{Page, Pages, Wanted};
use crate::secrets::api_key;
use crate::store::audit::{OK, Resources};
use crate::store::keys::{ApiKey, CreateKeyError, KeyForAuth, NewKey};
use crate::store::{Store, Visible};
use known::Known;
use used::Used;

/// How long a key is believed without asking the store: revoked on another node,
/// it works at most so long.
const TRUST: Duration = Duration::from_secs(2);
const MINUTE_MS: i64 = 60_000;
/// Key id of the configured admin key, which has no row.
const ADMIN: &str = "key_admin";

/// A key to be made, as a caller wants it.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Display name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Its collections; none means all that the caller may use.
    pub collections: Vec<CollectionId>,
    /// When it ends by itself, in milliseconds.
    pub expires_at: Option<i64>,
}

/// A new key with its secret, which nobody can read again.
pub struct Created {
    /// The key.
    pub key: ApiKey,
    /// The secret.
    pub secret: SecretString,
}

/// The keys of this deployment.
pub struct Keys {
    store: Store,
    pages: Pages,
    admin: Option<[u8; 32]>,
    known: Known,
    used: Used,
}

impl Keys {
    /// Keys in the store, and beside them the admin key of the configuration.
    pub fn new(store: Store, pages: Pages, admin: Option<&SecretString>) -> Self {
        let admin = admin.map(|key| api_key::hash(key.expose_secret()));
        Self { used: Used::new(store.clone()), store, pages, admin, known: Known::new(TRUST) }
    }

    /// The caller with this token; none for whatever is wrong with it.
    pub async fn authenticate(&self, token: &str) -> Result<Option<Caller>, Error> {
        if let Some(admin) = &self.admin
            && api_key::equal(admin, &api_key::hash(token))
        {
            return Ok(Some(configured_admin()));
        }
        let Some(presented) = api_key::parse(token) else { return Ok(None) };
        match self.known.recall(&presented) {
            Some(caller) => Ok(Some(caller)),
            None => self.look_up(&presented).await,
        }
    }

    /// Makes an admin key if there is none at all: the first start on an empty
    /// store. Its secret is given here only.
    pub async fn bootstrap(&self) -> Result<Option<SecretString>, Error> {
        if self.admin.is_some() || self.store.any_admin_key().await? {
            return Ok(None);
        }
        let draft = Draft {
            name: "Admin key of the first start".to_owned(),
            role: Role::Admin,
            collections: Vec::new(),
            expires_at: None,
        };
        let command = audit::Command::begin(&self.store, "serve: first admin key", Resources::default()).await?;
        let Created { key, secret } = self.create(&configured_admin(), draft).await?;
        command.end(&self.store, OK, &Resources { key: Some(key.id), ..Resources::default() }).await?;
        Ok(Some(secret))
    }

    /// Makes a key that may do no more than the caller.
    pub async fn create(&self, caller: &Caller, draft: Draft) -> Result<Created, Error> {
        let name = draft.name.trim();
        if name.is_empty() {
            return Err(Error::invalid("name", "REQUIRED", "must not be blank"));
        }
        caller.require(draft.role)?;
        let collections = granted(caller, draft.collections)?;
        let minted = api_key::mint();
        let (all_collections, collections) = match collections {
            Collections::All => (true, Vec::new()),
            Collections::Only(only) => (false, only.into_iter().collect()),
        };
        let new = NewKey {
            id: minted.id,
            name: name.to_owned(),
            role: draft.role.as_str().to_owned(),
            all_collections,
            collections,
            expires_at: draft.expires_at,
            hash: minted.hash,
        };
        let key = self.store.insert_key(&new).await.map_err(|error| match error {
            CreateKeyError::NoCollection => {
                Error::invalid("collection_ids", "INVALID_VALUE", "names a collection that does not exist")
            }
            CreateKeyError::Store(error) => error.into(),
        })?;
        Ok(Created { key, secret: minted.token })
    }

    /// One key, if the caller may see it.
    pub async fn get(&self, caller: &Caller, id: &str) -> Result<ApiKey, Error> {
        let unknown = || Error::not_found("api_key", id);
        let parsed: KeyId = id.parse().map_err(|_| unknown())?;
        self.store.key(&parsed).await?.filter(|key| sees(caller, key)).ok_or_else(unknown)
    }

    /// Keys that the caller may see, newest first.
    pub async fn list(&self, caller: &Caller, wanted: Wanted<'_>) -> Result<Page<ApiKey>, Error> {
        const LIST: &str = "api_keys";
        let size = wanted.size(50, 1000);
        let visible = Visible::from(caller);
        let mut after: Option<(i64, String)> = self.pages.open(LIST, &[], wanted.token)?;
        let mut found = Vec::new();
        loop {
            let from = match &after {
                Some((created_at, id)) => Some((*created_at, parse_position(id)?)),
                None => None,
            };
            let fetched = self.store.keys(&visible, from, size as u64 + 1).await?;
            let exhausted = fetched.len() <= size;
            after = fetched.last().map(position);
            found.extend(fetched.into_iter().filter(|key| sees(caller, key)));
            if exhausted || found.len() > size {
                return self.pages.cut(LIST, &[], found, size, position);
            }
        }
    }

    /// Makes a key useless: here at once, on other nodes within [`TRUST`].
    pub async fn revoke(&self, caller: &Caller, id: &str) -> Result<ApiKey, Error> {
        let key = self.get(caller, id).await?;
        let revoked = self.store.revoke_key(&key.id).await?;
        self.known.forget(&key.id);
        revoked.ok_or_else(|| Error::not_found("api_key", id))
    }

    /// Forgets what it knows of all keys, after a change to their collections.
    pub fn forget(&self) {
        self.known.clear();
    }

    /// Waits for what is still being noted.
    pub async fn close(&self) {
        self.used.close().await;
    }

    async fn look_up(&self, presented: &api_key::Presented) -> Result<Option<Caller>, Error> {
        let asked = self.known.ask();
        let Some(KeyForAuth { key, hash, now }) = self.store.key_for_auth(&presented.id).await? else {
            return Ok(None);
        };
        if !api_key::equal(&hash, &presented.hash) || key.revoked_at.is_some() {
            return Ok(None);
        }
        let Some(trust) = trust(&key, now) else { return Ok(None) };
        let Some(caller) = caller(&key) else {
            warn!(key = key.id.as_str(), "key has a role that this release does not know");
            return Ok(None);
        };
        self.known.remember(asked, hash, caller.clone(), trust);
        // To the minute is enough; most calls of a busy key have nothing to note.
        if key.last_used_at.is_none_or(|last| now - last >= MINUTE_MS) {
            self.used.note(key.id);
        }
        Ok(Some(caller))
    }
}

fn configured_admin() -> Caller {
    Caller {
        key: ADMIN.parse().expect("it is well-formed"),
        subject: None,
        role: Role::Admin,
        collections: Collections::All,
    }
}

/// How long a key may be believed; none when it has ended.
fn trust(key: &ApiKey, now: i64) -> Option<Duration> {
    let Some(expires_at) = key.expires_at else { return Some(TRUST) };
    let left = u64::try_from(expires_at - now).ok().filter(|left| *left > 0)?;
    Some(TRUST.min(Duration::from_millis(left)))
}

fn caller(key: &ApiKey) -> Option<Caller> {
    Some(Caller { key: key.id.clone(), subject: None, role: key.role.parse().ok()?, collections: collections(key) })
}

fn collections(key: &ApiKey) -> Collections {
    if key.all_collections { Collections::All } else { Collections::Only(key.collections.iter().cloned().collect()) }
}

/// The collections of a new key: those asked for, or all of the caller's.
fn granted(caller: &Caller, wanted: Vec<CollectionId>) -> Result<Collections, Error> {
    if !wanted.is_empty() {
        for collection in &wanted {
            caller.may(collection)?;
        }
        return Ok(Collections::Only(wanted.into_iter().collect()));
    }
    match &caller.collections {
        Collections::Only(only) if only.is_empty() => {
            Err(Error::new(Reason::Forbidden, "this key has no collection left to make keys for"))
        }
        all_of_them => Ok(all_of_them.clone()),
    }
}

/// A caller sees keys that may do no more than its own.
fn sees(caller: &Caller, key: &ApiKey) -> bool {
    let within = key.role.parse::<Role>().is_ok_and(|role| role <= caller.role);
    within && caller.collections.include(&collections(key))
}

impl From<&Caller> for Visible {
    fn from(caller: &Caller) -> Self {
        match caller.visible() {
            Collections::All => Visible::All,
            Collections::Only(only) => Visible::Only(only.iter().cloned().collect()),
        }
    }
}

fn position(key: &ApiKey) -> (i64, String) {
    (key.created_at, key.id.to_string())
}

fn parse_position(id: &str) -> Result<KeyId, Error> {
    id.parse().map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(role: &str, all_collections: bool, collections: &[&CollectionId]) -> ApiKey {
        ApiKey {
            id: KeyId::mint(),
            name: "key".to_owned(),
            role: role.to_owned(),
            all_collections,
            collections: collections.iter().map(|id| (*id).clone()).collect(),
            created_at: 0,
            expires_at: None,
            last_used_at: None,
            revoked_at: None,
        }
    }

    #[test]
    fn a_key_is_believed_for_two_seconds_and_never_past_its_end() {
        let mut key = key("viewer", true, &[]);
        assert_eq!(trust(&key, 1_000), Some(TRUST));
        key.expires_at = Some(1_500);
        assert_eq!(trust(&key, 1_000), Some(Duration::from_millis(500)));
        assert_eq!(trust(&key, 1_500), None);
        assert_eq!(trust(&key, 9_000), None);
    }

    #[test]
    fn nobody_makes_a_key_for_more_than_they_have() {
        let (mine, other) = (CollectionId::mint(), CollectionId::mint());
        let only = |ids: Vec<CollectionId>| Caller {
            key: KeyId::mint(),
            subject: None,
            role: Role::Owner,
            collections: Collections::Only(ids.into_iter().collect()),
        };
        let owner = only(vec![mine.clone()]);
        assert_eq!(granted(&owner, Vec::new()).expect("has one"), owner.collections);
        assert_eq!(granted(&owner, vec![mine]).expect("is its own"), owner.collections);
        assert_eq!(granted(&owner, vec![other]).expect_err("is not its own").reason(), Reason::Forbidden);
        assert!(granted(&only(Vec::new()), Vec::new()).is_err());
        assert_eq!(granted(&configured_admin(), Vec::new()).expect("has all"), Collections::All);
    }

    #[test]
    fn an_owner_sees_no_key_above_or_beside_its_own() {
        let (mine, other) = (CollectionId::mint(), CollectionId::mint());
        let owner = Caller {
            key: KeyId::mint(),
            subject: None,
            role: Role::Owner,
            collections: Collections::Only([mine.clone()].into()),
        };
        assert!(sees(&owner, &key("owner", false, &[&mine])));
        assert!(!sees(&owner, &key("viewer", false, &[&mine, &other])));
        assert!(!sees(&owner, &key("viewer", true, &[])));
        assert!(!sees(&owner, &key("admin", false, &[&mine])));
        assert!(sees(&configured_admin(), &key("admin", true, &[])));
    }
}
