//! Who gets in.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::{certificates, curl, end_of, files, server};
use crate::support::server::{ADMIN_KEY, Server};
use crate::support::tls::Certificates;
use crate::support::tools;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_gets_both_versions_of_http_over_tls_and_nothing_in_plain_text() {
    let certificates = certificates();
    let server = server(files(&certificates)).await;
    let root = certificates.file("ca.pem");
    let sources = format!("{}/api/v1/sources", server.base);
    assert!(sources.starts_with("https://"), "{sources}");
    assert_eq!(end_of(curl(&sources, &root, &["--http2"]).await), "200 2");
    assert_eq!(end_of(curl(&sources, &root, &["--http1.1"]).await), "200 1.1");
    assert_eq!(end_of(curl(&sources, &root, &["--tls-max", "1.2"]).await), "200 2");
    let said = curl(&sources, &root, &["--include"]).await.ok();
    assert!(said.contains("strict-transport-security: max-age=31536000"), "{said}");
    let old = curl(&sources, &root, &["--tlsv1.1", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"]).await;
    assert_ne!(old.code, 0, "TLS 1.1: {}", old.out);
    let plain = curl(&sources.replace("https", "http"), &root, &[]).await;
    assert_ne!(plain.code, 0, "{}", plain.out);
    let stranger = super::certificates();
    assert_eq!(curl(&sources, &stranger.file("ca.pem"), &[]).await.code, 60, "curl trusts nobody else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_client_with_its_own_certificate_syncs_and_watches_over_tls() {
    let certificates = certificates();
    let (certificate, key) = certificates.client("python");
    let mut files = files(&certificates);
    files.client_ca = Some(certificates.file("ca.pem"));
    files.client_names = vec!["somebody".to_owned(), "python".to_owned()];
    let server = server(files).await;
    std::fs::write(server.files().join("note.md"), "# A note\n\nThe ferry leaves at noon.\n").expect("a file");
    let mut command = tools::python("python");
    command.arg(tools::beside("clients/grpc_client.py")).args([server.address(), ADMIN_KEY]).arg(server.files());
    command.arg("sc_none").arg(certificates.file("ca.pem")).args([certificate, key]);
    let seen = tools::run(command, 120).await.json();
    let last = seen["sync"]["events"].as_array().unwrap().last().expect("an event");
    assert_eq!(last["finished"]["status"], "STATUS_SUCCEEDED", "{last}");
    assert_eq!(seen["sync"]["found"][0]["item"]["sourceKey"], "note.md");
    assert_eq!(seen["errors"]["unauthorized"]["reason"], "UNAUTHORIZED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_authority_for_clients_only_its_named_certificates_get_in() {
    let (ours, theirs) = (certificates(), certificates());
    let mut files = files(&ours);
    files.client_ca = Some(ours.file("ca.pem"));
    files.client_names = vec!["reader".to_owned()];
    let server = server(files).await;
    let url = format!("{}/api/v1/sources", server.base);
    let root = ours.file("ca.pem");
    let with = async |certificates: &Certificates, name: &str| {
        let (certificate, key) = certificates.client(name);
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        curl(&url, &root, &["--cert", &certificate, "--key", &key]).await
    };
    assert_eq!(end_of(with(&ours, "reader").await), "200 2");
    let refused = [
        ("none", curl(&url, &root, &[]).await),
        ("another name", with(&ours, "writer").await),
        ("another authority", with(&theirs, "reader").await),
    ];
    for (which, printed) in refused {
        // The refusal comes when the client believes to be through.
        assert_ne!(printed.code, 0, "{which}: {}", printed.out);
        assert!(printed.out.trim().starts_with("000"), "{which}: {}", printed.out);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_does_not_come_is_given_up_and_holds_up_nobody() {
    let certificates = certificates();
    let files = files(&certificates);
    let server = Server::start_with(move |config| {
        config.tls = Some(files.clone());
        config.limits.handshake = Duration::from_secs(1);
    })
    .await;
    let mut silent = TcpStream::connect(server.address()).await.unwrap();
    let url = format!("{}/healthz", server.base);
    assert_eq!(end_of(curl(&url, &certificates.file("ca.pem"), &[]).await), "200 2");
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(30), silent.read_to_end(&mut rest)).await;
    end.expect("the server ends it").ok();
    assert!(rest.is_empty(), "{rest:?}");
}
