//! The parts of a server, put together.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::StartError;
use super::cors;
use super::front::{Front, Manners, Pages};
use crate::api;
use crate::audit::Audit;
use crate::auth::allowances::{self, Allowances};
use crate::auth::{Authenticator, Gate};
use crate::catalog::Catalog;
use crate::collections::Collections;
use crate::config::{Config, Limits};
use crate::connections::Connections;
use crate::connectors::Registry;
use crate::error::Reason;
use crate::gateway::openapi::OpenApiSettings;
use crate::gateway::{self, Gateway};
use crate::history::History;
use crate::index::Index;
use crate::keys::Keys;
use crate::oidc::Provider;
use crate::paging;
use crate::proto;
use crate::search::Search;
use crate::secrets::Vault;
use crate::store::Store;
use crate::syncs::Syncs;

/// What the services are made of.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) store: &'a Store,
    pub(super) vault: &'a Arc<Vault>,
    pub(super) index: &'a Arc<dyn Index>,
    pub(super) syncs: &'a Syncs,
    pub(super) audit: &'a Arc<Audit>,
    pub(super) provider: &'a Option<Arc<Provider>>,
    pub(super) stop: &'a CancellationToken,
    pub(super) pages: paging::Pages,
    pub(super) base: String,
}

impl Parts<'_> {
    /// The services behind their doors.
    pub(super) fn doors(&self, registry: &Registry) -> Result<(Front, api::health::Health, Arc<Keys>), StartError> {
        let pages = self.pages.clone();
        let catalog = Arc::new(Catalog::new(registry).map_err(|error| StartError::Parts(error.into()))?);
        let keys = Arc::new(Keys::new(self.store.clone(), pages.clone(), self.config.admin_key.as_ref()));
        let authenticator = Authenticator::new(keys.clone(), self.provider.clone());
        let connections = Arc::new(Connections::new(
            self.store.clone(),
            catalog.clone(),
            self.vault.clone(),
            self.syncs.clone(),
            pages.clone(),
        ));
        let collections = Arc::new(Collections::new(
            self.store.clone(),
            self.index.clone(),
            self.syncs.clone(),
            connections.clone(),
            keys.clone(),
            pages.clone(),
        ));
        let domain = api::Domain {
            store: self.store.clone(),
            catalog,
            connections,
            collections,
            search: Arc::new(Search::new(self.store.clone(), self.index.clone(), pages.clone())),
            keys: keys.clone(),
            history: Arc::new(History::new(self.store.clone(), pages.clone())),
            syncs: self.syncs.clone(),
            audit: self.audit.clone(),
            pages,
            stop: self.stop.clone(),
        };
        let (health, health_service) = api::health::Health::new(api::service_names());
        let limits = &self.config.limits;
        let allowances = Arc::new(allowances(limits));
        let gate = Gate::new(authenticator.clone(), self.audit.clone(), allowances.clone());
        let sizes = api::Sizes { request: limits.max_body, answer: limits.max_answer };
        let grpc = api::router(domain, health_service, gate, sizes).map_err(|error| StartError::Parts(error.into()))?;
        let settings = gateway::Settings {
            options_extension: "tributary.v1.rest",
            error_domain: "tributary",
            prefix_aliases: vec![("/v1", "/api/v1")],
            status_of_reason,
            max_body: limits.max_body,
            max_answer: limits.max_answer,
            max_uri: limits.max_uri,
            max_json_depth: limits.max_json_depth,
            authenticate: authenticator.pre_check(allowances),
        };
        let gateway = Gateway::new(settings, proto::DESCRIPTORS, grpc.clone())
            .map_err(|error| StartError::Parts(error.into()))?;
        let openapi = openapi(gateway.table());
        let pages = Pages {
            docs: gateway::docs::page(&openapi, &self.base).map_err(|error| StartError::Parts(error.into()))?,
            openapi: serde_json::to_vec_pretty(&openapi).map_err(|error| StartError::Parts(error.into()))?.into(),
        };
        let cors = cors::layer(&self.config.cors_origins)?;
        let manners = Manners { cors, max_headers: limits.max_headers, has_tls: self.config.tls.is_some() };
        Ok((
            Front::new(grpc, gateway, pages, manners, self.store.clone(), self.audit.clone(), self.stop.clone()),
            health,
            keys,
        ))
    }
}

/// The OpenAPI document of the routes that a server serves.
pub fn openapi(table: &gateway::rules::Table) -> serde_json::Value {
    let settings = OpenApiSettings {
        title: "Tributary".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
        servers: vec!["/".to_owned()],
        examples: api::examples::examples(),
        services: api::examples::services(),
        reasons: api::examples::reasons(),
        role_name: api::examples::role_name,
    };
    gateway::openapi::document(table, &settings)
}

/// The HTTP status of an error reason.
fn status_of_reason(name: &str) -> Option<u16> {
    Reason::ALL.iter().find(|reason| reason.name() == name).map(|reason| reason.http_status())
}

fn allowances(limits: &Limits) -> Allowances {
    Allowances::new(allowances::Limits {
        calls_a_minute: limits.calls_a_minute,
        refused_a_minute: limits.refused_a_minute,
        calls_at_once: limits.max_calls_per_key,
        streams_at_once: limits.max_streams_per_key,
        call_time: limits.call_time,
    })
}
