//! Why a server does not start.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::tls::TlsError;
use crate::secrets::VaultError;
use crate::store::StoreError;

/// Why a server does not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("the data directory `{path}` cannot be used")]
    DataDir {
        /// Directory.
        path: PathBuf,
        /// Cause.
        #[source]
        cause: std::io::Error,
    },
    /// Another server has the data directory.
    #[error("another server is running on the data directory `{0}`; stop it, or name another with --data-dir")]
    InUse(PathBuf),
    /// The store cannot be opened.
    #[error("the metadata store cannot be opened")]
    Store(#[source] StoreError),
    /// The encryption key is missing or wrong.
    #[error("the encryption key cannot be used")]
    Key(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The encryption key is not the one that this store was written with.
    #[error("this store was written with another encryption key")]
    WrongKey(#[source] VaultError),
    /// The index cannot be opened.
    #[error("the index cannot be opened")]
    Index(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}; is another server there? choose another with --listen")]
    Listen {
        /// Address.
        address: SocketAddr,
        /// Cause.
        #[source]
        cause: std::io::Error,
    },
    /// The files of TLS cannot be used.
    #[error("the files that `tls_certificate`, `tls_key` and `tls_client_ca` name cannot be used")]
    Tls(#[source] TlsError),
    /// A setting that only the server can judge.
    #[error("{0}")]
    Setting(String),
    /// The parts do not fit: our fault.
    #[error("the server cannot be put together")]
    Parts(#[source] Box<dyn std::error::Error + Send + Sync>),
}
