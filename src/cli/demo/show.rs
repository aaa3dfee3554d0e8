//! What the demo prints.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::setup::Ready;
use super::watch::word;
use crate::cli::say;
use crate::proto::v1;

/// What the syncs did, one line a connection.
pub(super) fn counters(syncs: &[(String, v1::Sync)], json: bool) {
    if json {
        let lines = syncs.iter().map(|(name, sync)| counters_as_json(name, sync));
        return say(json!({ "syncs": lines.collect::<Vec<_>>() }));
    }
    say(format_args!(
        "\n{:<16} {:<10} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "connection", "status", "inserted", "updated", "unchanged", "deleted", "failed"
    ));
    for (name, sync) in syncs {
        let progress = sync.progress.clone().unwrap_or_default();
        say(format_args!(
            "{name:<16} {:<10} {:>9} {:>9} {:>9} {:>9} {:>9}",
            word(sync),
            progress.items_inserted,
            progress.items_updated,
            progress.items_unchanged,
            progress.items_deleted,
            progress.items_failed
        ));
        if let Some(error) = &sync.error {
            say(format_args!("  {}", error.message));
        }
    }
}

fn counters_as_json(name: &str, sync: &v1::Sync) -> Value {
    let progress = sync.progress.clone().unwrap_or_default();
    json!({
        "connection": name,
        "status": word(sync),
        "itemsInserted": progress.items_inserted,
        "itemsUpdated": progress.items_updated,
        "itemsUnchanged": progress.items_unchanged,
        "itemsDeleted": progress.items_deleted,
        "itemsFailed": progress.items_failed,
        "error": sync.error.as_ref().map(|error| error.message.clone()),
    })
}

/// What a search found.
pub(super) fn results(query: &str, results: &[v1::SearchResult], json: bool) {
    let items = results.iter().filter_map(|result| Some((result.item.as_ref()?, result.snippets.first())));
    if json {
        let hits = items.map(|(item, snippet)| {
            json!({ "title": item.title, "object": item.object, "sourceKey": item.source_key, "snippet": snippet })
        });
        return say(json!({ "query": query, "results": hits.collect::<Vec<_>>() }));
    }
    say(format_args!("\nsearch: {query}"));
    for (item, snippet) in items {
        say(format_args!("  {}  ({} {})", item.title, item.object, item.source_key));
        if let Some(snippet) = snippet {
            say(format_args!("    {}", snippet.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    if results.is_empty() {
        say("  nothing found");
    }
}

/// Lines to go on with.
pub(super) fn next_steps(address: SocketAddr, ready: &Ready, key: &str) {
    let base = format!("http://{address}");
    say(format_args!("\nREST, gRPC and gRPC-Web on {base}; the API page is {base}/docs\n"));
    say(format_args!("  KEY={key}"));
    say(format_args!("  curl -H \"Authorization: Bearer $KEY\" {base}/api/v1/source-connections"));
    say(format_args!(
        "  curl -G -H \"Authorization: Bearer $KEY\" --data-urlencode 'query=warranty' \\\n    {base}/api/v1/collections/{}/search",
        ready.collection
    ));
}
