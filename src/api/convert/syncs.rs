//! Syncs, their progress and their events.

use serde_json::Value;

use super::{precise_timestamp, timestamp};
use crate::api::status::embedded;
use crate::error::{Error, Reason};
use crate::proto::v1;
use crate::proto::v1::watch_sync_response::Event;
use crate::store::syncs::{KeptSyncError, State, Sync, Trigger};
use crate::syncs::progress::{ObjectProgress, ObjectState, Progress, Warning};
use crate::syncs::watch::WatchEvent;
use crate::syncs::worker::progress_of;

/// A sync.
pub fn sync(sync: &Sync) -> v1::Sync {
    v1::Sync {
        id: sync.id.to_string(),
        source_connection_id: sync.connection.to_string(),
        status: status(sync.state).into(),
        trigger: trigger(sync.trigger).into(),
        created_at: Some(timestamp(sync.created_at)),
        started_at: sync.started_at.map(timestamp),
        finished_at: sync.finished_at.map(timestamp),
        progress: Some(progress(sync)),
        error: error(sync),
        full: sync.full,
        warnings: warnings(&sync.warnings),
        waiting_reason: sync.waiting_reason.clone(),
        waiting_until: sync.waiting_until.map(timestamp),
        attempt: sync.attempt,
        collection_id: sync.collection.to_string(),
    }
}

/// Its counters, and how far each object is.
pub fn progress(sync: &Sync) -> v1::SyncProgress {
    let Progress { objects, current_object, estimated_items, fraction, items_per_second, elapsed_ms } =
        progress_of(sync);
    let counters = sync.counters;
    v1::SyncProgress {
        items_read: counters.read,
        items_inserted: counters.inserted,
        items_updated: counters.updated,
        items_deleted: counters.deleted,
        items_unchanged: counters.unchanged,
        items_failed: counters.failed,
        bytes_read: counters.bytes_read,
        current_object,
        fraction,
        estimated_items,
        items_per_second,
        objects: objects.into_iter().map(object).collect(),
        items_out_of_scope: counters.out_of_scope,
        elapsed_ms: elapsed_ms.max(sync.elapsed_ms),
    }
}

/// An item that could not be taken in.
pub fn sync_error(kept: KeptSyncError) -> v1::SyncError {
    let KeptSyncError { number: _, at, error } = kept;
    v1::SyncError {
        object: error.object,
        source_key: error.key,
        stage: error.stage,
        code: error.code,
        message: error.message,
        occurred_at: Some(timestamp(at)),
    }
}

/// An event of a watch, seen at this time.
pub fn event(event: WatchEvent, now_ms: i64) -> v1::WatchSyncResponse {
    let sequence = event.sequence();
    let (at, event) = match event {
        WatchEvent::Snapshot(moment) => (moment.at.unwrap_or(now_ms), Event::Snapshot(sync(&moment.sync))),
        WatchEvent::Progress(moment) => (moment.at.unwrap_or(now_ms), Event::Progress(progress(&moment.sync))),
        WatchEvent::Log(kept) => {
            (kept.at, Event::Log(v1::SyncLogLine { level: level(&kept.line.level).into(), message: kept.line.message }))
        }
        WatchEvent::Finished(row) => (row.finished_at.unwrap_or(now_ms), Event::Finished(sync(&row))),
    };
    v1::WatchSyncResponse { sequence, emitted_at: Some(precise_timestamp(at)), event: Some(event) }
}

/// The state of a number on the wire.
pub fn state(number: i32) -> Option<State> {
    match v1::sync::Status::try_from(number).ok()? {
        v1::sync::Status::Unspecified => None,
        v1::sync::Status::Pending => Some(State::Pending),
        v1::sync::Status::Running => Some(State::Running),
        v1::sync::Status::Waiting => Some(State::Waiting),
        v1::sync::Status::Cancelling => Some(State::Cancelling),
        v1::sync::Status::Succeeded => Some(State::Succeeded),
        v1::sync::Status::Failed => Some(State::Failed),
        v1::sync::Status::Cancelled => Some(State::Cancelled),
    }
}

fn status(state: State) -> v1::sync::Status {
    match state {
        State::Pending => v1::sync::Status::Pending,
        State::Running => v1::sync::Status::Running,
        State::Waiting => v1::sync::Status::Waiting,
        State::Cancelling => v1::sync::Status::Cancelling,
        State::Succeeded => v1::sync::Status::Succeeded,
        State::Failed => v1::sync::Status::Failed,
        State::Cancelled => v1::sync::Status::Cancelled,
    }
}

fn trigger(trigger: Trigger) -> v1::sync::Trigger {
    match trigger {
        Trigger::Manual => v1::sync::Trigger::Manual,
        Trigger::Schedule => v1::sync::Trigger::Schedule,
        Trigger::Continuous => v1::sync::Trigger::Continuous,
    }
}

fn level(level: &str) -> v1::sync_log_line::Level {
    match level {
        "error" => v1::sync_log_line::Level::Error,
        "warning" => v1::sync_log_line::Level::Warning,
        _ => v1::sync_log_line::Level::Info,
    }
}

fn object(object: ObjectProgress) -> v1::ObjectProgress {
    use v1::object_progress::Status;
    let ObjectProgress { path, status, read, failed, estimate } = object;
    let status = match status {
        ObjectState::Pending => Status::Pending,
        ObjectState::Reading => Status::Reading,
        ObjectState::Complete => Status::Complete,
        ObjectState::Failed => Status::Failed,
    };
    v1::ObjectProgress {
        path,
        status: status.into(),
        items_read: read,
        estimated_items: estimate,
        items_failed: failed,
    }
}

/// Why it failed, in the words of the one error vocabulary.
fn error(sync: &Sync) -> Option<crate::proto::google::rpc::Status> {
    let word = sync.error_reason.as_deref()?;
    let name = word.to_uppercase();
    let reason = Reason::ALL.iter().copied().find(|reason| reason.name() == name).unwrap_or(Reason::Internal);
    let message = sync.error_message.clone().unwrap_or_else(|| "the sync failed".to_owned());
    Some(embedded(&Error::new(reason, message).with("syncId", sync.id.as_str())))
}

fn warnings(stored: &Value) -> Vec<v1::SyncWarning> {
    let warnings: Vec<Warning> = serde_json::from_value(stored.clone()).unwrap_or_default();
    let warning = |Warning { code, message, object, count }| v1::SyncWarning { code, message, object, count };
    warnings.into_iter().map(warning).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_goes_to_the_wire_and_back() {
        for wanted in State::ALL {
            assert_eq!(state(status(wanted).into()), Some(wanted));
        }
        assert_eq!((state(0), state(99)), (None, None));
    }
}
