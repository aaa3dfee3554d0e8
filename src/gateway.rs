//! The REST door: takes HTTP with JSON by the `google.api.http` rules of a
//! descriptor set and calls a gRPC service in process.
//!
//! It knows nothing of what it serves: the descriptors, the status of each
//! error reason and the check of a caller are given to it.

pub mod path;
pub mod rules;
pub mod template;
mod trie;

use std::sync::Arc;

use futures::future::BoxFuture;
use http::HeaderMap;

/// Decides from the headers whether a caller may come in at all.
pub type Authenticate = Arc<dyn Fn(&HeaderMap) -> BoxFuture<'static, Result<(), tonic::Status>> + Send + Sync>;

/// What the gateway is told about the service behind it.
#[derive(Clone)]
pub struct Settings {
    /// Full name of the method option with the REST behaviour.
    pub options_extension: &'static str,
    /// `ErrorInfo.domain` of the errors that the gateway itself makes.
    pub error_domain: &'static str,
    /// Path prefixes that stand for others: `("/v1", "/api/v1")`.
    pub prefix_aliases: Vec<(&'static str, &'static str)>,
    /// HTTP status of an error reason, where it is not the gRPC code's.
    pub status_of_reason: fn(&str) -> Option<u16>,
    /// Largest body, counted after decompression too.
    pub max_body: usize,
    /// Longest path and query.
    pub max_uri: usize,
    /// Called before a route is looked for. The gRPC stack authenticates again.
    pub authenticate: Authenticate,
}

/// Why a descriptor set cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not a descriptor set.
    #[error("the descriptor set cannot be read")]
    Descriptors(#[from] prost_reflect::DescriptorError),
    /// An option that the gateway reads is not defined.
    #[error("the descriptor set has no option `{0}`")]
    NoExtension(String),
    /// A method has a rule that cannot be served.
    #[error("`{method}` cannot be served: {why}")]
    Refused {
        /// Full name of the method.
        method: String,
        /// What is wrong with its rule.
        why: String,
    },
}
