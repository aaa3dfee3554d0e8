//! Checks the shape of `credentials` and `config` against a source's fields.
//! Everything wrong is said at once, each with the path of its key, and never
//! with a value: it may be a password in the wrong place.

use serde_json::{Map, Value};

use super::{Field, FieldType};
use crate::error::Violation;

const REQUIRED: &str = "REQUIRED";
const UNKNOWN_FIELD: &str = "UNKNOWN_FIELD";
const WRONG_TYPE: &str = "WRONG_TYPE";
const INVALID_VALUE: &str = "INVALID_VALUE";

/// Beyond it a double skips whole numbers, so that digits are already lost.
const LARGEST_EXACT: i64 = 1 << 53;
/// So many unknown keys are listed; a body may hold thousands.
const MOST_UNKNOWN: usize = 20;

/// Checks and normalises one object: unknown keys, missing or empty required
/// keys and wrong types are violations, all of them at once and never with a
/// value. Defaults are filled in.
pub fn check(
    fields: &[Field],
    object: &Map<String, Value>,
    prefix: &str,
) -> Result<Map<String, Value>, Vec<Violation>> {
    let mut violations = Vec::new();
    let checked = check_object(fields, object, prefix, &mut violations);
    if violations.is_empty() { Ok(checked) } else { Err(violations) }
}

fn check_object(
    fields: &[Field],
    object: &Map<String, Value>,
    path: &str,
    violations: &mut Vec<Violation>,
) -> Map<String, Value> {
    let mut checked = Map::new();
    for field in fields {
        let field_path = format!("{path}.{}", field.name);
        match object.get(field.name) {
            Some(value) => match check_value(field, value, &field_path, violations) {
                Ok(value) => drop(checked.insert(field.name.to_owned(), value)),
                Err(Problem(reason, description)) => violations.push(Violation::new(field_path, reason, description)),
            },
            None if field.required => violations.push(Violation::new(field_path, REQUIRED, "is required")),
            None => drop(field.default.clone().map(|default| checked.insert(field.name.to_owned(), default))),
        }
    }
    let unknown = object.keys().filter(|key| fields.iter().all(|field| field.name != key.as_str()));
    violations.extend(unknown.take(MOST_UNKNOWN).map(|key| unknown_key(fields, path, key)));
    checked
}

fn unknown_key(fields: &[Field], path: &str, key: &str) -> Violation {
    let key: String = key.chars().filter(|character| !character.is_control()).take(64).collect();
    let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
    let description = match names.as_slice() {
        [] => "is not known; there are no fields here".to_owned(),
        names => format!("is not known; the fields are: {}", names.join(", ")),
    };
    Violation::new(format!("{path}.{key}"), UNKNOWN_FIELD, description)
}

/// What is wrong with one value: reason and description.
struct Problem(&'static str, String);

impl Problem {
    fn wrong_type(wanted: &str) -> Self {
        Self(WRONG_TYPE, format!("must be {wanted}"))
    }

    fn invalid(description: impl Into<String>) -> Self {
        Self(INVALID_VALUE, description.into())
    }
}

/// The value as it is stored. Problems of what is inside it are added to the
/// violations with their own paths.
fn check_value(field: &Field, value: &Value, path: &str, violations: &mut Vec<Violation>) -> Result<Value, Problem> {
    if field.required && is_empty(value) {
        return Err(Problem(REQUIRED, "is required and must not be empty".to_owned()));
    }
    match &field.kind {
        FieldType::String => check_text(value, path).map(Value::from),
        FieldType::Password => check_password(value, path),
        FieldType::Number => check_number(value),
        FieldType::Boolean => match value {
            Value::Bool(_) => Ok(value.clone()),
            _ => Err(Problem::wrong_type("true or false")),
        },
        FieldType::Enum(words) => check_word(words, value),
        FieldType::StringList => check_list(value, "a list of strings", path, violations, |element, path, _| {
            check_text(element, path).map(Value::from)
        }),
        FieldType::Object(fields) => check_nested(fields, value, path, violations),
        FieldType::ObjectList(fields) => {
            check_list(value, "a list of objects", path, violations, |element, path, violations| {
                check_nested(fields, element, path, violations)
            })
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn check_text<'a>(value: &'a Value, path: &str) -> Result<&'a str, Problem> {
    let text = value.as_str().ok_or_else(|| Problem::wrong_type("a string"))?;
    // Keys and certificates have lines, and so have the templates of a config;
    // a host or password with a line break is a slip while pasting, or worse.
    let lines_allowed = text.starts_with("-----BEGIN ") || !path.starts_with("credentials");
    let is_refused =
        |character: char| character.is_control() && !(lines_allowed && matches!(character, '\n' | '\r' | '\t'));
    if text.contains(is_refused) {
        return Err(Problem::invalid("must not hold control characters or line breaks"));
    }
    Ok(text)
}

fn check_password(value: &Value, path: &str) -> Result<Value, Problem> {
    let text = check_text(value, path)?;
    if looks_like_a_mask(text) {
        return Err(Problem::invalid("is a mask, not a secret; give the secret itself, or leave the call out"));
    }
    Ok(Value::from(text))
}

fn looks_like_a_mask(text: &str) -> bool {
    let is_dots =
        text.chars().count() >= 3 && text.chars().all(|character| "*\u{2022}\u{25cf}\u{00b7}".contains(character));
    let word = text.trim_matches(['<', '>', '[', ']', '(', ')']).to_ascii_lowercase();
    is_dots || (word.len() < text.len() && ["redacted", "hidden", "secret", "masked"].contains(&word.as_str()))
}

fn check_number(value: &Value) -> Result<Value, Problem> {
    match value {
        Value::Number(number) => {
            let whole = match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => Some(whole),
                (None, Some(float)) if float.fract() == 0.0 && float.abs() <= LARGEST_EXACT as f64 => {
                    Some(float as i64)
                }
                _ => None,
            };
            match whole {
                Some(whole) if whole.unsigned_abs() <= LARGEST_EXACT.unsigned_abs() => Ok(Value::from(whole)),
                None if number.as_f64().is_some_and(|float| float.fract() != 0.0) => {
                    Err(Problem::invalid("must be a whole number"))
                }
                _ => Err(Problem::invalid("is too large to be exact as a JSON number; send it as a string")),
            }
        }
        // Forms send strings. Only what reads back the same is taken: `0123` or
        // `5 432` may have meant something else.
        Value::String(text) => match text.parse::<i64>() {
            Ok(whole) if whole.to_string() == *text => Ok(Value::from(whole)),
            _ => Err(Problem::wrong_type("a whole number")),
        },
        _ => Err(Problem::wrong_type("a whole number")),
    }
}

fn check_word(words: &[&str], value: &Value) -> Result<Value, Problem> {
    let text = value.as_str().ok_or_else(|| Problem::wrong_type("a string"))?;
    if words.contains(&text) {
        return Ok(Value::from(text));
    }
    Err(Problem::invalid(format!("must be one of: {}", words.join(", "))))
}

fn check_list(
    value: &Value,
    wanted: &str,
    path: &str,
    violations: &mut Vec<Violation>,
    check_element: impl Fn(&Value, &str, &mut Vec<Violation>) -> Result<Value, Problem>,
) -> Result<Value, Problem> {
    let elements = value.as_array().ok_or_else(|| Problem::wrong_type(wanted))?;
    let mut checked = Vec::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        let element_path = format!("{path}[{index}]");
        match check_element(element, &element_path, violations) {
            Ok(element) => checked.push(element),
            Err(Problem(reason, description)) => violations.push(Violation::new(element_path, reason, description)),
        }
    }
    Ok(Value::Array(checked))
}

fn check_nested(
    fields: &[Field],
    value: &Value,
    path: &str,
    violations: &mut Vec<Violation>,
) -> Result<Value, Problem> {
    let object = value.as_object().ok_or_else(|| Problem::wrong_type("an object"))?;
    Ok(Value::Object(check_object(fields, object, path, violations)))
}

#[cfg(test)]
mod tests;
