//! JSON into messages by the proto3 rules, strictly: unknown keys, both
//! spellings of one field and values of another type are errors. No error ever
//! holds a value, since credentials pass here.

use std::collections::{HashMap, HashSet};

use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value};

use crate::gateway::json::Json;
use crate::gateway::scalar;
use crate::gateway::well_known;
use crate::gateway::words;

/// One wrong field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadField {
    /// Its path as the caller wrote it; empty for the whole body.
    pub field: String,
    /// `UNKNOWN_FIELD`, `WRONG_TYPE`, `INVALID_VALUE` or `DUPLICATE_FIELD`.
    pub reason: &'static str,
    /// What is due instead.
    pub description: String,
}

impl BadField {
    pub(super) fn new(field: impl Into<String>, reason: &'static str, description: impl Into<String>) -> Self {
        Self { field: field.into(), reason, description: description.into() }
    }

    pub(super) fn wrong_type(expected: impl Into<String>) -> Self {
        Self::new("", "WRONG_TYPE", expected)
    }

    pub(super) fn invalid(expected: impl Into<String>) -> Self {
        Self::new("", "INVALID_VALUE", expected)
    }

    pub(super) fn unknown(key: &str) -> Self {
        Self::new(key, "UNKNOWN_FIELD", "is not a known field")
    }

    /// Puts the name of the field around it in front.
    pub(super) fn under(mut self, name: &str) -> Self {
        self.field = match self.field.as_str() {
            "" => name.to_owned(),
            inner if inner.starts_with('[') => format!("{name}{inner}"),
            inner => format!("{name}.{inner}"),
        };
        self
    }
}

/// Reads a message.
pub fn message(descriptor: &MessageDescriptor, json: &Json) -> Result<DynamicMessage, BadField> {
    if let Some(read) = well_known::reader(descriptor) {
        return read(descriptor, json);
    }
    let Json::Object(members) = json else {
        return Err(BadField::wrong_type(format!("must be an object, not {}", json.kind())));
    };
    fields(descriptor, members)
}

/// Reads the members of an object.
pub(super) fn fields(descriptor: &MessageDescriptor, members: &[(String, Json)]) -> Result<DynamicMessage, BadField> {
    let mut message = DynamicMessage::new(descriptor.clone());
    let mut seen = HashSet::new();
    let mut arms: HashMap<String, String> = HashMap::new();
    for (key, json) in members {
        let field = field(descriptor, key).ok_or_else(|| BadField::unknown(key))?;
        if !seen.insert(field.number()) {
            return Err(BadField::new(key, "DUPLICATE_FIELD", "is there twice, in two spellings"));
        }
        let Some(value) = value(&field, json).map_err(|error| error.under(key))? else { continue };
        if let Some(oneof) = field.containing_oneof()
            && let Some(other) = arms.insert(oneof.name().to_owned(), key.clone())
        {
            return Err(BadField::new(key, "INVALID_VALUE", format!("cannot be set together with `{other}`")));
        }
        message.set_field(&field, value);
    }
    Ok(message)
}

/// The field of a key, in either spelling.
pub(super) fn field(descriptor: &MessageDescriptor, key: &str) -> Option<FieldDescriptor> {
    descriptor.get_field_by_json_name(key).or_else(|| descriptor.get_field_by_name(key))
}

/// The value of a field; `None` for a null that means "not set".
pub(super) fn value(field: &FieldDescriptor, json: &Json) -> Result<Option<Value>, BadField> {
    if *json == Json::Null && (field.is_list() || field.is_map() || !takes_null(&field.kind())) {
        return Ok(None);
    }
    if field.is_map() {
        map(field, json).map(Some)
    } else if field.is_list() {
        list(field, json).map(Some)
    } else {
        single(&field.kind(), json).map(Some)
    }
}

fn list(field: &FieldDescriptor, json: &Json) -> Result<Value, BadField> {
    let Json::Array(items) = json else { return Err(BadField::wrong_type("must be an array")) };
    let kind = field.kind();
    let read = |(index, item)| single(&kind, item).map_err(|error| error.under(&format!("[{index}]")));
    items.iter().enumerate().map(read).collect::<Result<_, _>>().map(Value::List)
}

fn map(field: &FieldDescriptor, json: &Json) -> Result<Value, BadField> {
    let Json::Object(members) = json else { return Err(BadField::wrong_type("must be an object")) };
    let Kind::Message(entry) = field.kind() else { return Err(BadField::wrong_type("must be an object")) };
    let (key_kind, value_kind) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
    let mut map = HashMap::with_capacity(members.len());
    for (text, json) in members {
        let bad_key = || BadField::new(text, "INVALID_VALUE", format!("as a key {}", scalar::expected(&key_kind)));
        let key = scalar::map_key(&key_kind, text).ok_or_else(bad_key)?;
        let value = single(&value_kind, json).map_err(|error| error.under(text))?;
        if map.insert(key, value).is_some() {
            return Err(BadField::new(text, "DUPLICATE_FIELD", "is the same key as another"));
        }
    }
    Ok(Value::Map(map))
}

/// A value that is not repeated.
pub(super) fn single(kind: &Kind, json: &Json) -> Result<Value, BadField> {
    let wrong = || BadField::wrong_type(scalar::expected(kind));
    let invalid = || BadField::invalid(scalar::expected(kind));
    match (kind, json) {
        (Kind::Message(descriptor), json) => message(descriptor, json).map(Value::Message),
        (Kind::Enum(descriptor), json) => enumeration(descriptor, json).ok_or_else(invalid),
        (Kind::Bool, Json::Bool(value)) => Ok(Value::Bool(*value)),
        (Kind::String, Json::String(text)) => Ok(Value::String(text.clone())),
        (Kind::Bytes, Json::String(text)) => scalar::bytes(text).ok_or_else(invalid),
        (Kind::Bool | Kind::String | Kind::Bytes, _) => Err(wrong()),
        (kind, Json::Number(text) | Json::String(text)) => scalar::number(kind, text).ok_or_else(invalid),
        _ => Err(wrong()),
    }
}

fn enumeration(descriptor: &EnumDescriptor, json: &Json) -> Option<Value> {
    let number = match json {
        Json::Null if is_null_value(descriptor) => 0,
        Json::String(text) => words::number(descriptor, text)?,
        Json::Number(text) => scalar::whole(text)?.try_into().ok()?,
        _ => return None,
    };
    Some(Value::EnumNumber(number))
}

fn takes_null(kind: &Kind) -> bool {
    match kind {
        Kind::Message(descriptor) => descriptor.full_name() == "google.protobuf.Value",
        Kind::Enum(descriptor) => is_null_value(descriptor),
        _ => false,
    }
}

/// Whether the enum is the one that stands for JSON's null.
pub(super) fn is_null_value(descriptor: &EnumDescriptor) -> bool {
    descriptor.full_name() == "google.protobuf.NullValue"
}
