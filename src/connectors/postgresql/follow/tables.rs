//! Which tables are followed, and how rows of them are read by their keys.
//!
//! The stream is used only for *which* rows changed; what they are is read as a
//! sync reads them, so that following and syncs write the same documents, byte
//! for byte.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use super::publication::Publishable;
use crate::connectors::ConnectorError;
use crate::connectors::following::gathering::RowKey;
use crate::connectors::following::telling::MOST_AT_ONCE;
use crate::connectors::following::{Changed, Followed as Told, Telling};
use crate::connectors::postgresql::catalog::{self, Layout, Table};
use crate::connectors::postgresql::failure::Failure;
use crate::connectors::postgresql::guard::is_cut;
use crate::connectors::postgresql::object::LARGEST_ROW;
use crate::connectors::postgresql::read::{ObjectError, copy, layouts_of, next_line, path_of};
use crate::connectors::postgresql::selection::Selection;
use crate::connectors::postgresql::session::{Session, answered};
use crate::connectors::postgresql::settings::Config;
use crate::connectors::postgresql::shape::{Keys, Rows, Shape};
use crate::connectors::rows::names::identifier;
use crate::egress::Timeouts;
use crate::record::RawRecord;

/// Everything that decides how rows of tables read, but for the rows: hashed, so
/// that it can be compared. A table that is written anew as a whole has another
/// file; no row of that is told.
const DEFINITIONS: &str = "\
    SELECT md5(coalesce(string_agg(line, ' ' ORDER BY line), '')) FROM ( \
        SELECT concat_ws(',', 'c', c.oid, c.relname, c.relnamespace, c.relkind, c.relfilenode, c.relrowsecurity, \
            c.relreplident, pg_has_role(c.relowner, 'USAGE')) AS line \
            FROM pg_class c WHERE c.oid = ANY($1) \
        UNION ALL SELECT concat_ws(',', 'p', c.oid, part.relid, leaf.relfilenode, leaf.relreplident) \
            FROM pg_class c, pg_partition_tree(c.oid) part JOIN pg_class leaf ON leaf.oid = part.relid \
            WHERE c.oid = ANY($1) AND c.relkind = 'p' \
        UNION ALL SELECT concat_ws(',', 'a', a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, \
            has_column_privilege(a.attrelid, a.attnum, 'SELECT')) \
            FROM pg_attribute a WHERE a.attrelid = ANY($1) AND a.attnum > 0 AND NOT a.attisdropped \
        UNION ALL SELECT concat_ws(',', 'i', i.indexrelid, i.indisunique, i.indisprimary, i.indisvalid, i.indimmediate, \
            i.indisreplident, i.indkey) FROM pg_index i WHERE i.indrelid = ANY($1) \
        UNION ALL SELECT concat_ws(',', 'r', p.oid, p.xmin) FROM pg_policy p WHERE p.polrelid = ANY($1) \
        UNION ALL SELECT concat_ws(',', 'e', e.oid, e.enumlabel) FROM pg_enum e) AS lines";

/// A table that is followed.
pub(super) struct Followed {
    id: u32,
    pub(super) object: Arc<str>,
    pub(super) shape: Arc<Shape>,
    key: Vec<String>,
    key_types: Vec<String>,
}

/// The selected tables as they are defined now.
pub(super) struct Tables {
    pub(super) followed: Vec<Followed>,
}

/// The selected tables, and a hash of how they are defined.
pub(super) struct Selected {
    pub(super) tables: Vec<Table>,
    pub(super) definitions: String,
}

impl Selected {
    /// What the config selects, in the snapshot of the session.
    pub(super) async fn of(session: &Session, limits: Timeouts, config: &Config) -> Result<Self, ConnectorError> {
        let selection = Selection::new(config);
        let mut tables = catalog::tables(session, limits.first_byte).await?;
        tables.retain(|table| selection.tables().includes(&table.schema, &table.name));
        let ids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
        let row = answered(limits.first_byte, session.client.query_one(DEFINITIONS, &[&ids])).await?;
        let definitions = row.try_get(0).map_err(|error| Failure::from(error).into_error())?;
        Ok(Self { tables, definitions })
    }
}

impl Tables {
    /// Those of the selected tables whose changes are told, with what reading
    /// them takes.
    pub(super) async fn of(
        session: &Session,
        limits: Timeouts,
        config: &Config,
        selected: &Selected,
        published: &[u32],
    ) -> Result<Self, ConnectorError> {
        let selection = Selection::new(config);
        let mut layouts: HashMap<u32, Layout> = layouts_of(session, limits, &selected.tables).await?;
        let mut followed = Vec::new();
        for table in &selected.tables {
            let layout = layouts.remove(&table.oid).unwrap_or_default();
            let key = layout.key.clone();
            let type_of = |name: &String| {
                layout.columns.iter().find(|column| column.name == *name).map(|column| column.type_name.clone())
            };
            let key_types: Option<Vec<String>> = key.iter().map(type_of).collect();
            let shape = Shape::new(table, layout, &selection);
            if let Some(key_types) = key_types.filter(|_| published.contains(&table.oid)) {
                followed.push(Followed {
                    id: table.oid,
                    object: path_of(table).into(),
                    shape: Arc::new(shape),
                    key,
                    key_types,
                });
            }
        }
        Ok(Self { followed })
    }

    /// The place of a table among the followed, and the columns of its key.
    pub(super) fn by_id(&self, id: u32) -> Option<(usize, &[String])> {
        let place = self.followed.iter().position(|table| table.id == id)?;
        Some((place, &self.followed[place].key))
    }
}

impl Followed {
    /// A part of what changed of it.
    pub(super) fn changed(&self, emptied: bool, records: Vec<RawRecord>, gone: Vec<String>) -> Told {
        Told::Changed(Changed { object: self.object.clone(), emptied, records, gone, shape: self.shape.clone() })
    }

    /// Reads the rows of these keys, in the snapshot of the session, and tells what
    /// they are now, and which of them are gone.
    pub(super) async fn read_and_tell(
        &self,
        session: &Session,
        limits: Timeouts,
        keys: &[RowKey],
        telling: &Telling,
    ) -> Result<(), ObjectError> {
        let values = self.values(keys);
        // Keys as a sync has them, and whether their rows are there.
        let mut asked = self.asked(session, limits, &values, keys.len()).await?;
        let wanted = format!("({}) IN (VALUES {values})", self.columns("t."));
        let mut lines = pin!(copy(session, limits, &self.shape.copy_statement(Rows::Where(&wanted), false)).await?);
        let mut made = Keys::new(&self.shape);
        let (mut records, mut bytes) = (Vec::new(), 0);
        while let Some(line) = next_line(&mut lines, limits).await? {
            let source_key = made.of(&line).map_err(|_| UNREADABLE)?;
            *asked.get_mut(&source_key).ok_or(UNREADABLE)? = true;
            // The document of a row that is too large stays as it is; a sync
            // lists it as failed.
            if line.len() <= LARGEST_ROW && !is_cut(&line) {
                let fingerprint = self.shape.fingerprint(&line);
                bytes += line.len();
                records.push(RawRecord { source_key, fingerprint, payload: line });
            }
            if bytes >= MOST_AT_ONCE {
                telling.tell(self.changed(false, std::mem::take(&mut records), Vec::new())).await?;
                bytes = 0;
            }
        }
        let gone = asked.into_iter().filter_map(|(key, is_there)| (!is_there).then_some(key)).collect();
        Ok(telling.tell(self.changed(false, records, gone)).await?)
    }

    /// The keys as the server itself writes them: so a sync has them.
    async fn asked(
        &self,
        session: &Session,
        limits: Timeouts,
        values: &str,
        count: usize,
    ) -> Result<HashMap<String, bool>, ObjectError> {
        let statement = self.shape.keys_of_values_statement(&format!("(VALUES {values}) AS t({})", self.columns("")));
        let mut lines = pin!(copy(session, limits, &statement).await?);
        let made = Keys::new(&self.shape);
        let mut asked = HashMap::with_capacity(count);
        let mut told = 0;
        while let Some(line) = next_line(&mut lines, limits).await? {
            told += 1;
            if told > count {
                return Err(UNREADABLE);
            }
            asked.insert(made.of_key(&line).map_err(|_| UNREADABLE)?, false);
        }
        Ok(asked)
    }

    fn columns(&self, prefix: &str) -> String {
        let columns: Vec<String> = self.key.iter().map(|name| format!("{prefix}{}", identifier(name))).collect();
        columns.join(", ")
    }

    fn values(&self, keys: &[RowKey]) -> String {
        let value = |(text, type_name): (&String, &String)| format!("{}::{type_name}", literal(text));
        let row = |key: &RowKey| {
            let values: Vec<String> = key.iter().zip(&self.key_types).map(value).collect();
            format!("({})", values.join(", "))
        };
        keys.iter().map(row).collect::<Vec<_>>().join(", ")
    }
}

const UNREADABLE: ObjectError = ObjectError::Object("undecodable", "the row's key cannot be read");

/// A text as SQL writes it, whatever the server's settings.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Ids of the tables that may be published.
pub(super) fn ids(publishable: &[Publishable]) -> Vec<u32> {
    publishable.iter().map(|table| table.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_leave_its_quotes() {
        assert_eq!(literal(r"a'b\'c"), r"E'a''b\\''c'");
        assert_eq!(literal(""), "E''");
    }
}
