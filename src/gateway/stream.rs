//! Answers that go on: server-sent events, or one JSON object a line.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use prost_reflect::{DynamicMessage, ReflectMessage};
use tonic::{Status, Streaming};

use crate::gateway::Inner;
use crate::gateway::call::Deadline;
use crate::gateway::media::Media;
use crate::gateway::problem::Problem;
use crate::gateway::query;
use crate::gateway::rules::{Route, resolve};
use crate::gateway::write;

/// The clockwork of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// A quiet stream says that it is alive this often.
    pub keep_alive: Duration,
    /// How long the head of an answer waits for the first event. An error
    /// within it is a plain HTTP error; a stream that is quiet for longer
    /// begins without one.
    pub first_event: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { keep_alive: Duration::from_secs(15), first_event: Duration::from_secs(2) }
    }
}

/// What a stream is written with.
pub(super) struct Writer {
    pub inner: Arc<Inner>,
    pub route: usize,
    pub media: Media,
    pub request_id: String,
    pub deadline: Deadline,
    /// The caller said where it left off.
    pub resumed: bool,
}

enum State {
    Begin(Option<Bytes>),
    Running,
    Ended,
}

/// The answer of a stream that has begun.
pub(super) async fn answer(writer: Writer, mut messages: Streaming<Bytes>) -> Result<Response<Body>, Problem> {
    let first = writer.deadline.bound(tokio::time::timeout(writer.inner.pace.first_event, messages.message())).await?;
    let state = match first {
        Err(_) => State::Begin(None),
        Ok(Ok(Some(message))) => State::Begin(Some(message)),
        Ok(Ok(None)) if writer.resumed => return Ok(no_more()),
        Ok(Ok(None)) => State::Ended,
        Ok(Err(status)) => return Err(writer.problem(&status)),
    };
    let media = writer.media;
    let frames = stream::unfold((state, writer, messages), |(state, writer, mut messages)| async move {
        let (frame, next) = match state {
            State::Begin(first) => (writer.begin(first), State::Running),
            State::Running => writer.next(&mut messages).await?,
            State::Ended => return None,
        };
        Some((Ok::<_, Infallible>(Bytes::from(frame)), (next, writer, messages)))
    });
    Ok(begin(media, Body::from_stream(frames)))
}

/// 204 tells an `EventSource` not to come back.
fn no_more() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn begin(media: Media, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let kind = match media {
        Media::JsonLines => "application/x-ndjson",
        Media::EventStream | Media::Json => "text/event-stream",
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

impl Writer {
    fn begin(&self, first: Option<Bytes>) -> String {
        let retry = if self.media == Media::JsonLines { "" } else { "retry: 3000\n\n" };
        let first = first.map(|message| self.message(message).unwrap_or_else(|problem| self.error(problem)));
        format!("{retry}{}", first.unwrap_or_default())
    }

    async fn next(&self, messages: &mut Streaming<Bytes>) -> Option<(String, State)> {
        let written =
            match self.deadline.bound(tokio::time::timeout(self.inner.pace.keep_alive, messages.message())).await {
                Err(problem) => Err(problem),
                Ok(Err(_)) => return Some((self.keep_alive(), State::Running)),
                Ok(Ok(Ok(None))) => return None,
                Ok(Ok(Ok(Some(message)))) => self.message(message),
                Ok(Ok(Err(status))) => Err(self.problem(&status)),
            };
        Some(match written {
            Ok(frame) => (frame, State::Running),
            Err(problem) => (self.error(problem), State::Ended),
        })
    }

    fn keep_alive(&self) -> String {
        // Lines have no comments; an empty one is skipped by every reader.
        if self.media == Media::JsonLines { "\n".to_owned() } else { ": keep-alive\n\n".to_owned() }
    }

    fn route(&self) -> &Route {
        &self.inner.table.routes()[self.route]
    }

    fn problem(&self, status: &Status) -> Problem {
        Problem::from_status(status, &self.inner.service(Some(&self.route().method.input())))
    }

    fn message(&self, bytes: Bytes) -> Result<String, Problem> {
        let broken = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "an event could not be written");
        let message = DynamicMessage::decode(self.route().method.output(), bytes).map_err(|_| broken())?;
        let data = write::message(&message).map_err(|_| broken())?;
        if self.media == Media::JsonLines {
            return Ok(format!("{data}\n"));
        }
        let id = self.id(&message).map(|id| format!("id: {id}\n")).unwrap_or_default();
        let event = kind(&message).map(|kind| format!("event: {kind}\n")).unwrap_or_default();
        Ok(format!("{id}{event}data: {data}\n\n"))
    }

    fn id(&self, message: &DynamicMessage) -> Option<String> {
        let path = self.route().rest.sse_id_field.as_deref()?;
        let value = query::get(message, &resolve(&message.descriptor(), path)?)?;
        match value {
            prost_reflect::Value::String(text) => Some(text).filter(|text| !text.contains(['\n', '\r', '\0'])),
            prost_reflect::Value::I32(number) => Some(number.to_string()),
            prost_reflect::Value::I64(number) => Some(number.to_string()),
            prost_reflect::Value::U32(number) => Some(number.to_string()),
            prost_reflect::Value::U64(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn error(&self, problem: Problem) -> String {
        let body = problem.complete(self.inner.settings.error_domain).body(&self.request_id);
        if self.media == Media::JsonLines { format!("{body}\n") } else { format!("event: error\ndata: {body}\n\n") }
    }
}

/// The name of an event: the arm that is set of the message's oneof.
fn kind(message: &DynamicMessage) -> Option<String> {
    let descriptor = message.descriptor();
    let arms =
        descriptor.oneofs().filter(|oneof| !oneof.is_synthetic()).flat_map(|oneof| oneof.fields().collect::<Vec<_>>());
    arms.into_iter().find(|field| message.has_field(field)).map(|field| field.json_name().to_owned())
}
