//! Which tables and columns a config includes, by patterns: of sources whose tables
//! lie in schemas or databases.

use super::names::{self, Pattern};

/// Patterns of a config, read once.
pub struct TableSelection {
    /// Names a container that is the server's own, and never read.
    is_of_the_system: fn(&str) -> bool,
    containers: Vec<Pattern>,
    tables: Vec<Pattern>,
    excluded_tables: Vec<Pattern>,
    excluded_columns: Vec<Pattern>,
}

impl TableSelection {
    /// Of these settings, which were checked when the config was stored: patterns of
    /// `container`, `container.table`, and `container.table.column`.
    pub fn new(
        is_of_the_system: fn(&str) -> bool,
        containers: &[String],
        tables: &[String],
        excluded_tables: &[String],
        excluded_columns: &[String],
    ) -> Self {
        Self {
            is_of_the_system,
            containers: read(containers),
            tables: read(tables),
            excluded_tables: read(excluded_tables),
            excluded_columns: read(excluded_columns),
        }
    }

    /// What was given as the patterns of tables.
    pub fn tables(&self) -> &[Pattern] {
        &self.tables
    }

    /// True when the table is included. Without patterns of tables, all are.
    pub fn includes(&self, container: &str, table: &str) -> bool {
        self.takes(container)
            && (self.tables.is_empty() || any_matches(&self.tables, &[container, table]))
            && !any_matches(&self.excluded_tables, &[container, table])
    }

    /// The same for the path of a table.
    pub fn includes_path(&self, object: &str) -> bool {
        match names::split(object).as_deref() {
            Some([container, table]) => self.includes(container, table),
            _ => false,
        }
    }

    /// True when a table of the container could be included.
    pub fn reaches_into(&self, container: &str) -> bool {
        self.takes(container)
            && (self.tables.is_empty() || self.tables.iter().any(|pattern| pattern.begins(&[container])))
    }

    /// True when the column is left out.
    pub fn leaves_out(&self, container: &str, table: &str, column: &str) -> bool {
        any_matches(&self.excluded_columns, &[container, table, column])
    }

    fn takes(&self, container: &str) -> bool {
        !(self.is_of_the_system)(container)
            && (self.containers.is_empty() || any_matches(&self.containers, &[container]))
    }
}

/// Reads patterns that were checked before.
pub fn read(patterns: &[String]) -> Vec<Pattern> {
    patterns.iter().filter_map(|pattern| Pattern::parse(pattern)).collect()
}

/// True when a pattern names one thing only.
pub fn is_exact(pattern: &str) -> bool {
    Pattern::parse(pattern).is_some_and(|pattern| pattern.is_exact())
}

fn any_matches(patterns: &[Pattern], names: &[&str]) -> bool {
    patterns.iter().any(|pattern| pattern.matches(names))
}
