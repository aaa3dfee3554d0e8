//! What a server holds, as far as the login may see it.

use super::columns::{Column, Kind};
use super::failure::Failure;
use super::session::{Row, Session};
use super::sql;

/// Databases and tables that are listed at most.
const MOST_OBJECTS: usize = 200_000;
/// Columns of a table, and of all its keys.
const MOST_COLUMNS: usize = 4096;
/// Views that are read as JSON checks.
const MOST_CHECKS: usize = 4096;

const DATABASES: &str = "\
    SELECT SCHEMA_NAME FROM information_schema.SCHEMATA \
    WHERE SCHEMA_NAME NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')";

const TABLES: &str = "\
    SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_ROWS, CREATE_TIME FROM information_schema.TABLES \
    WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'VIEW') \
        AND TABLE_SCHEMA NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')";

/// A table or view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) database: String,
    pub(super) name: String,
    pub(super) is_view: bool,
    /// Its rows lie in the order of the primary key.
    pub(super) is_clustered: bool,
    /// Rows, as the server guesses.
    pub(super) estimate: Option<u64>,
    /// When it was made, as the server says.
    pub(super) created: String,
    /// Named by the config, but not shown to the login.
    pub(super) is_hidden: bool,
}

/// What a table is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) columns: Vec<Column>,
    /// Positions of the columns of the key that identifies rows.
    pub(super) key: Vec<usize>,
    pub(super) is_primary: bool,
}

/// Databases, in no order.
pub(super) async fn databases(session: &mut Session) -> Result<Vec<String>, Failure> {
    let rows = session.all(DATABASES, MOST_OBJECTS).await?;
    rows.into_iter().map(|row| text(&row, 0)).collect()
}

/// Tables and views of one database or of all, by their names.
pub(super) async fn tables(session: &mut Session, database: Option<&str>) -> Result<Vec<Table>, Failure> {
    let statement = match database {
        Some(database) => {
            let name = sql::text(database);
            // The names of the catalogue are compared without case, on some servers.
            let exactly = sql::bytes(database.as_bytes());
            format!("{TABLES} AND TABLE_SCHEMA = {name} AND CAST(TABLE_SCHEMA AS BINARY) = {exactly}")
        }
        None => TABLES.to_owned(),
    };
    let rows = session.all(&statement, MOST_OBJECTS).await?;
    let mut tables = rows.iter().map(table_of).collect::<Result<Vec<_>, _>>()?;
    tables.sort_by(|one, other| (&one.database, &one.name).cmp(&(&other.database, &other.name)));
    tables.dedup_by(|one, other| (&one.database, &one.name) == (&other.database, &other.name));
    Ok(tables)
}

fn table_of(row: &Row) -> Result<Table, Failure> {
    let engine = optional(row, 3).unwrap_or_default();
    let is_view = text(row, 2)? == "VIEW";
    Ok(Table {
        database: text(row, 0)?,
        name: text(row, 1)?,
        is_view,
        is_clustered: engine.eq_ignore_ascii_case("innodb"),
        estimate: optional(row, 4).and_then(|rows| rows.parse().ok()).filter(|_| !is_view),
        created: optional(row, 5).unwrap_or_default(),
        is_hidden: false,
    })
}

/// The columns and the key of a table.
pub(super) async fn layout(session: &mut Session, table: &Table) -> Result<Layout, Failure> {
    let of_it = |catalogue: &str| {
        let equals = |column: &str, name: &str| {
            let (text, bytes) = (sql::text(name), sql::bytes(name.as_bytes()));
            format!("{column} = {text} AND CAST({column} AS BINARY) = {bytes}")
        };
        let (schema, name) = (equals("TABLE_SCHEMA", &table.database), equals("TABLE_NAME", &table.name));
        format!("FROM information_schema.{catalogue} WHERE {schema} AND {name}")
    };
    let statement = format!(
        "SELECT COLUMN_NAME, DATA_TYPE, CHARACTER_SET_NAME, COLUMN_TYPE {} ORDER BY ORDINAL_POSITION",
        of_it("COLUMNS")
    );
    let rows = session.all(&statement, MOST_COLUMNS).await?;
    let mut columns = rows.iter().map(column_of).collect::<Result<Vec<_>, _>>()?;
    let statement = format!(
        "SELECT INDEX_NAME, COLUMN_NAME, NULLABLE, SUB_PART {} AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX",
        of_it("STATISTICS")
    );
    let parts = session.all(&statement, 64 * MOST_COLUMNS).await?;
    let (key, is_primary) = key_of(&parts, &columns)?;
    if session.is_mariadb && columns.iter().any(|column| column.kind == Kind::LongText) {
        mark_json(session, table, &mut columns).await?;
    }
    Ok(Layout { columns, key, is_primary })
}

fn column_of(row: &Row) -> Result<Column, Failure> {
    let charset = optional(row, 2).unwrap_or_default();
    Ok(Column {
        name: text(row, 0)?,
        kind: Kind::of(&text(row, 1)?),
        is_converted: !(charset.is_empty() || charset.starts_with("utf8") || charset == "ascii"),
        is_unsigned: text(row, 3)?.contains("unsigned"),
    })
}

/// The primary key, or else the first unique index whose columns are all there and
/// never NULL.
fn key_of(parts: &[Row], columns: &[Column]) -> Result<(Vec<usize>, bool), Failure> {
    let mut indexes: Vec<(String, Option<Vec<usize>>)> = Vec::new();
    for part in parts {
        let index = text(part, 0)?;
        let column = optional(part, 1);
        let position = column.and_then(|name| columns.iter().position(|column| column.name == name));
        let is_whole = optional(part, 2).is_none_or(|nullable| nullable != "YES") && optional(part, 3).is_none();
        let position = position.filter(|_| is_whole);
        match indexes.last_mut().filter(|(name, _)| *name == index) {
            Some((_, key)) => match (key.as_mut(), position) {
                (Some(key), Some(position)) => key.push(position),
                _ => *key = None,
            },
            None => indexes.push((index, position.map(|position| vec![position]))),
        }
    }
    let is_primary = |name: &str| name == "PRIMARY";
    indexes.sort_by_key(|(name, _)| !is_primary(name));
    let usable = indexes.into_iter().find_map(|(name, key)| Some((key?, is_primary(&name))));
    Ok(usable.unwrap_or_default())
}

/// MariaDB keeps JSON as texts with a check.
async fn mark_json(session: &mut Session, table: &Table, columns: &mut [Column]) -> Result<(), Failure> {
    let (database, name) = (sql::text(&table.database), sql::text(&table.name));
    let statement = format!(
        "SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS \
         WHERE CONSTRAINT_SCHEMA = {database} AND TABLE_NAME = {name}"
    );
    let checks = match session.all(&statement, MOST_CHECKS).await {
        Ok(checks) => checks,
        // An older server has no such list; its texts stay texts.
        Err(failure) if !failure.fatal => return Ok(()),
        Err(failure) => return Err(failure),
    };
    for check in &checks {
        let clause = text(check, 0)?;
        let is_checked = |column: &Column| clause == format!("json_valid({})", sql::identifier(&column.name));
        if let Some(column) = columns.iter_mut().find(|column| is_checked(column)) {
            column.kind = Kind::Json;
        }
    }
    Ok(())
}

fn text(row: &Row, index: usize) -> Result<String, Failure> {
    optional(row, index).ok_or_else(|| Failure::broken("the catalogue of the server has something missing"))
}

fn optional(row: &Row, index: usize) -> Option<String> {
    row.get(index)?.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(index: &str, column: &str, nullable: &str, prefix: Option<&str>) -> Row {
        let bytes = |text: &str| Some(text.as_bytes().to_vec());
        vec![bytes(index), bytes(column), bytes(nullable), prefix.and_then(bytes)]
    }

    fn columns() -> Vec<Column> {
        let column =
            |name: &str| Column { name: name.to_owned(), kind: Kind::Integer, is_converted: false, is_unsigned: false };
        ["a", "b", "c"].map(column).to_vec()
    }

    #[test]
    fn rows_are_named_by_the_primary_key_or_one_as_good() {
        let primary = [part("ab", "a", "", None), part("PRIMARY", "b", "", None), part("PRIMARY", "c", "", None)];
        assert_eq!(key_of(&primary, &columns()).unwrap(), (vec![1, 2], true));
        let others = [
            part("nullable", "a", "YES", None),
            part("prefix", "b", "", Some("10")),
            part("unseen", "a", "", None),
            part("unseen", "d", "", None),
            part("usable", "c", "", None),
        ];
        assert_eq!(key_of(&others, &columns()).unwrap(), (vec![2], false));
        assert_eq!(key_of(&others[..4], &columns()).unwrap(), (Vec::new(), false));
    }
}
