//! Checks at start that what the sources say of themselves makes sense, so that
//! a mistake in one shows before anybody uses it.

use std::collections::BTreeSet;

use serde_json::Map;

use super::{Field, FieldType, Spec, settings};

/// Members of the requests that carry settings: where a body may be the settings
/// themselves, a field of the same name could not be told from them.
const RESERVED: [&str; 4] = ["id", "credentials", "config", "etag"];

/// What is wrong with the specs, each as a sentence.
pub fn check_specs(specs: &[Spec]) -> Result<(), Vec<String>> {
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    for spec in specs {
        let is_word = |character: char| matches!(character, 'a'..='z' | '0'..='9' | '_');
        if spec.short_name.is_empty() || !spec.short_name.chars().all(is_word) {
            problems.push(format!("the short name `{}` is not lower case", spec.short_name));
        }
        if !names.insert(spec.short_name) {
            problems.push(format!("two sources are called `{}`", spec.short_name));
        }
        for (prefix, fields) in [("credentials", &spec.auth_fields), ("config", &spec.config_fields)] {
            let path = format!("{}.{prefix}", spec.short_name);
            for field in fields.iter().filter(|field| RESERVED.contains(&field.name)) {
                problems.push(format!("`{path}.{}` has a reserved name", field.name));
            }
            check_fields(fields, &path, &mut problems);
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn check_fields(fields: &[Field], path: &str, problems: &mut Vec<String>) {
    let mut names = BTreeSet::new();
    for field in fields {
        if !names.insert(field.name) {
            problems.push(format!("`{path}.{}` is there twice", field.name));
        }
        if let FieldType::Object(nested) | FieldType::ObjectList(nested) = &field.kind {
            check_fields(nested, &format!("{path}.{}", field.name), problems);
        }
        let Some(default) = &field.default else { continue };
        if field.required || matches!(field.kind, FieldType::Password) {
            problems.push(format!("`{path}.{}` must not have a default", field.name));
        }
        let object = Map::from_iter([(field.name.to_owned(), default.clone())]);
        if settings::check(std::slice::from_ref(field), &object, path).is_err() {
            problems.push(format!("the default of `{path}.{}` is not of its type", field.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::connectors::{AuthMethod, builtin};

    fn spec(short_name: &'static str, config_fields: Vec<Field>) -> Spec {
        Spec {
            short_name,
            name: "A",
            description: "",
            auth_methods: &[AuthMethod::None],
            labels: &[],
            supports_continuous: false,
            auth_fields: vec![],
            config_fields,
            mapper_version: 1,
        }
    }

    #[test]
    fn the_built_in_sources_are_sound() {
        let specs: Vec<Spec> = builtin().iter().map(|connector| connector.spec()).collect();
        assert_eq!(check_specs(&specs), Ok(()));
    }

    #[test]
    fn reserved_and_repeated_names_and_wrong_defaults_are_found() {
        let field = |name, kind, required, default| Field { name, kind, required, title: "", description: "", default };
        let specs = [
            spec("One", vec![]),
            spec("a", vec![field("id", FieldType::String, false, None), field("b", FieldType::String, false, None)]),
            spec(
                "a",
                vec![
                    field("b", FieldType::Number, false, Some(json!("x"))),
                    field("b", FieldType::String, true, Some(json!("x"))),
                ],
            ),
        ];
        let problems = check_specs(&specs).unwrap_err();
        assert_eq!(problems.len(), 6, "{problems:#?}");
    }
}
