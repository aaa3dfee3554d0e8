//! One port, all doors: each request goes to gRPC, to gRPC-Web, to a page or a
//! probe of the server itself, or to the REST gateway.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use tonic::service::Routes;
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::cors::CorsLayer;

use crate::audit::Audit;
use crate::auth::{Peer, RequestId};
use crate::error::Reason;
use crate::gateway::Gateway;
use crate::gateway::docs::Docs;
use crate::store::Store;
use crate::telemetry;

/// The pages of the server itself, made once at start.
pub struct Pages {
    /// OpenAPI document.
    pub openapi: Bytes,
    /// Readable API page.
    pub docs: Docs,
}

/// How the doors behave to everybody.
#[derive(Clone)]
pub struct Manners {
    /// What browsers of other origins may do.
    pub cors: CorsLayer,
    /// Most headers of a request.
    pub max_headers: usize,
    /// Whether the server itself speaks TLS.
    pub has_tls: bool,
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Sends each request to its door.
#[derive(Clone)]
pub struct Front {
    grpc: Routes,
    gateway: Gateway,
    pages: Arc<Pages>,
    manners: Manners,
    store: Store,
    audit: Arc<Audit>,
    stopping: tokio_util::sync::CancellationToken,
}

impl Front {
    /// All doors.
    pub fn new(
        grpc: Routes,
        gateway: Gateway,
        pages: Pages,
        manners: Manners,
        store: Store,
        audit: Arc<Audit>,
        stopping: tokio_util::sync::CancellationToken,
    ) -> Self {
        Self { grpc, gateway, pages: Arc::new(pages), manners, store, audit, stopping }
    }

    /// Answers one request. Every answer names it, whichever door it came from.
    pub async fn handle<B>(self, request: Request<B>) -> Result<Response<Body>, Infallible>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut request = request.map(Body::new);
        let id = name(request.headers_mut());
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        let audit = self.audit.clone();
        let (most, has_tls) = (self.manners.max_headers, self.manners.has_tls);
        // HTTP/1.1 ends such a connection itself; the streams of HTTP/2 come here.
        let mut response = if request.headers().len() > most {
            text(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers\n")
        } else {
            self.shared(request).await
        };
        // Who has no key does not get from the gateway to the gate.
        if response.status() == StatusCode::UNAUTHORIZED {
            audit.refused_entry(peer, Reason::Unauthorized.name());
        }
        secure(response.headers_mut(), has_tls);
        if let Some(id) = id {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        Ok(response)
    }

    /// What browsers need around an answer. An OPTIONS that is no preflight is a
    /// question to the door, which the layer would not pass on.
    async fn shared(self, request: Request<Body>) -> Response<Body> {
        if *request.method() == Method::OPTIONS && !request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return self.open(request).await;
        }
        let cors = self.manners.cors.clone();
        let doors = service_fn(move |request| {
            let front = self.clone();
            async move { Ok::<_, Infallible>(front.open(request).await) }
        });
        match cors.layer(doors).oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    async fn open(self, request: Request<Body>) -> Response<Body> {
        match door(&request) {
            Door::Grpc => call(self.grpc, request.map(tonic::body::Body::new)).await,
            Door::GrpcWeb => call(GrpcWebLayer::new().layer(self.grpc), request.map(tonic::body::Body::new)).await,
            Door::GrpcNeedsHttp2 => text(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "gRPC needs HTTP/2\n"),
            Door::Page(page) => self.page(page, request.method()).await,
            Door::Rest => self.gateway.handle(request).await,
        }
    }

    async fn page(&self, page: Page, method: &Method) -> Response<Body> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let mut response = match page {
            Page::Health => text(StatusCode::OK, "ok\n"),
            Page::Ready => self.readiness().await,
            Page::Metrics => {
                typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", telemetry::render_metrics())
            }
            Page::OpenApi => typed(StatusCode::OK, "application/json", self.pages.openapi.clone()),
            Page::Docs => {
                let Docs { html, content_security_policy } = &self.pages.docs;
                let mut response = typed(StatusCode::OK, "text/html; charset=utf-8", html.clone());
                if let Ok(policy) = HeaderValue::from_str(content_security_policy) {
                    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
                }
                response
            }
            Page::Home => {
                let mut response = text(StatusCode::FOUND, "see /docs\n");
                response.headers_mut().insert(http::header::LOCATION, HeaderValue::from_static("/docs"));
                response
            }
        };
        for (name, value) in PAGE_HEADERS {
            // The page itself may have said it better.
            response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
        }
        if *method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }

    async fn readiness(&self) -> Response<Body> {
        if self.stopping.is_cancelled() {
            return text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
        }
        match self.store.ping().await {
            Ok(()) => text(StatusCode::OK, "ready\n"),
            Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the metadata store does not answer\n"),
        }
    }
}

/// What a page says beside its content: nothing is loaded, it stands in no frame, and
/// tells nobody where its reader came from.
const PAGE_HEADERS: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// A year, in seconds.
const HSTS: &str = "max-age=31536000";

/// What every answer says: its type is what it says, and where we speak TLS, that
/// browsers should never try without. Behind a proxy that is the proxy's to say.
fn secure(headers: &mut HeaderMap, has_tls: bool) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if has_tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
}

/// Gives the request a good name if it has none, so that all behind agree on it.
fn name(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let id = HeaderValue::from_str(RequestId::of(headers).as_str()).ok()?;
    headers.insert(REQUEST_ID, id.clone());
    Some(id)
}

enum Door {
    Grpc,
    GrpcWeb,
    GrpcNeedsHttp2,
    Page(Page),
    Rest,
}

#[derive(Clone, Copy)]
enum Page {
    Home,
    Health,
    Ready,
    Metrics,
    OpenApi,
    Docs,
}

fn door<B>(request: &Request<B>) -> Door {
    let content_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if content_type.starts_with(b"application/grpc-web") {
        return Door::GrpcWeb;
    }
    if content_type.starts_with(b"application/grpc") {
        return if request.version() == Version::HTTP_2 { Door::Grpc } else { Door::GrpcNeedsHttp2 };
    }
    match request.uri().path() {
        "/" => Door::Page(Page::Home),
        "/healthz" => Door::Page(Page::Health),
        "/readyz" => Door::Page(Page::Ready),
        "/metrics" => Door::Page(Page::Metrics),
        "/openapi.json" => Door::Page(Page::OpenApi),
        "/docs" | "/docs/" => Door::Page(Page::Docs),
        _ => Door::Rest,
    }
}

async fn call<S, B>(service: S, request: Request<tonic::body::Body>) -> Response<Body>
where
    S: Service<Request<tonic::body::Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match service.oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"),
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", body)
}

fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
