//! protobuf's own conformance cases for JSON, and a table of ours.

use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage as _};

use crate::gateway::json::Json;
use crate::gateway::tests::{protos, shared_cases};
use crate::gateway::{read, write};

fn parse(descriptor: &MessageDescriptor, text: &str) -> Result<DynamicMessage, String> {
    let json = Json::parse(text.as_bytes()).map_err(|error| error.to_string())?;
    read::message(descriptor, &json).map_err(|error| format!("{} {}", error.field, error.description))
}

/// Equal on the wire, where a default is the same as nothing. The text is for
/// NaN, and alone will not do: maps print in any order.
fn is_same(left: &DynamicMessage, right: &DynamicMessage) -> bool {
    let sent = |message: &DynamicMessage| {
        DynamicMessage::decode(message.descriptor(), message.encode_to_vec().as_slice()).unwrap()
    };
    sent(left) == sent(right) || left.to_text_format() == right.to_text_format()
}

/// Printed, read and printed again.
fn print(descriptor: &MessageDescriptor, text: &str) -> serde_json::Value {
    let message = parse(descriptor, text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let printed = write::message(&message).unwrap();
    assert!(parse(descriptor, &printed).is_ok_and(|again| is_same(&again, &message)), "{printed}");
    serde_json::from_str(&printed).unwrap()
}

/// Cases that the conformance suite accepts and we refuse on purpose.
fn is_stricter(kind: &str) -> bool {
    // Unknown keys and words are typing errors here; duplicates and two arms
    // of a oneof are ambiguous, and the suite leaves both open.
    matches!(kind, "parse_ok_ignoring_unknown" | "parse_ok_or_error")
}

#[test]
fn the_shared_cases_are_read_as_expected() {
    let Some(cases) = shared_cases("proto3_json_cases.json") else { return };
    let descriptor = protos::all_types();
    let mut wrong = Vec::new();
    for case in cases["cases"].as_array().unwrap() {
        let kind = case["kind"].as_str().unwrap();
        let result = case["json"].as_str().map(|json| parse(&descriptor, json));
        let good = match (kind, &result) {
            (kind, Some(result)) if is_stricter(kind) => result.is_err(),
            ("parse_error", Some(result)) => result.is_err(),
            ("parse_ok", Some(Ok(message))) => {
                let expected =
                    DynamicMessage::parse_text_format(descriptor.clone(), case["expect_text"].as_str().unwrap());
                expected.is_ok_and(|expected| is_same(&expected, message))
            }
            ("parse_then_output_check", Some(Ok(message))) => write::message(message).is_ok(),
            ("serialize_error", None) => {
                let text = case["message_text"].as_str().unwrap();
                let message = DynamicMessage::parse_text_format(descriptor.clone(), text).unwrap();
                write::message(&message).is_err()
            }
            // Messages built in code: NaN is in our own table.
            ("serialize_ok", None) => true,
            _ => false,
        };
        if !good {
            wrong
                .push(format!("{case} gave {:?}", result.map(|result| result.map(|message| message.to_text_format()))));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn values_are_printed_in_the_dialect() {
    let descriptor = protos::all_types();
    for (field, written, printed) in [
        ("optionalInt64", "1", "\"1\""),
        ("optionalInt64", "\"-9223372036854775808\"", "\"-9223372036854775808\""),
        ("optionalUint64", "18446744073709551615", "\"18446744073709551615\""),
        ("optionalInt32", "1e2", "100"),
        ("optionalInt32", "\"7\"", "7"),
        ("optionalDouble", "5432.0", "5432"),
        ("optionalDouble", "0.1", "0.1"),
        ("optionalDouble", "1e300", "1e+300"),
        ("optionalDouble", "\"NaN\"", "\"NaN\""),
        ("optionalDouble", "\"-Infinity\"", "\"-Infinity\""),
        ("optionalFloat", "0.1", "0.1"),
        ("optionalBytes", "\"-_-_\"", "\"+/+/\""),
        ("optionalBytes", "\"YQ\"", "\"YQ==\""),
        ("optionalTimestamp", "\"2024-01-15T12:00:00.5+02:00\"", "\"2024-01-15T10:00:00.500Z\""),
        ("optionalDuration", "\"-0.5s\"", "\"-0.500s\""),
        ("optionalFieldMask", "\"fooBar,baz.quxQuux\"", "\"fooBar,baz.quxQuux\""),
        ("optionalStruct", "{\"b\":1,\"a\":[null,1.5,\"x\",{}]}", "{\"a\":[null,1.5,\"x\",{}],\"b\":1}"),
        ("optionalValue", "null", "null"),
        ("oneofNullValue", "null", "null"),
        ("oneofUint32", "0", "0"),
        ("optionalInt32Wrapper", "0", "0"),
        ("optionalNestedEnum", "\"BAR\"", "\"BAR\""),
        ("optionalNestedEnum", "123", "123"),
        ("mapInt32Int32", "{\"-1\":2}", "{\"-1\":2}"),
        ("repeatedInt64", "[1,\"2\"]", "[\"1\",\"2\"]"),
    ] {
        let whole = print(&descriptor, &format!("{{\"{field}\":{written}}}"));
        // Printed by serde_json, which writes `1e+300`.
        assert_eq!(whole[field].to_string(), printed, "{field} {written}");
    }
}

#[test]
fn fields_without_presence_are_always_there() {
    let empty = print(&protos::all_types(), "{}");
    for (field, value) in [
        ("optionalInt32", "0"),
        ("optionalBool", "false"),
        ("optionalString", "\"\""),
        ("repeatedInt32", "[]"),
        ("mapBoolBool", "{}"),
    ] {
        assert_eq!(empty[field].to_string(), value, "{field}");
    }
    for field in ["optionalNestedMessage", "oneofUint32", "optionalTimestamp", "optionalInt32Wrapper"] {
        assert!(empty.get(field).is_none(), "{field}");
    }
}

#[test]
fn enum_words_are_short_and_lower_case() {
    let source = "syntax = \"proto3\"; package t; message M { enum AuthMethod { AUTH_METHOD_UNSPECIFIED = 0; \
                  AUTH_METHOD_O_AUTH = 1; } AuthMethod method = 1; enum HTTPCode { HTTP_CODE_UNSPECIFIED = 0; \
                  HTTP_CODE_OK = 1; } HTTPCode code = 2; }";
    let set = protos::compile(vec![("m.proto", source.to_owned())]);
    let pool = prost_reflect::DescriptorPool::decode(set.as_slice()).unwrap();
    let descriptor = pool.get_message_by_name("t.M").unwrap();
    for word in ["\"o_auth\"", "\"AUTH_METHOD_O_AUTH\"", "1"] {
        let printed = print(&descriptor, &format!("{{\"method\":{word},\"code\":\"ok\"}}"));
        assert_eq!(printed, serde_json::json!({"method": "o_auth", "code": "ok"}));
    }
    for word in ["\"O_AUTH\"", "\"oauth\"", "\"1\"", "\"\"", "1.5"] {
        assert!(parse(&descriptor, &format!("{{\"method\":{word}}}")).is_err(), "{word}");
    }
}
