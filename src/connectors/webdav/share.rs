//! Requests to a WebDAV server.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};

use super::{WebDav, listing};
use crate::connectors::http::accepted;
use crate::connectors::loading::LoadError;
use crate::connectors::remote::{Depth, ListError, Opened, Page, Stamp, Store, web};
use crate::connectors::{Account, ConnectorError};
use crate::egress::http::{Address, Authorization, Body, Client, HttpError, PlainText, Response, Settings};

/// Most of what a server may say of one folder: about 40,000 files.
const LARGEST_FOLDER: u64 = 24 * 1024 * 1024;

/// A folder of a server, and connections to it.
pub struct Share {
    client: Client,
    root: Address,
    authorization: Option<Authorization>,
}

impl Share {
    /// The folder of a connection; nothing is sent yet.
    pub(super) fn of(account: &Account<WebDav>) -> Result<Self, ConnectorError> {
        let config = &account.config;
        let root = config.folder().ok_or_else(|| invalid("is not the address of a folder"))?;
        let authorization = account.credentials.authorization()?;
        // A password must not be seen on the way.
        let plain_text = if authorization.is_some() { PlainText::Loopback } else { PlainText::Anywhere };
        let root_certificate = config.root_certificate().map(str::to_owned);
        let settings = Settings { root_certificate, plain_text, ..Settings::default() };
        Ok(Self { client: Client::new(Arc::clone(&account.resources.dialer), settings), root, authorization })
    }

    pub(super) fn destination(&self) -> (String, u16) {
        (self.root.host().to_owned(), self.root.port())
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn address(&self) -> &Address {
        &self.root
    }

    /// The question for what is in a folder.
    pub(super) fn question(&self, folder: &Address) -> Result<Request<Body>, HttpError> {
        let method = Method::from_bytes(b"PROPFIND").map_err(|_| HttpError::Address)?;
        let mut request = self.request(method, folder, Bytes::from_static(listing::QUESTION.as_bytes()))?;
        let headers = request.headers_mut();
        headers.insert(HeaderName::from_static("depth"), HeaderValue::from_static("1"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8"));
        Ok(request)
    }

    fn request(&self, method: Method, address: &Address, body: Bytes) -> Result<Request<Body>, HttpError> {
        let mut request = Request::new(Body::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = address.as_str().parse().map_err(|_| HttpError::Address)?;
        if let Some(authorization) = &self.authorization {
            authorization.apply(request.headers_mut());
        }
        Ok(request)
    }

    fn place(&self, path: &str, is_folder: bool) -> Result<Address, HttpError> {
        let slash = if is_folder && !path.is_empty() { "/" } else { "" };
        Address::parse(&format!("{}{}{slash}", self.root.as_str(), web::escaped(path, true))).ok_or(HttpError::Address)
    }

    async fn ask(&self, folder: &Address) -> Result<Response, HttpError> {
        self.client.send(self.question(folder)?).await
    }
}

#[async_trait]
impl Store for Share {
    async fn list(&self, folder: &str, _depth: Depth, _page: Option<&str>) -> Result<Page, ListError> {
        let address = self.place(folder, true).map_err(ConnectorError::from)?;
        let answer = self.ask(&address).await.map_err(ConnectorError::from)?;
        let answer = match accepted(answer, if folder.is_empty() { "." } else { folder }) {
            Ok(answer) => answer,
            // Apache refuses the login where it is not one of those who may.
            Err(ConnectorError::Forbidden { .. } | ConnectorError::LoginRefused(_)) if !folder.is_empty() => {
                return Err(ListError::Forbidden);
            }
            Err(error) => return Err(error.into()),
        };
        if answer.status() == StatusCode::NOT_FOUND && !folder.is_empty() {
            return Err(ListError::NotFound);
        }
        if answer.status() != StatusCode::MULTI_STATUS {
            return Err(no_folder(answer.status()).into());
        }
        let body = match answer.bytes(LARGEST_FOLDER).await {
            Err(HttpError::TooLarge) if !folder.is_empty() => return Err(ListError::TooMany),
            body => body.map_err(ConnectorError::from)?,
        };
        listing::page(&body, &self.root, &address).map_err(|malformed| match folder {
            "" => ConnectorError::Unexpected(Box::new(malformed)).into(),
            _ => ListError::Contradiction,
        })
    }

    async fn open(&self, path: &str, stamp: &Stamp, most: u64) -> Result<Opened, LoadError> {
        let address = self.place(path, false).map_err(|_| web::refused("name_not_usable", "its path is too long"))?;
        let mut request = self.request(Method::GET, &address, Bytes::new()).map_err(ConnectorError::from)?;
        request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let answer = self.client.send(request).await.map_err(ConnectorError::from)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                return Err(web::gone());
            }
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                return Err(web::refused("permission_missing", "the login may not read the file"));
            }
            StatusCode::LOCKED => return Err(web::refused("unreadable", "the file is locked")),
            _ => {
                accepted(answer, path)?;
                return Err(web::refused("unreadable", "the server does not give the file"));
            }
        }
        web::opened(answer, stamp, most)
    }
}

/// What it means for the connection's own folder that it is not listed.
pub(super) fn no_folder(status: StatusCode) -> ConnectorError {
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => invalid("names no folder of this server"),
        _ => invalid("is not the address of a folder of a WebDAV server"),
    }
}

fn invalid(reason: &str) -> ConnectorError {
    ConnectorError::Invalid { field: "config.url".to_owned(), reason: reason.to_owned() }
}
