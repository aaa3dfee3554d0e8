//! Where SQLite and PostgreSQL differ.

use sea_orm_migration::prelude::{ConnectionTrait, DbErr, SchemaManager};
use sea_orm_migration::sea_orm::DbBackend;

use crate::failpoint;

/// Runs statements in which `BYTES` stands for the type of byte strings, and
/// `NAME` for a text that sorts by its bytes on every database.
pub(crate) async fn run(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    let (bytes, name) = match manager.get_database_backend() {
        DbBackend::Sqlite => ("BLOB", "TEXT"),
        _ => ("BYTEA", "TEXT COLLATE \"C\""),
    };
    for statement in statements {
        let statement = statement.replace(" BYTES", &format!(" {bytes}")).replace(" NAME", &format!(" {name}"));
        failpoint::reach();
        manager.get_connection().execute_unprepared(&statement).await?;
        failpoint::reach();
    }
    Ok(())
}
