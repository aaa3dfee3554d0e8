//! Filters, by table.

mod fuzz;

use serde_json::{Value, json};

use super::*;

/// Fully parenthesized, so that precedence shows.
fn shown(expression: &Expression) -> String {
    let joined =
        |parts: &[Expression], word: &str| format!("({})", parts.iter().map(shown).collect::<Vec<_>>().join(word));
    match expression {
        Expression::And(parts) => joined(parts, " AND "),
        Expression::Or(parts) => joined(parts, " OR "),
        Expression::Not(inner) => format!("NOT {}", shown(inner)),
        Expression::Comparison(Comparison { field, operator, value }) => {
            let value = if value.quoted { format!("{:?}", value.text) } else { value.text.clone() };
            format!("{}{}{value}", field.join("."), operator.sign())
        }
    }
}

#[test]
fn filters_are_read_with_or_tighter_than_and() {
    let cases = [
        ("a = 1", "a=1"),
        ("a=1 AND b=2 OR c=3", "(a=1 AND (b=2 OR c=3))"),
        ("a=1 OR b=2 AND c=3", "((a=1 OR b=2) AND c=3)"),
        ("a=1 OR b=2 AND c=3 OR d=4", "((a=1 OR b=2) AND (c=3 OR d=4))"),
        ("(a=1 AND b=2) OR c=3", "((a=1 AND b=2) OR c=3)"),
        ("a=1 b=2", "(a=1 AND b=2)"),
        ("a=1 b=2 OR c=3", "(a=1 AND (b=2 OR c=3))"),
        ("NOT a=1 AND b=2", "(NOT a=1 AND b=2)"),
        ("-a=1 OR b=2", "(NOT a=1 OR b=2)"),
        ("-(a=1 OR b=2)", "NOT (a=1 OR b=2)"),
        ("NOT NOT a=1", "NOT NOT a=1"),
        ("a=-1", "a=-1"),
        ("a = -1.5 b=2", "(a=-1.5 AND b=2)"),
        ("a >= 2026-01-31T10:20:30.5+02:00", "a>=2026-01-31T10:20:30.5+02:00"),
        ("a<1 b<=2 c>3 d>=4 e!=5 f:6", "(a<1 AND b<=2 AND c>3 AND d>=4 AND e!=5 AND f:6)"),
        (r#"a = "x \"y\" \\ z""#, r#"a="x \"y\" \\ z""#),
        ("a = 'b c'", r#"a="b c""#),
        (r#"a = "AND""#, r#"a="AND""#),
        ("metadata.a.b = c", "metadata.a.b=c"),
        (r#"metadata."a b".c = d"#, "metadata.a b.c=d"),
        ("a:*", "a:*"),
        ("größe = ü", "größe=ü"),
        ("((((a=1))))", "a=1"),
    ];
    for (text, expected) in cases {
        let filter = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(shown(&filter.expression), expected, "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    let cases = [
        (
            "hello",
            "`hello` needs an operator and a value after it: words to search for go into the query at character 6",
        ),
        ("a =", "a value is expected at character 4"),
        ("a = AND b", "`b` needs an operator"),
        ("= 1", "a field is expected at character 1"),
        ("a = 1 AND", "a field is expected at character 10"),
        ("AND a = 1", "a field is expected before `AND` at character 1"),
        ("a = 1 OR OR b = 2", "a field is expected before `OR` at character 10"),
        ("(a = 1", "a `)` is missing at character 7"),
        ("a = 1)", "`)` closes nothing at character 6"),
        ("a == 1", "`==` is not an operator, `=` is at character 3"),
        ("a ! 1", "`!` is not expected at character 3"),
        ("a = \"x", "the quote that opens is not closed at character 5"),
        (r#"a = "\q""#, "`\\` must be followed by"),
        ("a..b = 1", "a part of the field's name is empty at character 1"),
        ("a = (1)", "a value is expected at character 5"),
        ("()", "a field is expected at character 2"),
    ];
    for (text, expected) in cases {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn size_and_depth_are_limited() {
    let too_large = [
        "a=1 ".repeat(MAX_COMPARISONS + 1),
        format!("{}a=1{}", "(".repeat(MAX_DEPTH + 1), ")".repeat(MAX_DEPTH + 1)),
        format!("{}a=1", "-".repeat(2000)),
        format!("a=\"{}\"", "x".repeat(MAX_LENGTH)),
    ];
    for text in too_large {
        assert!(matches!(parse(&text), Err(FilterError::TooLarge { .. })), "{:.40}", text);
    }
    assert!(parse(&"a=1 ".repeat(MAX_COMPARISONS)).is_ok());
}

#[test]
fn a_filter_without_text_lets_everything_through() {
    for text in ["", "  \t"] {
        let filter = parse(text).unwrap();
        assert!(filter.fields().is_empty());
        assert_eq!(filter.matches(&|_| None), Ok(true));
    }
}

#[test]
fn fields_are_listed_in_order() {
    let filter = parse("a=1 (b.c=2 OR NOT a=3)").unwrap();
    let fields: Vec<String> = filter.fields().into_iter().map(|field| field.join(".")).collect();
    assert_eq!(fields, ["a", "b.c", "a"]);
}

#[test]
fn fields_operators_and_values_are_checked() {
    let allowed = [
        ("name", FieldKind::Text),
        ("status", FieldKind::Enum),
        ("paused", FieldKind::Bool),
        ("size", FieldKind::Number),
        ("created_at", FieldKind::Timestamp),
        ("metadata", FieldKind::Map),
    ];
    let cases = [
        ("name:x AND metadata.a.b>3 size<=4 created_at>2026-01-01 paused=true status!=\"error\"", ""),
        ("nme=1", "unknown field `nme`; fields are `name`, `status`"),
        ("metadata=1", "unknown field `metadata`"),
        ("name.first=1", "unknown field `name.first`"),
        ("status<error", "`<` cannot be used with `status`"),
        ("paused:true", "`:` cannot be used with `paused`"),
        ("paused=yes", "`paused` in a filter must be compared with `true` or `false`"),
        ("size=big", "`size` in a filter must be compared with a number"),
        ("created_at>yesterday", "`created_at` in a filter must be compared with an RFC 3339 time"),
    ];
    for (text, expected) in cases {
        match parse(text).unwrap().check(&allowed) {
            Ok(()) => assert!(expected.is_empty(), "{text}"),
            Err(error) => assert!(!expected.is_empty() && error.to_string().contains(expected), "{text}: {error}"),
        }
    }
}

/// Comparisons of `x` and whether they hold. The index has to agree with these:
/// its tests use the same table.
pub(crate) fn comparisons() -> Vec<(Value, &'static str, bool)> {
    vec![
        (json!("Foo bar"), r#"x = "Foo bar""#, true),
        (json!("Foo bar"), r#"x = "foo bar""#, false),
        (json!("Foo bar"), r#"x != "foo bar""#, true),
        (json!("Foo bar"), "x:BAR", true),
        (json!("Foo bar"), "x:baz", false),
        (json!("Foo bar"), "x = Foo*", true),
        (json!("Foo bar"), "x = foo*", false),
        (json!("Foo bar"), "x = *bar", true),
        (json!("Foo bar"), "x = *o*", true),
        (json!("Foo bar"), "x:foo*", true),
        (json!("Foo bar"), "x:bar*", false),
        (json!("Foo bar"), "x:*", true),
        (json!("Foo bar"), "x < Goo", true),
        (json!("Foo bar"), "x > Goo", false),
        (json!("Foo bar"), "x > 5", false),
        // Texts that begin alike for longer than any short cut looks.
        (json!("customer 12"), r#"x = "customer 12*""#, true),
        (json!("customer 12"), r#"x = "customer 13*""#, false),
        (json!("customer 12"), r#"x = "custome*""#, true),
        (json!("customer 12"), r#"x > "customer 11""#, true),
        (json!("customer 12"), r#"x > "customer 12""#, false),
        (json!("customer 12"), r#"x >= "customer 12""#, true),
        (json!("customer 12"), r#"x < "customer 120""#, true),
        (json!("custom"), "x < customs", true),
        (json!(["customer 12", "customer 14", 7]), r#"x > "customer 13""#, true),
        (json!(["customer 12", 7]), r#"x > "customer 13""#, false),
        (json!(5), "x = 5", true),
        (json!(5), r#"x = "5""#, true),
        (json!(5), "x = 5.0", true),
        (json!(5), "x = 6", false),
        (json!(5), "x < 10", true),
        (json!(-5), "x < -4.5", true),
        (json!(0.5), "x >= 0.5", true),
        (json!(0.5), "x > 0.5", false),
        (json!(9_007_199_254_740_993_i64), "x = 9007199254740993", true),
        (json!(9_007_199_254_740_993_i64), "x = 9007199254740992", false),
        (json!(9_007_199_254_740_993_i64), "x > 9007199254740992", true),
        (json!("9007199254740993"), "x > 9007199254740992", true),
        (json!("9007199254740993"), "x = 9007199254740993", true),
        (json!("12.50"), "x = 12.5", true),
        (json!("12.50"), r#"x = "12.5""#, false),
        (json!("12.50"), "x > 9", true),
        (json!("007"), "x = 7", false),
        (json!("007"), r#"x = "007""#, true),
        (json!("007"), "x = 007", true),
        (json!(5), "x:*", true),
        (json!(true), "x = true", true),
        (json!(true), "x = false", false),
        (json!(false), "x != true", true),
        (json!("true"), "x = true", true),
        (json!("2026-01-31T12:00:00Z"), "x = 2026-01-31T13:00:00+01:00", true),
        (json!("2026-01-31T12:00:00Z"), "x > 2026-01-31", true),
        (json!("2026-01-31T12:00:00Z"), "x < 2026-01-31T12:00:00.000001Z", true),
        (json!("2026-01-31T12:00:00Z"), r#"x < "2026-01-31""#, false),
        (json!("2026-01-31"), "x >= 2026-01-31T00:00:00Z", true),
        (json!("2026-01-31T12:00:00"), "x = 2026-01-31T12:00:00Z", true),
        (json!("not a time"), "x > 2026-01-31", false),
        (json!(["a", "b"]), "x = b", true),
        (json!(["a", "b"]), "x:b", true),
        (json!(["a", "b"]), "x != b", false),
        (json!(["a", "b"]), "x = c", false),
        (json!([1, 10]), "x > 5", true),
        (json!({"env": "prod"}), "x:env", true),
        (json!({"env": "prod"}), "x:*", true),
        (json!({"env": "prod"}), "x:prod", false),
        (json!(null), "x = null", false),
        (json!(null), "x:*", false),
        (json!(null), "x != 1", true),
        (json!(null), "NOT x = 1", true),
        (json!(null), "x < 1", false),
        (json!(3), "x > 1 x < 5", true),
        (json!(3), "x = 1 OR x = 3 AND x < 2 OR x = 9", false),
        (json!(3), "(x = 3 AND x > 2) OR x = 9", true),
        (json!(3), "-(x = 3 OR x = 4)", false),
    ]
}

#[test]
fn comparisons_hold_as_they_should() {
    for (value, text, expected) in comparisons() {
        let lookup = |field: &[String]| (field == ["x"]).then(|| value.clone());
        assert_eq!(parse(text).unwrap().matches(&lookup), Ok(expected), "{value} {text}");
    }
}
