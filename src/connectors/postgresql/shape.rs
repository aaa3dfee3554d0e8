//! The shape of a table's rows: which columns are read, how, and what of them is
//! the key. It makes the statement and says what a line of its answer means.

use std::collections::HashMap;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::catalog::{Layout, Table};
use super::document::Roles;
use super::kinds::Kind;
use super::line::{self, Malformed};
use super::selection::Selection;
use super::templates::Templates;
use crate::connectors::rows::names::identifier;
use crate::record::Fingerprint;

/// What `decode` needs beside a row.
pub struct Shape {
    pub(super) columns: Vec<ShapeColumn>,
    pub(super) roles: Roles,
    pub(super) templates: Templates,
    pub(super) row_limit: Option<u64>,
    /// Positions of the key's columns; none means that the row itself is the key.
    key: Vec<usize>,
    /// Names and types, hashed: a renamed column makes other documents.
    salt: u64,
    /// What is read, and how: a proof of unmoved rows holds for one such.
    identity: u64,
    /// Rows keep the text that they have until they are written anew.
    pub(super) is_stable: bool,
    source: String,
}

/// Which rows of a table are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rows<'a> {
    /// All, or as many as the config allows: the same every time.
    All,
    /// So many, whichever come first.
    Sample(u64),
    /// Those that fulfil a condition on `t`.
    Where(&'a str),
}

/// One column of the statement.
pub(super) struct ShapeColumn {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// False for a column that is left out of documents but is in the key: the
    /// server sends a hash of it.
    pub(super) visible: bool,
}

impl Shape {
    /// The shape of a table under a config.
    pub(super) fn new(table: &Table, layout: Layout, selection: &Selection<'_>) -> Self {
        let Layout { columns, key } = layout;
        let (mut salt, mut identity) = (Xxh3::new(), Xxh3::new());
        let mut shaped = Vec::new();
        let mut is_stable = true;
        for column in columns {
            let visible = !selection.tables().leaves_out(&table.schema, &table.name, &column.name);
            if visible || key.contains(&column.name) {
                for part in [column.name.as_str(), column.type_name.as_str(), if visible { "shown" } else { "hidden" }]
                {
                    salt.update(&(part.len() as u64).to_le_bytes());
                    salt.update(part.as_bytes());
                }
                identity.update(&column.number.to_le_bytes());
                is_stable &= column.is_stable;
                shaped.push(ShapeColumn { name: column.name, kind: column.kind, visible });
            }
        }
        let salt = salt.digest();
        identity.update(&salt.to_le_bytes());
        key.iter().for_each(|name| identity.update(name.as_bytes()));
        let position = |name: &String| shaped.iter().position(|column| column.name == *name);
        let options = selection.options(&table.schema, &table.name);
        let only = if table.has_children_by_inheritance() { "ONLY " } else { "" };
        Self {
            key: key.iter().filter_map(position).collect(),
            roles: Roles::of(&shaped),
            columns: shaped,
            templates: Templates {
                title: options.title_template,
                body: options.body_template,
                url: options.url_template,
            },
            row_limit: options.row_limit,
            salt,
            identity: identity.digest(),
            is_stable,
            source: format!("{only}{}.{} AS t", identifier(&table.schema), identifier(&table.name)),
        }
    }

    /// The statement that reads rows; `with_place` adds where each is.
    pub(super) fn copy_statement(&self, rows: Rows<'_>, with_place: bool) -> String {
        let place = with_place.then(|| "t.ctid".to_owned());
        self.copy(self.columns.iter().map(ShapeColumn::expression).chain(place), rows)
    }

    /// The statement that reads the columns of the key alone, of the rows that
    /// fulfil a condition.
    pub(super) fn keys_statement(&self, condition: &str) -> String {
        self.copy(self.key.iter().map(|position| self.columns[*position].expression()), Rows::Where(condition))
    }

    /// The statement that gives the columns of the key as they would be read from
    /// such values, which are called `t`.
    pub(super) fn keys_of_values_statement(&self, values: &str) -> String {
        let columns: Vec<String> = self.key.iter().map(|position| self.columns[*position].expression()).collect();
        format!("COPY (SELECT {} FROM {values}) TO STDOUT (FORMAT text, ENCODING 'UTF8')", columns.join(", "))
    }

    fn copy(&self, columns: impl Iterator<Item = String>, rows: Rows<'_>) -> String {
        let columns: Vec<String> = columns.collect();
        let tail = match (rows, self.row_limit) {
            (Rows::Sample(sample), _) => format!(" LIMIT {sample}"),
            (Rows::Where(condition), _) => format!(" WHERE {condition}"),
            (Rows::All, Some(limit)) => format!(" ORDER BY {} LIMIT {limit}", self.order()),
            (Rows::All, None) => String::new(),
        };
        format!(
            "COPY (SELECT {} FROM {}{tail}) TO STDOUT (FORMAT text, ENCODING 'UTF8')",
            columns.join(", "),
            self.source
        )
    }

    /// What is read, and how, as a text to compare.
    pub(super) fn identity(&self) -> String {
        format!("{:016x}", self.identity)
    }

    /// True when rows have a key, and so can be told apart.
    pub(super) fn has_key(&self) -> bool {
        !self.key.is_empty()
    }

    /// The statement that counts the rows, and those among them that fulfil a
    /// condition, and gives an aggregate's text beside.
    pub(super) fn count_statement(&self, condition: Option<&str>, beside: Option<&str>) -> String {
        let (condition, beside) = (condition.unwrap_or("false"), beside.unwrap_or("NULL::text"));
        format!("SELECT count(*), count(*) FILTER (WHERE {condition}), {beside} FROM {}", self.source)
    }

    /// True when the rows' content has the column, as it is.
    pub(super) fn shows(&self, column: &str) -> bool {
        self.columns.iter().any(|shown| shown.visible && shown.name == column)
    }

    fn order(&self) -> String {
        let positions: Vec<usize> =
            if self.key.is_empty() { (0..self.columns.len()).collect() } else { self.key.clone() };
        let columns: Vec<String> =
            positions.into_iter().map(|position| format!("t.{}", identifier(&self.columns[position].name))).collect();
        // Not every type has an order, but every row has a text.
        if self.key.is_empty() {
            format!("ROW({})::text COLLATE \"C\"", columns.join(", "))
        } else {
            columns.join(", ")
        }
    }

    /// Fingerprint of a line.
    pub(super) fn fingerprint(&self, line: &[u8]) -> Fingerprint {
        Fingerprint::of_salted(line::content(line), self.salt)
    }
}

impl ShapeColumn {
    fn expression(&self) -> String {
        let column = format!("t.{}", identifier(&self.name));
        if !self.visible {
            return format!("encode(sha256(convert_to({column}::text, 'UTF8')), 'hex')");
        }
        match self.kind {
            // The content is never shown: its length and hash tell of a change.
            Kind::Bytes => format!("octet_length({column})::text || ':' || encode(sha256({column}), 'hex')"),
            _ => column,
        }
    }
}

/// Makes the keys of the rows of one pass.
pub(super) struct Keys<'a> {
    shape: &'a Shape,
    /// How often a row without a key was seen. Half of the hash: two rows that
    /// share it only get another ordinal.
    seen: HashMap<u64, u32>,
}

impl<'a> Keys<'a> {
    /// For a pass over one table.
    pub(super) fn new(shape: &'a Shape) -> Self {
        Self { shape, seen: HashMap::new() }
    }

    /// The key of a line: the JSON array of its key's texts, or the row's hash
    /// and its ordinal among equals.
    pub(super) fn of(&mut self, line: &[u8]) -> Result<String, Malformed> {
        if self.shape.key.is_empty() {
            let hash = xxh3_128(line::content(line));
            let ordinal = self.seen.entry(hash as u64).or_insert(0);
            *ordinal = ordinal.saturating_add(1);
            return Ok(format!("[\"#{hash:032x}\",{ordinal}]"));
        }
        key_of(line, self.shape.key.iter().copied())
    }

    /// The key of a line that has nothing but the key.
    pub(super) fn of_key(&self, line: &[u8]) -> Result<String, Malformed> {
        key_of(line, 0..self.shape.key.len())
    }
}

fn key_of(line: &[u8], positions: impl Iterator<Item = usize>) -> Result<String, Malformed> {
    let mut key = String::with_capacity(24);
    for position in positions {
        key.push(if key.is_empty() { '[' } else { ',' });
        line::push_json(line, position, &mut key)?;
    }
    key.push(']');
    Ok(key)
}
