//! A request on its way, and where a redirect takes it.

use ::http::{HeaderMap, Method, Request, StatusCode, header};

use super::{Address, Body, HttpError, Response};

/// Methods that change nothing at the server, beside those that HTTP itself has.
const ALSO_SAFE: [&str; 3] = ["PROPFIND", "REPORT", "SEARCH"];

/// A request to one address.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) address: Address,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

impl Call {
    pub(super) fn new(request: Request<Body>) -> Result<Self, HttpError> {
        let (parts, body) = request.into_parts();
        let address = Address::parse(&parts.uri.to_string()).ok_or(HttpError::Address)?;
        Ok(Self { method: parts.method, address, headers: parts.headers, body })
    }

    /// True when asking twice is no more than asking once.
    pub(super) fn may_be_repeated(&self) -> bool {
        self.method.is_safe() || ALSO_SAFE.contains(&self.method.as_str())
    }

    /// The request that follows a redirect; none where the answer is no redirect.
    pub(super) fn redirected(&self, response: &Response) -> Result<Option<Self>, HttpError> {
        let status = response.status();
        let moved = [
            StatusCode::MOVED_PERMANENTLY,
            StatusCode::FOUND,
            StatusCode::SEE_OTHER,
            StatusCode::TEMPORARY_REDIRECT,
            StatusCode::PERMANENT_REDIRECT,
        ];
        let Some(location) = response.headers().get(header::LOCATION).filter(|_| moved.contains(&status)) else {
            return Ok(None);
        };
        let location = std::str::from_utf8(location.as_bytes()).map_err(|_| HttpError::Redirect)?;
        let address = self.address.join(location).ok_or(HttpError::Redirect)?;
        if self.address.is_encrypted() && !address.is_encrypted() {
            return Err(HttpError::Redirect);
        }
        let mut headers = self.headers.clone();
        if address.origin() != self.address.origin() {
            headers = without_credentials(headers);
        }
        // What was sent stays with whoever it was sent to, as browsers have it.
        let becomes_get = (status == StatusCode::SEE_OTHER && self.method != Method::HEAD)
            || (status.as_u16() <= 302 && self.method == Method::POST);
        let (method, body) =
            if becomes_get { (Method::GET, Body::default()) } else { (self.method.clone(), self.body.clone()) };
        if becomes_get {
            for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE] {
                headers.remove(name);
            }
        }
        headers.remove(header::CONTENT_LENGTH);
        Ok(Some(Self { method, address, headers, body }))
    }
}

/// The headers that another origin may see: none that hold credentials, by their
/// name or since whoever set them said so.
fn without_credentials(headers: HeaderMap) -> HeaderMap {
    let secret = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];
    let mut kept = HeaderMap::new();
    for (name, value) in &headers {
        if !secret.contains(name) && !value.is_sensitive() {
            kept.append(name, value.clone());
        }
    }
    kept
}
