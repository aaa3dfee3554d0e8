//! Parquet: the rows, as many as the text has room for.

use std::collections::HashSet;

use ::parquet::basic::{LogicalType, TimeUnit};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::FileReader;
use ::parquet::file::serialized_reader::SerializedFileReader;
use ::parquet::record::Field;
use ::parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};
use bytes::Bytes;

use super::rows::{self, Rows};
use super::{Content, encrypted, too_large, unparsable};
use crate::connectors::RecordError;

const MEDIA_TYPE: &str = "application/vnd.apache.parquet";
const MOST_COLUMNS: usize = 10_000;
/// What one group of rows may become. A page of it is in memory whole.
const GROUP_BYTES: i64 = 2 * 1024 * 1024 * 1024;

pub(super) fn content(bytes: &[u8]) -> Result<Content, RecordError> {
    if bytes.starts_with(b"PARE") {
        return Err(encrypted());
    }
    let reader = SerializedFileReader::new(Bytes::copy_from_slice(bytes)).map_err(|error| refusal(&error))?;
    let metadata = reader.metadata();
    if metadata.file_metadata().schema_descr().num_columns() > MOST_COLUMNS
        || metadata.row_groups().iter().any(|group| group.total_byte_size() > GROUP_BYTES)
    {
        return Err(too_large());
    }
    let shape = Shape::of(metadata.file_metadata().schema_descr());
    let mut found = Rows::default();
    for row in reader.get_row_iter(None).map_err(|error| refusal(&error))? {
        match row {
            Ok(row) => {
                for (name, field) in row.get_column_iter() {
                    shape.shown(name, field, &mut found);
                }
            }
            Err(error) if found.is_empty() => return Err(refusal(&error)),
            Err(_) => {
                found.cut();
                break;
            }
        }
        if !found.end_row() {
            break;
        }
    }
    Ok(found.into_content(MEDIA_TYPE))
}

fn refusal(error: &ParquetError) -> RecordError {
    if error.to_string().contains("encrypt") { encrypted() } else { unparsable() }
}

/// What the rows do not say of their columns.
struct Shape {
    /// Times that the library gives as numbers.
    nanoseconds: HashSet<String>,
}

impl Shape {
    fn of(schema: &SchemaDescriptor) -> Self {
        let is_time = |column: &&ColumnDescPtr| matches!(column.logical_type_ref(), Some(LogicalType::Timestamp(time)) if time.unit == TimeUnit::NANOS);
        let times = schema.columns().iter().filter(is_time);
        Self { nanoseconds: times.map(|column| column.path().string()).collect() }
    }

    fn shown(&self, path: &str, field: &Field, found: &mut Rows) {
        let text = match field {
            Field::Null => return,
            Field::Str(text) => return found.cell(path, text),
            Field::Bytes(bytes) => return found.cell(path, rows::text(bytes.data())),
            Field::Group(row) => {
                for (name, field) in row.get_column_iter() {
                    self.shown(&rows::inner(path, name), field, found);
                }
                return;
            }
            Field::ListInternal(list) => {
                return list.elements().iter().for_each(|field| self.shown(path, field, found));
            }
            Field::MapInternal(map) => {
                for (key, value) in map.entries() {
                    let key = if let Field::Str(key) = key { key.clone() } else { key.to_string() };
                    self.shown(&rows::inner(path, &key), value, found);
                }
                return;
            }
            Field::Long(time) if self.nanoseconds.contains(path) => rows::instant(time / 1_000),
            // As text they have an exponent.
            Field::Float(number) => number.to_string(),
            Field::Double(number) => number.to_string(),
            Field::Date(days) => rows::day(i64::from(*days)),
            Field::TimeMillis(time) => rows::clock(i64::from(*time).saturating_mul(1_000)),
            Field::TimeMicros(time) => rows::clock(*time),
            Field::TimestampMillis(time) => rows::instant(time.saturating_mul(1_000)),
            Field::TimestampMicros(time) => rows::instant(*time),
            Field::Bool(_)
            | Field::Byte(_)
            | Field::Short(_)
            | Field::Int(_)
            | Field::Long(_)
            | Field::UByte(_)
            | Field::UShort(_)
            | Field::UInt(_)
            | Field::ULong(_)
            | Field::Float16(_)
            | Field::Decimal(_) => field.to_string(),
        };
        found.cell(path, &text);
    }
}
