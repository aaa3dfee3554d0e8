//! Which clients' certificates are believed: those that the operator's authorities
//! have signed, and of them, where names are given, those with one of the names.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

use super::{TlsError, certificates, der};

pub(super) fn verifier(
    path: &Path,
    authorities: &[u8],
    names: &[String],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let unusable = || TlsError::Authorities { path: path.to_owned() };
    let mut roots = RootCertStore::empty();
    for authority in certificates(authorities, path)? {
        roots.add(authority).map_err(|_| unusable())?;
    }
    let signed = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
    let signed = signed.map_err(|_| unusable())?;
    Ok(if names.is_empty() { signed } else { Arc::new(Named { signed, names: names.to_vec() }) })
}

/// Looks at the names of what is signed well.
#[derive(Debug)]
struct Named {
    signed: Arc<dyn ClientCertVerifier>,
    names: Vec<String>,
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.signed.verify_client_cert(end_entity, intermediates, now)?;
        let is_named = der::names(end_entity).iter().any(|name| self.names.contains(name));
        let refused = rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        if is_named { Ok(verified) } else { Err(refused) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}
