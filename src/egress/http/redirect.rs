//! A request on its way, and where a redirect takes it.

use ::http::{HeaderMap, Method, Request, StatusCode, header};

use super::{Address, Body, HttpError};

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
    pub(super) fn redirected(&self, status: StatusCode, answered: &HeaderMap) -> Result<Option<Self>, HttpError> {
        let moved = [
            StatusCode::MOVED_PERMANENTLY,
            StatusCode::FOUND,
            StatusCode::SEE_OTHER,
            StatusCode::TEMPORARY_REDIRECT,
            StatusCode::PERMANENT_REDIRECT,
        ];
        let Some(location) = answered.get(header::LOCATION).filter(|_| moved.contains(&status)) else {
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

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    fn redirected(method: Method, status: u16, location: &str) -> Result<Option<Call>, HttpError> {
        let mut secret = HeaderValue::from_static("s3cret");
        secret.set_sensitive(true);
        let request = Request::builder()
            .method(method)
            .uri("https://a.example/dir/page")
            .header(header::AUTHORIZATION, "Bearer s3cret")
            .header("x-token", secret)
            .header(header::CONTENT_TYPE, "text/plain")
            .header(header::ACCEPT, "*/*")
            .body(Body::from("body"))
            .unwrap();
        let mut answered = HeaderMap::new();
        answered.insert(header::LOCATION, HeaderValue::from_bytes(location.as_bytes()).unwrap());
        Call::new(request).unwrap().redirected(StatusCode::from_u16(status).unwrap(), &answered)
    }

    fn names(call: &Call) -> Vec<&str> {
        call.headers.keys().map(|name| name.as_str()).collect()
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        let same = redirected(Method::GET, 302, "../x").unwrap().unwrap();
        assert_eq!((same.address.as_str(), names(&same).len()), ("https://a.example/x", 4));
        for other in ["https://b.example/", "https://a.example:444/", "//a.example.b.example/"] {
            let call = redirected(Method::GET, 302, other).unwrap().unwrap();
            assert_eq!(names(&call), ["content-type", "accept"], "{other}");
        }
    }

    #[test]
    fn a_body_goes_along_only_where_the_method_is_kept() {
        for (method, status, wanted) in [
            (Method::POST, 301, Method::GET),
            (Method::POST, 302, Method::GET),
            (Method::POST, 303, Method::GET),
            (Method::PUT, 303, Method::GET),
            (Method::POST, 307, Method::POST),
            (Method::PUT, 302, Method::PUT),
            (Method::HEAD, 303, Method::HEAD),
        ] {
            let call = redirected(method.clone(), status, "/x").unwrap().unwrap();
            assert_eq!(call.method, wanted, "{method} {status}");
            let is_kept = wanted != Method::GET;
            assert_eq!(names(&call).contains(&"content-type"), is_kept, "{method} {status}");
        }
    }

    #[test]
    fn nothing_leads_from_tls_to_plain_text_or_out_of_the_web() {
        for odd in ["http://a.example/", "ftp://a.example/", "javascript:x", "https://u:p@a.example/", "https://"] {
            assert!(matches!(redirected(Method::GET, 302, odd), Err(HttpError::Redirect)), "{odd}");
        }
        for status in [200, 300, 304, 305, 404] {
            assert!(redirected(Method::GET, status, "/x").unwrap().is_none(), "{status}");
        }
    }
}
