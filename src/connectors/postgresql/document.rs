//! A row to a document.

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

type Fields = [Option<String>];

/// The document of one row.
pub(super) fn decode(shape: &Shape, record: &RawRecord) -> Result<Document, RecordError> {
    let fields = line::fields(&record.payload, shape.columns.len())
        .map_err(|_| RecordError { code: "undecodable", message: "the row is not text that can be read".to_owned() })?;
    let metadata: Map<String, Value> = shown(shape, &fields)
        .map(|(column, text)| (column.name.clone(), text.map_or(Value::Null, |text| typed(&column.kind, text))))
        .collect();
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
        created_at: moment(shape, &fields, &CREATED),
        updated_at: moment(shape, &fields, &UPDATED),
        metadata,
    })
}

fn shown<'a>(shape: &'a Shape, fields: &'a Fields) -> impl Iterator<Item = (&'a ShapeColumn, Option<&'a str>)> {
    shape
        .columns
        .iter()
        .zip(fields)
        .filter(|(column, _)| column.visible)
        .map(|(column, text)| (column, text.as_deref()))
}

/// The first text that reads as a title by its column's name, else the first.
fn title_of(shape: &Shape, fields: &Fields) -> Option<String> {
    let texts = || {
        shown(shape, fields).filter_map(|(column, text)| {
            let text = text.filter(|text| column.kind.is_text() && !text.trim().is_empty())?;
            Some((column, text))
        })
    };
    let named = texts().find(|(column, _)| {
        let name = column.name.to_lowercase();
        TITLE_WORDS.iter().any(|word| name.ends_with(word))
    });
    named.or_else(|| texts().next()).map(|(_, text)| text.to_owned())
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

fn body_of(shape: &Shape, metadata: &Map<String, Value>) -> String {
    let mut body = String::new();
    for column in shape.columns.iter().filter(|column| column.visible && !column.kind.is_bytes()) {
        if let Some(value) = metadata.get(&column.name).filter(|value| !value.is_null()) {
            if !body.is_empty() {
                body.push('\n');
            }
            body.push_str(&column.name);
            body.push_str(": ");
            body.push_str(&words(value));
        }
    }
    body
}

fn moment(shape: &Shape, fields: &Fields, names: &[&str]) -> Option<i64> {
    names.iter().find_map(|name| {
        let (column, text) = shown(shape, fields)
            .find(|(column, _)| column.kind.is_timestamp() && column.name.eq_ignore_ascii_case(name))?;
        microseconds(&column.kind, text?)
    })
}
