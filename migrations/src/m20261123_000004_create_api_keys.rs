//! API keys, and the collections that they are for.

use sea_orm_migration::prelude::{DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::dialect;

/// The migration.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const STATEMENTS: &[&str] = &[
    "CREATE TABLE api_keys (
        id TEXT NOT NULL PRIMARY KEY,
        name NAME NOT NULL,
        role TEXT NOT NULL,
        all_collections BOOLEAN NOT NULL,
        hash BYTES NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT,
        last_used_at BIGINT,
        revoked_at BIGINT
    )",
    "CREATE INDEX api_keys_by_age ON api_keys (created_at, id)",
    "CREATE TABLE key_grants (
        key_id TEXT NOT NULL REFERENCES api_keys (id) ON DELETE CASCADE,
        collection_id TEXT NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
        PRIMARY KEY (key_id, collection_id)
    )",
    "CREATE INDEX key_grants_by_collection ON key_grants (collection_id)",
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
