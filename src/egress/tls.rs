//! TLS to a user's host: ring, TLS 1.2 or later, and always a verified chain.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
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

/// What a client shows of itself to a server that asks for it.
pub struct Identity(Arc<SingleCertAndKey>);

/// Why nothing can be shown. Says nothing of what was given.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The certificate is not PEM with at least one certificate.
    #[error("the client certificate is not PEM text with a certificate")]
    Certificate,
    /// The key is not PEM with a private key.
    #[error("the key of the client certificate is not PEM text with a private key")]
    Key,
    /// The key is not that of the certificate, or of a kind that we do not speak.
    #[error("the key is not that of the client certificate")]
    Mismatch,
}

impl Identity {
    /// Reads PEM texts: the certificate, leaf first, and its key.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let certificates = certificates.map_err(|_| IdentityError::Certificate)?;
        if certificates.is_empty() {
            return Err(IdentityError::Certificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| IdentityError::Key)?;
        let provider = rustls::crypto::ring::default_provider();
        let pair = CertifiedKey::from_der(certificates, key, &provider).map_err(|_| IdentityError::Mismatch)?;
        Ok(Self(Arc::new(pair.into())))
    }
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
    handshake_as(None, stream, server_name, verification, root_certificate_pem, limit).await
}

/// The same, with something to show to a server that asks who we are.
pub async fn handshake_as<S>(
    identity: Option<Identity>,
    stream: S,
    server_name: &str,
    verification: Verification,
    root_certificate_pem: Option<&str>,
    limit: Duration,
) -> Result<TlsStream<S>, TlsError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = client_config(identity, verification, root_certificate_pem)?;
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

fn client_config(
    identity: Option<Identity>,
    verification: Verification,
    root_certificate_pem: Option<&str>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (pinned, roots) = match root_certificate_pem {
        Some(pem) => roots_of(pem)?,
        None => (Vec::new(), RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }),
    };
    let algorithms = provider.signature_verification_algorithms;
    let verifier = Verifier { verification, pinned, roots, algorithms };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| TlsError::Handshake(error.into()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(match identity {
        Some(Identity(shown)) => config.with_client_cert_resolver(shown),
        None => config.with_no_client_auth(),
    })
}

fn roots_of(pem: &str) -> Result<(Vec<CertificateDer<'static>>, RootCertStore), TlsError> {
    let mut roots = RootCertStore::empty();
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let certificates = certificates.map_err(|_| TlsError::InvalidRoot)?;
    for certificate in &certificates {
        roots.add(certificate.clone()).map_err(|_| TlsError::InvalidRoot)?;
    }
    if roots.is_empty() { Err(TlsError::InvalidRoot) } else { Ok((certificates, roots)) }
}

/// Verifies the chain to a root with its validity, the signatures of the
/// handshake, and the name if asked. A server whose own certificate is given as
/// the root is accepted as such, which chains do not allow for: it is the usual
/// case of a self-signed certificate.
#[derive(Debug)]
struct Verifier {
    verification: Verification,
    pinned: Vec<CertificateDer<'static>>,
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if !self.pinned.contains(end_entity) {
            rustls::client::verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.roots,
                intermediates,
                now,
                self.algorithms.all,
            )?;
        }
        match self.verification {
            Verification::Full => rustls::client::verify_server_name(&certificate, server_name)?,
            Verification::Chain => {}
        }
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
