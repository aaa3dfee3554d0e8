//! One request over each of the three doors, and what came of it.

use prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::{Map, Value};
use tonic::Code;

use super::Outcome;
use crate::support::grpc::{Client, descriptors};
use crate::support::server::{Server, send};

/// The doors of a server.
pub(super) struct Doors<'server> {
    server: &'server Server,
    grpc: Client,
}

impl<'server> Doors<'server> {
    pub(super) async fn open(server: &'server Server) -> Self {
        Self { server, grpc: Client::connect(&server.base).await }
    }

    /// The outcome over gRPC. `shown` must be in the answer, or it hides it.
    pub(super) async fn grpc(
        &self,
        method: &MethodDescriptor,
        request: &Value,
        key: Option<&str>,
        shown: &str,
    ) -> Outcome {
        match self.grpc.call(method, request, key).await {
            Ok(reply) => allowed(&reply.to_string(), shown),
            Err(status) => of_code(status.code()),
        }
    }

    /// The same over gRPC-Web, on HTTP/1.1.
    pub(super) async fn grpc_web(
        &self,
        method: &MethodDescriptor,
        request: &Value,
        key: Option<&str>,
        shown: &str,
    ) -> Outcome {
        let message = DynamicMessage::deserialize(method.input(), request).expect("the request fits its message");
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let mut call = self.server.anonymous("POST", &path).header("content-type", "application/grpc-web+proto");
        if let Some(key) = key {
            call = call.bearer_auth(key);
        }
        let response = call.body(frame(&message.encode_to_vec())).send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        let status = response.headers().get("grpc-status").map(|status| status.as_bytes().to_vec());
        let body = response.bytes().await.expect("a body");
        let (messages, trailers) = unframed(&body);
        let status = status.or_else(|| trailer(&trailers)).unwrap_or_else(|| panic!("{path} has no status"));
        match Code::from_bytes(&status) {
            Code::Ok => {
                let replies = messages.iter().map(|bytes| {
                    let reply = DynamicMessage::decode(method.output(), bytes.as_slice()).expect("a reply");
                    serde_json::to_string(&reply).expect("JSON")
                });
                allowed(&replies.collect::<String>(), shown)
            }
            code => of_code(code),
        }
    }

    /// The same by REST: path, query and body follow from the http rule.
    pub(super) async fn rest(
        &self,
        method: &MethodDescriptor,
        request: &Value,
        key: Option<&str>,
        shown: &str,
    ) -> Outcome {
        let (verb, template, body_field) = rule(method);
        let mut rest: Map<String, Value> = request.as_object().expect("an object").clone();
        let mut path = template.clone();
        for variable in template.split('{').skip(1).map(|part| part.split('}').next().expect("a variable")) {
            let value = variable.split('.').map(camel).fold(request.clone(), |value, part| value[part].clone());
            path = path.replace(&format!("{{{variable}}}"), value.as_str().expect("a text"));
            if !variable.contains('.') {
                rest.remove(&camel(variable));
            }
        }
        let mut call = self.server.anonymous(&verb, &path);
        if let Some(key) = key {
            call = call.bearer_auth(key);
        }
        call = match body_field.as_str() {
            "" => {
                let text = |value: &Value| value.as_str().expect("a text").to_owned();
                let query: Vec<(String, String)> =
                    rest.iter().map(|(name, value)| (name.clone(), text(value))).collect();
                call.query(&query)
            }
            // One line of a stream.
            "*" if method.is_client_streaming() => {
                call.header("content-type", "application/x-ndjson").body(Value::Object(rest).to_string())
            }
            "*" => call.json(&rest),
            field => call.json(&rest[&camel(field)]),
        };
        let reply = send(call).await;
        match reply.status {
            200 => allowed(&reply.text, shown),
            401 => Outcome::NotKnown,
            403 => Outcome::Refused,
            404 => Outcome::NotFound,
            400 | 409 | 412 => Outcome::Allowed,
            status => Outcome::Wrong(status),
        }
    }
}

fn allowed(reply: &str, shown: &str) -> Outcome {
    if reply.contains(shown) { Outcome::Allowed } else { Outcome::Hidden }
}

/// Let through is also who is told that the state or the etag does not fit.
fn of_code(code: Code) -> Outcome {
    match code {
        Code::Unauthenticated => Outcome::NotKnown,
        Code::PermissionDenied => Outcome::Refused,
        Code::NotFound => Outcome::NotFound,
        Code::InvalidArgument | Code::FailedPrecondition | Code::Aborted | Code::AlreadyExists => Outcome::Allowed,
        other => Outcome::Wrong(other as u16),
    }
}

/// Verb, path and body of a method's first http rule.
fn rule(method: &MethodDescriptor) -> (String, String, String) {
    let http = descriptors().get_extension_by_name("google.api.http").expect("the option");
    let options = method.options();
    let rule = options.get_extension(&http);
    let rule = rule.as_message().expect("a rule");
    let text = |name: &str| rule.get_field_by_name(name).and_then(|text| text.as_str().map(str::to_owned));
    let (verb, template) = ["get", "put", "post", "delete", "patch"]
        .into_iter()
        .find_map(|verb| text(verb).filter(|path| !path.is_empty()).map(|path| (verb.to_uppercase(), path)))
        .expect("a path");
    (verb, template, text("body").unwrap_or_default())
}

fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + &part[..1].to_uppercase() + &part[1..])
}

fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    [&[0], length.as_slice(), message].concat()
}

/// The messages, and the trailers of the last frame.
fn unframed(mut bytes: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let (mut messages, mut trailers) = (Vec::new(), Vec::new());
    while let Some((head, rest)) = bytes.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let (content, rest) = rest.split_at(length);
        if head[0] & 0x80 == 0x80 {
            trailers = content.to_vec()
        } else {
            messages.push(content.to_vec())
        }
        bytes = rest;
    }
    (messages, trailers)
}

fn trailer(trailers: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(trailers).into_owned();
    text.lines().find_map(|line| Some(line.strip_prefix("grpc-status:")?.trim().as_bytes().to_vec()))
}
