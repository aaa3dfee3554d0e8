//! OpenBao or Vault as the keeper of the key-encryption key: data keys are wrapped
//! and unwrapped by its transit engine, which never lets its key out.
//!
//! Nothing that it answers is kept: a session is opened once a sync, test or
//! discovery, so a cache would save little, hold data keys in memory, and go on to
//! open what the keeper refuses by now.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Request, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::config::{TransitConfig, TransitToken};
use crate::egress::http::{Body, Client, HttpError, Response, Settings};
use crate::egress::tls::check_root;
use crate::egress::{Dialer, Policy, Timeouts};

use super::source::SourceError;

/// What ids of keys that a keeper holds begin with.
pub const PREFIX: &str = "transit:";
/// A whole call, from the look-up of the name to the last byte.
const CALL_TIME: Duration = Duration::from_secs(10);
/// An answer is a few hundred bytes; more is another server.
const LONGEST_ANSWER: u64 = 64 << 10;

/// A keeper.
#[derive(Clone)]
pub struct Transit {
    shared: Arc<Shared>,
}

struct Shared {
    config: TransitConfig,
    client: Client,
}

/// What a keeper said instead of what was asked for. Nothing of its words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeeperError {
    /// It does not answer, or says that it cannot now.
    #[error("does not answer")]
    Away,
    /// It does not let our token do that.
    #[error("refuses the token")]
    Refused,
    /// Its certificate is not accepted.
    #[error("has a certificate that is not accepted")]
    Untrusted,
    /// It has no such engine or key.
    #[error("has no such key")]
    NoKey,
    /// It says that what was given is wrong.
    #[error("does not accept the request")]
    Rejected,
    /// Our own token cannot be read.
    #[error("cannot be asked: there is no token in the token file")]
    NoToken,
    /// Its answer is none of a transit engine.
    #[error("gives an answer that a transit engine does not give")]
    Unexpected,
}

impl Transit {
    /// A keeper as the operator names it: the address policy of sources has no say
    /// in where it is, but cloud metadata stays out of reach.
    pub fn new(config: TransitConfig) -> Result<Self, SourceError> {
        let root = config.root_certificate.as_deref().map(read_root).transpose()?;
        let dialer = Dialer::new(Policy { local_allowed: true, ..Policy::default() }, Timeouts::default());
        let settings = Settings { root_certificate: root, ..Settings::default() };
        let client = Client::new(Arc::new(dialer), settings);
        Ok(Self { shared: Arc::new(Shared { config, client }) })
    }

    /// What a data key is bound to: the key, in whatever version.
    pub fn key_name(&self) -> String {
        let TransitConfig { mount, key, .. } = &self.shared.config;
        format!("{PREFIX}{mount}/{key}")
    }

    /// True for the ids of this key's versions.
    pub fn has(&self, key_id: &str) -> bool {
        key_id.strip_prefix(&self.key_name()).is_some_and(|version| version.starts_with("/v"))
    }

    /// Wraps with the newest version of the key; the id that it has, and the wrapped.
    pub async fn wrap(&self, plain: &[u8], context: &[u8]) -> Result<(String, Vec<u8>), KeeperError> {
        let encoded = Zeroizing::new(STANDARD.encode(plain));
        let body = json!({"plaintext": *encoded, "associated_data": STANDARD.encode(context)});
        let answer = self.call("encrypt", body).await?;
        let wrapped = answer["data"]["ciphertext"].as_str().ok_or(KeeperError::Unexpected)?;
        let version = version_of(wrapped).ok_or(KeeperError::Unexpected)?;
        Ok((format!("{}/v{version}", self.key_name()), wrapped.as_bytes().to_vec()))
    }

    /// Unwraps what was wrapped with the same context.
    pub async fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeeperError> {
        let wrapped = std::str::from_utf8(wrapped).map_err(|_| KeeperError::Rejected)?;
        let body = json!({"ciphertext": wrapped, "associated_data": STANDARD.encode(context)});
        let answer = self.call("decrypt", body).await?;
        let plain = answer["data"]["plaintext"].as_str().ok_or(KeeperError::Unexpected)?;
        STANDARD.decode(plain).map(Zeroizing::new).map_err(|_| KeeperError::Unexpected)
    }

    async fn call(&self, operation: &str, body: Value) -> Result<Value, KeeperError> {
        tokio::time::timeout(CALL_TIME, self.call_once(operation, body)).await.unwrap_or(Err(KeeperError::Away))
    }

    async fn call_once(&self, operation: &str, body: Value) -> Result<Value, KeeperError> {
        let Shared { config, client } = &*self.shared;
        let TransitConfig { url, mount, key, .. } = config;
        let token = self.token()?;
        let mut token = HeaderValue::from_str(token.expose_secret()).map_err(|_| KeeperError::NoToken)?;
        token.set_sensitive(true);
        let place = url.to_string();
        let request = Request::post(format!("{}/v1/{mount}/{operation}/{key}", place.trim_end_matches('/')))
            .header(CONTENT_TYPE, "application/json")
            .header(HeaderName::from_static("x-vault-token"), token)
            .header(HeaderName::from_static("x-vault-request"), "true")
            .body(Body::from(body.to_string()))
            .map_err(|_| KeeperError::NoToken)?;
        match client.send(request).await {
            Ok(response) => answer(response).await,
            Err(HttpError::Tls(_)) => Err(KeeperError::Untrusted),
            Err(_) => Err(KeeperError::Away),
        }
    }

    /// Read for each call: whoever renews a token file need not tell us.
    fn token(&self) -> Result<SecretString, KeeperError> {
        match &self.shared.config.token {
            TransitToken::Given(token) => Ok(token.clone()),
            TransitToken::File(path) => read_token(path).ok_or(KeeperError::NoToken),
        }
    }
}

fn read_root(path: &Path) -> Result<String, SourceError> {
    let failed = |cause| SourceError::Root { path: path.to_owned(), cause };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.into()))?;
    check_root(&text).map_err(|error| failed(error.into()))?;
    Ok(text)
}

fn read_token(path: &Path) -> Option<SecretString> {
    let text = Zeroizing::new(std::fs::read_to_string(path).ok()?);
    let token = text.trim();
    (!token.is_empty()).then(|| SecretString::from(token))
}

/// What the keeper says. A redirect is none of its answers.
async fn answer(response: Response) -> Result<Value, KeeperError> {
    let status = response.status();
    let body = response.bytes(LONGEST_ANSWER).await.map_err(|_| KeeperError::Unexpected)?;
    let body = Zeroizing::new(body.to_vec());
    match status {
        StatusCode::OK => serde_json::from_slice(&body).map_err(|_| KeeperError::Unexpected),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(KeeperError::Refused),
        StatusCode::NOT_FOUND => Err(KeeperError::NoKey),
        StatusCode::BAD_REQUEST => Err(KeeperError::Rejected),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PRECONDITION_FAILED => Err(KeeperError::Away),
        status if status.is_server_error() => Err(KeeperError::Away),
        _ => Err(KeeperError::Unexpected),
    }
}

/// `vault:v7:...` is of version 7.
fn version_of(wrapped: &str) -> Option<u64> {
    let mut parts = wrapped.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("vault"), Some(version), Some(_)) => version.strip_prefix('v')?.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_wrapped_key_is_read() {
        assert_eq!(version_of("vault:v12:abc:def"), Some(12));
        for odd in ["", "vault", "vault:v1", "vault:1:abc", "other:v1:abc", "vault:vx:abc"] {
            assert_eq!(version_of(odd), None, "{odd}");
        }
    }
}
