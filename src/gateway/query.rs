//! Query parameters into fields: every parameter must be known, and a singular
//! one may be given once. `+` is a space.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use crate::gateway::path;
use crate::gateway::read::{self, BadField};
use crate::gateway::rules::Body;
use crate::gateway::scalar;
use crate::gateway::well_known;

/// The decoded parameters of a raw query, in their order.
pub(super) fn parse(query: &str) -> Result<Vec<(String, String)>, BadField> {
    let decode = |text: &str| path::decode(&text.replace('+', " "));
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let malformed = "holds a bad percent escape, invalid UTF-8 or a NUL";
        let name = decode(name).ok_or_else(|| BadField::new("query", "INVALID_VALUE", malformed))?;
        let value = decode(value).ok_or_else(|| BadField::new(&name, "INVALID_VALUE", malformed))?;
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// Puts parameters into a message. `bound` are the fields that the path sets.
pub(super) fn bind(
    message: &mut DynamicMessage,
    pairs: &[(String, String)],
    body: &Body,
    bound: &[Vec<FieldDescriptor>],
) -> Result<(), BadField> {
    let descriptor = prost_reflect::ReflectMessage::descriptor(message);
    let mut given: HashMap<Vec<u32>, &str> = HashMap::new();
    let mut arms: HashMap<(Vec<u32>, String), u32> = HashMap::new();
    for (name, text) in pairs {
        let fields = resolve(&descriptor, name)?;
        let numbers: Vec<u32> = fields.iter().map(FieldDescriptor::number).collect();
        if matches!(body, Body::Field(field) if *field == fields[0]) {
            return Err(BadField::new(name, "INVALID_VALUE", "belongs in the body"));
        }
        let last = &fields[fields.len() - 1];
        if given.insert(numbers.clone(), name).is_some() && !last.is_list() {
            return Err(BadField::new(name, "DUPLICATE_FIELD", "is given more than once"));
        }
        one_arm(&mut arms, &fields, &numbers, name)?;
        let value =
            value(&last.kind(), text).ok_or_else(|| BadField::new(name, "INVALID_VALUE", expected(&last.kind())))?;
        if bound.contains(&fields) {
            if get(message, &fields).as_ref() != Some(&value) {
                return Err(BadField::new(name, "INVALID_VALUE", "differs from the path"));
            }
            continue;
        }
        put(message, &fields, value);
    }
    Ok(())
}

/// The value of a singular field, or one element of a repeated one.
pub(super) fn value(kind: &Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Message(descriptor) => well_known::from_text(descriptor, text).map(Value::Message),
        kind => scalar::from_text(kind, text),
    }
}

/// What a parameter takes, for people.
pub(super) fn expected(kind: &Kind) -> String {
    let Kind::Message(descriptor) = kind else { return scalar::expected(kind) };
    match descriptor.full_name() {
        "google.protobuf.Timestamp" => "must be a time such as 2024-01-15T10:00:00Z".to_owned(),
        "google.protobuf.Duration" => "must be a duration such as 1.5s".to_owned(),
        "google.protobuf.FieldMask" => "must be field names in lowerCamelCase with commas between".to_owned(),
        _ => descriptor
            .get_field_by_name("value")
            .map_or_else(|| "must be JSON text".to_owned(), |field| scalar::expected(&field.kind())),
    }
}

/// Sets the field at the end of the path; a repeated one grows.
pub(super) fn put(message: &mut DynamicMessage, fields: &[FieldDescriptor], value: Value) {
    let Some((last, outer)) = fields.split_last() else { return };
    let mut current = message;
    for field in outer {
        let Some(inner) = current.get_field_mut(field).as_message_mut() else { return };
        current = inner;
    }
    if last.is_list() {
        if let Some(items) = current.get_field_mut(last).as_list_mut() {
            items.push(value);
        }
    } else {
        current.set_field(last, value);
    }
}

/// The value at the end of the path, the default if it is not set.
pub(super) fn get(message: &DynamicMessage, fields: &[FieldDescriptor]) -> Option<Value> {
    let (first, rest) = fields.split_first()?;
    let value = message.get_field(first);
    if rest.is_empty() { Some(value.into_owned()) } else { get(value.as_message()?, rest) }
}

fn resolve(descriptor: &MessageDescriptor, name: &str) -> Result<Vec<FieldDescriptor>, BadField> {
    let unknown = || BadField::new(name, "UNKNOWN_FIELD", "is not a known query parameter");
    let mut fields: Vec<FieldDescriptor> = Vec::new();
    let mut current = Some(descriptor.clone());
    for part in name.split('.') {
        let field = read::field(&current.ok_or_else(unknown)?, part).ok_or_else(unknown)?;
        current = match field.kind() {
            Kind::Message(inner) if !field.is_list() && !field.is_map() && well_known::reader(&inner).is_none() => {
                Some(inner)
            }
            _ => None,
        };
        fields.push(field);
    }
    let last = &fields[fields.len() - 1];
    let takes_text = match last.kind() {
        Kind::Message(inner) => has_text(&inner),
        _ => true,
    };
    if last.is_map() || !takes_text { Err(unknown()) } else { Ok(fields) }
}

fn has_text(descriptor: &MessageDescriptor) -> bool {
    well_known::is_wrapper(descriptor)
        || matches!(
            descriptor.full_name(),
            "google.protobuf.Timestamp" | "google.protobuf.Duration" | "google.protobuf.FieldMask"
        )
}

/// Two arms of one oneof cannot both be set, at any depth.
fn one_arm(
    arms: &mut HashMap<(Vec<u32>, String), u32>,
    fields: &[FieldDescriptor],
    numbers: &[u32],
    name: &str,
) -> Result<(), BadField> {
    for (depth, field) in fields.iter().enumerate() {
        let Some(oneof) = field.containing_oneof() else { continue };
        let place = (numbers[..depth].to_vec(), oneof.name().to_owned());
        if arms.insert(place, field.number()).is_some_and(|other| other != field.number()) {
            return Err(BadField::new(name, "INVALID_VALUE", "cannot be given together with another of its group"));
        }
    }
    Ok(())
}
