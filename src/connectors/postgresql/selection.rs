//! Which tables and columns the config includes.

use std::collections::HashMap;

use super::catalog::{Column, Layout, Table};
use super::cursor::Values;
use super::settings::{Config, TableOptions};
use crate::connectors::ConnectorError;
use crate::connectors::rows::names::Pattern;
use crate::connectors::rows::selection::{self, TableSelection};

/// The patterns of a config, read once.
pub(super) struct Selection<'a> {
    config: &'a Config,
    tables: TableSelection,
    cursors: Vec<Pattern>,
}

impl<'a> Selection<'a> {
    /// Reads the patterns; they were checked when the config was stored.
    pub(super) fn new(config: &'a Config) -> Self {
        let tables = TableSelection::new(
            is_of_the_system,
            &config.schemas,
            &config.tables,
            &config.exclude_tables,
            &config.exclude_columns,
        );
        Self { config, tables, cursors: selection::read(&config.cursor_columns) }
    }

    /// Tables and columns by the patterns.
    pub(super) fn tables(&self) -> &TableSelection {
        &self.tables
    }

    /// True when the config names tables at all.
    pub(super) fn is_explicit(&self) -> bool {
        !self.tables.tables().is_empty()
    }

    /// Positions in `tables` that name one table, which is not there.
    pub(super) fn missing<'t>(&self, present: impl Iterator<Item = (&'t str, &'t str)> + Clone) -> Vec<usize> {
        let is_missing = |pattern: &Pattern| {
            pattern.is_exact() && !present.clone().any(|(schema, table)| pattern.matches(&[schema, table]))
        };
        self.tables
            .tables()
            .iter()
            .enumerate()
            .filter(|(_, pattern)| is_missing(pattern))
            .map(|(position, _)| position)
            .collect()
    }

    /// The column that tells of changes, by the first entry of `cursorColumns` that
    /// names one.
    pub(super) fn cursor<'c>(&self, table: &Table, columns: &'c [Column]) -> Option<&'c Column> {
        self.cursors.iter().find_map(|pattern| columns.iter().find(|column| names(pattern, table, column)))
    }

    /// True when the config names such columns.
    pub(super) fn has_cursors(&self) -> bool {
        !self.cursors.is_empty()
    }

    /// Fails when an entry of `cursorColumns` names no column of these tables, or
    /// one that cannot tell of changes.
    pub(super) fn check_cursors(&self, tables: &[Table], layouts: &HashMap<u32, Layout>) -> Result<(), ConnectorError> {
        for (position, pattern) in self.cursors.iter().enumerate() {
            let mut named = tables
                .iter()
                .flat_map(|table| layouts.get(&table.oid).map(|layout| (table, &layout.columns)))
                .flat_map(|(table, columns)| columns.iter().filter(|column| names(pattern, table, column)))
                .peekable();
            let reason = if named.peek().is_none() {
                "names no column of the tables that are read"
            } else if named.any(|column| Values::of(&column.type_name).is_none()) {
                "names a column that is neither a date nor a timestamp nor a whole number"
            } else {
                continue;
            };
            let field = format!("config.cursorColumns[{position}]");
            return Err(ConnectorError::Invalid { field, reason: reason.to_owned() });
        }
        Ok(())
    }

    /// Settings of the table: the first entry of `tableOptions` that fits, and
    /// what is given for all.
    pub(super) fn options(&self, schema: &str, table: &str) -> TableOptions {
        let fits = |options: &&TableOptions| {
            Pattern::parse(&options.table).is_some_and(|pattern| pattern.matches(&[schema, table]))
        };
        let own = self.config.table_options.iter().find(fits).cloned().unwrap_or_default();
        TableOptions {
            table: own.table,
            title_template: own.title_template.or_else(|| self.config.title_template.clone()),
            body_template: own.body_template.or_else(|| self.config.body_template.clone()),
            url_template: own.url_template.or_else(|| self.config.url_template.clone()),
            row_limit: own.row_limit.or(self.config.row_limit),
        }
    }
}

fn names(pattern: &Pattern, table: &Table, column: &Column) -> bool {
    pattern.matches(&[&table.schema, &table.name, &column.name])
}

/// PostgreSQL keeps the prefix for itself.
fn is_of_the_system(schema: &str) -> bool {
    schema.starts_with("pg_") || schema == "information_schema"
}
