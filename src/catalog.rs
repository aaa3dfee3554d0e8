//! The sources that this server can connect to: what the connectors say of
//! themselves, with an id and a version each.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::connectors::erased::DynConnector;
use crate::connectors::{Registry, Spec};
use crate::error::Error;

/// Fields of the requests that carry `credentials` or `config`. A source that
/// used one could not be told from the wrapped form on REST.
const RESERVED: [&str; 4] = ["id", "credentials", "config", "etag"];

/// One source.
pub struct Source {
    /// Stable across releases.
    pub id: String,
    /// What the connector says.
    pub spec: Spec,
    /// Opaque version, with quotes.
    pub etag: String,
    /// The code for it.
    pub connector: Arc<dyn DynConnector>,
}

/// Why a list of connectors is no catalogue.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A field has a name that requests use.
    #[error("connector `{source_name}` has a field `{field}`, which requests use")]
    Reserved {
        /// The connector.
        source_name: &'static str,
        /// The field.
        field: &'static str,
    },
}

/// Every source, by short name.
pub struct Catalog {
    sources: BTreeMap<&'static str, Source>,
}

impl Catalog {
    /// The catalogue of these connectors.
    pub fn new(registry: &Registry) -> Result<Self, CatalogError> {
        let mut sources = BTreeMap::new();
        for connector in registry.iter() {
            let spec = connector.spec();
            check(&spec)?;
            let (id, etag) = (id(spec.short_name), etag(&spec));
            sources.insert(spec.short_name, Source { id, spec, etag, connector: connector.clone() });
        }
        Ok(Self { sources })
    }

    /// The source of this name.
    pub fn get(&self, short_name: &str) -> Result<&Source, Error> {
        self.sources.get(short_name).ok_or_else(|| Error::not_found("source", short_name))
    }

    /// Sources ordered by short name, after the one of this name; of one label
    /// if it is not empty.
    pub fn list<'a>(&'a self, label: &'a str, after: Option<&'a str>) -> impl Iterator<Item = &'a Source> {
        self.sources
            .values()
            .filter(move |source| label.is_empty() || source.spec.labels.contains(&label))
            .filter(move |source| after.is_none_or(|after| source.spec.short_name > after))
    }
}

fn check(spec: &Spec) -> Result<(), CatalogError> {
    let mut fields = spec.auth_fields.iter().chain(&spec.config_fields);
    match fields.find(|field| RESERVED.contains(&field.name)) {
        Some(field) => Err(CatalogError::Reserved { source_name: spec.short_name, field: field.name }),
        None => Ok(()),
    }
}

fn id(short_name: &str) -> String {
    format!("src_{}", short_name.replace(|character: char| !character.is_ascii_alphanumeric(), ""))
}

/// A hash of all that the entry says.
fn etag(spec: &Spec) -> String {
    let hash = Sha256::digest(format!("{spec:?}").as_bytes());
    let mut hex = String::new();
    for byte in &hash[..8] {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    format!("\"{hex}\"")
}
