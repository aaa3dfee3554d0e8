//! Messages into JSON: every field without presence is there, enums are words,
//! 64-bit integers are strings, whole doubles have no `.0`.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value,
};

use crate::gateway::moment;
use crate::gateway::read::is_null_value;
use crate::gateway::well_known::is_wrapper;
use crate::gateway::words;

/// A message has no JSON form: a time out of range, an unknown `Any`, a mask
/// that does not survive the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a `{0}` has a value without a JSON form")]
pub struct Unprintable(&'static str);

type Written = Result<(), Unprintable>;

/// The JSON text of a message.
pub fn message(message: &DynamicMessage) -> Result<String, Unprintable> {
    let mut text = String::new();
    write_message(&mut text, message)?;
    Ok(text)
}

/// The members of a message without the braces.
pub fn members(message: &DynamicMessage) -> Result<String, Unprintable> {
    let mut text = String::new();
    write_members(&mut text, message)?;
    Ok(text)
}

/// A JSON string, quoted and escaped.
pub fn string(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 2);
    write_string(&mut written, text);
    written
}

fn write_message(out: &mut String, message: &DynamicMessage) -> Written {
    let descriptor = message.descriptor();
    if descriptor.package_name() == "google.protobuf" && write_well_known(out, &descriptor, message)? {
        return Ok(());
    }
    out.push('{');
    write_members(out, message)?;
    out.push('}');
    Ok(())
}

fn write_members(out: &mut String, message: &DynamicMessage) -> Written {
    let mut first = true;
    for field in message.descriptor().fields() {
        if field.supports_presence() && !message.has_field(&field) {
            continue;
        }
        separate(out, &mut first);
        write_string(out, field.json_name());
        out.push(':');
        write_field(out, &field, &message.get_field(&field))?;
    }
    Ok(())
}

fn write_field(out: &mut String, field: &FieldDescriptor, value: &Value) -> Written {
    match (value, field.kind()) {
        (Value::List(items), kind) => write_list(out, items, &kind),
        (Value::Map(map), Kind::Message(entry)) => {
            write_map(out, map.iter().map(|(key, value)| (key_text(key), value)), &entry.map_entry_value_field().kind())
        }
        (value, kind) => write_value(out, value, &kind),
    }
}

fn write_list(out: &mut String, items: &[Value], kind: &Kind) -> Written {
    out.push('[');
    let mut first = true;
    for item in items {
        separate(out, &mut first);
        write_value(out, item, kind)?;
    }
    out.push(']');
    Ok(())
}

/// Keys are sorted: a map has no order, and an answer should not change its own.
fn write_map<'map>(out: &mut String, entries: impl Iterator<Item = (String, &'map Value)>, kind: &Kind) -> Written {
    let mut entries: Vec<(String, &Value)> = entries.collect();
    entries.sort_by(|left, right| left.0.cmp(&right.0));
    out.push('{');
    let mut first = true;
    for (key, value) in entries {
        separate(out, &mut first);
        write_string(out, &key);
        out.push(':');
        write_value(out, value, kind)?;
    }
    out.push('}');
    Ok(())
}

fn write_value(out: &mut String, value: &Value, kind: &Kind) -> Written {
    match value {
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::I32(value) => push(out, format_args!("{value}")),
        Value::U32(value) => push(out, format_args!("{value}")),
        Value::I64(value) => push(out, format_args!("\"{value}\"")),
        Value::U64(value) => push(out, format_args!("\"{value}\"")),
        Value::F32(value) => write_float(out, f64::from(*value), format!("{value}"), format!("{value:e}")),
        Value::F64(value) => write_float(out, *value, format!("{value}"), format!("{value:e}")),
        Value::String(value) => write_string(out, value),
        Value::Bytes(value) => write_string(out, &STANDARD.encode(value)),
        Value::EnumNumber(number) => write_enum(out, *number, kind.as_enum()),
        Value::Message(message) => write_message(out, message)?,
        Value::List(items) => write_list(out, items, kind)?,
        Value::Map(_) => return Err(Unprintable("map")),
    }
    Ok(())
}

fn write_enum(out: &mut String, number: i32, descriptor: Option<&EnumDescriptor>) {
    match descriptor {
        Some(descriptor) if is_null_value(descriptor) => out.push_str("null"),
        Some(descriptor) => match descriptor.get_value(number) {
            Some(value) => write_string(out, &words::word(&value)),
            None => push(out, format_args!("{number}")),
        },
        None => push(out, format_args!("{number}")),
    }
}

/// Plain digits where a person would write them, else an exponent.
fn write_float(out: &mut String, value: f64, plain: String, exponent: String) {
    let size = value.abs();
    if value.is_nan() {
        out.push_str("\"NaN\"");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        out.push_str(&exponent);
    } else {
        out.push_str(&plain);
    }
}

/// Writes the messages with a form of their own; answers whether it was one.
fn write_well_known(
    out: &mut String,
    descriptor: &MessageDescriptor,
    message: &DynamicMessage,
) -> Result<bool, Unprintable> {
    match descriptor.name() {
        "Timestamp" => write_moment(out, message, moment::timestamp, "google.protobuf.Timestamp")?,
        "Duration" => write_moment(out, message, moment::duration, "google.protobuf.Duration")?,
        "FieldMask" => write_mask(out, message)?,
        "Struct" => write_struct(out, message)?,
        "ListValue" => write_named(out, message, "values")?,
        "Value" => write_any_value(out, message)?,
        "Any" => write_any(out, message)?,
        _ if is_wrapper(descriptor) => write_named(out, message, "value")?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn write_named(out: &mut String, message: &DynamicMessage, name: &str) -> Written {
    let field = message.descriptor().get_field_by_name(name).ok_or(Unprintable("well-known message"))?;
    write_field(out, &field, &message.get_field(&field))
}

fn write_moment(
    out: &mut String,
    message: &DynamicMessage,
    print: fn(i64, i32) -> Option<String>,
    name: &'static str,
) -> Written {
    let seconds = message.get_field_by_name("seconds").and_then(|value| value.as_i64()).unwrap_or_default();
    let nanos = message.get_field_by_name("nanos").and_then(|value| value.as_i32()).unwrap_or_default();
    write_string(out, &print(seconds, nanos).ok_or(Unprintable(name))?);
    Ok(())
}

fn write_mask(out: &mut String, message: &DynamicMessage) -> Written {
    let paths = message.get_field_by_name("paths").ok_or(Unprintable("google.protobuf.FieldMask"))?;
    let mut printed = Vec::new();
    for path in paths.as_list().unwrap_or_default() {
        let path = path.as_str().unwrap_or_default();
        let camel = words::camel(path);
        if words::snake(&camel) != path {
            return Err(Unprintable("google.protobuf.FieldMask"));
        }
        printed.push(camel);
    }
    write_string(out, &printed.join(","));
    Ok(())
}

fn write_struct(out: &mut String, message: &DynamicMessage) -> Written {
    write_named(out, message, "fields")
}

fn write_any_value(out: &mut String, message: &DynamicMessage) -> Written {
    let Some((field, value)) = message.fields().next() else { return Err(Unprintable("google.protobuf.Value")) };
    if value.as_f64().is_some_and(|number| !number.is_finite()) {
        return Err(Unprintable("google.protobuf.Value"));
    }
    write_field(out, &field, value)
}

fn write_any(out: &mut String, message: &DynamicMessage) -> Written {
    let unknown = Unprintable("google.protobuf.Any");
    let url = message.get_field_by_name("type_url").ok_or(unknown)?;
    let url = url.as_str().unwrap_or_default();
    if url.is_empty() {
        out.push_str("{}");
        return Ok(());
    }
    let bytes = message.get_field_by_name("value").ok_or(unknown)?;
    let name = url.rsplit_once('/').map_or(url, |(_, name)| name);
    let packed = message.descriptor().parent_pool().get_message_by_name(name).ok_or(unknown)?;
    let packed = DynamicMessage::decode(packed, bytes.as_bytes().cloned().unwrap_or_default()).map_err(|_| unknown)?;
    out.push_str(&typed(url, &packed)?);
    Ok(())
}

/// A message with its `@type` in front, as `Any` is written.
pub(super) fn typed(url: &str, message: &DynamicMessage) -> Result<String, Unprintable> {
    let mut out = format!("{{\"@type\":{}", string(url));
    let descriptor = message.descriptor();
    let mut own = String::new();
    if descriptor.package_name() == "google.protobuf" && write_well_known(&mut own, &descriptor, message)? {
        push(&mut out, format_args!(",\"value\":{own}}}"));
        return Ok(out);
    }
    let members = members(message)?;
    if !members.is_empty() {
        out.push(',');
    }
    out.push_str(&members);
    out.push('}');
    Ok(out)
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

fn separate(out: &mut String, first: &mut bool) {
    if !std::mem::take(first) {
        out.push(',');
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Line separators would end a line in JavaScript.
            '\0'..='\u{1f}' | '\u{7f}' | '\u{2028}' | '\u{2029}' => push(out, format_args!("\\u{:04x}", letter as u32)),
            letter => out.push(letter),
        }
    }
    out.push('"');
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("writing to a string never fails");
}
