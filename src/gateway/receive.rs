//! The body of a request: limited while it comes in, and again while it is
//! unpacked, so that a small body cannot grow large.

use std::error::Error;
use std::io::Read as _;

use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;

use crate::gateway::media;
use crate::gateway::problem::Problem;
use crate::gateway::rules::{self, Route};

/// Whether the declared length alone is too much.
pub(super) fn check_declared(headers: &HeaderMap, limit: usize) -> Result<(), Problem> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit as u64) { Err(too_large(limit)) } else { Ok(()) }
}

/// Whether the declared type can be read, before anything is.
pub(super) fn check_type<B: Body>(headers: &HeaderMap, body: &B, route: &Route) -> Result<(), Problem> {
    let is_empty = body.is_end_stream() || body.size_hint().upper() == Some(0);
    if route.method.is_client_streaming() {
        return check_lines(headers, is_empty);
    }
    if route.body != rules::Body::None && !is_empty && media::is_json(headers) == Some(false) {
        return Err(wrong_type());
    }
    if encoding(headers).is_some() {
        return Ok(());
    }
    let message = "the body may be encoded with gzip once, or not at all";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message)
        .with(ACCEPT_ENCODING, "gzip"))
}

/// Whether the body is lines that can be read as they come.
fn check_lines(headers: &HeaderMap, is_empty: bool) -> Result<(), Problem> {
    let unsupported =
        |message: &str| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message);
    if !is_empty && media::is_json_lines(headers) != Some(true) {
        let problem = unsupported("the body must be application/x-ndjson in UTF-8, one object a line");
        return Err(problem.with(ACCEPT, "application/x-ndjson"));
    }
    match encoding(headers) {
        Some(Encoding::Identity) => Ok(()),
        _ => Err(unsupported("a body of lines must not be encoded").with(ACCEPT_ENCODING, "identity")),
    }
}

/// How a body is packed.
#[derive(Clone, Copy)]
enum Encoding {
    Identity,
    Gzip,
}

/// `None` for what we do not unpack, gzip within gzip included.
fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    match (values.next().map(|value| value.to_str().unwrap_or_default().trim()), values.next()) {
        (None, _) => Some(Encoding::Identity),
        (Some(name), None) if name.eq_ignore_ascii_case("gzip") => Some(Encoding::Gzip),
        (Some(name), None) if name.eq_ignore_ascii_case("identity") => Some(Encoding::Identity),
        _ => None,
    }
}

/// The answer to a body that is not JSON.
pub(super) fn wrong_type() -> Problem {
    let message = "the body must be application/json in UTF-8";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message).with(ACCEPT, "application/json")
}

/// Reads and unpacks the whole body.
pub(super) async fn read<B>(headers: &HeaderMap, body: B, limit: usize) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut body = std::pin::pin!(body);
    let mut received = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken_off(error.into().as_ref()))?;
        if let Ok(data) = frame.into_data() {
            if received.len() + data.len() > limit {
                return Err(too_large(limit));
            }
            received.extend_from_slice(&data);
        }
    }
    match encoding(headers) {
        Some(Encoding::Gzip) => unpack(&received, limit),
        _ => Ok(received.freeze()),
    }
}

fn unpack(packed: &[u8], limit: usize) -> Result<Bytes, Problem> {
    let mut unpacked = Vec::new();
    let mut limited = MultiGzDecoder::new(packed).take(limit as u64 + 1);
    limited.read_to_end(&mut unpacked).map_err(|_| Problem::invalid("the body is not valid gzip"))?;
    if unpacked.len() > limit { Err(too_large(limit)) } else { Ok(unpacked.into()) }
}

/// Why there is no more of a body: who gives it to us may have lost patience, and
/// says so with a status.
pub(super) fn broken_off(error: &(dyn Error + 'static)) -> Problem {
    let mut cause = Some(error);
    let mut is_late = false;
    while let Some(one) = cause {
        let status = one.downcast_ref::<tonic::Status>();
        is_late |= status.is_some_and(|status| status.code() == tonic::Code::DeadlineExceeded);
        cause = one.source();
    }
    if is_late {
        let message = "the body did not arrive in time";
        return Problem::new(StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", message);
    }
    Problem::invalid("the body ended early")
}

pub(super) fn too_large(limit: usize) -> Problem {
    let message = format!("the body is larger than {limit} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", message)
}
