//! The rules as the protos state them, read once from the descriptors.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    OneofDescriptor, Value,
};
use regex::Regex;

/// `google.api.FieldBehavior.REQUIRED`.
const REQUIRED: i32 = 2;
/// `google.api.FieldBehavior.OUTPUT_ONLY`.
const OUTPUT_ONLY: i32 = 3;

/// The rules of our protos.
pub(super) static PLAN: LazyLock<Plan> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(crate::proto::DESCRIPTORS).expect("the build encoded the descriptors");
    Plan::read(pool).expect("a test reads the same rules")
});

/// The rules of every message, by its full name.
pub(super) struct Plan {
    /// The descriptors that the rules were read from.
    pub(super) pool: DescriptorPool,
    /// Messages of our own package.
    pub(super) messages: HashMap<String, MessageRules>,
}

/// The rules of one message.
pub(super) struct MessageRules {
    /// All of its fields.
    pub(super) fields: Vec<FieldRules>,
    /// Oneofs of which one must be set.
    pub(super) required_oneofs: Vec<OneofDescriptor>,
}

/// The rules of one field.
pub(super) struct FieldRules {
    /// The field.
    pub(super) field: FieldDescriptor,
    /// It must be set and not empty.
    pub(super) required: bool,
    /// What a caller gives is ignored.
    pub(super) output_only: bool,
    /// What its value must keep.
    pub(super) rules: Vec<Rule>,
}

/// One rule for a value.
pub(super) enum Rule {
    /// Code points at least.
    MinLength(usize),
    /// Code points at most.
    MaxLength(usize),
    /// Text that the expression finds something in.
    Pattern(Regex),
    /// Integer, inclusive.
    AtLeast(i64),
    /// A value of the enum.
    DefinedOnly(EnumDescriptor),
    /// None of these values of an enum.
    NotIn(Vec<i32>),
    /// This boolean.
    Constant(bool),
    /// A time in the future.
    AfterNow,
    /// Items at least.
    MinItems(usize),
    /// Items at most.
    MaxItems(usize),
    /// No item twice.
    Unique,
    /// Rules for each item.
    Items(Vec<Rule>),
}

impl Plan {
    /// Reads the rules; fails on one that it does not know, so that none is
    /// ever stated and not kept.
    pub(super) fn read(pool: DescriptorPool) -> Result<Self, String> {
        let extensions = Extensions::of(&pool)?;
        let mut messages = HashMap::new();
        for message in pool.all_messages().filter(|message| message.package_name() == "tributary.v1") {
            let rules = extensions.message(&message).map_err(|error| format!("{}: {error}", message.full_name()))?;
            messages.insert(message.full_name().to_owned(), rules);
        }
        Ok(Self { pool, messages })
    }
}

struct Extensions {
    message: ExtensionDescriptor,
    field: ExtensionDescriptor,
    oneof: ExtensionDescriptor,
    behavior: ExtensionDescriptor,
}

impl Extensions {
    fn of(pool: &DescriptorPool) -> Result<Self, String> {
        let get = |name: &str| pool.get_extension_by_name(name).ok_or(format!("{name} is not defined"));
        Ok(Self {
            message: get("buf.validate.message")?,
            field: get("buf.validate.field")?,
            oneof: get("buf.validate.oneof")?,
            behavior: get("google.api.field_behavior")?,
        })
    }

    fn message(&self, message: &MessageDescriptor) -> Result<MessageRules, String> {
        if message.options().has_extension(&self.message) {
            return Err("rules of a whole message are not known".to_owned());
        }
        let fields = message.fields().map(|field| self.field(field)).collect::<Result<_, _>>()?;
        let mut required_oneofs = Vec::new();
        for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            if self.oneof(&oneof)? {
                required_oneofs.push(oneof);
            }
        }
        Ok(MessageRules { fields, required_oneofs })
    }

    fn oneof(&self, oneof: &OneofDescriptor) -> Result<bool, String> {
        let options = oneof.options();
        let rules = options.get_extension(&self.oneof);
        let mut required = false;
        for (rule, value) in rules.as_message().map(stated).unwrap_or_default() {
            match (rule.as_str(), &value) {
                ("required", Value::Bool(value)) => required = *value,
                _ => return Err(format!("{}: rule `{rule}` is not known", oneof.name())),
            }
        }
        Ok(required)
    }

    fn field(&self, field: FieldDescriptor) -> Result<FieldRules, String> {
        let options = field.options();
        let behavior = options.get_extension(&self.behavior);
        let behaves = |number| behavior.as_list().is_some_and(|list| list.contains(&Value::EnumNumber(number)));
        let stated = options.get_extension(&self.field);
        let rules = match stated.as_message() {
            Some(stated) => rules_of(stated, &field.kind()).map_err(|error| format!("{}: {error}", field.name()))?,
            None => Vec::new(),
        };
        Ok(FieldRules { required: behaves(REQUIRED), output_only: behaves(OUTPUT_ONLY), rules, field })
    }
}

/// Name and value of everything set in a message of rules.
fn stated(rules: &DynamicMessage) -> Vec<(String, Value)> {
    rules.fields().map(|(field, value)| (field.name().to_owned(), value.clone())).collect()
}

fn rules_of(rules: &DynamicMessage, kind: &Kind) -> Result<Vec<Rule>, String> {
    let mut found = Vec::new();
    for (family, value) in stated(rules) {
        let Value::Message(inner) = value else { return Err(format!("rule `{family}` is not known")) };
        for (name, value) in stated(&inner) {
            let rule = rule(&family, &name, &value, kind)?;
            found.extend(rule);
        }
    }
    Ok(found)
}

fn rule(family: &str, name: &str, value: &Value, kind: &Kind) -> Result<Option<Rule>, String> {
    let known = match (family, name, value) {
        ("string", "min_len", Value::U64(least)) => Rule::MinLength(size(*least)),
        ("string", "max_len", Value::U64(most)) => Rule::MaxLength(size(*most)),
        ("string", "pattern", Value::String(pattern)) => {
            Rule::Pattern(Regex::new(pattern).map_err(|error| error.to_string())?)
        }
        ("int32", "gte", Value::I32(least)) => Rule::AtLeast((*least).into()),
        ("int64", "gte", Value::I64(least)) => Rule::AtLeast(*least),
        ("enum", "defined_only", Value::Bool(true)) => {
            Rule::DefinedOnly(kind.as_enum().ok_or("rule `enum` on another type")?.clone())
        }
        ("enum", "not_in", Value::List(values)) => {
            Rule::NotIn(values.iter().filter_map(|value| value.as_i32()).collect())
        }
        ("bool", "const", Value::Bool(wanted)) => Rule::Constant(*wanted),
        ("timestamp", "gt_now", Value::Bool(true)) => Rule::AfterNow,
        ("repeated", "min_items", Value::U64(least)) => Rule::MinItems(size(*least)),
        ("repeated", "max_items", Value::U64(most)) => Rule::MaxItems(size(*most)),
        ("repeated", "unique", Value::Bool(true)) => Rule::Unique,
        ("repeated", "items", Value::Message(items)) => Rule::Items(rules_of(items, kind)?),
        (_, _, Value::Bool(false)) => return Ok(None),
        _ => return Err(format!("rule `{family}.{name}` is not known")),
    };
    Ok(Some(known))
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
