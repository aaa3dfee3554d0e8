//! The connection test: the stages of a pass, then one row of each object, with the code
//! that a pass reads with.

use std::collections::HashMap;
use std::time::Instant;

use super::catalog::Table;
use super::object::{ObjectError, begin, next};
use super::plan::{Read, Which};
use super::read::{self, PERMISSION_MISSING, layout_of, path_of, planned};
use super::selection::Selection;
use super::session::Session;
use super::{MySql, session};
use crate::connectors::{Account, ConnectorError};
use crate::egress::Timeouts;
use crate::report::{Report, StageKind};

/// Most objects that a test reads.
const TESTED_OBJECTS: usize = 200;

/// Tries every stage of a pass, with one row of each object.
pub(super) async fn check(account: &Account<MySql>, report: &mut Report) -> Result<(), ConnectorError> {
    let mut session = session::open(account, report).await?;
    let began = Instant::now();
    let outcome = check_objects(account, &mut session, report).await;
    if outcome.is_err() && report.passed() {
        let hint = "the list of tables could not be read; try again";
        report.failed(StageKind::Permission, None, began.elapsed(), "unreachable", hint);
    }
    session.close().await;
    outcome
}

async fn check_objects(
    account: &Account<MySql>,
    session: &mut Session,
    report: &mut Report,
) -> Result<(), ConnectorError> {
    let limits = account.resources.dialer.timeouts();
    let selection = Selection::new(&account.config);
    let began = Instant::now();
    let mut tables = read::selected(session, limits, &selection).await?;
    let mut outcome = Ok(());
    for (database, name, position) in selection.named() {
        if tables.iter().any(|table| (&table.database, &table.name) == (&database, &name)) {
            continue;
        }
        let named = &account.config.tables[position];
        let hint = "there is no such table; names are written as discovery shows them";
        report.failed(StageKind::Permission, Some(named), began.elapsed(), "object_missing", hint);
        let reason = "names a table that is not there".to_owned();
        outcome = outcome.and(Err(ConnectorError::Invalid { field: format!("config.tables[{position}]"), reason }));
    }
    if selection.has_cursors() {
        if let Err(error) = read::checked_cursors(session, limits, &selection, &tables).await {
            if matches!(error, ConnectorError::Invalid { .. }) {
                let hint = "correct `config.cursorColumns`: each names columns of dates, times or whole numbers";
                report.failed(StageKind::Permission, None, began.elapsed(), "cursor_unusable", hint);
            }
            outcome = outcome.and(Err(error));
        } else if session.horizon.is_none() {
            let hint = "everything is read each time: grant the login PROCESS, and name a server that is no replica";
            report.ok_with(StageKind::Permission, began.elapsed(), "cursor_unused", hint);
        }
    }
    if tables.len() > TESTED_OBJECTS {
        let hint = "the first 200 objects are tested; a sync reads them all";
        report.ok_with(StageKind::Permission, began.elapsed(), "some_not_tested", hint);
        tables.truncate(TESTED_OBJECTS);
    }
    for table in &tables {
        let tested = check_object(session, limits, table, &selection, report).await;
        let session_is_gone = matches!(tested, Err(ConnectorError::Unreachable { .. }));
        outcome = outcome.and(tested);
        if session_is_gone {
            break;
        }
    }
    outcome
}

async fn check_object(
    session: &mut Session,
    limits: Timeouts,
    table: &Table,
    selection: &Selection<'_>,
    report: &mut Report,
) -> Result<(), ConnectorError> {
    let object = path_of(table);
    let began = Instant::now();
    let read = match table.is_hidden {
        true => Err(ObjectError::Object(PERMISSION_MISSING.0, PERMISSION_MISSING.1)),
        false => read_one(session, limits, table, selection).await,
    };
    match read {
        Ok(()) => {
            report.ok(StageKind::Permission, Some(&object), began.elapsed());
            report.ok(StageKind::Read, Some(&object), began.elapsed());
            Ok(())
        }
        Err(ObjectError::Object(code, _)) if code == PERMISSION_MISSING.0 => {
            let hint = "grant the login SELECT on the table";
            report.failed(StageKind::Permission, Some(&object), began.elapsed(), "permission_missing", hint);
            Err(ConnectorError::Forbidden { object })
        }
        Err(ObjectError::Object(code, message)) => {
            report.ok(StageKind::Permission, Some(&object), began.elapsed());
            report.failed(StageKind::Read, Some(&object), began.elapsed(), code, message);
            Err(ConnectorError::Unexpected(message.into()))
        }
        Err(ObjectError::Session(error)) => {
            let (code, hint) = match &error {
                ConnectorError::Unreachable { code: "timed_out", .. } => {
                    ("timed_out", "the server sent no row for too long; leave the object out, or make it faster")
                }
                _ => ("unreachable", "the connection broke while a row was read; try again"),
            };
            report.failed(StageKind::Read, Some(&object), began.elapsed(), code, hint);
            Err(error)
        }
    }
}

async fn read_one(
    session: &mut Session,
    limits: Timeouts,
    table: &Table,
    selection: &Selection<'_>,
) -> Result<(), ObjectError> {
    let undecodable = || ObjectError::Object("undecodable", "a row was read, but cannot become a document");
    let layout = layout_of(session, limits, table).await?;
    let plan = planned(table, &layout, selection)?;
    let mut rows = begin(session, limits, &plan.rows(&Which::First(1))).await?;
    while let Some(row) = next(&mut rows, limits).await? {
        match plan.read(&row, &mut HashMap::new()).ok_or_else(undecodable)? {
            Read::Record(record) => {
                plan.shape.decode(&path_of(table), &record).map_err(|_| undecodable())?;
            }
            // A row that is too large fails alone.
            Read::TooLarge { .. } => {}
        }
    }
    Ok(())
}
