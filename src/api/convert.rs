//! Between our types and the proto's.

pub mod connections;
pub mod documents;
pub mod plan;
pub mod syncs;

use std::collections::BTreeMap;

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Timestamp, Value as ProtoValue};
use serde_json::{Map, Number, Value};

use crate::access::Role;
use crate::connectors::{AuthMethod, Field, FieldType};
use crate::error::Error;
use crate::index::Item;
use crate::proto::v1;
use crate::report::{Outcome, Report, StageKind};

/// Largest integer up to which a double has every integer.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// The same, to compare whole numbers with before they are rounded.
const EXACT_WHOLE: u64 = 1 << 53;

/// A time of one of our resources, in whole seconds; given in milliseconds.
pub fn timestamp(milliseconds: i64) -> Timestamp {
    Timestamp { seconds: milliseconds.div_euclid(1000), nanos: 0 }
}

/// A time of an event, to the millisecond.
pub fn precise_timestamp(milliseconds: i64) -> Timestamp {
    let nanos = milliseconds.rem_euclid(1000) * 1_000_000;
    Timestamp { seconds: milliseconds.div_euclid(1000), nanos: i32::try_from(nanos).unwrap_or_default() }
}

/// A time at a source, given in microseconds.
pub fn source_timestamp(microseconds: i64) -> Timestamp {
    let nanos = microseconds.rem_euclid(1_000_000) * 1000;
    Timestamp { seconds: microseconds.div_euclid(1_000_000), nanos: i32::try_from(nanos).unwrap_or_default() }
}

/// Milliseconds of a caller's time.
pub fn milliseconds(timestamp: &Timestamp) -> i64 {
    timestamp.seconds.saturating_mul(1000).saturating_add(i64::from(timestamp.nanos) / 1_000_000)
}

/// A role on the wire.
pub fn proto_role(role: Role) -> v1::access::Role {
    match role {
        Role::Viewer => v1::access::Role::Viewer,
        Role::Runner => v1::access::Role::Runner,
        Role::Editor => v1::access::Role::Editor,
        Role::Owner => v1::access::Role::Owner,
        Role::Admin => v1::access::Role::Admin,
    }
}

/// A JSON object of a `Struct`. Whole doubles become integers, so that `5432`
/// stays `5432`; what is no JSON is refused without saying it.
pub fn object(field: &str, object: &Struct) -> Result<Map<String, Value>, Error> {
    let invalid = || Error::invalid(field, "INVALID_VALUE", "must be a JSON object without NaN or infinity");
    json_object(object).ok_or_else(invalid)
}

fn json_object(object: &Struct) -> Option<Map<String, Value>> {
    object.fields.iter().map(|(key, value)| Some((key.clone(), json(value)?))).collect()
}

fn json(value: &ProtoValue) -> Option<Value> {
    Some(match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::StringValue(value)) => Value::String(value.clone()),
        Some(Kind::NumberValue(value)) => Value::Number(number(*value)?),
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(json).collect::<Option<_>>()?),
        Some(Kind::StructValue(object)) => Value::Object(json_object(object)?),
    })
}

#[allow(clippy::cast_possible_truncation)]
fn number(value: f64) -> Option<Number> {
    if value.fract() == 0.0 && value.abs() <= EXACT {
        return Some(Number::from(value as i64));
    }
    Number::from_f64(value)
}

/// A `Struct` of a JSON object.
pub fn structure(object: &Map<String, Value>) -> Struct {
    Struct { fields: object.iter().map(|(key, value)| (key.clone(), proto_value(value))).collect::<BTreeMap<_, _>>() }
}

/// A `Value` of JSON. An integer that a double cannot hold becomes a string.
pub fn proto_value(value: &Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::String(value) => Kind::StringValue(value.clone()),
        Value::Number(number) => {
            double(number).map_or_else(|| Kind::StringValue(number.to_string()), Kind::NumberValue)
        }
        Value::Array(values) => Kind::ListValue(ListValue { values: values.iter().map(proto_value).collect() }),
        Value::Object(object) => Kind::StructValue(structure(object)),
    };
    ProtoValue { kind: Some(kind) }
}

fn double(number: &Number) -> Option<f64> {
    match number.as_i64().map(i64::unsigned_abs).or(number.as_u64()) {
        Some(whole) if whole > EXACT_WHOLE => None,
        Some(_) | None => number.as_f64(),
    }
}

/// How a source authenticates.
pub fn auth_method(method: AuthMethod) -> v1::source::AuthMethod {
    match method {
        AuthMethod::Credentials => v1::source::AuthMethod::Credentials,
        AuthMethod::None => v1::source::AuthMethod::None,
    }
}

/// One field of credentials or config.
pub fn field(field: &Field) -> v1::SourceField {
    use v1::source_field::Type;
    let (kind, allowed, fields): (Type, &[&str], &[Field]) = match &field.kind {
        FieldType::String => (Type::String, &[], &[]),
        FieldType::Number => (Type::Number, &[], &[]),
        FieldType::Password => (Type::Password, &[], &[]),
        FieldType::Boolean => (Type::Boolean, &[], &[]),
        FieldType::StringList => (Type::StringList, &[], &[]),
        FieldType::Enum(allowed) => (Type::Enum, allowed, &[]),
        FieldType::Object(fields) => (Type::Object, &[], fields),
        FieldType::ObjectList(fields) => (Type::ObjectList, &[], fields),
    };
    v1::SourceField {
        name: field.name.to_owned(),
        r#type: kind.into(),
        required: field.required,
        title: Some(field.title.to_owned()).filter(|title| !title.is_empty()),
        description: Some(field.description.to_owned()).filter(|description| !description.is_empty()),
        default_value: field.default.as_ref().map(proto_value),
        allowed_values: allowed.iter().map(|value| (*value).to_owned()).collect(),
        fields: fields.iter().map(self::field).collect(),
    }
}

/// The report of a connection test.
pub fn report(report: &Report) -> v1::TestReport {
    use v1::test_stage;
    let stage = |stage: &crate::report::Stage| v1::TestStage {
        kind: match stage.kind {
            StageKind::Resolve => test_stage::Kind::Resolve,
            StageKind::Connect => test_stage::Kind::Connect,
            StageKind::Tls => test_stage::Kind::Tls,
            StageKind::Login => test_stage::Kind::Login,
            StageKind::Permission => test_stage::Kind::Permission,
            StageKind::Read => test_stage::Kind::Read,
            StageKind::Follow => test_stage::Kind::Follow,
        }
        .into(),
        outcome: match stage.outcome {
            Outcome::Ok => test_stage::Outcome::Ok,
            Outcome::Failed => test_stage::Outcome::Failed,
            Outcome::Skipped => test_stage::Outcome::Skipped,
        }
        .into(),
        object: stage.object.clone(),
        duration_ms: i32::try_from(stage.took.as_millis()).unwrap_or(i32::MAX),
        code: stage.code.map(str::to_owned),
        hint: stage.hint.clone(),
    };
    v1::TestReport { stages: report.stages.iter().map(stage).collect() }
}

/// Something indexed.
pub fn item(item: Item) -> v1::Item {
    let Item {
        id,
        connection,
        source,
        object,
        source_key,
        kind,
        title,
        url,
        content,
        metadata,
        created_at,
        updated_at,
    } = item;
    v1::Item {
        id,
        source_connection_id: connection.to_string(),
        source_short_name: source,
        r#type: kind,
        title,
        url,
        content,
        metadata: Some(structure(&metadata)),
        created_at: created_at.map(source_timestamp),
        updated_at: updated_at.map(source_timestamp),
        object,
        source_key,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_goes_through_a_struct_and_back() {
        let Value::Object(given) = json!({
            "port": 5432, "ratio": 0.25, "list": ["a", true, null], "nested": {"empty": {}}, "negative": -7,
        }) else {
            unreachable!("it is an object")
        };
        assert_eq!(object("config", &structure(&given)).expect("is JSON"), given);
    }

    #[test]
    fn integers_beyond_a_double_become_strings() {
        let big = proto_value(&json!(9_007_199_254_740_993_i64));
        assert_eq!(big.kind, Some(Kind::StringValue("9007199254740993".to_owned())));
        assert_eq!(number(5432.0), Some(Number::from(5432)));
        assert_eq!(number(f64::NAN), None);
        assert_eq!(number(1e300), Number::from_f64(1e300));
    }

    #[test]
    fn resource_times_are_whole_seconds_and_source_times_are_not() {
        assert_eq!(timestamp(1_700_000_000_999), Timestamp { seconds: 1_700_000_000, nanos: 0 });
        assert_eq!(source_timestamp(-1), Timestamp { seconds: -1, nanos: 999_999_000 });
        assert_eq!(precise_timestamp(1_001), Timestamp { seconds: 1, nanos: 1_000_000 });
    }

    #[test]
    fn roles_go_to_the_wire_and_back() {
        for wanted in Role::ALL {
            assert_eq!(crate::auth::role(proto_role(wanted).into()), Some(wanted));
        }
        assert_eq!((crate::auth::role(0), crate::auth::role(99)), (None, None));
    }
}
