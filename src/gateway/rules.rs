//! The rule table: one [`Route`] for each binding of each method that has a
//! `google.api.http` option. What cannot be served is refused here, at start.

use std::collections::HashMap;

use http::Method;
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    Value,
};

use crate::gateway::Error;
use crate::gateway::template::{Segment, Template};
use crate::gateway::trie::Trie;

/// Every route of the HTTP door.
#[derive(Debug)]
pub struct Table {
    pool: DescriptorPool,
    routes: Vec<Route>,
    trie: Trie,
}

/// One HTTP binding of one method.
#[derive(Debug, Clone)]
pub struct Route {
    /// The method that is called.
    pub method: MethodDescriptor,
    /// The HTTP method.
    pub verb: Method,
    /// The path.
    pub template: Template,
    /// Where the request's body goes.
    pub body: Body,
    /// What `google.api.http` alone cannot say.
    pub rest: RestOptions,
    /// From `additional_bindings`.
    pub additional: bool,
}

/// Where the body of a request goes.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Nowhere: there is none.
    None,
    /// It is the request message (`body: "*"`).
    Whole,
    /// It is one field of the request message.
    Field(FieldDescriptor),
}

/// The decoded REST options of a method. Names are proto field names; dots go
/// into messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestOptions {
    /// Number of the least role that may call.
    pub role: i32,
    /// Request field that a bare object is taken for.
    pub bare_body_field: Option<String>,
    /// Response field printed as the SSE id.
    pub sse_id_field: Option<String>,
    /// Request field that `Last-Event-ID` goes to.
    pub sse_resume_field: Option<String>,
    /// Request field that `Idempotency-Key` goes to.
    pub idempotency_key_field: Option<String>,
    /// Request field that `If-Match` goes to.
    pub if_match_field: Option<String>,
    /// Response field that `ETag` comes from.
    pub etag_field: Option<String>,
    /// Whether `If-None-Match` may be answered with 304.
    pub conditional_get: bool,
    /// Request field that may be left out but not given as an empty list.
    pub not_empty_field: Option<String>,
}

impl Table {
    /// Reads an encoded descriptor set. `options_extension` is the full name of
    /// the method option that [`RestOptions`] is decoded from.
    pub fn load(descriptors: &[u8], options_extension: &str) -> Result<Self, Error> {
        let pool = DescriptorPool::decode(descriptors)?;
        let http = extension(&pool, "google.api.http")?;
        let options = extension(&pool, options_extension)?;
        let mut routes = Vec::new();
        for service in pool.services() {
            for method in service.methods() {
                routes.append(&mut method_routes(&method, &http, &options)?);
            }
        }
        refuse_equal(&routes)?;
        let trie = Trie::new(routes.iter().map(|route| &route.template));
        Ok(Self { pool, routes, trie })
    }

    /// The routes, in the order of the descriptors.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The descriptors that the table was made of.
    pub fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// Sorted `rpc verb path body` lines: what a change of the surface shows up in.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.routes.iter().map(Route::line).collect();
        lines.sort_unstable();
        lines
    }

    pub(super) fn trie(&self) -> &Trie {
        &self.trie
    }
}

impl Route {
    fn line(&self) -> String {
        let body = match &self.body {
            Body::None => "-",
            Body::Whole => "*",
            Body::Field(field) => field.name(),
        };
        format!("{} {} {} {body}", self.method.full_name(), self.verb, self.template)
    }
}

fn extension(pool: &DescriptorPool, name: &str) -> Result<ExtensionDescriptor, Error> {
    pool.get_extension_by_name(name).ok_or_else(|| Error::NoExtension(name.to_owned()))
}

fn method_routes(
    method: &MethodDescriptor,
    http: &ExtensionDescriptor,
    options: &ExtensionDescriptor,
) -> Result<Vec<Route>, Error> {
    let declared = method.options();
    if !declared.has_extension(http) {
        return Ok(Vec::new());
    }
    if method.is_client_streaming() && method.is_server_streaming() {
        return Err(refused(method, "streams both ways cannot be served"));
    }
    for reserved in ["success", "error"] {
        if method.output().get_field_by_name(reserved).is_some() {
            return Err(refused(method, format!("the reply has a field `{reserved}`, which the envelope uses")));
        }
    }
    let rest = rest_options(method, &declared.get_extension(options))?;
    let rule = declared.get_extension(http);
    let rule = rule.as_message().ok_or_else(|| refused(method, "google.api.http is not a message"))?;
    let mut routes = vec![route(method, rule, &rest, false)?];
    for binding in list(rule, "additional_bindings") {
        if !list(&binding, "additional_bindings").is_empty() {
            return Err(refused(method, "an additional binding holds bindings"));
        }
        routes.push(route(method, &binding, &rest, true)?);
    }
    Ok(routes)
}

fn route(
    method: &MethodDescriptor,
    rule: &DynamicMessage,
    rest: &RestOptions,
    additional: bool,
) -> Result<Route, Error> {
    let (verb, path) = pattern(rule).ok_or_else(|| refused(method, "a binding has no path"))?;
    let verb = Method::from_bytes(verb.as_bytes())
        .ok()
        .filter(|verb| *verb != "*")
        .ok_or_else(|| refused(method, "a binding has an unusable HTTP method"))?;
    let template = Template::parse(&path).map_err(|error| refused(method, format!("path `{path}`: {error}")))?;
    for variable in template.variables() {
        check_variable(method, &variable.field)?;
    }
    if !text(rule, "response_body").is_empty() {
        return Err(refused(method, "`response_body` cannot be served"));
    }
    let body = match text(rule, "body").as_str() {
        "" => Body::None,
        "*" => Body::Whole,
        name => Body::Field(body_field(method, name)?),
    };
    if method.is_client_streaming() && body != Body::Whole {
        return Err(refused(method, "client streaming cannot be served but with `body: \"*\"`"));
    }
    Ok(Route { method: method.clone(), verb, template, body, rest: rest.clone(), additional })
}

fn pattern(rule: &DynamicMessage) -> Option<(String, String)> {
    for verb in ["get", "put", "post", "delete", "patch"] {
        let path = text(rule, verb);
        if !path.is_empty() {
            return Some((verb.to_ascii_uppercase(), path));
        }
    }
    let custom = rule.get_field_by_name("custom")?;
    let custom = custom.as_message()?;
    Some((text(custom, "kind"), text(custom, "path"))).filter(|(_, path)| !path.is_empty())
}

fn body_field(method: &MethodDescriptor, name: &str) -> Result<FieldDescriptor, Error> {
    let field = method
        .input()
        .get_field_by_name(name)
        .ok_or_else(|| refused(method, format!("the request has no field `{name}`")))?;
    if field.is_list() || field.is_map() {
        return Err(refused(method, format!("the body field `{name}` is repeated")));
    }
    Ok(field)
}

fn check_variable(method: &MethodDescriptor, path: &str) -> Result<(), Error> {
    let fields = resolve(&method.input(), path).ok_or_else(|| unknown(method, "request", path))?;
    match fields.last() {
        Some(field) if !field.is_list() && !field.is_map() && !matches!(field.kind(), Kind::Message(_)) => Ok(()),
        _ => Err(refused(method, format!("the path variable `{path}` is not a singular scalar"))),
    }
}

/// The fields along a dotted path; none of the outer ones may be repeated.
pub(super) fn resolve(message: &MessageDescriptor, path: &str) -> Option<Vec<FieldDescriptor>> {
    let mut current = Some(message.clone());
    let mut fields: Vec<FieldDescriptor> = Vec::new();
    for name in path.split('.') {
        let field = current?.get_field_by_name(name)?;
        current = match field.kind() {
            Kind::Message(inner) if !field.is_list() && !field.is_map() => Some(inner),
            _ => None,
        };
        fields.push(field);
    }
    Some(fields)
}

fn rest_options(method: &MethodDescriptor, value: &Value) -> Result<RestOptions, Error> {
    let Some(message) = value.as_message() else { return Err(refused(method, "the REST options are not a message")) };
    let name = |field: &str| Some(text(message, field)).filter(|name| !name.is_empty());
    let role = message.get_field_by_name("role").and_then(|role| role.as_enum_number()).unwrap_or_default();
    let conditional_get = message.get_field_by_name("conditional_get").and_then(|value| value.as_bool());
    let rest = RestOptions {
        role,
        bare_body_field: name("bare_body_field"),
        sse_id_field: name("sse_id_field"),
        sse_resume_field: name("sse_resume_field"),
        idempotency_key_field: name("idempotency_key_field"),
        if_match_field: name("if_match_field"),
        not_empty_field: name("not_empty_field"),
        etag_field: name("etag_field"),
        conditional_get: conditional_get.unwrap_or_default(),
    };
    let request = [
        &rest.bare_body_field,
        &rest.sse_resume_field,
        &rest.idempotency_key_field,
        &rest.if_match_field,
        &rest.not_empty_field,
    ];
    for path in request.into_iter().flatten() {
        resolve(&method.input(), path).ok_or_else(|| unknown(method, "request", path))?;
    }
    for path in [&rest.sse_id_field, &rest.etag_field].into_iter().flatten() {
        resolve(&method.output(), path).ok_or_else(|| unknown(method, "reply", path))?;
    }
    Ok(rest)
}

fn refuse_equal(routes: &[Route]) -> Result<(), Error> {
    let mut seen: HashMap<(&Method, &[Segment], Option<&str>), &Route> = HashMap::new();
    for route in routes {
        let key = (&route.verb, route.template.segments(), route.template.verb());
        if let Some(other) = seen.insert(key, route) {
            return Err(refused(&route.method, format!("it has the same rule as {}", other.method.full_name())));
        }
    }
    Ok(())
}

fn text(message: &DynamicMessage, field: &str) -> String {
    message.get_field_by_name(field).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn list(message: &DynamicMessage, field: &str) -> Vec<DynamicMessage> {
    let value = message.get_field_by_name(field);
    let items = value.as_ref().and_then(|value| value.as_list()).unwrap_or_default();
    items.iter().filter_map(|item| item.as_message().cloned()).collect()
}

fn unknown(method: &MethodDescriptor, message: &str, path: &str) -> Error {
    refused(method, format!("the {message} has no field `{path}`"))
}

fn refused(method: &MethodDescriptor, why: impl Into<String>) -> Error {
    Error::Refused { method: method.full_name().to_owned(), why: why.into() }
}
