//! The catalogue's entry, settings and discovery.

use serde_json::json;
use tributary::connectors::{ObjectPage, SourceObject};

use super::*;

#[test]
fn the_catalogue_entry_is_the_documented_one() {
    let spec = DynConnector::spec(&PostgreSql);
    assert_eq!((spec.short_name, spec.name), ("postgresql", "PostgreSQL"));
    assert_eq!(spec.description, "Connect to PostgreSQL databases");
    let fields: Vec<&str> = spec.auth_fields.iter().map(|field| field.name).collect();
    assert_eq!(fields, ["host", "port", "database", "username", "password"]);
    assert!(spec.auth_fields.iter().all(|field| field.required));
}

#[test]
fn wrong_settings_are_named_without_their_values() {
    let violations = DynConnector::config(
        &PostgreSql,
        &object(json!({
            "rootCertificate": "sekret", "schemas": ["a.b"], "tables": ["public.*", "orders"], "excludeColumns": ["a.b"],
            "titleTemplate": "{{ sekret", "rowLimit": 0, "tableOptions": [{"table": "x", "bodyTemplate": "{% sekret"}],
        })),
    )
    .unwrap_err();
    let fields: Vec<&str> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "config.rootCertificate",
            "config.schemas[0]",
            "config.tables[1]",
            "config.excludeColumns[0]",
            "config.titleTemplate",
            "config.rowLimit",
            "config.tableOptions[0].bodyTemplate",
            "config.tableOptions[0].table",
        ]
    );
    assert!(!format!("{violations:?}").contains("sekret"));
}

#[test]
fn what_loosens_tls_changes_the_binding() {
    let binding = |config| DynConnector::binding(&PostgreSql, &object(config));
    assert_eq!(binding(json!({})), binding(json!({"sslMode": "auto", "tables": ["a.b"]})));
    assert_ne!(binding(json!({})), binding(json!({"sslMode": "disable"})));
    assert_ne!(binding(json!({})), binding(json!({"rootCertificate": "x"})));
}

#[test]
fn the_config_selects_by_pattern_and_never_the_system() {
    let selects = |config, object_path| DynConnector::selects(&PostgreSql, &object(config), object_path);
    assert!(selects(json!({}), "public.orders"));
    assert!(selects(json!({"schemas": ["pub*"]}), "public.\"odd one\""));
    assert!(!selects(json!({"excludeTables": ["public.o*"]}), "public.orders"));
    assert!(!selects(json!({"tables": ["*.*"]}), "pg_catalog.pg_class"));
    assert!(!selects(json!({}), "public"));
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_is_a_paged_tree() {
    let database = database(
        "CREATE SCHEMA \"A b\"; CREATE SCHEMA shop; CREATE TABLE shop.a (); CREATE TABLE shop.b (); CREATE VIEW shop.c AS SELECT 1;
         INSERT INTO shop.a DEFAULT VALUES; ANALYZE shop.a;",
    )
    .await;
    let session = open(credentials(&database), json!({"tables": ["shop.a", "shop.c"]}));
    let paths = |level: &[SourceObject]| level.iter().map(|object| object.path.clone()).collect::<Vec<_>>();
    let top = session.discover(None, ObjectPage { after: None, limit: 10 }).await.unwrap();
    assert_eq!(paths(&top), ["\"A b\"", "public", "shop"]);
    assert_eq!(top.iter().map(|object| object.selected).collect::<Vec<_>>(), [false, false, true]);
    let first = session.discover(Some("shop"), ObjectPage { after: None, limit: 2 }).await.unwrap();
    assert_eq!(paths(&first), ["shop.a", "shop.b"]);
    assert_eq!((first[0].estimated_items, first[0].selected, first[1].selected), (Some(1), true, false));
    let rest = session.discover(Some("shop"), ObjectPage { after: Some("shop.b"), limit: 2 }).await.unwrap();
    assert_eq!(paths(&rest), ["shop.c"]);
    assert!(session.discover(Some("shop.a"), ObjectPage { after: None, limit: 2 }).await.unwrap().is_empty());
    assert!(session.discover(Some("shop..a"), ObjectPage { after: None, limit: 2 }).await.is_err());
}
