//! Runs the syncs side by side and shows how far each is: bars on a terminal,
//! plain lines elsewhere, nothing for machines.

use std::io::IsTerminal;

use futures::future::try_join_all;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::client::{Client, empty, refused};
use crate::cli::failure::Failure;
use crate::proto::v1;
use crate::proto::v1::sync::Status;
use crate::proto::v1::watch_sync_response::Event;

/// Runs all of them; gives each with its name and last state.
pub(super) async fn sync_all(
    client: &Client,
    connections: &[(String, String)],
    json: bool,
) -> Result<Vec<(String, v1::Sync)>, Failure> {
    let bars = MultiProgress::new();
    let is_plain = json || !std::io::stderr().is_terminal();
    let runs = connections.iter().map(|(name, id)| {
        let bar = if is_plain { ProgressBar::hidden() } else { bars.add(bar(name)) };
        let mut client = client.clone();
        async move {
            let sync = sync_one(&mut client, id, &bar).await?;
            if is_plain && !json {
                eprintln!("{name}: {}", word(&sync));
            }
            Ok::<_, Failure>((name.clone(), sync))
        }
    });
    try_join_all(runs).await
}

/// Everything is in.
pub(super) fn has_succeeded(sync: &v1::Sync) -> bool {
    sync.status() == Status::Succeeded
}

/// The state as the REST door spells it.
pub(super) fn word(sync: &v1::Sync) -> String {
    sync.status().as_str_name().trim_start_matches("STATUS_").to_lowercase()
}

async fn sync_one(client: &mut Client, connection: &str, bar: &ProgressBar) -> Result<v1::Sync, Failure> {
    let mut events = client.run(connection).await?;
    while let Some(event) = events.message().await.map_err(refused)? {
        match event.event {
            Some(Event::Snapshot(sync)) => sync.progress.iter().for_each(|progress| draw(bar, progress)),
            Some(Event::Progress(progress)) => draw(bar, &progress),
            Some(Event::Log(line)) => bar.suspend(|| eprintln!("{}", line.message)),
            Some(Event::Finished(sync)) => {
                sync.progress.iter().for_each(|progress| draw(bar, progress));
                bar.finish_with_message(word(&sync));
                return Ok(sync);
            }
            None => {}
        }
    }
    Err(empty())
}

fn bar(name: &str) -> ProgressBar {
    let template = "{prefix:<16} [{bar:30}] {human_pos}/{human_len} {per_sec} eta {eta} {wide_msg}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::no_length().with_style(style.progress_chars("=> ")).with_prefix(name.to_owned())
}

fn draw(bar: &ProgressBar, progress: &v1::SyncProgress) {
    let read = u64::try_from(progress.items_read).unwrap_or_default();
    let estimate = progress.estimated_items.and_then(|items| u64::try_from(items).ok());
    let total = estimate.unwrap_or_default().max(read);
    // Nothing is known before the source has listed its objects.
    if total > 0 {
        bar.set_length(total);
    }
    bar.set_position(read);
    bar.set_message(progress.current_object.clone().unwrap_or_default());
}
