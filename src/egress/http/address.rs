//! An `http` or `https` address, parsed once.

use std::fmt;

use url::Url;

use crate::egress::host::Host;

/// Longest address. Servers refuse longer ones.
const LONGEST: usize = 8192;

/// Where something is: http or https, a host that the dialer takes, no user or
/// password, no fragment.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(Url);

/// What decides to whom credentials may go, and which connections are the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// True for `https`.
    pub encrypted: bool,
    /// Host, an IPv6 address in brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Address {
    /// An address that somebody typed: it must be whole and plain. Links in pages
    /// go through [`Address::join`].
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if !is_plain || !matches!(scheme.as_deref(), Some("http" | "https")) {
            return None;
        }
        Self::of(Url::parse(text).ok()?)
    }

    /// What a link on this page leads to, read as browsers read it; none where it
    /// leads to nothing that can be asked over HTTP.
    pub fn join(&self, reference: &str) -> Option<Self> {
        if reference.len() > LONGEST {
            return None;
        }
        Self::of(self.0.join(reference).ok()?)
    }

    fn of(mut url: Url) -> Option<Self> {
        let is_web = matches!(url.scheme(), "http" | "https");
        let has_user = !url.username().is_empty() || url.password().is_some();
        let host = Host::parse(url.host_str()?)?;
        if let Host::Name(name) = &host
            && Some(name.as_str()) != url.host_str()
        {
            // The root dot would make another name of the same host.
            url.set_host(Some(name)).ok()?;
        }
        url.set_fragment(None);
        (is_web && !has_user && url.port() != Some(0) && url.as_str().len() <= LONGEST).then_some(Self(url))
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Host, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Port, also where it is not written.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// True for `https`.
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The path, percent-encoded, with its first slash.
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// The query without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.0.query()
    }

    /// What is asked for on the wire.
    pub fn path_and_query(&self) -> &str {
        &self.0[url::Position::BeforePath..url::Position::AfterQuery]
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> Origin {
        Origin { encrypted: self.is_encrypted(), host: self.host().to_owned(), port: self.port() }
    }

    /// Host, with the port where it is not the usual one.
    pub(super) fn authority(&self) -> &str {
        &self.0[url::Position::BeforeHost..url::Position::AfterPort]
    }
}

impl fmt::Debug for Address {
    /// Without path and query: some hold a token.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Address({}://{}/..)", self.0.scheme(), self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_address_is_whole_and_plain() {
        let address = Address::parse("https://Docs.Example:8443/a/b?x=1#part").unwrap();
        assert_eq!(address.as_str(), "https://docs.example:8443/a/b?x=1");
        assert_eq!((address.host(), address.port(), address.path_and_query()), ("docs.example", 8443, "/a/b?x=1"));
        assert_eq!(Address::parse("http://[::1]/").unwrap().origin().host, "[::1]");
        assert_eq!(Address::parse("https://a.example.").unwrap().as_str(), "https://a.example/");
        assert!(!format!("{address:?}").contains("x=1"));
        for odd in [
            "",
            "docs.example",
            "ftp://docs.example/",
            "https://",
            "https://user@docs.example/",
            "https://u:p@docs.example/",
            "https:docs.example",
            "https://docs.example:0/",
            "https://docs\\.example/",
            "https://do cs.example/",
            "https://döcs.example/",
            "file:///etc/passwd",
            "https://-a.example/",
            "https://docs.example:99999/",
        ] {
            assert_eq!(Address::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn links_are_read_as_browsers_read_them() {
        let page = Address::parse("https://docs.example/a/b.html").unwrap();
        let table = [
            ("c.html", Some("https://docs.example/a/c.html")),
            ("../d?x#y", Some("https://docs.example/d?x")),
            ("//other.example/e", Some("https://other.example/e")),
            (" /f g ", Some("https://docs.example/f%20g")),
            ("", Some("https://docs.example/a/b.html")),
            ("mailto:a@b.example", None),
            ("javascript:void(0)", None),
            ("https://user:secret@other.example/", None),
            ("data:text/html,x", None),
        ];
        for (reference, wanted) in table {
            assert_eq!(page.join(reference).as_ref().map(Address::as_str), wanted, "{reference}");
        }
        // An odd spelling of an address is that address, for the dialer to judge.
        assert_eq!(page.join("http://0x7f.1/").unwrap().host(), "127.0.0.1");
    }
}
