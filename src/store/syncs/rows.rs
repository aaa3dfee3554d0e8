//! Jobs to rows and back.

use serde_json::Value;

use crate::store::entities::sync;
use crate::store::fault::damaged;
use crate::store::syncs::{Counters, JobKind, State, Sync, Trigger};
use crate::store::{StoreError, words};

impl JobKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Clear => "clear",
            Self::Purge => "purge",
        }
    }
}

impl State {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub(in crate::store) fn parse(text: &str) -> Result<Self, StoreError> {
        words::read(&Self::ALL, Self::as_str, text)
    }
}

impl Trigger {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Schedule => "schedule",
            Self::Continuous => "continuous",
        }
    }
}

/// The job of a row.
pub(in crate::store) fn read(row: sync::Model) -> Result<Sync, StoreError> {
    let sync::Model {
        id,
        connection_id,
        collection_id,
        kind,
        state,
        started_by,
        full_pass,
        release_deletions,
        config_version,
        credentials_version,
        attempt,
        crashes,
        fence,
        owner,
        lease_expires_at,
        measured_at: _,
        due_at: _,
        created_at,
        started_at,
        finished_at,
        waiting_until,
        waiting_reason,
        sequence,
        items_read,
        items_inserted,
        items_updated,
        items_deleted,
        items_unchanged,
        items_failed,
        bytes_read,
        items_out_of_scope,
        progress,
        checkpoint,
        warnings,
        error_reason,
        error_message,
        traceparent,
        elapsed_ms,
        errors_kept: _,
        lines_kept: _,
        progress_noted: _,
        events_expired,
    } = row;
    Ok(Sync {
        id: id.parse().map_err(damaged)?,
        connection: connection_id.parse().map_err(damaged)?,
        collection: collection_id.parse().map_err(damaged)?,
        kind: words::read(&[JobKind::Sync, JobKind::Clear, JobKind::Purge], JobKind::as_str, &kind)?,
        state: State::parse(&state)?,
        trigger: words::read(&[Trigger::Manual, Trigger::Schedule, Trigger::Continuous], Trigger::as_str, &started_by)?,
        full: full_pass,
        release_deletions,
        config_version,
        credentials_version,
        attempt,
        crashes,
        fence,
        owner,
        lease_expires_at,
        created_at,
        started_at,
        finished_at,
        waiting_until,
        waiting_reason,
        sequence,
        counters: Counters {
            read: items_read,
            inserted: items_inserted,
            updated: items_updated,
            deleted: items_deleted,
            unchanged: items_unchanged,
            failed: items_failed,
            bytes_read,
            out_of_scope: items_out_of_scope,
        },
        progress: json(&progress)?,
        checkpoint: json(&checkpoint)?,
        warnings: json(&warnings)?,
        error_reason,
        error_message,
        traceparent,
        elapsed_ms,
        events_expired,
    })
}

fn json(text: &str) -> Result<Value, StoreError> {
    serde_json::from_str(text).map_err(damaged)
}
