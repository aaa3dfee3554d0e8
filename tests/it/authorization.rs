//! Every RPC of the descriptors, over REST and gRPC, by every kind of caller who
//! may not: nothing passes that is not listed.

use std::collections::BTreeMap;

use prost_reflect::{MethodDescriptor, Value as ProtoValue};
use serde_json::{Map, Value, json};
use tonic::Code;

use crate::support::grpc::{Client, descriptors, methods};
use crate::support::server::{ADMIN_KEY, Server, id_of, send};

/// What a call of another's collection answers.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Foreign {
    /// It names a collection: refused.
    Refused,
    /// It lists: allowed, and shows nothing of it.
    ShowsNothing,
    /// It has no collection.
    Allowed,
    /// As if it did not exist: keys of others are nobody's business.
    NotFound,
}

/// One row an RPC: a request that is valid, and what a key for another collection
/// gets. A method without a row fails the test.
fn rows(ids: &Ids) -> BTreeMap<&'static str, (Value, Foreign)> {
    use Foreign::{Allowed, NotFound, Refused, ShowsNothing};
    let Ids { collection, connection, sync, key } = ids;
    let name = json!("Name");
    BTreeMap::from([
        ("SourceService.ListSources", (json!({}), Allowed)),
        ("SourceService.GetSource", (json!({"shortName": "files"}), Allowed)),
        (
            "SourceConnectionService.CreateSourceConnection",
            (
                json!({"collectionId": collection, "sourceShortName": "files", "name": name, "credentials": {},
                    "config": {"path": "."}}),
                Refused,
            ),
        ),
        ("SourceConnectionService.ListSourceConnections", (json!({}), ShowsNothing)),
        ("SourceConnectionService.GetSourceConnection", (json!({"id": connection}), Refused)),
        (
            "SourceConnectionService.UpdateSourceConnection",
            (json!({"sourceConnection": {"id": connection, "name": name}, "updateMask": "name"}), Refused),
        ),
        ("SourceConnectionService.TestSourceConnection", (json!({"id": connection}), Refused)),
        ("SourceConnectionService.RunSourceConnection", (json!({"id": connection}), Refused)),
        (
            "SourceConnectionService.UpdateSourceConnectionCredentials",
            (json!({"id": connection, "credentials": {}}), Refused),
        ),
        (
            "SourceConnectionService.UpdateSourceConnectionConfig",
            (json!({"id": connection, "config": {"path": "."}}), Refused),
        ),
        ("SourceConnectionService.DeleteSourceConnection", (json!({"id": connection}), Refused)),
        ("SourceConnectionService.ClearSourceConnectionData", (json!({"id": connection}), Refused)),
        ("SourceConnectionService.DiscoverSourceConnection", (json!({"id": connection}), Refused)),
        ("SourceConnectionService.PlanSync", (json!({"id": connection}), Refused)),
        ("SourceConnectionService.ReleaseDeletions", (json!({"id": connection}), Refused)),
        ("SourceConnectionService.DiscardDeletions", (json!({"id": connection}), Refused)),
        ("SourceConnectionService.PauseSourceConnection", (json!({"id": connection}), Refused)),
        ("SourceConnectionService.ResumeSourceConnection", (json!({"id": connection}), Refused)),
        (
            "SourceConnectionService.UpdateSourceConnectionSchedule",
            (json!({"id": connection, "schedule": {"cron": "0 3 * * *"}}), Refused),
        ),
        ("SyncService.ListSyncs", (json!({}), ShowsNothing)),
        ("SyncService.GetSync", (json!({"id": sync}), Refused)),
        ("SyncService.CancelSync", (json!({"id": sync}), Refused)),
        ("SyncService.ListSyncErrors", (json!({"id": sync}), Refused)),
        ("SyncService.WatchSync", (json!({"id": sync}), Refused)),
        ("CollectionService.CreateCollection", (json!({"name": "New"}), Refused)),
        ("CollectionService.ListCollections", (json!({}), ShowsNothing)),
        ("CollectionService.GetCollection", (json!({"id": collection}), Refused)),
        (
            "CollectionService.UpdateCollection",
            (json!({"collection": {"id": collection, "name": name}, "updateMask": "name"}), Refused),
        ),
        ("CollectionService.DeleteCollection", (json!({"id": collection}), Refused)),
        ("CollectionService.ClearCollectionData", (json!({"id": collection}), Refused)),
        ("SearchService.Search", (json!({"collectionId": collection, "query": "x"}), Refused)),
        ("SearchService.ListItems", (json!({"collectionId": collection}), Refused)),
        ("SearchService.GetItem", (json!({"collectionId": collection, "id": "itm_00"}), Refused)),
        (
            "ApiKeyService.CreateApiKey",
            (json!({"name": name, "role": "ROLE_VIEWER", "collectionIds": [collection]}), Refused),
        ),
        ("ApiKeyService.ListApiKeys", (json!({}), ShowsNothing)),
        ("ApiKeyService.GetApiKey", (json!({"id": key}), NotFound)),
        ("ApiKeyService.RevokeApiKey", (json!({"id": key}), NotFound)),
        ("AuditService.ListAuditEvents", (json!({}), Refused)),
    ])
}

struct Ids {
    collection: String,
    connection: String,
    sync: String,
    key: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_passes_who_may_not() {
    let server = Server::start().await;
    let collection = server.collection("Mine").await;
    let other = server.collection("Other").await;
    let connection = server.files_connection(&collection, json!({})).await;
    let sync = server.sync(&connection).await;
    let make = async |role: &str, collection: &str| {
        let body = json!({"name": role, "role": role, "collectionIds": [collection]});
        let body = server.post("/api/v1/api-keys", body).await.ok();
        (id_of(&body["apiKey"]), body["secret"].as_str().unwrap().to_owned())
    };
    let (mine, _) = make("viewer", &collection).await;
    let ids = Ids { collection: collection.clone(), connection, sync: id_of(&sync), key: mine };
    let rows = rows(&ids);
    let (_, foreign) = make("owner", &other).await;
    let (revoked_id, revoked) = make("owner", &collection).await;
    server.delete(&format!("/api/v1/api-keys/{revoked_id}")).await.ok();
    let mut by_role = BTreeMap::new();
    for (number, role) in ["viewer", "runner", "editor", "owner"].into_iter().enumerate() {
        by_role.insert(number as i32 + 1, make(role, &collection).await.1);
    }
    let client = Client::connect(&server.base).await;
    let mut cells = 0;
    let mut listed = 0;
    for method in methods() {
        let name = format!("{}.{}", method.parent_service().name(), method.name());
        let (request, if_foreign) = rows.get(name.as_str()).unwrap_or_else(|| panic!("no row for {name}")).clone();
        listed += 1;
        let nobody = [None, Some("trb_bad"), Some("not-a-key-at-all-but-long-enough"), Some(revoked.as_str())];
        for key in nobody {
            refused(&server, &client, &method, &request, key, 401, Code::Unauthenticated).await;
            cells += 2;
        }
        let role = role_of(&method);
        if let Some(lesser) = by_role.get(&(role - 1)) {
            refused(&server, &client, &method, &request, Some(lesser), 403, Code::PermissionDenied).await;
            cells += 2;
        }
        let foreign = Some(foreign.as_str());
        match if_foreign {
            Foreign::Refused => {
                refused(&server, &client, &method, &request, foreign, 403, Code::PermissionDenied).await;
            }
            Foreign::NotFound => refused(&server, &client, &method, &request, foreign, 404, Code::NotFound).await,
            Foreign::Allowed | Foreign::ShowsNothing => {
                let (status, body) = rest(&server, &method, &request, foreign).await;
                assert_eq!(status, 200, "{name}: {body}");
                let reply = client.call(&method, &request, foreign).await.unwrap();
                if if_foreign == Foreign::ShowsNothing {
                    assert!(!body.contains(&collection), "{name}: {body}");
                    assert!(!reply.to_string().contains(&collection), "{name}: {reply}");
                }
            }
        }
        cells += 2;
    }
    assert_eq!(listed, rows.len(), "a row for a method that does not exist");
    println!("{cells} cells over {listed} methods");
}

#[track_caller]
fn role_of(method: &MethodDescriptor) -> i32 {
    let extension = descriptors().get_extension_by_name("tributary.v1.rest").unwrap();
    let options = method.options();
    let rest = options.get_extension(&extension);
    let role = rest.as_message().unwrap().get_field_by_name("role").unwrap().into_owned();
    let ProtoValue::EnumNumber(role) = role else { panic!("{role:?}") };
    assert!(role > 0);
    role
}

async fn refused(
    server: &Server,
    client: &Client,
    method: &MethodDescriptor,
    request: &Value,
    key: Option<&str>,
    status: u16,
    code: Code,
) {
    let name = method.full_name();
    let (found, body) = rest(server, method, request, key).await;
    assert_eq!(found, status, "REST {name}: {body}");
    let refused = client.call(method, request, key).await.expect_err(name);
    assert_eq!(refused.code(), code, "gRPC {name}: {refused:?}");
}

/// The same request by REST: path, query and body follow from the http rule.
async fn rest(server: &Server, method: &MethodDescriptor, request: &Value, key: Option<&str>) -> (u16, String) {
    let http = descriptors().get_extension_by_name("google.api.http").unwrap();
    let options = method.options();
    let rule = options.get_extension(&http);
    let rule = rule.as_message().unwrap();
    let (verb, template) = ["get", "put", "post", "delete", "patch"]
        .into_iter()
        .find_map(|verb| {
            let template = rule.get_field_by_name(verb)?.as_str()?.to_owned();
            (!template.is_empty()).then(|| (verb.to_uppercase(), template))
        })
        .unwrap();
    let body_field = rule.get_field_by_name("body").unwrap().as_str().unwrap().to_owned();
    let mut rest: Map<String, Value> = request.as_object().unwrap().clone();
    let mut path = template.clone();
    for variable in template.split('{').skip(1).map(|part| part.split('}').next().unwrap()) {
        let value = variable.split('.').map(camel).fold(request.clone(), |value, part| value[part].clone());
        path = path.replace(&format!("{{{variable}}}"), value.as_str().unwrap());
        if !variable.contains('.') {
            rest.remove(&camel(variable));
        }
    }
    let mut call = server.anonymous(&verb, &path);
    if let Some(key) = key {
        call = call.bearer_auth(key);
    }
    match body_field.as_str() {
        "" => {
            let query: Vec<(String, String)> =
                rest.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
            call = call.query(&query);
        }
        "*" => call = call.json(&rest),
        field => call = call.json(&rest[&camel(field)]),
    }
    let reply = send(call).await;
    (reply.status, reply.text)
}

fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + &part[..1].to_uppercase() + &part[1..])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_makes_no_key_beyond_its_own_rights() {
    let server = Server::start().await;
    let mine = server.collection("Mine").await;
    let other = server.collection("Other").await;
    let body = json!({"name": "owner", "role": "owner", "collectionIds": [mine]});
    let owner = server.post("/api/v1/api-keys", body).await.ok()["secret"].as_str().unwrap().to_owned();
    let make =
        async |body: Value| send(server.anonymous("POST", "/api/v1/api-keys").bearer_auth(&owner).json(&body)).await;
    make(json!({"name": "n", "role": "admin", "collectionIds": [mine]})).await.error(403, "forbidden");
    make(json!({"name": "n", "role": "viewer", "collectionIds": [mine, other]})).await.error(403, "forbidden");
    let made = make(json!({"name": "n", "role": "viewer"})).await.ok();
    assert_eq!(made["apiKey"]["collectionIds"], json!([mine]));
    assert_eq!(made["apiKey"]["allCollections"], json!(false));
    make(json!({"name": "n", "role": "viewer", "collectionIds": []})).await.error(400, "invalid_argument");
    let listed = send(server.anonymous("GET", "/api/v1/api-keys").bearer_auth(&owner)).await.ok();
    assert_eq!(listed["apiKeys"].as_array().unwrap().len(), 2, "{listed}");
    assert!(!listed.to_string().contains(ADMIN_KEY));
}
