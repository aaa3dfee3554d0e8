//! One object on its way: whole, or only what moved since an earlier pass, or on
//! from where a pass broke off; whichever is the least that proves the same.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::PostgreSql;
use super::catalog::{self, Table};
use super::cursor::Cursor;
use super::failure::Failure;
use super::guard::is_cut;
use super::heap::{Heap, Moved};
use super::line;
use super::read::{ObjectError, PERMISSION_MISSING, Rows, SILENT, copy, next_line};
use super::session::{self, Session};
use super::shape::{self, Keys, Shape};
use crate::connectors::reading::{Known, Message, Output, ReadRequest, Rest, Scope};
use crate::connectors::rows::cursors;
use crate::connectors::{Account, ConnectorError};
use crate::egress::Timeouts;
use crate::failpoint;
use crate::record::{Batch, RawRecord};

/// Most records of a batch.
const BATCH_RECORDS: usize = 1000;
/// A batch ends when its rows are this large together.
const BATCH_BYTES: usize = 1024 * 1024;
/// Largest row.
pub(super) const LARGEST_ROW: usize = 16 * 1024 * 1024;
/// Above this estimate, counting would take too long.
const LARGEST_COUNT: u64 = 50_000_000;
/// How long the rows may be counted, in seconds. Where nothing is read when the
/// count says that nothing moved, it may take longer.
const COUNT_SECONDS: u64 = 20;
const PROOF_SECONDS: u64 = 120;
/// Keys of one message.
const KEYS_AT_ONCE: usize = 4096;

/// An object and the session that reads it.
pub(super) struct Pass<'a> {
    pub(super) account: &'a Account<PostgreSql>,
    pub(super) session: &'a Session,
    pub(super) limits: Timeouts,
    pub(super) output: &'a Output,
    pub(super) table: &'a Table,
    pub(super) object: Arc<str>,
    pub(super) shape: Arc<Shape>,
    /// Where rows can be told apart by when they were written.
    pub(super) heap: Option<Heap>,
    /// Else, where a column tells of changes.
    pub(super) cursor: Option<Cursor>,
}

/// How an object is read.
enum Way {
    /// So many rows, whichever come first.
    Sample(u64),
    /// Everything.
    Whole,
    /// What moved, of so many rows.
    Moved { moved: Moved, rows: u64 },
    /// What a cursor column tells of, of so many rows.
    Changed { condition: String, rows: u64 },
    /// What moved in the blocks before, then those from this block on.
    GoOn { block: u32, moved: Moved, rows: u64 },
}

/// Rows of the table in this snapshot, and how many of them moved.
struct Counts {
    rows: u64,
    moved: u64,
    /// The mark of the cursor column, if there is one.
    cursor: Option<Value>,
}

/// What is known at the end.
struct Outcome {
    rest: Rest,
    /// The whole object is in line with the snapshot.
    is_proof: bool,
    /// Rows may have been missing that the snapshot has.
    was_rewritten: bool,
}

impl Outcome {
    fn of(rest: Rest, is_proof: bool) -> Self {
        Self { rest, is_proof, was_rewritten: false }
    }
}

impl Pass<'_> {
    /// Reads the object and says how it ended.
    pub(super) async fn run(&self, mut scope: Scope, request: &ReadRequest) -> Result<(), ConnectorError> {
        let known = request.known.get(&*self.object);
        let place = request.positions.as_ref().and_then(|places| places.get(&*self.object));
        let on = |heap: &Heap| place.and_then(|place| heap.go_on_from(place));
        let go_on = self.heap.as_ref().and_then(on);
        let since = |heap: &Heap| known.and_then(|known| heap.moved_since(&known.mark["heap"]));
        let moved = self.heap.as_ref().and_then(since);
        let changed = self.changed_since(known);
        let counts = match (self.shape.row_limit, request.sample) {
            (None, None) => {
                let condition = moved.as_ref().map(Moved::condition).or(changed.as_deref());
                self.count(condition, known).await?
            }
            _ => None,
        };
        let rows = counts.as_ref().map(|counts| counts.rows);
        scope.estimate = rows.or(scope.estimate);
        let cursor = counts.as_ref().and_then(|counts| counts.cursor.clone());
        let counted = rows.filter(|_| self.table.is_countable());
        let way = match (request.sample, go_on, moved, counts) {
            (None, None, None, Some(Counts { rows, moved, .. })) => match changed {
                Some(condition) if moved.saturating_mul(3) <= rows => Way::Changed { condition, rows },
                Some(_) | None => Way::Whole,
            },
            (Some(sample), ..) => Way::Sample(sample),
            (None, Some((block, moved)), _, Some(Counts { rows, .. })) => Way::GoOn { block, moved, rows },
            (None, None, Some(moved), Some(Counts { rows, moved: count, .. })) => {
                if count == 0 && known.is_some_and(|known| known.records == rows) {
                    let mark = self.mark().unwrap_or_default();
                    let object = scope.object;
                    return self.output.send(Message::Unmoved { object, records: rows, mark }).await;
                }
                // Where much has moved, one reading is cheaper than two.
                if count.saturating_mul(3) > rows { Way::Whole } else { Way::Moved { moved, rows } }
            }
            (None, ..) => Way::Whole,
        };
        self.output.send(Message::Started(scope)).await?;
        let ended = match self.read(way, request.positions.is_some()).await {
            Ok(Outcome { rest, is_proof, was_rewritten }) => Message::Complete {
                object: self.object.clone(),
                counted: counted.filter(|_| !was_rewritten),
                rest,
                mark: match cursor.filter(|_| !was_rewritten) {
                    Some(cursor) => Some(json!({"cursor": cursor})),
                    None => self.mark().filter(|_| is_proof),
                },
            },
            Err(ObjectError::Object(code, message)) => {
                Message::Failed { object: self.object.clone(), code, message: message.to_owned() }
            }
            Err(ObjectError::Silent) => {
                return Err(ConnectorError::Unreachable { code: "timed_out", cause: None });
            }
            Err(ObjectError::Session(error)) => return Err(error),
        };
        self.output.send(ended).await
    }

    /// What a cursor column tells of, unless it is time to read everything again.
    fn changed_since(&self, known: Option<&Known>) -> Option<String> {
        let (cursor, known) = self.cursor.as_ref().zip(known)?;
        let is_due = cursors::reconcile_is_due(known.proved_at, self.account.config.reconcile_hours);
        if is_due { None } else { cursor.changed_since(&known.mark["cursor"]) }
    }

    fn mark(&self) -> Option<Value> {
        self.heap.as_ref().map(|heap| json!({"heap": heap.mark()}))
    }

    /// Rows of the table in this snapshot, where it is cheap: they give the
    /// progress its total, show whether any were lost, and may prove that nothing
    /// has changed at all.
    async fn count(&self, moved: Option<&str>, known: Option<&Known>) -> Result<Option<Counts>, ConnectorError> {
        let table = self.table;
        let is_needed = moved.is_some() || self.cursor.is_some();
        let is_large = table.estimate.is_some_and(|rows| rows > LARGEST_COUNT);
        if !table.readable || (!is_needed && (is_large || !table.is_countable())) {
            return Ok(None);
        }
        let seconds = if is_needed { PROOF_SECONDS } else { COUNT_SECONDS };
        self.session.begin_object(self.limits).await?;
        let client = &self.session.client;
        let counted = async {
            client.batch_execute(&format!("SET LOCAL statement_timeout = '{seconds}s'")).await?;
            let highest = self.cursor.as_ref().map(Cursor::highest);
            let row = client.query_one(&self.shape.count_statement(moved, highest.as_deref()), &[]).await?;
            let mark = match (&self.cursor, row.try_get::<_, Option<&str>>(2)?) {
                (Some(cursor), Some(highest)) => {
                    let earlier = known.map_or(&Value::Null, |known| &known.mark["cursor"]);
                    cursor.mark(client, highest, earlier).await?
                }
                // An empty cursor is never left.
                (Some(_), None) | (None, _) => None,
            };
            Ok::<_, tokio_postgres::Error>((row.try_get::<_, i64>(0)?, row.try_get::<_, i64>(1)?, mark))
        };
        let limit = self.limits.first_byte.max(Duration::from_secs(if is_needed { seconds + 10 } else { 0 }));
        let counted = match tokio::time::timeout(limit, counted).await {
            Ok(Ok((rows, moved, cursor))) => {
                let number = |number| u64::try_from(number).unwrap_or(0);
                Some(Counts { rows: number(rows), moved: number(moved), cursor })
            }
            Ok(Err(error)) => {
                let failure = Failure::from(error);
                if failure.fatal {
                    return Err(failure.into_error());
                }
                None
            }
            Err(_) => return Err(ConnectorError::Unreachable { code: "timed_out", cause: None }),
        };
        self.session.end_object(self.limits).await?;
        Ok(counted)
    }

    async fn read(&self, way: Way, is_first: bool) -> Result<Outcome, ObjectError> {
        if !self.table.readable {
            return Err(ObjectError::Object(PERMISSION_MISSING.0, PERMISSION_MISSING.1));
        }
        self.session.begin_object(self.limits).await?;
        let is_sample = matches!(way, Way::Sample(_));
        let outcome = match self.read_by(way, is_first).await {
            Ok(_) if !is_sample && self.was_rewritten().await? => {
                Ok(Outcome { rest: Rest::Unknown, is_proof: false, was_rewritten: true })
            }
            outcome => outcome,
        };
        if !matches!(outcome, Err(ObjectError::Session(_))) {
            self.session.end_object(self.limits).await?;
        }
        outcome
    }

    /// What another transaction rewrote after our snapshot, as some `ALTER TABLE` do
    /// and `TRUNCATE` does, looks empty in it: nothing that was missing is proved
    /// gone then. Our lock, which is held since the rows were asked for, sees to it
    /// that the table of now is the one that was read.
    async fn was_rewritten(&self) -> Result<bool, ObjectError> {
        let asked = async {
            self.session.client.query_one(catalog::REWRITTEN, &[&self.table.oid, &self.table.is_alone()]).await
        };
        match tokio::time::timeout(self.limits.first_byte, asked).await {
            Ok(row) => row.and_then(|row| row.try_get(0)).map_err(|error| Failure::from(error).into()),
            Err(_) => Err(ObjectError::Session(ConnectorError::Unreachable { code: "timed_out", cause: None })),
        }
    }

    async fn read_by(&self, way: Way, is_first: bool) -> Result<Outcome, ObjectError> {
        let mut keys = Keys::new(&self.shape);
        let whole = Outcome::of(Rest::Gone, true);
        match way {
            Way::Sample(sample) => {
                self.rows(&mut keys, shape::Rows::Sample(sample), false).await?;
                Ok(Outcome::of(Rest::Gone, false))
            }
            Way::Whole => {
                self.rows(&mut keys, shape::Rows::All, is_first && self.heap.is_some()).await?;
                Ok(whole)
            }
            Way::Moved { moved, rows } => {
                self.rows(&mut keys, shape::Rows::Where(moved.condition()), false).await?;
                self.account_for(&mut keys, rows, &format!("NOT {}", moved.condition())).await
            }
            Way::Changed { condition, rows } => {
                self.rows(&mut keys, shape::Rows::Where(&condition), false).await?;
                self.account_for_promised(&mut keys, rows, &format!("NOT {condition}")).await
            }
            Way::GoOn { block, moved, rows } => {
                let before = format!("t.ctid < '({block},0)'");
                let moved_before = format!("{before} AND {}", moved.condition());
                self.rows(&mut keys, shape::Rows::Where(&moved_before), false).await?;
                self.rows(&mut keys, shape::Rows::Where(&format!("t.ctid >= '({block},0)'")), true).await?;
                self.account_for(&mut keys, rows, &format!("{before} AND NOT {}", moved.condition())).await
            }
        }
    }

    /// The rows that were not read are as the index has them, unless some are
    /// gone: the count tells, and then their keys say which.
    async fn account_for(&self, keys: &mut Keys<'_>, rows: u64, not_read: &str) -> Result<Outcome, ObjectError> {
        let reached = self.output.ask(&self.object).await?;
        let there = reached.known + reached.new;
        // The count would mend a place that is ahead of the index.
        if rows == there || failpoint::mutant("position_before_batch") {
            return Ok(Outcome::of(Rest::Unmoved, true));
        }
        if rows < there {
            self.present(keys, not_read).await?;
        } else {
            // Rows that the index should have and has not: read what is left.
            self.rows(keys, shape::Rows::Where(not_read), false).await?;
        }
        Ok(Outcome::of(Rest::Gone, true))
    }

    /// The same where nothing is proved of the rows that were not read: they are
    /// not said to be as the index has them, but where they were read too.
    async fn account_for_promised(
        &self,
        keys: &mut Keys<'_>,
        rows: u64,
        not_read: &str,
    ) -> Result<Outcome, ObjectError> {
        let reached = self.output.ask(&self.object).await?;
        let there = reached.known + reached.new;
        // The count would mend a place that is ahead of the index.
        if rows == there || failpoint::mutant("position_before_batch") {
            return Ok(Outcome::of(Rest::Unknown, false));
        }
        if rows < there && self.shape.has_key() {
            self.present(keys, not_read).await?;
            return Ok(Outcome::of(Rest::Listed, false));
        }
        self.rows(keys, shape::Rows::Where(not_read), false).await?;
        Ok(Outcome::of(Rest::Gone, true))
    }

    /// Sends rows; `with_place` lets a later attempt go on from each batch.
    async fn rows(&self, keys: &mut Keys<'_>, wanted: shape::Rows<'_>, with_place: bool) -> Result<(), ObjectError> {
        let statement = self.shape.copy_statement(wanted, with_place);
        self.copied(&statement, async |rows| self.send_rows(rows, keys, with_place).await).await
    }

    /// Sends the keys of rows that are as the index has them.
    async fn present(&self, keys: &mut Keys<'_>, wanted: &str) -> Result<(), ObjectError> {
        self.copied(&self.shape.keys_statement(wanted), async |rows| self.send_keys(rows, keys).await).await
    }

    /// Takes what a statement gives; one that falls silent is interrupted.
    async fn copied(
        &self,
        statement: &str,
        take: impl AsyncFnOnce(&mut Rows<'_>) -> Result<(), ObjectError>,
    ) -> Result<(), ObjectError> {
        let mut rows = pin!(match copy(self.session, self.limits, statement).await {
            Err(ObjectError::Silent) => {
                session::interrupt(self.account, self.session).await?;
                return Err(SILENT);
            }
            started => started?,
        });
        let outcome = take(&mut rows).await;
        if matches!(outcome, Err(ObjectError::Silent)) {
            session::interrupt(self.account, self.session).await?;
            // What was under way, up to the server's word that it has stopped.
            while next_line(&mut rows, self.limits).await.is_ok_and(|line| line.is_some()) {}
            return Err(SILENT);
        }
        outcome
    }

    async fn send_rows(&self, rows: &mut Rows<'_>, keys: &mut Keys<'_>, with_place: bool) -> Result<(), ObjectError> {
        let mut records = Vec::with_capacity(BATCH_RECORDS);
        let mut bytes = 0;
        let mut block = None;
        while let Some(line) = next_line(rows, self.limits).await? {
            bytes += line.len();
            // What is cut off lacks its place; it is refused in any case.
            let line = if with_place && !is_cut(&line) {
                let broken = |_| ObjectError::Object("undecodable", "a row came without its place");
                let (line, place) = line::without_place(&line).map_err(broken)?;
                block = Some(place);
                line
            } else {
                line
            };
            match self.record(keys, line) {
                Ok(record) => records.push(record),
                Err(failed) => self.output.send(*failed).await?,
            }
            if records.len() >= BATCH_RECORDS || bytes >= BATCH_BYTES {
                let records = std::mem::replace(&mut records, Vec::with_capacity(BATCH_RECORDS));
                self.send_batch(records, std::mem::take(&mut bytes), block).await?;
            }
        }
        self.send_batch(records, bytes, block).await.map_err(ObjectError::from)
    }

    async fn send_keys(&self, rows: &mut Rows<'_>, keys: &mut Keys<'_>) -> Result<(), ObjectError> {
        let mut source_keys = Vec::with_capacity(KEYS_AT_ONCE);
        let send = async |source_keys: Vec<String>| {
            self.output.send(Message::Present { object: self.object.clone(), source_keys }).await
        };
        while let Some(line) = next_line(rows, self.limits).await? {
            // A key that cannot be read is that of a record that failed before.
            if let Ok(key) = keys.of_key(&line) {
                source_keys.push(key);
            }
            if source_keys.len() >= KEYS_AT_ONCE {
                send(std::mem::replace(&mut source_keys, Vec::with_capacity(KEYS_AT_ONCE))).await?;
            }
        }
        send(source_keys).await.map_err(ObjectError::from)
    }

    fn record(&self, keys: &mut Keys<'_>, line: Bytes) -> Result<RawRecord, Box<Message>> {
        let failed = |source_key: String, code, message: &str| {
            Box::new(Message::RecordFailed {
                object: self.object.clone(),
                source_key,
                code,
                message: message.to_owned(),
            })
        };
        let fingerprint = self.shape.fingerprint(&line);
        let unnamed = || format!("[\"#{:032x}\",1]", fingerprint.0);
        let is_too_large = line.len() > LARGEST_ROW || is_cut(&line);
        let source_key = match keys.of(&line) {
            Ok(key) => key,
            Err(_) if is_too_large => unnamed(),
            Err(_) => return Err(failed(unnamed(), "undecodable", "the row's key cannot be read")),
        };
        if is_too_large {
            return Err(failed(source_key, "too_large", "the row is larger than 16 MiB; leave out its large columns"));
        }
        Ok(RawRecord { source_key, fingerprint, payload: line })
    }

    async fn send_batch(
        &self,
        records: Vec<RawRecord>,
        bytes: usize,
        block: Option<u32>,
    ) -> Result<(), ConnectorError> {
        if records.is_empty() {
            return Ok(());
        }
        let place =
            self.heap.as_ref().zip(block).and_then(|(heap, block)| serde_json::to_value(heap.place(block)).ok());
        let batch = Batch {
            object: self.object.clone(),
            records,
            bytes_read: bytes as u64,
            position: place,
            shape: self.shape.clone(),
        };
        self.output.send(Message::Batch(batch)).await
    }
}
