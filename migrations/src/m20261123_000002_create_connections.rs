//! Source connections, and apart from them their sealed credentials.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

/// The migration.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const STATEMENTS: &[&str] = &[
    "CREATE TABLE connections (
        id TEXT NOT NULL PRIMARY KEY,
        collection_id TEXT NOT NULL REFERENCES collections (id),
        source TEXT NOT NULL,
        name NAME NOT NULL,
        description TEXT,
        auth_method TEXT NOT NULL,
        config TEXT NOT NULL,
        config_version BIGINT NOT NULL,
        credentials_version BIGINT NOT NULL,
        credentials_updated_at BIGINT,
        credential_fields TEXT NOT NULL,
        schedule_cron TEXT,
        schedule_continuous BOOLEAN NOT NULL,
        schedule_time_zone TEXT,
        next_run_at BIGINT,
        paused BOOLEAN NOT NULL,
        lifecycle TEXT NOT NULL,
        auth TEXT NOT NULL,
        outcome TEXT NOT NULL,
        status_message TEXT,
        hold_items BIGINT,
        hold_indexed_items BIGINT,
        hold_sync_id TEXT,
        hold_created_at BIGINT,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        version BIGINT NOT NULL
    )",
    "CREATE INDEX connections_by_collection ON connections (collection_id, created_at, id)",
    "CREATE INDEX connections_by_age ON connections (created_at, id)",
    "CREATE INDEX connections_by_name ON connections (name, id)",
    "CREATE INDEX connections_by_next_run ON connections (next_run_at)",
    "CREATE TABLE sealed_credentials (
        connection_id TEXT NOT NULL PRIMARY KEY REFERENCES connections (id) ON DELETE CASCADE,
        credentials_version BIGINT NOT NULL,
        key_id TEXT NOT NULL,
        wrapped_key BYTES NOT NULL,
        ciphertext BYTES NOT NULL
    )",
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
