//! A gRPC client for any method of the descriptors, with JSON in and out.

use bytes::{Buf, BufMut};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use serde_json::Value;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::canary;

/// The descriptors of this API.
pub fn descriptors() -> DescriptorPool {
    DescriptorPool::decode(tributary::proto::DESCRIPTORS).expect("the descriptors decode")
}

/// Every method of this API.
pub fn methods() -> Vec<MethodDescriptor> {
    descriptors()
        .services()
        .filter(|service| service.package_name() == "tributary.v1")
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect()
}

/// A method of this API by its name.
pub fn method(name: &str) -> MethodDescriptor {
    methods().into_iter().find(|method| method.name() == name).unwrap_or_else(|| panic!("no method `{name}`"))
}

/// A connection to a server.
pub struct Client {
    channel: Channel,
}

impl Client {
    /// Connects to `http://HOST:PORT`.
    pub async fn connect(base: &str) -> Self {
        let channel = Endpoint::from_shared(base.to_owned()).expect("an address").connect().await.expect("it answers");
        Self { channel }
    }

    /// Calls a method; answers the first message, or the status. A stream that
    /// ends without a message answers null.
    pub async fn call(&self, method: &MethodDescriptor, request: &Value, key: Option<&str>) -> Result<Value, Status> {
        Ok(self.read(method, request, key, 1).await?.into_iter().next().unwrap_or(Value::Null))
    }

    /// Calls a method; answers every message of its stream, or the status.
    pub async fn stream(
        &self,
        method: &MethodDescriptor,
        request: &Value,
        key: Option<&str>,
    ) -> Result<Vec<Value>, Status> {
        self.read(method, request, key, usize::MAX).await
    }

    async fn read(
        &self,
        method: &MethodDescriptor,
        request: &Value,
        key: Option<&str>,
        most: usize,
    ) -> Result<Vec<Value>, Status> {
        let message = DynamicMessage::deserialize(method.input(), request).expect("the request fits its message");
        self.exchange(method, message.encode_to_vec(), key, most).await
    }

    /// Calls a method with whatever bytes; answers the first message, or the status.
    pub async fn send(&self, method: &MethodDescriptor, request: Vec<u8>, key: Option<&str>) -> Result<Value, Status> {
        Ok(self.exchange(method, request, key, 1).await?.into_iter().next().unwrap_or(Value::Null))
    }

    async fn exchange(
        &self,
        method: &MethodDescriptor,
        request: Vec<u8>,
        key: Option<&str>,
        most: usize,
    ) -> Result<Vec<Value>, Status> {
        let mut request = Request::new(request);
        if let Some(key) = key {
            let value = format!("Bearer {key}").parse().map_err(|_| Status::new(Code::Unknown, "key"))?;
            request.metadata_mut().insert("authorization", value);
        }
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let path = path.parse().expect("a path");
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut messages = Vec::new();
        if method.is_server_streaming() {
            let mut stream = client.server_streaming(request, path, Raw).await?.into_inner();
            while messages.len() < most
                && let Some(message) = stream.message().await?
            {
                messages.push(message);
            }
        } else {
            messages.push(client.unary(request, path, Raw).await?.into_inner());
        }
        let read = |bytes: Vec<u8>| {
            let reply = DynamicMessage::decode(method.output(), bytes.as_slice()).expect("the reply fits its message");
            let reply = serde_json::to_value(&reply).expect("it has a JSON form");
            canary::look_through(&reply.to_string());
            reply
        };
        Ok(messages.into_iter().map(read).collect())
    }
}

/// Messages as bytes.
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; source.remaining()];
        source.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}
