//! Connections: what callers read of them and what they change.

use prost_types::FieldMask;

use super::{report, structure, syncs, timestamp};
use crate::connections::{Changes, Status, Tested, View};
use crate::connectors::{AuthMethod, ObjectKind, SourceObject};
use crate::error::{Error, Violation};
use crate::etag;
use crate::proto::v1;
use crate::store::connections::{Connection, DeletionHold, Schedule};

/// Fields that callers cannot change and may send back as they got them.
const OUTPUT_ONLY: &[&str] = &[
    "id",
    "etag",
    "status",
    "created_at",
    "updated_at",
    "credentials_updated_at",
    "status_message",
    "current_sync_id",
    "last_sync",
    "deletion_hold",
    "credential_fields",
    "next_run_at",
];
/// Fields that have a method of their own, or are decided once.
const FIXED: &[&str] = &["collection_id", "source_short_name", "auth_method", "config"];
const CHANGEABLE: &[&str] = &["name", "description", "paused", "schedule"];

/// A connection. Credentials are never part of it.
pub fn connection(view: &View) -> v1::SourceConnection {
    let connection: &Connection = &view.connection;
    v1::SourceConnection {
        id: connection.id.to_string(),
        name: connection.name.clone(),
        status: status(view.status).into(),
        created_at: Some(timestamp(connection.created_at)),
        collection_id: connection.collection.to_string(),
        source_short_name: connection.source.clone(),
        auth_method: stored_auth_method(&connection.auth_method).into(),
        updated_at: Some(timestamp(connection.updated_at)),
        credentials_updated_at: connection.credentials_updated_at.map(timestamp),
        config: Some(structure(&connection.config)),
        status_message: status_message(view),
        schedule: connection.schedule.as_ref().map(proto_schedule),
        paused: connection.paused,
        current_sync_id: view.current_sync.as_ref().map(ToString::to_string),
        last_sync: view.last_sync.as_ref().map(syncs::sync),
        description: connection.description.clone(),
        etag: etag::of(connection.version),
        deletion_hold: connection.hold.as_ref().map(hold),
        credential_fields: connection.credential_fields.clone(),
        next_run_at: connection.next_run_at.filter(|_| !connection.paused).map(timestamp),
    }
}

/// Where a connection stands.
pub fn status(status: Status) -> v1::source_connection::Status {
    match status {
        Status::Pending => v1::source_connection::Status::Pending,
        Status::Connected => v1::source_connection::Status::Connected,
        Status::Syncing => v1::source_connection::Status::Syncing,
        Status::Paused => v1::source_connection::Status::Paused,
        Status::NeedsAttention => v1::source_connection::Status::NeedsAttention,
        Status::Error => v1::source_connection::Status::Error,
        Status::Deleting => v1::source_connection::Status::Deleting,
    }
}

/// A test that went well.
pub fn tested(tested: &Tested) -> v1::TestSourceConnectionResponse {
    v1::TestSourceConnectionResponse {
        status: v1::source_connection::Status::Connected.into(),
        message: "Connection successful".to_owned(),
        latency_ms: Some(i32::try_from(tested.took.as_millis()).unwrap_or(i32::MAX)),
        report: Some(report(&tested.report)),
    }
}

/// An object of a source.
pub fn source_object(object: SourceObject) -> v1::SourceObject {
    let SourceObject { path, kind, has_children, selected, estimated_items } = object;
    let kind = match kind {
        ObjectKind::Table => v1::source_object::Kind::Table,
        ObjectKind::Folder => v1::source_object::Kind::Folder,
        ObjectKind::File => v1::source_object::Kind::File,
    };
    v1::SourceObject {
        path,
        kind: kind.into(),
        has_children,
        selected,
        estimated_items: estimated_items.map(|items| i64::try_from(items).unwrap_or(i64::MAX)),
    }
}

/// A schedule as given; the rules of the proto have seen that it is one.
pub fn schedule(given: v1::Schedule) -> Schedule {
    let v1::Schedule { kind, time_zone } = given;
    match kind {
        Some(v1::schedule::Kind::Cron(cron)) => Schedule { cron: Some(cron), continuous: false, time_zone },
        Some(v1::schedule::Kind::Continuous(_)) | None => Schedule { cron: None, continuous: true, time_zone },
    }
}

/// Which way to log in, as asked for.
pub fn wanted_auth_method(number: i32) -> Result<Option<AuthMethod>, Error> {
    match v1::source::AuthMethod::try_from(number) {
        Ok(v1::source::AuthMethod::Unspecified) => Ok(None),
        Ok(v1::source::AuthMethod::Credentials) => Ok(Some(AuthMethod::Credentials)),
        Ok(v1::source::AuthMethod::None) => Ok(Some(AuthMethod::None)),
        Ok(v1::source::AuthMethod::ApiKey | v1::source::AuthMethod::Oauth2) | Err(_) => {
            Err(Error::invalid("auth_method", "INVALID_VALUE", "is not one that this source has"))
        }
    }
}

/// What a PATCH changes: the fields of the mask, or without one those that are
/// there.
pub fn changes(given: &v1::SourceConnection, mask: Option<&FieldMask>) -> Result<Changes, Error> {
    let mut changes = Changes::default();
    for path in paths(mask, populated(given), CHANGEABLE) {
        match path.as_str() {
            "name" => changes.name = Some(given.name.clone()),
            "description" => changes.description = Some(given.description.clone()),
            "paused" => changes.paused = Some(given.paused),
            "schedule" => changes.schedule = Some(given.schedule.clone().map(schedule)),
            other => refuse_path("source_connection", other, OUTPUT_ONLY, FIXED)?,
        }
    }
    Ok(changes)
}

/// The paths of a mask: all changeable ones for `*`, the populated ones for none.
pub fn paths(mask: Option<&FieldMask>, populated: Vec<&str>, changeable: &[&str]) -> Vec<String> {
    let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    match mask.map(|mask| mask.paths.as_slice()) {
        None | Some([]) => owned(&populated),
        Some(paths) if paths.iter().any(|path| path == "*") => owned(changeable),
        Some(paths) => paths.to_vec(),
    }
}

/// Lets what is output only pass, and refuses everything else by name.
pub fn refuse_path(resource: &str, path: &str, output_only: &[&str], fixed: &[&str]) -> Result<(), Error> {
    let first = path.split('.').next().unwrap_or_default();
    if output_only.contains(&first) {
        return Ok(());
    }
    let violation = if fixed.contains(&first) {
        Violation::new(format!("{resource}.{first}"), "IMMUTABLE", "cannot be changed by this method")
    } else if path == first {
        Violation::new("update_mask", "UNKNOWN_FIELD", "names a field that does not exist")
    } else {
        Violation::new("update_mask", "INVALID_VALUE", "must name whole fields")
    };
    Err(Error::violations(crate::error::Reason::InvalidArgument, vec![violation]))
}

fn populated(given: &v1::SourceConnection) -> Vec<&'static str> {
    let mut paths = Vec::new();
    if !given.name.is_empty() {
        paths.push("name");
    }
    if given.description.is_some() {
        paths.push("description");
    }
    if given.paused {
        paths.push("paused");
    }
    if given.schedule.is_some() {
        paths.push("schedule");
    }
    paths
}

fn status_message(view: &View) -> Option<String> {
    match view.status {
        Status::Error | Status::NeedsAttention => view.connection.status_message.clone(),
        Status::Pending | Status::Connected | Status::Syncing => view.following.clone(),
        Status::Paused | Status::Deleting => None,
    }
}

fn stored_auth_method(word: &str) -> v1::source::AuthMethod {
    match word {
        "none" => v1::source::AuthMethod::None,
        _ => v1::source::AuthMethod::Credentials,
    }
}

fn proto_schedule(schedule: &Schedule) -> v1::Schedule {
    let kind = match &schedule.cron {
        Some(cron) => v1::schedule::Kind::Cron(cron.clone()),
        None => v1::schedule::Kind::Continuous(true),
    };
    v1::Schedule { kind: Some(kind), time_zone: schedule.time_zone.clone() }
}

fn hold(hold: &DeletionHold) -> v1::DeletionHold {
    v1::DeletionHold {
        items: hold.items,
        indexed_items: hold.indexed_items,
        sync_id: hold.sync.to_string(),
        created_at: Some(timestamp(hold.created_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(paths: &[&str]) -> FieldMask {
        FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
    }

    fn given() -> v1::SourceConnection {
        v1::SourceConnection { name: "Sales".to_owned(), ..v1::SourceConnection::default() }
    }

    #[test]
    fn a_mask_says_what_changes_and_may_clear() {
        let cleared = changes(&given(), Some(&mask(&["description", "schedule"]))).expect("are changeable");
        assert_eq!(cleared, Changes { description: Some(None), schedule: Some(None), ..Changes::default() });
        let whole = changes(&given(), Some(&mask(&["*"]))).expect("is everything");
        assert_eq!((whole.name.as_deref(), whole.paused), (Some("Sales"), Some(false)));
    }

    #[test]
    fn without_a_mask_what_is_there_changes() {
        let named = changes(&given(), None).expect("is changeable");
        assert_eq!(named, Changes { name: Some("Sales".to_owned()), ..Changes::default() });
    }

    #[test]
    fn fixed_and_unknown_fields_are_refused_and_output_ignored() {
        assert!(changes(&given(), Some(&mask(&["id", "etag", "status"]))).is_ok());
        for path in ["collection_id", "config", "colour", "schedule.cron"] {
            assert!(changes(&given(), Some(&mask(&[path]))).is_err(), "{path}");
        }
    }
}
