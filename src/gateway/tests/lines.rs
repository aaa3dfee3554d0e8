//! Requests that go on: lines of JSON, each a message.

use axum::body::Body;
use bytes::Bytes;
use futures::stream;

use crate::gateway::tests::service::{Answer, door};

const GATHER: &str = "POST /api/v1/things/a/parts:gather\ncontent-type: application/x-ndjson";

/// A body that comes in these pieces.
fn pieces(pieces: &[&str]) -> Body {
    let pieces: Vec<_> = pieces.iter().map(|piece| Ok::<_, std::io::Error>(Bytes::from((*piece).to_owned()))).collect();
    Body::from_stream(stream::iter(pieces))
}

async fn gather(body: Body) -> Answer {
    door().call(GATHER, body).await
}

#[tokio::test]
async fn each_line_is_a_message_with_what_the_path_has() {
    let expected = "id:\"a\",part:\"1\"|id:\"a\",part:\"2\"|id:\"a\"";
    for whole in
        ["{\"part\":\"1\"}\n{\"part\":\"2\"}\n{}\n", "\n{\"part\":\"1\"}\r\n \n{\"part\":\"2\"}\n{\"id\":\"a\"}"]
    {
        let all: Vec<String> = whole.chars().map(String::from).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        for body in [pieces(&[whole]), pieces(&all)] {
            let answer = gather(body).await;
            assert_eq!(answer.json()["request"], expected, "{whole}");
            assert_eq!(answer.json()["success"], true);
        }
    }
}

#[tokio::test]
async fn no_line_is_one_empty_message() {
    assert_eq!(gather(Body::empty()).await.json()["request"], "id:\"a\"");
    let answer = door().call("POST /api/v1/things/a/parts:gather", "").await;
    assert_eq!(answer.json()["request"], "id:\"a\"");
}

#[tokio::test]
async fn a_wrong_line_is_named_and_ends_the_call() {
    for (second, word) in [("{", "line 2"), ("{\"nope\":1}", "nope"), ("{\"id\":\"b\"}", "differs from the path")] {
        let answer = gather(pieces(&["{}\n", second])).await;
        assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (400, Some("invalid_argument")));
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("line 2: ") && message.contains(word), "{message}");
    }
}

#[tokio::test]
async fn a_line_is_bounded_and_their_number_is_not() {
    let long = format!("{{\"part\":\"{}\"}}", "x".repeat(5_000));
    for body in [pieces(&[&long]), pieces(&[&long, "\n"]), pieces(&[&long[..3_000], &long[3_000..], "\n"])] {
        assert_eq!(gather(body).await.status, 413);
    }
    let many = "{\"part\":\"1\"}\n".repeat(400);
    let declared = format!("{GATHER}\ncontent-length: {}", many.len());
    let answer = door().call(&declared, many).await;
    assert_eq!((answer.status.as_u16(), answer.json()["request"].as_str().unwrap().matches('|').count()), (200, 399));
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_an_error() {
    let broken = Body::from_stream(stream::iter([Ok(Bytes::from_static(b"{}\n")), Err(std::io::Error::other("gone"))]));
    let answer = gather(broken).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"].as_str()), (400, Some("invalid_argument")));
}

#[tokio::test]
async fn lines_are_declared_and_not_packed() {
    let json = "POST /api/v1/things/a/parts:gather\ncontent-type: application/json";
    assert_eq!(door().call(json, "{}").await.status, 415);
    let packed = format!("{GATHER}\ncontent-encoding: gzip");
    assert_eq!(door().call(&packed, "{}").await.status, 415);
}
