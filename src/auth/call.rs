//! What is noted of every call: its id, its span, its duration and its code.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use axum::response::Response;
use http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tonic::Code;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::{Method, REQUEST_ID};

/// Method name in spans and metrics of what is no method of ours: a caller's
/// path as a label would let anybody fill the memory.
const OTHER: &str = "_OTHER";

/// Address of the other end of the connection, as our socket has it. The listener
/// puts it into each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// Whom the address stands for: itself, or of IPv6 the network of 64 bits, since a
    /// single machine has all of that.
    pub fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
        }
    }
}

/// Names one call in answers and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// The caller's own if it is harmless, else a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|text| is_harmless(text));
        Self(given.map_or_else(|| format!("req_{}", ulid::Ulid::new().to_string().to_lowercase()), str::to_owned))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_harmless(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// A call under way. Counted when it is dropped, so a caller who went away is
/// counted too, as `CANCELLED`.
pub(super) struct Call {
    method: String,
    streams: bool,
    started: Instant,
    code: Code,
    span: Span,
}

impl Call {
    /// Notes the beginning; the handler runs in the span.
    pub(super) fn begin(method: Option<&Method>, request_id: &RequestId, headers: &HeaderMap) -> (Self, Span) {
        let name = method.map_or(OTHER, |method| method.name.as_str());
        let nested = !Span::current().is_none();
        let span = info_span!(
            "rpc",
            otel.name = name,
            otel.kind = if nested { "internal" } else { "server" },
            rpc.system.name = "grpc",
            rpc.method = name,
            request_id = request_id.as_str(),
            caller.key = tracing::field::Empty,
            rpc.status_code = tracing::field::Empty,
        );
        if !nested {
            let parent = TraceContextPropagator::new().extract(&Headers(headers));
            // Without an OpenTelemetry layer there is no trace to continue.
            let _ = span.set_parent(parent);
        }
        let streams = method.is_some_and(|method| method.streams);
        let call = Self {
            method: name.to_owned(),
            streams,
            started: Instant::now(),
            code: Code::Cancelled,
            span: span.clone(),
        };
        (call, span)
    }

    /// Notes the end. An answer without `grpc-status` among its headers has it in
    /// the trailers, which tonic does for what went well only.
    pub(super) fn end(mut self, response: &Response) {
        let status = response.headers().get("grpc-status");
        self.code = status.map_or(Code::Ok, |status| Code::from_bytes(status.as_bytes()));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = name(self.code);
        self.span.record("rpc.status_code", code);
        metrics::counter!("rpc.server.calls", "rpc.method" => self.method.clone(), "rpc.status_code" => code)
            .increment(1);
        // How long somebody watches says nothing about the server.
        if !self.streams {
            metrics::histogram!("rpc.server.call.duration", "rpc.method" => self.method.clone(), "rpc.status_code" => code)
                .record(self.started.elapsed().as_secs_f64());
        }
    }
}

pub(super) fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Reads `traceparent` and `tracestate`.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_harmless_request_id_is_kept_and_any_other_replaced() {
        let of = |text: &'static str| {
            RequestId::of(&HeaderMap::from_iter([(
                http::HeaderName::from_static(REQUEST_ID),
                HeaderValue::from_static(text),
            )]))
        };
        assert_eq!(of("a.B_9-z").as_str(), "a.B_9-z");
        for odd in ["", "a b", "a\"b", "a/b"] {
            assert!(of(odd).as_str().starts_with("req_"), "{odd}");
        }
        assert_ne!(RequestId::of(&HeaderMap::new()), RequestId::of(&HeaderMap::new()));
    }
}
