//! TLS to a user's host: ring, TLS 1.2 or later, and always a verified chain.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
pub use tokio_rustls::client::TlsStream;

/// What of a server's certificate is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// The chain and the name.
    Full,
    /// The chain only: any server of that authority may answer.
    Chain,
}

/// Why there is no TLS. `Display` says nothing that the server sent.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The root certificate is not PEM with at least one certificate.
    #[error("the root certificate is not PEM text with a certificate")]
    InvalidRoot,
    /// The host cannot be in a certificate.
    #[error("the host is no name that a certificate can have")]
    InvalidName,
    /// The certificate is not trusted, has another name, or has expired.
    #[error("the server's certificate is not accepted")]
    Certificate(#[source] std::io::Error),
    /// Anything else in the handshake.
    #[error("the TLS handshake failed")]
    Handshake(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No end in time.
    #[error("the TLS handshake took too long")]
    TimedOut,
}

/// Makes a handshake over a connected stream. Without a root certificate, the
/// usual public authorities are trusted; with one, only that is.
pub async fn client_handshake<S>(
    stream: S,
    server_name: &str,
    verification: Verification,
    root_certificate_pem: Option<&str>,
    limit: Duration,
) -> Result<TlsStream<S>, TlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = client_config(verification, root_certificate_pem)?;
    let name = ServerName::try_from(server_name.to_owned()).map_err(|_| TlsError::InvalidName)?;
    match tokio::time::timeout(limit, TlsConnector::from(Arc::new(config)).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(classified(error)),
        Err(_) => Err(TlsError::TimedOut),
    }
}

/// Reads a PEM text with one or more root certificates.
pub fn check_root(root_certificate_pem: &str) -> Result<(), TlsError> {
    roots_of(root_certificate_pem).map(drop)
}

fn classified(error: std::io::Error) -> TlsError {
    let refused_by_us = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some_and(|inner| matches!(inner, rustls::Error::InvalidCertificate(_)));
    if refused_by_us { TlsError::Certificate(error) } else { TlsError::Handshake(error.into()) }
}

fn client_config(verification: Verification, root_certificate_pem: Option<&str>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = Arc::new(match root_certificate_pem {
        Some(pem) => roots_of(pem)?,
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
    });
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| TlsError::Handshake(error.into()))?;
    let config = match verification {
        Verification::Full => {
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| TlsError::Handshake(error.into()))?;
            builder.with_webpki_verifier(verifier)
        }
        Verification::Chain => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(ChainVerifier::new(roots, &provider)))
        }
    };
    Ok(config.with_no_client_auth())
}

fn roots_of(pem: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|_| TlsError::InvalidRoot)?;
        roots.add(certificate).map_err(|_| TlsError::InvalidRoot)?;
    }
    if roots.is_empty() { Err(TlsError::InvalidRoot) } else { Ok(roots) }
}

/// Verifies all but the name: the chain to a root, the validity, the signatures
/// of the handshake.
#[derive(Debug)]
struct ChainVerifier {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ChainVerifier {
    fn new(roots: Arc<RootCertStore>, provider: &CryptoProvider) -> Self {
        Self { roots, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for ChainVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        rustls::client::verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
