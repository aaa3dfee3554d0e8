//! Templates of titles, bodies and addresses over the columns of a row.

use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, Value};

/// Longest template.
const LONGEST: usize = 8 * 1024;
/// Longest text that a template may make.
const LONGEST_RESULT: usize = 1024 * 1024;

/// The templates of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Templates {
    pub(super) title: Option<String>,
    pub(super) body: Option<String>,
    pub(super) url: Option<String>,
}

/// What is wrong with a template, if anything.
pub(super) fn problem(source: &str) -> Option<&'static str> {
    if source.len() > LONGEST {
        return Some("is too long: 8 KiB at most");
    }
    environment().template_from_str(source).err().map(|_| "is not a valid template")
}

/// Fills a template in. A column that is NULL, or not there, is empty.
pub(super) fn render(source: &str, columns: &Map<String, Value>) -> Result<String, ()> {
    let mut context: Map<String, Value> = columns
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    // Names that are no identifiers: `{{ row["unit price"] }}`.
    if !context.contains_key("row") {
        context.insert("row".to_owned(), Value::Object(context.clone()));
    }
    let text = environment().render_str(source, minijinja::value::Serde(&context)).map_err(drop)?;
    if text.len() > LONGEST_RESULT { Err(()) } else { Ok(text.trim().to_owned()) }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    // A template is a user's program: it ends.
    environment.set_fuel(Some(20_000));
    environment
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(source: &str) -> Result<String, ()> {
        let columns = json!({"name": "Ada", "note": null, "n": 3, "tags": ["a", "b"], "unit price": "1.5"});
        render(source, columns.as_object().unwrap())
    }

    #[test]
    fn columns_are_filled_in_and_null_is_empty() {
        assert_eq!(rendered("{{ name }} ({{ n }})").unwrap(), "Ada (3)");
        assert_eq!(rendered("[{{ note }}{{ missing.deep }}]").unwrap(), "[]");
        assert_eq!(rendered("{{ row['unit price'] }} {{ tags | join('+') }}").unwrap(), "1.5 a+b");
        assert_eq!(rendered("<{{ name | upper }}>").unwrap(), "<ADA>");
    }

    #[test]
    fn a_bad_template_is_a_problem_and_an_endless_one_ends() {
        assert!(problem("{{ name").is_some());
        assert!(problem("{{ name }}").is_none());
        assert!(rendered("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}").is_err());
    }
}
