//! What the text of a column means.

use std::collections::HashMap;

/// How to read the text of a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// `t` or `f`.
    Boolean,
    /// Any whole number.
    Integer,
    /// Decimal of any length.
    Numeric,
    /// Binary floating point.
    Float,
    /// Words for people.
    Text,
    /// `2024-02-29 12:00:00`.
    Timestamp,
    /// The same with a zone, which is always UTC in our sessions.
    TimestampWithZone,
    /// JSON.
    Json,
    /// Bytes, which are never shown; the server sends their length and hash.
    Bytes,
    /// Array of such elements, between which this character stands.
    Array(Box<Kind>, char),
    /// Anything else, as the server writes it.
    Other,
}

/// A row of `pg_type`.
#[derive(Debug, Clone)]
pub(super) struct Type {
    pub(super) name: String,
    pub(super) is_built_in: bool,
    /// Base of a domain.
    pub(super) base: Option<u32>,
    /// Element of an array.
    pub(super) element: Option<u32>,
    pub(super) delimiter: char,
}

/// The kind of a type; what is not known is shown as the server writes it.
pub(super) fn resolve(types: &HashMap<u32, Type>, oid: u32) -> Kind {
    let Some(found) = types.get(&oid) else { return Kind::Other };
    if let Some(base) = found.base {
        return resolve(types, base);
    }
    if let Some(element) = found.element {
        let delimiter = types.get(&element).map_or(found.delimiter, |element| element.delimiter);
        return Kind::Array(Box::new(resolve(types, element)), delimiter);
    }
    match found.name.as_str() {
        "citext" => Kind::Text,
        _ if !found.is_built_in => Kind::Other,
        "bool" => Kind::Boolean,
        "int2" | "int4" | "int8" | "oid" => Kind::Integer,
        "numeric" => Kind::Numeric,
        "float4" | "float8" => Kind::Float,
        "text" | "varchar" | "bpchar" | "name" => Kind::Text,
        "timestamp" => Kind::Timestamp,
        "timestamptz" => Kind::TimestampWithZone,
        "json" | "jsonb" => Kind::Json,
        "bytea" => Kind::Bytes,
        _ => Kind::Other,
    }
}

/// Built-in types whose text is decided by the value alone, in our sessions.
/// Enumerations, rows and names of catalogue objects are not: their text changes
/// when somebody renames a label or a table.
const STABLE: [&str; 42] = [
    "bit",
    "bool",
    "box",
    "bpchar",
    "bytea",
    "char",
    "cidr",
    "circle",
    "date",
    "daterange",
    "float4",
    "float8",
    "inet",
    "int2",
    "int4",
    "int4range",
    "int8",
    "int8range",
    "interval",
    "json",
    "jsonb",
    "line",
    "lseg",
    "macaddr",
    "macaddr8",
    "name",
    "numeric",
    "numrange",
    "oid",
    "path",
    "point",
    "polygon",
    "text",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "tsrange",
    "tstzrange",
    "uuid",
    "varbit",
    "varchar",
];

/// True when the text of a value of the type never changes behind its back.
pub(super) fn is_stable(types: &HashMap<u32, Type>, oid: u32) -> bool {
    let Some(found) = types.get(&oid) else { return false };
    match (found.base, found.element) {
        (Some(inner), _) | (None, Some(inner)) => is_stable(types, inner),
        (None, None) => found.is_built_in && STABLE.contains(&found.name.as_str()),
    }
}

impl Kind {
    /// True for words that people read.
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Text)
    }

    /// True for a moment in time.
    pub(super) fn is_timestamp(&self) -> bool {
        matches!(self, Self::Timestamp | Self::TimestampWithZone)
    }

    /// True when values are bytes, or arrays of them.
    pub(super) fn is_bytes(&self) -> bool {
        match self {
            Self::Bytes => true,
            Self::Array(element, _) => element.is_bytes(),
            _ => false,
        }
    }
}
