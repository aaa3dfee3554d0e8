//! `tributary health`: asks a server whether it is ready, for whoever has nothing
//! but the binary at hand, as a container has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::failure::{Failure, Kind};
use super::flags::SettingFlags;
use super::say;
use crate::egress::tls::{Verification, client_handshake};

const PATIENCE: Duration = Duration::from_secs(4);
/// The first line is all that matters.
const LONGEST_ANSWER: u64 = 64;

/// Fails unless the server of these settings says that it is ready.
pub(super) async fn run(settings: &SettingFlags) -> Result<(), Failure> {
    let config = settings.load()?;
    let Some(address) = config.listen.first().copied().map(reachable) else {
        return Err(Failure::usage("no address is listened on"));
    };
    let certificate = match &config.tls {
        Some(files) => Some(std::fs::read_to_string(&files.certificate)?),
        None => None,
    };
    let asked = tokio::time::timeout(PATIENCE, ask(address, certificate.as_deref())).await;
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

/// Over TLS where there is a certificate; the server has to show that one.
#[expect(clippy::disallowed_methods, reason = "our own server")]
async fn ask(address: SocketAddr, certificate: Option<&str>) -> std::io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    let Some(certificate) = certificate else { return exchange(stream, address).await };
    let (name, verification) = (address.ip().to_string(), Verification::Chain);
    let stream = client_handshake(stream, &name, verification, Some(certificate), PATIENCE).await;
    exchange(stream.map_err(std::io::Error::other)?, address).await
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, address: SocketAddr) -> std::io::Result<String> {
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}
