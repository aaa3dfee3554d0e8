//! Identifiers: a prefix that says what they are of, and 1 to 64 letters or
//! digits. Minted ones are a lower-case ULID; callers may not rely on that.

use std::fmt;
use std::str::FromStr;

/// Why a text is no identifier of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be `{prefix}` and 1 to 64 letters or digits")]
pub struct InvalidId {
    /// Prefix that was expected.
    pub prefix: &'static str,
}

fn is_well_formed(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|rest| (1..=64).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// What every identifier of this kind starts with.
            pub const PREFIX: &'static str = $prefix;

            /// A new one, unique without asking anybody.
            pub fn mint() -> Self {
                Self(format!("{}{}", $prefix, ulid::Ulid::new().to_string().to_lowercase()))
            }

            /// The whole text, prefix included.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if is_well_formed(text, $prefix) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId { prefix: $prefix })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

identifier!(
    /// A collection.
    CollectionId,
    "col_"
);
identifier!(
    /// A source connection.
    ConnectionId,
    "sc_"
);
identifier!(
    /// A sync.
    SyncId,
    "sync_"
);
identifier!(
    /// An API key; not its secret.
    KeyId,
    "key_"
);
identifier!(
    /// An entry of the audit log.
    AuditEventId,
    "aud_"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_identifier_parses_and_is_short() {
        let id = CollectionId::mint();
        assert_eq!(id.as_str().parse::<CollectionId>(), Ok(id.clone()));
        assert_eq!(id.as_str().len(), "col_".len() + 26);
    }

    #[test]
    fn other_prefixes_and_odd_characters_are_refused() {
        for text in ["", "col_", "sc_1", "col_a-b", "col_a/b", "COL_a", "col_\u{e9}"] {
            assert!(text.parse::<CollectionId>().is_err(), "{text}");
        }
        assert!("col_abc123".parse::<CollectionId>().is_ok());
        assert!(format!("col_{}", "a".repeat(64)).parse::<CollectionId>().is_ok());
        assert!(format!("col_{}", "a".repeat(65)).parse::<CollectionId>().is_err());
    }
}
