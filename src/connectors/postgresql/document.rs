//! A row to a document.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::line;
use super::shape::{Shape, ShapeColumn};
use super::templates;
use super::values::{microseconds, typed};
use crate::connectors::RecordError;
use crate::record::{Document, RawRecord};

/// Longest title, in characters.
const LONGEST_TITLE: usize = 300;
/// Last words of column names that read as a title.
const TITLE_WORDS: [&str; 9] =
    ["title", "name", "subject", "label", "headline", "caption", "heading", "email", "summary"];
/// Columns that say when a row was made.
const CREATED: [&str; 7] =
    ["created_at", "created", "createdat", "created_on", "creation_date", "inserted_at", "date_created"];
/// Columns that say when a row was changed.
const UPDATED: [&str; 9] = [
    "updated_at",
    "updated",
    "updatedat",
    "updated_on",
    "modified_at",
    "modified",
    "last_modified",
    "changed_at",
    "last_update",
];

type Fields<'a> = [Option<Cow<'a, str>>];

/// What columns are to a document, by their names: positions, preferred first.
pub(super) struct Roles {
    title: Vec<usize>,
    created: Vec<usize>,
    updated: Vec<usize>,
}

impl Roles {
    /// The roles of a table's columns.
    pub(super) fn of(columns: &[ShapeColumn]) -> Self {
        let shown = || columns.iter().enumerate().filter(|(_, column)| column.visible);
        let (named, others): (Vec<_>, Vec<_>) =
            shown().filter(|(_, column)| column.kind.is_text()).partition(|(_, column)| {
                let name = column.name.to_lowercase();
                TITLE_WORDS.iter().any(|word| name.ends_with(word))
            });
        let moments = |names: &[&str]| {
            let position = |name: &&str| {
                let is_it = |column: &ShapeColumn| column.kind.is_timestamp() && column.name.eq_ignore_ascii_case(name);
                shown().find(|(_, column)| is_it(column)).map(|(position, _)| position)
            };
            names.iter().filter_map(position).collect()
        };
        Self {
            title: named.into_iter().chain(others).map(|(position, _)| position).collect(),
            created: moments(&CREATED),
            updated: moments(&UPDATED),
        }
    }
}

/// The document of one row.
pub(super) fn decode(shape: &Shape, record: &RawRecord) -> Result<Document, RecordError> {
    let fields = line::fields(&record.payload, shape.columns.len())
        .map_err(|_| RecordError { code: "undecodable", message: "the row is not text that can be read".to_owned() })?;
    let mut metadata = Map::with_capacity(shape.columns.len());
    for (column, text) in shown(shape, &fields) {
        metadata.insert(column.name.clone(), text.map_or(Value::Null, |text| typed(&column.kind, text)));
    }
    let from_template = |name: &str, template: &Option<String>| match template {
        Some(template) => templates::render(template, &metadata).map(Some).map_err(|()| RecordError {
            code: "template_failed",
            message: format!("`{name}` cannot be filled in for this row"),
        }),
        None => Ok(None),
    };
    let title = from_template("titleTemplate", &shape.templates.title)?.filter(|title| !title.is_empty());
    let body = from_template("bodyTemplate", &shape.templates.body)?;
    let url = from_template("urlTemplate", &shape.templates.url)?.filter(|url| !url.is_empty());
    Ok(Document {
        title: first_line(&title.or_else(|| title_of(shape, &fields)).unwrap_or_else(|| words_of(&record.source_key))),
        body: body.unwrap_or_else(|| body_of(shape, &metadata)),
        url,
        kind: "row".to_owned(),
        created_at: moment(shape, &fields, &shape.roles.created),
        updated_at: moment(shape, &fields, &shape.roles.updated),
        metadata,
    })
}

fn shown<'a>(shape: &'a Shape, fields: &'a Fields<'_>) -> impl Iterator<Item = (&'a ShapeColumn, Option<&'a str>)> {
    shape
        .columns
        .iter()
        .zip(fields)
        .filter(|(column, _)| column.visible)
        .map(|(column, text)| (column, text.as_deref()))
}

/// The first text that reads as a title by its column's name, else the first.
fn title_of(shape: &Shape, fields: &Fields<'_>) -> Option<String> {
    let text = |position: &usize| fields[*position].as_deref().filter(|text| !text.trim().is_empty());
    shape.roles.title.iter().find_map(text).map(str::to_owned)
}

fn first_line(text: &str) -> String {
    text.trim().lines().next().unwrap_or_default().trim_end().chars().take(LONGEST_TITLE).collect()
}

/// `["7","b"]` to `7, b`.
fn words_of(source_key: &str) -> String {
    match serde_json::from_str(source_key) {
        Ok(Value::Array(parts)) => parts.iter().map(words).collect::<Vec<_>>().join(", "),
        _ => source_key.to_owned(),
    }
}

fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `metadata` has the visible columns in their order.
fn body_of(shape: &Shape, metadata: &Map<String, Value>) -> String {
    let mut body = String::new();
    let columns = shape.columns.iter().filter(|column| column.visible).zip(metadata.values());
    for (column, value) in columns.filter(|(column, value)| !column.kind.is_bytes() && !value.is_null()) {
        if !body.is_empty() {
            body.push('\n');
        }
        body.push_str(&column.name);
        body.push_str(": ");
        match value {
            Value::String(text) => body.push_str(text),
            // Writing to a text does not fail.
            other => drop(write!(body, "{other}")),
        }
    }
    body
}

fn moment(shape: &Shape, fields: &Fields<'_>, positions: &[usize]) -> Option<i64> {
    let at = |position: &usize| microseconds(&shape.columns[*position].kind, fields[*position].as_deref()?);
    positions.iter().find_map(at)
}
