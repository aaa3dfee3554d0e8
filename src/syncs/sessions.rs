//! Opens a connection's stored credentials and config as a session of its
//! connector: the one way to a source for tests, discovery and syncs alike.

use std::hash::Hasher;
use std::sync::Arc;

use serde_json::{Map, Value};
use xxhash_rust::xxh3::Xxh3;

use crate::connectors::documents::isolation::Parsers;
use crate::connectors::erased::{DynConnector, Session};
use crate::connectors::{ConnectorError, Registry, Resources};
use crate::error::{Error, Reason};
use crate::report::Report;
use crate::secrets::{Binding, CREDENTIALS, Sealed, Vault};
use crate::store::connections::Connection;
use crate::store::{self, Store};

/// Opens sessions.
#[derive(Clone)]
pub struct Sessions {
    store: Store,
    vault: Arc<Vault>,
    registry: Registry,
    resources: Resources,
}

impl Sessions {
    /// Sessions of these connectors, with credentials from this store.
    pub fn new(store: Store, vault: Arc<Vault>, registry: Registry, resources: Resources) -> Self {
        Self { store, vault, registry, resources }
    }

    /// A session with what is stored for the connection.
    pub async fn open(&self, connection: &Connection) -> Result<Arc<dyn Session>, Error> {
        let stored = self
            .store
            .sealed_credentials(&connection.id)
            .await?
            .ok_or_else(|| Error::not_found("sourceConnection", connection.id.as_str()))?;
        let binding = Binding {
            purpose: CREDENTIALS,
            collection: &stored.collection,
            connection: &connection.id,
            credentials_version: stored.credentials_version,
        };
        let store::connections::Sealed { key_id, wrapped_key, ciphertext } = stored.sealed;
        let sealed = Sealed { key_id, wrapped_key, ciphertext };
        let plain = self.vault.open(&binding, &sealed).await?;
        let credentials: Map<String, Value> = serde_json::from_slice(&plain).map_err(Error::internal)?;
        self.open_with(&connection.source, credentials, connection.config.clone())
    }

    /// A session with settings that have been checked and are not stored yet.
    pub fn open_with(
        &self,
        source: &str,
        credentials: Map<String, Value>,
        config: Map<String, Value>,
    ) -> Result<Arc<dyn Session>, Error> {
        self.connector(source)?.open(credentials, config, self.resources.clone()).map_err(source_error)
    }

    /// What beside the raw content decides a document: a change re-indexes.
    pub fn salt(&self, connection: &Connection) -> Result<u64, Error> {
        let spec = self.connector(&connection.source)?.spec();
        let mut hasher = Xxh3::new();
        hasher.write_u64(spec.mapper_version);
        hasher.update(&serde_json::to_vec(&connection.config).map_err(Error::internal)?);
        Ok(hasher.finish())
    }

    /// True when documents are pushed to a source.
    pub fn takes_pushes(&self, source: &str) -> bool {
        self.registry.get(source).is_some_and(|connector| connector.takes_pushes())
    }

    /// What takes documents apart.
    pub fn parsers(&self) -> Arc<Parsers> {
        self.resources.parsers.clone()
    }

    fn connector(&self, source: &str) -> Result<Arc<dyn DynConnector>, Error> {
        self.registry.get(source).cloned().ok_or_else(|| {
            Error::new(Reason::NotSupported, format!("this server has no source `{source}`")).with("source", source)
        })
    }
}

/// What a caller reads of a connector's failure. Nothing that the source sent.
pub fn source_error(error: ConnectorError) -> Error {
    let message = error.to_string();
    match error {
        ConnectorError::LoginRefused(_) => Error::new(Reason::InvalidCredentials, message).caused_by(error),
        ConnectorError::Invalid { field, reason } => Error::invalid(field, "INVALID_VALUE", reason),
        ConnectorError::Unreachable { code, .. } => {
            Error::new(Reason::SourceUnreachable, format!("{message}: {code}")).with("code", code).caused_by(error)
        }
        ConnectorError::Forbidden { .. } => Error::new(Reason::SourcePermissionDenied, message),
        ConnectorError::Throttled { retry_after } => {
            Error::new(Reason::SourceUnreachable, message).with("code", "throttled").retry_after(retry_after)
        }
        ConnectorError::Stopped(_) => Error::new(Reason::Cancelled, message),
        ConnectorError::Unexpected(_) => {
            Error::new(Reason::SourceUnreachable, message).with("code", "unexpected").caused_by(error)
        }
    }
}

/// The error of a test that failed: its first failure decides the reason, and the
/// whole report goes with it.
pub fn test_error(error: ConnectorError, report: Report) -> Error {
    let Some(failure) = report.first_failure() else {
        return source_error(error).with_report(report);
    };
    let code = failure.code.unwrap_or("unexpected");
    let reason = match code {
        "login_refused" => Reason::InvalidCredentials,
        "permission_missing" => Reason::SourcePermissionDenied,
        _ => Reason::SourceUnreachable,
    };
    let stage = format!("{:?}", failure.kind).to_lowercase();
    let message = match &failure.hint {
        Some(hint) => format!("the connection test failed at {stage}: {hint}"),
        None => format!("the connection test failed at {stage}: {code}"),
    };
    Error::new(reason, message).with("stage", stage).with("code", code).with_report(report).caused_by(error)
}
