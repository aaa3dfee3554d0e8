//! Certificates of our own making, and an end of TLS with them in front of the
//! test's PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A certificate authority and a server's certificate for the given name.
pub struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    /// Signed by an authority of its own.
    pub fn make(subject_alternative_name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let extensions = format!("subjectAltName={subject_alternative_name}\nbasicConstraints=CA:FALSE\n");
        std::fs::write(folder.path().join("extensions"), extensions).unwrap();
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let authority = ["-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem"];
        let request = ["-subj", "/CN=server", "-keyout", "server.key", "-out", "server.csr"];
        let signed = ["-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"];
        openssl(folder.path(), &[&["req"][..], &key, &authority].concat());
        openssl(folder.path(), &[&["req"][..], &key, &request].concat());
        let output = ["-extfile", "extensions", "-out", "server.pem"];
        openssl(folder.path(), &[&["x509", "-req"][..], &signed, &output].concat());
        Self { folder }
    }

    /// A server's certificate that is its own authority, as `req -x509` makes it.
    pub fn self_signed(subject_alternative_name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("subjectAltName={subject_alternative_name}");
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "server.key"];
        let made = ["-x509", "-days", "2", "-subj", "/CN=server", "-addext", &name, "-out", "server.pem"];
        openssl(folder.path(), &[&["req"][..], &key, &made].concat());
        std::fs::copy(folder.path().join("server.pem"), folder.path().join("ca.pem")).unwrap();
        Self { folder }
    }

    /// The authority, as PEM text.
    pub fn root(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("ca.pem")).unwrap()
    }

    /// A file of the folder: `ca.pem`, `server.pem`, `server.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A client's certificate of the same authority, as `NAME.pem` and `NAME.key`.
    pub fn client(&self, name: &str) -> (PathBuf, PathBuf) {
        let folder = self.folder.path();
        let (subject, key) = (format!("/O=clients/CN={name}"), format!("{name}.key"));
        let (request, certificate) = (format!("{name}.csr"), format!("{name}.pem"));
        let made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", &subject];
        openssl(folder, &[&["req"][..], &made, &["-keyout", &key, "-out", &request]].concat());
        let signed = ["-in", &request, "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"];
        std::fs::write(self.file("client"), "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n").unwrap();
        let output = ["-extfile", "client", "-out", &certificate];
        openssl(folder, &[&["x509", "-req"][..], &signed, &output].concat());
        (self.file(&certificate), self.file(&key))
    }

    fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        let certificate = CertificateDer::from_pem_file(self.folder.path().join("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.folder.path().join("server.key")).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Arc::new(config).into()
    }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Takes TLS as PostgreSQL does and passes it on in plain text; without
/// certificates it says that it has none. The port that it listens on.
pub async fn front(certificates: Option<&Certificates>, server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = certificates.map(Certificates::acceptor);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, acceptor.clone(), server));
        }
    });
    port
}

async fn serve(mut stream: TcpStream, acceptor: Option<tokio_rustls::TlsAcceptor>, server: u16) {
    let mut asked = [0; 8];
    if stream.read_exact(&mut asked).await.is_err() || asked[4..] != [0x04, 0xd2, 0x16, 0x2f] {
        return;
    }
    let Some(acceptor) = acceptor else {
        // What follows would be read as the server's words if the client went on.
        return drop(stream.write_all(b"N").await);
    };
    if stream.write_all(b"S").await.is_err() {
        return;
    }
    if let Ok(mut stream) = acceptor.accept(stream).await {
        let mut behind = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
        drop(tokio::io::copy_bidirectional(&mut stream, &mut behind).await);
    }
}
