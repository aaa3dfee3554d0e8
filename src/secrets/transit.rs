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
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use crate::config::{TransitConfig, TransitToken};
use crate::egress::tls::{Verification, check_root, client_handshake};
use crate::egress::{Dialer, Policy, Timeouts};

use super::source::SourceError;

/// What ids of keys that a keeper holds begin with.
pub const PREFIX: &str = "transit:";
/// A whole call, from the look-up of the name to the last byte.
const CALL_TIME: Duration = Duration::from_secs(10);
/// An answer is a few hundred bytes; more is another server.
const LONGEST_ANSWER: usize = 64 << 10;

/// A keeper.
#[derive(Clone)]
pub struct Transit {
    shared: Arc<Shared>,
}

struct Shared {
    config: TransitConfig,
    dialer: Dialer,
    root: Option<String>,
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
        Ok(Self { shared: Arc::new(Shared { config, dialer, root }) })
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
        let Shared { config, dialer, root, .. } = &*self.shared;
        let TransitConfig { url, mount, key, .. } = config;
        let token = self.token()?;
        let host = url.host().unwrap_or_default();
        let is_tls = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let request = Request::post(format!("/v1/{mount}/{operation}/{key}"))
            .header("host", url.authority().map(|authority| authority.as_str()).unwrap_or_default())
            .header("content-type", "application/json")
            .header("x-vault-token", token.expose_secret())
            .header("x-vault-request", "true")
            .body(Full::from(body.to_string()))
            .map_err(|_| KeeperError::NoToken)?;
        let resolved = dialer.resolve(host, port).await.map_err(|_| KeeperError::Away)?;
        let stream = dialer.connect(&resolved).await.map_err(|_| KeeperError::Away)?;
        if is_tls {
            let limit = dialer.timeouts().handshake;
            let secured = client_handshake(stream, resolved.host(), Verification::Full, root.as_deref(), limit).await;
            answer(secured.map_err(|_| KeeperError::Untrusted)?, request).await
        } else {
            answer(stream, request).await
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

/// One request over a stream of its own. Redirects are not followed.
async fn answer<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Value, KeeperError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|_| KeeperError::Away)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|_| KeeperError::Away)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
        Ok((status, Zeroizing::new(body.map_err(|_| KeeperError::Unexpected)?.to_bytes().to_vec())))
    };
    let (status, body) = tokio::select! {
        exchanged = exchange => exchanged?,
        // It ends only when the stream does, and then there is no answer.
        _ = connection => return Err(KeeperError::Away),
    };
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
