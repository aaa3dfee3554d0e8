//! `tributary keys rotate`: brings every stored credential under the primary
//! encryption key, by the store itself, while servers go on.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::super::failure::{Failure, Kind};
use super::super::flags::SettingFlags;
use super::super::say;
use crate::config::{Config, Database, KeySource};
use crate::keys::rotation::{self, Rotated, RotationError, Tally};
use crate::secrets::{Vault, source};
use crate::store::Store;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How to rotate.
#[derive(Args)]
pub struct Rotate {
    /// First put a new key before those of the key file. For one server on SQLite;
    /// several must all be able to read a key before any of them seals with it.
    #[arg(long)]
    new_key: bool,
    #[command(flatten)]
    settings: SettingFlags,
}

/// Rotates.
pub(super) async fn run(rotate: Rotate, json: bool) -> Result<(), Failure> {
    let config = rotate.settings.load()?;
    if rotate.new_key {
        let id = add_key(&config)?;
        if !json {
            eprintln!("{id} is the new primary key; a running server reads it when it is told by SIGHUP, or meets it");
        }
    }
    if let KeySource::Embedded(path) = &config.encryption_key
        && !path.exists()
    {
        return Err(Failure::usage(format!("there is no key file `{}`; is --data-dir right?", path.display())));
    }
    let keys = Vault::load(&config.encryption_key).await;
    let vault = keys.map_err(|error| Failure::of(Kind::Usage, &error))?;
    let store = Store::open(config.store_url()).await?;
    let mut shown = Shown::new(json);
    let rotated = rotation::rotate(&store, &vault, |tally| shown.tell(tally)).await;
    shown.end();
    store.close().await;
    let Rotated { records, retired } = rotated?;
    if json {
        say(json!({ "keyId": vault.primary_key_id(), "rewrapped": records, "retiredKeyIds": retired }));
        return Ok(());
    }
    say(format_args!("every credential is under the key {}; {records} were wrapped anew", vault.primary_key_id()));
    if !retired.is_empty() {
        say(format_args!(
            "no credential needs {} any more; once tributary_credentials_under_old_keys is 0 on every server, take \
             the key away and send SIGHUP",
            retired.join(", ")
        ));
    }
    Ok(())
}

fn add_key(config: &Config) -> Result<String, Failure> {
    let path = match &config.encryption_key {
        KeySource::File(path) | KeySource::Embedded(path) => path,
        KeySource::Given(_) | KeySource::Command(_) => {
            return Err(Failure::usage("--new-key writes to a key file; put the new key where yours come from instead"));
        }
    };
    if config.database == Database::Postgres {
        return Err(Failure::usage(
            "--new-key is for one server; with PostgreSQL there may be several: make a key with `tributary keys \
             encryption`, add it as the second line of every key file and send SIGHUP, make it the first line and \
             send SIGHUP, then rotate",
        ));
    }
    source::prepend(path).map_err(|error| Failure::of(Kind::Usage, &error))
}

/// A bar on a terminal, a line now and then elsewhere, and JSON for machines.
struct Shown {
    json: bool,
    bar: ProgressBar,
    written_at: Option<Instant>,
    last: Option<Tally>,
}

impl Shown {
    fn new(json: bool) -> Self {
        let template = "re-wrapping [{bar:30}] {human_pos}/{human_len} {per_sec} eta {eta}";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let is_plain = json || !std::io::stderr().is_terminal();
        let bar = if is_plain { ProgressBar::hidden() } else { ProgressBar::no_length() };
        Self { json, bar: bar.with_style(style.progress_chars("=> ")), written_at: None, last: None }
    }

    fn tell(&mut self, tally: Tally) {
        self.bar.set_length(tally.total);
        self.bar.set_position(tally.done);
        self.last = Some(tally);
        let is_due = self.written_at.is_none_or(|at| at.elapsed() >= LINE_EVERY);
        if self.bar.is_hidden() && is_due {
            self.written_at = Some(Instant::now());
            self.write(tally);
        }
    }

    fn write(&self, Tally { done, total }: Tally) {
        if self.json {
            eprintln!("{}", json!({ "event": "progress", "done": done, "total": total }));
        } else {
            eprintln!("{done} of {total} wrapped anew");
        }
    }

    fn end(&mut self) {
        self.bar.finish_and_clear();
        if let Some(tally) = self.last.filter(|_| self.bar.is_hidden()) {
            self.write(tally);
        }
    }
}

impl From<RotationError> for Failure {
    fn from(error: RotationError) -> Self {
        let kind = match &error {
            RotationError::Store(_) => Kind::Unreachable,
            RotationError::WrongKeys(_) => Kind::Usage,
            RotationError::Unopened { .. } | RotationError::Unsettled { .. } => Kind::Failed,
        };
        Self::of(kind, &error)
    }
}
