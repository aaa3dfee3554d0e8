//! What a sync leaves of each object for the next one.

use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait as _, DatabaseTransaction, EntityTrait as _, QueryFilter as _};
use serde_json::Value;

use crate::ids::ConnectionId;
use crate::store::entities::object_mark;
use crate::store::fault::{damaged, fault};
use crate::store::{Store, StoreError};

/// Rows of one statement: SQLite takes so many parameters at once.
const ROWS_AT_ONCE: usize = 1_000;

/// What a sync left of one object. Whether it still holds is for the reader to
/// find out.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectMark {
    /// Path of the object.
    pub object: String,
    /// The connector's word; none when the next sync is to read everything.
    pub mark: Option<Value>,
    /// What beside the content decided the documents.
    pub salt: u64,
    /// Records that the index had of it.
    pub records: u64,
    /// Digest of them.
    pub digest: String,
    /// When the index was last brought in line with all of it: milliseconds
    /// since 1970 UTC; 0 if never.
    pub proved_at: i64,
}

impl Store {
    /// What syncs left of a connection's objects.
    pub async fn marks(&self, connection: &ConnectionId) -> Result<Vec<ObjectMark>, StoreError> {
        let rows = object_mark::Entity::find()
            .filter(object_mark::Column::ConnectionId.eq(connection.as_str()))
            .all(self.database())
            .await
            .map_err(fault)?;
        rows.into_iter().map(read).collect()
    }
}

fn read(row: object_mark::Model) -> Result<ObjectMark, StoreError> {
    let object_mark::Model { connection_id: _, object, mark, salt, records, digest, proved_at } = row;
    Ok(ObjectMark {
        object,
        mark: mark.map(|mark| serde_json::from_str(&mark)).transpose().map_err(damaged)?,
        salt: u64::from_str_radix(&salt, 16).map_err(damaged)?,
        records: u64::try_from(records).map_err(damaged)?,
        digest,
        proved_at,
    })
}

/// Puts marks in the place of those that the objects have.
pub(super) async fn put(
    transaction: &DatabaseTransaction,
    connection: &str,
    marks: &[ObjectMark],
) -> Result<(), StoreError> {
    for marks in marks.chunks(ROWS_AT_ONCE) {
        let rows = marks.iter().cloned().map(|kept| {
            let ObjectMark { object, mark, salt, records, digest, proved_at } = kept;
            object_mark::ActiveModel {
                connection_id: Set(connection.to_owned()),
                object: Set(object),
                mark: Set(mark.map(|mark| mark.to_string())),
                salt: Set(format!("{salt:016x}")),
                records: Set(i64::try_from(records).unwrap_or(i64::MAX)),
                digest: Set(digest),
                proved_at: Set(proved_at),
            }
        });
        let replace = OnConflict::columns([object_mark::Column::ConnectionId, object_mark::Column::Object])
            .update_columns([
                object_mark::Column::Mark,
                object_mark::Column::Salt,
                object_mark::Column::Records,
                object_mark::Column::Digest,
                object_mark::Column::ProvedAt,
            ])
            .to_owned();
        object_mark::Entity::insert_many(rows)
            .on_conflict(replace)
            .exec_without_returning(transaction)
            .await
            .map_err(fault)?;
    }
    Ok(())
}
