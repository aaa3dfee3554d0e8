//! The document of our own protos.

use super::*;

fn made() -> Value {
    let table = Table::load(crate::proto::DESCRIPTORS, "tributary.v1.rest").unwrap();
    let settings = OpenApiSettings {
        title: "Test".into(),
        version: "1".into(),
        description: String::new(),
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
