//! gRPC-Web over HTTP/1.1, in binary and in text, and what stands around it.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use tributary::proto::tributary::v1::{GetSourceRequest, GetSourceResponse};

use super::raw::{Raw, anonymous, send, unpack};
use crate::support::server::Server;

const GET_SOURCE: &str = "/tributary.v1.SourceService/GetSource";

/// One message in its frame.
fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    [&[flag], length.as_slice(), message].concat()
}

fn request() -> Vec<u8> {
    GetSourceRequest { short_name: "postgresql".to_owned() }.encode_to_vec()
}

/// Flag and content of each frame.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while bytes.len() >= 5 {
        let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize;
        frames.push((bytes[0], bytes[5..5 + length].to_vec()));
        bytes = &bytes[5 + length..];
    }
    frames
}

/// Base64 in pieces that are each padded.
fn from_text(text: &str) -> Vec<u8> {
    let pieces = text.as_bytes().chunks(4).map(|piece| STANDARD.decode(piece).expect("base64"));
    pieces.flatten().collect()
}

#[track_caller]
fn is_postgresql(frames: &[(u8, Vec<u8>)]) {
    let [(flag, message), (end, trailers)] = frames else { panic!("{frames:?}") };
    let message = if *flag == 1 { unpack(message) } else { message.clone() };
    let source = GetSourceResponse::decode(message.as_slice()).expect("a source").source.expect("a source");
    assert_eq!(source.name, "PostgreSQL");
    assert_eq!(end & 0x80, 0x80);
    let trailers = String::from_utf8_lossy(trailers).into_owned();
    assert!(trailers.contains("grpc-status:0") || trailers.contains("grpc-status: 0"), "{trailers}");
}

#[tokio::test]
async fn grpc_web_is_spoken_in_binary_and_in_text_over_http_1() {
    let server = Server::start().await;
    let body = frame(0, &request());
    let headers = [("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1")];
    let answer = send(&server, "POST", GET_SOURCE, &headers, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type").as_deref(), Some("application/grpc-web+proto"));
    is_postgresql(&frames(&answer.body));

    let headers = [("content-type", "application/grpc-web-text"), ("accept", "application/grpc-web-text")];
    let answer = send(&server, "POST", GET_SOURCE, &headers, STANDARD.encode(&body).as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("content-type").unwrap().starts_with("application/grpc-web-text"));
    is_postgresql(&frames(&from_text(&answer.text())));
}

#[tokio::test]
async fn messages_may_be_packed_both_ways() {
    let server = Server::start().await;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&request()).unwrap();
    let body = frame(1, &encoder.finish().unwrap());
    let headers =
        [("content-type", "application/grpc-web+proto"), ("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip")];
    let answer = send(&server, "POST", GET_SOURCE, &headers, &body).await;
    assert_eq!(answer.header("grpc-encoding").as_deref(), Some("gzip"), "{answer:?}");
    let frames = frames(&answer.body);
    assert_eq!(frames[0].0, 1);
    is_postgresql(&frames);
}

/// The status, from the headers or from the last frame.
fn grpc_status(answer: &Raw) -> String {
    let end = frames(&answer.body).into_iter().find(|(flag, _)| flag & 0x80 == 0x80).map(|(_, trailers)| trailers);
    let trailers = String::from_utf8(end.unwrap_or_default()).expect("text");
    let trailer =
        trailers.lines().find_map(|line| line.strip_prefix("grpc-status:").map(|status| status.trim().to_owned()));
    answer.header("grpc-status").or(trailer).unwrap_or_default()
}

#[tokio::test]
async fn what_grpc_does_not_know_is_said_in_its_own_words() {
    let server = Server::start().await;
    let headers = [("content-type", "application/grpc-web+proto")];
    let body = frame(0, b"");
    for path in ["/tributary.v1.SourceService/NoSuchMethod", "/no.such.Service/Method"] {
        let answer = send(&server, "POST", path, &headers, &body).await;
        assert_eq!((answer.status, grpc_status(&answer).as_str()), (200, "12"), "{path}: {answer:?}");
    }
    let answer = anonymous(&server, "POST", GET_SOURCE, &headers, &body).await;
    assert_eq!((answer.status, grpc_status(&answer).as_str()), (200, "16"), "{answer:?}");
    assert!(answer.header("x-request-id").is_some());
    let answer = send(&server, "POST", GET_SOURCE, &headers, &frame(0, b"\xff\xff")).await;
    assert_eq!(grpc_status(&answer), "3", "{answer:?}");
    let answer = send(&server, "POST", GET_SOURCE, &[("content-type", "application/grpc")], &body).await;
    assert_eq!(answer.status, 505, "gRPC itself needs HTTP/2: {answer:?}");
}
