//! An OTLP collector that keeps what it is sent.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;

type Kept = Arc<Mutex<Vec<u8>>>;

/// A collector on a free port.
pub struct Collector {
    /// `http://127.0.0.1:PORT`.
    pub endpoint: String,
    kept: Kept,
}

impl Collector {
    /// Starts one; it ends with the test.
    pub async fn start() -> Self {
        let kept = Kept::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().fallback(keep).with_state(kept.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { endpoint, kept }
    }

    /// All that was sent.
    pub fn kept(&self) -> Vec<u8> {
        self.kept.lock().expect("nobody panicked").clone()
    }
}

/// Answers an empty message of gRPC, which is the reply of every export.
async fn keep(State(kept): State<Kept>, request: Request) -> Response {
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap_or_default();
    kept.lock().expect("nobody panicked").extend_from_slice(&body);
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let message = http_body_util::Full::new(bytes::Bytes::from_static(&[0, 0, 0, 0, 0]));
    let body = http_body_util::BodyExt::with_trailers(message, std::future::ready(Some(Ok(trailers))));
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(axum::body::Body::new(body)).expect("a response")
}
