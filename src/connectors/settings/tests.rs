//! Cases of the check of settings, as tables.

use serde_json::{Value, json};

use super::*;

fn field(name: &'static str, kind: FieldType, required: bool, default: Option<Value>) -> Field {
    Field { name, kind, required, title: name, description: "", default }
}

fn credentials() -> Vec<Field> {
    vec![
        field("host", FieldType::String, true, None),
        field("port", FieldType::Number, false, Some(json!(5432))),
        field("password", FieldType::Password, true, None),
    ]
}

fn config() -> Vec<Field> {
    let options = vec![
        field("table", FieldType::String, true, None),
        field("rowLimit", FieldType::Number, false, Some(json!(10))),
    ];
    vec![
        field("sslMode", FieldType::Enum(&["auto", "disable"]), false, Some(json!("auto"))),
        field("tables", FieldType::StringList, false, None),
        field("deep", FieldType::Boolean, false, None),
        field("bodyTemplate", FieldType::String, false, None),
        field("tableOptions", FieldType::ObjectList(options.clone()), false, None),
        field("extra", FieldType::Object(options), false, None),
    ]
}

fn checked(fields: &[Field], object: Value, prefix: &str) -> Result<Value, Vec<(String, &'static str)>> {
    check(fields, object.as_object().unwrap(), prefix)
        .map(Value::Object)
        .map_err(|violations| violations.into_iter().map(|violation| (violation.field, violation.reason)).collect())
}

fn refused(path: &str, reason: &'static str) -> Result<Value, Vec<(String, &'static str)>> {
    Err(vec![(path.to_owned(), reason)])
}

#[test]
fn a_number_is_whole_or_a_string_that_reads_back_the_same() {
    let taken = |port: Value, expected: i64| {
        let result = checked(&credentials(), json!({"host": "h", "port": port, "password": "p"}), "credentials");
        assert_eq!(result, Ok(json!({"host": "h", "port": expected, "password": "p"})));
    };
    taken(json!(5432), 5432);
    taken(json!(5432.0), 5432);
    taken(json!("5432"), 5432);
    taken(json!("-1"), -1);
    taken(json!("9223372036854775807"), i64::MAX);
    for (port, reason) in [
        (json!(5432.5), INVALID_VALUE),
        (json!(9_007_199_254_740_994_i64), INVALID_VALUE),
        (json!(u64::MAX), INVALID_VALUE),
        (json!(1e300), INVALID_VALUE),
        (json!("05432"), WRONG_TYPE),
        (json!("+5432"), WRONG_TYPE),
        (json!(" 5432"), WRONG_TYPE),
        (json!("5432.0"), WRONG_TYPE),
        (json!("-0"), WRONG_TYPE),
        (json!(""), WRONG_TYPE),
        (json!("x"), WRONG_TYPE),
        (json!(null), WRONG_TYPE),
        (json!(true), WRONG_TYPE),
        (json!([1]), WRONG_TYPE),
    ] {
        let result = checked(&credentials(), json!({"host": "h", "port": port, "password": "p"}), "credentials");
        assert_eq!(result, refused("credentials.port", reason), "{port}");
    }
}

#[test]
fn strings_and_secrets_are_strings_without_control_characters() {
    for (host, reason) in [
        (json!(""), REQUIRED),
        (json!(null), WRONG_TYPE),
        (json!(123), WRONG_TYPE),
        (json!({}), REQUIRED),
        (json!(["h"]), WRONG_TYPE),
        (json!("h\n"), INVALID_VALUE),
        (json!("h\u{0}"), INVALID_VALUE),
        (json!("h\u{85}"), INVALID_VALUE),
    ] {
        let result = checked(&credentials(), json!({"host": host, "password": "p"}), "credentials");
        assert_eq!(result, refused("credentials.host", reason), "{host}");
    }
    for mask in ["***", "********", "\u{2022}\u{2022}\u{2022}\u{2022}", "<redacted>", "[REDACTED]", "<hidden>"] {
        let result = checked(&credentials(), json!({"host": "h", "password": mask}), "credentials");
        assert_eq!(result, refused("credentials.password", INVALID_VALUE), "{mask}");
    }
    for password in ["**", "*a*", "redacted", "p w", "-----BEGIN KEY-----\nabc\n-----END KEY-----\n", "\u{e9}"] {
        assert!(
            checked(&credentials(), json!({"host": "h", "password": password}), "credentials").is_ok(),
            "{password}"
        );
    }
}

#[test]
fn everything_wrong_is_said_at_once_in_order() {
    let result = checked(&credentials(), json!({"port": "x", "user": 1, "Host": "h"}), "credentials");
    let expected = [
        ("credentials.host", REQUIRED),
        ("credentials.port", WRONG_TYPE),
        ("credentials.password", REQUIRED),
        ("credentials.user", UNKNOWN_FIELD),
        ("credentials.Host", UNKNOWN_FIELD),
    ];
    assert_eq!(result, Err(expected.map(|(path, reason)| (path.to_owned(), reason)).to_vec()));
}

#[test]
fn defaults_are_filled_in_where_a_key_is_absent() {
    assert_eq!(checked(&config(), json!({}), "config"), Ok(json!({"sslMode": "auto"})));
    assert_eq!(
        checked(&config(), json!({"sslMode": "disable", "tableOptions": [{"table": "a"}], "tables": []}), "config"),
        Ok(json!({"sslMode": "disable", "tables": [], "tableOptions": [{"table": "a", "rowLimit": 10}]}))
    );
}

#[test]
fn nested_settings_have_paths_of_their_own() {
    for (object, path, reason) in [
        (json!({"sslMode": "AUTO"}), "config.sslMode", INVALID_VALUE),
        (json!({"sslMode": 1}), "config.sslMode", WRONG_TYPE),
        (json!({"deep": "true"}), "config.deep", WRONG_TYPE),
        (json!({"tables": "a"}), "config.tables", WRONG_TYPE),
        (json!({"tables": ["a", 1]}), "config.tables[1]", WRONG_TYPE),
        (json!({"tableOptions": {}}), "config.tableOptions", WRONG_TYPE),
        (json!({"tableOptions": [7]}), "config.tableOptions[0]", WRONG_TYPE),
        (json!({"tableOptions": [{}]}), "config.tableOptions[0].table", REQUIRED),
        (json!({"tableOptions": [{"table": "a", "x": 1}]}), "config.tableOptions[0].x", UNKNOWN_FIELD),
        (json!({"extra": {"table": "a", "rowLimit": 1.5}}), "config.extra.rowLimit", INVALID_VALUE),
        (json!({"extra": []}), "config.extra", WRONG_TYPE),
    ] {
        assert_eq!(checked(&config(), object.clone(), "config"), refused(path, reason), "{object}");
    }
    assert!(checked(&config(), json!({"bodyTemplate": "{{ a }}\n\t{{ b }}"}), "config").is_ok());
    assert_eq!(
        checked(&config(), json!({"bodyTemplate": "a\u{1}"}), "config"),
        refused("config.bodyTemplate", INVALID_VALUE)
    );
}

#[test]
fn no_description_holds_a_value() {
    const MARKER: &str = "m4rk3r";
    for value in [json!(MARKER), json!([MARKER]), json!({ "a": MARKER }), json!(format!("{MARKER}\u{0}"))] {
        let object: Map<String, Value> =
            config().iter().chain(&credentials()).map(|field| (field.name.to_owned(), value.clone())).collect();
        for fields in [config(), credentials()] {
            for violation in check(&fields, &object, "config").unwrap_err() {
                assert!(!format!("{violation:?}").contains(MARKER), "{violation:?}");
            }
        }
    }
}
