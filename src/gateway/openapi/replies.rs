//! What every operation can answer with: the errors, and the headers.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::gateway::openapi::schemas::{Schemas, reference};
use crate::gateway::rules::{Body, Route};

/// The component of the errors of a status.
pub(super) fn component(status: u16) -> String {
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let name: String = reason.unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect();
    if name.is_empty() { format!("Error{status}") } else { name }
}

/// The errors that an operation can answer with.
pub(super) fn statuses(route: &Route) -> Vec<u16> {
    let has_body = route.body != Body::None;
    let changes = route.verb != http::Method::GET;
    let conditional = route.rest.if_match_field.is_some();
    let idempotent = route.rest.idempotency_key_field.is_some();
    let cases = [
        (400, true),
        (401, true),
        (403, true),
        (404, has_body || !route.template.variables().is_empty()),
        (406, true),
        (408, has_body),
        (409, changes),
        (412, conditional),
        (413, has_body),
        (414, true),
        (415, has_body),
        (422, idempotent),
        (429, true),
        (431, true),
        (500, true),
        (501, !route.template.variables().is_empty()),
        (503, true),
        (504, true),
        (507, changes),
    ];
    cases.into_iter().filter(|(_, applies)| *applies).map(|(status, _)| status).collect()
}

/// The components for the errors of each status, and one for all others.
pub(super) fn errors(reasons: &[(String, u16)]) -> Value {
    let mut statuses: Vec<u16> = reasons.iter().map(|(_, status)| *status).collect();
    statuses.sort_unstable();
    statuses.dedup();
    let mut components = Map::new();
    for status in statuses {
        let words: Vec<String> =
            reasons.iter().filter(|(_, of)| *of == status).map(|(word, _)| format!("`{word}`")).collect();
        components.insert(component(status), error(&words.join(", "), status));
    }
    components.insert("Error".to_owned(), error("Any other error.", 0));
    components.into()
}

fn error(description: &str, status: u16) -> Value {
    let mut headers = json!({"X-Request-Id": header("RequestId")});
    match status {
        401 => headers["WWW-Authenticate"] = header("WWWAuthenticate"),
        429 | 503 => headers["Retry-After"] = header("RetryAfter"),
        _ => {}
    }
    json!({
        "description": description,
        "headers": headers,
        "content": {
            "application/json": {"schema": reference("Error")},
            "application/problem+json": {"schema": reference("Problem")},
        },
    })
}

/// A header of the components by name.
pub(super) fn header(name: &str) -> Value {
    json!({"$ref": format!("#/components/headers/{name}")})
}

/// The headers of answers.
pub(super) fn headers() -> Value {
    let text = |description: &str| json!({"description": description, "schema": {"type": "string"}});
    json!({
        "RequestId": text("Names the request: the caller's own X-Request-Id if it is well-formed, else a new one."),
        "ETag": text("Version of the resource, for If-Match and If-None-Match."),
        "RetryAfter": {"description": "Seconds after which a retry makes sense.", "schema": {"type": "integer", "minimum": 0}},
        "WWWAuthenticate": text("The challenge."),
    })
}

/// The two forms of an error.
pub(super) fn add_schemas(schemas: &mut Schemas<'_>, reasons: &[(String, u16)]) {
    let words: Vec<&str> = reasons.iter().map(|(word, _)| word.as_str()).collect();
    let error = json!({
        "type": "string",
        "pattern": "^[a-z][a-z0-9_]*$",
        "description": format!("What went wrong. May grow. One of {}.", words.join(", ")),
    });
    let request_id = json!({"type": "string", "description": "Finds the request in the server's log."});
    let details = json!({
        "type": "array",
        "description": "google.rpc error details, an ErrorInfo among them.",
        "items": {
            "type": "object",
            "properties": {"@type": {"type": "string"}},
            "required": ["@type"],
            "additionalProperties": true,
        },
    });
    let (success, text) = (json!({"type": "boolean", "const": false}), json!({"type": "string"}));
    schemas.add(
        "Error",
        json!({
            "type": "object",
            "description": "An error.",
            "properties": {
                "success": success,
                "error": error,
                "message": {"type": "string", "description": "For people."},
                "requestId": request_id,
                "details": details,
            },
            "required": ["success", "error", "message", "requestId"],
        }),
    );
    schemas.add(
        "Problem",
        json!({
            "type": "object",
            "description": "An error in the form of RFC 9457, for those who accept application/problem+json.",
            "properties": {
                "type": text, "title": text, "status": {"type": "integer"}, "detail": text,
                "success": success, "error": error, "requestId": request_id, "details": details,
            },
            "required": ["type", "title", "status", "detail", "error"],
        }),
    );
}
