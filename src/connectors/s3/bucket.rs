//! Requests to a bucket: signed, bounded, and read as what they mean.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderValue, Method, Request, header};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use secrecy::ExposeSecret as _;

use super::refusal::Refusal;
use super::settings::{Credentials, given};
use super::{S3, listing};
use crate::connectors::loading::LoadError;
use crate::connectors::remote::web::{self, escaped};
use crate::connectors::remote::{Depth, ListError, Opened, Page, Stamp, Store};
use crate::connectors::{Account, ConnectorError};
use crate::egress::http::{Address, Body, Client, HttpError, PlainText, Response, Settings};

/// Most of a page of a listing: a thousand keys of a kilobyte, each byte escaped.
const LARGEST_PAGE: u64 = 8 * 1024 * 1024;

/// A bucket, and connections to it.
pub struct Bucket {
    client: Client,
    /// Scheme, host and port, with the bucket.
    root: String,
    base: Address,
    name: String,
    region: String,
    prefix: String,
    credential: Option<AwsCredential>,
}

impl Bucket {
    /// The bucket of a connection; nothing is sent yet.
    pub(super) fn of(account: &Account<S3>) -> Result<Self, ConnectorError> {
        let config = &account.config;
        if let Some((field, reason)) = account.credentials.wrong() {
            return Err(ConnectorError::Invalid { field: field.to_owned(), reason: reason.to_owned() });
        }
        let endpoint = config.endpoint();
        let root = match endpoint.split_once("://") {
            Some(_) if config.is_path_style() => format!("{endpoint}/{}", config.bucket),
            Some((scheme, host)) => format!("{scheme}://{}.{host}", config.bucket),
            None => endpoint,
        };
        let base = Address::parse(&root).ok_or_else(|| ConnectorError::Invalid {
            field: "config.endpoint".to_owned(),
            reason: "is not an http or https address".to_owned(),
        })?;
        let settings = Settings {
            root_certificate: given(&config.root_certificate).map(str::to_owned),
            // A signed request shows no secret; an `http` endpoint is somebody's word.
            plain_text: PlainText::Anywhere,
            ..Settings::default()
        };
        Ok(Self {
            client: Client::new(Arc::clone(&account.resources.dialer), settings),
            root,
            base,
            name: config.bucket.clone(),
            region: config.region().to_owned(),
            prefix: config.prefix(),
            credential: credential(&account.credentials),
        })
    }

    pub(super) fn destination(&self) -> (String, u16) {
        (self.base.host().to_owned(), self.base.port())
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn address(&self) -> &Address {
        &self.base
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_anonymous(&self) -> bool {
        self.credential.is_none()
    }

    /// A page of keys.
    pub(super) async fn keys(&self, folder: &str, depth: Depth, token: Option<&str>) -> Result<Response, HttpError> {
        let prefix = match folder {
            "" => self.prefix.clone(),
            folder => format!("{}{folder}/", self.prefix),
        };
        let mut query = format!("?list-type=2&max-keys=1000&prefix={}", escaped(&prefix, false));
        if depth == Depth::Folder {
            query.push_str("&delimiter=%2F");
        }
        if let Some(token) = token {
            query.push_str(&format!("&continuation-token={}", escaped(token, false)));
        }
        // In the path style a bucket is listed with a slash or without; in the other
        // the path is never empty.
        self.send(&format!("{}/{query}", self.root), None).await
    }

    async fn send(&self, address: &str, if_match: Option<&str>) -> Result<Response, HttpError> {
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = address.parse().map_err(|_| HttpError::Address)?;
        if let Some(version) = if_match.and_then(|version| HeaderValue::from_str(version).ok()) {
            request.headers_mut().insert(header::IF_MATCH, version);
        }
        if let Some(credential) = &self.credential {
            let authorizer = AwsAuthorizer::new(credential, "s3", &self.region);
            authorizer.try_authorize(&mut request, None).map_err(|_| HttpError::Address)?;
        }
        let (mut parts, _) = request.into_parts();
        for value in parts.headers.values_mut() {
            // The signature and the session's token among them.
            value.set_sensitive(true);
        }
        // Not signed: proxies on the way may change it.
        parts.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        self.client.send(Request::from_parts(parts, Body::default())).await
    }
}

#[async_trait]
impl Store for Bucket {
    fn lists_below(&self) -> bool {
        true
    }

    async fn list(&self, folder: &str, depth: Depth, page: Option<&str>) -> Result<Page, ListError> {
        let answer = self.keys(folder, depth, page).await.map_err(ConnectorError::from)?;
        if !answer.status().is_success() {
            return Err(Refusal::of(answer).await.of_listing(&self.name).into());
        }
        let body = answer.bytes(LARGEST_PAGE).await.map_err(ConnectorError::from)?;
        let page = listing::page(&body, &self.prefix);
        page.map_err(|malformed| ConnectorError::Unexpected(Box::new(malformed)).into())
    }

    async fn open(&self, path: &str, stamp: &Stamp, most: u64) -> Result<Opened, LoadError> {
        let address = format!("{}/{}{}", self.root, escaped(&self.prefix, true), escaped(path, true));
        let version = Some(stamp.version.as_str()).filter(|version| !version.is_empty());
        let answer = self.send(&address, version).await.map_err(ConnectorError::from)?;
        if !answer.status().is_success() {
            return Err(refused(Refusal::of(answer).await, &self.name));
        }
        web::opened(answer, stamp, most)
    }
}

fn credential(credentials: &Credentials) -> Option<AwsCredential> {
    let key_id = credentials.access_key_id.as_deref().filter(|key| !key.is_empty())?.to_owned();
    let secret_key = credentials.secret_access_key.as_ref()?.expose_secret().to_owned();
    let token = credentials.session_token.as_ref().map(|token| token.expose_secret().to_owned());
    Some(AwsCredential { key_id, secret_key, token })
}

/// What a refusal means for one file.
fn refused(refusal: Refusal, bucket: &str) -> LoadError {
    let (code, message) = match refusal {
        Refusal::NoKey => return web::gone(),
        Refusal::Changed => return web::changed(),
        Refusal::Permission => ("permission_missing", "the login may not read the file"),
        Refusal::Archived => ("archived", "the file lies in an archive; restore it, or exclude it"),
        Refusal::Other(status) if status.is_client_error() => ("unreadable", "the server does not give the file"),
        other => return other.of_listing(bucket).into(),
    };
    web::refused(code, message)
}
