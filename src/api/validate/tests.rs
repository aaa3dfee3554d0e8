//! Requests that break rules, and those that only look like it.

use prost_reflect::DescriptorPool;
use prost_types::value::Kind;
use prost_types::{FieldMask, Struct, Timestamp};

use super::*;
use crate::api::validate::rules::Plan;
use crate::proto::v1;

fn creation() -> v1::CreateSourceConnectionRequest {
    v1::CreateSourceConnectionRequest {
        collection_id: "col_abc123".into(),
        source_short_name: "postgresql".into(),
        name: "Production Database".into(),
        credentials: Some(Struct::default()),
        ..Default::default()
    }
}

fn key(role: v1::access::Role) -> v1::CreateApiKeyRequest {
    v1::CreateApiKeyRequest { name: "ci".into(), role: role.into(), ..Default::default() }
}

fn found<M: prost::Message + prost::Name>(message: &M) -> Vec<(String, &'static str)> {
    match validate(message) {
        Ok(()) => Vec::new(),
        Err(error) => {
            error.field_violations().iter().map(|violation| (violation.field.clone(), violation.reason)).collect()
        }
    }
}

fn one(field: &str, reason: &'static str) -> Vec<(String, &'static str)> {
    vec![(field.to_owned(), reason)]
}

#[test]
fn every_rule_in_the_protos_is_one_that_is_checked() {
    let pool = DescriptorPool::decode(crate::proto::DESCRIPTORS).unwrap();
    let plan = Plan::read(pool).unwrap();
    let rules = plan.messages.values().flat_map(|message| &message.fields).filter(|field| !field.rules.is_empty());
    assert!(rules.count() > 30);
}

#[test]
fn a_good_request_passes() {
    assert_eq!(found(&creation()), []);
    assert_eq!(found(&v1::ListSourcesRequest::default()), []);
    assert_eq!(found(&v1::ListSyncsRequest::default()), []);
}

#[test]
fn all_wrong_fields_are_told_at_once() {
    let request = v1::CreateSourceConnectionRequest {
        collection_id: "sc_1".into(),
        name: "x".repeat(256),
        auth_method: 99,
        ..Default::default()
    };
    let error = validate(&request).unwrap_err();
    assert_eq!(error.reason(), Reason::InvalidArgument);
    assert_eq!(
        found(&request),
        [
            ("collection_id".into(), "INVALID_VALUE"),
            ("source_short_name".into(), "REQUIRED"),
            ("name".into(), "TOO_LONG"),
            ("credentials".into(), "REQUIRED"),
            ("auth_method".into(), "INVALID_VALUE"),
        ]
    );
}

#[test]
fn missing_credentials_are_invalid_credentials() {
    let error = validate(&v1::CreateSourceConnectionRequest { credentials: None, ..creation() }).unwrap_err();
    assert_eq!(error.reason(), Reason::InvalidCredentials);
    assert_eq!(error.field_violations()[0].field, "credentials");
}

#[test]
fn lengths_are_counted_in_code_points() {
    assert_eq!(found(&v1::CreateSourceConnectionRequest { name: "ü".repeat(255), ..creation() }), []);
}

#[test]
fn a_schedule_needs_one_kind_and_continuous_must_be_true() {
    let with = |kind| v1::CreateSourceConnectionRequest {
        schedule: Some(v1::Schedule { kind, time_zone: String::new() }),
        ..creation()
    };
    assert_eq!(found(&with(None)), one("schedule", "REQUIRED"));
    assert_eq!(found(&with(Some(v1::schedule::Kind::Continuous(false)))), one("schedule.continuous", "INVALID_VALUE"));
    assert_eq!(found(&with(Some(v1::schedule::Kind::Cron("1".into())))), one("schedule.cron", "TOO_SHORT"));
    assert_eq!(found(&with(Some(v1::schedule::Kind::Continuous(true)))), []);
}

#[test]
fn a_key_needs_a_known_role_and_a_future_end() {
    assert_eq!(found(&key(v1::access::Role::Unspecified)), one("role", "REQUIRED"));
    let with = |seconds| v1::CreateApiKeyRequest {
        expires_at: Some(Timestamp { seconds, nanos: 0 }),
        ..key(v1::access::Role::Viewer)
    };
    assert_eq!(found(&with(1)), one("expires_at", "INVALID_VALUE"));
    assert_eq!(found(&with(i64::MAX)), one("expires_at", "INVALID_VALUE"));
    assert_eq!(found(&with(LAST_SECOND)), []);
}

#[test]
fn lists_are_checked_as_a_whole_and_by_item() {
    let with = |ids: &[&str]| v1::CreateApiKeyRequest {
        collection_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..key(v1::access::Role::Viewer)
    };
    assert_eq!(found(&with(&["col_1", "col_2"])), []);
    assert_eq!(found(&with(&["col_1", "col_1"])), one("collection_ids", "DUPLICATE"));
    assert_eq!(found(&with(&["col_1", "sc_2"])), one("collection_ids[1]", "INVALID_VALUE"));
    assert_eq!(found(&with(&["x"; 1001])).iter().filter(|(_, reason)| *reason == "TOO_MANY").count(), 1);
}

#[test]
fn numbers_have_a_least_value() {
    assert_eq!(
        found(&v1::ListSourcesRequest { page_size: -1, ..Default::default() }),
        one("page_size", "OUT_OF_RANGE")
    );
    let watch = v1::WatchSyncRequest { id: "sync_1".into(), after_sequence: -1 };
    assert_eq!(found(&watch), one("after_sequence", "OUT_OF_RANGE"));
}

#[test]
fn an_update_demands_only_what_its_mask_names() {
    let with = |name: &str, paths: &[&str]| v1::UpdateCollectionRequest {
        collection: Some(v1::Collection { id: "col_1".into(), name: name.into(), ..Default::default() }),
        update_mask: Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
    };
    assert_eq!(found(&with("", &["description"])), []);
    assert_eq!(found(&with("", &["name"])), one("collection.name", "REQUIRED"));
    assert_eq!(found(&with(&"x".repeat(256), &["description"])), one("collection.name", "TOO_LONG"));
    assert_eq!(found(&v1::UpdateCollectionRequest::default()), one("collection", "REQUIRED"));
    let nameless = v1::UpdateCollectionRequest { collection: Some(v1::Collection::default()), update_mask: None };
    assert_eq!(found(&nameless), one("collection.id", "REQUIRED"));
}

#[test]
fn what_only_the_server_writes_is_ignored() {
    let request = v1::UpdateSourceConnectionRequest {
        source_connection: Some(v1::SourceConnection {
            id: "sc_1".into(),
            status: 99,
            status_message: Some("\0".into()),
            ..Default::default()
        }),
        update_mask: None,
    };
    assert_eq!(found(&request), []);
}

#[test]
fn control_characters_are_refused_anywhere() {
    assert_eq!(found(&v1::GetSyncRequest { id: "sync_\0".into() }), one("id", "INVALID_VALUE"));
    let text = v1::CreateSourceConnectionRequest { description: Some("a\n\tb\r".into()), ..creation() };
    assert_eq!(found(&text), []);
    let value = prost_types::Value { kind: Some(Kind::StringValue("a\0".into())) };
    let config = Struct { fields: [("schemas".to_owned(), value)].into() };
    let request = v1::CreateSourceConnectionRequest { config: Some(config), ..creation() };
    assert_eq!(found(&request), one("config", "INVALID_VALUE"));
}

#[test]
fn values_are_never_in_the_message() {
    let request = v1::CreateSourceConnectionRequest { collection_id: "hunter2".into(), ..creation() };
    assert!(!validate(&request).unwrap_err().message().contains("hunter2"));
}
