//! TLS towards the server. In front of the test's PostgreSQL stands an end of
//! TLS with certificates of our own making.

use std::path::Path;
use std::process::Command;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tributary::report::{Report, StageKind};

use super::*;

/// A certificate authority and a server's certificate for the given name.
struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    fn make(subject_alternative_name: &str) -> Self {
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
    fn self_signed(subject_alternative_name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("subjectAltName={subject_alternative_name}");
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "server.key"];
        let made = ["-x509", "-days", "2", "-subj", "/CN=server", "-addext", &name, "-out", "server.pem"];
        openssl(folder.path(), &[&["req"][..], &key, &made].concat());
        std::fs::copy(folder.path().join("server.pem"), folder.path().join("ca.pem")).unwrap();
        Self { folder }
    }

    fn root(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("ca.pem")).unwrap()
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
async fn front(certificates: Option<&Certificates>, server: u16) -> u16 {
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
    stream.write_all(b"S").await.unwrap();
    if let Ok(mut stream) = acceptor.accept(stream).await {
        let mut behind = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
        drop(tokio::io::copy_bidirectional(&mut stream, &mut behind).await);
    }
}

async fn check(database: &Database, port: u16, config: Value) -> (Report, Result<(), ConnectorError>) {
    let mut credentials = credentials(database);
    credentials["port"] = json!(port);
    let mut report = Report::default();
    let outcome = open(credentials, config).check(&mut report).await;
    (report, outcome)
}

fn assert_tls_failed((report, outcome): (Report, Result<(), ConnectorError>)) {
    assert!(matches!(outcome, Err(ConnectorError::Unreachable { code: "tls_failed", .. })), "{outcome:?}");
    assert_eq!(report.first_failure().map(|stage| stage.kind), Some(StageKind::Tls));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_and_the_name_are_verified_as_asked() {
    let database = database("CREATE TABLE a (id int)").await;
    let right = Certificates::make("IP:127.0.0.1");
    let port = front(Some(&right), database.port).await;
    for mode in ["verify-full", "require"] {
        let (report, outcome) = check(&database, port, json!({"sslMode": mode, "rootCertificate": right.root()})).await;
        outcome.unwrap_or_else(|error| panic!("{mode}: {error} {report:?}"));
        assert_eq!(report.stages[2].code, None, "{mode}");
    }
    assert_tls_failed(check(&database, port, json!({"sslMode": "verify-full"})).await);
    assert_tls_failed(check(&database, port, json!({"sslMode": "require"})).await);

    let other_name = Certificates::make("DNS:db.example.com");
    let port = front(Some(&other_name), database.port).await;
    let root = other_name.root();
    let (_, outcome) = check(&database, port, json!({"sslMode": "require", "rootCertificate": root})).await;
    outcome.unwrap();
    assert_tls_failed(check(&database, port, json!({"sslMode": "verify-full", "rootCertificate": root})).await);
    assert_tls_failed(check(&database, port, json!({"sslMode": "require", "rootCertificate": right.root()})).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_certificate_is_taken_where_it_is_the_root() {
    let database = database("").await;
    let own = Certificates::self_signed("IP:127.0.0.1");
    let port = front(Some(&own), database.port).await;
    let (_, outcome) = check(&database, port, json!({"sslMode": "verify-full", "rootCertificate": own.root()})).await;
    outcome.unwrap();
    let stranger = Certificates::self_signed("IP:127.0.0.1");
    let config = json!({"sslMode": "require", "rootCertificate": stranger.root()});
    assert_tls_failed(check(&database, port, config).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_refused() {
    let database = database("").await;
    let port = front(None, database.port).await;
    for mode in ["require", "verify-full"] {
        assert_tls_failed(check(&database, port, json!({"sslMode": mode})).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_is_taken_where_it_is_asked_for_and_said() {
    let database = database("").await;
    for mode in ["auto", "disable"] {
        let (report, outcome) = check(&database, database.port, json!({"sslMode": mode})).await;
        outcome.unwrap();
        assert_eq!(report.stages[2].code, Some("plain_text_allowed"));
    }
}
