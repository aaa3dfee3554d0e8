//! Scalars from text: the digits of a JSON number, a string, a map key, a path
//! variable or a query parameter.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost_reflect::{EnumDescriptor, Kind, MapKey, Value};

use crate::gateway::json::number_length;
use crate::gateway::words;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// What a field takes, for people.
pub(super) fn expected(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "must be true or false".to_owned(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "must be a whole number of 32 bits".to_owned(),
        Kind::Uint32 | Kind::Fixed32 => "must be a whole number of 32 bits, not negative".to_owned(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "must be a whole number of 64 bits".to_owned(),
        Kind::Uint64 | Kind::Fixed64 => "must be a whole number of 64 bits, not negative".to_owned(),
        Kind::Float => "must be a number of single precision".to_owned(),
        Kind::Double => "must be a number of double precision".to_owned(),
        Kind::String => "must be a string".to_owned(),
        Kind::Bytes => "must be base64".to_owned(),
        Kind::Enum(descriptor) => format!("must be one of {}", words::list(descriptor)),
        Kind::Message(_) => "must be an object".to_owned(),
    }
}

/// A scalar from its text, by the rules of paths and queries.
pub(super) fn from_text(kind: &Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Bool => boolean(text).map(Value::Bool),
        Kind::String => Some(Value::String(text.to_owned())),
        Kind::Bytes => bytes(text),
        Kind::Enum(descriptor) => enumeration(descriptor, text),
        Kind::Message(_) => None,
        _ => number(kind, text),
    }
}

/// A number of any width; whole ones may be written `1e5` or `2.0`.
pub(super) fn number(kind: &Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => whole(text)?.try_into().ok().map(Value::I32),
        Kind::Uint32 | Kind::Fixed32 => whole(text)?.try_into().ok().map(Value::U32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => whole(text)?.try_into().ok().map(Value::I64),
        Kind::Uint64 | Kind::Fixed64 => whole(text)?.try_into().ok().map(Value::U64),
        Kind::Float => match special(text) {
            Some(special) => Some(Value::F32(special as f32)),
            None => is_number(text)
                .then(|| text.parse().ok())
                .flatten()
                .filter(|value: &f32| value.is_finite())
                .map(Value::F32),
        },
        Kind::Double => special(text).or_else(|| finite(text)).map(Value::F64),
        _ => None,
    }
}

/// A finite double in JSON's spelling.
pub(super) fn finite(text: &str) -> Option<f64> {
    is_number(text).then(|| text.parse().ok()).flatten().filter(|value: &f64| value.is_finite())
}

pub(super) fn bytes(text: &str) -> Option<Value> {
    let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    engine.decode(text).ok().map(|bytes| Value::Bytes(bytes.into()))
}

/// A key of a JSON object as the key of a map field.
pub(super) fn map_key(kind: &Kind, text: &str) -> Option<MapKey> {
    match kind {
        Kind::Bool => boolean(text).map(MapKey::Bool),
        Kind::String => Some(MapKey::String(text.to_owned())),
        _ => number(kind, text)?.into_map_key(),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn enumeration(descriptor: &EnumDescriptor, text: &str) -> Option<Value> {
    words::number(descriptor, text).or_else(|| whole(text)?.try_into().ok()).map(Value::EnumNumber)
}

fn special(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn is_number(text: &str) -> bool {
    number_length(text) == Some(text.len())
}

/// The exact value of a number without a fraction; `None` for all others and
/// for those that no 64 bits hold.
pub(super) fn whole(text: &str) -> Option<i128> {
    if !is_number(text) {
        return None;
    }
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{integer}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    let trailing = digits.len() - digits.trim_end_matches('0').len();
    let scale = exponent.parse::<i64>().ok()? - fraction.len() as i64 + trailing as i64;
    if !(0..=20).contains(&scale) || significant.len() > 20 {
        return None;
    }
    let value = significant.parse::<i128>().ok()?.checked_mul(10i128.pow(scale as u32))?;
    Some(if negative { -value } else { value })
}
