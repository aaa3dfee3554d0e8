//! The same over every door.

use futures::stream;
use serde_json::{Value, json};
use tonic::Code;
use tributary::proto::v1;

use super::{Bench, counted, counts, put, text, with_key, wrong};
use crate::support::server::Reply;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_can_be_searched_whatever_the_door() {
    let bench = Bench::start().await;
    // REST.
    let body = json!({"documents": [
        {"id": "rest/1", "title": "Tent", "body": "A tent for two", "url": "https://shop.example/1",
            "createdAt": "2024-01-15T10:30:00Z", "metadata": {"price": 99.5, "tags": ["a", "b"], "new": true}},
        {"id": "rest/2", "body": "Stove\nburns gas", "object": "manuals"},
    ]});
    assert_eq!(counts(&bench.batch(body.clone()).await.ok()), [2, 0, 0, 0, 0, 0]);
    assert_eq!(counts(&bench.batch(body).await.ok()), [0, 0, 2, 0, 0, 0]);
    assert_eq!(bench.search("tent").await, ["rest/1"]);
    assert_eq!(bench.search("gas").await, ["rest/2"]);
    let items = bench.server.items(&bench.collection).await;
    let tent = items.iter().find(|item| item["sourceKey"] == "rest/1").expect("it is there");
    assert_eq!(tent["object"], "documents");
    assert_eq!(tent["url"], "https://shop.example/1");
    assert_eq!(tent["createdAt"], "2024-01-15T10:30:00Z");
    assert_eq!(tent["metadata"], json!({"price": 99.5, "tags": ["a", "b"], "new": true}));
    let filtered = json!({"query": "tent", "filter": "metadata.price > 99 AND object = \"documents\""});
    let path = format!("/api/v1/collections/{}/search", bench.collection);
    let found = bench.server.post(&path, filtered).await.ok();
    assert_eq!(found["results"].as_array().map(Vec::len), Some(1), "{found}");

    // gRPC.
    let mut client = bench.grpc().await;
    let request = v1::BatchWriteDocumentsRequest {
        id: bench.connection.clone(),
        documents: vec![text("grpc/1", "Lamp", "A lamp")],
        deletes: vec![
            v1::DocumentReference { id: "rest/2".to_owned(), object: "manuals".to_owned() },
            v1::DocumentReference { id: "rest/2".to_owned(), object: String::new() },
        ],
        request_id: String::new(),
    };
    let reply = client.batch_write_documents(with_key(request)).await.expect("it is taken").into_inner();
    assert_eq!(counted(reply.counts), [1, 0, 0, 1, 1, 0]);
    assert_eq!(bench.search("lamp").await, ["grpc/1"]);
    assert!(bench.search("gas").await.is_empty());

    // gRPC-Web.
    let request = v1::BatchWriteDocumentsRequest {
        id: bench.connection.clone(),
        documents: vec![text("grpc/1", "Lamp", "Another lantern"), text("web/1", "Rope", "A rope")],
        ..v1::BatchWriteDocumentsRequest::default()
    };
    let reply: v1::BatchWriteDocumentsResponse = bench.web("BatchWriteDocuments", &request).await.expect("taken");
    assert_eq!(counted(reply.counts), [1, 1, 0, 0, 0, 0]);
    assert_eq!(bench.search("lantern").await, ["grpc/1"]);

    // One by one, with an id that has to be written with care.
    let one = bench.path("/documents/a%2Fb%20%C3%A4");
    let put = bench.server.put(&one, json!({"title": "Odd", "body": "an odd name"})).await.ok();
    assert_eq!(put["result"], "inserted");
    let item = format!("/api/v1/collections/{}/items/{}", bench.collection, put["itemId"].as_str().expect("an id"));
    assert_eq!(bench.server.get(&item).await.ok()["item"]["sourceKey"], "a/b ä");
    let again = json!({"id": "a/b ä", "title": "Odd", "body": "an odd name"});
    assert_eq!(bench.server.put(&one, again).await.ok()["result"], "unchanged");
    assert_eq!(bench.server.put(&one, json!({"title": "Odd"})).await.ok()["result"], "updated");
    bench.server.put(&one, json!({"id": "other"})).await.error(400, "invalid_argument");
    assert_eq!(bench.server.delete(&one).await.ok()["deleted"], json!(true));
    assert_eq!(bench.server.delete(&one).await.ok()["deleted"], json!(false));
    bench.server.get(&item).await.error(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_takes_any_number_over_grpc_and_in_lines() {
    let bench = Bench::start().await;
    let many = 2_500;
    let name = |number: usize| format!("d{number:05}");
    let lines: Vec<Value> = (0..many)
        .map(|number| json!({"put": {"id": name(number), "title": "Line", "body": format!("number {number}")}}))
        .collect();
    let reply = bench.lines(&lines).await.ok();
    assert_eq!(counts(&reply), [many as u64, 0, 0, 0, 0, 0]);
    assert_eq!(reply["itemsHeld"], "0");
    assert_eq!(bench.titles().await.len(), many);

    let mut client = bench.grpc().await;
    let id = bench.connection.clone();
    let messages = (0..many).map(move |number| {
        // Only the first must say which connection.
        let connection = if number == 0 { id.as_str() } else { "" };
        put(connection, text(&name(number), "Line", &format!("number {}", number.max(10))))
    });
    let reply = client.push_documents(with_key(stream::iter(messages))).await.expect("it is taken").into_inner();
    assert_eq!(counted(reply.counts), [0, 10, many as i64 - 10, 0, 0, 0]);

    // The last word on a document stands, within a stream too.
    let lines = [
        json!({"put": {"id": "x", "title": "one"}}),
        json!({"put": {"id": "x", "title": "two"}}),
        json!({"delete": {"id": "d00000"}}),
        json!({"put": {"id": "d00000", "title": "back"}}),
        json!({"delete": {"id": "x"}}),
    ];
    assert_eq!(counts(&bench.lines(&lines).await.ok()), [2, 1, 0, 2, 0, 0]);
    let titles = bench.titles().await;
    assert_eq!(titles[&("documents".to_owned(), "d00000".to_owned())], "back");
    assert_eq!(titles.len(), many);
    // No message does nothing.
    assert_eq!(counts(&bench.lines(&[]).await.ok()), [0; 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_is_named_and_does_nothing() {
    let bench = Bench::start().await;
    let long = "x".repeat(1_001);
    let body = json!({
        "documents": [
            {"id": "good", "title": "Good"},
            {"title": "no id"},
            {"id": "a", "title": long},
            {"id": "b", "metadata": {"k": "y".repeat(70_000)}},
            {"id": "ä".repeat(300)},
            {"id": "good"},
        ],
        "deletes": [{"id": ""}],
    });
    let fields = |reply: &Value| -> Vec<String> {
        let details = reply["details"].as_array().expect("details");
        let violations = details.iter().find_map(|detail| detail["fieldViolations"].as_array()).expect("violations");
        violations.iter().map(|violation| violation["field"].as_str().expect("a field").to_owned()).collect()
    };
    let refused = bench.batch(body).await.error(400, "invalid_argument");
    assert_eq!(fields(&refused), ["documents[1].id", "documents[2].title", "deletes[0].id"]);
    let body = json!({"documents": [
        {"id": "b", "metadata": {"k": "y".repeat(70_000)}}, {"id": "ä".repeat(300)}, {"id": "c"}, {"id": "c"},
    ]});
    let refused = bench.batch(body).await.error(400, "invalid_argument");
    assert_eq!(fields(&refused), ["documents[0].metadata", "documents[1].id"]);
    let refused = bench.batch(json!({"documents": [{"id": "c"}, {"id": "c"}]})).await.error(400, "invalid_argument");
    assert_eq!(fields(&refused), ["documents[1].id"]);
    let refused = bench.batch(json!({"documents": [{"id": "c", "nope": 1}]})).await.error(400, "invalid_argument");
    assert_eq!(fields(&refused), ["documents[0].nope"]);

    let mut client = bench.grpc().await;
    let request = v1::BatchWriteDocumentsRequest {
        id: bench.connection.clone(),
        documents: vec![text("good", "Good", ""), text("a", &"x".repeat(1_001), "")],
        ..v1::BatchWriteDocumentsRequest::default()
    };
    let status = client.batch_write_documents(with_key(request.clone())).await.expect_err("it is too long");
    assert_eq!(wrong(&status), ("INVALID_ARGUMENT".to_owned(), vec!["documents[1].title".to_owned()]));
    let code = bench.web::<_, v1::BatchWriteDocumentsResponse>("BatchWriteDocuments", &request).await;
    assert_eq!(code, Err(Code::InvalidArgument as i32));
    assert!(bench.titles().await.is_empty(), "nothing was done");

    // A stream ends at the message that is wrong, and says which it was.
    let lines = [json!({"put": {"id": "first", "title": "First"}}), json!({"put": {"id": "a", "title": long}})];
    let refused = bench.lines(&lines).await.error(400, "invalid_argument");
    assert_eq!(fields(&refused), ["put.title"]);
    assert_eq!(refused["details"][0]["metadata"]["message"], "2", "{refused}");
    let refused = bench.lines(&[json!({}), json!({"nope": 1})]).await.error(400, "invalid_argument");
    assert!(refused["message"].as_str().expect("a message").starts_with("line 2: "), "{refused}");
    let messages = vec![put("", text("a", "A", ""))];
    let status = client.push_documents(with_key(stream::iter(messages))).await.expect_err("no connection is named");
    assert_eq!(wrong(&status).1, ["id"]);
    let messages = vec![put(&bench.connection, text("a", "A", "")), put("sc_other", text("b", "B", ""))];
    let status = client.push_documents(with_key(stream::iter(messages))).await.expect_err("another is named");
    assert_eq!(wrong(&status).1, ["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_parsed_and_one_that_cannot_be_fails_alone() {
    use base64::Engine as _;
    let bench = Bench::start().await;
    let encoded = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let page = encoded(b"<html><head><title>Puncture</title></head><body><p>Find the hole first</p></body></html>");
    let body = json!({"documents": [
        {"id": "html", "file": {"content": page, "mediaType": "text/html; charset=utf-8"}},
        {"id": "md", "file": {"content": encoded(b"# Chains\n\nOil them weekly"), "name": "chains.md"}},
        {"id": "docx", "file": {"content": encoded(b"not a zip"), "name": "broken.docx"}, "metadata": {"k": 1}},
        {"id": "raw", "file": {"content": encoded(&[0, 1, 2, 3])}, "title": "Only a title"},
    ]});
    let reply = bench.batch(body.clone()).await.ok();
    assert_eq!(counts(&reply), [3, 0, 0, 0, 0, 1]);
    let failure = &reply["failures"][0];
    assert_eq!(
        (&failure["position"], &failure["documentId"], &failure["code"], &failure["object"]),
        (&json!("2"), &json!("docx"), &json!("unparsable"), &json!("documents")),
        "{reply}"
    );
    assert_eq!(bench.search("hole").await, ["html"]);
    assert_eq!(bench.search("weekly").await, ["md"]);
    let titles = bench.titles().await;
    let title = |id: &str| titles[&("documents".to_owned(), id.to_owned())].as_str();
    assert_eq!((title("html"), title("md"), title("raw")), ("Puncture", "Chains", "Only a title"));
    let items = bench.server.items(&bench.collection).await;
    let page = items.iter().find(|item| item["sourceKey"] == "html").expect("it is there");
    assert_eq!((&page["type"], &page["metadata"]["extracted"]), (&json!("file"), &json!(true)), "{page}");
    // The same again costs no parsing; what fails is tried again.
    assert_eq!(counts(&bench.batch(body).await.ok()), [0, 0, 3, 0, 0, 1]);
    let one = bench.path("/documents/docx");
    let broken = json!({"file": {"content": encoded(b"not a zip"), "name": "broken.docx"}});
    let refused = bench.server.put(&one, broken).await.error(400, "invalid_argument");
    assert!(refused.to_string().contains("document.file"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_pushed_to_is_not_run_and_another_is_not_pushed_to() {
    let bench = Bench::start().await;
    let refused = |reply: Reply| reply.error(400, "not_for_this_source");
    refused(bench.server.post(&bench.path("/run"), json!({})).await);
    refused(bench.server.post(&bench.path("/plan"), json!({})).await);
    for schedule in [json!({"cron": "0 3 * * *"}), json!({"continuous": true})] {
        let reply = bench.server.put(&bench.path("/schedule"), json!({"schedule": schedule})).await;
        assert!(reply.error(400, "invalid_argument").to_string().contains("pushed"));
    }
    let body = json!({"collectionId": bench.collection, "sourceShortName": "push", "name": "Scheduled",
        "credentials": {}, "schedule": {"cron": "0 3 * * *"}});
    bench.server.post("/api/v1/source-connections", body).await.error(400, "invalid_argument");

    let files = bench.server.files_connection(&bench.collection, json!({})).await;
    let batch = format!("/api/v1/source-connections/{files}/documents:batch");
    refused(bench.server.post(&batch, json!({"documents": [{"id": "a"}]})).await);
    let missing = "/api/v1/source-connections/sc_none/documents:batch";
    bench.server.post(missing, json!({})).await.error(404, "not_found");

    let status = async || bench.server.get(&bench.path("")).await.ok()["sourceConnection"]["status"].clone();
    assert_eq!(status().await, "pending");
    let body = json!({"documents": [{"id": "a"}, {"id": "b"}, {"id": "a", "object": "other"}]});
    bench.batch(body).await.ok();
    assert_eq!(status().await, "connected");
    assert_eq!(bench.server.post(&bench.path("/test"), json!({})).await.ok()["status"], "connected");
    let found = bench.server.get(&bench.path("/objects")).await.ok();
    let object = |path: &str, count: &str| {
        json!({"path": path, "kind": "folder", "hasChildren": false,
        "selected": true, "estimatedItems": count})
    };
    assert_eq!(found["objects"], json!([object("documents", "2"), object("other", "1")]));
    let page = bench.server.get(&bench.path("/objects?pageSize=1")).await.ok();
    let token = page["nextPageToken"].as_str().expect("another page").to_owned();
    let rest = bench.server.get(&bench.path(&format!("/objects?pageSize=1&pageToken={token}"))).await.ok();
    assert_eq!(rest["objects"], json!([object("other", "1")]));
    let collection = bench.server.get(&format!("/api/v1/collections/{}", bench.collection)).await.ok();
    assert_eq!(collection["collection"]["itemCount"], "3");
    let events = bench.server.get(&format!("/api/v1/audit-events?sourceConnectionId={}", bench.connection)).await.ok();
    assert!(events.to_string().contains("DocumentService/BatchWriteDocuments"), "{events}");
}
