//! The `Authorization` header, which shows nothing of what it holds.

use std::fmt;

use ::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

/// Credentials as a header. The client does not take it along to another origin.
#[derive(Clone)]
pub struct Authorization(HeaderValue);

impl Authorization {
    /// A user and password (RFC 7617); none where the user has a colon, which
    /// would move the border between the two.
    pub fn basic(user: &str, password: &SecretString) -> Option<Self> {
        let joined = Zeroizing::new(format!("{user}:{}", password.expose_secret()));
        let is_plain = !user.contains(':') && !joined.contains(|character: char| character.is_control());
        is_plain.then(|| Self::of("Basic", &Zeroizing::new(STANDARD.encode(joined.as_bytes())))).flatten()
    }

    /// A token (RFC 6750); none where it has a character that a header cannot hold.
    pub fn bearer(token: &SecretString) -> Option<Self> {
        let token = token.expose_secret();
        let is_plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        is_plain.then(|| Self::of("Bearer", token)).flatten()
    }

    /// Puts it among the headers of a request.
    pub fn apply(&self, headers: &mut HeaderMap) {
        headers.insert(header::AUTHORIZATION, self.0.clone());
    }

    fn of(scheme: &str, value: &str) -> Option<Self> {
        let text = Zeroizing::new(format!("{scheme} {value}"));
        let mut header = HeaderValue::from_str(&text).ok()?;
        header.set_sensitive(true);
        Some(Self(header))
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Authorization")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_in_the_header_and_nowhere_else() {
        let mut headers = HeaderMap::new();
        let basic = Authorization::basic("Aladdin", &SecretString::from("open sesame")).unwrap();
        basic.apply(&mut headers);
        assert_eq!(headers[header::AUTHORIZATION], "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(format!("{basic:?}{headers:?}").matches("QWxh").count(), 0);
        Authorization::bearer(&SecretString::from("t0k.en")).unwrap().apply(&mut headers);
        assert_eq!(headers[header::AUTHORIZATION], "Bearer t0k.en");
    }

    #[test]
    fn what_a_header_cannot_hold_is_refused() {
        assert!(Authorization::basic("a:b", &SecretString::from("c")).is_none());
        assert!(Authorization::basic("a", &SecretString::from("b\r\nx: y")).is_none());
        for token in ["", "a b", "a\r\nb", "ü"] {
            assert!(Authorization::bearer(&SecretString::from(token)).is_none(), "{token}");
        }
    }
}
