//! How much a caller may ask for: calls a minute and calls at once with one key, and
//! refused keys a minute from one address.
//!
//! The limit follows the check of the key, so that nobody uses up another's share,
//! and a neighbour behind the same address who guesses keys locks nobody out. A call
//! counts once, whichever door it came through; a stream counts when it begins.
//!
//! The headers are those of draft-ietf-httpapi-ratelimit-headers-10.

mod bucket;
mod held;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue};

use super::Peer;
use crate::access::Caller;
use crate::error::{Error, Reason};
use bucket::{Buckets, Standing};
use held::Holding;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// When to come back after too many calls at once: one of them may have ended.
const SOON: Duration = Duration::from_secs(1);

/// How much there is for everybody.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Calls a minute with one key, and as many in one go; none means any number.
    pub calls_a_minute: u32,
    /// Refused keys a minute from one address, and as many in one go; none means any
    /// number.
    pub refused_a_minute: u32,
    /// Calls at once with one key, without streams.
    pub calls_at_once: usize,
    /// Streams at once with one key.
    pub streams_at_once: usize,
    /// Longest time of a call that is no stream.
    pub call_time: Duration,
}

/// A call that was counted before it came to the gate.
#[derive(Clone)]
struct Counted;

/// Counts calls.
pub struct Allowances {
    limits: Limits,
    by_key: Buckets<String>,
    refused: Buckets<IpAddr>,
    /// Calls and streams under way, by key.
    under_way: Arc<Mutex<HashMap<String, UnderWay>>>,
}

#[derive(Default)]
struct UnderWay {
    calls: usize,
    streams: usize,
}

impl Allowances {
    /// Nothing is used up yet.
    pub fn new(limits: Limits) -> Self {
        let (by_key, refused) = (Buckets::new(limits.calls_a_minute), Buckets::new(limits.refused_a_minute));
        Self { limits, by_key, refused, under_way: Arc::default() }
    }

    /// Counts a call whose key has been checked. The outcome of the check, unless
    /// there are too many; and what is left, for the answer's headers.
    pub(super) fn count(
        &self,
        checked: Result<Caller, Error>,
        extensions: &Extensions,
    ) -> (Result<Caller, Error>, Option<Left>) {
        let now = Instant::now();
        match checked {
            Ok(caller) if extensions.get::<Counted>().is_some() => (Ok(caller), None),
            Ok(caller) => match self.by_key.take(caller.key.as_str(), now) {
                Ok(standing) => (Ok(caller), standing.map(Left)),
                Err(standing) => (Err(too_many("key", standing.wait)), Some(Left(standing))),
            },
            Err(error) if error.reason() == Reason::Unauthorized => {
                let peer = extensions.get::<Peer>().map(|peer| peer.network());
                match peer.map(|peer| self.refused.take(&peer, now)) {
                    Some(Err(standing)) => (Err(too_many("peer", standing.wait)), None),
                    Some(Ok(_)) | None => (Err(error), None),
                }
            }
            Err(error) => (Err(error), None),
        }
    }

    /// Marks a call as counted.
    pub(super) fn mark(extensions: &mut Extensions) {
        extensions.insert(Counted);
    }

    /// Takes a place among the calls at once, which is free again when the answer is
    /// over.
    pub(super) fn hold(&self, caller: &Caller, is_stream: bool) -> Result<Holding, Error> {
        let key = caller.key.as_str();
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let of_key = under_way.entry(key.to_owned()).or_default();
        let (count, most, which) = if is_stream {
            (&mut of_key.streams, self.limits.streams_at_once, "streams")
        } else {
            (&mut of_key.calls, self.limits.calls_at_once, "calls")
        };
        if *count >= most {
            return Err(too_many(which, SOON));
        }
        *count += 1;
        Ok(Holding::new(self.under_way.clone(), key.to_owned(), is_stream))
    }

    /// The time that a call may take, where its caller wants it within `asked`.
    pub(super) fn time(&self, asked: Option<Duration>) -> Duration {
        asked.map_or(self.limits.call_time, |asked| asked.min(self.limits.call_time))
    }
}

/// What is left of a key's calls.
pub(super) struct Left(Standing);

impl Left {
    /// Writes the headers of the draft: the policy, and what is left until when.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let Standing { quota, left, full_in, .. } = self.0;
        let window = bucket::WINDOW.as_secs();
        let policy = format!("\"key\";q={quota};w={window}");
        let limit = format!("\"key\";r={left};t={}", full_in.as_secs() + u64::from(full_in.subsec_nanos() > 0));
        for (name, text) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, limit)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(name, value);
            }
        }
    }
}

fn too_many(which: &'static str, wait: Duration) -> Error {
    metrics::counter!("tributary_calls_limited_total", "limit" => which).increment(1);
    let message = match which {
        "peer" => "too many calls with keys that are not valid came from this address",
        "calls" => "too many calls are going on with this key",
        "streams" => "too many streams are open with this key",
        _ => "too many calls with this key",
    };
    Error::new(Reason::RateLimited, message).with("limit", which).retry_after(wait)
}

#[cfg(test)]
mod tests;
