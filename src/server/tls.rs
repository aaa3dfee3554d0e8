//! TLS of the listeners: reads the files, makes the handshake, and takes changed
//! files while it runs.
//!
//! Every connection is served with what was in force at its handshake, so a reload
//! disturbs none. A pair that cannot be used changes nothing but the log and a
//! metric.

mod clients;
mod der;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ClientHello;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::config::TlsFiles;

/// How often the files are looked at. They are read whole: a changed time alone
/// tells nothing where they are links, as secrets in containers are.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why the files cannot be used. Says which; never shows what is in them.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("`{path}` cannot be read")]
    Unreadable {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        cause: std::io::Error,
    },
    /// A file is not PEM with what it should hold.
    #[error("`{path}` holds no {wanted} in PEM form")]
    NoPem {
        /// File.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// The key is not that of the certificate, or of no kind that we speak.
    #[error("`{key}` is not the key of the certificate in `{certificate}`, or of a kind that is not supported")]
    Mismatch {
        /// File of the key.
        key: PathBuf,
        /// File of the certificate.
        certificate: PathBuf,
    },
    /// The authorities of client certificates cannot be used.
    #[error("`{path}` holds a certificate that cannot be an authority")]
    Authorities {
        /// File.
        path: PathBuf,
    },
    /// No version of TLS is left: our fault.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// What the files hold.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
}

/// The TLS of a server's listeners.
pub struct Tls {
    files: TlsFiles,
    in_force: Mutex<Arc<ServerConfig>>,
    /// What was last looked at, good or bad, so that the log says each thing once.
    seen: Mutex<Contents>,
}

impl Tls {
    /// Reads the files.
    pub fn open(files: &TlsFiles) -> Result<Self, TlsError> {
        let contents = read(files)?;
        let config = configure(files, &contents)?;
        Ok(Self { files: files.clone(), in_force: Mutex::new(config.into()), seen: Mutex::new(contents) })
    }

    /// What makes the handshake of the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner).clone().into()
    }

    /// Takes the files as they are now. Where they cannot be used, what was in force
    /// stays so.
    pub fn reload(&self) {
        match read(&self.files) {
            Ok(contents) => self.take(contents),
            Err(error) => self.report(&error),
        }
    }

    /// Takes changed files until told to stop.
    pub async fn look_after(self: Arc<Self>, stop: CancellationToken) {
        let mut unreadable = false;
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            match read(&self.files) {
                Ok(contents) if *self.seen.lock().unwrap_or_else(PoisonError::into_inner) == contents => {
                    unreadable = false;
                }
                Ok(contents) => {
                    unreadable = false;
                    self.take(contents);
                }
                Err(error) if !unreadable => {
                    unreadable = true;
                    self.report(&error);
                }
                Err(_) => {}
            }
        }
    }

    fn take(&self, contents: Contents) {
        match configure(&self.files, &contents) {
            Ok(config) => {
                *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = config.into();
                metrics::counter!("tributary_tls_reloads_total", "outcome" => "loaded").increment(1);
                info!(certificate = %self.files.certificate.display(), "TLS certificate reloaded");
            }
            Err(error) => self.report(&error),
        }
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = contents;
    }

    fn report(&self, problem: &TlsError) {
        metrics::counter!("tributary_tls_reloads_total", "outcome" => "refused").increment(1);
        error!(error = %problem, "the changed TLS files cannot be used; the certificate in force stays");
    }
}

/// What an operator should know of the files.
#[derive(Debug)]
pub struct Inspection {
    /// Seconds from now until the certificate ends; negative when it has. `None`
    /// where its end cannot be read.
    pub seconds_left: Option<i64>,
}

/// Reads the files as a server would, for a look before it starts.
pub fn inspect(files: &TlsFiles) -> Result<Inspection, TlsError> {
    let contents = read(files)?;
    configure(files, &contents)?;
    let leaf = CertificateDer::pem_slice_iter(&contents.certificate).next().and_then(Result::ok);
    let end = leaf.and_then(|leaf| der::not_after(&leaf));
    Ok(Inspection { seconds_left: end.map(|end| end - chrono::Utc::now().timestamp()) })
}

fn read(files: &TlsFiles) -> Result<Contents, TlsError> {
    let bytes = |path: &Path| fs::read(path).map_err(|cause| TlsError::Unreadable { path: path.to_owned(), cause });
    Ok(Contents {
        certificate: bytes(&files.certificate)?,
        key: bytes(&files.key)?.into(),
        client_ca: files.client_ca.as_deref().map(bytes).transpose()?,
    })
}

fn configure(files: &TlsFiles, contents: &Contents) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certified = certified(files, contents, &provider)?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Setup)?;
    let builder = match (&files.client_ca, &contents.client_ca) {
        (Some(path), Some(pem)) => {
            builder.with_client_cert_verifier(clients::verifier(path, pem, &files.client_names, provider)?)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(One(certified.into())));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certified(files: &TlsFiles, contents: &Contents, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(&contents.certificate, &files.certificate)?;
    let no_key = || TlsError::NoPem { path: files.key.clone(), wanted: "private key" };
    let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|_| no_key())?;
    let mismatch = || TlsError::Mismatch { key: files.key.clone(), certificate: files.certificate.clone() };
    // Also compares the key with the certificate.
    CertifiedKey::from_der(chain, key, provider).map_err(|_| mismatch())
}

/// The certificates of a PEM text; there is at least one.
fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = read.ok().filter(|found| !found.is_empty());
    found.ok_or_else(|| TlsError::NoPem { path: path.to_owned(), wanted: "certificate" })
}

/// The one certificate, whatever name a client asks for: there is one server.
#[derive(Debug)]
struct One(Arc<CertifiedKey>);

impl ResolvesServerCert for One {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}
