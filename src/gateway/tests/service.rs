//! A small gRPC service in this process that says what it was asked, and a
//! client of the door in front of it.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};

use axum::body::Body;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{FutureExt as _, StreamExt as _, stream};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use tokio::sync::mpsc;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::gateway::stream::Pace;
use crate::gateway::tests::protos;
use crate::gateway::{Gateway, Settings};

pub(super) const PROTO: &str = r#"
syntax = "proto3";
package door.v1;
import "google/api/annotations.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/rpc/error_details.proto";
import "google/rpc/status.proto";
import "tributary/v1/rest_options.proto";
service Things {
  rpc Get(GetRequest) returns (GetResponse) {
    option (google.api.http) = {get: "/api/v1/things/{id}"};
    option (tributary.v1.rest) = {role: ROLE_VIEWER etag_field: "thing.etag" conditional_get: true};
  }
  rpc List(ListRequest) returns (Echo) { option (google.api.http) = {get: "/api/v1/things"}; }
  rpc Create(CreateRequest) returns (Echo) {
    option (google.api.http) = {post: "/api/v1/things" body: "*"};
    option (tributary.v1.rest) = {idempotency_key_field: "request_id"};
  }
  rpc Update(UpdateRequest) returns (Echo) {
    option (google.api.http) = {patch: "/api/v1/things/{thing.id}" body: "thing"};
    option (tributary.v1.rest) = {if_match_field: "thing.etag"};
  }
  rpc Replace(ReplaceRequest) returns (Echo) {
    option (google.api.http) = {put: "/api/v1/things/{id}/data" body: "*"};
    option (tributary.v1.rest) = {bare_body_field: "data" if_match_field: "etag"};
  }
  rpc Plan(PlanRequest) returns (Echo) {
    option (google.api.http) = {put: "/api/v1/things/{id}/schedule" body: "schedule"};
  }
  rpc Delete(DeleteRequest) returns (Echo) {
    option (google.api.http) = {
      delete: "/api/v1/things/{id}"
      additional_bindings {post: "/api/v1/things/{id}:remove" body: "*"}
    };
  }
  rpc Watch(WatchRequest) returns (stream Event) {
    option (google.api.http) = {get: "/api/v1/things/{id}/events"};
    option (tributary.v1.rest) = {sse_id_field: "sequence" sse_resume_field: "after_sequence"};
  }
  rpc Gather(stream GatherRequest) returns (Echo) {
    option (google.api.http) = {post: "/api/v1/things/{id}/parts:gather" body: "*"};
  }
  rpc Hidden(GetRequest) returns (Echo);
}
message Thing {
  enum State { STATE_UNSPECIFIED = 0; STATE_BUSY = 1; }
  string id = 1; string name = 2; optional string note = 3; google.protobuf.Struct data = 4; string etag = 5;
  State state = 6; int64 size = 7; optional Schedule schedule = 8;
}
message Schedule { oneof kind { string cron = 1; bool continuous = 2; } string time_zone = 3; }
message GetRequest { string id = 1; }
message GetResponse { Thing thing = 1; }
message ListRequest { string filter = 1; int32 page_size = 2; Thing.State state = 3; repeated string labels = 4; }
message CreateRequest { string name = 1; google.protobuf.Struct data = 2; string request_id = 3; Thing thing_copy = 4; }
message UpdateRequest { Thing thing = 1; google.protobuf.FieldMask update_mask = 2; }
message ReplaceRequest { string id = 1; google.protobuf.Struct data = 2; optional string etag = 3; }
message PlanRequest { string id = 1; Schedule schedule = 2; }
message DeleteRequest { string id = 1; bool delete_data = 2; }
message WatchRequest { string id = 1; int64 after_sequence = 2; }
message GatherRequest { string id = 1; string part = 2; }
message Event { int64 sequence = 1; oneof event { Started started = 2; Step big_step = 3; } }
message Started {}
message Step { int32 done = 1; }
message Echo { string rpc = 1; string request = 2; map<string, string> headers = 3; }
"#;

/// The key that the tests call with.
pub(super) const KEY: &str = "Bearer good";

struct Service {
    pool: DescriptorPool,
    /// Hears of each endless stream that is dropped.
    dropped: mpsc::UnboundedSender<()>,
}

struct SaysWhenDropped(mpsc::UnboundedSender<()>);

impl Drop for SaysWhenDropped {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// The door with the service behind it.
pub(super) struct Door {
    pub(super) gateway: Gateway,
    pub(super) dropped: mpsc::UnboundedReceiver<()>,
}

pub(super) fn settings() -> Settings {
    Settings {
        options_extension: "tributary.v1.rest",
        error_domain: "door",
        prefix_aliases: vec![("/v1", "/api/v1")],
        status_of_reason: |reason| (reason == "STALE").then_some(412),
        max_body: 4096,
        max_answer: 8192,
        max_uri: 512,
        max_json_depth: 100,
        authenticate: Arc::new(|parts: &http::request::Parts| {
            let good = parts.headers.get("authorization").is_some_and(|key| key == KEY);
            let outcome =
                if good { Ok(http::Extensions::new()) } else { Err(Status::unauthenticated("an API key is needed")) };
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("ratelimit"),
                http::HeaderValue::from_static("\"key\";r=1;t=1"),
            )]);
            async move { (outcome, headers) }.boxed()
        }),
    }
}

pub(super) fn door() -> Door {
    // Compiled once: a test has many doors.
    static SET: LazyLock<Vec<u8>> = LazyLock::new(|| protos::compile(vec![("door.proto", PROTO.to_owned())]));
    let pool = DescriptorPool::decode(SET.as_slice()).unwrap();
    let (sender, dropped) = mpsc::unbounded_channel();
    let service = Arc::new(Service { pool, dropped: sender });
    let grpc = tower::service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.serve(request).await) }
    });
    let mut gateway = Gateway::new(settings(), &SET, grpc).unwrap();
    let brief = std::time::Duration::from_millis(100);
    Arc::get_mut(&mut gateway.inner).unwrap().pace = Pace { keep_alive: brief, first_event: brief };
    Door { gateway, dropped }
}

impl Service {
    async fn serve(&self, request: Request<tonic::body::Body>) -> Response<tonic::body::Body> {
        let path = request.uri().path().to_owned();
        let headers = request.headers().clone();
        // A stream that is broken off is no stream to answer.
        let Ok(body) = request.into_body().collect().await else { return std::future::pending().await };
        let body = body.to_bytes();
        let service = self.pool.get_service_by_name("door.v1.Things").unwrap();
        let name = path.rsplit('/').next().unwrap();
        let method = service.methods().find(|method| method.name() == name).unwrap();
        if method.is_client_streaming() {
            return answer(vec![self.gathered(&method.input(), &body)], Ok(()));
        }
        let message = DynamicMessage::decode(method.input(), body.slice(5..)).unwrap();
        let id = message.get_field_by_name("id").and_then(|id| id.as_str().map(str::to_owned)).unwrap_or_default();
        if let Some(status) = refusal(&id) {
            return status.into_http();
        }
        match name {
            "Get" if id == "slow" => std::future::pending().await,
            "Get" => answer(vec![self.thing(&id)], Ok(())),
            "Watch" => self.watch(&id, message.get_field_by_name("after_sequence").unwrap().as_i64().unwrap()),
            _ => answer(vec![self.echo(name, &message, &headers)], Ok(())),
        }
    }

    /// What came in the messages of a stream, one after the other.
    fn gathered(&self, input: &prost_reflect::MessageDescriptor, mut body: &[u8]) -> DynamicMessage {
        let mut messages = Vec::new();
        while let Some((head, rest)) = body.split_first_chunk::<5>() {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let (message, rest) = rest.split_at(length);
            messages.push(DynamicMessage::decode(input.clone(), message).unwrap().to_text_format());
            body = rest;
        }
        let mut echo = self.message("door.v1.Echo", "rpc: 'Gather'");
        echo.set_field_by_name("request", prost_reflect::Value::String(messages.join("|")));
        echo
    }

    fn message(&self, name: &str, text: &str) -> DynamicMessage {
        DynamicMessage::parse_text_format(self.pool.get_message_by_name(name).unwrap(), text).unwrap()
    }

    fn thing(&self, id: &str) -> DynamicMessage {
        let note = if id == "large" { "x".repeat(3000) } else { "n".to_owned() };
        let text =
            format!("thing {{ id: '{id}' etag: '\"v1\"' state: STATE_BUSY size: 9007199254740993 note: '{note}' }}");
        self.message("door.v1.GetResponse", &text)
    }

    fn echo(&self, rpc: &str, request: &DynamicMessage, headers: &HeaderMap) -> DynamicMessage {
        let mut echo = self.message("door.v1.Echo", &format!("rpc: '{rpc}'"));
        echo.set_field_by_name("request", prost_reflect::Value::String(request.to_text_format()));
        let ours = ["te", "content-type", "user-agent", "grpc-accept-encoding"];
        let seen = headers.iter().filter(|(name, _)| !ours.contains(&name.as_str()));
        let text = |text: &str| prost_reflect::Value::String(text.to_owned());
        let map =
            seen.map(|(name, value)| (prost_reflect::MapKey::String(name.to_string()), text(value.to_str().unwrap())));
        echo.set_field_by_name("headers", prost_reflect::Value::Map(map.collect()));
        echo
    }

    fn watch(&self, id: &str, after: i64) -> Response<tonic::body::Body> {
        let events = ["sequence: 1 started {}", "sequence: 2 big_step { done: 7 }"];
        let rest = events.iter().skip(usize::try_from(after).unwrap());
        let messages: Vec<_> = rest.map(|text| self.message("door.v1.Event", text)).collect();
        match id {
            "broken" => answer(messages, Err(Status::unavailable("going away"))),
            "endless" => endless(messages, SaysWhenDropped(self.dropped.clone())),
            _ => answer(messages, Ok(())),
        }
    }
}

/// Ids that stand for errors.
fn refusal(id: &str) -> Option<Status> {
    let mut details = ErrorDetails::new();
    match id {
        "missing" => Some(Status::not_found("no such thing")),
        "busy" => {
            details.set_error_info("SYNC_IN_PROGRESS", "door", [("syncId".to_owned(), "sync_1".to_owned())]);
            Some(Status::with_error_details(Code::Aborted, "it is busy", details))
        }
        "stale" => {
            details.set_error_info("STALE", "door", std::collections::HashMap::new());
            Some(Status::with_error_details(Code::Aborted, "changed meanwhile", details))
        }
        "wrong" => {
            details.add_bad_request_violation("delete_data", "is wrong");
            details.add_bad_request_violation("data.user_name", "is wrong");
            details.add_bad_request_violation("credentials.user_name", "is wrong");
            Some(Status::with_error_details(Code::InvalidArgument, "wrong", details))
        }
        "later" => {
            details.set_retry_info(Some(std::time::Duration::from_millis(1500)));
            Some(Status::with_error_details(Code::Unavailable, "later", details))
        }
        _ => None,
    }
}

fn frame(message: &DynamicMessage) -> Bytes {
    let bytes = message.encode_to_vec();
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(bytes.len()).unwrap());
    frame.extend_from_slice(&bytes);
    frame.freeze()
}

fn answer(messages: Vec<DynamicMessage>, end: Result<(), Status>) -> Response<tonic::body::Body> {
    let mut trailers = HeaderMap::new();
    end.err().unwrap_or_else(|| Status::new(Code::Ok, "")).add_header(&mut trailers).unwrap();
    let mut frames: Vec<Result<Frame<Bytes>, Infallible>> =
        messages.iter().map(|one| Ok(Frame::data(frame(one)))).collect();
    frames.push(Ok(Frame::trailers(trailers)));
    respond(StreamBody::new(stream::iter(frames)))
}

fn endless(messages: Vec<DynamicMessage>, guard: SaysWhenDropped) -> Response<tonic::body::Body> {
    let frames: Vec<Result<Frame<Bytes>, Infallible>> =
        messages.iter().map(|one| Ok(Frame::data(frame(one)))).collect();
    let frames = stream::iter(frames).chain(stream::pending());
    respond(StreamBody::new(frames.map(move |frame| {
        let _guard = &guard;
        frame
    })))
}

fn respond<B>(body: B) -> Response<tonic::body::Body>
where
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    Response::builder().header("content-type", "application/grpc").body(tonic::body::Body::new(body)).unwrap()
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {:?}", self.bytes))
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Door {
    /// Calls with a good key. `text` is `VERB path`, then one header a line.
    pub(super) async fn call(&self, text: &str, body: impl Into<Body>) -> Answer {
        self.call_as(&format!("{text}\nauthorization: {KEY}"), body).await
    }

    pub(super) async fn call_as(&self, text: &str, body: impl Into<Body>) -> Answer {
        let response = self.gateway.handle(request(text, body)).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, bytes }
    }
}

pub(super) fn request(text: &str, body: impl Into<Body>) -> Request<Body> {
    let mut lines = text.lines();
    let (verb, path) = lines.next().unwrap().split_once(' ').unwrap();
    let mut request = Request::builder().method(verb).uri(path);
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name.trim(), value);
    }
    request.body(body.into()).unwrap()
}
