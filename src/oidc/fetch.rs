//! The provider's documents, over the one dialer: no redirects, no proxy, a bound
//! on time and size.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, StatusCode};
use serde_json::Value;

use crate::egress::Dialer;
use crate::egress::http::{Address, Body, Client, HttpError, Settings};

/// Largest document.
const LARGEST: u64 = 512 * 1024;
/// For one document, from the look-up of the name to the last byte.
const LIMIT: Duration = Duration::from_secs(10);
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Why the keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The address is no URL that is asked.
    #[error("`{0}` is not an https URL (or an http one of this machine)")]
    Url(String),
    /// The host cannot be asked, or the exchange broke off.
    #[error("the document cannot be had")]
    Http(#[source] HttpError),
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
    operators: Client,
    others: Client,
}

impl Fetcher {
    pub(super) fn new(issuer: String, operators: Arc<Dialer>, others: Arc<Dialer>) -> Self {
        let client = |dialer| Client::new(dialer, Settings::default());
        Self { issuer, operators: client(operators), others: client(others) }
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
        let place = place(url).ok_or_else(|| FetchError::Url(url.to_owned()))?;
        // What the operator has named is allowed on the operator's networks; what
        // the provider names is judged like any address that somebody gives us.
        let named = Address::parse(&self.issuer)
            .is_some_and(|issuer| issuer.host() == place.host() && issuer.port() == place.port());
        let client = if named { &self.operators } else { &self.others };
        let body = tokio::time::timeout(LIMIT, get(client, &place)).await.map_err(|_| FetchError::TimedOut)??;
        serde_json::from_slice(&body).map_err(|_| FetchError::Document("is not JSON"))
    }
}

/// Where a document is. Plain text may not leave this machine.
fn place(url: &str) -> Option<Address> {
    Address::parse(url).filter(|address| address.is_encrypted() || is_this_machine(address.host()))
}

fn is_this_machine(host: &str) -> bool {
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    plain == "localhost" || plain.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn get(client: &Client, place: &Address) -> Result<Bytes, FetchError> {
    let request = Request::get(place.as_str()).header(ACCEPT, "application/json").body(Body::default());
    let request = request.map_err(|_| FetchError::Http(HttpError::Address))?;
    let response = client.send(request).await.map_err(FetchError::Http)?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    response.bytes(LARGEST).await.map_err(FetchError::Http)
}

#[cfg(test)]
mod tests;
