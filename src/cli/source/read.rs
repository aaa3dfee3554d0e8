//! `tributary source read`: the documents that records become, as they come.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::cli::failure::{Failure, Kind};
use crate::connectors::erased::Session;
use crate::connectors::loading;
use crate::connectors::reading::{Message, Output, Reached, ReadRequest};
use crate::record::{Batch, Document, RawRecord};

/// Batches that may wait while we print.
const AHEAD: usize = 4;

#[derive(Default)]
struct Counts {
    documents: u64,
    failed_records: u64,
    failed_objects: u64,
    estimates: HashMap<Arc<str>, u64>,
}

/// Reads until the end or the limit.
pub(super) async fn run(session: Arc<dyn Session>, limit: Option<u64>, json: bool) -> Result<(), Failure> {
    let (output, mut messages) = Output::channel(AHEAD);
    let reading = {
        let session = session.clone();
        let request = ReadRequest { sample: limit, ..ReadRequest::default() };
        tokio::spawn(async move { session.read(request, output).await })
    };
    let bar = bar(json);
    let mut counts = Counts::default();
    let limit = limit.unwrap_or(u64::MAX);
    while counts.documents < limit
        && let Some(message) = messages.recv().await
    {
        if take(&session, message, limit, &mut counts, &bar).await?.is_none() {
            // Whoever reads our output has seen enough.
            return Ok(());
        }
    }
    let is_cut = counts.documents >= limit;
    drop(messages);
    bar.finish_and_clear();
    let result = reading.await.map_err(|error| Failure::of(Kind::Failed, &error))?;
    eprintln!("{} documents, {} records failed", counts.documents, counts.failed_records);
    if !is_cut {
        result?;
    }
    match counts.failed_objects {
        0 => Ok(()),
        failed => Err(Failure::new(Kind::Failed, format!("{failed} objects could not be read to their end"))),
    }
}

fn bar(json: bool) -> ProgressBar {
    if json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {human_pos} of {human_len} {per_sec} eta {eta} {wide_msg}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

async fn take(
    session: &Arc<dyn Session>,
    message: Message,
    limit: u64,
    counts: &mut Counts,
    bar: &ProgressBar,
) -> Result<Option<()>, Failure> {
    match message {
        Message::Objects(scopes) => {
            let estimates = scopes.into_iter().filter_map(|scope| Some((scope.object, scope.estimate?)));
            counts.estimates.extend(estimates);
            bar.set_length(counts.estimates.values().sum());
        }
        Message::Started(scope) => {
            if let Some(estimate) = scope.estimate {
                counts.estimates.insert(scope.object.clone(), estimate);
                bar.set_length(counts.estimates.values().sum());
            }
            bar.set_message(scope.object.to_string());
        }
        Message::Batch(batch) => return print(session, batch, limit, counts, bar).await,
        Message::RecordFailed { object, source_key, code, message } => {
            counts.failed_records += 1;
            bar.suspend(|| eprintln!("{object} {source_key}: {code}: {message}"));
        }
        Message::Complete { .. } => {}
        // What came before is counted already.
        Message::Ask { answer, .. } => drop(answer.send(Reached::default())),
        // Nothing is known from before, so these do not come.
        Message::Present { .. } | Message::Unmoved { .. } => {}
        Message::Failed { object, code, message } => {
            counts.failed_objects += 1;
            bar.suspend(|| eprintln!("{object}: {code}: {message}"));
        }
        Message::Waiting { reason, .. } => bar.suspend(|| eprintln!("waiting: {reason}")),
    }
    Ok(Some(()))
}

/// Brings content and decodes as a sync does.
async fn print(
    session: &Arc<dyn Session>,
    batch: Batch,
    limit: u64,
    counts: &mut Counts,
    bar: &ProgressBar,
) -> Result<Option<()>, Failure> {
    let Batch { object, mut records, shape, bytes_read: _, position: _ } = batch;
    records.truncate(usize::try_from(limit - counts.documents).unwrap_or(usize::MAX));
    let decoded = loading::documents(session, &object, &shape, records).await?;
    let decoded =
        decoded.into_iter().map(|(record, document)| document.map(|document| line(&object, &record, document)));
    for line in decoded {
        bar.inc(1);
        match line {
            Ok(line) => {
                counts.documents += 1;
                if bar.suspend(|| writeln!(std::io::stdout(), "{line}")).is_err() {
                    return Ok(None);
                }
            }
            Err(error) => {
                counts.failed_records += 1;
                bar.suspend(|| eprintln!("{}: {}", error.code, error.message));
            }
        }
    }
    Ok(Some(()))
}

fn line(object: &str, record: &RawRecord, document: Document) -> String {
    let Document { title, body, url, kind, created_at, updated_at, metadata } = document;
    let time = |microseconds: i64| {
        chrono::DateTime::from_timestamp_micros(microseconds)
            .map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
    };
    json!({
        "object": object,
        "sourceKey": record.source_key,
        "type": kind,
        "title": title,
        "content": body,
        "url": url,
        "createdAt": created_at.and_then(time),
        "updatedAt": updated_at.and_then(time),
        "metadata": metadata,
    })
    .to_string()
}
