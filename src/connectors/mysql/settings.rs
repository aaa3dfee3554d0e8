//! Credentials and config of a MySQL connection.

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use crate::connectors::logins::{self, SslMode};
use crate::connectors::numbers;
use crate::connectors::rows::RowMapping;
use crate::connectors::rows::cursors;
use crate::connectors::rows::names::Pattern;
use crate::connectors::rows::template::TemplateError;
use crate::connectors::{Field, FieldType};
use crate::egress::tls;
use crate::error::Violation;

const TABLE: &str = "must be `database.table`; `*` stands for any characters";
const COLUMN: &str = "must be `database.table.column`; `*` stands for any characters";

/// Who logs in, and where.
#[derive(Deserialize)]
pub struct Credentials {
    pub(super) host: String,
    #[serde(deserialize_with = "logins::port")]
    pub(super) port: u16,
    pub(super) username: String,
    #[serde(deserialize_with = "logins::secret")]
    pub(super) password: SecretString,
}

/// Everything that is not a credential.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    pub(super) ssl_mode: SslMode,
    pub(super) root_certificate: Option<String>,
    pub(super) databases: Vec<String>,
    pub(super) tables: Vec<String>,
    pub(super) exclude_tables: Vec<String>,
    pub(super) exclude_columns: Vec<String>,
    pub(super) cursor_columns: Vec<String>,
    #[serde(deserialize_with = "numbers::optional_whole")]
    pub(super) cursor_overlap_seconds: Option<u64>,
    #[serde(deserialize_with = "numbers::optional_whole")]
    pub(super) reconcile_hours: Option<u64>,
    #[serde(deserialize_with = "numbers::optional_whole")]
    pub(super) row_limit: Option<u64>,
    pub(super) title_template: Option<String>,
    pub(super) body_template: Option<String>,
    pub(super) url_template: Option<String>,
    pub(super) table_options: Vec<TableOptions>,
}

/// Settings for the tables that a pattern names.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TableOptions {
    pub(super) table: String,
    pub(super) title_template: Option<String>,
    pub(super) body_template: Option<String>,
    pub(super) url_template: Option<String>,
    #[serde(deserialize_with = "numbers::optional_whole")]
    pub(super) row_limit: Option<u64>,
}

impl TableOptions {
    /// How rows become documents.
    pub(super) fn mapping(&self) -> Result<RowMapping, TemplateError> {
        let Self { table: _, title_template, body_template, url_template, row_limit: _ } = self;
        RowMapping::compile(title_template.as_deref(), body_template.as_deref(), url_template.as_deref())
    }
}

/// Fields of `credentials`.
pub(super) fn auth_fields() -> Vec<Field> {
    let mut fields = vec![
        Field::optional("host", FieldType::String, "Host", "Host name or address of the server"),
        Field::optional("port", FieldType::Number, "Port", "TCP port, usually 3306"),
        Field::optional("username", FieldType::String, "Username", "Account; it needs the right to read only"),
        Field::optional("password", FieldType::Password, "Password", "Password of the account"),
    ];
    fields.iter_mut().for_each(|field| field.required = true);
    fields
}

/// Fields of `config`.
pub(super) fn config_fields() -> Vec<Field> {
    let mut own = vec![Field::optional("table", FieldType::String, "Table", "Pattern `database.table`")];
    own[0].required = true;
    own.extend(templates());
    own.push(row_limit());
    let mut fields = vec![
        SslMode::field(),
        Field::optional(
            "rootCertificate",
            FieldType::String,
            "Root certificate",
            "PEM text; replaces the public authorities",
        ),
        Field::optional(
            "databases",
            FieldType::StringList,
            "Databases",
            "Only these databases; `*` stands for any characters",
        ),
        Field::optional(
            "tables",
            FieldType::StringList,
            "Tables",
            "Only these tables and views, as `database.table` with `*`",
        ),
        Field::optional("excludeTables", FieldType::StringList, "Tables to leave out", "As `database.table` with `*`"),
        Field::optional(
            "excludeColumns",
            FieldType::StringList,
            "Columns to leave out",
            "As `database.table.column` with `*`",
        ),
        row_limit(),
    ];
    fields.extend(cursors::fields(
        "As `database.table.column` with `*`. Each change of a row must set it to the time or to a higher number; then \
         a sync reads only what changed",
    ));
    fields.extend(templates());
    let description = "The first whose `table` fits counts; what it leaves out is taken from above";
    fields.push(Field::optional("tableOptions", FieldType::ObjectList(own), "Settings a table", description));
    fields
}

fn row_limit() -> Field {
    Field::optional("rowLimit", FieldType::Number, "Row limit", "Most rows of a table, in the order of its key")
}

fn templates() -> [Field; 3] {
    [
        Field::optional("titleTemplate", FieldType::String, "Title", "Template over the row's columns: `{{ name }}`"),
        Field::optional("bodyTemplate", FieldType::String, "Body", "Template of the text to search"),
        Field::optional(
            "urlTemplate",
            FieldType::String,
            "Address",
            "Template of the row's address: `https://example.com/{{ id }}`",
        ),
    ]
}

/// What is wrong with a config that has the right shape.
pub(super) fn validate(config: &Config) -> Vec<Violation> {
    let mut violations = cursors::violations(config.cursor_overlap_seconds, config.reconcile_hours);
    let mut wrong = |field: String, description: &str| {
        violations.push(Violation::new(format!("config.{field}"), "INVALID_VALUE", description));
    };
    if config.root_certificate.as_deref().is_some_and(|pem| tls::check_root(pem).is_err()) {
        wrong("rootCertificate".to_owned(), "must be PEM text with at least one certificate");
    }
    let lists = [
        ("databases", &config.databases, 1, "must be the name of a database; `*` stands for any characters"),
        ("tables", &config.tables, 2, TABLE),
        ("excludeTables", &config.exclude_tables, 2, TABLE),
        ("excludeColumns", &config.exclude_columns, 3, COLUMN),
        ("cursorColumns", &config.cursor_columns, 3, COLUMN),
    ];
    for (name, patterns, parts, description) in lists {
        for (position, pattern) in patterns.iter().enumerate() {
            if !has_parts(pattern, parts) {
                wrong(format!("{name}[{position}]"), description);
            }
        }
    }
    let general = general_options(config);
    let own = config.table_options.iter().enumerate();
    let all = own.map(|(position, options)| (format!("tableOptions[{position}]."), options));
    for (prefix, options) in std::iter::once((String::new(), &general)).chain(all) {
        if let Err(error) = options.mapping() {
            wrong(format!("{prefix}{}", error.setting), &error.reason);
        }
        if options.row_limit == Some(0) {
            wrong(format!("{prefix}rowLimit"), "must be at least 1");
        }
        if !prefix.is_empty() && !has_parts(&options.table, 2) {
            wrong(format!("{prefix}table"), TABLE);
        }
    }
    violations
}

/// What is given for all tables.
pub(super) fn general_options(config: &Config) -> TableOptions {
    TableOptions {
        table: String::new(),
        title_template: config.title_template.clone(),
        body_template: config.body_template.clone(),
        url_template: config.url_template.clone(),
        row_limit: config.row_limit,
    }
}

fn has_parts(pattern: &str, parts: usize) -> bool {
    Pattern::parse(pattern).is_some_and(|pattern| pattern.depth() == parts)
}

/// What of the config decides whom the credentials are shown to.
pub(super) fn binding(config: &Config) -> String {
    json!([config.ssl_mode.name(), config.root_certificate]).to_string()
}
