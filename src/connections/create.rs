//! Making a connection: everything is checked and nothing contacted, unless the
//! caller only wants to know whether it would work.

use serde_json::{Map, Value};

use super::trial::Following;
use super::{Connections, Tested, View, name_taken, schedule, trial};
use crate::access::Caller;
use crate::catalog::Source;
use crate::connectors::AuthMethod;
use crate::error::{Error, Reason, Violation};
use crate::ids::{CollectionId, ConnectionId};
use crate::store::collections::CreateError;
use crate::store::connections::{AuthState, Connection, NewConnection, Outcome, Schedule};
use crate::store::idempotency::Answer;

/// A connection as a caller wants it. Has no `Debug`: it carries credentials.
pub struct Draft {
    /// Collection to add it to.
    pub collection: CollectionId,
    /// Short name of the source.
    pub source: String,
    /// Display name.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Values of the source's auth fields.
    pub credentials: Map<String, Value>,
    /// Values of the source's config fields.
    pub config: Map<String, Value>,
    /// When it syncs by itself.
    pub schedule: Option<Schedule>,
    /// How it logs in; the source's first way when not given.
    pub auth_method: Option<AuthMethod>,
}

/// A draft that was checked and that its caller may carry out.
pub struct Admitted {
    collection: CollectionId,
    source: &'static str,
    name: String,
    description: Option<String>,
    credentials: Map<String, Value>,
    config: Map<String, Value>,
    schedule: Option<(Schedule, Option<i64>)>,
    auth_method: AuthMethod,
}

impl Connections {
    /// Checks a draft and the caller's right to it.
    pub async fn admit(&self, caller: &Caller, draft: Draft) -> Result<Admitted, Error> {
        let name = required_name("name", &draft.name)?;
        let collection = draft.collection;
        if self.store.collection(&collection).await?.is_none() {
            return Err(Error::not_found("collection", collection.as_str()));
        }
        caller.may(&collection)?;
        let source = self.catalog.get(&draft.source)?;
        let credentials = checked_credentials(source, &draft.credentials)?;
        let config = checked_config(source, &draft.config)?;
        let schedule = match draft.schedule {
            Some(given) => {
                schedule::allowed("schedule", source)?;
                Some(schedule::check("schedule", given, &source.spec, self.store.now().await?)?)
            }
            None => None,
        };
        Ok(Admitted {
            collection,
            source: source.spec.short_name,
            name,
            description: draft.description,
            credentials,
            config,
            schedule,
            auth_method: auth_method(source, draft.auth_method)?,
        })
    }

    /// Makes the connection. The answer to an idempotency key is stored together
    /// with it: a crash in between would otherwise make it twice.
    pub async fn create(&self, admitted: Admitted, answer: Option<Answer<View>>) -> Result<View, Error> {
        self.syncs.disk().require_room()?;
        let answer = answer.map(|answer| -> Answer<Connection> {
            Box::new(move |connection| answer(&View::of_new(connection.clone())))
        });
        let id = ConnectionId::mint();
        let sealed = self.seal(&admitted.collection, &id, 1, &admitted.credentials).await?;
        let (schedule, next_run_at) = admitted.schedule.map_or((None, None), |(schedule, next)| (Some(schedule), next));
        let new = NewConnection {
            id,
            collection: admitted.collection,
            source: admitted.source.to_owned(),
            name: admitted.name,
            description: admitted.description,
            auth_method: method_name(admitted.auth_method).to_owned(),
            config: admitted.config,
            credential_fields: admitted.credentials.keys().cloned().collect(),
            schedule,
            next_run_at,
            paused: false,
            sealed,
            auth: AuthState::Untested,
            outcome: Outcome::None,
        };
        let connection = self.store.insert_connection_answering(&new, answer).await.map_err(|error| match error {
            CreateError::NameTaken => name_taken(),
            CreateError::NoCollection => Error::not_found("collection", new.collection.as_str()),
            CreateError::Store(error) => error.into(),
        })?;
        Ok(View::of_new(connection))
    }

    /// Tests the draft and stores nothing.
    pub async fn try_out(&self, admitted: Admitted) -> Result<Tested, Error> {
        let sessions = self.syncs.sessions();
        let is_continuous = |(schedule, _): &(Schedule, Option<i64>)| schedule.continuous;
        let following =
            if admitted.schedule.as_ref().is_some_and(is_continuous) { Following::At(None) } else { Following::No };
        let session = sessions.open_with(admitted.source, admitted.credentials, admitted.config)?;
        trial::examine(session.as_ref(), following).await.into_result(admitted.source)
    }
}

/// The credentials in the shape that the source wants.
pub(super) fn checked_credentials(
    source: &Source,
    credentials: &Map<String, Value>,
) -> Result<Map<String, Value>, Error> {
    source.connector.credentials(credentials).map_err(|violations| {
        Error::violations(Reason::InvalidCredentials, violations).with("sourceShortName", source.spec.short_name)
    })
}

/// The config in the shape that the source wants.
pub(super) fn checked_config(source: &Source, config: &Map<String, Value>) -> Result<Map<String, Value>, Error> {
    source.connector.config(config).map_err(|violations| Error::violations(Reason::InvalidArgument, violations))
}

/// A name without blanks around it.
pub(super) fn required_name(field: &str, name: &str) -> Result<String, Error> {
    match name.trim() {
        "" => Err(Error::violations(
            Reason::InvalidArgument,
            vec![Violation::new(field, "REQUIRED", "must not be blank")],
        )),
        name => Ok(name.to_owned()),
    }
}

fn auth_method(source: &Source, wanted: Option<AuthMethod>) -> Result<AuthMethod, Error> {
    let offered = source.spec.auth_methods;
    match wanted {
        None => Ok(offered.first().copied().unwrap_or(AuthMethod::None)),
        Some(wanted) if offered.contains(&wanted) => Ok(wanted),
        Some(_) => Err(Error::invalid("auth_method", "INVALID_VALUE", "is not one that this source has")),
    }
}

/// The word that is stored.
fn method_name(method: AuthMethod) -> &'static str {
    match method {
        AuthMethod::Credentials => "credentials",
        AuthMethod::None => "none",
    }
}
