//! What a job notes while it runs: its list of errors and its log.

use std::collections::HashSet;

use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait as _, DatabaseTransaction, EntityTrait as _, QueryFilter as _, QuerySelect as _};

use crate::store::StoreError;
use crate::store::entities::{sync, sync_error, sync_line};
use crate::store::fault::fault;
use crate::store::syncs::{LogLine, SyncErrorRow};

/// How many errors, and how many lines, of a job are kept.
const KEPT: i64 = 1_000;

/// Those for which there is still room.
pub(super) fn kept<T>(all: &[T], already: i64) -> &[T] {
    let room = usize::try_from(KEPT - already).unwrap_or(0);
    &all[..all.len().min(room)]
}

pub(super) fn counted<T>(all: &[T]) -> i64 {
    i64::try_from(all.len()).unwrap_or(KEPT)
}

/// What is not in the list yet: an object that a later attempt reads again fails
/// again where it failed before.
pub(super) async fn unnoted(
    transaction: &DatabaseTransaction,
    row: &sync::Model,
    errors: &[SyncErrorRow],
) -> Result<Vec<SyncErrorRow>, StoreError> {
    if errors.is_empty() || row.errors_kept == 0 || row.attempt <= 1 {
        return Ok(errors.to_vec());
    }
    let noted: Vec<(String, String, String)> = sync_error::Entity::find()
        .select_only()
        .columns([sync_error::Column::Object, sync_error::Column::SourceKey, sync_error::Column::Code])
        .filter(sync_error::Column::SyncId.eq(row.id.as_str()))
        .into_tuple()
        .all(transaction)
        .await
        .map_err(fault)?;
    let noted: HashSet<(String, String, String)> = noted.into_iter().collect();
    let is_new = |error: &&SyncErrorRow| {
        let SyncErrorRow { object, key, code, stage: _, message: _ } = error;
        !noted.contains(&(object.clone(), key.clone(), code.clone()))
    };
    Ok(errors.iter().filter(is_new).cloned().collect())
}

pub(super) async fn insert_errors(
    transaction: &DatabaseTransaction,
    row: &sync::Model,
    errors: &[SyncErrorRow],
    now: i64,
) -> Result<(), StoreError> {
    let rows = errors.iter().zip(row.errors_kept + 1..).map(|(error, number)| {
        let SyncErrorRow { object, key, stage, code, message } = error.clone();
        sync_error::ActiveModel {
            sync_id: Set(row.id.clone()),
            number: Set(number),
            occurred_at: Set(now),
            object: Set(object),
            source_key: Set(key),
            stage: Set(stage),
            code: Set(code),
            message: Set(message),
        }
    });
    sync_error::Entity::insert_many(rows).exec_without_returning(transaction).await.map(drop).map_err(fault)
}

pub(super) async fn insert_lines(
    transaction: &DatabaseTransaction,
    row: &sync::Model,
    lines: &[LogLine],
    now: i64,
) -> Result<(), StoreError> {
    let rows = lines.iter().zip(1..).map(|(line, step)| {
        let LogLine { level, message } = line.clone();
        sync_line::ActiveModel {
            sync_id: Set(row.id.clone()),
            number: Set(row.lines_kept + step),
            sequence: Set(row.sequence + step),
            occurred_at: Set(now),
            level: Set(level),
            message: Set(message),
        }
    });
    sync_line::Entity::insert_many(rows).exec_without_returning(transaction).await.map(drop).map_err(fault)
}
