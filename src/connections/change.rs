//! Changing a connection. Name, description, schedule and pause may change while
//! a sync runs; credentials and config may not.

use serde_json::{Map, Value};

use super::create::{checked_config, checked_credentials, required_name};
use super::{Connections, View, schedule, update_error};
use crate::access::Caller;
use crate::catalog::Source;
use crate::error::Error;
use crate::etag;
use crate::store::connections::{Connection, ConnectionPatch, NewCredentials, Schedule};

/// What a caller changes; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// New name.
    pub name: Option<String>,
    /// New description, or none.
    pub description: Option<Option<String>>,
    /// Suspends or resumes the schedule.
    pub paused: Option<bool>,
    /// New schedule, or none; and the field that it was given in.
    pub schedule: Option<Option<Schedule>>,
}

impl Connections {
    /// Changes what may change at any time. `schedule_field` is where a schedule
    /// was given, for its violations.
    pub async fn update(
        &self,
        caller: &Caller,
        id: &str,
        changes: Changes,
        given_etag: Option<&str>,
        schedule_field: &str,
    ) -> Result<View, Error> {
        let connection = self.find(caller, id).await?;
        let patch = self.patch(&connection, changes, schedule_field).await?;
        let expected = etag::expected(given_etag, connection.version)?;
        let updated = self.store.update_connection(&connection.id, expected, patch).await;
        self.view(updated.map_err(|error| update_error(&connection.id, error))?).await
    }

    /// Replaces the whole set of credentials.
    pub async fn replace_credentials(
        &self,
        caller: &Caller,
        id: &str,
        credentials: &Map<String, Value>,
        given_etag: Option<&str>,
    ) -> Result<View, Error> {
        let connection = self.find(caller, id).await?;
        self.syncs.disk().require_room()?;
        let new = self.new_credentials(&connection, self.source(&connection)?, credentials).await?;
        let expected = etag::expected(given_etag, connection.version)?;
        let updated = self.store.replace_credentials(&connection.id, expected, new).await;
        self.view(updated.map_err(|error| update_error(&connection.id, error))?).await
    }

    /// Replaces the whole config. Stored credentials are never sent elsewhere or
    /// over a weaker channel than they were given for: then they are due again.
    pub async fn replace_config(
        &self,
        caller: &Caller,
        id: &str,
        config: &Map<String, Value>,
        credentials: Option<&Map<String, Value>>,
        given_etag: Option<&str>,
    ) -> Result<View, Error> {
        let connection = self.find(caller, id).await?;
        self.syncs.disk().require_room()?;
        let source = self.source(&connection)?;
        let config = checked_config(source, config)?;
        let new = match credentials {
            Some(credentials) => Some(self.new_credentials(&connection, source, credentials).await?),
            None if is_bound_elsewhere(source, &connection, &config) => return Err(credentials_needed()),
            None => None,
        };
        let expected = etag::expected(given_etag, connection.version)?;
        let updated = self.store.replace_config(&connection.id, expected, config, new).await;
        self.view(updated.map_err(|error| update_error(&connection.id, error))?).await
    }

    async fn patch(
        &self,
        connection: &Connection,
        changes: Changes,
        schedule_field: &str,
    ) -> Result<ConnectionPatch, Error> {
        let Changes { name, description, paused, schedule } = changes;
        let schedule = match schedule {
            None => None,
            Some(None) => Some(None),
            Some(Some(given)) => {
                let now = self.store.now().await?;
                let source = self.source(connection)?;
                schedule::allowed(schedule_field, source)?;
                Some(Some(schedule::check(schedule_field, given, &source.spec, now)?))
            }
        };
        let name = name.map(|name| required_name("source_connection.name", &name)).transpose()?;
        let description = description.map(|description| description.filter(|text| !text.is_empty()));
        Ok(ConnectionPatch { name, description, paused, schedule })
    }

    async fn new_credentials(
        &self,
        connection: &Connection,
        source: &Source,
        credentials: &Map<String, Value>,
    ) -> Result<NewCredentials, Error> {
        let credentials = checked_credentials(source, credentials)?;
        let version = connection.credentials_version;
        Ok(NewCredentials {
            sealed: self.seal(&connection.collection, &connection.id, version + 1, &credentials).await?,
            fields: credentials.keys().cloned().collect(),
            expected_credentials_version: version,
        })
    }
}

fn is_bound_elsewhere(source: &Source, connection: &Connection, config: &Map<String, Value>) -> bool {
    !source.spec.auth_fields.is_empty()
        && source.connector.binding(config) != source.connector.binding(&connection.config)
}

fn credentials_needed() -> Error {
    Error::invalid(
        "credentials",
        "REQUIRED",
        "must be given again, since this change would send the stored ones elsewhere or less safely",
    )
}
