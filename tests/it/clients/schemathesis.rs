//! Schemathesis reads the OpenAPI document that is served and tries what fits it
//! and what does not: nothing may make the server fail, or answer what the
//! document does not say.

use serde_json::{Value, json};

use crate::support::server::{ADMIN_KEY, Server};
use crate::support::tools;

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,negative_data_rejection,unsupported_method,\
    allow_header_conformance,ignored_auth";

/// Cases that have to be tried at least, for as many examples as are asked for
/// when nothing else is said.
const CASES: u64 = 5_000;
const EXAMPLES: u64 = 90;

/// Cases for each operation. `TRIBUTARY_SCHEMATHESIS_EXAMPLES` asks for another
/// number; the other store gets a short run, since the doors are the same.
fn examples() -> u64 {
    match std::env::var("TRIBUTARY_SCHEMATHESIS_EXAMPLES") {
        Ok(number) => number.parse().expect("TRIBUTARY_SCHEMATHESIS_EXAMPLES is a number"),
        Err(_) if std::env::var("TRIBUTARY_TEST_STORE").as_deref() == Ok("postgresql") => 10,
        Err(_) => EXAMPLES,
    }
}

/// The cases that so many examples must come to.
fn least_cases(examples: u64) -> u64 {
    if examples >= EXAMPLES { CASES } else { CASES * examples / EXAMPLES }
}

/// Something of each kind, so that not everything is missing.
async fn seed(server: &Server) {
    let collection = server.collection("Documents").await;
    std::fs::write(server.files().join("note.md"), "# A note\n\nThe ferry leaves at noon.\n").expect("a file");
    let connection = server.files_connection(&collection, json!({})).await;
    assert_eq!(server.sync(&connection).await["status"], "succeeded");
}

/// Who calls. `TRIBUTARY_SCHEMATHESIS_ROLES` names others, separated by commas; the
/// administrator alone may do everything, and so comes furthest.
fn roles() -> Vec<String> {
    let named = std::env::var("TRIBUTARY_SCHEMATHESIS_ROLES").unwrap_or_else(|_| "admin".to_owned());
    named.split(',').map(|role| role.trim().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_schemathesis_sends_breaks_the_server_or_the_document() {
    let examples = examples();
    for role in roles() {
        // A server for each: the administrator deletes what there is.
        let server = Server::start().await;
        seed(&server).await;
        let key = match role.as_str() {
            "admin" => ADMIN_KEY.to_owned(),
            role => {
                let made = server.post("/api/v1/api-keys", json!({"name": role, "role": role})).await.ok();
                made["secret"].as_str().expect("a secret").to_owned()
            }
        };
        let cases = try_as(&server, &key, examples).await;
        println!("schemathesis: {cases} cases as {role}, none failed");
        // Whoever may do less is refused sooner, and comes to fewer cases.
        let least = if role == "admin" { least_cases(examples) } else { least_cases(examples) / 5 * 4 };
        assert!(cases >= least, "only {cases} cases as {role}");
    }
}

/// Runs it with a key; how many cases were tried.
async fn try_as(server: &Server, key: &str, examples: u64) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let report = folder.path().join("report.json");
    // The first event of a stream says what there is to check; the stream of a sync
    // that waits for its source would go on for hours.
    std::fs::write(folder.path().join("schemathesis.toml"), "max-stream-events = 1\n").expect("a configuration");
    // One worker: CPython 3.11 now and then fails to parse in two threads at once,
    // and one is the same run every time.
    let mut command = tools::python("schemathesis");
    command.current_dir(folder.path()).args(["run", &format!("{}/openapi.json", server.base)]);
    command.args(["--header", &format!("Authorization: Bearer {key}")]);
    command.args(["--phases", "examples,coverage,fuzzing", "--checks", CHECKS]);
    command.args(["--max-examples", &examples.to_string(), "--workers", "1", "--seed", "20240115"]);
    command.args(["--generation-deterministic", "--no-color"]);
    command.args(["--suppress-health-check", "all", "--request-timeout", "30", "--continue-on-failure"]);
    // It cannot write lines of JSON; `push` tests that operation.
    command.args(["--exclude-operation-id", "DocumentService_PushDocuments"]);
    command.args(["--report", "json", "--report-json-path"]).arg(&report);
    let printed = tools::run(command, 1_800).await;
    assert_eq!(printed.code, 0, "{}\n{}", printed.out, printed.err);
    let report: Value = serde_json::from_slice(&std::fs::read(&report).expect("a report")).expect("JSON");
    report["test_cases"]["generated"].as_u64().unwrap_or_default()
}
