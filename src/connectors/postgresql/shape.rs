//! The shape of a table's rows: which columns are read, how, and what of them is
//! the key. It makes the statement and says what a line of its answer means.

use std::collections::HashMap;

use serde_json::Value;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::catalog::{Layout, Table};
use super::kinds::Kind;
use super::line::{self, Malformed};
use super::path::identifier;
use super::selection::Selection;
use super::templates::Templates;
use crate::record::Fingerprint;

/// What `decode` needs beside a row.
pub struct Shape {
    pub(super) columns: Vec<ShapeColumn>,
    pub(super) templates: Templates,
    pub(super) row_limit: Option<u64>,
    /// Positions of the key's columns; none means that the row itself is the key.
    key: Vec<usize>,
    /// Names and types, hashed: a renamed column makes other documents.
    salt: u64,
    source: String,
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
        let mut salt = Xxh3::new();
        let mut shaped = Vec::new();
        for column in columns {
            let visible = !selection.leaves_out(&table.schema, &table.name, &column.name);
            if visible || key.contains(&column.name) {
                for part in [column.name.as_str(), column.type_name.as_str(), if visible { "shown" } else { "hidden" }]
                {
                    salt.update(&(part.len() as u64).to_le_bytes());
                    salt.update(part.as_bytes());
                }
                shaped.push(ShapeColumn { name: column.name, kind: column.kind, visible });
            }
        }
        let position = |name: &String| shaped.iter().position(|column| column.name == *name);
        let options = selection.options(&table.schema, &table.name);
        let only = if table.has_children_by_inheritance() { "ONLY " } else { "" };
        Self {
            key: key.iter().filter_map(position).collect(),
            columns: shaped,
            templates: Templates {
                title: options.title_template,
                body: options.body_template,
                url: options.url_template,
            },
            row_limit: options.row_limit,
            salt: salt.digest(),
            source: format!("{only}{}.{} AS t", identifier(&table.schema), identifier(&table.name)),
        }
    }

    /// The statement that reads the rows. A limit by config takes the same rows
    /// every time, a sample takes any.
    pub(super) fn copy_statement(&self, sample: Option<u64>) -> String {
        let columns: Vec<String> = self.columns.iter().map(ShapeColumn::expression).collect();
        let tail = match (sample, self.row_limit) {
            (Some(sample), _) => format!(" LIMIT {sample}"),
            (None, Some(limit)) => format!(" ORDER BY {} LIMIT {limit}", self.order()),
            (None, None) => String::new(),
        };
        format!(
            "COPY (SELECT {} FROM {}{tail}) TO STDOUT (FORMAT text, ENCODING 'UTF8')",
            columns.join(", "),
            self.source
        )
    }

    /// The statement that counts the rows.
    pub(super) fn count_statement(&self) -> String {
        format!("SELECT count(*) FROM {}", self.source)
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
        Fingerprint::of(line::content(line)).salted(self.salt)
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
        let text = |position: &usize| line::nth(line, *position).map(|text| text.map_or(Value::Null, Value::String));
        let key = self.shape.key.iter().map(text).collect::<Result<_, _>>()?;
        Ok(Value::Array(key).to_string())
    }
}
