//! The provider's documents, over the one dialer: no redirects, no proxy, a bound
//! on time and size.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::egress::tls::{Verification, client_handshake};
use crate::egress::{DialError, Dialer, tls};

/// Largest document.
const LARGEST: usize = 512 * 1024;
/// For one document, from the look-up of the name to the last byte.
const LIMIT: Duration = Duration::from_secs(10);
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Why the keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The address is no URL that is asked.
    #[error("`{0}` is not an https URL (or an http one of this machine)")]
    Url(String),
    /// The host cannot be reached.
    #[error("the host cannot be reached")]
    Dial(#[source] DialError),
    /// There is no TLS.
    #[error("there is no TLS with the host")]
    Tls(#[source] tls::TlsError),
    /// The exchange broke off.
    #[error("the answer cannot be read")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another status than 200; a redirect is one.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// No answer in time.
    #[error("the host did not answer in time")]
    TimedOut,
    /// Not the document that it should be.
    #[error("the document {0}")]
    Document(&'static str),
}

/// Asks the provider.
pub(super) struct Fetcher {
    issuer: String,
    operators: Arc<Dialer>,
    others: Arc<Dialer>,
}

impl Fetcher {
    pub(super) fn new(issuer: String, operators: Arc<Dialer>, others: Arc<Dialer>) -> Self {
        Self { issuer, operators, others }
    }

    /// The provider's JWK set, from where its configuration says.
    pub(super) async fn key_set(&self) -> Result<Value, FetchError> {
        let configuration = self.document(&format!("{}{DISCOVERY}", self.issuer.trim_end_matches('/'))).await?;
        if configuration["issuer"].as_str() != Some(self.issuer.as_str()) {
            return Err(FetchError::Document("is of another issuer"));
        }
        let place = configuration["jwks_uri"].as_str().ok_or(FetchError::Document("names no jwks_uri"))?;
        let set = self.document(place).await?;
        if set["keys"].is_array() { Ok(set) } else { Err(FetchError::Document("is no set of keys")) }
    }

    async fn document(&self, url: &str) -> Result<Value, FetchError> {
        let place = Place::of(url).ok_or_else(|| FetchError::Url(url.to_owned()))?;
        // What the operator has named is allowed on the operator's networks; what
        // the provider names is judged like any address that somebody gives us.
        let named =
            Place::of(&self.issuer).is_some_and(|issuer| issuer.host == place.host && issuer.port == place.port);
        let dialer = if named { &self.operators } else { &self.others };
        let body = tokio::time::timeout(LIMIT, get(dialer, &place)).await.map_err(|_| FetchError::TimedOut)??;
        serde_json::from_slice(&body).map_err(|_| FetchError::Document("is not JSON"))
    }
}

/// Where a document is.
struct Place {
    host: String,
    port: u16,
    encrypted: bool,
    authority: String,
    path: String,
}

impl Place {
    fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let authority = uri.authority()?.as_str().to_owned();
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let encrypted = match uri.scheme_str()? {
            "https" => true,
            "http" if is_this_machine(&host) => false,
            _ => return None,
        };
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let path = uri.path_and_query()?.as_str().to_owned();
        (!authority.contains('@')).then_some(Self { host, port, encrypted, authority, path })
    }
}

/// Plain text may not leave this machine.
fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn get(dialer: &Dialer, place: &Place) -> Result<Bytes, FetchError> {
    let resolved = dialer.resolve(&place.host, place.port).await.map_err(FetchError::Dial)?;
    let stream = dialer.connect(&resolved).await.map_err(FetchError::Dial)?;
    if !place.encrypted {
        return exchange(stream, place).await;
    }
    let limit = dialer.timeouts().handshake;
    let stream = client_handshake(stream, resolved.host(), Verification::Full, None, limit).await;
    exchange(stream.map_err(FetchError::Tls)?, place).await
}

async fn exchange<S>(stream: S, place: &Place) -> Result<Bytes, FetchError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let http = |error: hyper::Error| FetchError::Http(error.into());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let request = Request::get(&place.path)
        .header(HOST, &place.authority)
        .header(ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|error| FetchError::Http(error.into()))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(http)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), LARGEST).collect().await.map_err(FetchError::Http)?;
        Ok(body.to_bytes())
    };
    // The connection does its work beside the exchange, and ends with it.
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = connection => {
            ended.map_err(http)?;
            answer.await
        }
    }
}

#[cfg(test)]
mod tests;
