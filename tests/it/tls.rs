//! TLS at the doors: real clients over it, certificates that change while streams
//! are open, and peers that have none, or no hurry.

mod clients;
mod health;
mod reload;

use std::path::Path;

use tributary::config::TlsFiles;

use crate::support::server::{ADMIN_KEY, Server};
use crate::support::tls::Certificates;
use crate::support::tools::{self, Printed};

/// The files of a server with these certificates.
fn files(certificates: &Certificates) -> TlsFiles {
    TlsFiles {
        certificate: certificates.file("server.pem"),
        key: certificates.file("server.key"),
        client_ca: None,
        client_names: Vec::new(),
    }
}

fn certificates() -> Certificates {
    Certificates::make("IP:127.0.0.1,DNS:localhost")
}

/// A server that speaks TLS with these files.
async fn server(files: TlsFiles) -> Server {
    Server::start_with(move |config| config.tls = Some(files.clone())).await
}

/// curl with an authority to trust; prints the body, then status and version.
async fn curl(url: &str, root: &Path, arguments: &[&str]) -> Printed {
    let mut command = tools::system("curl");
    command.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "60", "--cacert"]).arg(root);
    command.args(["--header", &format!("Authorization: Bearer {ADMIN_KEY}")]);
    command.args(["--write-out", "\n%{http_code} %{http_version}"]).args(arguments).arg(url);
    tools::run(command, 90).await
}

/// What curl printed after the body.
#[track_caller]
fn end_of(printed: Printed) -> String {
    printed.ok().lines().last().expect("a line").to_owned()
}
