//! Credentials and config of a PostgreSQL connection.

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::templates;
use crate::connectors::logins::{self, SslMode};
use crate::connectors::numbers;
use crate::connectors::rows::cursors;
use crate::connectors::rows::names::Pattern;
use crate::connectors::{Field, FieldType};
use crate::egress::tls;
use crate::error::Violation;

/// Tables that are read at once, unless the config says otherwise: reading is
/// the small part, and each takes a connection of the server.
const PARALLEL_TABLES: usize = 2;
const MOST_PARALLEL_TABLES: u64 = 8;
/// Megabytes of its log that a server may keep for us, unless the config says
/// otherwise.
const RETAINED_WAL_MB: u64 = 4096;
const COLUMN: &str = "must be `schema.table.column`; `*` stands for any characters";

/// The five documented fields.
#[derive(Deserialize)]
pub struct Credentials {
    pub(super) host: String,
    #[serde(deserialize_with = "logins::port")]
    pub(super) port: u16,
    pub(super) database: String,
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
    pub(super) schemas: Vec<String>,
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
    #[serde(deserialize_with = "numbers::optional_whole")]
    pub(super) parallel_tables: Option<u64>,
    #[serde(deserialize_with = "numbers::optional_whole")]
    pub(super) max_retained_wal_mb: Option<u64>,
    pub(super) title_template: Option<String>,
    pub(super) body_template: Option<String>,
    pub(super) url_template: Option<String>,
    pub(super) table_options: Vec<TableOptions>,
}

impl Config {
    /// Tables that are read at once.
    pub(super) fn parallel_tables(&self) -> usize {
        self.parallel_tables.and_then(|tables| usize::try_from(tables).ok()).unwrap_or(PARALLEL_TABLES)
    }

    /// Bytes of its log that the server may keep for a follower.
    pub(super) fn max_retained_wal(&self) -> u64 {
        self.max_retained_wal_mb.unwrap_or(RETAINED_WAL_MB).saturating_mul(1 << 20)
    }
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

/// Fields of `credentials`.
pub(super) fn auth_fields() -> Vec<Field> {
    let field = Field::required;
    vec![
        field("host", FieldType::String, "Host", "Host name or address of the server"),
        field("port", FieldType::Number, "Port", "TCP port, usually 5432"),
        field("database", FieldType::String, "Database", "Name of the database"),
        field("username", FieldType::String, "Username", "Login role; it needs the right to read only"),
        field("password", FieldType::Password, "Password", "Password of the role"),
    ]
}

/// Fields of `config`.
pub(super) fn config_fields() -> Vec<Field> {
    let field = Field::optional;
    let templates = || {
        vec![
            field("titleTemplate", FieldType::String, "Title", "Template over the row's columns: `{{ name }}`"),
            field("bodyTemplate", FieldType::String, "Body", "Template of the text to search"),
            field(
                "urlTemplate",
                FieldType::String,
                "Address",
                "Template of the row's address: `https://example.com/{{ id }}`",
            ),
        ]
    };
    let row_limit =
        || field("rowLimit", FieldType::Number, "Row limit", "Most rows of a table, in the order of its key");
    let mut table_options =
        vec![Field { required: true, ..field("table", FieldType::String, "Table", "Pattern `schema.table`") }];
    table_options.extend(templates());
    table_options.push(row_limit());
    let mut fields = vec![
        SslMode::field(),
        field("rootCertificate", FieldType::String, "Root certificate", "PEM text; replaces the public authorities"),
        field("schemas", FieldType::StringList, "Schemas", "Only these schemas; `*` stands for any characters"),
        field("tables", FieldType::StringList, "Tables", "Only these tables and views, as `schema.table` with `*`"),
        field("excludeTables", FieldType::StringList, "Tables to leave out", "As `schema.table` with `*`"),
        field("excludeColumns", FieldType::StringList, "Columns to leave out", "As `schema.table.column` with `*`"),
        row_limit(),
        field(
            "parallelTables",
            FieldType::Number,
            "Tables at once",
            "How many tables are read side by side, all in one snapshot: 1 to 8, usually 2",
        ),
        field(
            "maxRetainedWalMb",
            FieldType::Number,
            "Most log kept",
            "Megabytes of its log that the server may keep while changes are followed, usually 4096; beyond, the \
             replication slot is dropped and syncs take over",
        ),
    ];
    fields.extend(cursors::fields(
        "As `schema.table.column` with `*`. Each change of a row must set it to the time or to a higher number; then \
         views and other tables whose rows cannot be proved unmoved are read from the last change on",
    ));
    fields.extend(templates());
    fields.push(field(
        "tableOptions",
        FieldType::ObjectList(table_options),
        "Settings a table",
        "The first whose `table` fits counts; what it leaves out is taken from above",
    ));
    fields
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
        ("schemas", &config.schemas, 1, "must be the name of a schema; `*` stands for any characters"),
        ("tables", &config.tables, 2, "must be `schema.table`; `*` stands for any characters"),
        ("excludeTables", &config.exclude_tables, 2, "must be `schema.table`; `*` stands for any characters"),
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
    if config.parallel_tables.is_some_and(|tables| !(1..=MOST_PARALLEL_TABLES).contains(&tables)) {
        wrong("parallelTables".to_owned(), "must be 1 to 8");
    }
    if config.max_retained_wal_mb == Some(0) {
        wrong("maxRetainedWalMb".to_owned(), "must be at least 1");
    }
    let mut check_templates = |prefix: String, given: [(&str, &Option<String>); 3], limit: Option<u64>| {
        for (name, template) in given {
            if let Some(problem) = template.as_deref().and_then(templates::problem) {
                wrong(format!("{prefix}{name}"), problem);
            }
        }
        if limit == Some(0) {
            wrong(format!("{prefix}rowLimit"), "must be at least 1");
        }
    };
    let Config { title_template, body_template, url_template, row_limit, table_options, .. } = config;
    let named = |title, body, url| [("titleTemplate", title), ("bodyTemplate", body), ("urlTemplate", url)];
    check_templates(String::new(), named(title_template, body_template, url_template), *row_limit);
    for (position, options) in table_options.iter().enumerate() {
        let TableOptions { table: _, title_template, body_template, url_template, row_limit } = options;
        let prefix = format!("tableOptions[{position}].");
        check_templates(prefix, named(title_template, body_template, url_template), *row_limit);
    }
    for (position, options) in table_options.iter().enumerate() {
        if !has_parts(&options.table, 2) {
            wrong(format!("tableOptions[{position}].table"), "must be `schema.table`; `*` stands for any characters");
        }
    }
    violations
}

fn has_parts(pattern: &str, parts: usize) -> bool {
    Pattern::parse(pattern).is_some_and(|pattern| pattern.depth() == parts)
}

/// What of the config decides whom the credentials are shown to.
pub(super) fn binding(config: &Config) -> String {
    json!([config.ssl_mode.name(), config.root_certificate]).to_string()
}
