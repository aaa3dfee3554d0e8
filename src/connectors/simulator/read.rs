//! One pass over a simulated source.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::connectors::ConnectorError;
use crate::connectors::reading::{Message, Output, ReadRequest, Rest, Scope};
use crate::connectors::simulator::config::{Config, Fault, FaultKind};
use crate::connectors::simulator::world::{self, World};
use crate::record::{Batch, RawRecord};

const BATCH_RECORDS: usize = 1_000;
const BATCH_BYTES: usize = 1024 * 1024;
/// A slow source shows what it has given so often.
const BATCH_TIME: Duration = Duration::from_millis(100);

/// Reads everything, as far as the script lets it.
pub(super) async fn pass(
    config: &Config,
    pass: u64,
    request: &ReadRequest,
    output: &Output,
) -> Result<(), ConnectorError> {
    if config.fault(pass, FaultKind::ListingFailed, None).is_some() {
        return Err(cut());
    }
    if config.fault(pass, FaultKind::EmptyListing, None).is_some() {
        return output.send(Message::Objects(Vec::new())).await;
    }
    let world = World::new(config, pass);
    let scope = |number| Scope { object: world::name_of(number).into(), estimate: Some(world.records()) };
    output.send(Message::Objects((0..config.objects()).map(scope).collect())).await?;
    for number in 0..config.objects() {
        let Scope { object, estimate } = scope(number);
        if request.finished.iter().any(|finished| **finished == *object) {
            continue;
        }
        output.send(Message::Started(Scope { object: object.clone(), estimate })).await?;
        let mut reader = Reader { config, pass, number, object, output, batch: Pending::default() };
        reader.read(&world, request.sample).await?;
    }
    Ok(())
}

fn cut() -> ConnectorError {
    ConnectorError::Unreachable { code: "unreachable", cause: None }
}

/// What has become of an object at a record.
enum Struck {
    /// Nothing; the record is read.
    No,
    /// The record is left out.
    Record,
    /// The object is over.
    Object,
    /// It seems to end here.
    End,
}

struct Reader<'a> {
    config: &'a Config,
    pass: u64,
    number: u64,
    object: Arc<str>,
    output: &'a Output,
    batch: Pending,
}

/// Records that were read and not sent.
struct Pending {
    records: Vec<RawRecord>,
    bytes: usize,
    since: Instant,
}

impl Default for Pending {
    fn default() -> Self {
        Self { records: Vec::new(), bytes: 0, since: Instant::now() }
    }
}

impl Reader<'_> {
    async fn read(&mut self, world: &World<'_>, sample: Option<u64>) -> Result<(), ConnectorError> {
        let delay = Duration::from_millis(self.config.record_delay_ms());
        let wanted = sample.unwrap_or(u64::MAX);
        for (count, record) in (0_u64..).zip(world.numbers()) {
            if count >= wanted {
                break;
            }
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            match self.strike(count, record).await? {
                Struck::No => self.take(world.record(self.number, record)).await?,
                Struck::Record => {}
                Struck::Object => return Ok(()),
                Struck::End => break,
            }
        }
        self.send().await?;
        if sample.is_some() {
            // A sample proves nothing.
            return Ok(());
        }
        let object = self.object.clone();
        self.output.send(Message::Complete { object, counted: None, rest: Rest::Gone, mark: None }).await
    }

    /// Lets go wrong what the script says of this record.
    async fn strike(&mut self, count: u64, record: u64) -> Result<Struck, ConnectorError> {
        let config = self.config;
        let due: Vec<&Fault> =
            config.faults_of(self.pass, self.number).filter(|fault| fault.after() == count).collect();
        for fault in due {
            match fault.kind {
                FaultKind::Cut => {
                    self.send().await?;
                    return Err(cut());
                }
                FaultKind::Throttled => {
                    self.send().await?;
                    return Err(ConnectorError::Throttled { retry_after: Duration::from_secs(fault.seconds()) });
                }
                FaultKind::Wait => self.wait(Duration::from_secs(fault.seconds())).await?,
                FaultKind::Lost => return Ok(Struck::End),
                FaultKind::ObjectFailed => {
                    self.send().await?;
                    let (object, code) = (self.object.clone(), "unreadable");
                    let message = "the script of this simulator fails the object".to_owned();
                    self.output.send(Message::Failed { object, code, message }).await?;
                    return Ok(Struck::Object);
                }
                FaultKind::RecordFailed => {
                    self.send().await?;
                    let (object, source_key) = (self.object.clone(), world::key(record));
                    let message = "the script of this simulator fails the record".to_owned();
                    let failed = Message::RecordFailed { object, source_key, code: "unreadable", message };
                    self.output.send(failed).await?;
                    return Ok(Struck::Record);
                }
                // These strike before there is an object.
                FaultKind::LoginRefused | FaultKind::ListingFailed | FaultKind::EmptyListing => {}
            }
        }
        Ok(Struck::No)
    }

    async fn wait(&mut self, time: Duration) -> Result<(), ConnectorError> {
        self.send().await?;
        let (until, reason) = (SystemTime::now() + time, "the script of this simulator says so".to_owned());
        self.output.send(Message::Waiting { until, reason }).await?;
        tokio::time::sleep(time).await;
        Ok(())
    }

    async fn take(&mut self, record: RawRecord) -> Result<(), ConnectorError> {
        self.batch.bytes += record.payload.len();
        self.batch.records.push(record);
        let is_full = self.batch.records.len() >= BATCH_RECORDS || self.batch.bytes >= BATCH_BYTES;
        if is_full || self.batch.since.elapsed() >= BATCH_TIME { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> Result<(), ConnectorError> {
        let Pending { records, bytes, since: _ } = std::mem::take(&mut self.batch);
        if records.is_empty() {
            return Ok(());
        }
        let object = self.object.clone();
        let batch = Batch { object, records, bytes_read: bytes as u64, position: None, shape: Arc::new(()) };
        self.output.send(Message::Batch(batch)).await
    }
}
