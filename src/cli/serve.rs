//! `tributary serve`.

#[cfg(unix)]
mod descriptors;

use clap::Args;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::signal;
use tracing::info;

use super::failure::{Failure, Kind};
use super::flags::SettingFlags;
use super::say;
use crate::server::{self, Options, Running, StartError};
use crate::telemetry;

/// Flags of `serve`.
#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    settings: SettingFlags,
}

/// Runs a server until it is told to stop.
pub async fn run(serve: Serve, json: bool) -> Result<(), Failure> {
    let config = serve.settings.load()?;
    let guard = telemetry::init(&config.telemetry).map_err(|error| Failure::of(Kind::Usage, &error))?;
    #[cfg(unix)]
    descriptors::raise_limit();
    // Before the start, so that a signal during it is not lost.
    let stop = stop_signal()?;
    let reload = hangups()?;
    let running = server::start(config, Options::default()).await?;
    announce(&running, json);
    tokio::select! {
        () = stop => {}
        () = reload_when_told(&running, reload) => {}
    }
    info!("stopping");
    running.shutdown().await;
    // Flushing waits for the collector, on a thread that may wait.
    let _ = tokio::task::spawn_blocking(move || guard.shutdown()).await;
    Ok(())
}

/// SIGHUP: keys and certificates are read anew.
#[cfg(unix)]
fn hangups() -> Result<signal::unix::Signal, Failure> {
    Ok(signal::unix::signal(signal::unix::SignalKind::hangup())?)
}

#[cfg(unix)]
async fn reload_when_told(running: &Running, mut hangups: signal::unix::Signal) {
    while hangups.recv().await.is_some() {
        running.reload_tls();
        running.reload_encryption_keys().await;
    }
    std::future::pending().await
}

#[cfg(not(unix))]
fn hangups() -> Result<(), Failure> {
    Ok(())
}

#[cfg(not(unix))]
async fn reload_when_told(_: &Running, (): ()) {
    std::future::pending().await
}

fn announce(running: &Running, json: bool) {
    if json {
        return say(json!({
            "event": "listening",
            "addresses": running.addresses(),
            "adminKey": running.admin_key().map(|key| key.expose_secret()),
        }));
    }
    for address in running.addresses() {
        say(format_args!(
            "listening on {}://{address} (REST, gRPC and gRPC-Web; the API page is at /docs)",
            running.scheme()
        ));
    }
    if let Some(key) = running.admin_key() {
        say("the admin key, shown this once; keep it:");
        say(format_args!("  {}", key.expose_secret()));
    }
}

/// Resolves at the first order to stop.
pub(super) fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    #[cfg(unix)]
    {
        use signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        let _ = signal::ctrl_c().await;
    })
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let kind = match &error {
            StartError::Store(_) => Kind::Unreachable,
            StartError::Key(_)
            | StartError::WrongKey(_)
            | StartError::Tls(_)
            | StartError::Setting(_)
            | StartError::Listen { .. } => Kind::Usage,
            StartError::DataDir { .. } | StartError::InUse(_) | StartError::Index(_) | StartError::Parts(_) => {
                Kind::Failed
            }
        };
        Self::of(kind, &error)
    }
}
