//! One pass over the mailboxes: each new message is fetched once, and what is there
//! of the others is told by their numbers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::failure::{Failure, Refusal};
use super::fetch::{self, Fetched, Listed, Part};
use super::mailbox::{self, Mark, State};
use super::mailboxes::Mailbox;
use super::settings::Config;
use super::wire::Wire;
use super::{Imap, Shape, document, later, mailboxes, session};
use crate::connectors::reading::{Known, Message, Output, ReadRequest, Rest, Scope, Stopped};
use crate::connectors::{Account, ConnectorError};
use crate::record::{Batch, RawRecord};
use crate::report::Report;

/// Messages, and bytes by the server's word, that are fetched at once.
const CHUNK_MESSAGES: usize = 100;
const CHUNK_BYTES: u64 = 1024 * 1024;
/// Messages that are told of at once.
const CHUNK_RECORDS: usize = 1_000;
/// What a header counts for.
const HEADER_BYTES: u64 = 4 * 1024;
/// After so many bytes in one batch we wait until it is applied: a few large
/// messages would else fill the memory while they wait.
const LARGE_BATCH: usize = 2 * 1024 * 1024;
/// Keys of one message.
const KEYS_AT_ONCE: usize = 4_096;
/// Messages of a mailbox that the server may list and not give.
const MOST_REFUSED: u32 = 1_000;
/// How long we wait when the server has no time, again and again.
const PAUSES: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(15), Duration::from_secs(60)];

/// Where a first sync that broke off had come to.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    validity: u32,
    /// All messages up to this number are in the index.
    after: u32,
}

/// Reads every selected mailbox.
pub(super) async fn read(account: &Account<Imap>, request: ReadRequest, output: Output) -> Result<(), ConnectorError> {
    tokio::select! {
        outcome = pass(account, &request, &output) => outcome,
        () = output.closed() => Err(ConnectorError::Stopped(Stopped)),
    }
}

async fn pass(account: &Account<Imap>, request: &ReadRequest, output: &Output) -> Result<(), ConnectorError> {
    let config = &account.config;
    let mut wire = session::open(account, &mut Report::default()).await?;
    let mut mailboxes = mailboxes::list(&mut wire).await?;
    mailboxes.retain(|mailbox| mailbox.is_selected(config));
    let scope = |mailbox: &Mailbox| Scope { object: Arc::from(mailbox.path.as_str()), estimate: None };
    output.send(Message::Objects(mailboxes.iter().map(scope).collect())).await?;
    for mailbox in mailboxes.iter().filter(|mailbox| !request.finished.contains(&mailbox.path)) {
        let object: Arc<str> = Arc::from(mailbox.path.as_str());
        let mut reading = Reading::new(&mut wire, config, output, object.clone());
        match reading.run(mailbox, request).await {
            Ok(()) => {}
            Err(Failure::Refused(refusal)) => {
                if !reading.is_started {
                    output.send(Message::Started(scope(mailbox))).await?;
                }
                let (code, message) = refusal.of_mailbox();
                output.send(Message::Failed { object, code, message: message.to_owned() }).await?;
            }
            Err(failure) => return Err(failure.into_error()),
        }
    }
    wire.close().await;
    Ok(())
}

/// A mailbox that is being read.
struct Reading<'a> {
    wire: &'a mut Wire,
    config: &'a Config,
    output: &'a Output,
    object: Arc<str>,
    shape: Arc<Shape>,
    is_started: bool,
    /// Batches say where a later attempt can go on.
    has_positions: bool,
    batch: Vec<RawRecord>,
    batch_bytes: usize,
    /// The last message of the batch.
    reached: u32,
    /// Messages that went away since they were listed.
    vanished: u64,
    refused: u32,
    pauses: usize,
}

impl<'a> Reading<'a> {
    fn new(wire: &'a mut Wire, config: &'a Config, output: &'a Output, object: Arc<str>) -> Self {
        Self {
            wire,
            config,
            output,
            object,
            shape: Arc::new(Shape::default()),
            is_started: false,
            has_positions: false,
            batch: Vec::new(),
            batch_bytes: 0,
            reached: 0,
            vanished: 0,
            refused: 0,
            pauses: 0,
        }
    }

    async fn run(&mut self, mailbox: &Mailbox, request: &ReadRequest) -> Result<(), Failure> {
        let state = self.examine(mailbox).await?;
        let known = request.known.get(&mailbox.path).and_then(|known| Some((known, marked(known)?)));
        if let Some((known, mark)) = known
            && mark.is_unmoved(&state)
            && request.sample.is_none()
        {
            let (object, mark) = (self.object.clone(), known.mark.clone());
            return Ok(self.output.send(Message::Unmoved { object, records: known.records, mark }).await?);
        }
        let scope = Scope { object: self.object.clone(), estimate: Some(u64::from(state.exists)) };
        self.output.send(Message::Started(scope)).await?;
        self.is_started = true;
        if let Some(sample) = request.sample {
            return self.sample(&state, sample).await;
        }
        let is_valid = |mark: &Mark| mark.validity == state.validity && state.next.is_none_or(|next| next >= mark.next);
        let mark = known.map(|(_, mark)| mark).filter(is_valid);
        if let Some(mark) = mark
            && self.added(&state, mark).await?
        {
            return Ok(());
        }
        let place = request.positions.as_ref().and_then(|places| Place::deserialize(places.get(&mailbox.path)?).ok());
        let place = place.filter(|place| place.validity == state.validity);
        self.has_positions = request.positions.is_some();
        if mark.is_none() && request.positions.is_none() {
            // The index has some of them, and nothing says which.
            self.shape = Arc::new(Shape::of(mailbox, state.validity));
            return self.all(&state, 1, true).await;
        }
        let begin = mark.map(|mark| mark.next).or(place.map(|place| place.after.saturating_add(1)));
        self.all(&state, begin.unwrap_or(1), false).await
    }

    /// A sample proves nothing, so nothing is said to be complete.
    async fn sample(&mut self, state: &State, most: u64) -> Result<(), Failure> {
        let most = u32::try_from(most).unwrap_or(u32::MAX).min(1_000);
        let listed = fetch::last(self.wire, state.exists, most).await?;
        self.messages(state, &listed).await
    }

    /// Reads what is new. False when something else has changed too.
    async fn added(&mut self, state: &State, mark: Mark) -> Result<bool, Failure> {
        let listed = self.list(mark.next, state).await?;
        // What went away while we counted would be made up for by what came.
        self.wire.run("NOOP", |_| Ok(())).await?;
        if self.wire.has_expunged || !mark.has_lost_nothing(state, listed.len()) {
            return Ok(false);
        }
        self.messages(state, &listed).await?;
        let next = next(state, &listed, mark.next);
        let mark = Mark { validity: state.validity, next, count: mark.count + listed.len() as u64 };
        self.complete(None, Rest::Unmoved, mark).await?;
        Ok(true)
    }

    /// Lists all messages, and reads those from a number on, now or later; the index
    /// has those before it, as far as they are there.
    async fn all(&mut self, state: &State, begin: u32, is_later: bool) -> Result<(), Failure> {
        let listed = self.list(1, state).await?;
        let split = listed.partition_point(|message| message.uid < begin);
        for some in listed[..split].chunks(KEYS_AT_ONCE) {
            let wanted = some.iter().filter(|message| message.is_wanted);
            let source_keys = wanted.map(|message| document::key(state.validity, message.uid)).collect();
            self.output.send(Message::Present { object: self.object.clone(), source_keys }).await?;
        }
        if is_later {
            self.listings(state, &listed).await?;
        } else {
            self.messages(state, &listed[split..]).await?;
        }
        let wanted = listed.iter().filter(|message| message.is_wanted).count() as u64;
        let mark = Mark { validity: state.validity, next: next(state, &listed, begin), count: listed.len() as u64 };
        self.complete(Some(wanted.saturating_sub(self.vanished)), Rest::Gone, mark).await
    }

    async fn complete(&mut self, counted: Option<u64>, rest: Rest, mark: Mark) -> Result<(), Failure> {
        let mark = serde_json::to_value(mark).ok();
        Ok(self.output.send(Message::Complete { object: self.object.clone(), counted, rest, mark }).await?)
    }

    /// Tells of messages that are fetched where the index lacks them.
    async fn listings(&mut self, state: &State, listed: &[Listed]) -> Result<(), Failure> {
        let wanted: Vec<&Listed> = listed.iter().filter(|message| message.is_wanted).collect();
        for some in wanted.chunks(CHUNK_RECORDS) {
            let record = |message: &&Listed| document::listing(state.validity, message.uid, message.size);
            self.batch = some.iter().map(record).collect();
            self.flush(state).await?;
        }
        Ok(())
    }

    /// Fetches messages in the order of their numbers.
    async fn messages(&mut self, state: &State, listed: &[Listed]) -> Result<(), Failure> {
        let limit = self.config.size_limit();
        let part = |message: &Listed| later::part(limit, message.size);
        let (mut chunk, mut bytes, mut of) = (Vec::new(), 0, Part::Header);
        for message in listed.iter().filter(|message| message.is_wanted) {
            let cost = if part(message) == Part::Header { HEADER_BYTES } else { u64::from(message.size) };
            let is_full = chunk.len() >= CHUNK_MESSAGES || bytes + cost > CHUNK_BYTES;
            if !chunk.is_empty() && (is_full || part(message) != of) {
                self.chunk(state, &std::mem::take(&mut chunk), of).await?;
                bytes = 0;
            }
            of = part(message);
            bytes += cost;
            chunk.push(message.uid);
        }
        if chunk.is_empty() { Ok(()) } else { self.chunk(state, &chunk, of).await }
    }

    async fn chunk(&mut self, state: &State, uids: &[u32], part: Part) -> Result<(), Failure> {
        let mut fetched = self.fetch(uids, part).await?;
        for uid in uids {
            let message = match fetched.remove(uid) {
                Some(message) => Some(message),
                None => self.alone(state, *uid, part).await?,
            };
            if let Some(message) = message {
                self.batch_bytes += message.raw.len();
                self.batch.push(document::record(state.validity, message));
                self.reached = *uid;
            }
            if self.batch_bytes as u64 >= CHUNK_BYTES {
                self.flush(state).await?;
            }
        }
        self.flush(state).await
    }

    /// A message that did not come with the others: it was one too many, is gone, or
    /// cannot be given.
    async fn alone(&mut self, state: &State, uid: u32, part: Part) -> Result<Option<Fetched>, Failure> {
        if let Some(message) = self.fetch(&[uid], part).await?.remove(&uid) {
            return Ok(Some(message));
        }
        if !fetch::is_there(self.wire, uid).await? {
            self.vanished += 1;
            return Ok(None);
        }
        self.refused += 1;
        if self.refused > MOST_REFUSED {
            return Err(Failure::Refused(Refusal::Other));
        }
        let message = "the server lists the message and does not give it".to_owned();
        let (object, source_key) = (self.object.clone(), document::key(state.validity, uid));
        self.output.send(Message::RecordFailed { object, source_key, code: "unreadable", message }).await?;
        Ok(None)
    }

    async fn flush(&mut self, state: &State) -> Result<(), Failure> {
        let (records, bytes) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.batch_bytes));
        if records.is_empty() {
            return Ok(());
        }
        let place = self.has_positions.then_some(Place { validity: state.validity, after: self.reached });
        let batch = Batch {
            object: self.object.clone(),
            records,
            bytes_read: bytes as u64,
            position: place.and_then(|place| serde_json::to_value(place).ok()),
            shape: self.shape.clone(),
        };
        self.output.send(Message::Batch(batch)).await?;
        if bytes >= LARGE_BATCH {
            self.output.ask(&self.object).await?;
        }
        Ok(())
    }

    async fn examine(&mut self, mailbox: &Mailbox) -> Result<State, Failure> {
        loop {
            match mailbox::examine(self.wire, mailbox).await {
                Err(Failure::Busy) => self.pause().await?,
                outcome => return outcome,
            }
        }
    }

    async fn list(&mut self, first: u32, state: &State) -> Result<Vec<Listed>, Failure> {
        loop {
            match fetch::list(self.wire, (first, state.next), self.config.since()).await {
                Err(Failure::Busy) => self.pause().await?,
                outcome => return outcome,
            }
        }
    }

    /// What the server refuses to give is given as nothing.
    async fn fetch(&mut self, uids: &[u32], part: Part) -> Result<BTreeMap<u32, Fetched>, Failure> {
        loop {
            match fetch::messages(self.wire, uids, part, 2 * CHUNK_BYTES as usize).await {
                Err(Failure::Busy) => self.pause().await?,
                Err(Failure::Refused(_)) => return Ok(BTreeMap::new()),
                outcome => return outcome,
            }
        }
    }

    /// Waits for a server that has no time, and says so. At the end the whole sync
    /// waits.
    async fn pause(&mut self) -> Result<(), Failure> {
        let Some(pause) = PAUSES.get(self.pauses) else { return Err(Failure::Busy) };
        self.pauses += 1;
        let (until, reason) = (SystemTime::now() + *pause, "the mail server has no time just now".to_owned());
        self.output.send(Message::Waiting { until, reason }).await?;
        tokio::time::sleep(*pause).await;
        Ok(())
    }
}

fn marked(known: &Known) -> Option<Mark> {
    Mark::deserialize(&known.mark).ok()
}

/// The number from which on everything is new to the next sync.
fn next(state: &State, listed: &[Listed], least: u32) -> u32 {
    let behind = listed.last().map_or(1, |message| message.uid.saturating_add(1));
    state.next.unwrap_or(behind.max(least))
}
