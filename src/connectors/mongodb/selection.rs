//! Which collections and fields the config includes.

use super::settings::Config;
use crate::connectors::rows::names;
use crate::connectors::rows::selection::{self, TableSelection};

/// Databases of the server itself.
const OF_THE_SYSTEM: [&str; 3] = ["admin", "config", "local"];

/// The patterns of a config, read once.
pub(super) struct Selection<'a> {
    config: &'a Config,
    collections: TableSelection,
}

impl<'a> Selection<'a> {
    /// Reads the patterns; they were checked when the config was stored.
    pub(super) fn new(config: &'a Config) -> Self {
        let collections = TableSelection::new(
            is_of_the_system,
            &config.databases,
            &config.collections,
            &config.exclude_collections,
            &config.exclude_fields,
        );
        Self { config, collections }
    }

    /// Collections and fields by the patterns.
    pub(super) fn collections(&self) -> &TableSelection {
        &self.collections
    }

    /// The databases that the config names one by one.
    pub(super) fn named_databases(&self) -> Vec<String> {
        let named = self.config.databases.iter().filter(|name| selection::is_exact(name));
        named.filter_map(|name| names::split(name)?.pop()).collect()
    }

    /// True when every database that could be included is named.
    pub(super) fn names_all_databases(&self) -> bool {
        !self.config.databases.is_empty() && self.config.databases.iter().all(|name| selection::is_exact(name))
    }

    /// Database, collection and position of the entries of `collections` that name one
    /// each, which is included.
    pub(super) fn named(&self) -> Vec<(String, String, usize)> {
        let exact = self.config.collections.iter().enumerate().filter(|(_, name)| selection::is_exact(name));
        let parts = exact.filter_map(|(position, name)| {
            let [database, collection] = names::split(name)?.try_into().ok()?;
            Some((database, collection, position))
        });
        parts.filter(|(database, collection, _)| self.collections.includes(database, collection)).collect()
    }
}

fn is_of_the_system(database: &str) -> bool {
    OF_THE_SYSTEM.contains(&database)
}
