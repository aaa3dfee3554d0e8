//! What the credentials of several sources have in common.

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::{Field, FieldType, numbers};
use crate::egress::Resolved;
use crate::egress::tls::Verification;

/// Reads a secret. For `#[serde(deserialize_with = "...")]`, as the others.
pub fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// Reads a secret that need not be there; an empty one is none.
pub fn optional_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()).map(SecretString::from))
}

/// Reads a TCP port, 1 to 65,535.
pub fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    numbers::optional_whole(deserializer)?
        .and_then(|number| u16::try_from(number).ok())
        .filter(|port| *port != 0)
        .ok_or_else(|| serde::de::Error::custom("not a port"))
}

/// How much of TLS is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// As `verify-full`, except that a server on loopback is spoken to in plain
    /// text.
    #[default]
    Auto,
    /// TLS with a verified chain; the name is not looked at.
    Require,
    /// TLS with a verified chain and name.
    VerifyFull,
    /// Plain text, wherever the server is.
    Disable,
}

impl SslMode {
    /// The field of a config.
    pub fn field() -> Field {
        Field {
            default: Some(Self::default().name().into()),
            ..Field::optional(
                "sslMode",
                FieldType::Enum(&["auto", "require", "verify-full", "disable"]),
                "TLS",
                "`auto`: verified TLS, but plain text to a loopback address; `require`: TLS with a verified chain; \
                 `verify-full`: the name too; `disable`: plain text",
            )
        }
    }

    /// What of the certificate is verified; none for plain text.
    pub fn verification(self, resolved: &Resolved) -> Option<Verification> {
        match self {
            Self::Auto if resolved.is_loopback() => None,
            Self::Auto | Self::VerifyFull => Some(Verification::Full),
            Self::Require => Some(Verification::Chain),
            Self::Disable => None,
        }
    }

    /// As a config has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Require => "require",
            Self::VerifyFull => "verify-full",
            Self::Disable => "disable",
        }
    }

    /// Why the text is plain, where it is.
    pub fn reason_for_plain_text(self) -> &'static str {
        match self {
            Self::Disable => "plain text, since `sslMode` is `disable`",
            Self::Auto | Self::Require | Self::VerifyFull => "plain text, since the server is on this machine",
        }
    }
}
