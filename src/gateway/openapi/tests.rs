//! The document of our own protos.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value as Field};

use super::*;
use crate::gateway::write;

fn made() -> Value {
    let table = Table::load(crate::proto::DESCRIPTORS, "tributary.v1.rest").unwrap();
    let settings = OpenApiSettings {
        title: "Test".into(),
        version: "1".into(),
        description: String::new(),
        services: vec![("SyncService".into(), "Syncs".into())],
        servers: vec!["/".into()],
        examples: json!({"SourceService_GetSource": {"response": {"success": true}, "parameters": {"shortName": "pg"}}}),
        reasons: vec![("invalid_argument".into(), 400), ("not_found".into(), 404), ("etag_mismatch".into(), 412)],
        role_name: |role| (role == 1).then_some("viewer"),
    };
    document(&table, &settings)
}

fn body<'document>(document: &'document Value, path: &str, verb: &str) -> &'document Value {
    &document["paths"][path][verb]["requestBody"]["content"]["application/json"]["schema"]
}

fn parameter(operation: &Value, name: &str) -> Value {
    let parameters = operation["parameters"].as_array().unwrap();
    parameters.iter().find(|parameter| parameter["name"] == name).unwrap().clone()
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_written() {
    let document = made();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100);
    for reference in found {
        let target = document.pointer(reference.strip_prefix('#').unwrap());
        assert!(target.is_some_and(Value::is_object), "{reference}");
    }
}

#[test]
fn every_path_parameter_of_a_path_is_there_and_operation_ids_are_unique() {
    let document = made();
    let mut ids = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
            let none = Vec::new();
            let parameters = operation["parameters"].as_array().unwrap_or(&none);
            let names = parameters.iter().filter(|parameter| parameter["in"] == "path");
            let mut count = 0;
            for parameter in names {
                assert!(path.contains(&format!("{{{}}}", parameter["name"].as_str().unwrap())), "{path}");
                count += 1;
            }
            assert_eq!(path.matches('{').count(), count, "{path}");
        }
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), all), (all, all));
}

#[test]
fn paths_have_json_names_and_bindings_of_one_path_are_together() {
    let document = made();
    let item = document["paths"]["/api/v1/source-connections/{id}"].as_object().unwrap();
    let mut verbs: Vec<&str> = item.keys().map(String::as_str).collect();
    verbs.sort_unstable();
    assert_eq!(verbs, ["delete", "get", "patch"]);
    assert!(document["paths"]["/api/v1/sources/{shortName}"].is_object());
    assert_eq!(document["paths"]["/api/v1/search"]["post"]["operationId"], "SearchService_Search_3");
}

#[test]
fn a_body_takes_only_what_is_known_and_names_what_it_needs() {
    let document = made();
    let reference = body(&document, "/api/v1/source-connections", "post")["$ref"].as_str().unwrap();
    let schema = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], json!(["collectionId", "sourceShortName", "name", "credentials"]));
    assert_eq!(schema["properties"]["name"]["maxLength"], 255);
    assert_eq!(schema["properties"]["collectionId"]["pattern"], "^col_[0-9A-Za-z]{1,64}$");
    assert_eq!(schema["properties"]["credentials"]["type"], "object");
    assert_eq!(schema["properties"]["requestId"]["type"], json!(["string", "null"]));
}

#[test]
fn an_enum_is_taken_as_word_name_or_number_and_sent_as_word() {
    let document = made();
    let role = &document["components"]["schemas"]["CreateApiKeyRequest"]["properties"]["role"]["anyOf"];
    assert_eq!(role[0]["enum"], json!(["viewer", "runner", "editor", "owner", "admin"]));
    assert!(role[1]["enum"].as_array().unwrap().contains(&json!("ROLE_VIEWER")));
    let sent = &document["components"]["schemas"]["ApiKey"]["properties"]["role"];
    assert_eq!(sent["enum"], json!(["viewer", "runner", "editor", "owner", "admin"]));
}

#[test]
fn replies_have_the_envelope_and_what_is_always_printed() {
    let document = made();
    let list = &document["components"]["schemas"]["ListSourcesResponse"];
    assert_eq!(list["required"], json!(["success", "sources"]));
    assert_eq!(list["properties"]["success"]["const"], true);
    let source = &document["components"]["schemas"]["Source"];
    assert!(source["required"].as_array().unwrap().contains(&json!("supportsContinuous")));
    assert!(source["description"].as_str().unwrap().contains("integration type"));
    let sync = &document["components"]["schemas"]["SyncProgress"]["properties"]["itemsRead"];
    assert_eq!(sync["type"], "string");
}

#[test]
fn a_change_needs_nothing_and_leaves_out_what_the_path_has() {
    let document = made();
    let schema = &document["components"]["schemas"]["CollectionChanges"];
    assert!(schema.get("required").is_none());
    assert!(schema["properties"].get("id").is_none());
    assert_eq!(schema["properties"]["name"]["minLength"], 1);
    assert_eq!(schema["properties"]["createdAt"]["readOnly"], true);
    let operation = &document["paths"]["/api/v1/collections/{id}"]["patch"];
    assert_eq!(parameter(operation, "updateMask")["in"], "query");
    let mask = "^((name|description)(,(name|description))*)?$";
    assert_eq!(parameter(operation, "updateMask")["schema"]["pattern"], mask);
    assert_eq!(parameter(operation, "If-Match")["in"], "header");
    assert!(operation["responses"]["412"].is_object());
}

#[test]
fn credentials_may_be_given_bare() {
    let document = made();
    let forms = &body(&document, "/api/v1/source-connections/{id}/credentials", "put")["anyOf"];
    assert_eq!(forms[1]["propertyNames"]["not"]["enum"], json!(["credentials", "etag", "id"]));
}

#[test]
fn a_stream_is_events_or_lines_and_may_be_over() {
    let document = made();
    let operation = &document["paths"]["/api/v1/syncs/{id}/events"]["get"];
    let content = operation["responses"]["200"]["content"].as_object().unwrap();
    assert_eq!(content.keys().collect::<Vec<_>>(), ["text/event-stream", "application/x-ndjson"]);
    assert!(operation["responses"]["204"].is_object());
    assert_eq!(parameter(operation, "Last-Event-ID")["in"], "header");
}

#[test]
fn query_parameters_repeat_for_lists_and_examples_are_shown() {
    let document = made();
    let statuses = parameter(&document["paths"]["/api/v1/syncs"]["get"], "statuses");
    assert_eq!((&statuses["explode"], &statuses["schema"]["maxItems"]), (&json!(true), &json!(16)));
    let size = parameter(&document["paths"]["/api/v1/syncs"]["get"], "pageSize");
    assert_eq!((&size["schema"]["type"], &size["schema"]["minimum"]), (&json!("integer"), &json!(0)));
    let operation = &document["paths"]["/api/v1/sources/{shortName}"]["get"];
    assert_eq!(parameter(operation, "shortName")["example"], "pg");
    assert_eq!(operation["responses"]["200"]["content"]["application/json"]["example"], json!({"success": true}));
    assert_eq!(operation["x-required-role"], "viewer");
    assert!(operation["responses"]["304"].is_object());
}

#[test]
fn services_come_in_the_order_of_reading() {
    let document = made();
    assert_eq!(document["tags"][0]["name"], "Syncs");
    assert_eq!(document["paths"].as_object().unwrap().keys().next().unwrap(), "/api/v1/syncs");
}

/// A message with every field set, as far as `depth` goes.
fn filled(message: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut filled = DynamicMessage::new(message.clone());
    let is_plain = !message.full_name().starts_with("google.protobuf.");
    for field in message.fields().filter(|_| is_plain && depth > 0) {
        let is_second_arm = field.containing_oneof().is_some_and(|oneof| oneof.fields().next() != Some(field.clone()));
        if !field.is_map() && !is_second_arm {
            let value = sample(&field, depth);
            filled.set_field(&field, if field.is_list() { Field::List(vec![value]) } else { value });
        }
    }
    filled
}

fn sample(field: &FieldDescriptor, depth: usize) -> Field {
    match field.kind() {
        Kind::Message(inner) if inner.full_name() == "google.protobuf.Any" => {
            let any = crate::proto::v1::GetSyncRequest { id: "sync_1".into() };
            let mut value = DynamicMessage::new(inner);
            let url = "type.googleapis.com/tributary.v1.GetSyncRequest".to_owned();
            value.set_field_by_name("type_url", Field::String(url));
            value.set_field_by_name("value", Field::Bytes(prost::Message::encode_to_vec(&any).into()));
            Field::Message(value)
        }
        Kind::Message(inner) if inner.full_name() == "google.protobuf.Value" => {
            let mut value = DynamicMessage::new(inner);
            value.set_field_by_name("bool_value", Field::Bool(true));
            Field::Message(value)
        }
        Kind::Message(inner) => Field::Message(filled(&inner, depth - 1)),
        Kind::Enum(_) => Field::EnumNumber(1),
        Kind::String => Field::String("text".into()),
        Kind::Bool => Field::Bool(true),
        Kind::Int32 => Field::I32(-7),
        Kind::Int64 => Field::I64(i64::MIN),
        Kind::Double => Field::F64(0.5),
        kind => panic!("no sample of {kind:?}"),
    }
}

/// The part of JSON Schema that replies use; a keyword that is forgotten here
/// would only be checked by others.
fn breaks(document: &Value, schema: &Value, value: &Value, path: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return breaks(document, document.pointer(reference.strip_prefix('#').unwrap()).unwrap(), value, path);
    }
    let is_type = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        _ => true,
    };
    let in_list = schema["enum"].as_array().is_none_or(|words| words.contains(value));
    let pattern = schema["pattern"].as_str().map(|pattern| regex::Regex::new(pattern).unwrap());
    let matches = pattern.is_none_or(|pattern| value.as_str().is_some_and(|text| pattern.is_match(text)));
    let mut found = Vec::new();
    if !is_type || !in_list || !matches {
        found.push(format!("{path}: {value} against {schema}"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() && name != "success" {
            found.push(format!("{path}.{name} is not there"));
        }
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        match (schema["properties"].get(name), schema.get("additionalProperties")) {
            (Some(inner), _) => found.extend(breaks(document, inner, member, &format!("{path}.{name}"))),
            (None, Some(_)) => {}
            (None, None) => found.push(format!("{path}.{name} is not described")),
        }
    }
    for item in value.as_array().into_iter().flatten() {
        found.extend(breaks(document, &schema["items"], item, &format!("{path}[]")));
    }
    found
}

#[test]
fn every_reply_as_it_is_written_is_what_the_document_says() {
    let document = made();
    let table = Table::load(crate::proto::DESCRIPTORS, "tributary.v1.rest").unwrap();
    for route in table.routes() {
        let output = route.method.output();
        let schema = &document["components"]["schemas"][output.name()];
        for depth in 0..5 {
            let text = write::message(&filled(&output, depth)).unwrap_or_else(|_| panic!("{}", output.name()));
            let value: Value = serde_json::from_str(&text).unwrap();
            let found: Vec<String> = breaks(&document, schema, &value, output.name())
                .into_iter()
                .filter(|broken| !broken.contains("\"unspecified\""))
                .collect();
            assert!(found.is_empty(), "{found:#?}");
        }
    }
}

#[test]
fn every_published_request_is_taken() {
    let table = Table::load(crate::proto::DESCRIPTORS, "tributary.v1.rest").unwrap();
    let examples = crate::api::examples::examples();
    let mut count = 0;
    for (route, id) in numbered(table.routes()) {
        let Some(example) = examples[&id].get("request") else { continue };
        let descriptor = match &route.body {
            crate::gateway::rules::Body::Field(field) => field.kind().as_message().unwrap().clone(),
            _ => route.method.input(),
        };
        let json = crate::gateway::json::Json::parse(example.to_string().as_bytes()).unwrap();
        let read = crate::gateway::read::message(&descriptor, &json);
        assert!(read.is_ok(), "{id}: {read:?}");
        count += 1;
    }
    assert!(count > 15);
}
