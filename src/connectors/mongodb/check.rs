//! The connection test: the stages of a pass, then one document of each collection, with
//! the code that a pass reads with.

use std::time::Instant;

use super::catalog::{self, Collection};
use super::object::Pass;
use super::read::{ObjectError, PERMISSION_MISSING};
use super::selection::Selection;
use super::session::{self, Session};
use super::{MongoDb, Shape};
use crate::connectors::reading::{Message, Output, ReadRequest};
use crate::connectors::{Account, ConnectorError};
use crate::report::{Report, StageKind};

/// Most collections that a test reads.
const TESTED_OBJECTS: usize = 200;

/// Tries every stage of a pass, with one document of each collection.
pub(super) async fn check(account: &Account<MongoDb>, report: &mut Report) -> Result<(), ConnectorError> {
    let mut session = session::open(account, report).await?;
    let limits = account.resources.dialer.timeouts();
    let selection = Selection::new(&account.config);
    let began = Instant::now();
    let mut collections = match catalog::selected(&mut session, limits, &selection).await {
        Ok(collections) => collections,
        Err(error) => {
            let (code, hint) = match &error {
                ConnectorError::Forbidden { .. } => (
                    "permission_missing",
                    "the login may not list the databases or their collections; grant it the role `read`, and name the \
                     databases in `config.databases`",
                ),
                _ => ("unreachable", "the list of collections could not be read; try again"),
            };
            report.failed(StageKind::Permission, None, began.elapsed(), code, hint);
            return Err(error);
        }
    };
    let mut outcome = Ok(());
    for (database, name, position) in selection.named() {
        if collections.iter().any(|one| (&one.database, &one.name) == (&database, &name)) {
            continue;
        }
        let named = &account.config.collections[position];
        let hint = "there is no such collection; names are written as discovery shows them";
        report.failed(StageKind::Permission, Some(named), began.elapsed(), "object_missing", hint);
        let (field, reason) = (format!("config.collections[{position}]"), "names a collection that is not there");
        outcome = outcome.and(Err(ConnectorError::Invalid { field, reason: reason.to_owned() }));
    }
    if collections.len() > TESTED_OBJECTS {
        let hint = "the first 200 collections are tested; a sync reads them all";
        report.ok_with(StageKind::Permission, began.elapsed(), "some_not_tested", hint);
        collections.truncate(TESTED_OBJECTS);
    }
    for collection in &collections {
        let tested = check_object(account, &mut session, collection, report).await;
        let session_is_gone = matches!(tested, Err(ConnectorError::Unreachable { .. }));
        outcome = outcome.and(tested);
        if session_is_gone {
            break;
        }
    }
    outcome
}

async fn check_object(
    account: &Account<MongoDb>,
    session: &mut Session,
    collection: &Collection,
    report: &mut Report,
) -> Result<(), ConnectorError> {
    let object = collection.path();
    let began = Instant::now();
    match read_one(account, session, collection).await {
        Ok(()) => {
            report.ok(StageKind::Permission, Some(&object), began.elapsed());
            report.ok(StageKind::Read, Some(&object), began.elapsed());
            Ok(())
        }
        Err(ObjectError::Object(code, _)) if code == PERMISSION_MISSING.0 => {
            let hint = "grant the login the role `read` on the database";
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
                    ("timed_out", "the server sent nothing for too long; leave the collection out")
                }
                _ => ("unreachable", "the connection broke while a document was read; try again"),
            };
            report.failed(StageKind::Read, Some(&object), began.elapsed(), code, hint);
            Err(error)
        }
    }
}

/// Reads one document as a pass would.
async fn read_one(
    account: &Account<MongoDb>,
    session: &mut Session,
    collection: &Collection,
) -> Result<(), ObjectError> {
    let (output, mut messages) = Output::channel(4);
    let request = ReadRequest { sample: Some(1), ..ReadRequest::default() };
    Pass::new(account, session, &output, collection)?.run(&request).await?;
    drop(output);
    while let Some(message) = messages.recv().await {
        let Message::Batch(batch) = message else { continue };
        let shape = batch.shape.downcast_ref::<Shape>();
        for record in &batch.records {
            if shape.and_then(|shape| shape.decode(&batch.object, record).ok()).is_none() {
                return Err(ObjectError::Object(
                    "undecodable",
                    "a document was read, but cannot become one of the index",
                ));
            }
        }
    }
    Ok(())
}
