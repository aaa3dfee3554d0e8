//! JSON that a careless reader takes.

use crate::gateway::json::Json;
use crate::gateway::read;
use crate::gateway::tests::protos;

const MARK: &str = "s3cr3t-value";

#[test]
fn text_that_is_not_json_is_refused() {
    let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
    let bottomless = "{\"a\":".repeat(100_000);
    let bad = [
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "{\"a\":1,}",
        "{,}",
        "[,]",
        "[1 2]",
        "{\"a\" 1}",
        "{\"a\":}",
        "{a:1}",
        "{'a':1}",
        "'a'",
        "\"a",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u+123\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\t\"",
        "\"\n\"",
        "\"\u{1}\"",
        "01",
        "-01",
        "+1",
        ".5",
        "1.",
        "1e",
        "1e+",
        "-",
        "0x1",
        "1_000",
        "NaN",
        "Infinity",
        "-Infinity",
        "nul",
        "True",
        "undefined",
        "//x\n1",
        "/*x*/1",
        "1 1",
        "{} {}",
        "{}x",
        "\u{feff}{}",
        "\u{a0}1",
        "{\"a\":1,\"a\":1}",
        "{\"a\":1,\"\\u0061\":2}",
        "[{\"x\":{\"a\":1,\"a\":1}}]",
        "{\"a\":1;\"b\":2}",
        &deep,
        &bottomless,
    ];
    for text in bad {
        assert!(Json::parse(text.as_bytes()).is_err(), "{:.60}", text);
    }
    for bytes in [b"\"\xff\"".as_slice(), b"\"\xc0\xaf\"", b"\"\xed\xa0\x80\"", b"\xef\xbb\xbf{}", b"\0", b"{}\0"] {
        assert!(Json::parse(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn text_that_is_json_is_taken() {
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    for text in [
        "null",
        " {} ",
        "\r\n\t[ ]\n",
        "-0",
        "0e0",
        "1E+2",
        "-1.5e-10",
        "123456789012345678901234567890",
        "\"\\u00e9\"",
        "\"\\ud83d\\ude00\"",
        "\"\u{7f}\"",
        "\"\\/\\b\\f\\n\\r\\t\\\"\\\\\"",
        "{\"\":1}",
        "{\"a\":{\"a\":1}}",
        &deep,
    ] {
        assert!(Json::parse(text.as_bytes()).is_ok(), "{:.60}", text);
    }
    assert_eq!(Json::parse(b"\"\\ud83d\\ude00\""), Ok(Json::String("😀".to_owned())));
}

#[test]
fn an_error_says_where() {
    let error = Json::parse("{\n  \"é\": 1,\n  \"é\": 2}".as_bytes()).unwrap_err();
    assert_eq!((error.line, error.column), (3, 3));
    assert_eq!(error.what, "the key `é` is there twice");
}

#[test]
fn errors_name_the_field_and_never_hold_a_value() {
    let descriptor = protos::all_types();
    for (json, field) in [
        (format!("{{\"optionalInt32\":\"{MARK}\"}}"), "optionalInt32"),
        (format!("{{\"optionalBool\":\"{MARK}\"}}"), "optionalBool"),
        (format!("{{\"optionalString\":[\"{MARK}\"]}}"), "optionalString"),
        (format!("{{\"optionalBytes\":\"{MARK}!\"}}"), "optionalBytes"),
        (format!("{{\"optionalNestedEnum\":\"{MARK}\"}}"), "optionalNestedEnum"),
        (format!("{{\"optionalTimestamp\":\"{MARK}\"}}"), "optionalTimestamp"),
        (format!("{{\"optionalDuration\":\"{MARK}\"}}"), "optionalDuration"),
        (format!("{{\"optionalFieldMask\":\"{MARK}\"}}"), "optionalFieldMask"),
        (format!("{{\"optionalStruct\":\"{MARK}\"}}"), "optionalStruct"),
        (format!("{{\"optionalNestedMessage\":{{\"a\":\"{MARK}\"}}}}"), "optionalNestedMessage.a"),
        (format!("{{\"repeatedNestedMessage\":[{{}},{{\"a\":\"{MARK}\"}}]}}"), "repeatedNestedMessage[1].a"),
        (format!("{{\"mapStringNestedMessage\":{{\"k\":\"{MARK}\"}}}}"), "mapStringNestedMessage.k"),
        (format!("{{\"optionalAny\":{{\"@type\":\"{MARK}\"}}}}"), "optionalAny.@type"),
        (format!("{{\"typo\":\"{MARK}\"}}"), "typo"),
        (format!("{{\"optionalNestedMessage\":{{\"typo\":\"{MARK}\"}}}}"), "optionalNestedMessage.typo"),
        (format!("{{\"optionalString\":\"{MARK}\",\"optional_string\":\"{MARK}\"}}"), "optional_string"),
        (format!("{{\"oneofString\":\"{MARK}\",\"oneofUint32\":1}}"), "oneofUint32"),
        (format!("{{\"repeatedString\":[\"{MARK}\",null]}}"), "repeatedString[1]"),
        (format!("\"{MARK}\""), ""),
    ] {
        let error = read::message(&descriptor, &Json::parse(json.as_bytes()).unwrap()).unwrap_err();
        assert_eq!(error.field, field, "{json}");
        assert!(!format!("{error:?}").contains(MARK), "{error:?}");
    }
    for text in [format!("{{\"a\":\"{MARK}"), format!("{{\"a\":{MARK}}}"), format!("\"{MARK}\"\"{MARK}\"")] {
        assert!(!Json::parse(text.as_bytes()).unwrap_err().to_string().contains(MARK));
    }
}

#[test]
fn null_means_not_set() {
    let descriptor = protos::all_types();
    let json = b"{\"optionalInt32\":null,\"repeatedInt32\":null,\"mapBoolBool\":null,\"oneofUint32\":null,\"oneofString\":\"x\"}";
    let message = read::message(&descriptor, &Json::parse(json).unwrap()).unwrap();
    assert_eq!(message.fields().count(), 1);
}

#[test]
fn numbers_are_exact_or_refused() {
    let descriptor = protos::all_types();
    for (field, text, good) in [
        ("optionalInt64", "9007199254740993", true),
        ("optionalInt64", "9223372036854775808", false),
        ("optionalInt64", "1e18", true),
        ("optionalInt64", "1e19", false),
        ("optionalInt64", "1e99999999999999999999", false),
        ("optionalInt64", "0e99999999999999999999", true),
        ("optionalInt64", "1.50e1", true),
        ("optionalInt64", "1.5", false),
        ("optionalInt64", "\"01\"", false),
        ("optionalInt64", "\"+1\"", false),
        ("optionalInt64", "\" 1\"", false),
        ("optionalUint32", "-1", false),
        ("optionalUint32", "-0", true),
        ("optionalDouble", "1e999", false),
        ("optionalFloat", "1e39", false),
        ("optionalDouble", "\"inf\"", false),
        ("optionalDouble", "\"nan\"", false),
        ("optionalBool", "1", false),
        ("optionalString", "1", false),
    ] {
        let json = Json::parse(format!("{{\"{field}\":{text}}}").as_bytes()).unwrap();
        assert_eq!(read::message(&descriptor, &json).is_ok(), good, "{field} {text}");
    }
}
