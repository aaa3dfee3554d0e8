//! `tributary keys`: API keys by the store itself, so that an operator who lost
//! every key gets in again, and encryption keys.

mod rotate;

use std::time::Duration;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::failure::{Failure, Kind};
use super::flags::SettingFlags;
use super::say;
use crate::audit;
use crate::error::Reason;
use crate::ids::{CollectionId, KeyId};
use crate::secrets::{KeyRing, api_key};
use crate::store::audit::{OK, Resources};
use crate::store::keys::{ApiKey, CreateKeyError, NewKey};
use crate::store::{Store, Visible};

const PAGE: u64 = 500;

/// What to do with keys.
#[derive(Subcommand)]
pub enum Command {
    /// Make an API key; its secret is shown this once.
    Create(Create),
    /// List the API keys, without secrets.
    List(SettingFlags),
    /// Make an API key useless.
    Revoke(Revoke),
    /// Print a new encryption key, for --encryption-key-file.
    Encryption,
    /// Bring every stored credential under the primary encryption key, while
    /// servers go on; start it again to go on where it was stopped.
    #[command(alias = "rotate-key")]
    Rotate(rotate::Rotate),
}

/// A key to make.
#[derive(Args)]
pub struct Create {
    /// Display name.
    #[arg(long)]
    name: String,
    /// What it may do.
    #[arg(long, value_parser = ["viewer", "runner", "editor", "owner", "admin"])]
    role: String,
    /// Collection that it may use; repeat for more. All when none is given.
    #[arg(long = "collection", value_name = "ID")]
    collections: Vec<CollectionId>,
    /// Days after which it is refused.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    expires_in: Option<u32>,
    #[command(flatten)]
    settings: SettingFlags,
}

/// A key to revoke.
#[derive(Args)]
pub struct Revoke {
    /// Id of the key, `key_...`.
    id: KeyId,
    #[command(flatten)]
    settings: SettingFlags,
}

/// Does it.
pub async fn run(command: Command, json: bool) -> Result<(), Failure> {
    match command {
        Command::Create(create) => self::create(create, json).await,
        Command::List(settings) => list(&settings, json).await,
        Command::Revoke(revoke) => self::revoke(revoke, json).await,
        Command::Encryption => {
            encryption(json);
            Ok(())
        }
        Command::Rotate(rotate) => rotate::run(rotate, json).await,
    }
}

fn encryption(json: bool) {
    let (ring, text) = KeyRing::generate();
    if json {
        say(json!({ "keyId": ring.ids().concat(), "keyFile": text.expose_secret() }));
    } else {
        say(text.expose_secret().trim_end());
    }
}

async fn open(settings: &SettingFlags) -> Result<Store, Failure> {
    Ok(Store::open(settings.load()?.store_url()).await?)
}

async fn create(create: Create, json: bool) -> Result<(), Failure> {
    let Create { name, role, collections, expires_in, settings } = create;
    if name.trim().is_empty() {
        return Err(Failure::usage("--name must not be blank"));
    }
    let store = open(&settings).await?;
    let minted = api_key::mint();
    let lifetime = expires_in.map(|days| Duration::from_secs(u64::from(days) * 86_400).as_millis() as i64);
    let now = store.now().await?;
    let new = NewKey {
        id: minted.id,
        name: name.trim().to_owned(),
        role,
        all_collections: collections.is_empty(),
        collections,
        expires_at: lifetime.map(|lifetime| now + lifetime),
        hash: minted.hash,
    };
    let about = Resources { key: Some(new.id.clone()), ..Resources::default() };
    let command = audit::Command::begin(&store, "keys create", about).await?;
    let made = store.insert_key(&new).await;
    let outcome = made.as_ref().map_or(Reason::InvalidArgument.name(), |_| OK);
    command.end(&store, outcome, &Resources::default()).await?;
    let key = made.map_err(|error| match error {
        CreateKeyError::NoCollection => Failure::usage(error.to_string()),
        CreateKeyError::Store(error) => error.into(),
    })?;
    let secret = minted.token.expose_secret();
    if json {
        say(json!({ "apiKey": as_json(&key), "secret": secret }));
    } else {
        eprintln!("{} is made; its secret is shown this once:", key.id);
        say(secret);
    }
    store.close().await;
    Ok(())
}

async fn list(settings: &SettingFlags, json: bool) -> Result<(), Failure> {
    let store = open(settings).await?;
    let mut keys: Vec<ApiKey> = Vec::new();
    loop {
        let after = keys.last().map(|key| (key.created_at, key.id.clone()));
        let page = store.keys(&Visible::All, after, PAGE).await?;
        let is_last = (page.len() as u64) < PAGE;
        keys.extend(page);
        if is_last {
            break;
        }
    }
    let now = store.now().await?;
    store.close().await;
    if json {
        say(json!({ "apiKeys": keys.iter().map(as_json).collect::<Vec<_>>() }));
        return Ok(());
    }
    for key in &keys {
        let collections = match key.all_collections {
            true => "all collections".to_owned(),
            false => key.collections.iter().map(CollectionId::as_str).collect::<Vec<_>>().join(","),
        };
        say(format_args!("{}  {:<6}  {:<7}  {}  {}", key.id, key.role, state(key, now), key.name, collections));
    }
    Ok(())
}

async fn revoke(revoke: Revoke, json: bool) -> Result<(), Failure> {
    let store = open(&revoke.settings).await?;
    let about = Resources { key: Some(revoke.id.clone()), ..Resources::default() };
    let command = audit::Command::begin(&store, "keys revoke", about).await?;
    let key = store.revoke_key(&revoke.id).await?;
    let outcome = key.as_ref().map_or(Reason::NotFound.name(), |_| OK);
    command.end(&store, outcome, &Resources::default()).await?;
    store.close().await;
    match key {
        Some(key) if json => say(json!({ "apiKey": as_json(&key) })),
        Some(key) => say(format_args!("{} is revoked", key.id)),
        None => return Err(Failure::new(Kind::Failed, format!("there is no key `{}`", revoke.id))),
    }
    Ok(())
}

fn state(key: &ApiKey, now: i64) -> &'static str {
    if key.revoked_at.is_some() {
        "revoked"
    } else if key.expires_at.is_some_and(|expires_at| expires_at <= now) {
        "expired"
    } else {
        "usable"
    }
}

fn as_json(key: &ApiKey) -> Value {
    let ApiKey { id, name, role, all_collections, collections, created_at, expires_at, last_used_at, revoked_at } = key;
    let time = |milliseconds: i64| {
        chrono::DateTime::from_timestamp_millis(milliseconds)
            .map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
    };
    json!({
        "id": id.as_str(),
        "name": name,
        "role": role,
        "allCollections": all_collections,
        "collectionIds": collections.iter().map(CollectionId::as_str).collect::<Vec<_>>(),
        "createdAt": time(*created_at),
        "expiresAt": expires_at.and_then(time),
        "lastUsedAt": last_used_at.and_then(time),
        "revokedAt": revoked_at.and_then(time),
    })
}
