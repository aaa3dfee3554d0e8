//! `tributary health`: asks a server whether it is ready, for whoever has nothing
//! but the binary at hand, as a container has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::failure::{Failure, Kind, chain};
use super::flags::SettingFlags;
use super::say;
use crate::config::{ClientFiles, Config, TlsFiles};
use crate::egress::tls::{Identity, TlsError, Verification, handshake_as};

const PATIENCE: Duration = Duration::from_secs(4);
/// The first line is all that matters.
const LONGEST_ANSWER: u64 = 64;

/// Fails unless the server of these settings says that it is ready.
pub(super) async fn run(settings: &SettingFlags) -> Result<(), Failure> {
    let config = settings.load()?;
    let Some(address) = config.listen.first().copied().map(reachable) else {
        return Err(Failure::usage("no address is listened on"));
    };
    let tls = config.tls.as_ref().map(|files| Tls::read(&config, files)).transpose()?;
    let asked = tokio::time::timeout(PATIENCE, ask(address, tls)).await;
    let away = |reason: String| Failure::new(Kind::Unreachable, format!("the server at {address} {reason}"));
    let line = asked
        .map_err(|_| away("does not answer in time".to_owned()))?
        .map_err(|error| away(format!("does not answer: {error}")))?;
    match line.split(' ').nth(1) {
        Some("200") => {
            say("ready");
            Ok(())
        }
        Some(status) => Err(Failure::new(Kind::Failed, format!("the server at {address} is not ready: {status}"))),
        None => Err(away("does not speak HTTP".to_owned())),
    }
}

/// Where a server can be reached from its own machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// What a handshake with the server takes.
struct Tls {
    /// The certificate that the server has to show.
    certificate: String,
    /// What we show, where it asks for that.
    identity: Option<Identity>,
}

impl Tls {
    fn read(config: &Config, server: &TlsFiles) -> Result<Self, Failure> {
        let identity = match &config.health {
            Some(files) => Some(identity(files)?),
            None if server.client_ca.is_none() => None,
            None => {
                return Err(Failure::usage(
                    "the server asks clients for certificates (tls_client_ca): give one with `health_certificate` and \
                     `health_key` (--health-certificate, --health-key)",
                ));
            }
        };
        let certificate = String::from_utf8(contents(&server.certificate)?).map_err(|_| {
            Failure::usage(format!("`{}` holds no certificate in PEM form", server.certificate.display()))
        })?;
        Ok(Self { certificate, identity })
    }
}

fn identity(files: &ClientFiles) -> Result<Identity, Failure> {
    let key = zeroize::Zeroizing::new(contents(&files.key)?);
    let identity = Identity::from_pem(&contents(&files.certificate)?, &key);
    identity.map_err(|error| Failure::usage(format!("{error}: see `health_certificate` and `health_key`")))
}

fn contents(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::usage(format!("`{}` cannot be read: {error}", path.display())))
}

/// Over TLS where the server speaks it.
#[expect(clippy::disallowed_methods, reason = "our own server")]
async fn ask(address: SocketAddr, tls: Option<Tls>) -> std::io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    let Some(Tls { certificate, identity }) = tls else { return exchange(stream, address).await };
    let (name, verification) = (address.ip().to_string(), Verification::Chain);
    let stream = handshake_as(identity, stream, &name, verification, Some(&certificate), PATIENCE).await;
    exchange(stream.map_err(told)?, address).await
}

/// With the cause: it is our own server, and the operator who reads it.
fn told(error: TlsError) -> std::io::Error {
    std::io::Error::other(chain(&error))
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, address: SocketAddr) -> std::io::Result<String> {
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}
