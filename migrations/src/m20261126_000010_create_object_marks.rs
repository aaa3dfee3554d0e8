//! What a sync leaves of each object for the next one.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

/// The migration.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const STATEMENTS: &[&str] = &["CREATE TABLE object_marks (
        connection_id TEXT NOT NULL REFERENCES connections (id) ON DELETE CASCADE,
        object TEXT NOT NULL,
        mark TEXT,
        salt TEXT NOT NULL,
        records BIGINT NOT NULL,
        digest TEXT NOT NULL,
        proved_at BIGINT NOT NULL,
        PRIMARY KEY (connection_id, object)
    )"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, STATEMENTS).await
    }
}
