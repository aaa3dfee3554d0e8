//! An answer, read as far as its caller says and as fast as it must come.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::{HeaderMap, StatusCode};
use bytes::{Bytes, BytesMut};
use futures::Stream;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::connection::Connection;
use super::decoding::Decoder;
use super::pool::Pool;
use super::retry::retry_after;
use super::{Address, HttpError};
use crate::egress::Timeouts;

/// Bytes that must come in the time that may lie between two of them: who sends
/// one now and then could else keep us for ever.
const SLOWEST: u64 = 64 * 1024;
/// So much is read of an answer that nobody wants, to use its connection again.
const WORTH_READING: u64 = 64 * 1024;

/// An answer, of which the head is there. `Debug` shows its status alone.
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    address: Address,
    body: Body,
}

struct Body {
    incoming: Incoming,
    decoder: Option<Decoder>,
    connection: Option<Connection>,
    pool: Arc<Pool>,
    address: Address,
    limits: Timeouts,
    ended: bool,
    received: u64,
    given: u64,
    waited: Duration,
}

impl Response {
    pub(super) fn new(
        answer: ::http::Response<Incoming>,
        address: Address,
        connection: Connection,
        pool: Arc<Pool>,
        limits: Timeouts,
    ) -> Self {
        let (parts, incoming) = answer.into_parts();
        let body = Body {
            incoming,
            decoder: None,
            connection: Some(connection),
            pool,
            address: address.clone(),
            limits,
            ended: false,
            received: 0,
            given: 0,
            waited: Duration::ZERO,
        };
        Self { status: parts.status, headers: parts.headers, address, body }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers, as the server sent them.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// One header, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Where it came from, after redirects.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// How long the server asks us to wait, an hour at most.
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers, chrono::Utc::now())
    }

    /// The next bytes, decoded; none at the end. More than `limit` bytes in all is
    /// an error, before they are read where the server says how many there are.
    pub async fn chunk(&mut self, limit: u64) -> Result<Option<Bytes>, HttpError> {
        self.body.chunk(&self.headers, limit).await
    }

    /// The whole body, decoded, of at most `limit` bytes.
    pub async fn bytes(mut self, limit: u64) -> Result<Bytes, HttpError> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk(limit).await? {
            if whole.is_empty() {
                match chunk.try_into_mut() {
                    Ok(first) => whole = first,
                    Err(first) => whole.extend_from_slice(&first),
                }
            } else {
                whole.extend_from_slice(&chunk);
            }
        }
        Ok(whole.freeze())
    }

    /// The body as JSON, of at most `limit` bytes.
    pub async fn json<T: DeserializeOwned>(self, limit: u64) -> Result<T, HttpError> {
        serde_json::from_slice(&self.bytes(limit).await?).map_err(|_| HttpError::Json)
    }

    /// The body as it comes, decoded, of at most `limit` bytes. Ends after an
    /// error.
    pub fn stream(self, limit: u64) -> impl Stream<Item = Result<Bytes, HttpError>> + Send + Unpin + 'static {
        Box::pin(futures::stream::unfold(Some(self), move |response| async move {
            let mut response = response?;
            match response.chunk(limit).await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(response))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        }))
    }

    /// Reads what is left, if that is little, so that the connection is kept.
    pub async fn discard(mut self) {
        let is_little = self.body.incoming.size_hint().upper().is_none_or(|size| size <= WORTH_READING);
        while is_little && let Ok(Some(_)) = self.body.frame(WORTH_READING).await {}
    }
}

impl Body {
    async fn chunk(&mut self, headers: &HeaderMap, limit: u64) -> Result<Option<Bytes>, HttpError> {
        if self.decoder.is_none() {
            let decoder =
                if self.incoming.is_end_stream() { Decoder::of(&HeaderMap::new()) } else { Decoder::of(headers) };
            self.decoder = Some(decoder?);
        }
        loop {
            let Some(decoder) = &mut self.decoder else { return Err(HttpError::Encoding) };
            let piece = match decoder.pull()? {
                None if self.ended => decoder.finish()?,
                piece => piece,
            };
            if let Some(piece) = piece {
                self.given += piece.len() as u64;
                return if self.given > limit { Err(HttpError::TooLarge) } else { Ok(Some(piece)) };
            }
            if self.ended {
                return Ok(None);
            }
            // What cannot be made smaller is a little larger encoded.
            let encoded = self.frame(limit.saturating_add(limit / 64).saturating_add(1024)).await?;
            if let (Some(encoded), Some(decoder)) = (encoded, &mut self.decoder) {
                decoder.push(encoded);
            }
        }
    }

    /// What came next over the wire; none at the end.
    async fn frame(&mut self, limit: u64) -> Result<Option<Bytes>, HttpError> {
        let announced = self.incoming.size_hint().lower();
        if self.received.saturating_add(announced) > limit {
            return Err(HttpError::TooLarge);
        }
        loop {
            let began = Instant::now();
            let frame = timeout(self.limits.idle, self.incoming.frame()).await.map_err(|_| HttpError::TimedOut)?;
            self.waited += began.elapsed();
            let Some(frame) = frame.transpose().map_err(HttpError::broken)? else {
                self.end();
                return Ok(None);
            };
            // Trailers say nothing that anybody asked for.
            let Ok(bytes) = frame.into_data() else { continue };
            self.received += bytes.len() as u64;
            if self.received > limit {
                return Err(HttpError::TooLarge);
            }
            let periods = 2 + self.received / SLOWEST;
            if self.waited > self.limits.idle.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX)) {
                return Err(HttpError::TimedOut);
            }
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }

    fn end(&mut self) {
        self.ended = true;
        if let Some(connection) = self.connection.take() {
            self.pool.put(self.address.origin(), connection);
        }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Response({})", self.status.as_u16())
    }
}
