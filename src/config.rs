//! What an operator can set. Defaults give way to a TOML file, the file to
//! `TRIBUTARY_*` variables, those to flags; [`settings::ALL`] is the one list of
//! what there is. Everything wrong is said at once, with where it came from.

mod doors;
pub mod layers;
pub mod print;
pub mod settings;
mod spelling;
mod transit;
mod values;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

pub use doors::{ClientFiles, Limits, TlsFiles};
use layers::{Layers, Origin};
pub use transit::{TransitConfig, TransitToken};
use values::Reader;

/// The configuration in force.
#[derive(Debug)]
pub struct Config {
    /// Addresses to listen on; never empty.
    pub listen: Vec<SocketAddr>,
    /// TLS of the listeners; without it they speak plain text.
    pub tls: Option<TlsFiles>,
    /// What `tributary health` shows to a server that asks clients for certificates.
    pub health: Option<ClientFiles>,
    /// A proxy of the operator's stands before the server: it speaks TLS, and says
    /// in `X-Forwarded-For` who calls.
    pub behind_proxy: bool,
    /// Folder of everything that we keep.
    pub data_dir: PathBuf,
    /// URL of the metadata database, as given or of the SQLite file in the data
    /// folder. May hold a password.
    pub database_url: SecretString,
    /// Kind of the metadata database.
    pub database: Database,
    /// Origins whose pages may call us from a browser; `*` means any.
    pub cors_origins: Vec<String>,
    /// Secret of the first admin key, when the operator chose one.
    pub admin_key: Option<SecretString>,
    /// Where the encryption key comes from.
    pub encryption_key: KeySource,
    /// Who keeps the key-encryption key outside, if anybody does. The other keys then
    /// open what was sealed before, and seal page tokens.
    pub transit: Option<TransitConfig>,
    /// Folders that file-like sources may read below.
    pub file_roots: Vec<PathBuf>,
    /// Further destinations that connections may reach, `CIDR[:port]`; the address
    /// policy parses them.
    pub allow_destinations: Vec<String>,
    /// The catalogue has the simulated source.
    pub enable_simulator: bool,
    /// Syncs that this process runs at a time.
    pub workers: usize,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
    /// Limits of the doors.
    pub limits: Limits,
    /// The identity provider whose tokens are let in beside keys.
    pub oidc: Option<OidcConfig>,
    /// How long the audit log keeps an event; whole days.
    pub audit_retention: Duration,
    /// How long calls may go on after the order to stop.
    pub shutdown_grace: Duration,
    in_force: Vec<InForce>,
}

/// Kind of the metadata database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// A file of our own.
    Sqlite,
    /// A server.
    Postgres,
}

/// Where the key-encryption key comes from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// Given as it is, in the environment.
    Given(SecretString),
    /// A file that must be there.
    File(PathBuf),
    /// What a command prints.
    Command(String),
    /// The file in the data folder, made at the first start.
    Embedded(PathBuf),
}

/// Logs and traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// Level, or a filter of the form `info,tributary=debug`.
    pub log_level: String,
    /// Form of the lines.
    pub log_format: LogFormat,
    /// OTLP collector for traces and metrics, by gRPC.
    pub otlp_endpoint: Option<String>,
}

/// An OpenID Connect provider whose tokens are let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcConfig {
    /// Its issuer URL, exactly as in its tokens.
    pub issuer: String,
    /// What the audience of a token must be or hold.
    pub audience: String,
    /// Claim with the roles of a token's subject.
    pub roles_claim: String,
    /// What its values stand for, `VALUE=ROLE[:COLLECTION+COLLECTION]`; never none.
    /// Whoever maps them parses them.
    pub roles: Vec<String>,
}

/// Form of the log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// One setting with its value and where that came from.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The setting.
    pub setting: &'static settings::Setting,
    /// The value, as one would write it; none when it is not set. Of a secret,
    /// only that there is one.
    pub value: Option<Shown>,
    /// Where it came from.
    pub origin: Origin,
}

/// A value as `tributary config` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// A text.
    Text(String),
    /// Yes or no.
    Switch(bool),
    /// A number.
    Whole(u64),
    /// A list.
    List(Vec<String>),
    /// A secret that is set.
    Hidden,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// What, without the value where that could be a secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.origin, self.message)
    }
}

/// Everything that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is not valid{}", self.list())]
pub struct Invalid {
    /// The problems, in the order of the layers.
    pub problems: Vec<Problem>,
}

impl Invalid {
    fn list(&self) -> String {
        self.problems.iter().map(|problem| format!("\n  {problem}")).collect()
    }
}

impl Config {
    /// Reads every layer. `flags` are names of settings with their values;
    /// `environment` is that of the process.
    pub fn load(
        file: Option<&Path>,
        flags: &[(&'static str, String)],
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Invalid> {
        let layers = Layers::collect(file, flags, environment);
        let mut reader = Reader::new(layers);
        let config = read(&mut reader);
        let problems = reader.into_problems();
        if problems.is_empty() { Ok(config) } else { Err(Invalid { problems }) }
    }

    /// All defaults, in a folder, on a free loopback port: a server inside another
    /// program, or a test.
    pub fn in_folder(data_dir: &Path) -> Self {
        let flags = [("listen", "127.0.0.1:0".to_owned()), ("data_dir", data_dir.display().to_string())];
        Self::load(None, &flags, []).expect("the defaults are valid")
    }

    /// The metadata database's URL in the clear, for opening it.
    pub fn store_url(&self) -> &str {
        self.database_url.expose_secret()
    }

    /// Every setting with its value and where that came from.
    pub fn in_force(&self) -> &[InForce] {
        &self.in_force
    }

    /// True when nothing but this machine can reach the server.
    pub fn is_loopback_only(&self) -> bool {
        self.listen.iter().all(|address| address.ip().is_loopback())
    }
}

fn read(reader: &mut Reader) -> Config {
    let data_dir = PathBuf::from(reader.text("data_dir"));
    let (database, database_url) = reader.database(&data_dir);
    let encryption_key = reader.key_source(&data_dir, database);
    let tls = reader.tls();
    let behind_proxy = reader.switch("behind_proxy");
    Config {
        listen: reader.doors(tls.is_some() || behind_proxy),
        tls,
        health: reader.health(),
        behind_proxy,
        database_url,
        database,
        cors_origins: reader.origins("cors_origins"),
        admin_key: reader.admin_key(),
        encryption_key,
        transit: reader.transit(),
        file_roots: reader.list("file_roots").into_iter().map(PathBuf::from).collect(),
        allow_destinations: reader.list("allow_destinations"),
        enable_simulator: reader.switch("enable_simulator"),
        workers: reader.whole("workers"),
        telemetry: TelemetryConfig {
            log_level: reader.text("log_level"),
            log_format: if reader.text("log_format") == "json" { LogFormat::Json } else { LogFormat::Text },
            otlp_endpoint: reader.endpoint("otlp_endpoint"),
        },
        limits: reader.limits(),
        oidc: reader.oidc(),
        audit_retention: Duration::from_secs(reader.whole("audit_retention_days") as u64 * 86_400),
        shutdown_grace: reader.seconds("shutdown_grace_seconds"),
        data_dir,
        in_force: reader.in_force(),
    }
}

#[cfg(test)]
mod tests;
