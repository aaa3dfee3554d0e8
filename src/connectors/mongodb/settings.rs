//! Credentials and config of a MongoDB connection.

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use crate::connectors::logins::{self, SslMode};
use crate::connectors::numbers;
use crate::connectors::rows::RowMapping;
use crate::connectors::rows::names::Pattern;
use crate::connectors::rows::template::TemplateError;
use crate::connectors::{Field, FieldType};
use crate::egress::tls;
use crate::error::Violation;

const COLLECTION: &str = "must be `database.collection`; `*` stands for any characters";
/// Where users usually are.
const AUTH_SOURCE: &str = "admin";

/// Who logs in, and where.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    pub(super) host: String,
    #[serde(deserialize_with = "logins::port")]
    pub(super) port: u16,
    pub(super) username: String,
    #[serde(deserialize_with = "logins::secret")]
    pub(super) password: SecretString,
    auth_source: Option<String>,
}

impl Credentials {
    /// The database that the user is defined in.
    pub(super) fn auth_source(&self) -> &str {
        self.auth_source.as_deref().filter(|name| !name.is_empty()).unwrap_or(AUTH_SOURCE)
    }
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

/// Fields of `credentials`.
pub(super) fn auth_fields() -> Vec<Field> {
    vec![
        Field::required("host", FieldType::String, "Host", "Host name or address of one server"),
        Field::required("port", FieldType::Number, "Port", "TCP port, usually 27017"),
        Field::required("username", FieldType::String, "Username", "User; the role `read` is enough"),
        Field::required("password", FieldType::Password, "Password", "Password of the user"),
        Field::optional(
            "authSource",
            FieldType::String,
            "Database of the user",
            "Database that the user is defined in, usually admin",
        ),
    ]
}

/// Fields of `config`.
pub(super) fn config_fields() -> Vec<Field> {
    let list = |name, title, description| Field::optional(name, FieldType::StringList, title, description);
    let text = |name, title, description| Field::optional(name, FieldType::String, title, description);
    vec![
        SslMode::field(),
        text("rootCertificate", "Root certificate", "PEM text; replaces the public authorities"),
        list("databases", "Databases", "Only these databases; `*` stands for any characters"),
        list("collections", "Collections", "Only these collections and views, as `database.collection` with `*`"),
        list("excludeCollections", "Collections to leave out", "As `database.collection` with `*`"),
        list("excludeFields", "Fields to leave out", "Fields of documents, as `database.collection.field` with `*`"),
        Field::optional(
            "documentLimit",
            FieldType::Number,
            "Document limit",
            "Most documents of a collection, in the order of `_id`",
        ),
        text("titleTemplate", "Title", "Template over the document's fields: `{{ name }}`"),
        text("bodyTemplate", "Body", "Template of the text to search"),
        text("urlTemplate", "Address", "Template of the document's address: `https://example.com/{{ key }}`"),
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
            if Pattern::parse(pattern).is_none_or(|pattern| pattern.depth() != parts) {
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
    json!([config.ssl_mode.name(), config.root_certificate]).to_string()
}
