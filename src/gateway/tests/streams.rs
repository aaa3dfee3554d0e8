//! Event streams and JSON lines.

use http_body_util::BodyExt as _;

use crate::gateway::tests::service::{KEY, door, request};

const FIRST: &str = "id: 1\nevent: started\ndata: {\"sequence\":\"1\",\"started\":{}}\n\n";
const SECOND: &str = "id: 2\nevent: bigStep\ndata: {\"sequence\":\"2\",\"bigStep\":{\"done\":7}}\n\n";

#[tokio::test]
async fn a_stream_is_sent_as_events() {
    for accept in ["text/event-stream", "*/*", "text/*", "application/x-ndjson;q=0.5, text/event-stream"] {
        let answer =
            door().call(&format!("GET /api/v1/things/a/events\naccept: {accept}\naccept-encoding: gzip"), "").await;
        assert_eq!(answer.text(), format!("retry: 3000\n\n{FIRST}{SECOND}"), "{accept}");
        assert_eq!(answer.header("content-type"), "text/event-stream");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-accel-buffering"), "no");
        assert_eq!(answer.header("content-encoding"), "");
    }
    assert_eq!(door().call("GET /api/v1/things/a/events\naccept: application/json", "").await.status, 406);
}

#[tokio::test]
async fn a_stream_is_sent_as_lines() {
    let answer = door().call("GET /api/v1/things/a/events\naccept: application/x-ndjson", "").await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let lines: Vec<serde_json::Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[1]["bigStep"]["done"], 7);
    assert_eq!(lines.len(), 2);
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_event() {
    let resume = |id: &str| format!("GET /api/v1/things/a/events?afterSequence=0\nlast-event-id: {id}");
    let answer = door().call(&resume("1"), "").await;
    assert_eq!(answer.text(), format!("retry: 3000\n\n{SECOND}"));
    let answer = door().call(&resume("2"), "").await;
    assert_eq!((answer.status.as_u16(), answer.bytes.len()), (204, 0));
    let answer = door().call(&resume("x"), "").await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (400, Some("invalid_argument")));
}

#[tokio::test]
async fn an_error_before_the_first_event_is_a_plain_answer() {
    let answer = door().call("GET /api/v1/things/missing/events", "").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (404, "application/json"));
    let answer = door().call("GET /api/v1/things/broken/events?afterSequence=2", "").await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (503, Some("unavailable")));
}

#[tokio::test]
async fn an_error_after_events_is_an_event_and_the_end() {
    let answer = door().call("GET /api/v1/things/broken/events\nx-request-id: r1", "").await;
    let rest = answer.text().strip_prefix(&format!("retry: 3000\n\n{FIRST}{SECOND}event: error\ndata: ")).unwrap();
    let error: serde_json::Value = serde_json::from_str(rest.strip_suffix("\n\n").unwrap()).unwrap();
    assert_eq!((error["success"].as_bool(), error["error"].as_str()), (Some(false), Some("unavailable")));
    assert_eq!(error["requestId"], "r1");
    let lines = door().call("GET /api/v1/things/broken/events\naccept: application/x-ndjson", "").await;
    let last: serde_json::Value = serde_json::from_str(lines.text().lines().last().unwrap()).unwrap();
    assert_eq!(last["error"], "unavailable");
}

#[tokio::test]
async fn a_quiet_stream_says_that_it_is_alive() {
    let door = door();
    let text = format!("GET /api/v1/things/endless/events?afterSequence=2\nauthorization: {KEY}");
    let mut body = door.gateway.handle(request(&text, "")).await.into_body();
    let mut frames = Vec::new();
    for _ in 0..3 {
        frames.push(body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    assert_eq!(frames, ["retry: 3000\n\n", ": keep-alive\n\n", ": keep-alive\n\n"]);
}

#[tokio::test]
async fn a_deadline_ends_a_stream_with_an_error() {
    let answer = door().call("GET /api/v1/things/endless/events\nx-request-timeout: 0.3", "").await;
    assert!(
        answer
            .text()
            .contains(": keep-alive\n\nevent: error\ndata: {\"success\":false,\"error\":\"deadline_exceeded\"")
    );
}

#[tokio::test]
async fn dropping_the_answer_drops_the_stream_behind_it() {
    let mut door = door();
    let text = format!("GET /api/v1/things/endless/events\nauthorization: {KEY}");
    let mut body = door.gateway.handle(request(&text, "")).await.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    assert!(door.dropped.try_recv().is_err());
    drop(body);
    assert_eq!(door.dropped.recv().await, Some(()));
}
