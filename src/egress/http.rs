//! The one HTTP client: over the dialer, so that every address is judged, with a
//! bound on all that a server may send and on how long it may take.
//!
//! HTTP/1.1 with connections that are kept. Deliberately absent: proxies of the
//! environment, cookies, and redirects where none are asked for. Where they are,
//! each is judged anew, none leads from TLS to plain text, and credentials do not
//! go along to another origin.

mod address;
mod authorization;
mod connection;
mod decoding;
mod failure;
mod pool;
mod redirect;
mod response;
mod retry;

use std::sync::Arc;

use ::http::{HeaderValue, Method, Request, header};
use bytes::Bytes;
use http_body_util::Full;
use tokio::time::timeout;

use super::Dialer;
use super::tls::Verification;
use crate::report::Report;
pub use address::{Address, Origin};
pub use authorization::Authorization;
use connection::Connection;
pub use failure::HttpError;
use pool::Pool;
use redirect::Call;
pub use response::Response;
pub use retry::http_date;

/// What is sent: whole and in memory, so that it can be sent again.
pub type Body = Full<Bytes>;

/// Most redirects that are followed for one request.
pub const MOST_REDIRECTS: u8 = 3;

/// Where plain text may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainText {
    /// To this machine alone.
    Loopback,
    /// Wherever the address policy lets us: an `http://` address is the word of
    /// whoever gave it.
    Anywhere,
}

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What of a server's certificate is verified.
    pub verification: Verification,
    /// PEM text; with it only that authority is trusted.
    pub root_certificate: Option<String>,
    /// Redirects that are followed, at most [`MOST_REDIRECTS`]. With none a
    /// redirect is an answer like any other.
    pub redirects: u8,
    /// What we say we are.
    pub user_agent: String,
    /// Where `http://` is allowed.
    pub plain_text: PlainText,
}

impl Default for Settings {
    /// Strict: full verification, no redirects, plain text on this machine only.
    fn default() -> Self {
        Self {
            verification: Verification::Full,
            root_certificate: None,
            redirects: 0,
            user_agent: concat!("tributary/", env!("CARGO_PKG_VERSION")).to_owned(),
            plain_text: PlainText::Loopback,
        }
    }
}

/// Sends requests and keeps connections. Clones share them; the last one that is
/// dropped ends them.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    dialer: Arc<Dialer>,
    settings: Settings,
    pool: Arc<Pool>,
}

impl Client {
    /// A client without connections.
    pub fn new(dialer: Arc<Dialer>, settings: Settings) -> Self {
        let settings = Settings { redirects: settings.redirects.min(MOST_REDIRECTS), ..settings };
        Self { shared: Arc::new(Shared { dialer, settings, pool: Arc::default() }) }
    }

    /// Sends a request whose URI is a whole address; `Host`, `User-Agent` and
    /// `Accept-Encoding` are added. Ends when the head of the answer is there,
    /// whatever its status: a refusal is an answer too.
    pub async fn send(&self, request: Request<Body>) -> Result<Response, HttpError> {
        let mut call = Call::new(request)?;
        let most = self.shared.settings.redirects;
        let mut followed = 0;
        loop {
            let response = self.exchange(&call).await?;
            let next = if most == 0 { None } else { call.redirected(&response)? };
            let Some(next) = next else { return Ok(response) };
            if followed == most {
                return Err(HttpError::Redirect);
            }
            followed += 1;
            response.discard().await;
            call = next;
        }
    }

    /// Resolves, connects and makes the TLS handshake, and notes each stage in the
    /// report of a test; what comes after a failed one is skipped, login included.
    /// The connection is kept for the next request. `field` names the setting that
    /// holds the address, for the hints.
    pub async fn reach(&self, address: &Address, field: &str, report: &mut Report) -> Result<(), HttpError> {
        let Shared { dialer, settings, pool } = &*self.shared;
        let connection = connection::open(dialer, settings, address, field, report).await?;
        pool.put(address.origin(), connection);
        Ok(())
    }

    async fn exchange(&self, call: &Call) -> Result<Response, HttpError> {
        let Shared { dialer, settings, pool } = &*self.shared;
        if let Some(kept) = pool.take(&call.address.origin()).await {
            match self.exchange_over(kept, call).await {
                Ok(response) => return Ok(response),
                // The server may have closed it while nobody looked.
                Err(Failed { cause: HttpError::Broken(_), unsent }) if unsent || call.may_be_repeated() => {}
                Err(failed) => return Err(failed.cause),
            }
        }
        let fresh = connection::open(dialer, settings, &call.address, "address", &mut Report::default()).await?;
        self.exchange_over(fresh, call).await.map_err(|failed| failed.cause)
    }

    async fn exchange_over(&self, mut connection: Connection, call: &Call) -> Result<Response, Failed> {
        let Shared { dialer, settings, pool } = &*self.shared;
        let limits = dialer.timeouts();
        let request = wire_request(call, settings).map_err(|cause| Failed { cause, unsent: true })?;
        match timeout(limits.first_byte, connection.sender.try_send_request(request)).await {
            Ok(Ok(answer)) => Ok(Response::new(answer, call.address.clone(), connection, Arc::clone(pool), limits)),
            Ok(Err(mut failure)) => {
                let unsent = failure.take_message().is_some();
                Err(Failed { cause: HttpError::broken(failure.into_error()), unsent })
            }
            Err(_) => Err(Failed { cause: HttpError::TimedOut, unsent: false }),
        }
    }
}

/// Why there was no answer, and whether the server can have seen the request.
struct Failed {
    cause: HttpError,
    unsent: bool,
}

/// The request as it goes over the wire: the path alone, with what a server needs
/// to know beside it.
fn wire_request(call: &Call, settings: &Settings) -> Result<Request<Body>, HttpError> {
    let mut request = Request::new(call.body.clone());
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = call.address.path_and_query().parse().map_err(|_| HttpError::Address)?;
    *request.headers_mut() = call.headers.clone();
    let headers = request.headers_mut();
    let host = HeaderValue::from_str(call.address.authority()).map_err(|_| HttpError::Address)?;
    headers.insert(header::HOST, host);
    if !headers.contains_key(header::USER_AGENT)
        && let Ok(agent) = HeaderValue::from_str(&settings.user_agent)
    {
        headers.insert(header::USER_AGENT, agent);
    }
    // A part of an encoded answer could not be decoded.
    let takes_encoded = call.method != Method::HEAD && !headers.contains_key(header::RANGE);
    if takes_encoded && !headers.contains_key(header::ACCEPT_ENCODING) {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate"));
    }
    Ok(request)
}

#[cfg(test)]
mod tests;
