//! The catalogue of sources.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{admit, convert};
use crate::catalog::{Catalog, Source};
use crate::paging::{Page, Pages, Wanted};
use crate::proto::v1;
use crate::proto::v1::source_service_server::SourceService;

const LIST: &str = "sources";

/// Serves the catalogue.
pub struct Service {
    catalog: Arc<Catalog>,
    pages: Pages,
}

impl Service {
    /// A service of this catalogue.
    pub fn new(catalog: Arc<Catalog>, pages: Pages) -> Self {
        Self { catalog, pages }
    }
}

#[tonic::async_trait]
impl SourceService for Service {
    async fn list_sources(
        &self,
        request: Request<v1::ListSourcesRequest>,
    ) -> Result<Response<v1::ListSourcesResponse>, Status> {
        let (_, request) = admit(request).await?;
        let arguments = [request.label.as_str()];
        let after: Option<String> = self.pages.open(LIST, &arguments, &request.page_token)?;
        let size = Wanted { size: request.page_size, token: &request.page_token }.size(1000, 1000);
        let found = self.catalog.list(&request.label, after.as_deref()).take(size + 1).collect();
        let Page { items, next } =
            self.pages.cut(LIST, &arguments, found, size, |source: &&Source| source.spec.short_name)?;
        let sources = items.into_iter().map(source).collect();
        Ok(Response::new(v1::ListSourcesResponse { sources, next_page_token: next }))
    }

    async fn get_source(
        &self,
        request: Request<v1::GetSourceRequest>,
    ) -> Result<Response<v1::GetSourceResponse>, Status> {
        let (_, request) = admit(request).await?;
        let found = self.catalog.get(&request.short_name)?;
        Ok(Response::new(v1::GetSourceResponse { source: Some(source(found)) }))
    }
}

fn source(source: &Source) -> v1::Source {
    let spec = &source.spec;
    v1::Source {
        id: source.id.clone(),
        name: spec.name.to_owned(),
        short_name: spec.short_name.to_owned(),
        description: spec.description.to_owned(),
        auth_methods: spec.auth_methods.iter().map(|method| convert::auth_method(*method).into()).collect(),
        labels: spec.labels.iter().map(|label| (*label).to_owned()).collect(),
        supports_continuous: spec.supports_continuous,
        auth_fields: spec.auth_fields.iter().map(convert::field).collect(),
        config_fields: spec.config_fields.iter().map(convert::field).collect(),
        supports_discovery: true,
        etag: source.etag.clone(),
    }
}
