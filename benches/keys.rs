//! What the check of an API key takes in a store of a million keys.
//!
//! ```text
//! cargo bench --bench keys [-- KEYS]
//! ```
//!
//! Fills a SQLite store in a folder of its own, removed again, with so many keys
//! (1,000,000), each for one collection of ten. Then times `Keys::authenticate`:
//! of keys that nobody has used yet, in an order that is no order of the table; of
//! keys used a moment ago; of well-formed keys that do not exist; and again of
//! unused keys while something else commits without pause. One call at a time.

use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use tributary::keys::Keys;
use tributary::paging::Pages;
use tributary::secrets::{KeyRing, Vault, api_key};
use tributary::store::Store;

type Failed = Box<dyn std::error::Error>;

/// Keys whose tokens are kept, to come in with.
const TRIED: usize = 20_000;
const WARM_ROUNDS: usize = 10;
/// Of these, all are known at once.
const WARM: usize = 1_000;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    // Cargo adds arguments of its own.
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("store.db");
    let store = Store::open(&format!("sqlite://{}", file.display())).await?;
    let began = Instant::now();
    let mut tokens = fill(&file, count)?;
    let size = std::fs::metadata(&file)?.len() / 1_000_000;
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    println!("{build} build; {count} keys in a SQLite store of {size} MB, made in {:.0?}", began.elapsed());

    let pages = Pages::new(Vault::new(KeyRing::generate().0).page_tokens());
    let keys = Keys::new(store.clone(), pages, None);
    // A stride that is prime, and so comes by every token once.
    let made = tokens.len();
    tokens = (0..made).map(|position| tokens[position * 7_919 % made].clone()).collect();
    let strangers: Vec<String> = (0..TRIED / 4).map(|_| api_key::mint().token.expose_secret().to_owned()).collect();

    report("cold", &time(&keys, &tokens, true).await?);
    let warm: Vec<String> = tokens.iter().take(WARM).cloned().collect();
    time(&keys, &warm, true).await?;
    let mut times = Vec::new();
    for _ in 0..WARM_ROUNDS {
        times.extend(time(&keys, &warm, true).await?);
    }
    report("warm", &times);
    report("unknown", &time(&keys, &strangers, false).await?);

    // The same cold, by somebody who knows nothing, while the store commits.
    let pages = Pages::new(Vault::new(KeyRing::generate().0).page_tokens());
    let fresh = Keys::new(store.clone(), pages, None);
    let writing = tokio::spawn({
        let store = store.clone();
        async move {
            for number in 0.. {
                if store.put_setting_if_absent(&format!("written {number}"), "").await.is_err() {
                    return;
                }
            }
        }
    });
    report("writes", &time(&fresh, &tokens, true).await?);
    writing.abort();
    fresh.close().await;
    keys.close().await;
    store.close().await;
    Ok(())
}

/// How long each call took.
async fn time(keys: &Keys, tokens: &[String], known: bool) -> Result<Vec<Duration>, Failed> {
    let mut times = Vec::with_capacity(tokens.len());
    for token in tokens {
        let began = Instant::now();
        let caller = keys.authenticate(token).await?;
        times.push(began.elapsed());
        if caller.is_some() != known {
            return Err("a key was taken for what it is not".into());
        }
    }
    Ok(times)
}

fn report(what: &str, times: &[Duration]) {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |part: f64| sorted[((sorted.len() - 1) as f64 * part) as usize];
    println!(
        "{what:<8} {:>7} calls  p50 {:>9.1?}  p99 {:>9.1?}  p99.9 {:>9.1?}  most {:>9.1?}",
        sorted.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

/// Writes the rows past the store, which would make them one by one.
fn fill(file: &std::path::Path, count: usize) -> Result<Vec<String>, Failed> {
    let mut connection = rusqlite::Connection::open(file)?;
    let transaction = connection.transaction()?;
    for number in 0..10 {
        let sql = "INSERT INTO collections (id, name, created_at, updated_at, version) VALUES (?1, ?1, 0, 0, 1)";
        transaction.execute(sql, [format!("col_{number}")])?;
    }
    let mut tokens = Vec::with_capacity(TRIED);
    {
        let mut key = transaction.prepare(
            "INSERT INTO api_keys (id, name, role, all_collections, hash, created_at) VALUES (?1, 'key', 'viewer', 0, ?2, ?3)",
        )?;
        let mut grant = transaction.prepare("INSERT INTO key_grants (key_id, collection_id) VALUES (?1, ?2)")?;
        let every = (count / TRIED).max(1);
        for number in 0..count {
            let minted = api_key::mint();
            key.execute((minted.id.as_str(), minted.hash.as_slice(), number as i64))?;
            grant.execute((minted.id.as_str(), format!("col_{}", number % 10)))?;
            if number % every == 0 && tokens.len() < TRIED {
                tokens.push(minted.token.expose_secret().to_owned());
            }
        }
    }
    transaction.commit()?;
    Ok(tokens)
}
