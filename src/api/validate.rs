//! Checks a request against the rules that its proto states: `buf.validate`,
//! `REQUIRED`, and no control characters. All that is wrong is told at once.

mod rules;

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

use crate::api::validate::rules::{FieldRules, MessageRules, PLAN, Rule};
use crate::error::{Error, Reason, Violation};

/// Last second of the year 9999, the end of `google.protobuf.Timestamp`.
const LAST_SECOND: i64 = 253_402_300_799;

/// Refuses a request that breaks a rule of its proto, naming every wrong field
/// and none of their values.
pub fn validate<M: prost::Message + prost::Name>(message: &M) -> Result<(), Error> {
    let mut check = Check { violations: Vec::new() };
    check.message("", &dynamic(message)?, &Presence::Whole);
    check.finish()
}

/// A message whose fields can be asked for by name.
pub(super) fn dynamic<M: prost::Message + prost::Name>(message: &M) -> Result<DynamicMessage, Error> {
    let descriptor = PLAN
        .pool
        .get_message_by_name(&M::full_name())
        .ok_or_else(|| Error::internal(format!("{} is not in the descriptors", M::full_name())))?;
    DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).map_err(Error::internal)
}

/// Which required fields of a message must be there.
enum Presence {
    /// All of them.
    Whole,
    /// The message stands beside an update mask: the identifier, and what the
    /// mask names.
    Masked(Vec<String>),
}

impl Presence {
    fn demands(&self, field: &str) -> bool {
        match self {
            Self::Whole => true,
            Self::Masked(paths) => paths.iter().any(|path| path == field || path == "*"),
        }
    }
}

struct Check {
    violations: Vec<Violation>,
}

impl Check {
    fn finish(self) -> Result<(), Error> {
        if self.violations.is_empty() {
            return Ok(());
        }
        let only_credentials = self.violations.iter().all(|violation| violation.field == "credentials");
        let reason = if only_credentials { Reason::InvalidCredentials } else { Reason::InvalidArgument };
        Err(Error::violations(reason, self.violations))
    }

    fn add(&mut self, path: &str, reason: &'static str, description: impl Into<String>) {
        self.violations.push(Violation::new(path, reason, description));
    }

    fn message(&mut self, path: &str, message: &DynamicMessage, presence: &Presence) {
        let descriptor = message.descriptor();
        if descriptor.full_name() == "google.protobuf.Struct" {
            return self.free_object(path, message);
        }
        let Some(rules) = PLAN.messages.get(descriptor.full_name()) else { return };
        let inner = update_mask(message);
        for field in &rules.fields {
            self.field(path, message, field, presence, inner.as_ref());
        }
        self.oneofs(path, message, rules);
    }

    fn oneofs(&mut self, path: &str, message: &DynamicMessage, rules: &MessageRules) {
        for oneof in &rules.required_oneofs {
            if !oneof.fields().any(|field| message.has_field(&field)) {
                let names: Vec<String> = oneof.fields().map(|field| format!("`{}`", field.name())).collect();
                self.add(path, "REQUIRED", format!("needs one of {}", names.join(", ")));
            }
        }
    }

    fn field(
        &mut self,
        parent: &str,
        message: &DynamicMessage,
        rules: &FieldRules,
        presence: &Presence,
        mask: Option<&Vec<String>>,
    ) {
        let name = rules.field.name();
        let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
        let is_set = message.has_field(&rules.field);
        let is_identifier = name == "id" && matches!(presence, Presence::Masked(_));
        if rules.output_only && !is_identifier {
            return;
        }
        if !is_set && (is_identifier || rules.required && presence.demands(name)) {
            return self.add(&path, "REQUIRED", "is required");
        }
        // A field that tracks presence and is not set has no value to check.
        if !is_set && rules.field.supports_presence() {
            return;
        }
        let value = message.get_field(&rules.field);
        for rule in &rules.rules {
            self.rule(&path, &value, rule);
        }
        let masked = mask.filter(|_| rules.field.name() != "update_mask");
        let inner = masked.map_or(Presence::Whole, |paths| Presence::Masked(paths.clone()));
        self.content(&path, &value, &inner);
    }

    /// What holds for every value: text without control characters, and the
    /// rules of the messages inside.
    fn content(&mut self, path: &str, value: &Value, presence: &Presence) {
        match value {
            Value::String(text) if text.chars().any(is_forbidden) => {
                self.add(path, "INVALID_VALUE", "must not hold control characters");
            }
            Value::Message(message) => self.message(path, message, presence),
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.content(&format!("{path}[{index}]"), item, presence);
                }
            }
            _ => {}
        }
    }

    fn free_object(&mut self, path: &str, message: &DynamicMessage) {
        // The key is not named: it may be part of the trouble, or of a secret.
        if holds_control_characters(&Value::Message(message.clone())) {
            self.add(path, "INVALID_VALUE", "must not hold control characters");
        }
    }

    fn rule(&mut self, path: &str, value: &Value, rule: &Rule) {
        match rule {
            Rule::MinLength(least) if length(value) < *least => {
                self.add(path, "TOO_SHORT", format!("must have at least {least} characters"));
            }
            Rule::MaxLength(most) if length(value) > *most => {
                self.add(path, "TOO_LONG", format!("must have at most {most} characters"));
            }
            Rule::Pattern(pattern) if !value.as_str().is_some_and(|text| pattern.is_match(text)) => {
                self.add(path, "INVALID_VALUE", format!("must match {pattern}"));
            }
            Rule::AtLeast(least) if integer(value) < *least => {
                self.add(path, "OUT_OF_RANGE", format!("must be at least {least}"));
            }
            Rule::DefinedOnly(known) if number(value).is_none_or(|number| known.get_value(number).is_none()) => {
                self.add(path, "INVALID_VALUE", "must be one of the known values");
            }
            Rule::NotIn(refused) if number(value).is_some_and(|number| refused.contains(&number)) => {
                self.add(path, "INVALID_VALUE", "must not have this value");
            }
            Rule::Constant(wanted) if value.as_bool() != Some(*wanted) => {
                self.add(path, "INVALID_VALUE", format!("must be {wanted}"));
            }
            Rule::AfterNow if !is_later_than_now(value) => {
                self.add(path, "INVALID_VALUE", "must be in the future");
            }
            Rule::MinItems(_) | Rule::MaxItems(_) | Rule::Unique | Rule::Items(_) => self.list(path, value, rule),
            _ => {}
        }
    }

    fn list(&mut self, path: &str, value: &Value, rule: &Rule) {
        let items = value.as_list().unwrap_or_default();
        match rule {
            Rule::MinItems(least) if items.len() < *least => {
                self.add(path, "TOO_FEW", format!("must have at least {least} items"));
            }
            Rule::MaxItems(most) if items.len() > *most => {
                self.add(path, "TOO_MANY", format!("must have at most {most} items"));
            }
            Rule::Unique if holds_twice(items) => self.add(path, "DUPLICATE", "must not hold a value twice"),
            Rule::Items(rules) => {
                for (index, item) in items.iter().enumerate() {
                    for rule in rules {
                        self.rule(&format!("{path}[{index}]"), item, rule);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The paths of a message's `update_mask`, where it has such a field.
fn update_mask(message: &DynamicMessage) -> Option<Vec<String>> {
    let field = message.descriptor().get_field_by_name("update_mask")?;
    let value = message.get_field(&field);
    let mask = value.as_message()?;
    let paths = mask.get_field_by_name("paths")?;
    Some(paths.as_list()?.iter().filter_map(|path| path.as_str().map(str::to_owned)).collect())
}

fn is_forbidden(character: char) -> bool {
    character.is_control() && !matches!(character, '\n' | '\r' | '\t')
}

fn holds_control_characters(value: &Value) -> bool {
    match value {
        Value::String(text) => text.chars().any(is_forbidden),
        Value::Message(message) => message.fields().any(|(_, value)| holds_control_characters(value)),
        Value::List(items) => items.iter().any(holds_control_characters),
        Value::Map(entries) => entries.iter().any(|(key, value)| {
            key.as_str().is_some_and(|key| key.chars().any(is_forbidden)) || holds_control_characters(value)
        }),
        _ => false,
    }
}

fn length(value: &Value) -> usize {
    value.as_str().map_or(0, |text| text.chars().count())
}

fn integer(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_i32().map(i64::from)).unwrap_or_default()
}

fn number(value: &Value) -> Option<i32> {
    value.as_enum_number()
}

fn is_later_than_now(value: &Value) -> bool {
    let part = |name: &str| value.as_message().and_then(|time| time.get_field_by_name(name).map(|part| integer(&part)));
    let (seconds, nanos) = (part("seconds").unwrap_or_default(), part("nanos").unwrap_or_default());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = (i64::try_from(now.as_secs()).unwrap_or(i64::MAX), i64::from(now.subsec_nanos()));
    (0..1_000_000_000).contains(&nanos) && seconds <= LAST_SECOND && (seconds, nanos) > now
}

fn holds_twice(items: &[Value]) -> bool {
    let mut seen = HashSet::new();
    items.iter().any(|item| !seen.insert(format!("{item:?}")))
}

#[cfg(test)]
mod tests;
