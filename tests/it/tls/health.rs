//! `tributary health` where the server speaks TLS, and asks who comes.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::certificates;
use crate::support::server::ADMIN_KEY;
use crate::support::tls::Certificates;

/// The binary with all its settings in one file, as a container has them; killed
/// when dropped.
struct Server {
    child: Child,
    settings: PathBuf,
    folder: tempfile::TempDir,
}

impl Server {
    /// Starts it on every address of the machine, with these settings too.
    fn start(certificates: &Certificates, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = folder.path().join("tributary.toml");
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
        let text = format!(
            "listen = [\"0.0.0.0:{port}\"]\ndata_dir = {:?}\nadmin_key = \"{ADMIN_KEY}\"\ntls_certificate = {:?}\n\
             tls_key = {:?}\n{more}",
            folder.path().join("data"),
            certificates.file("server.pem"),
            certificates.file("server.key"),
        );
        fs::write(&settings, text).expect("settings");
        let mut child = tributary(&settings)
            .args(["serve", "--json", "--log-level", "warn"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("output")).read_line(&mut line).expect("it says where it listens");
        assert!(line.contains(&port.to_string()), "{line}");
        Self { child, settings, folder }
    }

    /// Asks how it is, with these settings in its place of the container.
    fn health(&self, more: &[&str]) -> Output {
        tributary(&self.settings).arg("health").args(more).output().expect("it runs")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The binary, whose settings come from a file that a variable names.
fn tributary(settings: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    command.env("TRIBUTARY_CONFIG", settings);
    command
}

#[track_caller]
fn ready(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"ready\n");
}

#[track_caller]
fn fails(output: &Output, code: i32, word: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(code) && said.contains(word), "{:?}: {said}", output.status);
}

#[test]
fn health_over_tls_needs_no_more_than_the_settings_of_the_server() {
    let certificates = certificates();
    let mut server = Server::start(&certificates, "");
    ready(&server.health(&[]));
    // Another certificate than that which the server shows.
    let other = super::certificates();
    let path = other.file("server.pem").display().to_string();
    fails(&server.health(&["--tls-certificate", &path]), 3, "certificate is not accepted");
    drop(server.child.kill());
    drop(server.child.wait());
    fails(&server.health(&[]), 3, "does not answer");
}

#[test]
fn health_shows_its_certificate_to_a_server_that_asks_clients_for_one() {
    let (ours, theirs) = (certificates(), certificates());
    let (certificate, key) = ours.client("health");
    let names = format!("tls_client_ca = {:?}\ntls_client_names = [\"health\"]\n", ours.file("ca.pem"));
    let server = Server::start(&ours, &format!("{names}health_certificate = {certificate:?}\nhealth_key = {key:?}\n"));
    ready(&server.health(&[]));

    let with = |certificates: &Certificates, name: &str| {
        let (certificate, key) = certificates.client(name);
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        server.health(&["--health-certificate", &certificate, "--health-key", &key])
    };
    ready(&with(&ours, "health"));
    fails(&with(&ours, "reader"), 3, "does not answer");
    fails(&with(&theirs, "health"), 3, "does not answer");

    // A key of another certificate, and a file that is none.
    let (_, other) = ours.client("other");
    fails(&server.health(&["--health-key", &other.display().to_string()]), 2, "is not that of");
    let none = server.folder.path().join("none.key");
    fails(&server.health(&["--health-key", &none.display().to_string()]), 2, "none.key");
    fs::write(&none, "no key").expect("a file");
    fails(&server.health(&["--health-key", &none.display().to_string()]), 2, "health_key");
}

#[test]
fn health_without_a_certificate_says_which_settings_are_missing() {
    let certificates = certificates();
    let server = Server::start(&certificates, &format!("tls_client_ca = {:?}\n", certificates.file("ca.pem")));
    fails(&server.health(&[]), 2, "--health-certificate");
    let (certificate, key) = certificates.client("any");
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    ready(&server.health(&["--health-certificate", &certificate, "--health-key", &key]));
}
