//! Jobs of connections, what they could not take in, and what they said.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

/// The migration.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const STATEMENTS: &[&str] = &[
    "CREATE TABLE syncs (
        id TEXT NOT NULL PRIMARY KEY,
        connection_id TEXT NOT NULL REFERENCES connections (id) ON DELETE CASCADE,
        collection_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        state TEXT NOT NULL,
        started_by TEXT NOT NULL,
        full_pass BOOLEAN NOT NULL,
        release_deletions BOOLEAN NOT NULL,
        config_version BIGINT NOT NULL,
        credentials_version BIGINT NOT NULL,
        attempt INTEGER NOT NULL,
        crashes INTEGER NOT NULL,
        fence BIGINT NOT NULL,
        owner TEXT,
        lease_expires_at BIGINT,
        measured_at BIGINT,
        due_at BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        started_at BIGINT,
        finished_at BIGINT,
        waiting_until BIGINT,
        waiting_reason TEXT,
        sequence BIGINT NOT NULL,
        items_read BIGINT NOT NULL,
        items_inserted BIGINT NOT NULL,
        items_updated BIGINT NOT NULL,
        items_deleted BIGINT NOT NULL,
        items_unchanged BIGINT NOT NULL,
        items_failed BIGINT NOT NULL,
        bytes_read BIGINT NOT NULL,
        items_out_of_scope BIGINT NOT NULL,
        progress TEXT NOT NULL,
        checkpoint TEXT NOT NULL,
        warnings TEXT NOT NULL,
        error_reason TEXT,
        error_message TEXT,
        traceparent TEXT,
        elapsed_ms BIGINT NOT NULL,
        errors_kept BIGINT NOT NULL,
        lines_kept BIGINT NOT NULL
    )",
    // This index, and no check before an insert, is what keeps a connection to
    // one job at a time.
    "CREATE UNIQUE INDEX syncs_one_active ON syncs (connection_id)
        WHERE state IN ('pending', 'running', 'waiting', 'cancelling')",
    "CREATE INDEX syncs_by_age ON syncs (created_at, id)",
    "CREATE INDEX syncs_by_connection ON syncs (connection_id, created_at, id)",
    "CREATE INDEX syncs_by_end ON syncs (connection_id, finished_at, id)",
    "CREATE INDEX syncs_due ON syncs (due_at, id) WHERE state IN ('pending', 'waiting')",
    "CREATE INDEX syncs_leased ON syncs (lease_expires_at) WHERE state IN ('running', 'cancelling')",
    "CREATE TABLE sync_errors (
        sync_id TEXT NOT NULL REFERENCES syncs (id) ON DELETE CASCADE,
        number BIGINT NOT NULL,
        occurred_at BIGINT NOT NULL,
        object TEXT NOT NULL,
        source_key TEXT NOT NULL,
        stage TEXT NOT NULL,
        code TEXT NOT NULL,
        message TEXT NOT NULL,
        PRIMARY KEY (sync_id, number)
    )",
    "CREATE TABLE sync_log (
        sync_id TEXT NOT NULL REFERENCES syncs (id) ON DELETE CASCADE,
        number BIGINT NOT NULL,
        sequence BIGINT NOT NULL,
        occurred_at BIGINT NOT NULL,
        level TEXT NOT NULL,
        message TEXT NOT NULL,
        PRIMARY KEY (sync_id, number)
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
