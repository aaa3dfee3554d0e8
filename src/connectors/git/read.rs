//! One pass: where the branch is, then only what has moved since the last one.
//!
//! A branch that is where it was costs one question. One that moved costs a pack of
//! its newest commit alone. Where the server can leave the content of files out, it
//! is asked for the trees of both commits, and then for the files that differ.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use gix_hash::ObjectId;
use serde::{Deserialize, Serialize};

use super::commit;
use super::document::Files;
use super::pack::{Limits, Pack, PackError};
use super::remote::{Abilities, Fetched, Remote, Tip, Wanted};
use super::selection::Selection;
use super::settings::Config;
use super::tree::{EntryKind, TreeError, Walk};
use super::{COMMITS, FILES, Git, Shape, ShapeOf};
use crate::connectors::reading::{Message, Output, ReadRequest, Rest, Scope};
use crate::connectors::{Account, ConnectorError};
use crate::record::{Batch, Fingerprint, RawRecord};

const BATCH_RECORDS: usize = 1_000;
/// Trees and commits are taken into memory up to here, whatever files may be.
const OBJECT_BYTES: u64 = 8 * 1024 * 1024;
/// How often over a pack may inflate.
const WORK: u64 = 16;
/// Files that are asked for one by one.
const MOST_CHANGED: usize = 2_000;
/// Names of earlier files that are held to compare.
const MOST_COMPARED: usize = 300_000;

/// What a pass leaves of an object.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    commit: String,
    /// Name of the branch or tag, which is in addresses.
    name: String,
}

impl Mark {
    fn of(tip: &Tip) -> Self {
        let commit = tip.commit.map(|commit| commit.to_string()).unwrap_or_default();
        Self { commit, name: tip.name.clone() }
    }
}

/// Ends the work of another thread when it is dropped.
pub(super) struct StopOnDrop(Arc<AtomicBool>);

impl StopOnDrop {
    pub(super) fn new() -> (Self, Arc<AtomicBool>) {
        let stop = Arc::new(AtomicBool::new(false));
        (Self(stop.clone()), stop)
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads every selected object.
pub(super) async fn read(account: &Account<Git>, request: ReadRequest, output: Output) -> Result<(), ConnectorError> {
    let remote = Remote::of(account)?;
    let abilities = remote.greet().await?;
    let tip = remote.tip(abilities, account.config.branch()).await?;
    let names = [FILES, COMMITS].into_iter().filter(|name| super::selects(&account.config, name));
    let objects: Vec<Arc<str>> = names.map(Arc::from).collect();
    let scopes = objects.iter().map(|object| Scope { object: object.clone(), estimate: None }).collect();
    output.send(Message::Objects(scopes)).await?;
    let pass = Pass { account, remote, abilities, tip, request, output };
    for object in objects {
        if !pass.request.finished.iter().any(|finished| **finished == *object) {
            pass.object(object).await?;
        }
    }
    Ok(())
}

struct Pass<'a> {
    account: &'a Account<Git>,
    remote: Remote,
    abilities: Abilities,
    tip: Tip,
    request: ReadRequest,
    output: Output,
}

impl Pass<'_> {
    async fn object(&self, object: Arc<str>) -> Result<(), ConnectorError> {
        let mark = Mark::of(&self.tip);
        let value = serde_json::to_value(&mark).ok();
        let known = self.request.known.get(&*object).filter(|_| self.request.sample.is_none());
        let before = known.and_then(|known| Mark::deserialize(&known.mark).ok());
        if let (Some(known), Some(value), true) = (known, &value, before.as_ref() == Some(&mark)) {
            let (records, mark) = (known.records, value.clone());
            return self.output.send(Message::Unmoved { object, records, mark }).await;
        }
        let Some(commit) = self.tip.commit else {
            self.output.send(Message::Started(Scope { object: object.clone(), estimate: Some(0) })).await?;
            return self.complete(object, 0, value).await;
        };
        let counted = if *object == *FILES {
            // Under another name every address is another.
            let before = before.filter(|before| before.name == self.tip.name);
            let before = before.and_then(|before| ObjectId::from_hex(before.commit.as_bytes()).ok());
            self.files(object.clone(), commit, before).await?
        } else {
            self.commits(object.clone(), commit).await?
        };
        self.complete(object, counted, value).await
    }

    /// A sample proves nothing.
    async fn complete(
        &self,
        object: Arc<str>,
        counted: u64,
        mark: Option<serde_json::Value>,
    ) -> Result<(), ConnectorError> {
        if self.request.sample.is_some() {
            return Ok(());
        }
        self.output.send(Message::Complete { object, counted: Some(counted), rest: Rest::Gone, mark }).await
    }

    async fn files(&self, object: Arc<str>, commit: ObjectId, before: Option<ObjectId>) -> Result<u64, ConnectorError> {
        let changed = match before.filter(|_| self.abilities.filter) {
            Some(before) => self.changed(commit, before).await,
            None => Ok(None),
        };
        let (files, read) = match changed {
            Ok(Some(found)) => found,
            // More has changed than is worth asking for, or the server has the earlier
            // commit no more.
            Ok(None) | Err(ConnectorError::Unexpected(_)) => self.whole(commit).await?,
            Err(error) => return Err(error),
        };
        let shape = Arc::new(Shape(ShapeOf::Files(files)));
        let config = self.account.config.clone();
        self.blocking(move |sender| list_files(&sender, object, commit, &config, shape, read)).await
    }

    /// The newest commit with its files.
    async fn whole(&self, commit: ObjectId) -> Result<(Files, u64), ConnectorError> {
        // Files of so many bytes and more are left out.
        let filter = format!("blob:limit={}", self.account.config.file_limit().saturating_add(1));
        let filter = self.abilities.filter.then_some(filter);
        let fetched = self.remote.fetch(&self.wanted(vec![commit], Some(1), filter)).await?;
        let read = fetched.length;
        let (pack, _) = self.opened(fetched).await?;
        Ok((self.files_of(vec![pack], self.abilities.filter), read))
    }

    /// The trees of two commits, and the files that the later one has and the
    /// earlier one has not.
    async fn changed(&self, commit: ObjectId, before: ObjectId) -> Result<Option<(Files, u64)>, ConnectorError> {
        let wanted = self.wanted(vec![commit, before], Some(1), Some("blob:none".to_owned()));
        let fetched = self.remote.fetch(&wanted).await?;
        let mut read = fetched.length;
        let (pack, _) = self.opened(fetched).await?;
        let config = self.account.config.clone();
        let compare = move || different(&pack, &commit, &before, &config).map(|different| (pack, different));
        let (pack, different) = tokio::task::spawn_blocking(compare).await.map_err(failed)?.map_err(failed)?;
        let Some(different) = different else { return Ok(None) };
        let mut packs = vec![pack];
        if !different.is_empty() {
            let fetched = self.remote.fetch(&self.wanted(different, None, None)).await?;
            read += fetched.length;
            packs.push(self.opened(fetched).await?.0);
        }
        Ok(Some((self.files_of(packs, false), read)))
    }

    fn files_of(&self, packs: Vec<Pack>, without_large: bool) -> Files {
        Files { packs, branch: self.tip.name.clone(), without_large }
    }

    async fn commits(&self, object: Arc<str>, commit: ObjectId) -> Result<u64, ConnectorError> {
        let limit = self.account.config.commit_limit();
        let filter = self.abilities.filter.then(|| "blob:none".to_owned());
        let fetched = self.remote.fetch(&self.wanted(vec![commit], Some(limit), filter)).await?;
        let read = fetched.length;
        let (pack, boundary) = self.opened(fetched).await?;
        self.blocking(move |sender| list_commits(&sender, object, commit, pack, boundary, limit as usize, read)).await
    }

    fn wanted(&self, objects: Vec<ObjectId>, depth: Option<u32>, filter: Option<String>) -> Wanted {
        Wanted { objects, depth, filter, limit: self.account.config.repository_limit() }
    }

    async fn opened(&self, fetched: Fetched) -> Result<(Pack, HashSet<ObjectId>), ConnectorError> {
        let Fetched { file, boundary, length: _ } = fetched;
        let opening = open(&self.account.config, file);
        tokio::select! {
            pack = opening => Ok((pack?, boundary)),
            () = self.output.closed() => Err(ConnectorError::Stopped(crate::connectors::reading::Stopped)),
        }
    }

    /// Works on the blocking pool and sends from there.
    async fn blocking(
        &self,
        work: impl FnOnce(Sender) -> Result<u64, ConnectorError> + Send + 'static,
    ) -> Result<u64, ConnectorError> {
        let sender = Sender { output: self.output.clone(), sample: self.request.sample };
        tokio::task::spawn_blocking(move || work(sender)).await.map_err(failed)?
    }
}

/// Scans a pack and names its objects; ends when it is dropped.
pub(super) async fn open(config: &Config, file: std::fs::File) -> Result<Pack, ConnectorError> {
    let limits =
        Limits { object: config.file_limit().max(OBJECT_BYTES), work: config.repository_limit().saturating_mul(WORK) };
    let (_guard, stop) = StopOnDrop::new();
    let opened = tokio::task::spawn_blocking(move || Pack::of(file, limits, &stop)).await.map_err(failed)?;
    opened.map_err(failed)
}

/// Names of the files that a commit has and an earlier one has not; none where they
/// are too many.
fn different(
    pack: &Pack,
    commit: &ObjectId,
    before: &ObjectId,
    config: &Config,
) -> Result<Option<Vec<ObjectId>>, TreeError> {
    let selection = Selection::of(config);
    let mut earlier = HashSet::new();
    let mut walk = Walk::of(pack, &commit::tree_of(pack, before)?, |folder| selection.enters(folder))?;
    while let Some(entry) = walk.next()? {
        earlier.insert(entry.id);
        if earlier.len() > MOST_COMPARED {
            return Ok(None);
        }
    }
    let mut different = HashSet::new();
    let mut walk = Walk::of(pack, &commit::tree_of(pack, commit)?, |folder| selection.enters(folder))?;
    while let Some(entry) = walk.next()? {
        let is_taken = entry.kind == EntryKind::File && entry.problem.is_none() && selection.takes(&entry.path);
        if is_taken && !earlier.contains(&entry.id) {
            different.insert(entry.id);
            if different.len() > MOST_CHANGED {
                return Ok(None);
            }
        }
    }
    Ok(Some(different.into_iter().collect()))
}

/// Sends from a thread of the blocking pool.
struct Sender {
    output: Output,
    sample: Option<u64>,
}

impl Sender {
    fn start(&self, object: &Arc<str>, estimate: Option<u64>) -> Result<(), ConnectorError> {
        self.output.blocking_send(Message::Started(Scope { object: object.clone(), estimate }))
    }

    fn batch(
        &self,
        object: &Arc<str>,
        shape: &Arc<Shape>,
        records: &mut Vec<RawRecord>,
        read: &mut u64,
    ) -> Result<(), ConnectorError> {
        if records.is_empty() {
            return Ok(());
        }
        let (records, bytes_read) = (std::mem::take(records), std::mem::take(read));
        let batch = Batch { object: object.clone(), records, bytes_read, position: None, shape: shape.clone() };
        self.output.blocking_send(Message::Batch(batch))
    }

    fn is_enough(&self, counted: u64) -> bool {
        self.sample.is_some_and(|sample| counted >= sample)
    }
}

fn list_files(
    sender: &Sender,
    object: Arc<str>,
    commit: ObjectId,
    config: &Config,
    shape: Arc<Shape>,
    mut read: u64,
) -> Result<u64, ConnectorError> {
    let ShapeOf::Files(Files { packs, branch, .. }) = &shape.0 else { return Err(failed(TreeError::Damaged)) };
    let pack = packs.first().ok_or_else(|| failed(TreeError::Damaged))?;
    let selection = Selection::of(config);
    sender.start(&object, None)?;
    let tree = commit::tree_of(pack, &commit).map_err(failed)?;
    let mut walk = Walk::of(pack, &tree, |folder| selection.enters(folder)).map_err(failed)?;
    let mut records = Vec::new();
    let mut counted = 0;
    while let Some(entry) = walk.next().map_err(failed)? {
        if let Some((code, message)) = entry.problem {
            let (object, source_key, message) = (object.clone(), entry.path, message.to_owned());
            counted += 1;
            sender.output.blocking_send(Message::RecordFailed { object, source_key, code, message })?;
            continue;
        }
        if entry.kind != EntryKind::File || !selection.takes(&entry.path) {
            continue;
        }
        counted += 1;
        records.push(file_record(entry.path, &entry.id, branch));
        if records.len() >= BATCH_RECORDS {
            sender.batch(&object, &shape, &mut records, &mut read)?;
        }
        if sender.is_enough(counted) {
            break;
        }
    }
    sender.batch(&object, &shape, &mut records, &mut read)?;
    Ok(counted)
}

/// The name of a file's content stands for the content; the branch is in addresses.
fn file_record(path: String, id: &ObjectId, branch: &str) -> RawRecord {
    let fingerprint = Fingerprint::of(&[id.as_slice(), branch.as_bytes()].concat());
    let payload = Bytes::from([id.as_slice(), path.as_bytes()].concat());
    RawRecord { source_key: path, fingerprint, payload }
}

fn list_commits(
    sender: &Sender,
    object: Arc<str>,
    commit: ObjectId,
    pack: Pack,
    boundary: HashSet<ObjectId>,
    limit: usize,
    mut read: u64,
) -> Result<u64, ConnectorError> {
    let found = commit::history(&pack, &commit, &boundary, limit).map_err(failed)?;
    sender.start(&object, Some(found.len() as u64))?;
    let shape = Arc::new(Shape(ShapeOf::Commits { pack, boundary }));
    let mut records = Vec::new();
    let mut counted = 0;
    for id in found {
        counted += 1;
        let payload = Bytes::copy_from_slice(id.as_slice());
        records.push(RawRecord { source_key: id.to_string(), fingerprint: Fingerprint::of(&payload), payload });
        if records.len() >= BATCH_RECORDS {
            sender.batch(&object, &shape, &mut records, &mut read)?;
        }
        if sender.is_enough(counted) {
            break;
        }
    }
    sender.batch(&object, &shape, &mut records, &mut read)?;
    Ok(counted)
}

/// What the server sent is damaged, or too much.
pub(super) fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ConnectorError {
    let error = error.into();
    let of_pack = error.downcast_ref::<PackError>();
    let is_too_large = match error.downcast_ref::<TreeError>() {
        Some(TreeError::TooLarge | TreeError::Pack(PackError::TooLarge(_))) => true,
        Some(TreeError::Damaged | TreeError::Pack(_)) => false,
        None => matches!(of_pack, Some(PackError::TooLarge(_))),
    };
    if is_too_large {
        let reason = "names a repository that has more, or larger, files and folders than are taken";
        return super::remote::invalid(super::remote::URL, reason);
    }
    ConnectorError::Unexpected(error)
}
