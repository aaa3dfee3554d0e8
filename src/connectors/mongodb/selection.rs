//! Which collections and fields the config includes.

use super::settings::Config;
use crate::connectors::rows::names::{self, Pattern};

/// Databases of the server itself.
const OF_THE_SYSTEM: [&str; 3] = ["admin", "config", "local"];

/// The patterns of a config, read once.
pub(super) struct Selection<'a> {
    config: &'a Config,
    databases: Vec<Pattern>,
    collections: Vec<Pattern>,
    excluded_collections: Vec<Pattern>,
    excluded_fields: Vec<Pattern>,
}

impl<'a> Selection<'a> {
    /// Reads the patterns; they were checked when the config was stored.
    pub(super) fn new(config: &'a Config) -> Self {
        let read = |patterns: &[String]| patterns.iter().filter_map(|pattern| Pattern::parse(pattern)).collect();
        Self {
            config,
            databases: read(&config.databases),
            collections: read(&config.collections),
            excluded_collections: read(&config.exclude_collections),
            excluded_fields: read(&config.exclude_fields),
        }
    }

    /// True when the collection is included. Without `collections`, all are.
    pub(super) fn includes(&self, database: &str, collection: &str) -> bool {
        self.reaches_into(database)
            && !collection.starts_with("system.")
            && (self.collections.is_empty() || any_matches(&self.collections, &[database, collection]))
            && !any_matches(&self.excluded_collections, &[database, collection])
    }

    /// The same for the path of a collection.
    pub(super) fn includes_path(&self, object: &str) -> bool {
        match names::split(object).as_deref() {
            Some([database, collection]) => self.includes(database, collection),
            _ => false,
        }
    }

    /// True when a collection of the database could be included.
    pub(super) fn reaches_into(&self, database: &str) -> bool {
        !OF_THE_SYSTEM.contains(&database)
            && (self.databases.is_empty() || any_matches(&self.databases, &[database]))
            && (self.collections.is_empty() || self.collections.iter().any(|pattern| pattern.begins(&[database])))
    }

    /// Patterns of the fields that are left out.
    pub(super) fn excluded_fields(&self) -> Vec<Pattern> {
        self.excluded_fields.clone()
    }

    /// The databases that the config names, where it names each.
    pub(super) fn exact_databases(&self) -> Option<Vec<String>> {
        let is_exact = !self.databases.is_empty() && self.databases.iter().all(Pattern::is_exact);
        let read = |name: &String| names::split(name)?.pop();
        is_exact.then(|| self.config.databases.iter().filter_map(read).collect())
    }

    /// Database, collection and position of the entries of `collections` that name one
    /// each, which is included.
    pub(super) fn named(&self) -> Vec<(String, String, usize)> {
        let exact = self.collections.iter().enumerate().filter(|(_, pattern)| pattern.is_exact());
        let parts = exact.filter_map(|(position, _)| {
            let [database, collection] = names::split(&self.config.collections[position])?.try_into().ok()?;
            Some((database, collection, position))
        });
        parts.filter(|(database, collection, _)| self.includes(database, collection)).collect()
    }
}

fn any_matches(patterns: &[Pattern], names: &[&str]) -> bool {
    patterns.iter().any(|pattern| pattern.matches(names))
}
