//! Schema of Tributary's own stores. Migrations only go forward and keep data.
//!
//! One file a migration: a migration is known by the name of its file. The SQL
//! is what SQLite and PostgreSQL have in common; [`dialect`] fills in the rest.

mod dialect;
mod failpoint;
mod m20261123_000001_create_collections;
mod m20261123_000002_create_connections;
mod m20261123_000003_create_syncs;
mod m20261123_000004_create_api_keys;
mod m20261123_000005_create_requests;
mod m20261123_000006_create_settings;
mod m20261126_000010_create_object_marks;
mod m20261126_000030_keep_progress_of_syncs;
mod m20261126_000040_create_followers;
mod m20261127_000050_index_key_ids;
mod m20261127_000060_create_audit_events;

use sea_orm_migration::prelude::{DbErr, MigrationTrait, MigratorTrait};
use sea_orm_migration::sea_orm::DatabaseConnection;

/// Brings the schema up to date. On PostgreSQL the caller holds a lock, since
/// several servers may start at once.
pub async fn up(database: &DatabaseConnection) -> Result<(), DbErr> {
    Migrator::up(database, None).await
}

/// Brings an empty store to the schema of an older build, that of its first so many
/// migrations: to try upgrades.
pub async fn up_first(database: &DatabaseConnection, count: u32) -> Result<(), DbErr> {
    Migrator::up(database, Some(count)).await
}

struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_create_collections::Migration),
            Box::new(m20261123_000002_create_connections::Migration),
            Box::new(m20261123_000003_create_syncs::Migration),
            Box::new(m20261123_000004_create_api_keys::Migration),
            Box::new(m20261123_000005_create_requests::Migration),
            Box::new(m20261123_000006_create_settings::Migration),
            Box::new(m20261126_000010_create_object_marks::Migration),
            Box::new(m20261126_000030_keep_progress_of_syncs::Migration),
            Box::new(m20261126_000040_create_followers::Migration),
            Box::new(m20261127_000050_index_key_ids::Migration),
            Box::new(m20261127_000060_create_audit_events::Migration),
        ]
    }
}
