//! Credentials and config of a MongoDB connection.

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::connectors::numbers;
use crate::connectors::rows::RowMapping;
use crate::connectors::rows::names::Pattern;
use crate::connectors::rows::template::TemplateError;
use crate::connectors::{Field, FieldType};
use crate::egress::tls;
use crate::error::Violation;

const COLLECTION: &str = "must be `database.collection`; `*` stands for any characters";
/// Where users usually are.
const AUTH_DATABASE: &str = "admin";

/// Who logs in, and where.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    pub(super) host: String,
    #[serde(deserialize_with = "port")]
    pub(super) port: u16,
    pub(super) username: String,
    #[serde(deserialize_with = "secret")]
    pub(super) password: SecretString,
    auth_database: Option<String>,
}

impl Credentials {
    /// The database that the user is defined in.
    pub(super) fn auth_database(&self) -> &str {
        self.auth_database.as_deref().filter(|name| !name.is_empty()).unwrap_or(AUTH_DATABASE)
    }
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

/// Everything that is not a credential.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    pub(super) ssl_mode: SslMode,
    pub(super) root_certificate: Option<String>,
    pub(super) databases: Vec<String>,
    pub(super) collections: Vec<String>,
    pub(super) exclude_collections: Vec<String>,
    pub(super) exclude_fields: Vec<String>,
    #[serde(deserialize_with = "numbers::optional_whole")]
    pub(super) document_limit: Option<u64>,
    pub(super) title_template: Option<String>,
    pub(super) body_template: Option<String>,
    pub(super) url_template: Option<String>,
}

impl Config {
    /// How documents become documents of the index.
    pub(super) fn mapping(&self) -> Result<RowMapping, TemplateError> {
        let Self { title_template, body_template, url_template, .. } = self;
        RowMapping::compile(title_template.as_deref(), body_template.as_deref(), url_template.as_deref())
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    numbers::optional_whole(deserializer)?
        .and_then(|number| u16::try_from(number).ok())
        .filter(|port| *port != 0)
        .ok_or_else(|| serde::de::Error::custom("not a port"))
}

fn field(name: &'static str, kind: FieldType, title: &'static str, description: &'static str) -> Field {
    Field { name, kind, required: false, title, description, default: None }
}

/// Fields of `credentials`.
pub(super) fn auth_fields() -> Vec<Field> {
    let mut fields = vec![
        field("host", FieldType::String, "Host", "Host name or address of the server"),
        field("port", FieldType::Number, "Port", "TCP port, usually 27017"),
        field("username", FieldType::String, "Username", "User; the role `read` is enough"),
        field("password", FieldType::Password, "Password", "Password of the user"),
    ];
    fields.iter_mut().for_each(|field| field.required = true);
    let description = "Database that the user is defined in, usually admin";
    fields.push(field("authDatabase", FieldType::String, "Database of the user", description));
    fields
}

/// Fields of `config`.
pub(super) fn config_fields() -> Vec<Field> {
    vec![
        Field {
            default: Some(json!("auto")),
            ..field(
                "sslMode",
                FieldType::Enum(&["auto", "require", "verify-full", "disable"]),
                "TLS",
                "`auto`: verified TLS, but plain text to a loopback address; `require`: TLS with a verified chain; \
                 `verify-full`: the name too; `disable`: plain text",
            )
        },
        field("rootCertificate", FieldType::String, "Root certificate", "PEM text; replaces the public authorities"),
        field("databases", FieldType::StringList, "Databases", "Only these databases; `*` stands for any characters"),
        field("collections", FieldType::StringList, "Collections", "Only these, as `database.collection` with `*`"),
        field(
            "excludeCollections",
            FieldType::StringList,
            "Collections to leave out",
            "As `database.collection` with `*`",
        ),
        field(
            "excludeFields",
            FieldType::StringList,
            "Fields to leave out",
            "Fields of documents, as `database.collection.field` with `*`",
        ),
        field(
            "documentLimit",
            FieldType::Number,
            "Document limit",
            "Most documents of a collection, in the order of `_id`",
        ),
        field("titleTemplate", FieldType::String, "Title", "Template over the document's fields: `{{ name }}`"),
        field("bodyTemplate", FieldType::String, "Body", "Template of the text to search"),
        field(
            "urlTemplate",
            FieldType::String,
            "Address",
            "Template of the document's address: `https://example.com/{{ _id }}`",
        ),
    ]
}

/// What is wrong with a config that has the right shape.
pub(super) fn validate(config: &Config) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut wrong = |field: String, description: &str| {
        violations.push(Violation::new(format!("config.{field}"), "INVALID_VALUE", description));
    };
    if config.root_certificate.as_deref().is_some_and(|pem| tls::check_root(pem).is_err()) {
        wrong("rootCertificate".to_owned(), "must be PEM text with at least one certificate");
    }
    let field = "must be `database.collection.field`; `*` stands for any characters";
    let lists = [
        ("databases", &config.databases, 1, "must be the name of a database; `*` stands for any characters"),
        ("collections", &config.collections, 2, COLLECTION),
        ("excludeCollections", &config.exclude_collections, 2, COLLECTION),
        ("excludeFields", &config.exclude_fields, 3, field),
    ];
    for (name, patterns, parts, description) in lists {
        for (position, pattern) in patterns.iter().enumerate() {
            if Pattern::parse(pattern).is_none_or(|pattern| pattern.len() != parts) {
                wrong(format!("{name}[{position}]"), description);
            }
        }
    }
    if config.document_limit == Some(0) {
        wrong("documentLimit".to_owned(), "must be at least 1");
    }
    if let Err(error) = config.mapping() {
        wrong(error.setting.to_owned(), &error.reason);
    }
    violations
}

/// What of the config decides whom the credentials are shown to.
pub(super) fn binding(config: &Config) -> String {
    let mode = match config.ssl_mode {
        SslMode::Auto => "auto",
        SslMode::Require => "require",
        SslMode::VerifyFull => "verify-full",
        SslMode::Disable => "disable",
    };
    json!([mode, config.root_certificate]).to_string()
}
