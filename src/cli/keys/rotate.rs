//! `tributary keys rotate`: brings every stored credential under the primary
//! encryption key, by the store itself, while servers go on.

use std::path::Path;

use clap::Args;
use serde_json::json;

use crate::audit;
use crate::cli::failure::{Failure, Kind};
use crate::cli::flags::SettingFlags;
use crate::cli::progress::{Progress, Unit};
use crate::cli::say;
use crate::config::{Config, Database, KeySource};
use crate::keys::rotation::{self, Rotated, RotationError};
use crate::secrets::{Vault, source};
use crate::store::Store;

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
    let new_in = if rotate.new_key { Some(own_key_file(&config)?) } else { None };
    if let KeySource::Embedded(path) = &config.encryption_key
        && !path.exists()
    {
        return Err(Failure::usage(format!("there is no key file `{}`; is --data-dir right?", path.display())));
    }
    let store = Store::open(config.store_url()).await?;
    let work = rotated(&store, &config, new_in, json);
    let rotated = audit::Command::record(&store, "keys rotate", work, Failure::reason).await;
    store.close().await;
    let Rotated { primary, records, retired } = rotated?;
    if json {
        say(json!({ "keyId": primary, "rewrapped": records, "retiredKeyIds": retired }));
        return Ok(());
    }
    say(format_args!("every credential is under the key {primary}; {records} were wrapped anew"));
    if config.transit.is_some() {
        say("the keys of the server itself go on to seal page tokens");
    } else if !retired.is_empty() {
        say(format_args!(
            "no credential needs {} any more; once tributary_credentials_under_old_keys is 0 on every server, take \
             the key away and send SIGHUP",
            retired.join(", ")
        ));
    }
    Ok(())
}

/// What changes something.
async fn rotated(store: &Store, config: &Config, new_in: Option<&Path>, json: bool) -> Result<Rotated, Failure> {
    if let Some(path) = new_in {
        let id = source::prepend(path).map_err(|error| Failure::of(Kind::Usage, &error))?;
        if !json {
            eprintln!("{id} is the new primary key; a running server reads it when it is told by SIGHUP, or meets it");
        }
    }
    let keys = Vault::load(&config.encryption_key, config.transit.as_ref()).await;
    let vault = keys.map_err(|error| Failure::of(Kind::Usage, &error))?;
    let mut progress = Progress::new("wrapped anew", Unit::Count, json);
    let rotated = rotation::rotate(store, &vault, |tally| progress.tell(tally.done, tally.total)).await;
    progress.end();
    Ok(rotated?)
}

/// The key file, where a new key may be put into it.
fn own_key_file(config: &Config) -> Result<&Path, Failure> {
    let path = match &config.encryption_key {
        KeySource::File(path) | KeySource::Embedded(path) => path,
        KeySource::Given(_) | KeySource::Command(_) => {
            return Err(Failure::usage(
                "--new-key writes to a key file; put the new key where yours come from instead",
            ));
        }
    };
    if config.database == Database::Postgres {
        return Err(Failure::usage(
            "--new-key is for one server; with PostgreSQL there may be several: make a key with `tributary keys \
             encryption`, add it as the second line of every key file and send SIGHUP, make it the first line and \
             send SIGHUP, then rotate",
        ));
    }
    Ok(path)
}

impl From<RotationError> for Failure {
    fn from(error: RotationError) -> Self {
        let kind = match &error {
            RotationError::Store(_) | RotationError::Keeper(_) => Kind::Unreachable,
            RotationError::WrongKeys(_) => Kind::Usage,
            RotationError::Unopened { .. } | RotationError::Unsettled { .. } => Kind::Failed,
        };
        Self::of(kind, &error)
    }
}
