//! One object on its way: whole, or only what changed since an earlier pass, or on from
//! where a pass broke off; whichever is the least that proves the same.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::catalog::Table;
use super::cursor::Cursor;
use super::failure::Failure;
use super::plan::{Plan, Read, Which};
use super::session::{Row, Rows, Session};
use super::sql;
use crate::connectors::ConnectorError;
use crate::connectors::reading::{Known, Message, Output, ReadRequest, Rest, Scope};
use crate::connectors::rows::cursors;
use crate::egress::Timeouts;
use crate::record::{Batch, RawRecord};

const BATCH_RECORDS: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;
/// Above this estimate, counting would take too long.
const LARGEST_COUNT: u64 = 50_000_000;
/// How long the rows may be counted, in seconds; longer where it saves a reading.
const COUNT_SECONDS: u64 = 20;
const PROOF_SECONDS: u64 = 120;
/// Keys of one message.
const KEYS_AT_ONCE: usize = 4096;

/// Why an object could not be read to its end.
pub(super) enum ObjectError {
    /// Code and words; the others go on.
    Object(&'static str, &'static str),
    /// The session is gone.
    Session(ConnectorError),
}

impl From<ConnectorError> for ObjectError {
    fn from(error: ConnectorError) -> Self {
        Self::Session(error)
    }
}

impl From<Failure> for ObjectError {
    fn from(failure: Failure) -> Self {
        if failure.fatal {
            return Self::Session(failure.into_error());
        }
        let (code, message) = failure.of_object();
        Self::Object(code, message)
    }
}

pub(super) const ODD: ObjectError = ObjectError::Object("read_failed", "the server sent rows that were not asked for");

/// Where a pass that broke off had come to.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    identity: String,
    /// What lies up to this row was read.
    after: Vec<String>,
}

/// An object and the session that reads it.
pub(super) struct Pass<'a> {
    pub(super) session: &'a mut Session,
    pub(super) limits: Timeouts,
    pub(super) output: &'a Output,
    pub(super) table: &'a Table,
    pub(super) object: Arc<str>,
    pub(super) plan: &'a Plan,
    /// Where a column tells of changes.
    pub(super) cursor: Option<Cursor>,
    pub(super) reconcile_hours: Option<u64>,
    /// How often a row without a key was seen.
    pub(super) seen: HashMap<u128, u64>,
}

/// How an object is read.
enum Way {
    /// So many rows, of which the first come first.
    First(u64),
    /// Everything.
    Whole,
    /// What a cursor column tells of, of so many rows.
    Changed { condition: String, rows: u64 },
    /// What lies behind a place, of so many rows.
    GoOn { behind: String, rows: u64 },
}

/// Rows of the table in this snapshot, and how many of them changed.
struct Counts {
    rows: u64,
    changed: u64,
    /// The mark of the cursor column, if there is one.
    cursor: Option<Value>,
}

impl Pass<'_> {
    /// Reads the object and says how it ended, after its beginning was said.
    pub(super) async fn run(&mut self, scope: &Scope, request: &ReadRequest) -> Result<(), ObjectError> {
        if let Some(sample) = request.sample {
            let first = self.plan.limit.map_or(sample, |limit| limit.min(sample));
            // A sample proves nothing, so nothing is said to be complete.
            return self.rows(&Which::First(first), false).await;
        }
        let known = request.known.get(&*self.object);
        let changed = self.changed_since(known);
        let counts = match self.plan.limit {
            None => self.count(scope, changed.as_deref(), known).await?,
            Some(_) => None,
        };
        let is_first = request.positions.is_some() && self.plan.limit.is_none();
        let place = request.positions.as_ref().and_then(|places| self.behind(places.get(&*self.object)?));
        let way = match (self.plan.limit, place, &counts, changed) {
            (Some(limit), ..) => Way::First(limit),
            (None, Some(behind), Some(Counts { rows, .. }), _) => Way::GoOn { behind, rows: *rows },
            // Where much has changed, one reading is cheaper than two.
            (None, None, Some(Counts { rows, changed, .. }), Some(condition)) if changed.saturating_mul(3) <= *rows => {
                Way::Changed { condition, rows: *rows }
            }
            (None, ..) => Way::Whole,
        };
        let went_on = matches!(way, Way::GoOn { .. });
        let rest = self.read(way, is_first).await?;
        let counted = counts.as_ref().map(|counts| counts.rows).filter(|_| !self.table.is_view);
        // Where it went on, what was read before is not of this snapshot.
        let mark = counts.and_then(|counts| counts.cursor).filter(|_| !went_on).map(|cursor| json!({"cursor": cursor}));
        let object = self.object.clone();
        Ok(self.output.send(Message::Complete { object, counted, rest, mark }).await?)
    }

    /// What a cursor column tells of, unless it is time to read everything again.
    fn changed_since(&self, known: Option<&Known>) -> Option<String> {
        let (cursor, known) = self.cursor.as_ref().zip(known)?;
        let is_due = cursors::reconcile_is_due(known.proved_at, self.reconcile_hours);
        if is_due { None } else { cursor.changed_since(&known.mark["cursor"]) }
    }

    fn behind(&self, place: &Value) -> Option<String> {
        let place = Place::deserialize(place).ok()?;
        if place.identity == self.identity() { self.plan.behind(&place.after) } else { None }
    }

    /// The table with its columns; another of the same name is another.
    fn identity(&self) -> String {
        format!("{} {}", self.plan.identity(), self.table.created)
    }

    /// Rows of the table in this snapshot, where it is cheap or needed.
    async fn count(
        &mut self,
        scope: &Scope,
        changed: Option<&str>,
        known: Option<&Known>,
    ) -> Result<Option<Counts>, ObjectError> {
        let is_needed = self.cursor.is_some();
        let is_large = scope.estimate.is_some_and(|rows| rows > LARGEST_COUNT);
        if !is_needed && (is_large || self.table.is_view) {
            return Ok(None);
        }
        let seconds = if is_needed { PROOF_SECONDS } else { COUNT_SECONDS };
        let counting = self.plan.count(changed, self.cursor.as_ref().map(|cursor| cursor.column.as_str()));
        let statement = sql::limited(self.session.is_mariadb, seconds, &counting);
        let limit = self.limits.first_byte.max(Duration::from_secs(seconds + 10));
        let rows = match tokio::time::timeout(limit, self.session.all(&statement, 1)).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(failure)) if failure.fatal || failure.is_forbidden() || failure.is_missing() => {
                return Err(failure.into());
            }
            Ok(Err(_)) => return Ok(None),
            Err(_) => return Err(timed_out()),
        };
        let text = |index: usize| {
            let value = rows.first()?.get(index)?.as_deref()?;
            String::from_utf8(value.to_vec()).ok()
        };
        let number = |index: usize| text(index).and_then(|text| text.parse::<u64>().ok());
        let (Some(rows), Some(changed)) = (number(0), number(1)) else { return Err(ODD) };
        let earlier = known.map_or(&Value::Null, |known| &known.mark["cursor"]);
        // An empty cursor is never left.
        let cursor = self.cursor.as_ref().zip(text(2)).and_then(|(cursor, highest)| cursor.mark(&highest, earlier));
        Ok(Some(Counts { rows, changed, cursor }))
    }

    async fn read(&mut self, way: Way, is_first: bool) -> Result<Rest, ObjectError> {
        match way {
            Way::First(limit) => {
                self.rows(&Which::First(limit), false).await?;
                Ok(Rest::Gone)
            }
            Way::Whole => {
                self.rows(&Which::All, is_first).await?;
                Ok(Rest::Gone)
            }
            Way::Changed { condition, rows } => {
                self.rows(&Which::Where(condition.clone()), false).await?;
                self.account_for(&condition, rows).await
            }
            Way::GoOn { behind, rows } => {
                self.rows(&Which::Where(behind.clone()), is_first).await?;
                self.account_for(&behind, rows).await
            }
        }
    }

    /// After the rows that fulfil a condition: where the count is not what the index
    /// has by then, the others are looked at too; only their keys, if it says that some
    /// are gone.
    async fn account_for(&mut self, condition: &str, rows: u64) -> Result<Rest, ObjectError> {
        let reached = self.output.ask(&self.object).await?;
        let there = reached.known + reached.new;
        if rows == there {
            return Ok(Rest::Unknown);
        }
        let others = Which::Where(format!("NOT ({condition})"));
        if rows < there && self.plan.has_key() {
            self.keys(&others).await?;
            return Ok(Rest::Listed);
        }
        self.rows(&others, false).await?;
        Ok(Rest::Gone)
    }

    async fn rows(&mut self, which: &Which, has_places: bool) -> Result<(), ObjectError> {
        let has_places = has_places && self.plan.has_places();
        let statement = self.plan.rows(which);
        let identity = self.identity();
        let Self { session, limits, output, object, plan, seen, .. } = self;
        let mut rows = begin(session, *limits, &statement).await?;
        let mut batch = Vec::new();
        let (mut bytes, mut place) = (0, None);
        let send = async |records: Vec<RawRecord>, bytes: usize, place: Option<Vec<String>>| {
            if records.is_empty() {
                return Ok(());
            }
            let place = place.map(|after| Place { identity: identity.clone(), after });
            let batch = Batch {
                object: object.clone(),
                records,
                bytes_read: bytes as u64,
                position: place.and_then(|place| serde_json::to_value(place).ok()),
                shape: plan.shape.clone(),
            };
            output.send(Message::Batch(batch)).await
        };
        while let Some(row) = next(&mut rows, *limits).await? {
            match plan.read(&row, seen) {
                Some(Read::Record(record)) => {
                    if has_places {
                        place = plan.place_of(&row);
                    }
                    bytes += record.payload.len();
                    batch.push(record);
                }
                Some(Read::TooLarge { source_key }) => {
                    let message = "the row is larger than 7 MiB; leave out its large columns".to_owned();
                    let object = object.clone();
                    output.send(Message::RecordFailed { object, source_key, code: "too_large", message }).await?;
                }
                None => return Err(ODD),
            }
            if batch.len() >= BATCH_RECORDS || bytes >= BATCH_BYTES {
                send(std::mem::take(&mut batch), std::mem::take(&mut bytes), place.take()).await?;
            }
        }
        Ok(send(batch, bytes, place).await?)
    }

    async fn keys(&mut self, which: &Which) -> Result<(), ObjectError> {
        let statement = self.plan.keys(which);
        let mut rows = begin(self.session, self.limits, &statement).await?;
        let mut source_keys = Vec::new();
        while let Some(row) = next(&mut rows, self.limits).await? {
            source_keys.push(self.plan.source_key(&row).ok_or(ODD)?);
            if source_keys.len() >= KEYS_AT_ONCE {
                let source_keys = std::mem::take(&mut source_keys);
                self.output.send(Message::Present { object: self.object.clone(), source_keys }).await?;
            }
        }
        Ok(self.output.send(Message::Present { object: self.object.clone(), source_keys }).await?)
    }
}

fn timed_out() -> ObjectError {
    ObjectError::Session(ConnectorError::Unreachable { code: "timed_out", cause: None })
}

/// Begins a statement and waits for the first that is heard of it.
pub(super) async fn begin<'s>(
    session: &'s mut Session,
    limits: Timeouts,
    statement: &str,
) -> Result<Rows<'s>, ObjectError> {
    match tokio::time::timeout(limits.first_byte, session.rows(statement)).await {
        Ok(rows) => Ok(rows?),
        Err(_) => Err(timed_out()),
    }
}

/// Waits for the next row.
pub(super) async fn next(rows: &mut Rows<'_>, limits: Timeouts) -> Result<Option<Row>, ObjectError> {
    match tokio::time::timeout(limits.idle, rows.next()).await {
        Ok(row) => Ok(row?),
        Err(_) => Err(timed_out()),
    }
}
