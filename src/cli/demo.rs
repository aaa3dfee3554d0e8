//! `tributary demo`: a server on a folder of its own, the bundled sample synced
//! with live progress, a search, and the lines to go on with.

mod client;
mod setup;
mod show;
mod watch;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::failure::{Failure, Kind};
use super::flags::SettingFlags;
use super::serve;
use crate::config::Config;
use crate::config::layers::Origin;
use crate::demo_data;
use crate::secrets::{api_key, source};
use crate::server::{self, Options};
use crate::telemetry;

use client::Client;

const DATA_DIR: &str = "tributary-demo";
const ADDRESS: &str = "127.0.0.1:8420";
const FREE_ADDRESS: &str = "127.0.0.1:0";

/// Flags of `demo`.
#[derive(Args)]
pub struct Demo {
    /// End after the search, in place of serving until Ctrl-C.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    settings: SettingFlags,
}

/// Where the sample is.
struct Sample {
    root: PathBuf,
    database: PathBuf,
    documents: PathBuf,
}

/// Shows what Tributary does.
pub async fn run(demo: Demo, json: bool) -> Result<(), Failure> {
    let mut config = configure(demo.settings)?;
    let guard = telemetry::init(&config.telemetry).map_err(|error| Failure::of(Kind::Usage, &error))?;
    let stop = serve::stop_signal()?;
    create_private(&config.data_dir)?;
    let sample = write_sample(&config.data_dir)?;
    config.file_roots.push(sample.root.clone());
    let key = match config.admin_key.take() {
        Some(key) => key,
        None => kept_key(&config.data_dir.join("demo.key"))?,
    };
    config.admin_key = Some(key.clone());
    let running = server::start(config, Options::default()).await?;
    let address =
        *running.addresses().first().ok_or_else(|| Failure::new(Kind::Failed, "no address is listened on"))?;

    let shown = async {
        let mut client = Client::connect(address, &key).await?;
        show_it(&mut client, &sample, address, &key, json).await
    };
    tokio::pin!(stop);
    let result = tokio::select! {
        result = shown => result,
        () = &mut stop => return end(running, guard).await,
    };
    if result.is_ok() && !demo.once {
        eprintln!("\nserving until Ctrl-C");
        stop.await;
    }
    end(running, guard).await?;
    result
}

async fn end(running: server::Running, guard: telemetry::Telemetry) -> Result<(), Failure> {
    running.shutdown().await;
    let _ = tokio::task::spawn_blocking(move || guard.shutdown()).await;
    Ok(())
}

async fn show_it(
    client: &mut Client,
    sample: &Sample,
    address: SocketAddr,
    key: &SecretString,
    json: bool,
) -> Result<(), Failure> {
    let ready = setup::prepare(client, sample).await?;
    let syncs = watch::sync_all(client, &ready.connections, json).await?;
    show::counters(&syncs, json);
    for query in demo_data::EXAMPLE_QUERIES {
        let results = client.search(&ready.collection, query).await?;
        show::results(query, &results, json);
    }
    if !json {
        show::next_steps(address, &ready, key.expose_secret());
    }
    match syncs.iter().find(|(_, sync)| !watch::has_succeeded(sync)) {
        None => Ok(()),
        Some((name, _)) => Err(Failure::new(Kind::Failed, format!("the sync of `{name}` did not succeed"))),
    }
}

/// The configuration with the demo's own defaults, where nobody set a value: its
/// own folder, a free port where the usual one is taken, and a quiet log, so that
/// the bars stay whole.
fn configure(mut flags: SettingFlags) -> Result<Config, Failure> {
    let config = flags.load()?;
    let is_default = |name: &str| {
        config.in_force().iter().any(|in_force| in_force.setting.name == name && in_force.origin == Origin::Default)
    };
    if is_default("data_dir") {
        flags.add("data_dir", DATA_DIR.to_owned());
    }
    if is_default("listen") {
        let address = if std::net::TcpListener::bind(ADDRESS).is_ok() { ADDRESS } else { FREE_ADDRESS };
        flags.add("listen", address.to_owned());
    }
    if is_default("log_level") {
        flags.add("log_level", "warn".to_owned());
    }
    let config = flags.load()?;
    if config.tls.is_some() {
        return Err(Failure::usage("the demo speaks plain text on loopback; leave `tls_certificate` to `serve`"));
    }
    Ok(config)
}

fn create_private(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Files that are there already are left alone, so that a second demo finds
/// everything unchanged.
fn write_sample(data_dir: &Path) -> Result<Sample, Failure> {
    let root = data_dir.join("sample");
    fs::create_dir_all(&root)?;
    // Absolute and without links, as the roots of sources must be.
    let root = root.canonicalize()?;
    let sample = Sample { database: root.join("shop.db"), documents: root.join("documents"), root };
    let failed = |error: demo_data::DemoError| Failure::of(Kind::Failed, &error);
    demo_data::write_database(&sample.database).map_err(failed)?;
    demo_data::write_documents(&sample.documents).map_err(failed)?;
    Ok(sample)
}

/// The demo's admin key, made at its first run and kept for its owner only.
fn kept_key(path: &Path) -> Result<SecretString, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(SecretString::from(text.trim())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = api_key::mint().token;
            source::write_private(path, key.expose_secret())?;
            Ok(key)
        }
        Err(error) => Err(error.into()),
    }
}
