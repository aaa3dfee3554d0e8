//! How far a sync was, again and again, for who watches it once it has ended.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

/// The migration.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const STATEMENTS: &[&str] = &[
    "CREATE TABLE sync_progress (
        sync_id TEXT NOT NULL REFERENCES syncs (id) ON DELETE CASCADE,
        number BIGINT NOT NULL,
        sequence BIGINT NOT NULL,
        occurred_at BIGINT NOT NULL,
        elapsed_ms BIGINT NOT NULL,
        items_read BIGINT NOT NULL,
        items_inserted BIGINT NOT NULL,
        items_updated BIGINT NOT NULL,
        items_deleted BIGINT NOT NULL,
        items_unchanged BIGINT NOT NULL,
        items_failed BIGINT NOT NULL,
        bytes_read BIGINT NOT NULL,
        items_out_of_scope BIGINT NOT NULL,
        progress TEXT NOT NULL,
        PRIMARY KEY (sync_id, number)
    )",
    "ALTER TABLE syncs ADD COLUMN progress_noted BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE syncs ADD COLUMN events_expired BOOLEAN NOT NULL DEFAULT FALSE",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, STATEMENTS).await
    }
}
