//! One pass: every selected object, listed to its end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::walk::{self, Walk};
use super::{Depth, Entry, ListError, Page, Stamp, Store};
use crate::connectors::ConnectorError;
use crate::connectors::documents::choice::Choice;
use crate::connectors::documents::selection::{ROOT, Selection};
use crate::connectors::reading::{Message, Output, ReadRequest, Rest, Scope};
use crate::record::{Batch, RawRecord};

/// Records of a batch.
const BATCH_RECORDS: usize = 200;
/// Content of a batch, so that large files show progress.
const BATCH_BYTES: u64 = 32 * 1024 * 1024;
/// Folders that are objects.
const MOST_OBJECTS: usize = 10_000;
/// Pages that a search for them reads: 10 million files beside the folders.
const MOST_PAGES: usize = 10_000;
/// How often a page is asked for again.
const MOST_TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);
/// A store that asks for more patience than this ends the pass, which says so.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Reads every selected object. The store goes along with the batches, to bring
/// content from.
pub(in crate::connectors) async fn read<S: Store>(
    store: Arc<S>,
    choice: &Choice,
    request: ReadRequest,
    output: Output,
) -> Result<(), ConnectorError> {
    let selection = choice.selection();
    let scopes = objects(&*store, &selection, Some(&output)).await?;
    output.send(Message::Objects(scopes.clone())).await?;
    for scope in scopes {
        if request.finished.iter().any(|finished| **finished == *scope.object) {
            continue;
        }
        Reading { store: &store, choice, selection: &selection, output: &output, object: scope.object.clone() }
            .run(scope, request.sample)
            .await?;
    }
    Ok(())
}

/// `.` and the folders directly below; an error here ends the pass, since nothing
/// is proved by half a list.
pub(super) async fn objects<S: Store>(
    store: &S,
    selection: &Selection<'_>,
    output: Option<&Output>,
) -> Result<Vec<Scope>, ConnectorError> {
    let (mut folders, mut files, mut token) = (BTreeSet::new(), 0, None);
    for _ in 0..MOST_PAGES {
        let Page { entries, next } = root_page(store, token.as_deref(), output).await?;
        for entry in entries {
            match entry {
                Entry::Folder(path) if !walk::is_hidden(&path) && selection.takes_object(&path) => {
                    folders.insert(path);
                }
                Entry::File(path, _) if !walk::is_hidden(&path) && selection.takes_file(&path) => files += 1,
                Entry::Folder(_) | Entry::File(..) => {}
            }
        }
        if folders.len() > MOST_OBJECTS {
            break;
        }
        if next.is_some() {
            if next == token {
                return Err(as_source(ListError::Contradiction));
            }
            token = next;
            continue;
        }
        let root = Scope { object: Arc::from(ROOT), estimate: Some(files) };
        let folders = folders.into_iter().map(|folder| Scope { object: folder.into(), estimate: None });
        return Ok(selection.takes_object(ROOT).then_some(root).into_iter().chain(folders).collect());
    }
    Err(ConnectorError::Invalid {
        field: "config".to_owned(),
        reason: format!(
            "names a place with more than {MOST_OBJECTS} folders, or {MOST_PAGES} pages; name a folder in it"
        ),
    })
}

async fn root_page<S: Store>(store: &S, token: Option<&str>, output: Option<&Output>) -> Result<Page, ConnectorError> {
    let mut tries = 0;
    loop {
        match store.list("", Depth::Folder, token).await {
            Ok(page) => return Ok(page),
            Err(error) => patience(error, &mut tries, output).await.map_err(as_source)?,
        }
    }
}

fn as_source(error: ListError) -> ConnectorError {
    match error {
        ListError::Source(error) => error,
        other => ConnectorError::Unexpected(Box::new(other)),
    }
}

/// Waits where another try is worth it; else gives the error back.
async fn patience(error: ListError, tries: &mut u32, output: Option<&Output>) -> Result<(), ListError> {
    let wait = match &error {
        ListError::Source(ConnectorError::Throttled { retry_after }) => (*retry_after).max(PAUSE),
        ListError::Source(ConnectorError::Unreachable { code: "unreachable", .. }) => PAUSE * 2_u32.pow(*tries),
        _ => return Err(error),
    };
    *tries += 1;
    if *tries >= MOST_TRIES || wait > LONGEST_PAUSE {
        return Err(error);
    }
    let Some(output) = output else {
        tokio::time::sleep(wait).await;
        return Ok(());
    };
    if matches!(error, ListError::Source(ConnectorError::Throttled { .. })) {
        let (until, reason) = (SystemTime::now() + wait, "it has too many requests".to_owned());
        output.send(Message::Waiting { until, reason }).await?;
    }
    tokio::select! {
        () = tokio::time::sleep(wait) => Ok(()),
        () = output.closed() => Err(error),
    }
}

/// One object.
struct Reading<'a, S> {
    store: &'a Arc<S>,
    choice: &'a Choice,
    selection: &'a Selection<'a>,
    output: &'a Output,
    object: Arc<str>,
}

impl<S: Store> Reading<'_, S> {
    async fn run(&self, scope: Scope, sample: Option<u64>) -> Result<(), ConnectorError> {
        let mut walk = Walk::of(&**self.store, &self.object, self.selection);
        let mut left = sample.unwrap_or(u64::MAX);
        let (mut batch, mut counted, mut has_started) = (Batched::default(), 0, false);
        let mut tries = 0;
        while left > 0 {
            let files = match walk.next().await {
                Ok(files) => files,
                Err(error) => match patience(error, &mut tries, Some(self.output)).await {
                    Ok(()) => continue,
                    Err(ListError::Source(error)) => return Err(error),
                    Err(error) => {
                        self.start(scope, &mut has_started).await?;
                        self.flush(&mut batch).await?;
                        return self.failed(&error).await;
                    }
                },
            };
            tries = 0;
            // Where the first page is the last one it says how many there are.
            let estimate = scope.estimate.or_else(|| {
                let files = files.as_ref().filter(|_| walk.is_at_the_end());
                files.map(|files| files.len() as u64)
            });
            self.start(Scope { estimate, ..scope.clone() }, &mut has_started).await?;
            let Some(files) = files else { break };
            for (path, stamp) in files.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                left -= 1;
                counted += 1;
                self.take(path, stamp, &mut batch).await?;
            }
        }
        self.start(scope, &mut has_started).await?;
        self.flush(&mut batch).await?;
        if sample.is_some() {
            // A sample proves nothing.
            return Ok(());
        }
        self.finish(walk.unlisted, counted).await
    }

    async fn start(&self, scope: Scope, has_started: &mut bool) -> Result<(), ConnectorError> {
        if std::mem::replace(has_started, true) { Ok(()) } else { self.output.send(Message::Started(scope)).await }
    }

    async fn take(&self, path: String, stamp: Stamp, batch: &mut Batched) -> Result<(), ConnectorError> {
        if path.split('/').any(|name| matches!(name, "." | "..")) {
            let message = "a name in its path is one that cannot be asked for".to_owned();
            let object = self.object.clone();
            return self
                .output
                .send(Message::RecordFailed { object, source_key: path, code: "name_not_usable", message })
                .await;
        }
        batch.bytes += if stamp.size > self.choice.size_limit() { 0 } else { stamp.size };
        batch.records.push(RawRecord {
            fingerprint: stamp.fingerprint(),
            payload: stamp.sealed(0).into(),
            source_key: path,
        });
        if batch.records.len() >= BATCH_RECORDS || batch.bytes >= BATCH_BYTES {
            self.flush(batch).await?;
        }
        Ok(())
    }

    async fn flush(&self, batch: &mut Batched) -> Result<(), ConnectorError> {
        let Batched { records, bytes: _ } = std::mem::take(batch);
        if records.is_empty() {
            return Ok(());
        }
        let (object, shape) = (self.object.clone(), self.store.clone());
        let bytes_read = records.iter().map(|record| (record.source_key.len() + record.payload.len()) as u64).sum();
        self.output.send(Message::Batch(Batch { object, records, bytes_read, position: None, shape })).await
    }

    async fn finish(&self, unlisted: usize, counted: u64) -> Result<(), ConnectorError> {
        let object = self.object.clone();
        if unlisted == 0 {
            let counted = Some(counted);
            return self.output.send(Message::Complete { object, counted, rest: Rest::Gone, mark: None }).await;
        }
        let message = format!("{unlisted} folders in it cannot be listed");
        self.output.send(Message::Failed { object, code: "unreadable", message }).await
    }

    async fn failed(&self, error: &ListError) -> Result<(), ConnectorError> {
        let (code, message) = match error {
            ListError::Forbidden => ("permission_missing", "the login may not list it"),
            ListError::NotFound => ("unreadable", "it went away while it was read; the next sync looks again"),
            ListError::TooMany => ("too_large", "it has more folders than can be read"),
            ListError::Contradiction | ListError::Source(_) => {
                ("unreadable", "its listing repeats itself, or names what is elsewhere")
            }
        };
        let (object, message) = (self.object.clone(), message.to_owned());
        self.output.send(Message::Failed { object, code, message }).await
    }
}

/// Records on their way into a batch.
#[derive(Default)]
struct Batched {
    records: Vec<RawRecord>,
    bytes: u64,
}
