//! Who did what, when, from where, and how it ended.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

/// The migration.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// No foreign keys: an event outlives what it is about.
const STATEMENTS: &[&str] = &[
    "CREATE TABLE audit_events (
        id TEXT NOT NULL PRIMARY KEY,
        occurred_at BIGINT NOT NULL,
        last_at BIGINT NOT NULL,
        times BIGINT NOT NULL,
        actor_kind TEXT NOT NULL,
        actor TEXT NOT NULL,
        peer TEXT,
        method TEXT NOT NULL,
        request_id TEXT,
        collection_id TEXT,
        connection_id TEXT,
        sync_id TEXT,
        key_id TEXT,
        outcome TEXT
    )",
    "CREATE INDEX audit_events_by_age ON audit_events (occurred_at, id)",
    "CREATE INDEX audit_events_by_collection ON audit_events (collection_id, occurred_at, id)",
    "CREATE INDEX audit_events_by_actor ON audit_events (actor, occurred_at, id)",
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
