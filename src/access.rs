//! Who is calling and what they may do. A right on a collection is proved by a
//! [`CollectionAccess`], which only [`Caller::may`] can make.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Reason};
use crate::ids::{CollectionId, KeyId};

/// What a key may do. Each role includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads and searches.
    Viewer,
    /// Also tests, discovers, runs and cancels.
    Runner,
    /// Also creates, changes and deletes connections.
    Editor,
    /// Also changes collections, and makes keys for those that it has.
    Owner,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role, least first.
    pub const ALL: [Role; 5] = [Role::Viewer, Role::Runner, Role::Editor, Role::Owner, Role::Admin];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Runner => "runner",
            Role::Editor => "editor",
            Role::Owner => "owner",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Not the name of a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be one of viewer, runner, editor, owner, admin")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

/// Collections that a key is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Collections {
    /// Every one, also those made later.
    All,
    /// These; perhaps none, when the last one was deleted.
    Only(BTreeSet<CollectionId>),
}

impl Collections {
    /// True when the collection is among them.
    pub fn contains(&self, collection: &CollectionId) -> bool {
        match self {
            Collections::All => true,
            Collections::Only(only) => only.contains(collection),
        }
    }

    /// True when everything of `other` is among them.
    pub fn include(&self, other: &Collections) -> bool {
        match (self, other) {
            (Collections::All, _) => true,
            (Collections::Only(_), Collections::All) => false,
            (Collections::Only(mine), Collections::Only(theirs)) => theirs.is_subset(mine),
        }
    }
}

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Key that was given; of a token, what stands for its subject where callers
    /// are told apart.
    pub key: KeyId,
    /// Subject of the token, if it was one.
    pub subject: Option<String>,
    /// Its role.
    pub role: Role,
    /// Its collections.
    pub collections: Collections,
}

impl Caller {
    /// Fails when the caller's role is less than `role`.
    pub fn require(&self, role: Role) -> Result<(), Error> {
        if self.role >= role {
            return Ok(());
        }
        Err(Error::new(Reason::Forbidden, format!("this needs a key with the role {role}"))
            .with("permission", role.as_str()))
    }

    /// Proof that the caller's key is for the collection.
    pub fn may(&self, collection: &CollectionId) -> Result<CollectionAccess, Error> {
        if self.collections.contains(collection) {
            return Ok(CollectionAccess { collection: collection.clone() });
        }
        Err(Error::new(Reason::Forbidden, format!("this key is not for collection `{collection}`"))
            .with("collectionId", collection.as_str()))
    }

    /// Fails when the key is not for every collection, also future ones.
    pub fn require_all_collections(&self) -> Result<(), Error> {
        match self.collections {
            Collections::All => Ok(()),
            Collections::Only(_) => Err(Error::new(Reason::Forbidden, "this needs a key for all collections")
                .with("permission", "all_collections")),
        }
    }

    /// The collections that lists show.
    pub fn visible(&self) -> &Collections {
        &self.collections
    }
}

/// Proof that somebody may use a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionAccess {
    collection: CollectionId,
}

impl CollectionAccess {
    /// The collection.
    pub fn collection(&self) -> &CollectionId {
        &self.collection
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(role: Role, collections: Collections) -> Caller {
        Caller { key: KeyId::mint(), subject: None, role, collections }
    }

    #[test]
    fn each_role_includes_the_ones_before_it() {
        for (position, role) in Role::ALL.into_iter().enumerate() {
            assert_eq!(role.as_str().parse::<Role>(), Ok(role));
            for (wanted, needed) in Role::ALL.into_iter().enumerate() {
                assert_eq!(caller(role, Collections::All).require(needed).is_ok(), position >= wanted);
            }
        }
        assert!("superuser".parse::<Role>().is_err());
    }

    #[test]
    fn a_key_for_some_collections_may_use_only_those() {
        let (mine, other) = (CollectionId::mint(), CollectionId::mint());
        let caller = caller(Role::Owner, Collections::Only([mine.clone()].into()));
        assert_eq!(caller.may(&mine).expect("is listed").collection(), &mine);
        let refused = caller.may(&other).expect_err("is not listed");
        assert_eq!(refused.reason(), Reason::Forbidden);
        assert!(refused.metadata().contains(&("collectionId", other.to_string())));
        assert!(caller.require_all_collections().is_err());
    }

    #[test]
    fn all_includes_some_and_some_never_all() {
        let some = Collections::Only([CollectionId::mint()].into());
        assert!(Collections::All.include(&some));
        assert!(!some.include(&Collections::All));
        assert!(some.include(&Collections::Only(BTreeSet::new())));
    }
}
