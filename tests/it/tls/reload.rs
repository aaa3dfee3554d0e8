//! Certificates that change while the server runs.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{certificates, curl, end_of, files, server};
use crate::support::server::ADMIN_KEY;
use crate::support::tls::Certificates;

/// A connection that trusts one authority.
async fn connect(address: &str, root: &Path) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await
}

/// Puts another authority's certificate and key in the place of the first.
fn replace(certificates: &Certificates, by: &Certificates) {
    for name in ["server.pem", "server.key"] {
        std::fs::copy(by.file(name), certificates.file(name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_certificate_is_for_new_connections_and_an_open_stream_goes_on() {
    let (first, second) = (certificates(), certificates());
    let old_root = first.root();
    let server = server(files(&first)).await;
    let mut stream = connect(server.address(), &first.file("ca.pem")).await.unwrap();
    let ask = async |stream: &mut TlsStream<TcpStream>, method: &str, path: &str, body: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN_KEY}\r\ncontent-type: \
             application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
    };
    // The stream of the health service never ends by itself.
    let watch = "POST /grpc.health.v1.Health/Watch HTTP/1.1\r\nhost: x\r\ncontent-type: \
                 application/grpc-web\r\ncontent-length: 5\r\n\r\n\0\0\0\0\0";
    stream.write_all(watch.as_bytes()).await.unwrap();
    let mut seen = vec![0; 16];
    stream.read_exact(&mut seen).await.unwrap();
    assert_eq!(&seen[..12], b"HTTP/1.1 200");

    replace(&first, &second);
    server.running().reload_tls();
    let mut fresh = connect(server.address(), &second.file("ca.pem")).await.expect("the new certificate");
    ask(&mut fresh, "GET", "/healthz", "").await;
    fresh.read_exact(&mut seen).await.unwrap();
    assert_eq!(&seen[..12], b"HTTP/1.1 200");
    std::fs::write(first.file("old.pem"), old_root).unwrap();
    assert!(connect(server.address(), &first.file("old.pem")).await.is_err(), "the old certificate is still shown");

    // What the stream says when the server stops still comes over the old one.
    let mut server = server;
    let (_, rest) = tokio::join!(server.stop(), async {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.ok();
        rest
    });
    assert!(!rest.is_empty(), "the open stream was cut off");
}

/// The binary, with its log.
struct Binary {
    child: Child,
    log: tokio::io::Lines<BufReader<tokio::process::ChildStderr>>,
    address: String,
}

impl Binary {
    async fn start(folder: &Path, certificates: &Certificates) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tributary"))
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--log-level", "info", "--data-dir"])
            .arg(folder)
            .arg("--tls-certificate")
            .arg(certificates.file("server.pem"))
            .arg("--tls-key")
            .arg(certificates.file("server.key"))
            .env("TRIBUTARY_ADMIN_KEY", ADMIN_KEY)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = said.next_line().await.unwrap().expect("it says where it listens");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in `{line}`"));
        assert!(said["addresses"][0] != json!(null), "{said}");
        let address = said["addresses"][0].as_str().unwrap().to_owned();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log, address }
    }

    /// Waits for a line of the log; the line.
    async fn says(&mut self, words: &str) -> String {
        let line = async {
            while let Some(line) = self.log.next_line().await.expect("a log") {
                if line.contains(words) {
                    return line;
                }
            }
            panic!("the log ended without `{words}`")
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), line).await.expect("it is said in time")
    }

    fn hang_up(&self) {
        let pid = self.child.id().expect("it runs").to_string();
        let done = std::process::Command::new("kill").args(["-HUP", &pid]).status().expect("kill runs");
        assert!(done.success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_pair_keeps_the_old_one_is_said_in_log_and_metric_and_is_mended_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (certificates(), certificates());
    let kept = first.root();
    let mut binary = Binary::start(folder.path(), &first).await;
    let url = format!("https://{}/metrics", binary.address);

    let mut health = Command::new(env!("CARGO_BIN_EXE_tributary"));
    health.args(["health", "--listen", &binary.address, "--tls-certificate"]).arg(first.file("server.pem"));
    health.arg("--tls-key").arg(first.file("server.key"));
    assert_eq!(crate::support::tools::run(health, 60).await.ok().trim(), "ready");

    // The key of another certificate, at a signal.
    std::fs::copy(second.file("server.key"), first.file("server.key")).unwrap();
    binary.hang_up();
    let line = binary.says("the certificate in force stays").await;
    assert!(line.contains("is not the key of the certificate"), "{line}");
    let metrics = curl(&url, &first.file("ca.pem"), &[]).await.ok();
    // Once for the signal, and once more where the look at the files came first.
    let counted =
        metrics.lines().find_map(|line| line.strip_prefix("tributary_tls_reloads_total{outcome=\"refused\"} "));
    assert!(matches!(counted, Some("1" | "2")), "{metrics}");

    // Both of the other, and nobody says so: the files are looked at.
    replace(&first, &second);
    binary.says("TLS certificate reloaded").await;
    assert_eq!(end_of(curl(&url, &second.file("ca.pem"), &[]).await), "200 2");
    std::fs::write(first.file("old.pem"), kept).unwrap();
    assert_eq!(curl(&url, &first.file("old.pem"), &[]).await.code, 60, "the old certificate is still shown");
}

#[tokio::test]
async fn a_server_does_not_start_with_files_that_do_not_fit_and_doctor_says_the_same() {
    let (first, second) = (certificates(), certificates());
    let folder = tempfile::tempdir().unwrap();
    let run = async |command: &str, key: &Path| {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tributary"));
        process.args([command, "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
        process.arg("--tls-certificate").arg(first.file("server.pem")).arg("--tls-key").arg(key);
        crate::support::tools::run(process, 60).await
    };
    let refused = run("serve", &second.file("server.key")).await;
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("is not the key of the certificate"), "{}", refused.err);
    let found = run("doctor", &second.file("server.key")).await;
    assert!(found.code == 1 && found.out.contains("is not the key of the certificate"), "{}", found.out);
    let found = run("doctor", &first.file("server.key")).await;
    // Made for two days.
    assert!(found.out.contains("server.pem` ends in"), "{}", found.out);
}
