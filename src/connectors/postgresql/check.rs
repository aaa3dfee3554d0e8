//! The connection test: the stages of a pass, then one row of each object, with
//! the code that a pass reads with.

use std::pin::pin;
use std::time::Instant;

use super::catalog::{self, Table};
use super::read::{ObjectError, PERMISSION_MISSING, copy, layouts_of, next_line, path_of};
use super::selection::Selection;
use super::session::Session;
use super::shape::{Keys, Rows, Shape};
use super::{PostgreSql, document, session};
use crate::connectors::{Account, ConnectorError};
use crate::egress::Timeouts;
use crate::record::RawRecord;
use crate::report::{Report, StageKind};

/// Most objects that a test reads.
const TESTED_OBJECTS: usize = 200;

/// Tries every stage of a pass, with one row of each object.
pub(super) async fn check(account: &Account<PostgreSql>, report: &mut Report) -> Result<(), ConnectorError> {
    let session = session::open(account, report).await?;
    let began = Instant::now();
    let outcome = check_objects(account, &session, report).await;
    if outcome.is_err() && report.passed() {
        let hint = "the list of tables could not be read; try again";
        report.failed(StageKind::Permission, None, began.elapsed(), "unreachable", hint);
    }
    session.close().await;
    outcome
}

async fn check_objects(
    account: &Account<PostgreSql>,
    session: &Session,
    report: &mut Report,
) -> Result<(), ConnectorError> {
    let limits = account.resources.dialer.timeouts();
    let selection = Selection::new(&account.config);
    let began = Instant::now();
    let all = catalog::tables(session, limits.first_byte).await?;
    let present = all.iter().map(|table| (table.schema.as_str(), table.name.as_str()));
    let mut outcome = Ok(());
    for position in selection.missing(present) {
        let named = &account.config.tables[position];
        let hint = "there is no such table; names are written as discovery shows them";
        report.failed(StageKind::Permission, Some(named), began.elapsed(), "object_missing", hint);
        let reason = "names a table that is not there".to_owned();
        outcome = outcome.and(Err(ConnectorError::Invalid { field: format!("config.tables[{position}]"), reason }));
    }
    let mut tables: Vec<Table> =
        all.into_iter().filter(|table| selection.tables().includes(&table.schema, &table.name)).collect();
    if selection.has_cursors() {
        let layouts = layouts_of(session, limits, &tables).await?;
        if let Err(error) = selection.check_cursors(&tables, &layouts) {
            let hint = "correct `config.cursorColumns`: each names columns of dates, timestamps or whole numbers";
            report.failed(StageKind::Permission, None, began.elapsed(), "cursor_unusable", hint);
            outcome = outcome.and(Err(error));
        }
    }
    if !selection.is_explicit() {
        let before = tables.len();
        tables.retain(|table| table.readable);
        if tables.len() < before {
            let hint = "some tables cannot be read with this login; they are not synced until it is granted SELECT";
            report.ok_with(StageKind::Permission, began.elapsed(), "some_not_readable", hint);
        }
    }
    if tables.len() > TESTED_OBJECTS {
        let hint = "the first 200 objects are tested; a sync reads them all";
        report.ok_with(StageKind::Permission, began.elapsed(), "some_not_tested", hint);
        tables.truncate(TESTED_OBJECTS);
    }
    let mut layouts = layouts_of(session, limits, &tables).await?;
    for table in &tables {
        let shape = Shape::new(table, layouts.remove(&table.oid).unwrap_or_default(), &selection);
        let tested = check_object(session, limits, table, &shape, report).await;
        let session_is_gone = matches!(tested, Err(ConnectorError::Unreachable { .. }));
        outcome = outcome.and(tested);
        if session_is_gone {
            break;
        }
    }
    outcome
}

async fn check_object(
    session: &Session,
    limits: Timeouts,
    table: &Table,
    shape: &Shape,
    report: &mut Report,
) -> Result<(), ConnectorError> {
    let object = path_of(table);
    let began = Instant::now();
    let forbidden = |report: &mut Report| {
        let hint = "grant the login USAGE on the schema and SELECT on the table";
        report.failed(StageKind::Permission, Some(&object), began.elapsed(), "permission_missing", hint);
        Err(ConnectorError::Forbidden { object: object.clone() })
    };
    if !table.readable {
        return forbidden(report);
    }
    session.begin_object(limits).await?;
    let read = read_one(session, limits, shape).await;
    if matches!(read, Ok(()) | Err(ObjectError::Object(..))) {
        session.end_object(limits).await?;
    }
    match read {
        Ok(()) => {
            report.ok(StageKind::Permission, Some(&object), began.elapsed());
            report.ok(StageKind::Read, Some(&object), began.elapsed());
            Ok(())
        }
        Err(ObjectError::Object(code, _)) if code == PERMISSION_MISSING.0 => forbidden(report),
        Err(ObjectError::Object(code, message)) => {
            report.ok(StageKind::Permission, Some(&object), began.elapsed());
            report.failed(StageKind::Read, Some(&object), began.elapsed(), code, message);
            Err(ConnectorError::Unexpected(message.into()))
        }
        Err(ObjectError::Silent) => {
            let hint = "the server sent no row for too long; leave the object out, or make it faster";
            report.failed(StageKind::Read, Some(&object), began.elapsed(), "timed_out", hint);
            Err(ConnectorError::Unreachable { code: "timed_out", cause: None })
        }
        Err(ObjectError::Session(error)) => {
            let hint = "the connection broke while a row was read; try again";
            report.failed(StageKind::Read, Some(&object), began.elapsed(), "unreachable", hint);
            Err(error)
        }
    }
}

async fn read_one(session: &Session, limits: Timeouts, shape: &Shape) -> Result<(), ObjectError> {
    let statement = shape.copy_statement(Rows::Sample(1), false);
    let mut rows = pin!(copy(session, limits, &statement).await?);
    let mut keys = Keys::new(shape);
    while let Some(line) = next_line(&mut rows, limits).await? {
        let undecodable = ObjectError::Object("undecodable", "a row was read, but cannot become a document");
        let Ok(source_key) = keys.of(&line) else { return Err(undecodable) };
        let record = RawRecord { source_key, fingerprint: shape.fingerprint(&line), payload: line };
        document::decode(shape, &record).map_err(|_| undecodable)?;
    }
    Ok(())
}
