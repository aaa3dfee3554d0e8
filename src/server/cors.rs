//! Which pages may call from a browser.

use std::time::Duration;

use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer, ExposeHeaders};

use super::StartError;

/// Browsers of these origins may call. Credentials travel in headers, never in
/// cookies, so none are allowed.
pub(super) fn layer(origins: &[String]) -> Result<CorsLayer, StartError> {
    let mut allowed = Vec::new();
    for origin in origins {
        let value = origin.parse::<http::HeaderValue>();
        allowed.push(value.map_err(|_| StartError::Setting(format!("`{origin}` is no origin for --cors-origins")))?);
    }
    let exposed = [
        "grpc-status",
        "grpc-message",
        "grpc-status-details-bin",
        "etag",
        "retry-after",
        "ratelimit",
        "ratelimit-policy",
        "x-request-id",
    ];
    Ok(CorsLayer::new()
        .allow_origin(if origins == ["*"] { AllowOrigin::any() } else { AllowOrigin::list(allowed) })
        .allow_methods([
            http::Method::GET,
            http::Method::HEAD,
            http::Method::POST,
            http::Method::PUT,
            http::Method::PATCH,
            http::Method::DELETE,
        ])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ExposeHeaders::list(exposed.map(http::HeaderName::from_static)))
        .max_age(Duration::from_secs(7200)))
}
