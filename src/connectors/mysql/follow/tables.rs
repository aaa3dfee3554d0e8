//! Which tables are followed, and how rows of them are read by their keys.
//!
//! The log is used only for *which* rows changed; what they are is read as a sync reads
//! them, so that following and syncs write the same documents, byte for byte.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::cascades::{Name, References};
use crate::connectors::Account;
use crate::connectors::ConnectorError;
use crate::connectors::following::gathering::RowKey;
use crate::connectors::following::telling::MOST_AT_ONCE;
use crate::connectors::following::{Changed, Followed as Told, Telling};
use crate::connectors::mysql::MySql;
use crate::connectors::mysql::catalog::{Layout, Table};
use crate::connectors::mysql::columns::Column;
use crate::connectors::mysql::object::{ODD, ObjectError, begin, next};
use crate::connectors::mysql::plan::{Plan, Read, Which};
use crate::connectors::mysql::read::{hidden, layout_of, path_of, planned, selected};
use crate::connectors::mysql::selection::Selection;
use crate::connectors::mysql::session::Session;
use crate::egress::Timeouts;
use crate::record::RawRecord;

/// A table that is followed.
pub(super) struct Followed {
    object: Arc<str>,
    plan: Plan,
    /// Where the columns of the key are.
    pub(super) positions: Vec<usize>,
    pub(super) columns: usize,
}

/// The selected tables as they are defined now.
pub(super) struct Tables {
    pub(super) followed: Vec<Followed>,
    by_name: HashMap<Name, usize>,
    /// Tables whose rows take others with them, and the positions of the columns that
    /// are referred to; none where they are not known.
    watched: HashMap<Name, Option<Vec<usize>>>,
    /// Names, in lower case, of everything whose definition matters.
    pub(super) names: HashSet<String>,
    /// Names, in lower case, of the databases where it is.
    pub(super) databases: HashSet<String>,
    pub(super) not_followed: usize,
    /// Of the list of the tables.
    pub(super) definitions: u64,
}

/// What a table of the log is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Role {
    /// Among the followed.
    pub(super) table: Option<usize>,
    pub(super) watched: Option<Option<Vec<usize>>>,
}

/// Hash of a list of tables.
fn definitions_of(tables: &[Table]) -> u64 {
    let mut hasher = Xxh3::new();
    for Table { database, name, is_view, is_clustered, estimate: _, created, is_hidden } in tables {
        for text in [database, name, created] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(&[u8::from(*is_view), u8::from(*is_clustered), u8::from(*is_hidden)]);
    }
    hasher.digest()
}

impl Tables {
    /// Hash of what the config selects now.
    pub(super) async fn definitions(account: &Account<MySql>, session: &mut Session) -> Result<u64, ConnectorError> {
        let limits = account.resources.dialer.timeouts();
        let tables = selected(session, limits, &Selection::new(&account.config)).await?;
        Ok(definitions_of(&tables))
    }

    /// What the config selects, and what reading it takes.
    pub(super) async fn of(account: &Account<MySql>, session: &mut Session) -> Result<Self, ConnectorError> {
        let limits = account.resources.dialer.timeouts();
        let selection = Selection::new(&account.config);
        let all = selected(session, limits, &selection).await?;
        let mut tables = Self {
            followed: Vec::new(),
            by_name: HashMap::new(),
            watched: HashMap::new(),
            names: HashSet::new(),
            databases: HashSet::new(),
            not_followed: 0,
            definitions: definitions_of(&all),
        };
        let mut references = References::default();
        let mut referred: HashMap<Name, HashSet<String>> = HashMap::new();
        let mut layouts = HashMap::new();
        for table in &all {
            let name = (table.database.clone(), table.name.clone());
            tables.names.insert(table.name.to_lowercase());
            tables.databases.insert(table.database.to_lowercase());
            let followed = match followable(session, limits, table, &selection).await? {
                Some((followed, layout)) => {
                    layouts.insert(name.clone(), layout);
                    references.of(session, limits.first_byte, &name).await?.map(|found| (followed, found))
                }
                None => None,
            };
            let Some((followed, found)) = followed else {
                tables.not_followed += 1;
                continue;
            };
            for (name, columns) in found {
                referred.entry(name).or_default().extend(columns);
            }
            tables.by_name.insert(name, tables.followed.len());
            tables.followed.push(followed);
        }
        for (name, columns) in referred {
            tables.names.insert(name.1.to_lowercase());
            tables.databases.insert(name.0.to_lowercase());
            let layout = match layouts.remove(&name) {
                Some(layout) => Some(layout),
                None => layout_by_name(session, limits, &name).await?,
            };
            let positions = layout.and_then(|layout| positions(&layout, &columns));
            tables.watched.insert(name, positions);
        }
        Ok(tables)
    }

    /// What a table is to us; none of what does not matter.
    pub(super) fn role(&self, database: &[u8], name: &[u8]) -> Option<Role> {
        let name = (String::from_utf8(database.to_vec()).ok()?, String::from_utf8(name.to_vec()).ok()?);
        let role = Role { table: self.by_name.get(&name).copied(), watched: self.watched.get(&name).cloned() };
        (role.table.is_some() || role.watched.is_some()).then_some(role)
    }
}

/// A table whose changes can be told, and what it is made of.
async fn followable(
    session: &mut Session,
    limits: Timeouts,
    table: &Table,
    selection: &Selection<'_>,
) -> Result<Option<(Followed, Layout)>, ConnectorError> {
    if table.is_view || table.is_hidden {
        return Ok(None);
    }
    let read = async {
        let layout = layout_of(session, limits, table).await?;
        let plan = planned(table, &layout, selection)?;
        Ok((layout, plan))
    };
    let (layout, plan) = match read.await {
        Ok(read) => read,
        Err(ObjectError::Session(error)) => return Err(error),
        Err(ObjectError::Object(..)) => return Ok(None),
    };
    let has_key = plan.has_key() && plan.key().iter().all(can_be_told);
    // What a limit leaves out depends on the other rows.
    if !has_key || plan.limit.is_some() {
        return Ok(None);
    }
    let followed =
        Followed { object: path_of(table).into(), plan, positions: layout.key.clone(), columns: layout.columns.len() };
    Ok(Some((followed, layout)))
}

/// The value of a key can be read from the log, and written into a statement.
fn can_be_told(column: &Column) -> bool {
    column.has_places() && !column.is_converted
}

async fn layout_by_name(
    session: &mut Session,
    limits: Timeouts,
    name: &Name,
) -> Result<Option<Layout>, ConnectorError> {
    let table = hidden(name.0.clone(), name.1.clone());
    match layout_of(session, limits, &table).await {
        Ok(layout) => Ok(Some(layout)),
        Err(ObjectError::Session(error)) => Err(error),
        Err(ObjectError::Object(..)) => Ok(None),
    }
}

fn positions(layout: &Layout, names: &HashSet<String>) -> Option<Vec<usize>> {
    let position = |name: &String| layout.columns.iter().position(|column| column.name == *name);
    names.iter().map(position).collect()
}

impl Followed {
    /// The columns of the key, in its order.
    pub(super) fn key(&self) -> &[Column] {
        self.plan.key()
    }

    /// A part of what changed of it.
    pub(super) fn changed(&self, emptied: bool, records: Vec<RawRecord>, gone: Vec<String>) -> Told {
        let shape = self.plan.shape.clone();
        Told::Changed(Changed { object: self.object.clone(), emptied, records, gone, shape })
    }

    /// Reads the rows of these keys, in the snapshot of the session, and tells what
    /// they are now, and which of them are gone.
    pub(super) async fn read_and_tell(
        &self,
        session: &mut Session,
        limits: Timeouts,
        keys: &[RowKey],
        telling: &Telling,
    ) -> Result<(), ObjectError> {
        let mut asked = HashMap::with_capacity(keys.len());
        for key in keys {
            let texts: Vec<Option<Vec<u8>>> = key.iter().map(|text| Some(text.clone().into_bytes())).collect();
            asked.insert(self.plan.source_key(&texts).ok_or(ODD)?, false);
        }
        let condition = self.plan.with_keys(keys).ok_or(ODD)?;
        let mut rows = begin(session, limits, &self.plan.rows(&Which::Where(condition))).await?;
        let (mut records, mut bytes, mut seen) = (Vec::new(), 0, HashMap::new());
        while let Some(row) = next(&mut rows, limits).await? {
            let record = match self.plan.read(&row, &mut seen).ok_or(ODD)? {
                Read::Record(record) => record,
                // The document of a row that is too large stays as it is; a sync lists
                // it as failed.
                Read::TooLarge { source_key } => {
                    asked.insert(source_key, true);
                    continue;
                }
            };
            // Where letters of either case are the same, it may be another row than was
            // asked for, which is as true.
            asked.insert(record.source_key.clone(), true);
            bytes += record.payload.len();
            records.push(record);
            if bytes >= MOST_AT_ONCE {
                telling.tell(self.changed(false, std::mem::take(&mut records), Vec::new())).await?;
                bytes = 0;
            }
        }
        let gone = asked.into_iter().filter_map(|(key, is_there)| (!is_there).then_some(key)).collect();
        Ok(telling.tell(self.changed(false, records, gone)).await?)
    }
}
