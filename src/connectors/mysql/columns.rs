//! Columns: what they hold, and how a statement asks for it, so that every value is a
//! text that means the same on every server.

use super::sql::{self, identifier};

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Integer,
    Numeric,
    /// Of four bytes.
    Single,
    /// Of eight bytes.
    Double,
    Bits,
    Text,
    /// A text that may be larger than a row may be.
    LongText,
    Json,
    /// Only length and hash are asked for.
    Bytes,
    Date,
    /// Without a zone.
    DateTime,
    /// In UTC.
    Timestamp,
    Set,
    Geometry,
    /// As the server writes it: time, enum, uuid, inet, ...
    Other,
}

impl Kind {
    /// The kind of a type, by its name.
    pub(super) fn of(data_type: &str) -> Self {
        match data_type.to_ascii_lowercase().as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => Self::Integer,
            "decimal" => Self::Numeric,
            "float" => Self::Single,
            "double" => Self::Double,
            "bit" => Self::Bits,
            "char" | "varchar" | "tinytext" => Self::Text,
            "text" | "mediumtext" | "longtext" => Self::LongText,
            "json" => Self::Json,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector" => Self::Bytes,
            "date" => Self::Date,
            "datetime" => Self::DateTime,
            "timestamp" => Self::Timestamp,
            "set" => Self::Set,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
            | "geometrycollection" | "geomcollection" => Self::Geometry,
            _ => Self::Other,
        }
    }
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Its character set is not one that we receive texts in.
    pub(super) is_converted: bool,
    pub(super) is_unsigned: bool,
}

impl Column {
    /// What a statement asks for, for a document.
    pub(super) fn expression(&self) -> String {
        let name = identifier(&self.name);
        match self.kind {
            // Else it would be rounded to six digits.
            Kind::Single => format!("({name} + 0e0)"),
            Kind::Bits => format!("({name} + 0)"),
            Kind::Bytes => format!("CONCAT(OCTET_LENGTH({name}), ':', SHA2({name}, 256))"),
            Kind::Geometry => format!("ST_AsText({name})"),
            Kind::Integer
            | Kind::Numeric
            | Kind::Double
            | Kind::Text
            | Kind::LongText
            | Kind::Json
            | Kind::Date
            | Kind::DateTime
            | Kind::Timestamp
            | Kind::Set
            | Kind::Other => name,
        }
    }

    /// What a statement asks for, for a key.
    pub(super) fn key_expression(&self) -> String {
        match self.kind {
            Kind::Bytes => format!("HEX({})", identifier(&self.name)),
            _ => self.expression(),
        }
    }

    /// How many bytes its value takes when it is received, at most, if that may be
    /// much.
    pub(super) fn size(&self) -> Option<String> {
        let name = identifier(&self.name);
        match self.kind {
            Kind::LongText if self.is_converted => Some(format!("OCTET_LENGTH(CONVERT({name} USING utf8mb4))")),
            Kind::LongText | Kind::Json => Some(format!("OCTET_LENGTH({name})")),
            // A point has 16 bytes, and in text two numbers of up to 24 digits.
            Kind::Geometry => Some(format!("4 * OCTET_LENGTH({name})")),
            _ => None,
        }
    }

    /// A value of a key as a statement writes it, where its order there is the order of
    /// the index.
    pub(super) fn place(&self, value: &str) -> Option<String> {
        match self.kind {
            Kind::Integer => sql::whole_number(value),
            Kind::Text => Some(sql::text(value)),
            Kind::Bytes => value.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| format!("x'{value}'")),
            Kind::Date | Kind::DateTime | Kind::Timestamp => sql::moment(value),
            _ => None,
        }
    }

    /// True when rows can be found again by the place of such a value.
    pub(super) fn has_places(&self) -> bool {
        matches!(self.kind, Kind::Integer | Kind::Text | Kind::Bytes | Kind::Date | Kind::DateTime | Kind::Timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(data_type: &str) -> Column {
        Column { name: "a`b".to_owned(), kind: Kind::of(data_type), is_converted: false, is_unsigned: false }
    }

    #[test]
    fn each_type_is_asked_for_so_that_nothing_is_lost() {
        for (data_type, expression) in [
            ("bigint", "`a``b`"),
            ("float", "(`a``b` + 0e0)"),
            ("bit", "(`a``b` + 0)"),
            ("longblob", "CONCAT(OCTET_LENGTH(`a``b`), ':', SHA2(`a``b`, 256))"),
            ("POINT", "ST_AsText(`a``b`)"),
            ("uuid", "`a``b`"),
        ] {
            assert_eq!(column(data_type).expression(), expression, "{data_type}");
        }
        assert_eq!(column("binary").key_expression(), "HEX(`a``b`)");
    }

    #[test]
    fn places_are_values_and_nothing_else() {
        assert_eq!(column("int").place("7").as_deref(), Some("7"));
        assert_eq!(column("varchar").place("'; DROP").as_deref(), Some("_utf8mb4 x'273b2044524f50'"));
        assert_eq!(column("binary").place("00FF").as_deref(), Some("x'00FF'"));
        assert_eq!(column("binary").place("0' OR 1"), None);
        assert_eq!(column("int").place("7 OR 1"), None);
        assert_eq!(column("enum").place("a"), None, "they are ordered by their numbers");
    }
}
