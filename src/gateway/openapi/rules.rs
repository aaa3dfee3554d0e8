//! What the protos say of a field's value, as JSON Schema.

use prost_reflect::{DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, OneofDescriptor, Value};
use serde_json::{Map, json};

/// `google.api.FieldBehavior.REQUIRED`.
const REQUIRED: i32 = 2;
/// `google.api.FieldBehavior.OUTPUT_ONLY`.
const OUTPUT_ONLY: i32 = 3;
/// `google.api.FieldBehavior.IMMUTABLE`.
const IMMUTABLE: i32 = 5;

/// The options that hold rules; a descriptor set may lack them.
pub(super) struct Rules {
    field: Option<ExtensionDescriptor>,
    oneof: Option<ExtensionDescriptor>,
    behavior: Option<ExtensionDescriptor>,
}

/// The rules of one field, or of the items of one.
#[derive(Default)]
pub(super) struct Constraints {
    /// Keywords of JSON Schema.
    pub(super) keywords: Map<String, serde_json::Value>,
    /// Enum numbers that are refused.
    pub(super) refused: Vec<i32>,
    /// Rules for the items of a list.
    pub(super) items: Option<Box<Constraints>>,
}

impl Rules {
    pub(super) fn of(pool: &DescriptorPool) -> Self {
        Self {
            field: pool.get_extension_by_name("buf.validate.field"),
            oneof: pool.get_extension_by_name("buf.validate.oneof"),
            behavior: pool.get_extension_by_name("google.api.field_behavior"),
        }
    }

    pub(super) fn is_required(&self, field: &FieldDescriptor) -> bool {
        self.behaves(field, REQUIRED)
    }

    pub(super) fn is_output_only(&self, field: &FieldDescriptor) -> bool {
        self.behaves(field, OUTPUT_ONLY)
    }

    pub(super) fn is_immutable(&self, field: &FieldDescriptor) -> bool {
        self.behaves(field, IMMUTABLE)
    }

    fn behaves(&self, field: &FieldDescriptor, number: i32) -> bool {
        let Some(extension) = &self.behavior else { return false };
        let options = field.options();
        options
            .get_extension(extension)
            .as_list()
            .is_some_and(|behaviors| behaviors.contains(&Value::EnumNumber(number)))
    }

    /// Whether one field of a oneof must be set.
    pub(super) fn needs_one(&self, oneof: &OneofDescriptor) -> bool {
        let Some(extension) = &self.oneof else { return false };
        let options = oneof.options();
        let rules = options.get_extension(extension);
        let required = rules.as_message().and_then(|rules| rules.get_field_by_name("required"));
        required.is_some_and(|required| required.as_bool() == Some(true))
    }

    pub(super) fn constraints(&self, field: &FieldDescriptor) -> Constraints {
        let Some(extension) = &self.field else { return Constraints::default() };
        let options = field.options();
        options.get_extension(extension).as_message().map(constraints).unwrap_or_default()
    }
}

fn constraints(rules: &DynamicMessage) -> Constraints {
    let mut found = Constraints::default();
    for (_, family) in rules.fields() {
        for (rule, value) in family.as_message().into_iter().flat_map(|family| family.fields()) {
            found.add(rule.name(), value);
        }
    }
    found
}

impl Constraints {
    fn add(&mut self, rule: &str, value: &Value) {
        let keyword = match (rule, value) {
            ("min_len", Value::U64(least)) => ("minLength", json!(least)),
            ("max_len", Value::U64(most)) => ("maxLength", json!(most)),
            ("pattern", Value::String(pattern)) => ("pattern", json!(pattern)),
            ("gte", Value::I32(least)) => ("minimum", json!(least)),
            ("gte", Value::I64(least)) => ("minimum", json!(least)),
            ("const", Value::Bool(wanted)) => ("const", json!(wanted)),
            ("min_items", Value::U64(least)) => ("minItems", json!(least)),
            ("max_items", Value::U64(most)) => ("maxItems", json!(most)),
            ("unique", Value::Bool(true)) => ("uniqueItems", json!(true)),
            ("not_in", Value::List(values)) => {
                self.refused.extend(values.iter().filter_map(Value::as_i32));
                return;
            }
            ("items", Value::Message(items)) => {
                self.items = Some(Box::new(constraints(items)));
                return;
            }
            // `defined_only` is what an enum's schema says anyway.
            _ => return,
        };
        self.keywords.insert(keyword.0.to_owned(), keyword.1);
    }

    pub(super) fn minimum(&self) -> Option<i64> {
        self.keywords.get("minimum").and_then(serde_json::Value::as_i64)
    }
}
