//! Whole requests and answers.

use std::io::{Read as _, Write as _};

use axum::body::Body;
use serde_json::json;

use crate::gateway::tests::service::{KEY, door, request, settings};
use crate::gateway::{Gateway, Matched};

const JSON: &str = "content-type: application/json";

/// What the service was asked, in text format.
async fn asked(text: &str, body: &str) -> String {
    let answer = door().call(text, body.to_owned()).await;
    assert_eq!(answer.status, 200, "{text} {}", answer.text());
    answer.json()["request"].as_str().unwrap().to_owned()
}

/// Status and `error`, and the message.
async fn refused(text: &str, body: &str) -> (u16, String, String) {
    let answer = door().call(text, body.to_owned()).await;
    let json = answer.json();
    assert_eq!(json["success"], false, "{json}");
    assert_eq!(json["requestId"], answer.header("x-request-id"), "{json}");
    assert!(json["details"].to_string().contains("google.rpc.ErrorInfo"), "{json}");
    let word = |name: &str| json[name].as_str().unwrap().to_owned();
    (answer.status.as_u16(), word("error"), word("message"))
}

#[tokio::test]
async fn a_reply_has_success_first_and_its_etag() {
    let answer = door().call("GET /api/v1/things/a", "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.text(),
        "{\"success\":true,\"thing\":{\"id\":\"a\",\"name\":\"\",\"note\":\"n\",\"etag\":\"\\\"v1\\\"\",\
         \"state\":\"busy\",\"size\":\"9007199254740993\"}}"
    );
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("etag"), "\"v1\"");
    assert!(answer.header("x-request-id").starts_with("req_0"));
}

#[tokio::test]
async fn a_known_etag_is_answered_with_304() {
    for (given, status) in [("\"v1\"", 304), ("W/\"v1\"", 304), ("\"v0\", \"v1\"", 304), ("*", 304), ("\"v2\"", 200)] {
        let answer = door().call(&format!("GET /api/v1/things/a\nif-none-match: {given}"), "").await;
        assert_eq!(answer.status, status, "{given}");
        assert_eq!(answer.header("etag"), "\"v1\"");
        assert_eq!(answer.bytes.is_empty(), status == 304);
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let get = door().call("GET /api/v1/things/a", "").await;
    let head = door().call("HEAD /api/v1/things/a", "").await;
    assert_eq!((head.status, head.bytes.len()), (get.status, 0));
    assert_eq!(head.header("content-length"), get.bytes.len().to_string());
    let missing = door().call("HEAD /api/v1/things/missing", "").await;
    assert_eq!((missing.status.as_u16(), missing.bytes.len()), (404, 0));
}

#[tokio::test]
async fn paths_have_an_alias_a_trailing_slash_and_no_oddities() {
    for (path, status) in [
        ("/v1/things/a", 200),
        ("/api/v1/things/a/", 200),
        ("/v1x/things/a", 404),
        ("/v1", 404),
        ("/", 404),
        ("/api/v1//things/a", 404),
        ("/api/v1/./things", 404),
        ("/api/v1/things/%2e%2e/x", 404),
        ("/api/v1/things/a//", 404),
        ("/api/v1/things/%zz", 400),
        ("/api/v1/things/%ff", 400),
        ("/api/v1/things/%00", 400),
        ("/door.v1.Things/Hidden", 404),
    ] {
        assert_eq!(door().call(&format!("GET {path}"), "").await.status, status, "{path}");
    }
    assert_eq!(door().call("GET /api/v1/things/b%2Fc", "").await.json()["thing"]["id"], "b/c");
}

#[tokio::test]
async fn other_methods_of_a_path_are_listed() {
    let answer = door().call("POST /api/v1/things/a", "").await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), "DELETE, GET, HEAD, OPTIONS, PATCH");
    assert_eq!(answer.json()["error"], "method_not_allowed");
    let answer = door().call("OPTIONS /api/v1/things", "").await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (204, "GET, HEAD, OPTIONS, POST"));
    assert_eq!(door().call("OPTIONS /nowhere", "").await.status, 404);
}

#[tokio::test]
async fn checks_have_their_order() {
    let door = door();
    let long = format!("GET /{}", "x".repeat(600));
    let answer = door.call_as(&long, "").await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (414, Some("uri_too_long")));
    let answer = door.call_as("POST /api/v1/things\ncontent-length: 5000", "").await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (413, Some("payload_too_large")));
    for path in ["GET /nowhere", "PUT /api/v1/things", "GET /api/v1/things?typo=1"] {
        let answer = door.call_as(path, "").await;
        assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (401, Some("unauthorized")), "{path}");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"api\"");
    }
    let answer = door.call("PUT /api/v1/things\ncontent-type: text/plain", "x").await;
    assert_eq!(answer.status, 405);
    let answer = door.call("POST /api/v1/things\ncontent-type: text/plain", "{").await;
    assert_eq!(answer.status, 415);
    assert_eq!(answer.header("accept"), "application/json");
}

#[tokio::test]
async fn bodies_are_bound_by_the_rules() {
    for (text, body, request) in [
        ("POST /api/v1/things", "", ""),
        ("POST /api/v1/things\ncontent-type: application/json; charset=UTF-8", "{\"name\":\"n\"}", "name:\"n\""),
        ("POST /api/v1/things/a:remove", "", "id:\"a\""),
        (
            "POST /api/v1/things/a:remove\ncontent-type: application/json",
            "{\"id\":\"a\",\"delete_data\":true}",
            "id:\"a\",delete_data:true",
        ),
        ("DELETE /api/v1/things/a?deleteData=true", "", "id:\"a\",delete_data:true"),
        ("DELETE /api/v1/things/a?id=a", " {} ", "id:\"a\""),
        (
            "PUT /api/v1/things/a/schedule\ncontent-type: application/json",
            "{\"continuous\":true}",
            "id:\"a\",schedule{continuous:true}",
        ),
        (
            "GET /api/v1/things?pageSize=3&state=busy&labels=a&labels=b+c",
            "",
            "page_size:3,state:STATE_BUSY,labels:[\"a\",\"b c\"]",
        ),
    ] {
        assert_eq!(asked(text, body).await, request, "{text} {body}");
    }
}

#[tokio::test]
async fn a_bare_object_stands_for_its_field() {
    let put = format!("PUT /api/v1/things/a/data\n{JSON}");
    for body in ["{\"data\":{\"user\":\"u\"}}", "{\"user\":\"u\"}"] {
        assert!(asked(&put, body).await.contains("key:\"user\""), "{body}");
    }
    // With one known key the others are typing errors.
    assert_eq!(refused(&put, "{\"data\":{},\"user\":\"u\"}").await.2, "`user` is not a known field");
    assert_eq!(asked(&put, "{}").await, "id:\"a\",data{}");
    // No body at all must not empty anything.
    assert_eq!(asked(&put, "").await, "id:\"a\"");
}

#[tokio::test]
async fn bad_requests_name_what_is_wrong() {
    for (text, body, message) in [
        ("GET /api/v1/things?typo=1", "", "`typo` is not a known query parameter"),
        ("GET /api/v1/things?pageSize=1&page_size=1", "", "`page_size` is given more than once"),
        ("DELETE /api/v1/things/a?deletedata=true", "", "`deletedata` is not a known query parameter"),
        ("DELETE /api/v1/things/a?deleteData=yes", "", "`deleteData` must be true or false"),
        ("DELETE /api/v1/things/a?id=b", "", "`id` differs from the path"),
        ("DELETE /api/v1/things/a", "{\"deleteData\":true}", "the body is not taken: the request must have no body"),
        ("DELETE /api/v1/things/a", "deleteData", "the request must have no body"),
        ("POST /api/v1/things?name=x", "", "`name` is not taken from the query: everything is in the body"),
        ("POST /api/v1/things/a:remove", "{\"id\":\"b\"}", "`id` differs from the path"),
        ("POST /api/v1/things/a:remove", "{\"id\":\"\"}", "`id` differs from the path"),
        ("POST /api/v1/things", "{\"nmae\":1}", "`nmae` is not a known field"),
        ("POST /api/v1/things", "{\"thingCopy\":{\"nmae\":1}}", "`thingCopy.nmae` is not a known field"),
        (
            "POST /api/v1/things",
            "{\"name\":\"a\",}",
            "malformed JSON at line 1 column 13: a key in double quotes is due",
        ),
        ("POST /api/v1/things", "null", "the body is not taken: must be an object, not null"),
        ("PUT /api/v1/things/a/schedule", "null", "the body is not taken: the body must not be null"),
        ("PUT /api/v1/things/a/schedule", "", "the body is not taken: the request must have a body"),
        ("PUT /api/v1/things/a/schedule?schedule.cron=x", "{}", "`schedule.cron` belongs in the body"),
        (
            "PUT /api/v1/things/a/schedule",
            "{\"cron\":\"x\",\"continuous\":true}",
            "`continuous` cannot be set together with `cron`",
        ),
        ("PATCH /api/v1/things/a", "{\"id\":\"b\"}", "`thing.id` differs from the path"),
    ] {
        let expected = (400, "invalid_argument".to_owned(), message.to_owned());
        assert_eq!(refused(&format!("{text}\n{JSON}"), body).await, expected, "{text} {body}");
    }
}

#[tokio::test]
async fn a_patch_changes_what_its_body_names() {
    for (text, body, request) in [
        (
            "",
            "{\"id\":\"a\",\"name\":\"n\",\"note\":null}",
            "thing{id:\"a\",name:\"n\"},update_mask{paths:[\"name\",\"note\"]}",
        ),
        ("?updateMask=name", "{\"name\":\"n\"}", "thing{id:\"a\",name:\"n\"},update_mask{paths:[\"name\"]}"),
        ("\nif-match: \"v1\"", "{}", "thing{id:\"a\",etag:\"\\\"v1\\\"\"},update_mask{}"),
        (
            "\nif-match: *",
            "{\"schedule\":{\"cron\":\"x\"}}",
            "thing{id:\"a\",schedule{cron:\"x\"}},update_mask{paths:[\"schedule\"]}",
        ),
    ] {
        let (query, header) = text.split_once('\n').unwrap_or((text, "accept: */*"));
        let text = format!("PATCH /api/v1/things/a{query}\n{JSON}\n{header}");
        assert_eq!(asked(&text, body).await, request, "{text} {body}");
    }
    let text = format!("PATCH /api/v1/things/a\n{JSON}\nif-match: \"v1\"");
    assert_eq!(refused(&text, "{\"etag\":\"v2\"}").await.0, 400);
}

#[tokio::test]
async fn an_idempotency_key_may_be_quoted() {
    for (key, request) in [
        ("k-1", Some("k-1")),
        ("\"k 1\"", Some("k 1")),
        ("\"a\\\"b\"", Some("a\\\"b")),
        ("\"", None),
        ("a b", None),
        ("\"\"", None),
    ] {
        let text = format!("POST /api/v1/things\nidempotency-key: {key}");
        match request {
            Some(request) => assert_eq!(asked(&text, "").await, format!("request_id:\"{request}\"")),
            None => assert_eq!(refused(&text, "").await.0, 400, "{key}"),
        }
    }
    let both = format!("POST /api/v1/things\n{JSON}\nidempotency-key: k");
    assert_eq!(asked(&both, "{\"requestId\":\"k\"}").await, "request_id:\"k\"");
    assert_eq!(refused(&both, "{\"requestId\":\"other\"}").await.0, 400);
}

#[tokio::test]
async fn only_the_listed_headers_reach_the_service() {
    let text = "POST /api/v1/things\nx-request-id: abc-1\nx-api-key: k\ntraceparent: t\ntracestate: s\ncookie: c\n\
                x-request-timeout: 2.5\nx-forwarded-for: f\ngrpc-timeout: 1n";
    let answer = door().call(text, "").await;
    assert_eq!(answer.header("x-request-id"), "abc-1");
    let expected = json!({"authorization": KEY, "grpc-timeout": "2500m", "traceparent": "t", "tracestate": "s",
        "x-api-key": "k", "x-request-id": "abc-1"});
    assert_eq!(answer.json()["headers"], expected);
}

#[tokio::test]
async fn a_bad_request_id_is_replaced() {
    for id in ["a b", "é", &"x".repeat(129)] {
        let answer = door().call(&format!("GET /nowhere\nx-request-id: {id}"), "").await;
        assert!(answer.header("x-request-id").starts_with("req_"), "{id}");
    }
}

#[tokio::test]
async fn errors_of_the_service_have_the_documented_body() {
    let answer = door().call("GET /api/v1/things/busy\nx-request-id: r1", "").await;
    assert_eq!(answer.status, 409);
    assert_eq!(
        answer.text(),
        "{\"success\":false,\"error\":\"sync_in_progress\",\"message\":\"it is busy\",\"requestId\":\"r1\",\
         \"details\":[{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"SYNC_IN_PROGRESS\",\
         \"domain\":\"door\",\"metadata\":{\"syncId\":\"sync_1\"}}]}"
    );
    assert_eq!(refused("GET /api/v1/things/missing", "").await.0, 404);
    let stale = refused("GET /api/v1/things/stale", "").await;
    assert_eq!((stale.0, stale.1.as_str()), (412, "stale"));
    let later = door().call("GET /api/v1/things/later", "").await;
    assert_eq!((later.status.as_u16(), later.header("retry-after")), (503, "2"));
}

#[tokio::test]
async fn field_paths_are_in_json_spelling_and_the_callers_own_keys_are_not_touched() {
    for (text, first, second) in [
        ("PUT /api/v1/things/wrong/data", "delete_data", "data.user_name"),
        ("DELETE /api/v1/things/wrong", "deleteData", "data.user_name"),
    ] {
        let answer = door().call(text, "").await.json();
        let violations = answer["details"][1]["fieldViolations"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let fields: Vec<&str> = violations.iter().map(|violation| violation["field"].as_str().unwrap()).collect();
        assert_eq!(fields, [first, second, "credentials.user_name"], "{text}");
    }
}

#[tokio::test]
async fn what_is_nested_too_deeply_for_protobuf_is_the_callers_fault() {
    let nested = |levels: usize| format!("{{\"data\":{}1{}}}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let text = format!("POST /api/v1/things\n{JSON}");
    assert_eq!(door().call(&text, nested(30)).await.status, 200);
    for levels in [40, 98, 200, 600] {
        assert_eq!(door().call(&text, nested(levels)).await.status, 400, "{levels}");
    }
}

#[tokio::test]
async fn long_names_are_not_repeated_in_full() {
    let answer = door().call(&format!("POST /api/v1/things\n{JSON}"), format!("{{\"{}\":1}}", "k".repeat(3000))).await;
    assert_eq!(answer.status, 400);
    assert!(answer.bytes.len() < 800);
}

#[tokio::test]
async fn rfc_9457_is_there_for_those_who_name_it() {
    let answer = door().call("GET /api/v1/things/busy\naccept: application/problem+json\nx-request-id: r1", "").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (409, "application/problem+json"));
    let json = answer.json();
    assert_eq!(
        (&json["type"], &json["title"], &json["status"]),
        (&json!("about:blank"), &json!("Conflict"), &json!(409))
    );
    assert_eq!((&json["detail"], &json["error"]), (&json!("it is busy"), &json!("sync_in_progress")));
}

#[tokio::test]
async fn media_types_are_negotiated() {
    for (accept, status) in [
        ("*/*", 200),
        ("application/*;q=0.5", 200),
        ("text/html, application/json;q=0.1", 200),
        ("application/problem+json", 200),
        ("text/html", 406),
        ("application/json;q=0", 406),
        ("application/json;q=0, */*", 406),
        ("text/event-stream", 406),
    ] {
        assert_eq!(
            door().call(&format!("GET /api/v1/things/a\naccept: {accept}"), "").await.status,
            status,
            "{accept}"
        );
    }
    for (kind, status) in [
        ("application/json", 200),
        ("Application/JSON;charset=\"utf-8\"", 200),
        ("application/json; charset=latin1", 415),
        ("text/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/json-patch", 415),
    ] {
        let text = format!("POST /api/v1/things\ncontent-type: {kind}");
        assert_eq!(door().call(&text, "{}").await.status, status, "{kind}");
    }
    assert_eq!(door().call("POST /api/v1/things", "{}").await.status, 415);
    // What a client library says of a body that is not there does not matter.
    assert_eq!(door().call("POST /api/v1/things\ncontent-type: text/plain", "").await.status, 200);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn packed_bodies_are_unpacked_within_the_limit() {
    let door = door();
    let text = format!("POST /api/v1/things\n{JSON}\ncontent-encoding: gzip");
    let good = door.call(&text, gzip(b"{\"name\":\"n\"}")).await;
    assert_eq!(good.json()["request"], "name:\"n\"");
    let bomb = gzip(format!("{{\"name\":\"{}\"}}", "x".repeat(100_000)).as_bytes());
    assert!(bomb.len() < 4096);
    assert_eq!(door.call(&text, bomb).await.status, 413);
    assert_eq!(door.call(&text, "not gzip").await.status, 400);
    for encoding in ["br", "gzip, gzip", "zstd"] {
        let text = format!("POST /api/v1/things\n{JSON}\ncontent-encoding: {encoding}");
        assert_eq!(door.call(&text, "{}").await.status, 415, "{encoding}");
    }
    let chunks = futures::stream::iter((0..10).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1000])));
    let answer = door.call(&format!("POST /api/v1/things\n{JSON}"), Body::from_stream(chunks)).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn large_answers_are_packed_for_those_who_take_it() {
    let plain = door().call("GET /api/v1/things/large", "").await;
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), ("", "accept-encoding"));
    let packed = door().call("GET /api/v1/things/large\naccept-encoding: br, gzip;q=0.5", "").await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(packed.bytes.as_ref()).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.bytes);
    let small = door().call("GET /api/v1/things/a\naccept-encoding: gzip", "").await;
    assert_eq!(small.header("content-encoding"), "");
}

#[tokio::test]
async fn a_deadline_ends_the_call() {
    let answer = door().call("GET /api/v1/things/slow\nx-request-timeout: 0.1", "").await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (504, Some("deadline_exceeded")));
    for bad in ["0", "-1", "x", "NaN", "1e400"] {
        let answer = door().call(&format!("GET /api/v1/things/a\nx-request-timeout: {bad}"), "").await;
        assert_eq!(answer.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_method_that_nobody_serves_is_not_supported() {
    let routers: [Gateway; 2] = [
        Gateway::new(settings(), crate::proto::DESCRIPTORS, axum::Router::new()).unwrap(),
        Gateway::new(settings(), crate::proto::DESCRIPTORS, tonic::service::Routes::from(axum::Router::new())).unwrap(),
    ];
    for gateway in routers {
        let request = request(&format!("GET /api/v1/sources\nauthorization: {KEY}"), "");
        let mut service = gateway.clone();
        let response = tower::Service::call(&mut service, request).await.unwrap();
        assert_eq!(response.status(), 501);
        assert_eq!(response.extensions().get::<Matched>().unwrap().template, "/api/v1/sources");
    }
}
