//! Connections to rows and back.

use sea_orm::ActiveValue::{NotSet, Set};
use serde_json::{Map, Value};

use crate::store::connections::{
    AuthState, Connection, DeletionHold, Lifecycle, NewConnection, Outcome, Schedule, Sealed,
};
use crate::store::entities::{connection, sealed_credential};
use crate::store::fault::damaged;
use crate::store::{StoreError, words};

impl Lifecycle {
    pub(in crate::store) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deleting => "deleting",
        }
    }

    pub(in crate::store) fn parse(text: &str) -> Result<Self, StoreError> {
        words::read(&[Self::Active, Self::Deleting], Self::as_str, text)
    }
}

impl AuthState {
    pub(in crate::store) fn as_str(self) -> &'static str {
        match self {
            Self::Untested => "untested",
            Self::Ok => "ok",
            Self::Failed => "failed",
        }
    }
}

impl Outcome {
    pub(in crate::store) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// The row of a new connection.
pub(in crate::store) fn new(new: &NewConnection, now: i64) -> connection::ActiveModel {
    let NewConnection {
        id,
        collection,
        source,
        name,
        description,
        auth_method,
        config,
        credential_fields,
        schedule,
        next_run_at,
        paused,
        sealed: _,
        auth,
        outcome,
    } = new;
    let mut row = connection::ActiveModel {
        id: Set(id.to_string()),
        collection_id: Set(collection.to_string()),
        source: Set(source.clone()),
        name: Set(name.clone()),
        description: Set(description.clone()),
        auth_method: Set(auth_method.clone()),
        config: Set(Value::Object(config.clone()).to_string()),
        config_version: Set(1),
        credentials_version: Set(1),
        credentials_updated_at: Set(Some(now)),
        credential_fields: Set(names(credential_fields)),
        schedule_cron: NotSet,
        schedule_continuous: NotSet,
        schedule_time_zone: NotSet,
        next_run_at: Set(*next_run_at),
        paused: Set(*paused),
        lifecycle: Set(Lifecycle::Active.as_str().to_owned()),
        auth: Set(auth.as_str().to_owned()),
        outcome: Set(outcome.as_str().to_owned()),
        status_message: Set(None),
        hold_items: Set(None),
        hold_indexed_items: Set(None),
        hold_sync_id: Set(None),
        hold_created_at: Set(None),
        created_at: Set(now),
        updated_at: Set(now),
        version: Set(1),
    };
    set_schedule(&mut row, schedule.as_ref());
    row
}

/// Puts a schedule, or none, into a row.
pub(in crate::store) fn set_schedule(row: &mut connection::ActiveModel, schedule: Option<&Schedule>) {
    row.schedule_cron = Set(schedule.and_then(|schedule| schedule.cron.clone()));
    row.schedule_continuous = Set(schedule.is_some_and(|schedule| schedule.continuous));
    row.schedule_time_zone = Set(schedule.map(|schedule| schedule.time_zone.clone()));
}

/// The row of new credentials.
pub(in crate::store) fn sealed(connection: &str, sealed: &Sealed) -> sealed_credential::ActiveModel {
    let mut row = resealed(sealed);
    row.connection_id = Set(connection.to_owned());
    row.credentials_version = Set(1);
    row
}

/// The columns of a row that the sealing fills.
pub(in crate::store) fn resealed(sealed: &Sealed) -> sealed_credential::ActiveModel {
    let Sealed { key_id, wrapped_key, ciphertext } = sealed;
    sealed_credential::ActiveModel {
        connection_id: NotSet,
        credentials_version: NotSet,
        key_id: Set(key_id.clone()),
        wrapped_key: Set(wrapped_key.clone()),
        ciphertext: Set(ciphertext.clone()),
    }
}

/// A list of names as a column holds it.
pub(in crate::store) fn names(names: &[String]) -> String {
    Value::from(names.to_vec()).to_string()
}

/// The connection of a row.
pub(in crate::store) fn read(row: connection::Model) -> Result<Connection, StoreError> {
    let connection::Model {
        id,
        collection_id,
        source,
        name,
        description,
        auth_method,
        config,
        config_version,
        credentials_version,
        credentials_updated_at,
        credential_fields,
        schedule_cron,
        schedule_continuous,
        schedule_time_zone,
        next_run_at,
        paused,
        lifecycle,
        auth,
        outcome,
        status_message,
        hold_items,
        hold_indexed_items,
        hold_sync_id,
        hold_created_at,
        created_at,
        updated_at,
        version,
    } = row;
    let schedule = schedule_time_zone.map(|time_zone| Schedule {
        cron: schedule_cron,
        continuous: schedule_continuous,
        time_zone,
    });
    let hold = match (hold_items, hold_indexed_items, hold_sync_id, hold_created_at) {
        (Some(items), Some(indexed_items), Some(sync), Some(created_at)) => {
            Some(DeletionHold { items, indexed_items, sync: sync.parse().map_err(damaged)?, created_at })
        }
        _ => None,
    };
    Ok(Connection {
        id: id.parse().map_err(damaged)?,
        collection: collection_id.parse().map_err(damaged)?,
        source,
        name,
        description,
        auth_method,
        config: serde_json::from_str::<Map<String, Value>>(&config).map_err(damaged)?,
        config_version,
        credentials_version,
        credentials_updated_at,
        credential_fields: serde_json::from_str(&credential_fields).map_err(damaged)?,
        schedule,
        next_run_at,
        paused,
        lifecycle: Lifecycle::parse(&lifecycle)?,
        auth: words::read(&[AuthState::Untested, AuthState::Ok, AuthState::Failed], AuthState::as_str, &auth)?,
        outcome: words::read(&[Outcome::None, Outcome::Succeeded, Outcome::Failed], Outcome::as_str, &outcome)?,
        status_message,
        hold,
        created_at,
        updated_at,
        version,
    })
}
