//! curl, over HTTP/1.1 and over HTTP/2: each request of the documentation, with
//! live ids, gives the documented body.

use serde_json::{Value, json};

use super::Busy;
use crate::support::postgres::{self, Database};
use crate::support::server::{ADMIN_KEY, Server, contains};
use crate::support::tools;

/// curl with one version of HTTP.
struct Curl<'server> {
    server: &'server Server,
    version: &'static str,
}

/// Status, version of HTTP and body of an answer.
struct Answer {
    status: u16,
    version: String,
    body: Value,
}

impl Curl<'_> {
    async fn send(&self, method: &str, path: &str, key: Option<&str>, body: Option<&Value>) -> Answer {
        let mut command = tools::system("curl");
        command.args(["--silent", "--show-error", "--noproxy", "*", self.version, "--request", method]);
        command.args(["--write-out", "\n%{http_code} %{http_version}"]);
        if let Some(key) = key {
            command.args(["--header", &format!("Authorization: Bearer {key}")]);
        }
        if let Some(body) = body {
            command.args(["--header", "Content-Type: application/json", "--data", &body.to_string()]);
        }
        command.arg(format!("{}{path}", self.server.base));
        let printed = tools::run(command, 60).await.ok();
        let (body, end) = printed.rsplit_once('\n').expect("what was asked for");
        let (status, version) = end.split_once(' ').expect("status and version");
        Answer {
            status: status.parse().expect("a status"),
            version: version.to_owned(),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
        }
    }

    /// Sends a documented request and compares with the documented body.
    async fn documented(&self, method: &str, path: &str, body: Option<Value>, documented: Value) -> Value {
        let answer = self.send(method, path, Some(ADMIN_KEY), body.as_ref()).await;
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
        assert_eq!(answer.version == "2", self.version == "--http2-prior-knowledge", "HTTP/{}", answer.version);
        contains(&answer.body, &documented, path);
        answer.body
    }

    async fn error(&self, method: &str, path: &str, key: Option<&str>, body: Option<Value>, expected: (u16, &str)) {
        let answer = self.send(method, path, key, body.as_ref()).await;
        let seen = (answer.status, answer.body["error"].as_str().unwrap_or_default());
        assert_eq!(seen, expected, "{method} {path}: {}", answer.body);
        assert_eq!(answer.body["success"], json!(false));
    }
}

const SOURCE_CONNECTIONS: &str = "/api/v1/source-connections";

fn credentials(database: &Database) -> Value {
    json!({
        "host": "127.0.0.1", "port": database.port, "database": database.name,
        "username": postgres::USER, "password": postgres::PASSWORD,
    })
}

async fn every_documented_request(curl: Curl<'_>) {
    let database = Database::create().await;
    database.connect().await.batch_execute("CREATE TABLE people (id int PRIMARY KEY, name text)").await.unwrap();
    let collection = curl.server.collection(&format!("Documented {}", curl.version)).await;
    let done = json!({"success": true});

    let sources = curl.documented("GET", "/api/v1/sources", None, done.clone()).await;
    let sources = sources["sources"].as_array().expect("sources");
    let source = sources.iter().find(|source| source["shortName"] == "postgresql").expect("PostgreSQL");
    let listed = json!({
        "id": "<any>", "name": "PostgreSQL", "shortName": "postgresql",
        "description": "Connect to PostgreSQL databases", "authMethods": ["credentials"],
        "labels": ["database"], "supportsContinuous": true,
    });
    contains(source, &listed, "source");
    let field = |name: &str, kind: &str| json!({"name": name, "type": kind, "required": true});
    let documented = json!({"success": true, "source": {
        "shortName": "postgresql", "name": "PostgreSQL", "authMethods": ["credentials"],
        "authFields": [
            field("host", "string"), field("port", "number"), field("database", "string"),
            field("username", "string"), field("password", "password"),
        ],
    }});
    curl.documented("GET", "/api/v1/sources/postgresql", None, documented).await;

    let request = json!({
        "collectionId": collection, "sourceShortName": "postgresql", "name": "Production Database",
        "credentials": credentials(&database),
    });
    let connection = json!({
        "id": "<any>", "name": "Production Database", "status": "pending", "createdAt": "<any>",
    });
    let documented = json!({"success": true, "sourceConnection": connection});
    let created = curl.documented("POST", SOURCE_CONNECTIONS, Some(request), documented.clone()).await;
    let path = format!("{SOURCE_CONNECTIONS}/{}", created["sourceConnection"]["id"].as_str().expect("an id"));
    let list = json!({"success": true, "sourceConnections": [connection]});
    curl.documented("GET", &format!("{SOURCE_CONNECTIONS}?collectionId={collection}"), None, list).await;
    curl.documented("GET", &path, None, documented).await;

    let tested = json!({"success": true, "status": "connected", "message": "Connection successful"});
    curl.documented("POST", &format!("{path}/test"), None, tested).await;
    let started = json!({"success": true, "syncId": "<any>", "status": "started"});
    let run = curl.documented("POST", &format!("{path}/run"), None, started).await;
    let sync = curl.server.finished(run["syncId"].as_str().expect("an id")).await;
    assert_eq!(sync["status"], "succeeded", "{sync}");

    let changed = json!({"success": true, "sourceConnection": {"id": "<any>"}});
    let body = json!({"credentials": credentials(&database)});
    curl.documented("PUT", &format!("{path}/credentials"), Some(body), changed.clone()).await;
    let body = json!({"config": {"tables": ["public.people"]}});
    curl.documented("PUT", &format!("{path}/config"), Some(body), changed).await;
    curl.documented("DELETE", &format!("{path}/data"), None, done.clone()).await;
    curl.documented("DELETE", &path, None, done).await;
}

async fn every_documented_error(curl: Curl<'_>, busy: &Busy) {
    let path = format!("{SOURCE_CONNECTIONS}/{}", busy.connection);
    let bad = json!({"credentials": {"host": "db.example.com", "port": "x"}});
    let credentials = format!("{path}/credentials");
    curl.error("PUT", &credentials, Some(ADMIN_KEY), Some(bad), (400, "invalid_credentials")).await;
    curl.error("GET", "/api/v1/sources", None, None, (401, "unauthorized")).await;
    let other = curl.server.collection(&format!("Other {}", curl.version)).await;
    let body = json!({"name": "other", "role": "viewer", "collectionIds": [other]});
    let foreign = curl.server.post("/api/v1/api-keys", body).await.ok();
    curl.error("GET", &path, foreign["secret"].as_str(), None, (403, "forbidden")).await;
    let missing = format!("{SOURCE_CONNECTIONS}/sc_doesnotexist");
    curl.error("GET", &missing, Some(ADMIN_KEY), None, (404, "not_found")).await;
    curl.error("POST", &format!("{path}/run"), Some(ADMIN_KEY), None, (409, "sync_in_progress")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_gets_the_documented_bodies_over_both_versions_of_http() {
    let server = Server::start().await;
    every_documented_request(Curl { server: &server, version: "--http1.1" }).await;
    every_documented_request(Curl { server: &server, version: "--http2-prior-knowledge" }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_meets_the_documented_errors_over_both_versions_of_http() {
    let server = Server::start().await;
    let busy = Busy::start(&server).await;
    every_documented_error(Curl { server: &server, version: "--http1.1" }, &busy).await;
    every_documented_error(Curl { server: &server, version: "--http2-prior-knowledge" }, &busy).await;
    busy.stop(&server).await;
}
