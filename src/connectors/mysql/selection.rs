//! Which tables and columns the config includes.

use super::settings::{Config, TableOptions, general_options};
use crate::connectors::rows::names::{self, Pattern};
use crate::connectors::rows::selection::{self, TableSelection};

/// Databases of the server itself.
const OF_THE_SYSTEM: [&str; 4] = ["information_schema", "mysql", "performance_schema", "sys"];

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
            &config.databases,
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

    /// Database, table and position of the entries of `tables` that name one table
    /// each, which is included.
    pub(super) fn named(&self) -> Vec<(String, String, usize)> {
        let exact = self.tables.tables().iter().enumerate().filter(|(_, pattern)| pattern.is_exact());
        let parts = exact.filter_map(|(position, _)| {
            let [database, table] = names::split(&self.config.tables[position])?.try_into().ok()?;
            Some((database, table, position))
        });
        parts.filter(|(database, table, _)| self.tables.includes(database, table)).collect()
    }

    /// True when the config names cursor columns.
    pub(super) fn has_cursors(&self) -> bool {
        !self.cursors.is_empty()
    }

    /// How many entries `cursorColumns` has.
    pub(super) fn cursors(&self) -> usize {
        self.cursors.len()
    }

    /// True when an entry of `cursorColumns` names the column.
    pub(super) fn names_cursor(&self, position: usize, database: &str, table: &str, column: &str) -> bool {
        self.cursors.get(position).is_some_and(|pattern| pattern.matches(&[database, table, column]))
    }

    /// Settings of the table: the first entry of `tableOptions` that fits, and
    /// what is given for all.
    pub(super) fn options(&self, database: &str, table: &str) -> TableOptions {
        let fits = |options: &&TableOptions| {
            Pattern::parse(&options.table).is_some_and(|pattern| pattern.matches(&[database, table]))
        };
        let own = self.config.table_options.iter().find(fits).cloned().unwrap_or_default();
        let general = general_options(self.config);
        TableOptions {
            table: own.table,
            title_template: own.title_template.or(general.title_template),
            body_template: own.body_template.or(general.body_template),
            url_template: own.url_template.or(general.url_template),
            row_limit: own.row_limit.or(general.row_limit),
        }
    }
}

fn is_of_the_system(database: &str) -> bool {
    OF_THE_SYSTEM.iter().any(|name| database.eq_ignore_ascii_case(name))
}
