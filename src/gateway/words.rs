//! The spelling of enum values: the value's name without the enum's prefix, in
//! lower case. Names without the prefix (not ours) keep their spelling.

use prost_reflect::{EnumDescriptor, EnumValueDescriptor};

/// The word for a value.
pub fn word(value: &EnumValueDescriptor) -> String {
    let prefix = prefix(value.parent_enum());
    match value.name().strip_prefix(&prefix) {
        Some(rest) if !rest.is_empty() => rest.to_ascii_lowercase(),
        _ => value.name().to_owned(),
    }
}

/// The number of a word: the short or the full name.
pub(super) fn number(descriptor: &EnumDescriptor, text: &str) -> Option<i32> {
    if let Some(value) = descriptor.get_value_by_name(text) {
        return Some(value.number());
    }
    descriptor.values().find(|value| word(value) == text).map(|value| value.number())
}

/// The words that may be sent, for people.
pub(super) fn list(descriptor: &EnumDescriptor) -> String {
    let words: Vec<String> =
        descriptor.values().filter(|value| value.number() != 0).map(|value| format!("`{}`", word(&value))).collect();
    words.join(", ")
}

/// `AuthMethod` to `AUTH_METHOD_`.
fn prefix(descriptor: &EnumDescriptor) -> String {
    let name = descriptor.name();
    let letters: Vec<char> = name.chars().collect();
    let mut prefix = String::with_capacity(name.len() + 4);
    for (index, letter) in letters.iter().enumerate() {
        let after_small = index > 0 && !letters[index - 1].is_ascii_uppercase();
        let before_small = index > 0 && letters.get(index + 1).is_some_and(|next| next.is_ascii_lowercase());
        if letter.is_ascii_uppercase() && (after_small || before_small) {
            prefix.push('_');
        }
        prefix.push(letter.to_ascii_uppercase());
    }
    prefix.push('_');
    prefix
}

/// `created_at` to `createdAt`, as protoc makes JSON names.
pub(super) fn camel(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for letter in name.chars() {
        if letter == '_' {
            upper = true;
        } else {
            camel.push(if upper { letter.to_ascii_uppercase() } else { letter });
            upper = false;
        }
    }
    camel
}

/// `createdAt` to `created_at`.
pub(super) fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}
