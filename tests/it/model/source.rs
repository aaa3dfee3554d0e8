//! What is at the source: two tables of rows with a version each.

use std::collections::BTreeMap;

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// In every config.
    A,
    /// Out of a narrow one.
    B,
    /// The view with one row through which no sync comes while the gate is closed.
    Gate,
}

impl Table {
    /// Its name in the schema; the gate is read last.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::Gate => "zz",
        }
    }
}

/// Rows by id, with their versions.
pub type Rows = BTreeMap<i64, i64>;

/// A change of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// So many new rows.
    Insert(u8),
    /// The nth row, counted round, gets another version.
    Update(u8),
    /// The nth row, counted round, goes.
    Delete(u8),
}

/// The source as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    rows: BTreeMap<Table, Rows>,
    next: i64,
}

/// What a change comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Rows from the first to the last id are new.
    New(i64, i64),
    /// The row has this version.
    Version(i64, i64),
    /// The row is gone.
    Gone(i64),
    /// There is no row to change.
    Nothing,
}

impl Source {
    /// A few rows in each table.
    pub fn new() -> Self {
        let few = |from| (from..from + 3).map(|id| (id, 0)).collect();
        let rows = BTreeMap::from([(Table::A, few(1)), (Table::B, few(4)), (Table::Gate, Rows::from([(1, 0)]))]);
        Self { rows, next: 7 }
    }

    /// Rows of a table.
    pub fn rows(&self, table: Table) -> &Rows {
        &self.rows[&table]
    }

    /// Changes a table.
    pub fn change(&mut self, table: Table, change: Change) -> Effect {
        let rows = self.rows.get_mut(&table).unwrap();
        let nth = |rows: &Rows, n: u8| rows.keys().nth(usize::from(n) % rows.len().max(1)).copied();
        match change {
            Change::Insert(count) => {
                let first = self.next;
                self.next += i64::from(count);
                rows.extend((first..self.next).map(|id| (id, 0)));
                Effect::New(first, self.next - 1)
            }
            Change::Update(n) => match nth(rows, n) {
                Some(id) => {
                    let version = rows[&id] + 1;
                    rows.insert(id, version);
                    Effect::Version(id, version)
                }
                None => Effect::Nothing,
            },
            Change::Delete(n) => match nth(rows, n) {
                Some(id) => {
                    rows.remove(&id);
                    Effect::Gone(id)
                }
                None => Effect::Nothing,
            },
        }
    }
}
