//! Settings of the doors: TLS and where they may be without it, and their limits.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::values::Reader;

/// Files that the listeners speak TLS with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, the server's own certificate first; PEM.
    pub certificate: PathBuf,
    /// Key of that certificate; PEM.
    pub key: PathBuf,
    /// Authorities that sign the certificates of clients; PEM. With it every client
    /// needs one, without it none is asked for.
    pub client_ca: Option<PathBuf>,
    /// Common or DNS names, one of which a client's certificate must have; none
    /// means that every certificate of those authorities will do.
    pub client_names: Vec<String>,
}

/// Files of a client's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// Certificate chain, the client's own certificate first; PEM.
    pub certificate: PathBuf,
    /// Key of that certificate; PEM.
    pub key: PathBuf,
}

/// Limits of the doors. What is over one is refused or ended, and nothing else is
/// disturbed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest body in bytes, also after it is decompressed.
    pub max_body: usize,
    /// Longest answer of one call in bytes.
    pub max_answer: usize,
    /// Longest path and query in bytes.
    pub max_uri: usize,
    /// Longest headers in bytes, all together.
    pub max_header: usize,
    /// Most headers of one request.
    pub max_headers: usize,
    /// Deepest nesting of JSON.
    pub max_json_depth: usize,
    /// Most calls at once on one connection of HTTP/2.
    pub max_streams: usize,
    /// Most connections, all together.
    pub max_connections: usize,
    /// Most connections from one address; of IPv6, from one network of 64 bits.
    pub max_connections_per_peer: usize,
    /// Most new connections a second from one address, over some time; none means
    /// any number.
    pub new_connections_per_peer: u32,
    /// Most calls at once with one key; streams are counted apart.
    pub max_calls_per_key: usize,
    /// Most calls a minute with one key, and in one go; none means any number.
    pub calls_a_minute: u32,
    /// Most calls a minute with keys that are refused, from one address; none means
    /// any number.
    pub refused_a_minute: u32,
    /// Most streams at once with one key.
    pub max_streams_per_key: usize,
    /// Bytes of answers that may wait unread on a connection before its next call
    /// has to wait too.
    pub max_unread: usize,
    /// Longest time of a TLS handshake.
    pub handshake: Duration,
    /// Longest time until the headers of a request are there; an HTTP/1.1 connection
    /// without a request is closed after it.
    pub header_time: Duration,
    /// Longest time until the whole body of a request is there.
    pub body_time: Duration,
    /// Longest time that a peer may leave unread what waits for it.
    pub write_time: Duration,
    /// Longest time that a connection may be without a call.
    pub idle_time: Duration,
    /// How often a peer on HTTP/2 is asked whether it is still there.
    pub ping_every: Duration,
    /// How long it may take to say so.
    pub ping_time: Duration,
    /// Longest time of a call that is no stream.
    pub call_time: Duration,
}

impl Limits {
    /// Most connections from one address, where behind a proxy all come from its.
    pub fn max_connections_per_peer_behind(&self, proxy: bool) -> usize {
        if proxy { self.max_connections } else { self.max_connections_per_peer }
    }

    /// New connections a second from one address, if they have a limit.
    pub fn new_connections_per_peer_behind(&self, proxy: bool) -> Option<u32> {
        (!proxy && self.new_connections_per_peer > 0).then_some(self.new_connections_per_peer)
    }
}

impl Reader {
    fn count(&mut self, name: &'static str) -> u32 {
        u32::try_from(self.whole(name)).unwrap_or(u32::MAX)
    }

    /// The limits.
    pub(super) fn limits(&mut self) -> Limits {
        Limits {
            max_body: self.whole("max_body_bytes"),
            max_answer: self.whole("max_answer_bytes"),
            max_uri: self.whole("max_uri_bytes"),
            max_header: self.whole("max_header_bytes"),
            max_headers: self.whole("max_headers"),
            max_json_depth: self.whole("max_json_depth"),
            max_streams: self.whole("max_streams"),
            max_connections: self.whole("max_connections"),
            max_connections_per_peer: self.whole("max_connections_per_peer"),
            new_connections_per_peer: self.count("new_connections_per_peer"),
            max_calls_per_key: self.whole("max_calls_per_key"),
            calls_a_minute: self.count("rate_limit_per_minute"),
            refused_a_minute: self.count("refused_limit_per_minute"),
            max_streams_per_key: self.whole("max_streams_per_key"),
            max_unread: self.whole("max_unread_bytes"),
            handshake: self.seconds("handshake_timeout_seconds"),
            header_time: self.seconds("header_timeout_seconds"),
            body_time: self.seconds("body_timeout_seconds"),
            write_time: self.seconds("write_timeout_seconds"),
            idle_time: self.seconds("idle_timeout_seconds"),
            ping_every: self.seconds("ping_interval_seconds"),
            ping_time: self.seconds("ping_timeout_seconds"),
            call_time: self.seconds("call_timeout_seconds"),
        }
    }

    /// The files of TLS: certificate and key together, and what is of use only with
    /// another setting only with that.
    pub(super) fn tls(&mut self) -> Option<TlsFiles> {
        let client_ca = self.path("tls_client_ca");
        let client_names = self.list("tls_client_names");
        if client_ca.is_some() && !self.is_set("tls_certificate") {
            self.refuse("tls_client_ca", "needs `tls_certificate` and `tls_key`: clients show theirs over TLS only");
        }
        if !client_names.is_empty() && client_ca.is_none() {
            self.refuse("tls_client_names", "needs `tls_client_ca`, which says whose certificates are believed");
        }
        let (certificate, key) = self.pair("tls_certificate", "tls_key")?;
        Some(TlsFiles { certificate, key, client_ca, client_names })
    }

    /// What `tributary health` shows.
    pub(super) fn health(&mut self) -> Option<ClientFiles> {
        let (certificate, key) = self.pair("health_certificate", "health_key")?;
        Some(ClientFiles { certificate, key })
    }

    fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        self.is_set(name).then(|| PathBuf::from(self.text(name)))
    }

    /// The files of a certificate and of its key: both or none.
    fn pair(&mut self, certificate: &'static str, key: &'static str) -> Option<(PathBuf, PathBuf)> {
        match (self.path(certificate), self.path(key)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                self.refuse(certificate, format!("needs `{key}`, the file with its key"));
                None
            }
            (None, Some(_)) => {
                self.refuse(key, format!("needs `{certificate}`, the file with its certificate"));
                None
            }
        }
    }

    /// The addresses to listen on. Beyond loopback the keys of callers would travel
    /// readable for everybody on the way, so that needs TLS, ours or a proxy's.
    pub(super) fn doors(&mut self, is_covered: bool) -> Vec<SocketAddr> {
        let addresses = self.addresses("listen");
        let open = addresses.iter().find(|address| !address.ip().is_loopback());
        if let (Some(address), false) = (open, is_covered) {
            let message = format!(
                "has {address}, where other machines would send their keys in plain text: give `tls_certificate` and \
                 `tls_key` (--tls-certificate, --tls-key), or `behind_proxy` (--behind-proxy) where a proxy speaks TLS \
                 before it"
            );
            self.refuse("listen", message);
        }
        addresses
    }
}
