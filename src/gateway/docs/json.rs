//! JSON on a page: in pieces, so that each kind has its colour.

use serde::Serialize;
use serde_json::Value;

/// A piece of text of one kind.
#[derive(Debug, Serialize)]
pub(super) struct Token {
    kind: &'static str,
    text: String,
}

/// The text of a value, indented, in pieces.
pub(super) fn tokens(value: &Value) -> Vec<Token> {
    let mut tokens = Vec::new();
    write(value, 0, &mut tokens);
    tokens
}

fn push(tokens: &mut Vec<Token>, kind: &'static str, text: impl Into<String>) {
    tokens.push(Token { kind, text: text.into() });
}

fn write(value: &Value, depth: usize, tokens: &mut Vec<Token>) {
    match value {
        Value::Null | Value::Bool(_) => push(tokens, "w", value.to_string()),
        Value::Number(_) => push(tokens, "n", value.to_string()),
        Value::String(_) => push(tokens, "s", value.to_string()),
        Value::Array(items) if items.iter().all(|item| !item.is_object()) => {
            push(tokens, "p", "[");
            for (index, item) in items.iter().enumerate() {
                push(tokens, "p", if index > 0 { ", " } else { "" });
                write(item, depth, tokens);
            }
            push(tokens, "p", "]");
        }
        Value::Array(items) => {
            push(tokens, "p", "[");
            for (index, item) in items.iter().enumerate() {
                push(tokens, "p", line(index, depth + 1));
                write(item, depth + 1, tokens);
            }
            push(tokens, "p", format!("\n{}]", "  ".repeat(depth)));
        }
        Value::Object(members) if members.is_empty() => push(tokens, "p", "{}"),
        Value::Object(members) => {
            push(tokens, "p", "{");
            for (index, (key, member)) in members.iter().enumerate() {
                push(tokens, "p", line(index, depth + 1));
                push(tokens, "k", Value::from(key.as_str()).to_string());
                push(tokens, "p", ": ");
                write(member, depth + 1, tokens);
            }
            push(tokens, "p", format!("\n{}}}", "  ".repeat(depth)));
        }
    }
}

fn line(index: usize, depth: usize) -> String {
    format!("{}\n{}", if index > 0 { "," } else { "" }, "  ".repeat(depth))
}
