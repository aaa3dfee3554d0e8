//! The call behind the door: protobuf bytes in and out of a gRPC service in
//! this process, with the few headers that a service may see.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use futures::Stream;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use prost_reflect::MethodDescriptor;
use tokio::time::Instant;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tower::util::BoxCloneSyncService;

use crate::gateway::problem::Problem;

/// The service behind the gateway.
pub(super) type Grpc = BoxCloneSyncService<http::Request<tonic::body::Body>, http::Response<tonic::body::Body>, Status>;

const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");
/// Longest that gRPC's eight digits of milliseconds hold.
const MAX_TIMEOUT: Duration = Duration::from_millis(99_999_999);

/// Headers that reach the service; no other does.
const FORWARDED: [&str; 4] = ["authorization", "x-api-key", "traceparent", "tracestate"];

/// Headers of the service's answer that reach the caller.
const RETURNED: [&str; 2] = ["ratelimit", "ratelimit-policy"];

/// When a call must have ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Option<(Instant, Duration)>);

impl Deadline {
    /// Reads `X-Request-Timeout`, in seconds.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = headers.get(REQUEST_TIMEOUT) else { return Ok(Self(None)) };
        let seconds = value.to_str().ok().and_then(|text| text.trim().parse::<f64>().ok());
        let timeout = seconds
            .filter(|seconds| *seconds > 0.0)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .ok_or_else(|| Problem::invalid("`X-Request-Timeout` must be a positive number of seconds"))?
            .min(MAX_TIMEOUT);
        Ok(Self(Some((Instant::now() + timeout, timeout))))
    }

    /// Waits for something, but not past the deadline.
    pub(super) async fn bound<T>(self, work: impl Future<Output = T>) -> Result<T, Problem> {
        match self.0 {
            None => Ok(work.await),
            Some((at, _)) => tokio::time::timeout_at(at, work).await.map_err(|_| exceeded()),
        }
    }
}

fn exceeded() -> Problem {
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "DEADLINE_EXCEEDED", "the deadline of the request has passed")
}

/// A request as the service sees it.
pub(super) fn request<T>(
    parts: &http::request::Parts,
    request_id: &HeaderValue,
    deadline: Deadline,
    message: T,
) -> Request<T> {
    let mut headers = HeaderMap::new();
    for name in FORWARDED {
        if let Some(value) = parts.headers.get(name) {
            headers.insert(name, value.clone());
        }
    }
    headers.insert("x-request-id", request_id.clone());
    if let Some((_, timeout)) = deadline.0
        && let Ok(value) = HeaderValue::from_str(&format!("{}m", timeout.as_millis().max(1)))
    {
        headers.insert("grpc-timeout", value);
    }
    Request::from_parts(MetadataMap::from_headers(headers), parts.extensions.clone(), message)
}

/// Calls a unary method.
pub(super) async fn unary(
    grpc: Grpc,
    method: &MethodDescriptor,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, Status> {
    let mut client = tonic::client::Grpc::new(grpc).max_decoding_message_size(usize::MAX);
    client.ready().await.map_err(|_| Status::unavailable("the service is not ready"))?;
    client.unary(request, path(method)?, Raw).await
}

/// Calls a client-streaming method.
pub(super) async fn client_streaming(
    grpc: Grpc,
    method: &MethodDescriptor,
    request: Request<impl Stream<Item = Bytes> + Send + 'static>,
) -> Result<Response<Bytes>, Status> {
    let mut client = tonic::client::Grpc::new(grpc).max_decoding_message_size(usize::MAX);
    client.ready().await.map_err(|_| Status::unavailable("the service is not ready"))?;
    client.client_streaming(request, path(method)?, Raw).await
}

/// Calls a server-streaming method.
pub(super) async fn streaming(
    grpc: Grpc,
    method: &MethodDescriptor,
    request: Request<Bytes>,
) -> Result<Response<Streaming<Bytes>>, Status> {
    let mut client = tonic::client::Grpc::new(grpc).max_decoding_message_size(usize::MAX);
    client.ready().await.map_err(|_| Status::unavailable("the service is not ready"))?;
    client.server_streaming(request, path(method)?, Raw).await
}

/// The service's headers that the caller may see.
pub(super) fn returned(metadata: &MetadataMap) -> Vec<(HeaderName, HeaderValue)> {
    let headers = metadata.clone().into_headers();
    let pick = |name: &'static str| Some((HeaderName::from_static(name), headers.get(name)?.clone()));
    RETURNED.into_iter().filter_map(pick).collect()
}

fn path(method: &MethodDescriptor) -> Result<PathAndQuery, Status> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    path.parse().map_err(|_| Status::internal("the method has no path"))
}

/// Takes messages as the bytes that they already are.
#[derive(Debug, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

/// Buffers that begin small: most messages are, and thousands of streams may wait with
/// one each.
fn small_buffers() -> BufferSettings {
    BufferSettings::new(1024, 32 * 1024)
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn buffer_settings(&self) -> BufferSettings {
        small_buffers()
    }

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn buffer_settings(&self) -> BufferSettings {
        small_buffers()
    }

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
