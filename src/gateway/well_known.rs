//! The messages with a JSON form of their own: timestamps, durations, masks,
//! wrappers, `Struct` and its kin, and `Any`.

use std::collections::HashMap;

use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, MapKey, MessageDescriptor, Value};

use crate::gateway::json::Json;
use crate::gateway::moment;
use crate::gateway::read::{self, BadField};
use crate::gateway::scalar;
use crate::gateway::words;

type Read = fn(&MessageDescriptor, &Json) -> Result<DynamicMessage, BadField>;

/// How a message with a form of its own is read.
pub(super) fn reader(descriptor: &MessageDescriptor) -> Option<Read> {
    if descriptor.package_name() != "google.protobuf" {
        return None;
    }
    Some(match descriptor.name() {
        "Timestamp" => timestamp,
        "Duration" => duration,
        "FieldMask" => field_mask,
        "Struct" => structure,
        "Value" => any_value,
        "ListValue" => list_value,
        "Any" => any,
        _ if is_wrapper(descriptor) => wrapper,
        _ => return None,
    })
}

/// Whether the message is one of the wrappers of scalars.
pub(super) fn is_wrapper(descriptor: &MessageDescriptor) -> bool {
    matches!(
        descriptor.full_name().strip_prefix("google.protobuf."),
        Some(
            "DoubleValue"
                | "FloatValue"
                | "Int64Value"
                | "UInt64Value"
                | "Int32Value"
                | "UInt32Value"
                | "BoolValue"
                | "StringValue"
                | "BytesValue"
        )
    )
}

/// A well-known message from the text of a path or query, where it has one.
pub(super) fn from_text(descriptor: &MessageDescriptor, text: &str) -> Option<DynamicMessage> {
    if is_wrapper(descriptor) {
        let field = descriptor.get_field_by_name("value")?;
        let value = scalar::from_text(&field.kind(), text)?;
        return Some(with(descriptor, [("value", value)]));
    }
    match descriptor.full_name() {
        "google.protobuf.Timestamp" | "google.protobuf.Duration" | "google.protobuf.FieldMask" => {
            reader(descriptor)?(descriptor, &Json::String(text.to_owned())).ok()
        }
        _ => None,
    }
}

/// A field mask of these paths.
pub(super) fn mask(descriptor: &MessageDescriptor, paths: Vec<String>) -> DynamicMessage {
    with(descriptor, [("paths", Value::List(paths.into_iter().map(Value::String).collect()))])
}

fn with<const N: usize>(descriptor: &MessageDescriptor, values: [(&str, Value); N]) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for (name, value) in values {
        message.set_field_by_name(name, value);
    }
    message
}

fn text<'json>(json: &'json Json, expected: &str) -> Result<&'json str, BadField> {
    match json {
        Json::String(text) => Ok(text),
        _ => Err(BadField::wrong_type(expected)),
    }
}

fn timestamp(descriptor: &MessageDescriptor, json: &Json) -> Result<DynamicMessage, BadField> {
    let expected = "must be a time such as 2024-01-15T10:00:00Z";
    let parsed = moment::parse_timestamp(text(json, expected)?).ok_or_else(|| BadField::invalid(expected))?;
    Ok(with(descriptor, [("seconds", Value::I64(parsed.0)), ("nanos", Value::I32(parsed.1))]))
}

fn duration(descriptor: &MessageDescriptor, json: &Json) -> Result<DynamicMessage, BadField> {
    let expected = "must be a duration such as 1.5s";
    let parsed = moment::parse_duration(text(json, expected)?).ok_or_else(|| BadField::invalid(expected))?;
    Ok(with(descriptor, [("seconds", Value::I64(parsed.0)), ("nanos", Value::I32(parsed.1))]))
}

fn field_mask(descriptor: &MessageDescriptor, json: &Json) -> Result<DynamicMessage, BadField> {
    let expected = "must be field names in lowerCamelCase with commas between";
    let text = text(json, expected)?;
    let good =
        |path: &str| !path.is_empty() && path.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '.');
    let paths: Vec<&str> = if text.is_empty() { Vec::new() } else { text.split(',').collect() };
    if !paths.iter().all(|path| good(path)) {
        return Err(BadField::invalid(expected));
    }
    Ok(mask(descriptor, paths.into_iter().map(words::snake).collect()))
}

fn structure(descriptor: &MessageDescriptor, json: &Json) -> Result<DynamicMessage, BadField> {
    let Json::Object(members) = json else {
        return Err(BadField::wrong_type(format!("must be an object, not {}", json.kind())));
    };
    let value = value_descriptor(descriptor, "fields")?;
    let mut fields = HashMap::with_capacity(members.len());
    for (key, member) in members {
        let member = any_value(&value, member).map_err(|error| error.under(key))?;
        fields.insert(MapKey::String(key.clone()), Value::Message(member));
    }
    Ok(with(descriptor, [("fields", Value::Map(fields))]))
}

fn list_value(descriptor: &MessageDescriptor, json: &Json) -> Result<DynamicMessage, BadField> {
    let Json::Array(items) = json else { return Err(BadField::wrong_type("must be an array")) };
    let value = value_descriptor(descriptor, "values")?;
    let read = |(index, item)| any_value(&value, item).map_err(|error| error.under(&format!("[{index}]")));
    let values = items.iter().enumerate().map(read).map(|item| item.map(Value::Message)).collect::<Result<_, _>>()?;
    Ok(with(descriptor, [("values", Value::List(values))]))
}

fn any_value(descriptor: &MessageDescriptor, json: &Json) -> Result<DynamicMessage, BadField> {
    let (name, value) = match json {
        Json::Null => ("null_value", Value::EnumNumber(0)),
        Json::Bool(value) => ("bool_value", Value::Bool(*value)),
        Json::Number(text) => {
            let number = scalar::finite(text).ok_or_else(|| BadField::invalid("must fit a double"))?;
            ("number_value", Value::F64(number))
        }
        Json::String(text) => ("string_value", Value::String(text.clone())),
        Json::Array(_) => ("list_value", Value::Message(list_value(&inner(descriptor, "list_value")?, json)?)),
        Json::Object(_) => ("struct_value", Value::Message(structure(&inner(descriptor, "struct_value")?, json)?)),
    };
    Ok(with(descriptor, [(name, value)]))
}

/// `google.protobuf.Value`, as the element of a list or the value of a map.
fn value_descriptor(descriptor: &MessageDescriptor, field: &str) -> Result<MessageDescriptor, BadField> {
    let element = inner(descriptor, field)?;
    if element.is_map_entry() { inner(&element, "value") } else { Ok(element) }
}

fn inner(descriptor: &MessageDescriptor, field: &str) -> Result<MessageDescriptor, BadField> {
    let kind = descriptor.get_field_by_name(field).map(|field| field.kind());
    kind.and_then(|kind| kind.as_message().cloned()).ok_or_else(|| BadField::invalid("cannot be read"))
}

fn wrapper(descriptor: &MessageDescriptor, json: &Json) -> Result<DynamicMessage, BadField> {
    let field = descriptor.get_field_by_name("value").ok_or_else(|| BadField::invalid("cannot be read"))?;
    Ok(with(descriptor, [("value", read::single(&field.kind(), json)?)]))
}

fn any(descriptor: &MessageDescriptor, json: &Json) -> Result<DynamicMessage, BadField> {
    let Json::Object(members) = json else { return Err(BadField::wrong_type("must be an object")) };
    if members.is_empty() {
        return Ok(DynamicMessage::new(descriptor.clone()));
    }
    let unknown = || BadField::new("@type", "INVALID_VALUE", "must be the URL of a known message type");
    let url = members.iter().find(|(key, _)| key == "@type").map(|(_, url)| url);
    let Some(Json::String(url)) = url else { return Err(unknown()) };
    let (_, name) = url.rsplit_once('/').ok_or_else(unknown)?;
    let packed = descriptor.parent_pool().get_message_by_name(name).ok_or_else(unknown)?;
    let rest: Vec<(String, Json)> = members.iter().filter(|(key, _)| key != "@type").cloned().collect();
    let message = match reader(&packed) {
        None => read::fields(&packed, &rest)?,
        Some(read) => match rest.as_slice() {
            [(key, value)] if key == "value" => read(&packed, value).map_err(|error| error.under("value"))?,
            _ => return Err(BadField::new("value", "INVALID_VALUE", "must be the only key beside `@type`")),
        },
    };
    let bytes = Value::Bytes(message.encode_to_vec().into());
    Ok(with(descriptor, [("type_url", Value::String(url.clone())), ("value", bytes)]))
}
