//! `tributary backup` and `tributary restore`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use serde_json::json;

use super::failure::{Failure, Kind};
use super::flags::SettingFlags;
use super::progress::{Progress, Unit};
use super::say;
use crate::backup::restore::{self, Restored};
use crate::backup::{self, BackupError, Made, Moved};
use crate::config::{Config, Database, KeySource};
use crate::secrets::source;
use crate::store::Store;

/// Where to.
#[derive(Args)]
pub struct Backup {
    /// Folder to make; must not be there yet.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    #[command(flatten)]
    settings: SettingFlags,
}

/// Where from.
#[derive(Args)]
pub struct Restore {
    /// Folder of a backup.
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    #[command(flatten)]
    settings: SettingFlags,
}

/// Makes a backup.
pub(super) async fn back_up(backup: Backup, json: bool) -> Result<(), Failure> {
    let config = backup.settings.load()?;
    let is_there = match config.database {
        Database::Sqlite => {
            config.store_url().strip_prefix("sqlite://").is_some_and(|path| PathBuf::from(path).exists())
        }
        Database::Postgres => config.data_dir.is_dir(),
    };
    if !is_there {
        return Err(Failure::usage(format!(
            "there is no store in `{}`; is --data-dir right?",
            config.data_dir.display()
        )));
    }
    let store = Store::open(config.store_url()).await?;
    let (tell, end) = progress("copied", json);
    let made = backup::make(&store, &config.data_dir, &backup.to, tell).await;
    end();
    store.close().await;
    let Made { manifest, left_out } = made?;
    if json {
        say(json!({
            "folder": backup.to.display().to_string(),
            "bytes": manifest.bytes(),
            "files": manifest.files.len(),
            "keyIds": manifest.key_ids,
            "leftOut": left_out.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    for collection in &left_out {
        eprintln!("the index of `{collection}` is damaged and was left out; syncs fill it again");
    }
    say(format_args!("`{}` is a backup of {} bytes", backup.to.display(), manifest.bytes()));
    if config.database == Database::Postgres {
        say("it holds the index; the database is for pg_dump, to be run before");
    }
    say(format_args!("the encryption key is not in it; keep a copy of {} elsewhere", manifest.key_ids.join(", ")));
    Ok(())
}

/// Brings a backup back.
pub(super) async fn restore(restore: Restore, json: bool) -> Result<(), Failure> {
    let config = restore.settings.load()?;
    let usual = format!("sqlite://{}", config.data_dir.join("tributary.db").display());
    if config.database == Database::Sqlite && config.store_url() != usual {
        return Err(Failure::usage("a SQLite store comes back to the data directory; leave --database-url away"));
    }
    let (tell, end) = progress("copied", json);
    let restored = restore::restore(&restore.from, &config.data_dir, config.store_url(), tell).await;
    end();
    let Restored { manifest, orphans } = restored?;
    let missing = missing_keys(&config, &manifest.key_ids).await;
    if json {
        say(json!({
            "madeAt": manifest.made_at,
            "bytes": manifest.bytes(),
            "orphanedItems": orphans,
            "missingKeyIds": missing,
        }));
        return Ok(());
    }
    say(format_args!("the backup of {} is back in `{}`", manifest.made_at, config.data_dir.display()));
    if orphans > 0 {
        say(format_args!("{orphans} items of connections that were made after the store was copied are removed"));
    }
    if !missing.is_empty() {
        say(format_args!("before the server starts, give it the encryption key {}", missing.join(", ")));
    }
    say(
        "API keys that were revoked since are valid again, and what was made since is not there; syncs bring the index up to date",
    );
    Ok(())
}

/// Keys that are not where the server will look for them.
async fn missing_keys(config: &Config, wanted: &[String]) -> Vec<String> {
    let at_hand = match &config.encryption_key {
        // It would be made, and be another.
        KeySource::Embedded(path) if !path.exists() => Vec::new(),
        source => source::load_aside(source).await.map(|ring| ring.ids()).unwrap_or_default(),
    };
    wanted.iter().filter(|id| !at_hand.contains(id)).cloned().collect()
}

/// One end for the thread that copies, the other for when it is done.
fn progress(what: &'static str, json: bool) -> (impl FnMut(Moved) + Send + 'static, impl FnOnce()) {
    let progress = Arc::new(Mutex::new(Progress::new(what, Unit::Bytes, json)));
    let teller = Arc::clone(&progress);
    let tell = move |moved: Moved| teller.lock().unwrap_or_else(PoisonError::into_inner).tell(moved.done, moved.total);
    (tell, move || progress.lock().unwrap_or_else(PoisonError::into_inner).end())
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let kind = match &error {
            BackupError::Store(_) => Kind::Unreachable,
            BackupError::Exists(_)
            | BackupError::NotEmpty(_)
            | BackupError::OtherDeployment
            | BackupError::OtherStore(_) => Kind::Usage,
            BackupError::File { .. }
            | BackupError::Busy
            | BackupError::InUse(_)
            | BackupError::NotWhole { .. }
            | BackupError::Index(_) => Kind::Failed,
        };
        Self::of(kind, &error)
    }
}
