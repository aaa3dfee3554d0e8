//! How the rows of a table are asked for and named.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use super::catalog::{Layout, Table};
use super::columns::{Column, Kind};
use super::selection::Selection;
use super::session::Row;
use super::{sql, values};
use crate::connectors::RecordError;
use crate::connectors::rows::template::TemplateError;
use crate::connectors::rows::{RowMapping, keys};
use crate::record::{Document, Fingerprint, RawRecord};

/// What the large values of a row may be together; the guard lets a little more pass.
const LARGEST_VALUES: u64 = 7 << 20;

/// What decoding needs beside a row.
pub struct Shape {
    columns: Vec<(String, Kind)>,
    mapping: RowMapping,
}

impl Shape {
    /// The document of a row.
    pub(super) fn decode(&self, object: &str, record: &RawRecord) -> Result<Document, RecordError> {
        let values = values::decode(&record.payload, self.columns.iter().map(|(_, kind)| *kind))
            .ok_or_else(|| RecordError { code: "undecodable", message: "the row cannot be decoded".to_owned() })?;
        let columns: Vec<(String, Value)> = self.columns.iter().map(|(name, _)| name.clone()).zip(values).collect();
        self.mapping.document(object, &columns, &record.source_key)
    }
}

/// Which rows are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Which {
    /// All.
    All,
    /// So many, in the order of the key.
    First(u64),
    /// Those that fulfil a condition.
    Where(String),
}

/// How the rows of a table are asked for and named.
pub(super) struct Plan {
    table: String,
    key: Vec<Column>,
    /// Columns of the document.
    columns: Vec<Column>,
    /// Rows lie in the order of the key, and can be found again by it.
    has_places: bool,
    /// What the large values of a row are together, where they may be too much.
    size: Option<String>,
    pub(super) limit: Option<u64>,
    pub(super) shape: Arc<Shape>,
    salt: u64,
}

/// What came of a row.
pub(super) enum Read {
    Record(RawRecord),
    TooLarge { source_key: String },
}

impl Plan {
    pub(super) fn of(table: &Table, layout: &Layout, selection: &Selection<'_>) -> Result<Self, TemplateError> {
        let options = selection.options(&table.database, &table.name);
        let is_read = |column: &&Column| !selection.tables().leaves_out(&table.database, &table.name, &column.name);
        let columns: Vec<Column> = layout.columns.iter().filter(is_read).cloned().collect();
        let key: Vec<Column> =
            layout.key.iter().filter_map(|position| layout.columns.get(*position)).cloned().collect();
        let sizes: Vec<String> = columns.iter().filter_map(Column::size).collect();
        let sizes: Vec<String> = sizes.into_iter().map(|size| format!("COALESCE({size}, 0)")).collect();
        let named = columns.iter().map(|column| (column.name.clone(), column.kind)).collect();
        let shape = Arc::new(Shape { columns: named, mapping: options.mapping()? });
        Ok(Self {
            table: sql::table(&table.database, &table.name),
            has_places: table.is_clustered && layout.is_primary && key.iter().all(Column::has_places),
            salt: salt_of(&key, &columns),
            size: (!sizes.is_empty()).then(|| format!("({})", sizes.join(" + "))),
            limit: options.row_limit,
            key,
            columns,
            shape,
        })
    }

    /// The statement that reads rows whole: whether they are too large, then their
    /// keys, then what documents are made of.
    pub(super) fn rows(&self, which: &Which) -> String {
        let mut asked = vec![match &self.size {
            Some(size) => format!("({size} > {LARGEST_VALUES})"),
            None => "0".to_owned(),
        }];
        asked.extend(self.key.iter().map(Column::key_expression));
        asked.extend(self.columns.iter().map(|column| match (&self.size, column.size()) {
            (Some(size), Some(_)) => format!("IF({size} > {LARGEST_VALUES}, NULL, {})", column.expression()),
            _ => column.expression(),
        }));
        self.select(&asked, which)
    }

    /// The statement that reads the keys of rows.
    pub(super) fn keys(&self, which: &Which) -> String {
        let asked: Vec<String> = self.key.iter().map(Column::key_expression).collect();
        self.select(&asked, which)
    }

    fn select(&self, asked: &[String], which: &Which) -> String {
        let key: Vec<String> = self.key.iter().map(|column| sql::identifier(&column.name)).collect();
        let by_key = if key.is_empty() { String::new() } else { format!(" ORDER BY {}", key.join(", ")) };
        // In another order than theirs, rows would have to be sorted first.
        let as_they_lie = if self.has_places { by_key.clone() } else { String::new() };
        let tail = match which {
            Which::All => as_they_lie,
            Which::First(limit) => format!("{by_key} LIMIT {limit}"),
            Which::Where(condition) => format!(" WHERE {condition}{as_they_lie}"),
        };
        format!("SELECT {} FROM {}{tail}", asked.join(", "), self.table)
    }

    /// The statement, without its `SELECT`, that counts all rows, and those that fulfil
    /// a condition, and looks for the highest value of a column.
    pub(super) fn count(&self, condition: Option<&str>, highest: Option<&str>) -> String {
        let some = condition.map_or_else(|| "0".to_owned(), |condition| format!("COALESCE(SUM({condition}), 0)"));
        let highest = highest.map_or_else(|| "NULL".to_owned(), |column| format!("MAX({})", sql::identifier(column)));
        format!("COUNT(*), {some}, {highest} FROM {}", self.table)
    }

    /// True when rows have a key that does not need all of the row.
    pub(super) fn has_key(&self) -> bool {
        !self.key.is_empty()
    }

    /// True when the rows behind a place can be asked for.
    pub(super) fn has_places(&self) -> bool {
        self.has_places
    }

    /// True when documents have the column.
    pub(super) fn shows(&self, column: &str) -> bool {
        self.columns.iter().any(|shown| shown.name == column)
    }

    /// Names and kinds of all columns, as one text.
    pub(super) fn identity(&self) -> String {
        format!("{:016x}", self.salt)
    }

    /// A condition for the rows behind a place, which are in the order of the key.
    pub(super) fn behind(&self, place: &[String]) -> Option<String> {
        if place.len() != self.key.len() || place.is_empty() || !self.has_places {
            return None;
        }
        let values: Vec<String> =
            self.key.iter().zip(place).map(|(column, value)| column.place(value)).collect::<Option<_>>()?;
        let names: Vec<String> = self.key.iter().map(|column| sql::identifier(&column.name)).collect();
        let behind: Vec<String> = (0..names.len())
            .map(|last| {
                let same = (0..last).map(|index| format!("{} = {} AND ", names[index], values[index]));
                format!("({}{} > {})", same.collect::<String>(), names[last], values[last])
            })
            .collect();
        // The first part alone tells the server where to begin.
        Some(format!("{} >= {} AND ({})", names[0], values[0], behind.join(" OR ")))
    }

    /// A condition for the rows of these keys, each of as many texts as the key has
    /// columns; none where one cannot be written.
    pub(super) fn with_keys(&self, keys: &[Vec<String>]) -> Option<String> {
        let names: Vec<String> = self.key.iter().map(|column| sql::identifier(&column.name)).collect();
        let values = |key: &Vec<String>| -> Option<Vec<String>> {
            let is_whole = key.len() == self.key.len() && !key.is_empty();
            is_whole.then(|| self.key.iter().zip(key).map(|(column, text)| column.place(text)).collect()).flatten()
        };
        let values: Vec<Vec<String>> = keys.iter().map(values).collect::<Option<_>>()?;
        if let [name] = names.as_slice() {
            return Some(format!("{name} IN ({})", values.concat().join(", ")));
        }
        let row = |values: &Vec<String>| {
            let same: Vec<String> = names.iter().zip(values).map(|(name, value)| format!("{name} = {value}")).collect();
            format!("({})", same.join(" AND "))
        };
        Some(format!("({})", values.iter().map(row).collect::<Vec<_>>().join(" OR ")))
    }

    /// The columns of the key.
    pub(super) fn key(&self) -> &[Column] {
        &self.key
    }

    /// Where a row lies; none where that cannot be said.
    pub(super) fn place_of(&self, row: &Row) -> Option<Vec<String>> {
        let values = row.get(1..=self.key.len())?.iter();
        let place = values.map(|value| String::from_utf8(value.clone()?).ok()).collect::<Option<Vec<_>>>()?;
        self.behind(&place).map(|_| place)
    }

    /// The key of a row that has nothing but its key; none when it is not of this
    /// table.
    pub(super) fn source_key(&self, row: &[Option<Vec<u8>>]) -> Option<String> {
        let values = row.get(..self.key.len())?;
        let parts = self.key.iter().zip(values).map(|(column, value)| {
            let Some(value) = value else { return Value::Null };
            values::key_part(column.kind, &String::from_utf8_lossy(value))
        });
        Some(Value::Array(parts.collect()).to_string())
    }

    /// The record of a row; none when it is not of this table. `seen` counts equal rows
    /// where they have no key.
    pub(super) fn read(&self, row: &Row, seen: &mut HashMap<u128, u64>) -> Option<Read> {
        let (is_too_large, rest) = row.split_first()?;
        let (key, columns) = rest.split_at_checked(self.key.len())?;
        if columns.len() != self.columns.len() {
            return None;
        }
        let mut payload = Vec::with_capacity(columns.iter().flatten().map(Vec::len).sum::<usize>() + 9 * columns.len());
        columns.iter().for_each(|value| values::encode(value.as_deref(), &mut payload));
        let source_key = if self.has_key() { self.source_key(key)? } else { keys::hashed(&payload, seen) };
        if is_too_large.as_deref() == Some(b"1") {
            return Some(Read::TooLarge { source_key });
        }
        let fingerprint = Fingerprint::of_salted(&payload, self.salt);
        Some(Read::Record(RawRecord { source_key, fingerprint, payload: Bytes::from(payload) }))
    }
}

/// Names and kinds of the columns, so that one that was renamed is a change.
fn salt_of(key: &[Column], columns: &[Column]) -> u64 {
    let mut hasher = Xxh3::new();
    for (part, columns) in [("key", key), ("columns", columns)] {
        hasher.update(part.as_bytes());
        for Column { name, kind, is_converted: _, is_unsigned: _ } in columns {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(format!("{kind:?}").as_bytes());
        }
    }
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connectors::mysql::settings::Config;

    fn column(name: &str, kind: Kind) -> Column {
        Column { name: name.to_owned(), kind, is_converted: false, is_unsigned: false }
    }

    fn plan(columns: Vec<Column>, key: Vec<usize>) -> Plan {
        let table = Table {
            database: "shop".to_owned(),
            name: "orders".to_owned(),
            is_view: false,
            is_clustered: true,
            estimate: None,
            created: String::new(),
            is_hidden: false,
        };
        let config = Config::default();
        Plan::of(&table, &Layout { columns, key, is_primary: true }, &Selection::new(&config)).unwrap()
    }

    fn row(values: &[Option<&str>]) -> Row {
        values.iter().map(|value| value.map(|text| text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn rows_are_read_in_the_order_of_a_key_and_on_from_a_place() {
        let plan =
            plan(vec![column("a", Kind::Integer), column("b", Kind::Text), column("c", Kind::Double)], vec![0, 1]);
        assert_eq!(plan.rows(&Which::All), "SELECT 0, `a`, `b`, `a`, `b`, `c` FROM `shop`.`orders` ORDER BY `a`, `b`");
        assert_eq!(plan.keys(&Which::First(3)), "SELECT `a`, `b` FROM `shop`.`orders` ORDER BY `a`, `b` LIMIT 3");
        let read = row(&[Some("0"), Some("7"), Some("x"), Some("7"), Some("x"), None]);
        let place = plan.place_of(&read).unwrap();
        assert_eq!(plan.behind(&place).unwrap(), "`a` >= 7 AND ((`a` > 7) OR (`a` = 7 AND `b` > _utf8mb4 x'78'))");
        assert_eq!(plan.behind(&["7 OR 1".to_owned(), "x".to_owned()]), None);
        let keys = [place.clone(), vec!["8".to_owned(), String::new()]];
        let condition = "((`a` = 7 AND `b` = _utf8mb4 x'78') OR (`a` = 8 AND `b` = _utf8mb4 x''))";
        assert_eq!(plan.with_keys(&keys).as_deref(), Some(condition));
        assert_eq!(plan.with_keys(&[vec!["1) OR (1".to_owned(), String::new()]]), None);
        assert_eq!(plan.with_keys(&keys[..0]).as_deref(), Some("()"));
        assert_eq!(plan.behind(&place[..1]), None);
    }

    #[test]
    fn rows_that_are_too_large_come_without_what_is_large() {
        let plan = plan(vec![column("a", Kind::Integer), column("t", Kind::LongText)], vec![0]);
        let size = "(COALESCE(OCTET_LENGTH(`t`), 0))";
        assert_eq!(
            plan.rows(&Which::First(1)),
            format!(
                "SELECT ({size} > 7340032), `a`, `a`, IF({size} > 7340032, NULL, `t`) FROM `shop`.`orders` \
                 ORDER BY `a` LIMIT 1"
            )
        );
        let read = plan.read(&row(&[Some("1"), Some("7"), Some("7"), None]), &mut HashMap::new());
        assert!(matches!(read, Some(Read::TooLarge { source_key }) if source_key == "[7]"));
    }

    #[test]
    fn equal_rows_without_a_key_are_told_apart_and_odd_rows_are_refused() {
        let plan = plan(vec![column("a", Kind::Integer)], Vec::new());
        let mut seen = HashMap::new();
        let mut key = || match plan.read(&row(&[Some("0"), Some("7")]), &mut seen) {
            Some(Read::Record(record)) => record.source_key,
            Some(Read::TooLarge { .. }) | None => panic!("a record"),
        };
        assert_ne!(key(), key());
        for odd in [&[][..], &[Some("0")], &[Some("0"), Some("7"), Some("8")]] {
            assert!(plan.read(&row(odd), &mut HashMap::new()).is_none());
        }
    }
}
