//! Messages that fit the descriptors and mean nothing, and bytes that fit nothing,
//! to every RPC by every role: the server answers each in good order.

use std::time::Duration;

use prost::Message as _;
use prost_reflect::{Cardinality, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value as Proto};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::grpc::{Client, methods};
use crate::support::server::{ADMIN_KEY, Server};

/// Calls of each RPC by each role, unless `TRIBUTARY_RANDOM_CALLS` says otherwise.
const CALLS: u64 = 12;
/// How deep messages within messages go.
const DEPTH: u32 = 3;

/// Codes that would be the server's own fault.
const FAULTS: [Code; 3] = [Code::Internal, Code::Unknown, Code::DataLoss];

struct Words {
    random: StdRng,
    /// Identifiers of what there is.
    known: Vec<String>,
}

impl Words {
    fn text(&mut self) -> String {
        const ODD: [&str; 14] = [
            "",
            " ",
            "\0",
            "..",
            "*",
            "%2e%2e",
            "' OR 1=1 --",
            "\u{202e}",
            "{}",
            "null",
            "admin",
            "* * * * *",
            "a AND (",
            "2024-01-15T10:30:00Z",
        ];
        match self.random.random_range(0..6) {
            0 | 1 if !self.known.is_empty() => self.known[self.random.random_range(0..self.known.len())].clone(),
            2 => ODD[self.random.random_range(0..ODD.len())].to_owned(),
            3 => "x".repeat(self.random.random_range(0..20_000)),
            _ => (0..self.random.random_range(0..24)).map(|_| self.random.random::<char>()).collect(),
        }
    }

    fn number(&mut self) -> i64 {
        const EDGES: [i64; 9] = [0, 1, -1, 1_000, 1_001, i32::MAX as i64, i32::MIN as i64, i64::MAX, i64::MIN];
        if self.random.random_bool(0.7) {
            EDGES[self.random.random_range(0..EDGES.len())]
        } else {
            self.random.random()
        }
    }

    fn message(&mut self, descriptor: MessageDescriptor, depth: u32) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields() {
            if self.random.random_bool(0.6) {
                let value = self.field(&field, depth);
                message.set_field(&field, value);
            }
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor, depth: u32) -> Proto {
        let many = self.random.random_range(0..4);
        if field.is_map() {
            let entry = field.kind();
            let value = entry.as_message().expect("an entry").map_entry_value_field();
            return Proto::Map((0..many).map(|_| (MapKey::String(self.text()), self.field(&value, depth))).collect());
        }
        if field.cardinality() == Cardinality::Repeated {
            return Proto::List((0..many).map(|_| self.value(&field.kind(), depth)).collect());
        }
        self.value(&field.kind(), depth)
    }

    fn value(&mut self, kind: &Kind, depth: u32) -> Proto {
        match kind {
            Kind::Message(descriptor) if depth == 0 => Proto::Message(DynamicMessage::new(descriptor.clone())),
            Kind::Message(descriptor) => Proto::Message(self.message(descriptor.clone(), depth - 1)),
            Kind::Enum(_) => Proto::EnumNumber(self.random.random_range(-1..12)),
            Kind::String => Proto::String(self.text()),
            Kind::Bytes => Proto::Bytes(self.text().into_bytes().into()),
            Kind::Bool => Proto::Bool(self.random.random()),
            Kind::Double => Proto::F64([f64::NAN, f64::INFINITY, -0.0, 1e308, 0.5][self.random.random_range(0..5)]),
            Kind::Float => Proto::F32([f32::NAN, f32::NEG_INFINITY, 1e38, 0.5][self.random.random_range(0..4)]),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Proto::I32(self.number() as i32),
            Kind::Uint32 | Kind::Fixed32 => Proto::U32(self.number() as u32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Proto::I64(self.number()),
            Kind::Uint64 | Kind::Fixed64 => Proto::U64(self.number() as u64),
        }
    }

    /// The message as bytes, now and then changed or cut.
    fn bytes(&mut self, descriptor: MessageDescriptor) -> Vec<u8> {
        let mut bytes = self.message(descriptor, DEPTH).encode_to_vec();
        if self.random.random_bool(0.2) {
            for _ in 0..self.random.random_range(1..4) {
                if !bytes.is_empty() {
                    let at = self.random.random_range(0..bytes.len());
                    bytes[at] = self.random.random();
                }
            }
            bytes.truncate(self.random.random_range(0..=bytes.len()));
        }
        bytes
    }
}

async fn key(server: &Server, role: &str) -> String {
    if role == "admin" {
        return ADMIN_KEY.to_owned();
    }
    let made = server.post("/api/v1/api-keys", json!({"name": role, "role": role})).await.ok();
    made["secret"].as_str().expect("a secret").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn random_messages_are_answered_in_good_order_whoever_sends_them() {
    let calls = std::env::var("TRIBUTARY_RANDOM_CALLS").map_or(CALLS, |number| number.parse().expect("a number"));
    let server = Server::start().await;
    let client = Client::connect(&server.base).await;
    let mut words = Words { random: StdRng::seed_from_u64(20_240_115), known: Vec::new() };
    let (mut sent, mut accepted, mut faults) = (0_u64, 0_u64, Vec::new());
    for role in ["viewer", "runner", "editor", "owner", "admin"] {
        let key = key(&server, role).await;
        // Some of it may be gone: whoever may delete does.
        let collection = server.collection(&format!("Made for a {role}")).await;
        let connection = server.files_connection(&collection, json!({})).await;
        let sync = server.sync(&connection).await["id"].as_str().expect("an id").to_owned();
        words.known = vec![collection, connection, sync, "files".to_owned()];
        for method in methods() {
            for _ in 0..calls {
                let bytes = words.bytes(method.input());
                let answer = client.send(&method, bytes, Some(&key));
                sent += 1;
                // A stream of something that goes on is left.
                match tokio::time::timeout(Duration::from_secs(30), answer).await {
                    Ok(Ok(_)) => accepted += 1,
                    Ok(Err(status)) if FAULTS.contains(&status.code()) => {
                        faults.push(format!("{} as {role}: {status:?}", method.full_name()));
                    }
                    Ok(Err(_)) => {}
                    Err(_) => faults.push(format!("{} as {role}: no answer", method.full_name())),
                }
            }
        }
    }
    println!("random messages: {sent} sent, {accepted} accepted, {} faults", faults.len());
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(accepted > 0 && accepted < sent, "{accepted} of {sent} accepted");
    // It still serves.
    assert_eq!(server.get("/api/v1/sources").await.ok()["success"], Value::Bool(true));
}
