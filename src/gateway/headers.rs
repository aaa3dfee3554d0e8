//! The request headers that mean something to the gateway.

use http::HeaderMap;
use http::HeaderValue;
use http::header::IF_MATCH;
use ulid::Ulid;

use crate::gateway::problem::Problem;

const MAX_REQUEST_ID: usize = 128;

/// The caller's request id if it is one, else a new one.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let good = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=MAX_REQUEST_ID).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
    };
    headers.get(crate::gateway::REQUEST_ID).filter(good).cloned().unwrap_or_else(|| {
        let id = format!("req_{}", Ulid::new().to_string().to_ascii_lowercase());
        HeaderValue::from_str(&id).expect("a ULID is letters and digits")
    })
}

/// The text of `Idempotency-Key`: a quoted string, or a bare token.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let malformed = || Problem::invalid("`Idempotency-Key` must be a quoted string or a token");
    match single(headers, "idempotency-key")? {
        None => Ok(None),
        Some(text) => unquote(text).filter(|key| !key.is_empty()).map(Some).ok_or_else(malformed),
    }
}

/// The text of `If-Match`.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    Ok(single(headers, IF_MATCH.as_str())?.map(str::to_owned))
}

/// The last event that a stream's reader has seen.
pub(super) fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    // Text that is not ASCII is passed on as something that no id can be.
    let value = headers.get("last-event-id")?.to_str().unwrap_or("?").trim();
    Some(value).filter(|value| !value.is_empty())
}

fn single<'headers>(headers: &'headers HeaderMap, name: &'static str) -> Result<Option<&'headers str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let malformed = || Problem::invalid(format!("`{name}` must be given once, in ASCII"));
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(|text| Some(text.trim())).map_err(|_| malformed()),
        (Some(_), Some(_)) => Err(malformed()),
    }
}

/// A string of Structured Fields (RFC 9651), or a token as it is.
fn unquote(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('"') else {
        return (!text.contains(['"', ' ', ','])).then(|| text.to_owned());
    };
    let mut inner = inner.strip_suffix('"')?.chars();
    let mut unquoted = String::new();
    while let Some(letter) = inner.next() {
        match letter {
            '\\' => unquoted.push(inner.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            '"' => return None,
            letter => unquoted.push(letter),
        }
    }
    Some(unquoted)
}
