//! Answers of one JSON document: the envelope, the ETag, compression.

use std::io::Write as _;

use axum::body::Body;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use prost_reflect::{DynamicMessage, ReflectMessage};

use crate::gateway::media;
use crate::gateway::problem::Problem;
use crate::gateway::query;
use crate::gateway::rules::{Route, resolve};
use crate::gateway::write::{self, Unprintable};

/// Smaller bodies are not worth packing.
const COMPRESS_FROM: usize = 1024;

/// Why a reply is not sent.
pub(super) enum Failed {
    /// It has no JSON form.
    Unprintable,
    /// It is longer than an answer may be.
    TooLarge,
}

/// The answer to a unary call that went well, of at most so many bytes.
pub(super) fn unary(
    route: &Route,
    reply: &DynamicMessage,
    method: &Method,
    headers: &HeaderMap,
    most: usize,
) -> Result<Response<Body>, Failed> {
    let etag = etag(route, reply);
    let is_read = method == Method::GET || method == Method::HEAD;
    if let Some(etag) = &etag
        && route.rest.conditional_get
        && is_read
        && is_known(headers, etag)
    {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().insert(ETAG, etag.clone());
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
        response.headers_mut().insert(CACHE_CONTROL, caching(route));
        return Ok(response);
    }
    let members = write::members(reply).map_err(|Unprintable { .. }| Failed::Unprintable)?;
    let comma = if members.is_empty() { "" } else { "," };
    let text = format!("{{\"success\":true{comma}{members}}}");
    if text.len() > most {
        return Err(Failed::TooLarge);
    }
    let mut response = document(StatusCode::OK, "application/json", text, headers);
    response.headers_mut().insert(CACHE_CONTROL, caching(route));
    if let Some(etag) = etag {
        response.headers_mut().insert(ETAG, etag);
    }
    Ok(response)
}

/// The answer to a call that went wrong.
pub(super) fn problem(problem: Problem, domain: &str, request_id: &str, headers: &HeaderMap) -> Response<Body> {
    let problem = problem.complete(domain);
    let (kind, text) = if media::wants_problem_json(headers) {
        ("application/problem+json", problem.rfc9457(request_id))
    } else {
        ("application/json", problem.body(request_id))
    };
    let mut response = document(problem.status, kind, text, headers);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in problem.headers {
        response.headers_mut().insert(name, value);
    }
    response
}

/// What a caller may see belongs into no cache. Where answers can be asked for again
/// by ETag, the caller itself may keep one, and asks each time whether it still holds.
fn caching(route: &Route) -> HeaderValue {
    HeaderValue::from_static(if route.rest.conditional_get { "private, no-cache" } else { "no-store" })
}

fn document(status: StatusCode, kind: &'static str, text: String, headers: &HeaderMap) -> Response<Body> {
    let packed = (text.len() > COMPRESS_FROM && media::takes_gzip(headers)).then(|| pack(text.as_bytes())).flatten();
    let is_packed = packed.is_some();
    let bytes = packed.unwrap_or_else(|| text.into_bytes());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let answer = response.headers_mut();
    answer.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    answer.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if is_packed {
        answer.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    *response.body_mut() = Body::from(bytes);
    response
}

fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

fn etag(route: &Route, reply: &DynamicMessage) -> Option<HeaderValue> {
    let path = route.rest.etag_field.as_deref()?;
    let value = query::get(reply, &resolve(&reply.descriptor(), path)?)?;
    let text = value.as_str().filter(|text| !text.is_empty())?;
    let is_quoted = text.starts_with('"') || text.starts_with("W/\"");
    let quoted = if is_quoted { text.to_owned() } else { format!("\"{text}\"") };
    HeaderValue::from_str(&quoted).ok()
}

/// Weak comparison, as RFC 9110 wants it for `If-None-Match`.
fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let strong = |text: &str| text.trim().trim_start_matches("W/").to_owned();
    let Ok(current) = etag.to_str() else { return false };
    let given = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    given.flat_map(|value| value.split(',')).any(|one| one.trim() == "*" || strong(one) == strong(current))
}
