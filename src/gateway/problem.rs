//! Errors: what a caller gets when the service, or the gateway itself, says no.

use http::StatusCode;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, Value};
use tonic::Code;

use crate::gateway::json::shorten;
use crate::gateway::read::BadField;
use crate::gateway::words;
use crate::gateway::write;

/// One error, ready to be written as a body or as an event.
#[derive(Debug)]
pub(super) struct Problem {
    pub status: StatusCode,
    pub reason: String,
    pub message: String,
    /// Each one JSON text with an `@type`.
    pub details: Vec<String>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// What the making of an error from a gRPC status needs to know.
#[derive(Clone, Copy)]
pub(super) struct Service<'gateway> {
    pub pool: &'gateway DescriptorPool,
    pub status_of_reason: fn(&str) -> Option<u16>,
    /// The request's type, if a method was found: it says which parts of a
    /// field path are our names and which are the caller's own keys.
    pub request: Option<&'gateway MessageDescriptor>,
}

impl Problem {
    /// An error that the gateway makes.
    pub(super) fn new(status: StatusCode, reason: &str, message: impl Into<String>) -> Self {
        Self { status, reason: reason.to_owned(), message: message.into(), details: Vec::new(), headers: Vec::new() }
    }

    /// A malformed request.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", message)
    }

    /// A request with one wrong field.
    pub(super) fn field(error: &BadField) -> Self {
        let field = shorten(&error.field);
        let message = match field {
            "" => format!("the body is not taken: {}", error.description),
            field => format!("`{field}` {}", error.description),
        };
        let mut problem = Self::invalid(message);
        problem.details.push(format!(
            "{{\"@type\":\"type.googleapis.com/google.rpc.BadRequest\",\"fieldViolations\":[{{\"field\":{},\
             \"description\":{},\"reason\":{}}}]}}",
            write::string(field),
            write::string(&error.description),
            write::string(error.reason)
        ));
        problem
    }

    /// Adds a header to the answer.
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The error of a gRPC status, with its details.
    pub(super) fn from_status(status: &tonic::Status, service: &Service<'_>) -> Self {
        let mut problem = Self::new(http_status(status.code()), reason(status.code()), status.message());
        for (url, mut detail) in details(status, service.pool) {
            match url.rsplit_once('/').map_or(url.as_str(), |(_, name)| name) {
                "google.rpc.ErrorInfo" => {
                    if let Some(reason) = text(&detail, "reason") {
                        let status =
                            (service.status_of_reason)(&reason).and_then(|code| StatusCode::from_u16(code).ok());
                        problem.status = status.unwrap_or(problem.status);
                        problem.reason = reason;
                    }
                }
                "google.rpc.BadRequest" => name_fields(&mut detail, service.request),
                "google.rpc.RetryInfo" => problem = problem.retry_after(&detail),
                _ => {}
            }
            // A detail that cannot be printed must not hide the error itself.
            problem.details.extend(write::typed(&url, &detail));
        }
        problem
    }

    fn retry_after(self, detail: &DynamicMessage) -> Self {
        let delay = detail.get_field_by_name("retry_delay");
        let Some(delay) = delay.as_ref().and_then(|delay| delay.as_message()) else { return self };
        let number = |name| delay.get_field_by_name(name).map(|value| value.into_owned());
        let seconds = number("seconds").and_then(|value| value.as_i64()).unwrap_or_default().max(0);
        let nanos = number("nanos").and_then(|value| value.as_i32()).unwrap_or_default();
        // Rounded up: never ask a caller back too early.
        self.with(RETRY_AFTER, &(seconds + i64::from(nanos > 0)).to_string())
    }

    /// Completes an error: every one has an `ErrorInfo`, and every 401 a challenge.
    pub(super) fn complete(mut self, domain: &str) -> Self {
        if !self.details.iter().any(|detail| detail.contains("/google.rpc.ErrorInfo\"")) {
            let info = format!(
                "{{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":{},\"domain\":{},\"metadata\":{{}}}}",
                write::string(&self.reason),
                write::string(domain)
            );
            self.details.insert(0, info);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            self.headers.push((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"api\"")));
        }
        self
    }

    /// The documented body.
    pub(super) fn body(&self, request_id: &str) -> String {
        format!("{{\"success\":false,\"error\":{},{}}}", self.word(), self.common(request_id, "message"))
    }

    /// The body by RFC 9457.
    pub(super) fn rfc9457(&self, request_id: &str) -> String {
        format!(
            "{{\"type\":\"about:blank\",\"title\":{},\"status\":{},{},\"success\":false,\"error\":{}}}",
            write::string(self.status.canonical_reason().unwrap_or("Error")),
            self.status.as_u16(),
            self.common(request_id, "detail"),
            self.word(),
        )
    }

    fn word(&self) -> String {
        write::string(&self.reason.to_ascii_lowercase())
    }

    fn common(&self, request_id: &str, message: &str) -> String {
        format!(
            "\"{message}\":{},\"requestId\":{},\"details\":[{}]",
            write::string(&self.message),
            write::string(request_id),
            self.details.join(",")
        )
    }
}

/// The error in place of an answer that is longer than it may be.
pub(super) fn too_large_to_answer(most: usize) -> Problem {
    let message = format!("the answer would be larger than {most} bytes; ask for less, such as a smaller page");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message)
}

/// The HTTP status of a gRPC code (google/rpc/code.proto).
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The reason of a status that brings none.
fn reason(code: Code) -> &'static str {
    match code {
        Code::Cancelled => "CANCELLED",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "FORBIDDEN",
        Code::Unauthenticated => "UNAUTHORIZED",
        Code::ResourceExhausted => "RATE_LIMITED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "NOT_SUPPORTED",
        Code::Unavailable => "UNAVAILABLE",
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => "INTERNAL",
    }
}

/// The details whose types are known.
fn details(status: &tonic::Status, pool: &DescriptorPool) -> Vec<(String, DynamicMessage)> {
    let decoded = pool
        .get_message_by_name("google.rpc.Status")
        .and_then(|descriptor| DynamicMessage::decode(descriptor, status.details()).ok());
    let list = decoded.as_ref().and_then(|decoded| decoded.get_field_by_name("details"));
    let items = list.as_ref().and_then(|list| list.as_list()).unwrap_or_default();
    items.iter().filter_map(|item| unpack(item.as_message()?, pool)).collect()
}

fn unpack(any: &DynamicMessage, pool: &DescriptorPool) -> Option<(String, DynamicMessage)> {
    let url = text(any, "type_url")?;
    let name = url.rsplit_once('/').map_or(url.as_str(), |(_, name)| name);
    let value = any.get_field_by_name("value")?;
    let message = DynamicMessage::decode(pool.get_message_by_name(name)?, value.as_bytes()?.clone()).ok()?;
    Some((url, message))
}

fn name_fields(detail: &mut DynamicMessage, request: Option<&MessageDescriptor>) {
    let violations = detail.get_field_by_name_mut("field_violations").and_then(|value| value.as_list_mut());
    for violation in violations.into_iter().flatten().filter_map(Value::as_message_mut) {
        if let Some(field) = text(violation, "field") {
            violation.set_field_by_name("field", Value::String(json_path(&field, request)));
        }
    }
}

/// A field path in JSON spelling. Keys inside a `Struct` or a map are the
/// caller's own and stay as they are.
fn json_path(path: &str, request: Option<&MessageDescriptor>) -> String {
    let mut current = request.cloned();
    let known = path
        .split(['.', '['])
        .next()
        .is_some_and(|first| request.is_none_or(|request| crate::gateway::read::field(request, first).is_some()));
    if !known {
        return path.to_owned();
    }
    let mut parts = Vec::new();
    let mut own = false;
    for part in path.split('.') {
        let (name, index) = part.split_at(part.find('[').unwrap_or(part.len()));
        if own {
            parts.push(part.to_owned());
            continue;
        }
        let field = current.as_ref().and_then(|message| crate::gateway::read::field(message, name));
        parts.push(format!(
            "{}{index}",
            field.as_ref().map_or_else(|| words::camel(name), |field| field.json_name().to_owned())
        ));
        current = match field.as_ref().map(|field| field.kind()) {
            Some(Kind::Message(inner)) => {
                own = inner.full_name() == "google.protobuf.Struct" || inner.is_map_entry();
                Some(inner)
            }
            _ => None,
        };
    }
    parts.join(".")
}

fn text(message: &DynamicMessage, field: &str) -> Option<String> {
    let value = message.get_field_by_name(field)?;
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}
