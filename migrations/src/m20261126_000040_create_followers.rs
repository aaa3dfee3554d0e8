//! Who follows which connection, and how far.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

/// The migration.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const STATEMENTS: &[&str] = &["CREATE TABLE followers (
        connection_id TEXT NOT NULL PRIMARY KEY REFERENCES connections (id) ON DELETE CASCADE,
        owner TEXT,
        fence BIGINT NOT NULL,
        lease_expires_at BIGINT,
        state TEXT NOT NULL,
        message TEXT,
        in_step BOOLEAN NOT NULL,
        config_version BIGINT NOT NULL,
        credentials_version BIGINT NOT NULL,
        ground TEXT,
        position TEXT,
        kept_bytes BIGINT NOT NULL,
        given_up_at_version BIGINT,
        synced_at BIGINT,
        updated_at BIGINT NOT NULL
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
