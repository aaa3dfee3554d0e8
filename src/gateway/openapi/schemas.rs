//! Schemas of messages, as the REST dialect reads and writes them.

use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use crate::gateway::openapi::comments::Comments;
use crate::gateway::openapi::rules::{Constraints, Rules};
use crate::gateway::words;

/// Text without control characters other than tab and line ends: what every
/// string of a request must be.
pub(super) const CLEAN: &str = r"^[^\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F]*$";

/// The schemas that were needed so far.
pub(super) struct Schemas<'document> {
    comments: &'document Comments,
    rules: Rules,
    /// Messages of this package are named without it.
    package: String,
    components: Map<String, Value>,
}

/// How a value of a request is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// As JSON in a body.
    Body,
    /// As text in the query.
    Query,
}

impl<'document> Schemas<'document> {
    pub(super) fn new(pool: &DescriptorPool, comments: &'document Comments, package: String) -> Self {
        Self { comments, rules: Rules::of(pool), package, components: Map::new() }
    }

    pub(super) fn into_components(mut self) -> Map<String, Value> {
        self.components.sort_keys();
        self.components
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(super) fn has(&self, component: &str) -> bool {
        self.components.contains_key(component)
    }

    pub(super) fn add(&mut self, component: &str, schema: Value) {
        self.components.insert(component.to_owned(), schema);
    }

    fn name(&self, message: &MessageDescriptor) -> String {
        let full = message.full_name();
        let own = full.strip_prefix(&self.package).and_then(|rest| rest.strip_prefix('.')).unwrap_or(full);
        own.split('.').map(capital).collect()
    }

    fn comment(&self, message: &MessageDescriptor) -> String {
        self.comments.get(&message.parent_file(), message.path())
    }

    // What is sent.

    /// A reply with the envelope around it.
    pub(super) fn envelope(&mut self, message: &MessageDescriptor) -> Value {
        let name = self.name(message);
        if !self.has(&name) {
            let mut schema = self.reply_object(message);
            let mut properties = Map::from_iter([("success".to_owned(), json!({"type": "boolean", "const": true}))]);
            properties.extend(schema["properties"].as_object().cloned().unwrap_or_default());
            schema["properties"] = properties.into();
            if let Some(required) = schema["required"].as_array_mut() {
                required.insert(0, "success".into());
            }
            self.add(&name, schema);
        }
        reference(&name)
    }

    /// A message inside a reply, or one event of a stream.
    pub(super) fn reply(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(schema) = well_known(message) {
            return schema;
        }
        let name = self.name(message);
        if !self.has(&name) {
            // Holds the place while a message that holds itself is written.
            self.add(&name, Value::Null);
            let schema = self.reply_object(message);
            self.add(&name, schema);
        }
        reference(&name)
    }

    fn reply_object(&mut self, message: &MessageDescriptor) -> Value {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for field in message.fields() {
            if !field.supports_presence() {
                required.push(field.json_name().to_owned());
            }
            let schema = self.reply_field(&field);
            properties.insert(field.json_name().to_owned(), described(schema, self.comments.field(&field)));
        }
        let schema = json!({"type": "object", "properties": properties, "required": required});
        described(schema, self.comment(message))
    }

    fn reply_field(&mut self, field: &FieldDescriptor) -> Value {
        if field.is_map() {
            let values = field.kind().as_message().map(|entry| entry.map_entry_value_field().kind());
            let values = values.map(|kind| self.reply_kind(&kind)).unwrap_or_default();
            return json!({"type": "object", "additionalProperties": values});
        }
        let single = self.reply_kind(&field.kind());
        if field.is_list() { json!({"type": "array", "items": single}) } else { single }
    }

    fn reply_kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Message(message) => self.reply(message),
            Kind::Enum(values) => json!({"type": "string", "enum": words_of(values, &[0])}),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => {
                json!({"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"})
            }
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({"type": "integer", "format": "int32"}),
            Kind::Uint32 | Kind::Fixed32 => json!({"type": "integer", "format": "int64", "minimum": 0}),
            Kind::Float | Kind::Double => json!({"type": "number", "format": "double"}),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        }
    }

    // What is taken.

    /// The object of a body: `fields` of `message`, and nothing else. In a
    /// partial one nothing is required, but what is given must be good.
    pub(super) fn body_object(
        &mut self,
        message: &MessageDescriptor,
        without: &[FieldDescriptor],
        partial: bool,
    ) -> Value {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        let left_out = |field: &FieldDescriptor| without.contains(field) || partial && self.rules.is_immutable(field);
        let fields: Vec<FieldDescriptor> = message.fields().filter(|field| !left_out(field)).collect();
        for field in fields {
            let needed = self.rules.is_required(&field);
            if needed && !partial {
                required.push(field.json_name().to_owned());
            }
            let schema = self.body_field(&field, needed);
            properties.insert(field.json_name().to_owned(), described(schema, self.comments.field(&field)));
        }
        let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic() && self.rules.needs_one(oneof)) {
            let is_set = |field: FieldDescriptor| {
                let name = field.json_name();
                json!({"required": [name], "properties": {name: {"not": {"type": "null"}}}})
            };
            schema["oneOf"] = oneof.fields().map(is_set).collect();
        }
        described(schema, self.comment(message))
    }

    fn body_field(&mut self, field: &FieldDescriptor, needed: bool) -> Value {
        if self.rules.is_output_only(field) {
            let mut schema = match field.kind() {
                Kind::Message(message) if well_known(&message).is_none() => json!({"type": "object"}),
                _ => self.reply_field(field),
            };
            schema["readOnly"] = true.into();
            return schema;
        }
        let schema = self.request_field(field, Place::Body, needed);
        if needed { schema } else { or_null(schema) }
    }

    /// The value of a field of a request.
    pub(super) fn request_field(&mut self, field: &FieldDescriptor, place: Place, needed: bool) -> Value {
        let mut constraints = self.rules.constraints(field);
        if !field.is_list() {
            return self.request_kind(&field.kind(), &mut constraints, place, needed);
        }
        let mut inner = constraints.items.take().map(|items| *items).unwrap_or_default();
        let items = self.request_kind(&field.kind(), &mut inner, place, false);
        let mut schema = json!({"type": "array", "items": items});
        merge(&mut schema, constraints.keywords);
        if needed && schema.get("minItems").is_none() {
            schema["minItems"] = 1.into();
        }
        schema
    }

    fn request_kind(&mut self, kind: &Kind, constraints: &mut Constraints, place: Place, needed: bool) -> Value {
        match kind {
            Kind::Message(message) => self.input(message),
            Kind::Enum(values) => {
                if needed {
                    constraints.refused.push(0);
                }
                enumeration(values, &constraints.refused)
            }
            Kind::String => {
                let mut schema = json!({"type": "string"});
                if needed {
                    schema["minLength"] = 1.into();
                }
                merge(&mut schema, std::mem::take(&mut constraints.keywords));
                if schema.get("pattern").is_none() {
                    schema["pattern"] = CLEAN.into();
                }
                schema
            }
            Kind::Bool => {
                let mut schema = json!({"type": "boolean"});
                merge(&mut schema, std::mem::take(&mut constraints.keywords));
                schema
            }
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Float | Kind::Double => decimal(place),
            _ => integer(kind, constraints, place),
        }
    }

    /// A message inside a request.
    fn input(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(schema) = well_known(message) {
            return schema;
        }
        let name = format!("{}Input", self.name(message));
        if !self.has(&name) {
            self.add(&name, Value::Null);
            let schema = self.body_object(message, &[], false);
            self.add(&name, schema);
        }
        reference(&name)
    }
}

/// A schema of the components by name.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// The schema with a description in front, if there is something to say.
pub(super) fn described(mut schema: Value, description: String) -> Value {
    if !description.is_empty() {
        schema["description"] = description.into();
    }
    schema
}

/// A word with a capital letter.
pub(super) fn capital(part: &str) -> String {
    let mut letters = part.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

fn merge(schema: &mut Value, keywords: Map<String, Value>) {
    for (keyword, value) in keywords {
        schema[keyword] = value;
    }
}

/// A field that is not required may be null, which is the same as not there.
fn or_null(mut schema: Value) -> Value {
    if let Some(Value::Array(forms)) = schema.get_mut("anyOf") {
        forms.push(json!({"type": "null"}));
        return schema;
    }
    match schema.get("type").cloned() {
        Some(Value::String(kind)) if schema.get("const").is_none() => {
            schema["type"] = json!([kind, "null"]);
            schema
        }
        _ => json!({"anyOf": [schema, {"type": "null"}]}),
    }
}

fn words_of(values: &EnumDescriptor, refused: &[i32]) -> Vec<String> {
    values.values().filter(|value| !refused.contains(&value.number())).map(|value| words::word(&value)).collect()
}

/// The word that is documented, or the full name or number of the proto.
fn enumeration(values: &EnumDescriptor, refused: &[i32]) -> Value {
    let taken = || values.values().filter(|value| !refused.contains(&value.number()));
    let others: Vec<Value> =
        taken().map(|value| json!(value.name())).chain(taken().map(|value| json!(value.number()))).collect();
    json!({"anyOf": [{"type": "string", "enum": words_of(values, refused)}, {"enum": others}]})
}

fn decimal(place: Place) -> Value {
    match place {
        Place::Query => json!({"type": "number", "format": "double"}),
        Place::Body => json!({"anyOf": [
            {"type": "number", "format": "double"},
            {"type": "string", "pattern": r"^(-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,15})?|NaN|-?Infinity)$"},
        ]}),
    }
}

/// A whole number; in a body also as a string, for those of 64 bits.
fn integer(kind: &Kind, constraints: &Constraints, place: Place) -> Value {
    let (format, least, most, digits) = match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => ("int32", json!(i32::MIN), json!(i32::MAX), 8),
        Kind::Uint32 | Kind::Fixed32 => ("int64", json!(0), json!(u32::MAX), 8),
        Kind::Uint64 | Kind::Fixed64 => ("int64", json!(0), json!(u64::MAX), 17),
        _ => ("int64", json!(i64::MIN), json!(i64::MAX), 17),
    };
    let least = constraints.minimum().map_or(least, |least| json!(least));
    let sign = if least.as_i64() == Some(0) { "" } else { "-?" };
    let number = json!({"type": "integer", "format": format, "minimum": least, "maximum": most});
    match place {
        Place::Query => number,
        Place::Body => json!({"anyOf": [
            number,
            {"type": "string", "pattern": format!("^(0|{sign}[1-9][0-9]{{0,{digits}}})$")},
        ]}),
    }
}

/// The types that ProtoJSON writes in a way of their own.
fn well_known(message: &MessageDescriptor) -> Option<Value> {
    let schema = match message.full_name() {
        "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
        "google.protobuf.Duration" => json!({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"}),
        "google.protobuf.FieldMask" => json!({"type": "string"}),
        "google.protobuf.Struct" => json!({"type": "object", "additionalProperties": true}),
        "google.protobuf.ListValue" => json!({"type": "array"}),
        "google.protobuf.Value" => json!({}),
        "google.protobuf.Any" => json!({
            "type": "object",
            "properties": {"@type": {"type": "string"}},
            "required": ["@type"],
            "additionalProperties": true,
        }),
        "google.protobuf.Empty" => json!({"type": "object"}),
        _ => return None,
    };
    Some(schema)
}
