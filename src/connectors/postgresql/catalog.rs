//! What the database holds: its tables and views, their columns and keys, as
//! the snapshot of the session sees them.

use std::collections::HashMap;
use std::time::Duration;

use tokio_postgres::Row;

use super::kinds::{self, Kind};
use super::session::{Session, answered};
use crate::connectors::ConnectorError;

/// A table, view, materialized view, partitioned table or foreign table.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    /// `relkind` of PostgreSQL.
    relation: String,
    pub(super) estimate: Option<u64>,
    /// The login may read at least one column.
    pub(super) readable: bool,
}

impl Table {
    /// Counting is cheap beside reading, and means something: the rows are the
    /// server's own.
    pub(super) fn is_countable(&self) -> bool {
        matches!(self.relation.as_str(), "r" | "p" | "m")
    }

    /// Its rows lie in files of its own: those of children by inheritance are read
    /// with the children.
    pub(super) fn is_alone(&self) -> bool {
        matches!(self.relation.as_str(), "r" | "m")
    }

    /// Rows of a child by inheritance are read with the child.
    pub(super) fn has_children_by_inheritance(&self) -> bool {
        self.relation == "r"
    }
}

/// A column that the login may read.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    /// Name of the type as SQL writes it: `character varying(20)`.
    pub(super) type_name: String,
    pub(super) kind: Kind,
    /// Number in the table; never used twice.
    pub(super) number: i16,
    /// The text of a value never changes behind its back.
    pub(super) is_stable: bool,
}

/// Columns and key of a table.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    pub(super) columns: Vec<Column>,
    /// Names of the columns of the primary key, or of a unique index over
    /// columns that are never NULL.
    pub(super) key: Vec<String>,
}

/// Partitions are read through their parent; objects of sessions and of the
/// system are nobody's data. Each row says how many there are: what a list lacks
/// counts as gone, so it has to prove that it is whole.
const TABLES: &str = "\
    SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, \
        CASE WHEN c.relkind = 'p' THEN (SELECT sum(greatest(leaf.reltuples, 0))::float8 \
                 FROM pg_partition_tree(c.oid) part JOIN pg_class leaf ON leaf.oid = part.relid WHERE part.isleaf) \
             WHEN c.reltuples < 0 OR c.relkind = 'v' THEN NULL \
             ELSE c.reltuples::float8 END, \
        has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT'), \
        count(*) OVER () \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND c.relpersistence <> 't' \
        AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
    ORDER BY n.nspname, c.relname";

/// True when a table has other files now than it had in the snapshot: the one
/// given, and where that is not all that its rows come from, any.
pub(super) const REWRITTEN: &str = "\
    SELECT EXISTS (SELECT FROM pg_class c \
        WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND c.oid >= 16384 \
            AND (c.oid = $1 OR NOT $2) AND pg_relation_filenode(c.oid) <> c.relfilenode)";

const COLUMNS: &str = "\
    SELECT a.attrelid, a.attname::text, a.atttypid, format_type(a.atttypid, a.atttypmod), a.attnum \
    FROM pg_attribute a \
    WHERE a.attrelid = ANY($1) AND a.attnum > 0 AND NOT a.attisdropped \
        AND has_column_privilege(a.attrelid, a.attnum, 'SELECT') \
    ORDER BY a.attrelid, a.attnum";

/// The first row of a table is its best key.
const KEYS: &str = "\
    SELECT i.indrelid, \
        (SELECT array_agg(a.attname::text ORDER BY k.position) \
         FROM unnest(i.indkey) WITH ORDINALITY AS k(number, position) \
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number WHERE k.position <= i.indnkeyatts) \
    FROM pg_index i \
    WHERE i.indrelid = ANY($1) AND i.indisunique AND i.indisvalid AND i.indimmediate \
        AND i.indpred IS NULL AND i.indexprs IS NULL \
        AND NOT EXISTS (SELECT FROM unnest(i.indkey) WITH ORDINALITY AS k(number, position) \
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
            WHERE k.position <= i.indnkeyatts AND NOT a.attnotnull) \
    ORDER BY i.indrelid, i.indisprimary DESC, i.indnkeyatts, i.indexrelid";

/// Types of columns, and below them the elements of arrays and the bases of
/// domains. A true array is what its element names as its array type.
const TYPES: &str = "\
    WITH RECURSIVE wanted AS ( \
        SELECT t.* FROM pg_type t WHERE t.oid = ANY($1) \
        UNION \
        SELECT t.* FROM wanted w JOIN pg_type t ON t.oid IN (w.typelem, w.typbasetype) WHERE t.oid <> 0) \
    SELECT w.oid, w.typname::text, n.nspname = 'pg_catalog', \
        CASE WHEN w.typtype = 'd' THEN w.typbasetype END, \
        CASE WHEN (SELECT element.typarray FROM pg_type element WHERE element.oid = w.typelem) = w.oid \
             THEN w.typelem END, \
        w.typdelim::text \
    FROM wanted w JOIN pg_namespace n ON n.oid = w.typnamespace";

/// Names of all schemas that may hold data.
const SCHEMAS: &str = "\
    SELECT nspname::text FROM pg_namespace \
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY nspname";

/// All schemas.
pub(super) async fn schemas(session: &Session, limit: Duration) -> Result<Vec<String>, ConnectorError> {
    let rows = answered(limit, session.client.query(SCHEMAS, &[])).await?;
    rows.iter().map(|row| field(row, 0)).collect()
}

/// All tables.
pub(super) async fn tables(session: &Session, limit: Duration) -> Result<Vec<Table>, ConnectorError> {
    let rows = answered(limit, session.client.query(TABLES, &[])).await?;
    let listed = match rows.first() {
        Some(first) => field::<i64>(first, 6)?,
        None => 0,
    };
    if usize::try_from(listed) != Ok(rows.len()) {
        return Err(ConnectorError::Unexpected("the list of tables is not whole".into()));
    }
    rows.iter().map(table).collect()
}

fn table(row: &Row) -> Result<Table, ConnectorError> {
    let estimate: Option<f64> = field(row, 4)?;
    Ok(Table {
        oid: field(row, 0)?,
        schema: field(row, 1)?,
        name: field(row, 2)?,
        relation: field(row, 3)?,
        // A cast of a float saturates.
        estimate: estimate.map(|rows| rows as u64),
        readable: field::<Option<bool>>(row, 5)?.unwrap_or(false),
    })
}

/// Columns and keys of many tables at once.
pub(super) async fn layouts(
    session: &Session,
    limit: Duration,
    tables: &[u32],
) -> Result<HashMap<u32, Layout>, ConnectorError> {
    let columns = answered(limit, session.client.query(COLUMNS, &[&tables])).await?;
    let mut type_ids = Vec::new();
    for row in &columns {
        type_ids.push(field::<u32>(row, 2)?);
    }
    type_ids.sort_unstable();
    type_ids.dedup();
    let types = types(session, limit, &type_ids).await?;
    let mut layouts: HashMap<u32, Layout> = HashMap::new();
    for row in &columns {
        let layout = layouts.entry(field(row, 0)?).or_default();
        layout.columns.push(Column {
            name: field(row, 1)?,
            type_name: field(row, 3)?,
            kind: kinds::resolve(&types, field(row, 2)?),
            number: field(row, 4)?,
            is_stable: kinds::is_stable(&types, field(row, 2)?),
        });
    }
    for row in answered(limit, session.client.query(KEYS, &[&tables])).await? {
        let key: Option<Vec<String>> = field(&row, 1)?;
        if let (Some(layout), Some(key)) = (layouts.get_mut(&field(&row, 0)?), key) {
            // A column that the login may not read is of no use in a key.
            let readable = key.iter().all(|name| layout.columns.iter().any(|column| column.name == *name));
            if layout.key.is_empty() && readable {
                layout.key = key;
            }
        }
    }
    Ok(layouts)
}

async fn types(
    session: &Session,
    limit: Duration,
    wanted: &[u32],
) -> Result<HashMap<u32, kinds::Type>, ConnectorError> {
    let mut types = HashMap::new();
    for row in answered(limit, session.client.query(TYPES, &[&wanted])).await? {
        let delimiter: String = field(&row, 5)?;
        let found = kinds::Type {
            name: field(&row, 1)?,
            is_built_in: field(&row, 2)?,
            base: field(&row, 3)?,
            element: field(&row, 4)?,
            delimiter: delimiter.chars().next().unwrap_or(','),
        };
        types.insert(field(&row, 0)?, found);
    }
    Ok(types)
}

/// A field of one of our own queries; a server that answers them with other
/// types is no PostgreSQL.
fn field<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, ConnectorError> {
    row.try_get(index).map_err(|error| ConnectorError::Unexpected(Box::new(super::failure::Failure::from(error))))
}
