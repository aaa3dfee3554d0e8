//! Settings of a SQLite connection.

use serde::Deserialize;

use crate::connectors::numbers;
use crate::connectors::rows::RowMapping;
use crate::connectors::rows::cursors;
use crate::connectors::rows::patterns::{self, Patterns};
use crate::connectors::rows::template::TemplateError;
use crate::connectors::{Field, FieldType};
use crate::error::Violation;

/// Settings of a connection.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    /// The database file.
    pub path: String,
    /// Patterns of tables to read; none means all.
    pub tables: Vec<String>,
    /// Patterns of tables to leave out.
    pub exclude_tables: Vec<String>,
    /// Patterns of columns to leave out: `column` or `table.column`.
    pub exclude_columns: Vec<String>,
    /// Columns that tell of changes, as `table.column` with `*`.
    pub cursor_columns: Vec<String>,
    /// Seconds that are read again before the last change.
    #[serde(deserialize_with = "numbers::optional_whole")]
    pub cursor_overlap_seconds: Option<u64>,
    /// Hours after which everything is read again.
    #[serde(deserialize_with = "numbers::optional_whole")]
    pub reconcile_hours: Option<u64>,
    /// Most rows of a table.
    #[serde(deserialize_with = "numbers::optional_whole")]
    pub row_limit: Option<u64>,
    /// Template of titles.
    pub title_template: Option<String>,
    /// Template of texts.
    pub body_template: Option<String>,
    /// Template of addresses.
    pub url_template: Option<String>,
    /// Settings that differ for some tables.
    pub table_options: Vec<TableOptions>,
}

/// Settings of the tables that a pattern names; they win over the general ones.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TableOptions {
    /// Pattern of table names; the first entry that matches counts.
    pub table: String,
    /// Patterns of columns to leave out, beside the general ones.
    pub exclude_columns: Vec<String>,
    /// Most rows.
    #[serde(deserialize_with = "numbers::optional_whole")]
    pub row_limit: Option<u64>,
    /// Template of titles.
    pub title_template: Option<String>,
    /// Template of texts.
    pub body_template: Option<String>,
    /// Template of addresses.
    pub url_template: Option<String>,
}

impl Config {
    pub(super) fn selects(&self, table: &str) -> bool {
        let wanted = Patterns::new(&self.tables);
        (wanted.is_empty() || wanted.matches(table)) && !Patterns::new(&self.exclude_tables).matches(table)
    }

    pub(super) fn excludes_column(&self, table: &str, column: &str) -> bool {
        let excluded = |patterns: &[String]| {
            let patterns = Patterns::new(patterns);
            patterns.matches(column) || patterns.matches(&format!("{table}.{column}"))
        };
        excluded(&self.exclude_columns) || self.options(table).is_some_and(|options| excluded(&options.exclude_columns))
    }

    /// True when an entry of `cursorColumns` names a column.
    pub(super) fn names_cursor(&self, position: usize, table: &str, column: &str) -> bool {
        let name = format!("{table}.{column}");
        self.cursor_columns.get(position).is_some_and(|pattern| patterns::matches(pattern, &name))
    }

    /// The first entry of `cursorColumns` that names one of these columns of a
    /// table, and the column.
    pub(super) fn cursor<'c>(&self, table: &str, columns: impl Iterator<Item = &'c str>) -> Option<(usize, &'c str)> {
        let columns: Vec<&str> = columns.collect();
        (0..self.cursor_columns.len()).find_map(|position| {
            let named = columns.iter().find(|column| self.names_cursor(position, table, column));
            named.map(|column| (position, *column))
        })
    }

    pub(super) fn limit(&self, table: &str) -> Option<u64> {
        self.options(table).and_then(|options| options.row_limit).or(self.row_limit)
    }

    pub(super) fn mapping(&self, table: &str) -> Result<RowMapping, TemplateError> {
        let own = self.options(table);
        let choose = |own: Option<&Option<String>>, general: &Option<String>| {
            own.and_then(Clone::clone).or_else(|| general.clone())
        };
        let title = choose(own.map(|options| &options.title_template), &self.title_template);
        let body = choose(own.map(|options| &options.body_template), &self.body_template);
        let url = choose(own.map(|options| &options.url_template), &self.url_template);
        RowMapping::compile(title.as_deref(), body.as_deref(), url.as_deref())
    }

    fn options(&self, table: &str) -> Option<&TableOptions> {
        self.table_options.iter().find(|options| patterns::matches(&options.table, table))
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        if self.path.is_empty() {
            violations.push(Violation::new("config.path", "REQUIRED", "must name a database file"));
        }
        violations.extend(cursors::violations(self.cursor_overlap_seconds, self.reconcile_hours));
        let mut check = |prefix: &str,
                         limit: Option<u64>,
                         title: &Option<String>,
                         body: &Option<String>,
                         url: &Option<String>| {
            if limit == Some(0) {
                violations.push(Violation::new(format!("{prefix}.rowLimit"), "INVALID_VALUE", "must be at least 1"));
            }
            if let Err(error) = RowMapping::compile(title.as_deref(), body.as_deref(), url.as_deref()) {
                let field = format!("{prefix}.{}", error.setting);
                violations.push(Violation::new(field, "INVALID_VALUE", error.reason));
            }
        };
        check("config", self.row_limit, &self.title_template, &self.body_template, &self.url_template);
        for (index, options) in self.table_options.iter().enumerate() {
            let prefix = format!("config.tableOptions[{index}]");
            check(&prefix, options.row_limit, &options.title_template, &options.body_template, &options.url_template);
        }
        violations
    }
}

pub(super) fn fields() -> Vec<Field> {
    let mut fields = vec![
        Field::optional(
            "path",
            FieldType::String,
            "Database file",
            "Path of the file, below a folder that the server may read",
        ),
        Field::optional(
            "tables",
            FieldType::StringList,
            "Tables",
            "Tables and views to read; * stands for any characters. All when empty",
        ),
        Field::optional(
            "excludeTables",
            FieldType::StringList,
            "Tables to leave out",
            "Patterns of tables that are not read",
        ),
    ];
    fields[0].required = true;
    fields.extend(shared_fields());
    fields.extend(cursors::fields(
        "As table.column; * stands for any characters. Each change of a row must set it to a later time or a higher \
         number; then a sync reads only what changed",
    ));
    let mut own =
        vec![Field::optional("table", FieldType::String, "Table", "Name or pattern of the tables that this is for")];
    own[0].required = true;
    own.extend(shared_fields());
    let description = "Settings that differ for some tables; the first entry that matches a table counts";
    fields.push(Field::optional("tableOptions", FieldType::ObjectList(own), "Settings of single tables", description));
    fields
}

fn shared_fields() -> Vec<Field> {
    vec![
        Field::optional(
            "excludeColumns",
            FieldType::StringList,
            "Columns to leave out",
            "Patterns such as password or users.email",
        ),
        Field::optional(
            "rowLimit",
            FieldType::Number,
            "Row limit",
            "Most rows to read of a table, in the order of its key",
        ),
        Field::optional("titleTemplate", FieldType::String, "Title", "Template of the title, such as {{ name }}"),
        Field::optional("bodyTemplate", FieldType::String, "Text", "Template of the text that is searched"),
        Field::optional(
            "urlTemplate",
            FieldType::String,
            "Address",
            "Template of the address, such as https://shop.example/{{ id }}",
        ),
    ]
}
