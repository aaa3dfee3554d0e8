//! The OpenAPI 3.1 document: made from the same table and descriptors that
//! requests are served by, so that it cannot say anything else.

mod comments;
mod operation;
mod replies;
mod rules;
mod schemas;

use serde_json::{Map, Value, json};

use crate::gateway::openapi::comments::Comments;
use crate::gateway::openapi::operation::Writer;
use crate::gateway::openapi::schemas::Schemas;
use crate::gateway::rules::{Route, Table};

/// What the document says beside the routes.
#[derive(Debug, Clone)]
pub struct OpenApiSettings {
    /// Name of the service.
    pub title: String,
    /// Its version.
    pub version: String,
    /// What it is, in Markdown.
    pub description: String,
    /// Name of each service and what people call it, in the order of reading;
    /// services that are not here follow.
    pub services: Vec<(String, String)>,
    /// Base addresses.
    pub servers: Vec<String>,
    /// By operation id: `{"request": ..., "response": ..., "parameters": {...}}`,
    /// all of them optional.
    pub examples: Value,
    /// Each error word (lower case) with its HTTP status.
    pub reasons: Vec<(String, u16)>,
    /// Name of a role number, if a caller needs one.
    pub role_name: fn(i32) -> Option<&'static str>,
}

/// Makes the document.
pub fn document(table: &Table, settings: &OpenApiSettings) -> Value {
    let comments = Comments::of(table.pool());
    let mut writer = Writer::new(settings, &comments, Schemas::new(table.pool(), &comments, package(table)));
    let mut paths = Map::new();
    let mut routes = numbered(table.routes());
    routes.sort_by_key(|(route, _)| place(route, settings));
    for (route, id) in &routes {
        let operation = writer.operation(route, id);
        let item = paths.entry(operation::path(route)).or_insert_with(|| json!({}));
        item[route.verb.as_str().to_ascii_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
        "info": {"title": settings.title, "version": settings.version, "description": settings.description},
        "servers": settings.servers.iter().map(|url| json!({"url": url})).collect::<Vec<_>>(),
        "security": [{"bearer": []}, {"apiKey": []}],
        "tags": tags(&routes, settings, &comments),
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key as a bearer token."},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
            "headers": replies::headers(),
            "responses": replies::errors(&settings.reasons),
            "schemas": writer.into_schemas(),
        },
    })
}

/// `SourceService_GetSource`; further bindings of a method get a number.
fn numbered(routes: &[Route]) -> Vec<(&Route, String)> {
    let mut count = 1;
    routes
        .iter()
        .map(|route| {
            count = if route.additional { count + 1 } else { 1 };
            let id = format!("{}_{}", route.method.parent_service().name(), route.method.name());
            (route, if count > 1 { format!("{id}_{count}") } else { id })
        })
        .collect()
}

fn package(table: &Table) -> String {
    table.routes().first().map(|route| route.method.parent_service().package_name().to_owned()).unwrap_or_default()
}

/// What people call the service of a route.
fn tag(route: &Route, settings: &OpenApiSettings) -> String {
    let service = route.method.parent_service();
    let known = settings.services.iter().find(|(name, _)| name == service.name());
    known.map_or_else(|| service.name().to_owned(), |(_, tag)| tag.clone())
}

/// Where the service of a route stands in the order of reading.
fn place(route: &Route, settings: &OpenApiSettings) -> usize {
    let service = route.method.parent_service();
    let known = settings.services.iter().position(|(name, _)| name == service.name());
    known.unwrap_or(settings.services.len())
}

fn tags(routes: &[(&Route, String)], settings: &OpenApiSettings, comments: &Comments) -> Value {
    let mut tags: Vec<(String, String)> = Vec::new();
    for (route, _) in routes {
        let (name, service) = (tag(route, settings), route.method.parent_service());
        if !tags.iter().any(|(known, _)| *known == name) {
            tags.push((name, comments.get(&service.parent_file(), service.path())));
        }
    }
    tags.into_iter().map(|(name, description)| json!({"name": name, "description": description})).collect()
}

#[cfg(test)]
mod tests;
