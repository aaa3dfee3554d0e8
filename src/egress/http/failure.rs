//! Why a request has no answer, without a word that the server said.

use crate::egress::DialError;
use crate::egress::tls::TlsError;

/// Why there is no answer, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No address that can be asked.
    #[error("the address is not one that can be asked over HTTP")]
    Address,
    /// The host cannot be reached, or may not be.
    #[error("the host cannot be reached")]
    Dial(#[source] DialError),
    /// There is no TLS.
    #[error("there is no TLS with the host")]
    Tls(#[source] TlsError),
    /// An `http://` address of another machine.
    #[error("plain text is allowed to this machine only")]
    PlainText,
    /// Too long until the first byte, between two, or for as little as came.
    #[error("the server did not answer in time")]
    TimedOut,
    /// More than the caller takes.
    #[error("the answer is larger than it may be")]
    TooLarge,
    /// Too many redirects, or one that leads to plain text or to nowhere.
    #[error("the server redirects to where it may not")]
    Redirect,
    /// The server broke off, or does not speak HTTP.
    #[error("the answer cannot be read")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Not gzip or deflate, or not as it says.
    #[error("the encoding of the answer cannot be read")]
    Encoding,
    /// Not the JSON that was asked for.
    #[error("the answer is not the JSON that was asked for")]
    Json,
}

impl HttpError {
    /// The public code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Dial(error) => error.code(),
            Self::Tls(TlsError::TimedOut) | Self::TimedOut => "timed_out",
            Self::Tls(_) | Self::PlainText => "tls_failed",
            Self::TooLarge => "too_large",
            Self::Address | Self::Redirect | Self::Broken(_) | Self::Encoding | Self::Json => "unreachable",
        }
    }

    pub(super) fn broken(cause: hyper::Error) -> Self {
        Self::Broken(Box::new(cause))
    }
}
