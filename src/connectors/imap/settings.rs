//! Credentials and config of a mail account.

use chrono::NaiveDate;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use crate::connectors::logins;
use crate::connectors::numbers;
use crate::connectors::rows::patterns::Patterns;
use crate::connectors::rows::template::Template;
use crate::connectors::{Field, FieldType};
use crate::egress::tls;
use crate::error::Violation;

const DEFAULT_SIZE: u64 = 10 * 1024 * 1024;
const SMALLEST_SIZE: u64 = 1024;
/// A message is held in memory while it is decoded.
const LARGEST_SIZE: u64 = 64 * 1024 * 1024;

/// Where the server is, and who reads.
#[derive(Deserialize)]
pub struct Credentials {
    pub(super) host: String,
    #[serde(deserialize_with = "logins::port")]
    pub(super) port: u16,
    pub(super) username: String,
    #[serde(deserialize_with = "logins::secret")]
    pub(super) password: SecretString,
}

/// How the connection is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Security {
    /// TLS from the first byte.
    #[default]
    Tls,
    /// Plain text until the server agrees to TLS; nothing secret before.
    StartTls,
    /// Plain text.
    Plain,
}

/// What the password is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Authentication {
    /// A password.
    #[default]
    Password,
    /// An OAuth 2 access token.
    Xoauth2,
}

/// Everything that is not a credential.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    pub(super) security: Security,
    pub(super) root_certificate: Option<String>,
    pub(super) authentication: Authentication,
    pub(super) folders: Vec<String>,
    pub(super) exclude_folders: Vec<String>,
    pub(super) since: Option<String>,
    #[serde(deserialize_with = "numbers::optional_whole")]
    pub(super) max_message_size: Option<u64>,
    pub(super) attachments: Option<bool>,
    pub(super) url_template: Option<String>,
}

impl Config {
    /// True when the patterns take the mailbox.
    pub(super) fn selects(&self, path: &str) -> bool {
        (self.folders.is_empty() || Patterns::new(&self.folders).matches(path))
            && !Patterns::new(&self.exclude_folders).matches(path)
    }

    /// Only messages that came on this day or later.
    pub(super) fn since(&self) -> Option<NaiveDate> {
        self.since.as_deref().and_then(date)
    }

    /// Bytes above which only the header of a message is taken.
    pub(super) fn size_limit(&self) -> u64 {
        self.max_message_size.unwrap_or(DEFAULT_SIZE)
    }

    /// The text of attachments is taken.
    pub(super) fn takes_attachments(&self) -> bool {
        self.attachments.unwrap_or(true)
    }
}

fn date(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
}

/// Fields of `credentials`.
pub(super) fn auth_fields() -> Vec<Field> {
    let field = Field::required;
    vec![
        field("host", FieldType::String, "Host", "Host name or address of the IMAP server"),
        field("port", FieldType::Number, "Port", "TCP port: usually 993 for TLS, 143 for the others"),
        field("username", FieldType::String, "Username", "Login name, often the mail address"),
        field(
            "password",
            FieldType::Password,
            "Password",
            "Password or app password; with `authentication` `xoauth2` an OAuth 2 access token",
        ),
    ]
}

/// Fields of `config`.
pub(super) fn config_fields() -> Vec<Field> {
    let field = Field::optional;
    vec![
        Field {
            default: Some(json!("tls")),
            ..field(
                "security",
                FieldType::Enum(&["tls", "startTls", "plain"]),
                "Security",
                "`tls`: TLS from the beginning; `startTls`: TLS before the login; `plain`: no protection, for a \
                 server on the same machine",
            )
        },
        field("rootCertificate", FieldType::String, "Root certificate", "PEM text; replaces the public authorities"),
        Field {
            default: Some(json!("password")),
            ..field(
                "authentication",
                FieldType::Enum(&["password", "xoauth2"]),
                "Authentication",
                "`password`, or `xoauth2` where the password is an OAuth 2 access token",
            )
        },
        field("folders", FieldType::StringList, "Folders", "Only these; `*` stands for any characters"),
        field("excludeFolders", FieldType::StringList, "Folders to leave out", "`*` stands for any characters"),
        field("since", FieldType::String, "Since", "Only messages that came on this day or later, as `2024-12-31`"),
        Field {
            default: Some(DEFAULT_SIZE.into()),
            ..field(
                "maxMessageSize",
                FieldType::Number,
                "Largest message",
                "Bytes above which only the header of a message is taken: 1024 to 67108864",
            )
        },
        Field {
            default: Some(json!(true)),
            ..field("attachments", FieldType::Boolean, "Attachments", "Whether the text of attachments is taken")
        },
        field(
            "urlTemplate",
            FieldType::String,
            "Address",
            "Template of a message's address, such as `https://mail.example.org/{{ mailbox }}/{{ uid }}`",
        ),
    ]
}

/// What is wrong with a config that has the right shape.
pub(super) fn validate(config: &Config) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut wrong = |field: String, description: String| {
        violations.push(Violation::new(format!("config.{field}"), "INVALID_VALUE", description));
    };
    if config.root_certificate.as_deref().is_some_and(|pem| tls::check_root(pem).is_err()) {
        wrong("rootCertificate".to_owned(), "must be PEM text with at least one certificate".to_owned());
    }
    for (name, patterns) in [("folders", &config.folders), ("excludeFolders", &config.exclude_folders)] {
        for (position, _) in patterns.iter().enumerate().filter(|(_, pattern)| pattern.is_empty()) {
            wrong(format!("{name}[{position}]"), "must be the name of a folder".to_owned());
        }
    }
    if config.since.as_deref().is_some_and(|since| date(since).is_none()) {
        wrong("since".to_owned(), "must be a date such as `2024-12-31`".to_owned());
    }
    if !(SMALLEST_SIZE..=LARGEST_SIZE).contains(&config.size_limit()) {
        wrong("maxMessageSize".to_owned(), format!("must be {SMALLEST_SIZE} to {LARGEST_SIZE}"));
    }
    if let Err(error) = Template::compile_optional("urlTemplate", config.url_template.as_deref()) {
        wrong("urlTemplate".to_owned(), error.reason);
    }
    violations
}

/// What of the config decides whom the credentials are shown to.
pub(super) fn binding(config: &Config) -> String {
    let security = match config.security {
        Security::Tls => "tls",
        Security::StartTls => "startTls",
        Security::Plain => "plain",
    };
    json!([security, config.root_certificate]).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(value: serde_json::Value) -> Config {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn folders_are_chosen_by_patterns() {
        let config = config(json!({"folders": ["INBOX", "Archive/*"], "excludeFolders": ["*/Spam"]}));
        assert!(config.selects("INBOX") && config.selects("Archive/2024"));
        assert!(!config.selects("Sent") && !config.selects("Archive/Spam"));
        assert!(Config::default().selects("anything"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = config(json!({
            "rootCertificate": "x", "folders": [""], "since": "yesterday", "maxMessageSize": 1, "urlTemplate": "{{",
        }));
        let fields: Vec<String> = validate(&wrong).into_iter().map(|violation| violation.field).collect();
        let expected = ["rootCertificate", "folders[0]", "since", "maxMessageSize", "urlTemplate"];
        assert_eq!(fields, expected.map(|field| format!("config.{field}")));
        assert!(validate(&config(json!({"since": "2024-12-31"}))).is_empty());
    }
}
