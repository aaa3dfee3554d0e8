//! The gate before every RPC: request id, span, deadline, key, allowance, role.
//!
//! REST comes through here too, since the gateway calls the same router in
//! process. No header is ever logged.

pub mod allowances;
mod audited;
mod call;
mod methods;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue};
use tonic::{Code, Status};
use tracing::{Instrument, Span};

use crate::access::Caller;
use crate::audit::Audit;
use crate::error::{Error, Reason};
use crate::keys::Keys;
use crate::oidc::Provider;
use allowances::{Allowances, Left};
use call::Call;
pub use call::{Peer, RequestId};
pub use methods::{Method, Methods, role};

/// Paths that need no key: a load balancer asks for health, tools for the schema.
const EXEMPT: [&str; 2] = ["/grpc.health.v1.Health/", "/grpc.reflection."];

/// Header and metadata that carry the request id, both ways.
const REQUEST_ID: &str = "x-request-id";

/// A check of key and allowance, for the gateway to make before it parses: what to
/// add to the call, and to the answer's headers.
pub type PreCheck = Arc<dyn Fn(&Parts) -> BoxFuture<'static, (Result<Extensions, Status>, HeaderMap)> + Send + Sync>;

/// Turns the headers of a call into its caller.
#[derive(Clone)]
pub struct Authenticator {
    keys: Arc<Keys>,
    provider: Option<Arc<Provider>>,
}

impl Authenticator {
    /// An authenticator over the keys, and over the tokens of a provider.
    pub fn new(keys: Arc<Keys>, provider: Option<Arc<Provider>>) -> Self {
        Self { keys, provider }
    }

    /// The caller whose key or token is in `authorization` or `x-api-key`. One and
    /// the same error for whatever is wrong with it.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Error> {
        let token = token(headers).ok_or_else(invalid_authentication)?;
        if let Some(caller) = self.keys.authenticate(token).await? {
            return Ok(caller);
        }
        let vouched = match &self.provider {
            Some(provider) if Provider::could_be_token(token) => provider.caller(token).await,
            _ => None,
        };
        vouched.ok_or_else(invalid_authentication)
    }

    /// The check as the gateway takes it. The call is counted here, and not again
    /// when it comes to the gate.
    pub fn pre_check(&self, allowances: Arc<Allowances>) -> PreCheck {
        let authenticator = self.clone();
        Arc::new(move |parts| {
            let (authenticator, allowances) = (authenticator.clone(), allowances.clone());
            let (headers, mut extensions) = (credentials_of(&parts.headers), parts.extensions.clone());
            async move {
                let checked = authenticator.authenticate(&headers).await;
                let (outcome, left) = allowances.count(checked, &extensions);
                Allowances::mark(&mut extensions);
                (outcome.map(|_| extensions).map_err(Status::from), headers_of(left.as_ref()))
            }
            .boxed()
        })
    }
}

fn headers_of(left: Option<&Left>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(left) = left {
        left.write(&mut headers);
    }
    headers
}

/// The two headers that `authenticate` reads.
fn credentials_of(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in ["authorization", "x-api-key"] {
        for value in headers.get_all(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

fn invalid_authentication() -> Error {
    Error::new(Reason::Unauthorized, "invalid authentication")
}

/// The token, if there is exactly one. A call that gives two is not guessed at.
fn token(headers: &HeaderMap) -> Option<&str> {
    match (single(headers, "authorization")?, single(headers, "x-api-key")?) {
        (Some(authorization), None) => bearer(authorization),
        (None, Some(key)) => Some(key),
        (Some(authorization), Some(key)) => bearer(authorization).filter(|token| *token == key),
        (None, None) => None,
    }
}

/// The header's value; `None` on the outside when it is repeated or no text.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Some(None),
        (Some(value), None) => value.to_str().ok().map(|text| Some(text.trim())),
        (Some(_), Some(_)) => None,
    }
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The gate. Knows each method's role from the descriptors.
pub struct Gate {
    authenticator: Authenticator,
    methods: Methods,
    audit: Arc<Audit>,
    allowances: Arc<Allowances>,
}

impl Gate {
    /// A gate for the methods of this API, which tells the log who passed.
    pub fn new(authenticator: Authenticator, audit: Arc<Audit>, allowances: Arc<Allowances>) -> Self {
        Self { authenticator, methods: Methods::of_this_api(), audit, allowances }
    }

    /// Puts the gate before every route, the fallback included.
    pub fn guard(self, router: axum::Router) -> axum::Router {
        router.layer(axum::middleware::from_fn_with_state(Arc::new(self), pass))
    }

    /// Who calls, and what is left to them; nobody where no key is needed. An unknown
    /// method needs a key too: nothing about the API is learnt without one.
    async fn admit(
        &self,
        path: &str,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> (Result<Option<Caller>, Error>, Option<Left>) {
        if EXEMPT.iter().any(|prefix| path.starts_with(prefix)) {
            return (Ok(None), None);
        }
        let checked = self.authenticator.authenticate(headers).await;
        let (counted, left) = self.allowances.count(checked, extensions);
        (counted.map(Some), left)
    }
}

async fn pass(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let request_id = RequestId::of(request.headers());
    let path = request.uri().path().to_owned();
    let method = gate.methods.get(&path);
    let (call, span) = Call::begin(method, &request_id, request.headers());
    let is_stream = method.is_some_and(|method| method.streams);
    let limit = (!is_stream).then(|| gate.allowances.time(timeout(request.headers())));
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    request.extensions_mut().insert(request_id.clone());

    let answer = async {
        let (admitted, left) = gate.admit(&path, request.headers(), request.extensions()).await;
        let mut response = match admitted {
            Ok(Some(caller)) => {
                Span::current().record("caller.key", caller.key.as_str());
                let audited = audited::Call::new(&gate.audit, method, &caller, peer, &request_id);
                let may = method.map_or(Ok(()), |method| caller.require(method.role));
                match may.and_then(|()| gate.allowances.hold(&caller, is_stream)) {
                    Ok(holding) => {
                        request.extensions_mut().insert(caller);
                        audited.announce(request.extensions_mut());
                        let answer = completed(within(limit, next.run(request)).await);
                        holding.until_the_end_of(audited.end(answer).await)
                    }
                    Err(error) => audited.end(Status::from(error).into_http()).await,
                }
            }
            // Health and reflection answer as their own protocols say.
            Ok(None) => next.run(request).await,
            Err(error) => {
                if error.reason() == Reason::Unauthorized {
                    gate.audit.refused_entry(peer, error.reason().name());
                }
                Status::from(error).into_http()
            }
        };
        response.headers_mut().extend(headers_of(left.as_ref()));
        response
    };
    let mut response = answer.instrument(span).await;
    call.end(&response);
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The answer, or `DEADLINE_EXCEEDED`; the handler is then dropped. With no time at
/// all it is not begun: a quick answer could come before the timer's first tick.
async fn within(limit: Option<Duration>, answer: impl Future<Output = Response>) -> Response {
    let late = || Status::from(Error::new(Reason::DeadlineExceeded, "the call's deadline passed")).into_http();
    match limit {
        None => answer.await,
        Some(Duration::ZERO) => late(),
        Some(limit) => tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| late()),
    }
}

/// What tonic refuses by itself (an unknown method, a message that is too large or
/// cannot be read) has no details; every error of this API has.
fn completed(response: Response) -> Response {
    let headers = response.headers();
    let ours = headers.contains_key("grpc-status-details-bin");
    let Some(status) = Status::from_header_map(headers).filter(|status| !ours && status.code() != Code::Ok) else {
        return response;
    };
    let (reason, message) = match status.code() {
        Code::Unimplemented => (Reason::NotSupported, "there is no such method, or not with this encoding"),
        Code::OutOfRange | Code::ResourceExhausted => (Reason::PayloadTooLarge, "the message is too large"),
        // So tonic calls a message that is not of the method's type.
        Code::Internal | Code::InvalidArgument => (Reason::InvalidArgument, "the message cannot be read"),
        Code::Cancelled => (Reason::Cancelled, "the call was cancelled"),
        Code::DeadlineExceeded => (Reason::DeadlineExceeded, "the call's deadline passed"),
        Code::Unavailable => (Reason::Unavailable, "the server is not available"),
        _ => return with_details(response, Error::internal(status)),
    };
    with_details(response, Error::new(reason, message).caused_by(status))
}

/// The error in place of the answer; what tonic says of encodings stays.
fn with_details(response: Response, error: Error) -> Response {
    let mut replaced: Response = Status::from(error).into_http();
    if let Some(encodings) = response.headers().get("grpc-accept-encoding") {
        replaced.headers_mut().insert("grpc-accept-encoding", encodings.clone());
    }
    replaced
}

/// `grpc-timeout`: at most eight digits and a unit. What is malformed is ignored,
/// as tonic's own server does.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_token_comes_from_either_header_but_never_from_two_that_differ() {
        let cases = [
            (vec![("authorization", "Bearer abc")], Some("abc")),
            (vec![("authorization", "bearer  abc ")], Some("abc")),
            (vec![("x-api-key", "abc")], Some("abc")),
            (vec![("authorization", "Bearer abc"), ("x-api-key", "abc")], Some("abc")),
            (vec![("authorization", "Bearer abc"), ("x-api-key", "abd")], None),
            (vec![("authorization", "Basic abc")], None),
            (vec![("authorization", "abc")], None),
            (vec![("x-api-key", "abc"), ("x-api-key", "abc")], None),
            (vec![], None),
        ];
        for (given, wanted) in cases {
            assert_eq!(token(&headers(&given)), wanted, "{given:?}");
        }
    }

    #[test]
    fn grpc_timeouts_are_read_as_the_protocol_says() {
        let cases = [
            ("100m", Some(Duration::from_millis(100))),
            ("2S", Some(Duration::from_secs(2))),
            ("1H", Some(Duration::from_secs(3600))),
            ("123456789S", None),
            ("S", None),
            ("-1S", None),
            ("5x", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(timeout(&headers(&[("grpc-timeout", text)])), wanted, "{text}");
        }
    }
}
