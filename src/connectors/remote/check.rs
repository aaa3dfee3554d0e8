//! The part of a test that is the same for all stores: the objects, and a file of
//! each.

use std::time::Instant;

use super::walk::Walk;
use super::{ListError, Store, read};
use crate::connectors::ConnectorError;
use crate::connectors::documents::choice::Choice;
use crate::connectors::loading::LoadError;
use crate::report::{Report, StageKind};

/// Objects that a test reads of.
const MOST_TRIED: usize = 20;
/// Pages of an object that are looked through for its first file.
const MOST_PAGES: usize = 5;

/// Opens a file of each object, of the first few.
pub(in crate::connectors) async fn check<S: Store>(
    store: &S,
    choice: &Choice,
    report: &mut Report,
) -> Result<(), ConnectorError> {
    let selection = choice.selection();
    let mut refused = None;
    for scope in read::objects(store, &selection, None).await?.into_iter().take(MOST_TRIED) {
        let began = Instant::now();
        let object = &*scope.object;
        let mut walk = Walk::of(store, object, &selection);
        let Err(error) = first_file(store, &mut walk).await else {
            report.ok(StageKind::Read, Some(object), began.elapsed());
            continue;
        };
        let (code, hint) = words(&error);
        report.failed(StageKind::Read, Some(object), began.elapsed(), code, hint);
        refused.get_or_insert(match error {
            LoadError::Source(error) => error,
            LoadError::Record(_) => ConnectorError::Forbidden { object: object.to_owned() },
        });
    }
    refused.map_or(Ok(()), Err)
}

/// Opens the first file that is there; an object may have none.
async fn first_file<S: Store>(store: &S, walk: &mut Walk<'_, S>) -> Result<(), LoadError> {
    for _ in 0..MOST_PAGES {
        let Some(files) = walk.next().await.map_err(as_load_error)? else { break };
        let Some((path, stamp)) = files.into_iter().find(|(_, stamp)| stamp.size > 0) else { continue };
        return match store.open(&path, &stamp, u64::MAX).await {
            // It is only not there any more as it was.
            Ok(_) => Ok(()),
            Err(LoadError::Record(error)) if error.code != "permission_missing" => Ok(()),
            Err(error) => Err(error),
        };
    }
    Ok(())
}

fn as_load_error(error: ListError) -> LoadError {
    match error {
        ListError::Source(error) => error.into(),
        ListError::Forbidden => ConnectorError::Forbidden { object: "a folder".to_owned() }.into(),
        other => ConnectorError::Unexpected(Box::new(other)).into(),
    }
}

fn words(error: &LoadError) -> (&'static str, &'static str) {
    match error {
        LoadError::Record(_) | LoadError::Source(ConnectorError::Forbidden { .. }) => {
            ("permission_missing", "let the login list this folder and read its files, or exclude it")
        }
        LoadError::Source(ConnectorError::LoginRefused(_)) => ("login_refused", "check the credentials"),
        LoadError::Source(ConnectorError::Throttled { .. }) => {
            ("throttled", "the server asks to wait; try again later")
        }
        LoadError::Source(ConnectorError::Unreachable { code, .. }) => (code, "the connection broke; try again"),
        LoadError::Source(_) => ("unreachable", "the server does not answer as it should"),
    }
}
