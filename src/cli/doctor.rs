//! `tributary doctor`: what would keep a server from starting or running well,
//! and what to do about it.

mod disk;
mod tls;

use std::fs::{File, TryLockError};
use std::path::Path;

use serde_json::json;

use super::failure::{Failure, Kind, chain};
use super::flags::SettingFlags;
use super::say;
use crate::config::{Config, Database, KeySource};
use crate::connectors::builtin;
use crate::connectors::catalogue::check_specs;
use crate::keys::encryption::CANARY;
use crate::secrets::{Vault, source};
use crate::store::Store;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    Warning,
    Failed,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warn",
            Self::Failed => "fail",
        }
    }
}

struct Finding {
    check: &'static str,
    outcome: Outcome,
    detail: String,
    mend: Option<String>,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, check: &'static str, detail: impl Into<String>) {
        self.0.push(Finding { check, outcome: Outcome::Ok, detail: detail.into(), mend: None });
    }

    fn warn(&mut self, check: &'static str, detail: impl Into<String>, mend: impl Into<String>) {
        let mend = Some(mend.into());
        self.0.push(Finding { check, outcome: Outcome::Warning, detail: detail.into(), mend });
    }

    fn fail(&mut self, check: &'static str, detail: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Finding { check, outcome: Outcome::Failed, detail: detail.into(), mend: Some(mend.into()) });
    }
}

/// Checks everything; fails when a check does.
pub async fn run(flags: &SettingFlags, json: bool) -> Result<(), Failure> {
    let mut findings = Findings::default();
    match flags.read() {
        Ok(config) => {
            findings.ok("configuration", "valid; `tributary config` shows it");
            examine(&config, &mut findings).await;
        }
        Err(invalid) => {
            for problem in &invalid.problems {
                findings.fail("configuration", problem.to_string(), "correct it where it is set");
            }
        }
    }
    if let Err(problems) = check_specs(&builtin().iter().map(|connector| connector.spec()).collect::<Vec<_>>()) {
        findings.fail("sources", problems.join("; "), "this build is faulty; report it");
    }
    print(&findings.0, json);
    let failed = findings.0.iter().filter(|finding| finding.outcome == Outcome::Failed).count();
    match failed {
        0 => Ok(()),
        1 => Err(Failure::new(Kind::Failed, "one check failed")),
        several => Err(Failure::new(Kind::Failed, format!("{several} checks failed"))),
    }
}

fn print(findings: &[Finding], json: bool) {
    if json {
        let lines = findings.iter().map(|Finding { check, outcome, detail, mend }| {
            json!({ "check": check, "outcome": outcome.name(), "detail": detail, "mend": mend })
        });
        return say(json!({ "checks": lines.collect::<Vec<_>>() }));
    }
    for Finding { check, outcome, detail, mend } in findings {
        say(format_args!("{:<4}  {check:<15} {detail}", outcome.name()));
        if let Some(mend) = mend {
            say(format_args!("      {:<15} -> {mend}", ""));
        }
    }
}

async fn examine(config: &Config, findings: &mut Findings) {
    let is_running = data_dir(&config.data_dir, findings);
    disk::check(&config.data_dir, findings);
    let vault = encryption_key(config, findings).await;
    store(config, vault.as_ref(), findings).await;
    tls::check(config, findings);
    ports(config, is_running, findings).await;
    for root in config.file_roots.iter().filter(|root| !root.is_dir()) {
        findings.warn(
            "file roots",
            format!("`{}` is not a folder", root.display()),
            "make it, or correct --file-roots",
        );
    }
}

/// Whether a server is running on it, too.
fn data_dir(path: &Path, findings: &mut Findings) -> bool {
    const CHECK: &str = "data directory";
    let shown = path.display();
    if !path.exists() {
        findings.ok(CHECK, format!("`{shown}` will be made at the first start"));
        return false;
    }
    if !path.is_dir() {
        findings.fail(CHECK, format!("`{shown}` is not a folder"), "name another with --data-dir");
        return false;
    }
    let probe = path.join(format!(".doctor-{}", std::process::id()));
    let written = File::create(&probe).and_then(|_| std::fs::remove_file(&probe));
    match written {
        Err(error) => findings.fail(
            CHECK,
            format!("`{shown}` cannot be written: {error}"),
            "give the user that runs Tributary the right to write there",
        ),
        Ok(()) if is_open(path) => {
            findings.warn(CHECK, format!("other users can look into `{shown}`"), format!("chmod 700 '{shown}'"));
        }
        Ok(()) => findings.ok(CHECK, format!("`{shown}` can be written, and by its owner alone")),
    }
    let lock = File::open(path.join("lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

fn is_open(path: &Path) -> bool {
    File::open(path).and_then(|folder| source::is_open_to_others(&folder)).unwrap_or(false)
}

async fn encryption_key(config: &Config, findings: &mut Findings) -> Option<Vault> {
    const CHECK: &str = "encryption key";
    if let KeySource::Embedded(path) = &config.encryption_key
        && !path.exists()
    {
        findings.ok(CHECK, format!("`{}` will be made at the first start", path.display()));
        return None;
    }
    match Vault::load(&config.encryption_key, config.transit.as_ref()).await {
        Ok(vault) => match vault.primary().await {
            Ok(primary) => {
                findings.ok(CHECK, format!("key {primary} seals"));
                Some(vault)
            }
            Err(error) => {
                findings.fail(CHECK, error.to_string(), "check --transit-url, its certificate and the token's policy");
                None
            }
        },
        Err(error) => {
            let mend = "restore the key file, or make one for a new store with `tributary keys encryption > FILE`";
            findings.fail(CHECK, chain(&error), mend);
            None
        }
    }
}

async fn store(config: &Config, vault: Option<&Vault>, findings: &mut Findings) {
    const CHECK: &str = "store";
    let path = config.store_url().strip_prefix("sqlite://").and_then(|rest| rest.split('?').next()).map(Path::new);
    if config.database == Database::Sqlite && path.is_some_and(|path| !path.exists()) {
        return findings.ok(CHECK, "the SQLite file will be made at the first start");
    }
    let store = match Store::open(config.store_url()).await {
        Ok(store) => store,
        Err(error) => {
            return findings.fail(CHECK, chain(&error), "check --database-url, and that the database is up");
        }
    };
    match store.ping().await {
        Ok(()) => findings.ok(CHECK, format!("{} answers", store.backend())),
        Err(error) => findings.fail(CHECK, chain(&error), "check that the database is up"),
    }
    canary(&store, vault, findings).await;
    if let Some(vault) = vault {
        old_keys(&store, vault, findings).await;
    }
    store.close().await;
}

async fn old_keys(store: &Store, vault: &Vault, findings: &mut Findings) {
    const CHECK: &str = "credentials";
    let groups = match store.credentials_by_key().await {
        Ok(groups) => groups,
        Err(error) => return findings.fail(CHECK, chain(&error), "check that the database is up"),
    };
    let Ok(primary) = vault.primary().await else { return };
    for (key, records) in groups.into_iter().filter(|(key, _)| *key != primary) {
        let detail = format!("{records} are sealed with the key {key}");
        if vault.has(&key).await {
            findings.warn(CHECK, detail, "`tributary keys rotate` brings them under the primary key");
        } else {
            let mend = "add that key to those that are given; without it these credentials do not open";
            findings.fail(CHECK, format!("{detail}, which is not at hand"), mend);
        }
    }
}

async fn canary(store: &Store, vault: Option<&Vault>, findings: &mut Findings) {
    const CHECK: &str = "key and store";
    let stored = match store.get_setting(CANARY).await {
        Ok(Some(stored)) => stored,
        Ok(None) => return,
        Err(error) => return findings.fail(CHECK, chain(&error), "check that the database is up"),
    };
    let mend = "give the key that this store was written with; without it no stored credential opens";
    let checked = match vault {
        Some(vault) => Some(vault.check_canary(&stored).await),
        None => None,
    };
    match checked {
        Some(Ok(())) => findings.ok(CHECK, "the key is the one that the store was written with"),
        Some(Err(error)) => findings.fail(CHECK, error.to_string(), mend),
        None => findings.fail(CHECK, "the store was written with a key that is not at hand", mend),
    }
}

async fn ports(config: &Config, is_running: bool, findings: &mut Findings) {
    const CHECK: &str = "address";
    for address in &config.listen {
        match tokio::net::TcpListener::bind(address).await {
            Ok(_) => findings.ok(CHECK, format!("{address} is free")),
            Err(_) if is_running => {
                findings.ok(CHECK, format!("{address} is taken; a server runs on this data directory"))
            }
            Err(error) => findings.fail(
                CHECK,
                format!("cannot listen on {address}: {error}"),
                "stop what listens there, or choose another with --listen",
            ),
        }
    }
    if !config.is_loopback_only() {
        let mend = "connections to private addresses need --allow-destinations";
        match (&config.tls, config.behind_proxy) {
            (Some(_), _) => findings.ok(CHECK, format!("other machines can reach the server, over TLS; {mend}")),
            (None, true) => findings.warn(
                CHECK,
                "other machines can reach the server in plain text, for the proxy before it",
                format!("let nothing but the proxy through to it; {mend}"),
            ),
            // The configuration does not allow for it.
            (None, false) => {}
        }
    }
}
