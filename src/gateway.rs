//! The REST door: takes HTTP with JSON by the `google.api.http` rules of a
//! descriptor set and calls a gRPC service in process.
//!
//! It knows nothing of what it serves: the descriptors, the status of each
//! error reason and the check of a caller are given to it.

mod answer;
mod bind;
mod call;
pub mod docs;
mod headers;
pub mod json;
mod lines;
mod media;
mod moment;
pub mod openapi;
pub mod path;
mod problem;
mod query;
pub mod read;
mod receive;
pub mod rules;
mod scalar;
mod stream;
pub mod template;
#[cfg(test)]
mod tests;
mod trie;
mod well_known;
pub mod words;
pub mod write;

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::header::ALLOW;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tower::{Service, ServiceExt as _};

use crate::gateway::call::{Deadline, Grpc};
use crate::gateway::json::Json;
use crate::gateway::problem::Problem;
use crate::gateway::rules::{Route, Table};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Decides from the head of a request whether a caller may come in at all: what to
/// add to the call for the service, and what to add to the answer's headers.
pub type Authenticate =
    Arc<dyn Fn(&Parts) -> BoxFuture<'static, (Result<Extensions, tonic::Status>, HeaderMap)> + Send + Sync>;

/// What the gateway is told about the service behind it.
#[derive(Clone)]
pub struct Settings {
    /// Full name of the method option with the REST behaviour.
    pub options_extension: &'static str,
    /// `ErrorInfo.domain` of the errors that the gateway itself makes.
    pub error_domain: &'static str,
    /// Path prefixes that stand for others: `("/v1", "/api/v1")`.
    pub prefix_aliases: Vec<(&'static str, &'static str)>,
    /// HTTP status of an error reason, where it is not the gRPC code's.
    pub status_of_reason: fn(&str) -> Option<u16>,
    /// Largest body, counted after decompression too.
    pub max_body: usize,
    /// Largest answer of one call, before it is compressed.
    pub max_answer: usize,
    /// Longest path and query.
    pub max_uri: usize,
    /// Deepest nesting of JSON.
    pub max_json_depth: usize,
    /// Called before a route is looked for. The gRPC stack authenticates again.
    pub authenticate: Authenticate,
}

/// Why a descriptor set cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not a descriptor set.
    #[error("the descriptor set cannot be read")]
    Descriptors(#[from] prost_reflect::DescriptorError),
    /// An option that the gateway reads is not defined.
    #[error("the descriptor set has no option `{0}`")]
    NoExtension(String),
    /// A method has a rule that cannot be served.
    #[error("`{method}` cannot be served: {why}")]
    Refused {
        /// Full name of the method.
        method: String,
        /// What is wrong with its rule.
        why: String,
    },
}

/// Which route answered; an extension of the response, for metrics and spans.
#[derive(Debug, Clone)]
pub struct Matched {
    /// Full name of the method that was called.
    pub rpc: String,
    /// The path template of the route.
    pub template: String,
}

/// The REST door. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
    grpc: Grpc,
}

struct Inner {
    settings: Settings,
    table: Table,
    pace: stream::Pace,
}

/// What is known of a request when its answer is made, good or bad.
#[derive(Default)]
struct Noted {
    matched: Option<Matched>,
    headers: HeaderMap,
}

/// A path that is in the table.
struct Found {
    route: usize,
    segments: Vec<path::PathSegment>,
}

impl Gateway {
    /// Reads the descriptors and puts the door in front of a gRPC service.
    pub fn new<S, B>(settings: Settings, descriptors: &[u8], grpc: S) -> Result<Self, Error>
    where
        S: Service<Request<tonic::body::Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let table = Table::load(descriptors, settings.options_extension)?;
        let pace = stream::Pace::default();
        let grpc = grpc.map_response(|response| response.map(tonic::body::Body::new));
        let grpc = grpc.map_err(|error: S::Error| tonic::Status::from_error(error.into()));
        Ok(Self { inner: Arc::new(Inner { settings, table, pace }), grpc: Grpc::new(grpc) })
    }

    /// The rules that are served.
    pub fn table(&self) -> &Table {
        &self.inner.table
    }

    /// Answers one request. Never fails: every error is an answer.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (mut parts, body) = request.into_parts();
        let id = headers::request_id(&parts.headers);
        let mut noted = Noted::default();
        let mut response = match self.serve(&mut parts, body, &id, &mut noted).await {
            Ok(response) => response,
            Err(problem) => self.inner.problem(problem, &id, &parts.headers),
        };
        response.headers_mut().extend(noted.headers);
        response.headers_mut().insert(REQUEST_ID, id);
        if let Some(matched) = noted.matched {
            response.extensions_mut().insert(matched);
        }
        if parts.method == Method::HEAD { response.map(|_| Body::empty()) } else { response }
    }

    /// The order of the checks is part of the contract.
    async fn serve<B>(
        &self,
        parts: &mut Parts,
        body: B,
        id: &HeaderValue,
        noted: &mut Noted,
    ) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let inner = &self.inner;
        inner.check_size(parts)?;
        let (authenticated, headers) = (inner.settings.authenticate)(parts).await;
        noted.headers = headers;
        parts.extensions = authenticated.map_err(|status| Problem::from_status(&status, &inner.service(None)))?;
        let parts = &*parts;
        let segments = inner.segments(parts.uri.path())?;
        if parts.method == Method::OPTIONS {
            return inner.options(&segments);
        }
        let found = inner.find(&parts.method, segments)?;
        let route = &inner.table.routes()[found.route];
        noted.matched =
            Some(Matched { rpc: route.method.full_name().to_owned(), template: route.template.to_string() });
        let media = if route.method.is_server_streaming() {
            media::stream(&parts.headers)
        } else {
            media::unary(&parts.headers)
        };
        let media = media.ok_or_else(|| not_acceptable(route))?;
        receive::check_type(&parts.headers, &body, route)?;
        let deadline = Deadline::of(&parts.headers)?;
        if route.method.is_client_streaming() {
            return lines::call(inner, self.grpc.clone(), &found, (parts, body), id, deadline).await;
        }
        let bytes = deadline.bound(receive::read(&parts.headers, body, inner.settings.max_body)).await??;
        let message = inner.message(&found, parts, &bytes)?;
        let request = call::request(parts, id, deadline, message.encode_to_vec().into());
        let input = route.method.input();
        let failed = |status: tonic::Status| inner.failed(&status, &input);
        if route.method.is_server_streaming() {
            let calling = call::streaming(self.grpc.clone(), &route.method, request);
            let reply = deadline.bound(calling).await?.map_err(failed)?;
            let writer = stream::Writer {
                inner: inner.clone(),
                route: found.route,
                media,
                request_id: id.to_str().unwrap_or_default().to_owned(),
                deadline,
                resumed: headers::last_event_id(&parts.headers).is_some(),
            };
            return stream::answer(writer, reply.into_inner()).await;
        }
        let calling = call::unary(self.grpc.clone(), &route.method, request);
        let reply = deadline.bound(calling).await?.map_err(failed)?;
        inner.reply(route, parts, reply)
    }
}

impl Inner {
    fn check_size(&self, parts: &Parts) -> Result<(), Problem> {
        let length = parts.uri.path_and_query().map_or(0, |path| path.as_str().len());
        if length > self.settings.max_uri {
            let message = format!("the path and query are longer than {} bytes", self.settings.max_uri);
            return Err(Problem::new(StatusCode::URI_TOO_LONG, "URI_TOO_LONG", message));
        }
        // Of a stream it is the lines that are bounded.
        if self.takes_lines(parts) { Ok(()) } else { receive::check_declared(&parts.headers, self.settings.max_body) }
    }

    fn takes_lines(&self, parts: &Parts) -> bool {
        let found = self.segments(parts.uri.path()).and_then(|segments| self.find(&parts.method, segments));
        found.is_ok_and(|found| self.table.routes()[found.route].method.is_client_streaming())
    }

    fn segments(&self, path: &str) -> Result<Vec<path::PathSegment>, Problem> {
        path::segments(&self.without_alias(path)).map_err(|bad| match bad {
            path::BadPath::NotFound => no_such_path(),
            path::BadPath::Malformed => Problem::invalid("the path holds a bad percent escape, invalid UTF-8 or a NUL"),
        })
    }

    fn without_alias<'path>(&self, path: &'path str) -> std::borrow::Cow<'path, str> {
        for (alias, prefix) in &self.settings.prefix_aliases {
            if let Some(rest) = path.strip_prefix(alias)
                && (rest.is_empty() || rest.starts_with('/'))
            {
                return format!("{prefix}{rest}").into();
            }
        }
        path.into()
    }

    fn find(&self, method: &Method, segments: Vec<path::PathSegment>) -> Result<Found, Problem> {
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        let routes = self.table.routes();
        let pick = |candidates: &[usize]| candidates.iter().copied().find(|index| routes[*index].verb == *wanted);
        if let Some(route) = self.table.trie().search(&segments, pick) {
            return Ok(Found { route, segments });
        }
        let allow = self.allow(&segments).ok_or_else(no_such_path)?;
        let message = format!("the path takes {allow}");
        Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message).with(ALLOW, &allow))
    }

    /// What a path takes, or `None` if there is no such path.
    fn allow(&self, segments: &[path::PathSegment]) -> Option<String> {
        let mut verbs: Vec<&str> = Vec::new();
        self.table.trie().search(segments, |candidates| {
            verbs.extend(candidates.iter().map(|index| self.table.routes()[*index].verb.as_str()));
            None::<()>
        });
        if verbs.is_empty() {
            return None;
        }
        if verbs.contains(&"GET") {
            verbs.push("HEAD");
        }
        verbs.push("OPTIONS");
        verbs.sort_unstable();
        verbs.dedup();
        Some(verbs.join(", "))
    }

    fn options(&self, segments: &[path::PathSegment]) -> Result<Response<Body>, Problem> {
        let allow = self.allow(segments).ok_or_else(no_such_path)?;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if let Ok(allow) = HeaderValue::from_str(&allow) {
            response.headers_mut().insert(ALLOW, allow);
        }
        Ok(response)
    }

    fn message(&self, found: &Found, parts: &Parts, bytes: &Bytes) -> Result<DynamicMessage, Problem> {
        let route = &self.table.routes()[found.route];
        let wants_body = route.body != rules::Body::None;
        if wants_body && !bytes.is_empty() && media::is_json(&parts.headers) != Some(true) {
            return Err(receive::wrong_type());
        }
        self.bound(found, parts, bytes)
    }

    /// The message of a body that was declared to be JSON.
    fn bound(&self, found: &Found, parts: &Parts, bytes: &Bytes) -> Result<DynamicMessage, Problem> {
        let route = &self.table.routes()[found.route];
        let wants_body = route.body != rules::Body::None;
        let body = if bytes.is_empty() { None } else { Some(Json::parse_within(bytes, self.settings.max_json_depth)) };
        let body = match body {
            Some(Err(_)) if !wants_body => return Err(Problem::invalid("the request must have no body")),
            body => body.transpose().map_err(|error| Problem::invalid(error.to_string()))?,
        };
        let query = query::parse(parts.uri.query().unwrap_or_default()).map_err(|error| Problem::field(&error))?;
        let idempotency_key = headers::idempotency_key(&parts.headers)?;
        let if_match = headers::if_match(&parts.headers)?;
        let request = bind::Parts {
            segments: &found.segments,
            query: &query,
            body: body.as_ref(),
            if_match: if_match.as_deref(),
            idempotency_key: idempotency_key.as_deref(),
            last_event_id: headers::last_event_id(&parts.headers),
        };
        bind::request(route, &request).map_err(|error| Problem::field(&error))
    }

    fn reply(&self, route: &Route, parts: &Parts, reply: tonic::Response<Bytes>) -> Result<Response<Body>, Problem> {
        let broken = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "the reply could not be written");
        let returned = call::returned(reply.metadata());
        let message = DynamicMessage::decode(route.method.output(), reply.into_inner()).map_err(|_| broken())?;
        let most = self.settings.max_answer;
        let mut response =
            answer::unary(route, &message, &parts.method, &parts.headers, most).map_err(|error| match error {
                answer::Failed::Unprintable => broken(),
                answer::Failed::TooLarge => problem::too_large_to_answer(most),
            })?;
        response.headers_mut().extend(returned);
        Ok(response)
    }

    fn failed(&self, status: &tonic::Status, request: &MessageDescriptor) -> Problem {
        // So the service's own stack says that its answer is too long; every error of
        // the service itself has details.
        if status.code() == tonic::Code::OutOfRange && status.details().is_empty() {
            return problem::too_large_to_answer(self.settings.max_answer);
        }
        let mut problem = Problem::from_status(status, &self.service(Some(request)));
        problem.headers.extend(call::returned(status.metadata()));
        problem
    }

    fn service<'inner>(&'inner self, request: Option<&'inner MessageDescriptor>) -> problem::Service<'inner> {
        problem::Service { pool: self.table.pool(), status_of_reason: self.settings.status_of_reason, request }
    }

    fn problem(&self, problem: Problem, id: &HeaderValue, headers: &HeaderMap) -> Response<Body> {
        answer::problem(problem, self.settings.error_domain, id.to_str().unwrap_or_default(), headers)
    }
}

fn no_such_path() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", "there is nothing at this path")
}

fn not_acceptable(route: &Route) -> Problem {
    let message = if route.method.is_server_streaming() {
        "the answer can be text/event-stream or application/x-ndjson"
    } else {
        "the answer can be application/json"
    };
    Problem::new(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", message)
}

impl<B> Service<Request<B>> for Gateway
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let gateway = self.clone();
        async move { Ok(gateway.handle(request).await) }.boxed()
    }
}
