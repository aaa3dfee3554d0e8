//! From a row to a document: the templates and default rules that sources with
//! tables share.

pub mod cursors;
pub mod keys;
pub mod names;
pub mod patterns;
pub mod selection;
pub mod template;
pub mod times;

use serde_json::{Map, Value};

use crate::connectors::RecordError;
use crate::record::Document;
use template::{Template, TemplateError};

/// Last words of column names that read as a title, best first is by the order
/// of the columns.
const TITLE_WORDS: &[&str] = &["name", "title", "subject", "label", "headline", "heading", "summary", "caption"];
const CREATED_NAMES: &[&str] =
    &["createdat", "created", "createdon", "creationdate", "creationtime", "createddate", "datecreated", "insertedat"];
const UPDATED_NAMES: &[&str] = &[
    "updatedat",
    "updated",
    "updatedon",
    "modifiedat",
    "modified",
    "modifiedon",
    "lastmodified",
    "lastupdated",
    "changedat",
    "dateupdated",
    "datemodified",
    "lastmodifiedat",
    "lastupdatedat",
];
/// A longer value is a text, not a title.
const TITLE_CHARACTERS: usize = 300;

/// How the rows of one table become documents.
#[derive(Debug, Default)]
pub struct RowMapping {
    title: Option<Template>,
    body: Option<Template>,
    url: Option<Template>,
}

impl RowMapping {
    /// Compiles the templates; what is not given follows the default rules. The
    /// error names the setting (`titleTemplate`, ...).
    pub fn compile(title: Option<&str>, body: Option<&str>, url: Option<&str>) -> Result<Self, TemplateError> {
        Ok(Self {
            title: Template::compile_optional("titleTemplate", title)?,
            body: Template::compile_optional("bodyTemplate", body)?,
            url: Template::compile_optional("urlTemplate", url)?,
        })
    }

    /// The document of a row. Templates see each column by its name, the whole
    /// row as `row` (for names that are no identifiers), and `object` and `key`.
    pub fn document(
        &self,
        object: &str,
        columns: &[(String, Value)],
        source_key: &str,
    ) -> Result<Document, RecordError> {
        let row: Map<String, Value> = columns.iter().cloned().collect();
        let key = readable_key(source_key);
        let context = Context { object, key: &key, row: &row };
        let title = context.render(self.title.as_ref())?.filter(|title| !title.is_empty());
        let body = context.render(self.body.as_ref())?;
        let url = context.render(self.url.as_ref())?.filter(|url| !url.is_empty());
        Ok(Document {
            title: title.unwrap_or_else(|| default_title(columns).unwrap_or_else(|| format!("{object} {key}"))),
            body: body.unwrap_or_else(|| default_body(columns)),
            url,
            kind: "row".to_owned(),
            created_at: time_of(columns, CREATED_NAMES),
            updated_at: time_of(columns, UPDATED_NAMES),
            metadata: row,
        })
    }
}

struct Context<'a> {
    object: &'a str,
    key: &'a str,
    row: &'a Map<String, Value>,
}

impl Context<'_> {
    fn render(&self, template: Option<&Template>) -> Result<Option<String>, RecordError> {
        let Some(template) = template else { return Ok(None) };
        let mut variables = Map::new();
        variables.insert("object".to_owned(), Value::from(self.object));
        variables.insert("key".to_owned(), Value::from(self.key));
        variables.insert("row".to_owned(), Value::Object(self.row.clone()));
        // A column wins over our own three names.
        variables.extend(self.row.iter().map(|(name, value)| (name.clone(), value.clone())));
        template.render(&Value::Object(variables)).map(Some)
    }
}

/// `["a",2]` as `a / 2`.
fn readable_key(source_key: &str) -> String {
    match serde_json::from_str::<Vec<Value>>(source_key) {
        Ok(parts) => parts.iter().map(plain).collect::<Vec<_>>().join(" / "),
        Err(_) => source_key.to_owned(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn default_title(columns: &[(String, Value)]) -> Option<String> {
    let named = |wanted: fn(&str) -> bool| {
        columns.iter().filter(move |(name, _)| wanted(name)).find_map(|(_, value)| title_text(value))
    };
    named(is_title).or_else(|| named(ends_as_title))
}

fn title_text(value: &Value) -> Option<String> {
    let text = value.as_str()?.trim();
    (!text.is_empty() && text.chars().count() <= TITLE_CHARACTERS).then(|| text.to_owned())
}

fn is_title(name: &str) -> bool {
    TITLE_WORDS.iter().any(|word| name.eq_ignore_ascii_case(word))
}

/// `product_name`, `fullName`, `Display Name`.
fn ends_as_title(name: &str) -> bool {
    words(name).last().is_some_and(|last| TITLE_WORDS.contains(&last.as_str()))
}

/// The lower-case words of a name in snake case, camel case or with spaces.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_is_lower = false;
    for character in name.chars() {
        let begins = !character.is_alphanumeric() || (character.is_uppercase() && before_is_lower);
        if begins && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if character.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(character.to_lowercase());
        }
        before_is_lower = character.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

fn default_body(columns: &[(String, Value)]) -> String {
    let lines: Vec<String> = columns
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| format!("{name}: {}", plain(value)))
        .collect();
    lines.join("\n")
}

fn time_of(columns: &[(String, Value)], names: &[&str]) -> Option<i64> {
    columns
        .iter()
        .filter(|(name, _)| names.contains(&words(name).concat().as_str()))
        .find_map(|(_, value)| times::microseconds(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn columns(pairs: &[(&str, Value)]) -> Vec<(String, Value)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn the_default_title_is_the_first_column_that_reads_as_a_name() {
        let mapping = RowMapping::default();
        let row = columns(&[
            ("id", json!(7)),
            ("status", json!("open")),
            ("firstName", json!("Ann")),
            ("Title", json!("A tent leaks")),
            ("note", Value::Null),
        ]);
        let document = mapping.document("tickets", &row, "[7]").unwrap();
        assert_eq!(document.title, "A tent leaks");
        assert_eq!(document.body, "id: 7\nstatus: open\nfirstName: Ann\nTitle: A tent leaks");
        assert_eq!(document.metadata["note"], Value::Null);
        let row = columns(&[("id", json!(7)), ("product_name", json!("Stove")), ("filename", json!("x"))]);
        assert_eq!(mapping.document("products", &row, "[7]").unwrap().title, "Stove");
        let row = columns(&[("order_id", json!(7)), ("line", json!(2))]);
        assert_eq!(mapping.document("order_items", &row, "[7,2]").unwrap().title, "order_items 7 / 2");
    }

    #[test]
    fn templates_see_columns_the_whole_row_and_the_key() {
        let mapping = RowMapping::compile(
            Some("{{ name | upper }}{{ missing }}"),
            Some("{% if price > 10 %}dear{% endif %} {{ row['odd name'] }}"),
            Some("https://shop.example/{{ object }}/{{ key }}"),
        )
        .unwrap();
        let row = columns(&[("name", json!("stove")), ("price", json!(12.5)), ("odd name", json!("<b>"))]);
        let document = mapping.document("products", &row, "[7]").unwrap();
        assert_eq!(document.title, "STOVE");
        assert_eq!(document.body, "dear <b>");
        assert_eq!(document.url.as_deref(), Some("https://shop.example/products/7"));
    }

    #[test]
    fn a_broken_template_is_named_before_any_row_is_read() {
        let error = RowMapping::compile(None, Some("{{ name"), None).unwrap_err();
        assert_eq!(error.setting, "bodyTemplate");
    }

    #[test]
    fn an_endless_template_fails_its_record_only() {
        let bomb = "{% for a in row %}{% for b in row %}{% for c in row %}{% for d in row %}{% for e in row %}x\
                    {% endfor %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}";
        let mapping = RowMapping::compile(None, Some(bomb), None).unwrap();
        let row: Vec<(String, Value)> = (0..100).map(|index| (format!("c{index}"), json!(index))).collect();
        assert_eq!(mapping.document("t", &row, "[1]").unwrap_err().code, "template_failed");
    }

    #[test]
    fn times_of_creation_and_change_are_recognised() {
        let row = columns(&[("created_at", json!("2024-03-01 10:00:00")), ("lastModified", json!(1_709_287_200))]);
        let document = RowMapping::default().document("t", &row, "[1]").unwrap();
        assert_eq!(document.created_at, Some(1_709_287_200_000_000));
        assert_eq!(document.updated_at, Some(1_709_287_200_000_000));
    }
}
