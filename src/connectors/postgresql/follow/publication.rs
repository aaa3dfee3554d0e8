//! The publication: which tables the server tells changes of.
//!
//! A table without a replica identity is never published: its owner could not
//! change rows any more.

use std::time::Duration;

use super::rights::Rights;
use super::tables::{Selected, ids, literal};
use crate::connectors::ConnectorError;
use crate::connectors::following::Place;
use crate::connectors::postgresql::failure::Failure;
use crate::connectors::postgresql::selection::Selection;
use crate::connectors::postgresql::session::{Session, answered};
use crate::connectors::postgresql::settings::Config;
use crate::connectors::rows::names::identifier;

/// The first server that tells changes of partitions as those of their table.
const TELLS_PARTITIONS: i64 = 130_000;

/// Tables that a message names.
const TABLES_IN_WORDS: usize = 20;

/// Tables whose changes can be told, and whether the login may publish them. A
/// partitioned table hands down its primary key, but no other identity.
const PUBLISHABLE: &str = "\
    SELECT c.oid, n.nspname::text, c.relname::text, c.relkind = 'p', pg_has_role(c.relowner, 'USAGE') \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.oid = ANY($1) AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p' \
        AND CASE c.relreplident \
            WHEN 'f' THEN c.relkind = 'r' \
            WHEN 'i' THEN c.relkind = 'r' AND EXISTS (SELECT FROM pg_index i \
                WHERE i.indrelid = c.oid AND i.indisreplident AND i.indisvalid) \
            WHEN 'd' THEN EXISTS (SELECT FROM pg_index i \
                WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid AND i.indimmediate) \
            ELSE false END \
        AND (c.relkind = 'r' OR NOT EXISTS (SELECT FROM pg_partition_tree(c.oid) part \
            JOIN pg_class leaf ON leaf.oid = part.relid \
            WHERE part.isleaf AND (leaf.relkind <> 'r' OR leaf.relpersistence <> 'p' OR leaf.relreplident <> 'd'))) \
    ORDER BY n.nspname, c.relname";

const PUBLICATION: &str = "\
    SELECT p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate \
            AND coalesce((to_jsonb(p) ->> 'pubviaroot')::bool, true), \
        pg_has_role(p.pubowner, 'USAGE'), \
        coalesce((SELECT array_agg(c.oid) FROM pg_publication_tables t \
            JOIN pg_namespace n ON n.nspname = t.schemaname \
            JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename \
            WHERE t.pubname = p.pubname), '{}') \
    FROM pg_publication p WHERE p.pubname::text = $1";

/// A table whose changes can be told.
pub(super) struct Publishable {
    pub(super) id: u32,
    schema: String,
    name: String,
    is_partitioned: bool,
    is_owned: bool,
}

/// A publication that is there.
struct Found {
    is_complete: bool,
    is_ours: bool,
    tables: Vec<u32>,
}

/// What is to be done about the publication.
pub(super) enum Plan {
    /// It publishes these tables already.
    Stays(Vec<u32>),
    /// This makes it publish these tables.
    Changes { statement: String, tables: Vec<u32> },
    /// It cannot be: what is missing.
    Missing(String),
}

/// The tables that can be told of.
pub(super) async fn publishable(
    session: &Session,
    limit: Duration,
    config: &Config,
    selected: &Selected,
    rights: &Rights,
) -> Result<Vec<Publishable>, ConnectorError> {
    let wanted: Vec<u32> = selected.tables.iter().filter(|table| table.readable).map(|table| table.oid).collect();
    let rows = answered(limit, session.client.query(PUBLISHABLE, &[&wanted])).await?;
    let mut publishable = Vec::with_capacity(rows.len());
    for row in &rows {
        let read = || {
            Ok(Publishable {
                id: row.try_get(0)?,
                schema: row.try_get(1)?,
                name: row.try_get(2)?,
                is_partitioned: row.try_get(3)?,
                is_owned: row.try_get(4)?,
            })
        };
        publishable.push(read().map_err(|error: tokio_postgres::Error| Failure::from(error).into_error())?);
    }
    let selection = Selection::new(config);
    publishable.retain(|table| {
        let can_be_told = !table.is_partitioned || rights.server_version >= TELLS_PARTITIONS;
        // What a limit leaves out depends on the other rows.
        can_be_told && selection.options(&table.schema, &table.name).row_limit.is_none()
    });
    Ok(publishable)
}

/// What is to be done so that the changes of these tables are told.
pub(super) async fn plan(
    session: &Session,
    limit: Duration,
    place: &Place,
    publishable: &[Publishable],
    rights: &Rights,
) -> Result<Plan, ConnectorError> {
    let found = find(session, limit, place).await?;
    let owned: Vec<&Publishable> = publishable.iter().filter(|table| table.is_owned).collect();
    let name = place.name();
    let complete = "publish = 'insert, update, delete, truncate'";
    let via_root = if rights.server_version >= TELLS_PARTITIONS { ", publish_via_partition_root = true" } else { "" };
    let some: Vec<&Publishable> = publishable.iter().take(TABLES_IN_WORDS).collect();
    let more = if publishable.len() > some.len() { ", ..." } else { "" };
    let by_hand = format!("CREATE PUBLICATION {name} FOR TABLE {}{more} WITH ({complete}{via_root})", list(&some));
    match found {
        // Somebody with more rights has made it for us.
        Some(Found { is_complete: true, is_ours: false, tables }) => {
            let all = ids(publishable);
            Ok(Plan::Stays(tables.into_iter().filter(|table| all.contains(table)).collect()))
        }
        Some(Found { is_complete: false, is_ours: false, .. }) => Ok(Plan::Missing(format!(
            "the publication `{name}` is somebody else's and does not tell everything; drop it, or make it with: {by_hand}"
        ))),
        _ if publishable.is_empty() => Ok(Plan::Missing(
            "no selected table can be followed: they need a primary key or another replica identity, and must be \
             neither unlogged, foreign nor views"
                .to_owned(),
        )),
        _ if owned.is_empty() => Ok(Plan::Missing(format!(
            "the login owns none of the selected tables, so it cannot publish their changes; grant it the role that \
             owns them, or let the owner make the publication: {by_hand}"
        ))),
        Some(Found { is_complete, is_ours: true, tables }) => {
            let mut wanted: Vec<u32> = owned.iter().map(|table| table.id).collect();
            let mut published = tables;
            wanted.sort_unstable();
            published.sort_unstable();
            if is_complete && wanted == published {
                return Ok(Plan::Stays(wanted));
            }
            let statement = format!(
                "ALTER PUBLICATION {name} SET TABLE {}; ALTER PUBLICATION {name} SET ({complete}{via_root})",
                list(&owned)
            );
            Ok(Plan::Changes { statement, tables: wanted })
        }
        None if !rights.may_create => Ok(Plan::Missing(format!(
            "the login may not make a publication; grant it CREATE on the database, or let somebody else make it: \
             {by_hand}"
        ))),
        None => {
            let statement = format!("CREATE PUBLICATION {name} FOR TABLE {} WITH ({complete}{via_root})", list(&owned));
            Ok(Plan::Changes { statement, tables: owned.iter().map(|table| table.id).collect() })
        }
    }
}

async fn find(session: &Session, limit: Duration, place: &Place) -> Result<Option<Found>, ConnectorError> {
    let row = answered(limit, session.client.query_opt(PUBLICATION, &[&place.name()])).await?;
    let Some(row) = row else { return Ok(None) };
    let read = || {
        // Without partitions there is nothing to tell of them.
        Ok(Found { is_complete: row.try_get(0)?, is_ours: row.try_get(1)?, tables: row.try_get(2)? })
    };
    read().map(Some).map_err(|error: tokio_postgres::Error| Failure::from(error).into_error())
}

/// Removes the publication, if it is there and ours. The session is in no
/// transaction.
pub(super) async fn remove(session: &Session, limit: Duration, place: &Place) -> Result<(), ConnectorError> {
    match find(session, limit, place).await? {
        Some(Found { is_ours: true, .. }) => {
            let statement = format!("BEGIN READ WRITE; DROP PUBLICATION IF EXISTS {}; COMMIT", place.name());
            answered(limit, session.client.batch_execute(&statement)).await
        }
        Some(_) | None => Ok(()),
    }
}

/// The name of the publication as the option of the decoder has it.
pub(super) fn option(place: &Place) -> String {
    literal(&format!("\"{}\"", place.name())).trim_start_matches('E').to_owned()
}

/// A child by inheritance is a table of its own; partitions go with theirs.
fn list(tables: &[&Publishable]) -> String {
    let name = |table: &&Publishable| {
        let only = if table.is_partitioned { "" } else { "ONLY " };
        format!("{only}{}.{}", identifier(&table.schema), identifier(&table.name))
    };
    tables.iter().map(name).collect::<Vec<_>>().join(", ")
}
