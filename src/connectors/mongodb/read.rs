//! A pass over the selected collections, one after the other.

use super::catalog::{self, Collection};
use super::failure::Failure;
use super::object::Pass;
use super::selection::Selection;
use super::{MongoDb, session};
use crate::connectors::reading::{Message, Output, ReadRequest, Scope};
use crate::connectors::{Account, ConnectorError};
use crate::report::Report;

pub(super) const PERMISSION_MISSING: (&str, &str) =
    ("permission_missing", "the login may not read this object; grant it the role `read`");

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
        if failure.is_fatal() {
            return Self::Session(failure.into_error());
        }
        let (code, message) = failure.of_object();
        Self::Object(code, message)
    }
}

/// Reads everything that the config selects.
pub(super) async fn read(
    account: &Account<MongoDb>,
    request: ReadRequest,
    output: Output,
) -> Result<(), ConnectorError> {
    let limits = account.resources.dialer.timeouts();
    let mut session = session::open(account, &mut Report::default()).await?;
    let selection = Selection::new(&account.config);
    let collections = catalog::selected(&mut session, limits, &selection).await?;
    let mut scopes = Vec::with_capacity(collections.len());
    for collection in &collections {
        scopes.push(scope_of(account, &mut session, collection).await?);
    }
    output.send(Message::Objects(scopes.clone())).await?;
    for (collection, scope) in collections.iter().zip(scopes) {
        if request.finished.iter().any(|finished| **finished == *scope.object) {
            continue;
        }
        let object = scope.object.clone();
        output.send(Message::Started(scope)).await?;
        let mut pass = Pass::new(account, &mut session, &output, collection)?;
        let outcome = pass.run(&request).await;
        match outcome {
            Ok(()) => {}
            Err(ObjectError::Object(code, message)) => {
                output.send(Message::Failed { object, code, message: message.to_owned() }).await?;
            }
            Err(ObjectError::Session(error)) => return Err(error),
        }
    }
    Ok(())
}

async fn scope_of(
    account: &Account<MongoDb>,
    session: &mut session::Session,
    collection: &Collection,
) -> Result<Scope, ConnectorError> {
    let there = catalog::estimate(session, collection).await.map_err(Failure::into_error)?;
    let estimate = there.map(|there| account.config.document_limit.map_or(there, |limit| there.min(limit)));
    Ok(Scope { object: collection.path().into(), estimate })
}
