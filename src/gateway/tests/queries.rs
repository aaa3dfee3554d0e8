//! Query parameters.

use prost_reflect::{DynamicMessage, MessageDescriptor};

use crate::gateway::rules::Body;
use crate::gateway::tests::{protos, shared_cases};
use crate::gateway::{query, write};

fn bind(descriptor: &MessageDescriptor, text: &str) -> Result<DynamicMessage, String> {
    let pairs = query::parse(text).map_err(|error| error.field)?;
    bind_pairs(descriptor, &pairs)
}

fn bind_pairs(descriptor: &MessageDescriptor, pairs: &[(String, String)]) -> Result<DynamicMessage, String> {
    let mut message = DynamicMessage::new(descriptor.clone());
    query::bind(&mut message, pairs, &Body::None, &[]).map_err(|error| error.field)?;
    Ok(message)
}

#[test]
fn parameters_are_typed() {
    let descriptor = protos::query();
    for (text, expected) in [
        ("", ""),
        ("&&", ""),
        ("int32_value=1&stringValue=a%20b+c", "int32_value:1,string_value:\"a b c\""),
        ("repeated_value=a&repeatedValue=b", "repeated_value:[\"a\",\"b\"]"),
        ("repeated_value=a,b", "repeated_value:[\"a,b\"]"),
        ("string_value", ""),
        ("string_value=a=b", "string_value:\"a=b\""),
        ("nested.nested.string_value=x", "nested:{nested:{string_value:\"x\"}}"),
        ("enum_value=Z&repeated_enum=1", "enum_value:2,repeated_enum:[1]"),
        ("bool_value=true", "bool_value:true"),
        ("timestamp_value=1970-01-01T00:00:01Z", "timestamp_value:{seconds:1}"),
        ("wrapper_bool_value=false", "wrapper_bool_value:{}"),
    ] {
        let message = bind(&descriptor, text).unwrap_or_else(|field| panic!("{text}: {field}"));
        let expected = DynamicMessage::parse_text_format(descriptor.clone(), expected).unwrap();
        assert_eq!(message.to_text_format(), expected.to_text_format(), "{text}");
    }
}

#[test]
fn what_is_not_known_or_not_clear_is_refused_by_name() {
    let descriptor = protos::query();
    for (text, field) in [
        ("typo=1", "typo"),
        ("String_value=1", "String_value"),
        ("nested.typo=1", "nested.typo"),
        ("nested=1", "nested"),
        ("string_value.x=1", "string_value.x"),
        ("map_value=1", "map_value"),
        ("map_value[a]=1", "map_value[a]"),
        ("struct_value={}", "struct_value"),
        ("timestamp_value.seconds=1", "timestamp_value.seconds"),
        ("int32_value=1&int32_value=1", "int32_value"),
        ("int32_value=1&int32Value=1", "int32Value"),
        ("bool_value=1", "bool_value"),
        ("bool_value=True", "bool_value"),
        ("bool_value=yes", "bool_value"),
        ("bool_value", "bool_value"),
        ("int32_value=", "int32_value"),
        ("int32_value=1.5", "int32_value"),
        ("enum_value=W", "enum_value"),
        ("oneof_bool_value=true&oneof_string_value=x", "oneof_string_value"),
        ("string_value=%zz", "string_value"),
        ("string_value=%ff", "string_value"),
        ("string_value=%00", "string_value"),
        ("%zz=1", "query"),
        ("=1", ""),
    ] {
        assert_eq!(bind(&descriptor, text).err().as_deref(), Some(field), "{text}");
    }
}

/// What other libraries take and we do not.
fn is_extension(name: &str, value: &str) -> bool {
    // Maps and messages as JSON text are not in `http.proto`; a null or a
    // quoted string is not the text of an enum or a string.
    name.contains('[') || name.starts_with("struct_value") || value == "null" || value.starts_with('"')
}

#[test]
fn the_shared_queries_bind_as_expected() {
    let Some(cases) = shared_cases("path_query_cases.json") else { return };
    let descriptor = protos::query();
    for case in cases["query"].as_array().unwrap() {
        let mut pairs = Vec::new();
        for (name, values) in case["query"].as_object().unwrap() {
            for value in values.as_array().unwrap() {
                pairs.push((name.clone(), value.as_str().unwrap().to_owned()));
            }
        }
        let refused = case["error"] == true || pairs.iter().any(|(name, value)| is_extension(name, value));
        let bound = bind_pairs(&descriptor, &pairs);
        assert_eq!(bound.is_err(), refused, "{case} {bound:?}");
        let Ok(bound) = bound else { continue };
        let expected = crate::gateway::json::Json::parse(case["want"].to_string().as_bytes()).unwrap();
        let expected = crate::gateway::read::message(&descriptor, &expected).unwrap();
        assert_eq!(bound.to_text_format(), expected.to_text_format(), "{case}");
    }
}

#[test]
fn the_shared_parameters_read_as_expected() {
    let Some(cases) = shared_cases("path_query_cases.json") else { return };
    let descriptor = protos::params();
    for case in cases["params"].as_array().unwrap() {
        let (field, value) = (case["field"].as_str().unwrap(), case["value"].as_str().unwrap());
        let bound = bind_pairs(&descriptor, &[(field.to_owned(), value.to_owned())]);
        // The text of a string is taken as it is, quotes included.
        let quoted = value.starts_with('"');
        let refused = case["error"] == true || (is_extension(field, value) && !quoted);
        assert_eq!(bound.is_err(), refused, "{case}");
        let Ok(bound) = bound else { continue };
        let printed: serde_json::Value = serde_json::from_str(&write::message(&bound).unwrap()).unwrap();
        let printed = field.split('.').fold(&printed, |value, name| &value[crate::gateway::words::camel(name)]);
        let printed = printed.to_string().replace("\"value\"", "\"ENUM_VALUE\"");
        if !quoted {
            assert_eq!(printed, case["want_json"].to_string(), "{case}");
        }
    }
}
