//! Protos for the tests, compiled when they run.

use prost_reflect::{DescriptorPool, MessageDescriptor};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};

/// Named as protobuf's own conformance message, with the fields its cases use.
const ALL_TYPES: &str = r#"
syntax = "proto3";
package test.v1;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
message TestAllTypesProto3 {
  message NestedMessage { int32 a = 1; TestAllTypesProto3 corecursive = 2; }
  enum NestedEnum { FOO = 0; BAR = 1; BAZ = 2; NEG = -1; }
  enum AliasedEnum {
    option allow_alias = true;
    ALIAS_FOO = 0; ALIAS_BAR = 1; ALIAS_BAZ = 2; MOO = 2; moo = 2; bAz = 2;
  }
  int32 optional_int32 = 1; int64 optional_int64 = 2; uint32 optional_uint32 = 3; uint64 optional_uint64 = 4;
  sint32 optional_sint32 = 5; sint64 optional_sint64 = 6; fixed32 optional_fixed32 = 7; fixed64 optional_fixed64 = 8;
  sfixed32 optional_sfixed32 = 9; sfixed64 optional_sfixed64 = 10; float optional_float = 11; double optional_double = 12;
  bool optional_bool = 13; string optional_string = 14; bytes optional_bytes = 15;
  NestedMessage optional_nested_message = 18; NestedEnum optional_nested_enum = 21; AliasedEnum optional_aliased_enum = 23;
  TestAllTypesProto3 recursive_message = 27;
  repeated int32 repeated_int32 = 31; repeated int64 repeated_int64 = 32; repeated uint32 repeated_uint32 = 33;
  repeated uint64 repeated_uint64 = 34; repeated sint32 repeated_sint32 = 35; repeated sint64 repeated_sint64 = 36;
  repeated fixed32 repeated_fixed32 = 37; repeated fixed64 repeated_fixed64 = 38; repeated sfixed32 repeated_sfixed32 = 39;
  repeated sfixed64 repeated_sfixed64 = 40; repeated float repeated_float = 41; repeated double repeated_double = 42;
  repeated bool repeated_bool = 43; repeated string repeated_string = 44; repeated bytes repeated_bytes = 45;
  repeated NestedMessage repeated_nested_message = 48; repeated NestedEnum repeated_nested_enum = 51;
  map<int32, int32> map_int32_int32 = 56; map<int64, int64> map_int64_int64 = 57; map<uint32, uint32> map_uint32_uint32 = 58;
  map<uint64, uint64> map_uint64_uint64 = 59; map<bool, bool> map_bool_bool = 68; map<string, string> map_string_string = 69;
  map<string, NestedMessage> map_string_nested_message = 71; map<string, NestedEnum> map_string_nested_enum = 73;
  oneof oneof_field {
    uint32 oneof_uint32 = 111; NestedMessage oneof_nested_message = 112; string oneof_string = 113; bytes oneof_bytes = 114;
    bool oneof_bool = 115; uint64 oneof_uint64 = 116; float oneof_float = 117; double oneof_double = 118;
    NestedEnum oneof_enum = 119; google.protobuf.NullValue oneof_null_value = 120;
  }
  google.protobuf.BoolValue optional_bool_wrapper = 201; google.protobuf.Int32Value optional_int32_wrapper = 202;
  google.protobuf.Int64Value optional_int64_wrapper = 203; google.protobuf.UInt32Value optional_uint32_wrapper = 204;
  google.protobuf.UInt64Value optional_uint64_wrapper = 205; google.protobuf.FloatValue optional_float_wrapper = 206;
  google.protobuf.DoubleValue optional_double_wrapper = 207; google.protobuf.StringValue optional_string_wrapper = 208;
  google.protobuf.BytesValue optional_bytes_wrapper = 209;
  repeated google.protobuf.BoolValue repeated_bool_wrapper = 211; repeated google.protobuf.Int32Value repeated_int32_wrapper = 212;
  repeated google.protobuf.Int64Value repeated_int64_wrapper = 213; repeated google.protobuf.UInt32Value repeated_uint32_wrapper = 214;
  repeated google.protobuf.UInt64Value repeated_uint64_wrapper = 215; repeated google.protobuf.FloatValue repeated_float_wrapper = 216;
  repeated google.protobuf.DoubleValue repeated_double_wrapper = 217; repeated google.protobuf.StringValue repeated_string_wrapper = 218;
  repeated google.protobuf.BytesValue repeated_bytes_wrapper = 219;
  google.protobuf.Duration optional_duration = 301; google.protobuf.Timestamp optional_timestamp = 302;
  google.protobuf.FieldMask optional_field_mask = 303; google.protobuf.Struct optional_struct = 304;
  google.protobuf.Any optional_any = 305; google.protobuf.Value optional_value = 306;
  google.protobuf.NullValue optional_null_value = 307;
  repeated google.protobuf.Duration repeated_duration = 311; repeated google.protobuf.Timestamp repeated_timestamp = 312;
  repeated google.protobuf.Value repeated_value = 316; repeated google.protobuf.ListValue repeated_list_value = 317;
  int32 fieldname1 = 401; int32 field_name2 = 402; int32 _field_name3 = 403; int32 field__name4_ = 404; int32 field0name5 = 405;
  int32 field_0_name6 = 406; int32 fieldName7 = 407; int32 FieldName8 = 408; int32 field_Name9 = 409; int32 Field_Name10 = 410;
  int32 FIELD_NAME11 = 411; int32 FIELD_name12 = 412; int32 __field_name13 = 413; int32 __Field_name14 = 414;
  int32 field__name15 = 415; int32 field__Name16 = 416; int32 field_name17__ = 417; int32 Field_name18__ = 418;
}
"#;

/// Fields that the shared query cases name.
const QUERY: &str = r#"
syntax = "proto3";
package test.v1;
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
enum Letter { X = 0; Y = 1; Z = 2; }
enum Enum { ENUM_UNSPECIFIED = 0; ENUM_VALUE = 1; }
message Query {
  float float_value = 1; double double_value = 2; int64 int64_value = 3; int32 int32_value = 4; uint64 uint64_value = 5;
  uint32 uint32_value = 6; bool bool_value = 7; string string_value = 8; bytes bytes_value = 9; Letter enum_value = 10;
  sint32 sint32_value = 11; sint64 sint64_value = 12;
  google.protobuf.FloatValue wrapper_float_value = 13; google.protobuf.DoubleValue wrapper_double_value = 14;
  google.protobuf.Int64Value wrapper_int64_value = 15; google.protobuf.Int32Value wrapper_int32_value = 16;
  google.protobuf.UInt64Value wrapper_u_int64_value = 17; google.protobuf.UInt32Value wrapper_u_int32_value = 18;
  google.protobuf.BoolValue wrapper_bool_value = 19; google.protobuf.StringValue wrapper_string_value = 20;
  google.protobuf.BytesValue wrapper_bytes_value = 21;
  repeated string repeated_value = 22; repeated google.protobuf.UInt64Value repeated_message = 23; repeated Letter repeated_enum = 24;
  map<string, string> map_value = 25; map<int32, string> map_value3 = 26; map<bool, string> map_value15 = 27;
  google.protobuf.Value struct_value_value = 28; google.protobuf.Struct struct_value = 29;
  Query nested = 30; google.protobuf.Timestamp timestamp_value = 31; google.protobuf.Duration duration_value = 32;
  oneof one { string oneof_string_value = 33; bool oneof_bool_value = 34; }
  oneof other { Query nested_oneof_value_one = 35; int32 nested_oneof_int32_value = 36; }
}
message Params {
  double double_value = 1; google.protobuf.DoubleValue double_value_wrapper = 2; float float_value = 3;
  google.protobuf.FloatValue float_value_wrapper = 4; int32 int32_value = 5; int64 int64_value = 6; uint32 uint32_value = 7;
  uint64 uint64_value = 8; sint32 sint32_value = 9; sint64 sint64_value = 10; bool bool_value = 11; string string_value = 12;
  bytes bytes_value = 13; google.protobuf.Timestamp timestamp = 14; google.protobuf.Duration duration = 15;
  google.protobuf.BoolValue bool_value_wrapper = 16; google.protobuf.Int32Value int32_value_wrapper = 17;
  google.protobuf.StringValue string_value_wrapper = 18; google.protobuf.FieldMask field_mask = 19; Enum enum_value = 20;
  repeated Enum enum_list = 21; oneof one { double oneof_double_value = 22; } Params nested = 23; Params recursive = 24;
  repeated double double_list = 25; map<string, string> string_map = 26; map<string, Params> nested_map = 27;
}
"#;

struct Text(Vec<(&'static str, String)>);

impl FileResolver for Text {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.iter().find(|(file, _)| *file == name) {
            Some((_, source)) => File::from_source(name, source),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// The encoded descriptor set of some files, with the imports of our protos.
pub(super) fn compile(files: Vec<(&'static str, String)>) -> Vec<u8> {
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    let mut resolver = ChainFileResolver::new();
    resolver.add(Text(files));
    resolver.add(IncludeFileResolver::new(concat!(env!("CARGO_MANIFEST_DIR"), "/proto").into()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_files(names).expect("the test's protos compile");
    compiler.encode_file_descriptor_set()
}

fn message(source: &str, name: &str) -> MessageDescriptor {
    let set = compile(vec![("test.proto", source.to_owned())]);
    DescriptorPool::decode(set.as_slice()).unwrap().get_message_by_name(name).unwrap()
}

pub(super) fn all_types() -> MessageDescriptor {
    message(ALL_TYPES, "test.v1.TestAllTypesProto3")
}

pub(super) fn query() -> MessageDescriptor {
    message(QUERY, "test.v1.Query")
}

pub(super) fn params() -> MessageDescriptor {
    message(QUERY, "test.v1.Params")
}
