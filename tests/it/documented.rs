//! The user's document, call by call: the bodies it shows are the bodies sent,
//! with more members at most.

use serde_json::{Value, json};

use crate::support::postgres::{self, Database};
use crate::support::server::{Server, contains, id_of, send};

fn documented_source() -> Value {
    json!({
        "shortName": "postgresql",
        "name": "PostgreSQL",
        "authMethods": ["credentials"],
        "authFields": [
            {"name": "host", "type": "string", "required": true},
            {"name": "port", "type": "number", "required": true},
            {"name": "database", "type": "string", "required": true},
            {"name": "username", "type": "string", "required": true},
            {"name": "password", "type": "password", "required": true},
        ],
    })
}

#[tokio::test]
async fn the_catalogue_is_as_documented() {
    let server = Server::start().await;
    let body = server.get("/api/v1/sources").await.ok();
    let sources = body["sources"].as_array().unwrap();
    let listed = sources.iter().find(|source| source["shortName"] == "postgresql").expect("PostgreSQL is listed");
    let documented = json!({
        "id": "<any>", "name": "PostgreSQL", "shortName": "postgresql",
        "description": "Connect to PostgreSQL databases", "authMethods": ["credentials"], "labels": ["database"],
        "supportsContinuous": true,
    });
    contains(listed, &documented, "source");
    assert!(body.get("nextPageToken").is_none(), "{body}");

    let body = server.get("/api/v1/sources/postgresql").await.ok();
    contains(&body["source"], &documented_source(), "source");
    assert_eq!(body["source"]["authFields"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn each_documented_call_answers_as_documented() {
    let database = Database::create().await;
    database.connect().await.batch_execute("CREATE TABLE people (id int PRIMARY KEY, name text)").await.unwrap();
    let server = Server::start().await;
    let collection = server.collection("Everything").await;
    let request = json!({
        "collectionId": collection, "sourceShortName": "postgresql", "name": "Production Database",
        "credentials": {
            "host": "127.0.0.1", "port": database.port, "database": database.name,
            "username": postgres::USER, "password": postgres::PASSWORD,
        },
    });
    let created = server.post("/api/v1/source-connections", request).await.ok();
    let documented = json!({"sourceConnection": {
        "id": "<any>", "name": "Production Database", "status": "pending", "createdAt": "<any>",
    }});
    contains(&created, &documented, "create");
    let created_at = created["sourceConnection"]["createdAt"].as_str().unwrap();
    assert!(created_at.len() == 20 && created_at.ends_with('Z'), "{created_at}");
    let id = id_of(&created["sourceConnection"]);
    let path = format!("/api/v1/source-connections/{id}");

    let listed = server.get(&format!("/api/v1/source-connections?collectionId={collection}")).await.ok();
    assert_eq!(listed["sourceConnections"].as_array().unwrap().len(), 1);
    assert_eq!(id_of(&listed["sourceConnections"][0]), id);
    assert_eq!(id_of(&server.get(&path).await.ok()["sourceConnection"]), id);

    let tested = send(server.request("POST", &format!("{path}/test"))).await.ok();
    contains(&tested, &json!({"success": true, "status": "connected", "message": "Connection successful"}), "test");

    let run = send(server.request("POST", &format!("{path}/run"))).await.ok();
    contains(&run, &json!({"success": true, "syncId": "<any>", "status": "started"}), "run");
    let finished = server.finished(run["syncId"].as_str().unwrap()).await;
    assert_eq!(finished["status"], "succeeded", "{finished}");

    let credentials = json!({"credentials": {
        "host": "127.0.0.1", "port": database.port.to_string(), "database": database.name,
        "username": postgres::USER, "password": postgres::PASSWORD,
    }});
    let updated = server.put(&format!("{path}/credentials"), credentials.clone()).await.ok();
    assert_eq!(updated["sourceConnection"]["status"], "pending");
    server.put(&format!("{path}/credentials"), credentials["credentials"].clone()).await.ok();
    let updated = server.put(&format!("{path}/config"), json!({"config": {"tables": ["public.*"]}})).await.ok();
    assert_eq!(updated["sourceConnection"]["config"]["tables"], json!(["public.*"]));
    server.put(&format!("{path}/config"), json!({"tables": ["public.people"]})).await.ok();

    assert_eq!(server.delete(&format!("{path}/data")).await.ok(), json!({"success": true}));
    assert_eq!(server.delete(&format!("{path}?deleteData=true")).await.ok(), json!({"success": true}));
    server.get(&path).await.error(404, "not_found");
}

#[tokio::test]
async fn the_five_documented_errors_can_each_be_met() {
    let database = Database::create().await;
    database.connect().await.batch_execute("CREATE VIEW slow AS SELECT pg_sleep(60)::text AS id").await.unwrap();
    let server = Server::start().await;
    let collection = server.collection("Errors").await;
    let id = server.postgres_connection(&collection, &database, json!({})).await;
    let path = format!("/api/v1/source-connections/{id}");

    let body = server
        .put(&format!("{path}/credentials"), json!({"host": "db.example.com", "port": "x", "extra": 1}))
        .await
        .error(400, "invalid_credentials");
    let violations = body["details"].as_array().unwrap().iter().find(|detail| detail.get("fieldViolations").is_some());
    let fields: Vec<&str> = violations.unwrap()["fieldViolations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|violation| violation["field"].as_str().unwrap())
        .collect();
    for field in ["credentials.port", "credentials.database", "credentials.extra", "credentials.password"] {
        assert!(fields.contains(&field), "{field} in {fields:?}");
    }

    let reply = send(server.anonymous("GET", "/api/v1/sources")).await;
    assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"api\""));
    reply.error(401, "unauthorized");

    let other = server.collection("Other").await;
    let key = server
        .post("/api/v1/api-keys", json!({"name": "other", "role": "viewer", "collectionIds": [other]}))
        .await
        .ok();
    let secret = key["secret"].as_str().unwrap();
    let reply = send(server.anonymous("GET", &path).bearer_auth(secret)).await;
    reply.error(403, "forbidden");

    server.get("/api/v1/source-connections/sc_doesnotexist").await.error(404, "not_found");

    let run = server.post(&format!("{path}/run"), json!({})).await.ok();
    for (method, suffix, body) in
        [("POST", "/run", None), ("PUT", "/config", Some(json!({}))), ("DELETE", "", None), ("DELETE", "/data", None)]
    {
        let mut request = server.request(method, &format!("{path}{suffix}"));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let body = send(request).await.error(409, "sync_in_progress");
        let info = body["details"].as_array().unwrap().iter().find(|detail| detail.get("reason").is_some()).unwrap();
        assert_eq!((&info["metadata"]["syncId"], &info["domain"]), (&run["syncId"], &json!("tributary")));
    }
    let sync = run["syncId"].as_str().unwrap();
    server.post(&format!("/api/v1/syncs/{sync}/cancel"), json!({})).await.ok();
    assert_eq!(server.finished(sync).await["status"], "cancelled");
}
