//! Servers that send without end, next to nothing, or what no server sends.

use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// Reads a request, answers with these bytes and closes.
pub(super) async fn answer_once(mut stream: TcpStream, answer: &[u8]) {
    read_head(&mut stream).await;
    // The client may have heard enough.
    let _ = stream.write_all(answer).await;
}

async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {}
}

/// Sends the start, then the rest again and again, with a pause.
async fn endless(start: &'static [u8], rest: &'static [u8], pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                read_head(&mut stream).await;
                let mut written = stream.write_all(start).await;
                while written.is_ok() {
                    written = stream.write_all(rest).await;
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                }
            });
        }
    });
    url
}

fn impatient() -> Client {
    let timeouts =
        Timeouts { first_byte: Duration::from_millis(300), idle: Duration::from_millis(300), ..Timeouts::default() };
    client_with(Settings::default(), timeouts)
}

async fn ask(client: &Client, url: &str) -> Result<Bytes, HttpError> {
    client.send(get(url)).await?.bytes(1 << 20).await
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

#[tokio::test]
async fn heads_and_bodies_without_end_are_cut() {
    let headers = endless(OK, b"x-a: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n", Duration::ZERO).await;
    assert!(matches!(ask(&client(), &headers).await, Err(HttpError::Broken(_))));
    let header = endless(b"HTTP/1.1 200 OK\r\nx: ", b"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", Duration::ZERO).await;
    assert!(matches!(ask(&client(), &header).await, Err(HttpError::Broken(_))));
    let status = endless(b"HTTP/1.1 200 ", b"OKOKOKOKOKOKOKOKOKOK", Duration::ZERO).await;
    assert!(matches!(ask(&client(), &status).await, Err(HttpError::Broken(_))));
    let body = endless(b"HTTP/1.1 200 OK\r\n\r\n", &[b' '; 4096], Duration::ZERO).await;
    assert!(matches!(ask(&client(), &body).await, Err(HttpError::TooLarge)));
    let chunks = endless(CHUNKED, b"5\r\nhello\r\n", Duration::ZERO).await;
    assert!(matches!(ask(&client(), &chunks).await, Err(HttpError::TooLarge)));
    let extension =
        endless(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;", b"aaaaaaaaa", Duration::ZERO).await;
    assert!(matches!(ask(&client(), &extension).await, Err(HttpError::Broken(_))));
    let trailers =
        endless(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n", Duration::ZERO).await;
    assert!(matches!(ask(&client(), &trailers).await, Err(HttpError::Broken(_))));
}

#[tokio::test]
async fn more_headers_than_any_server_sends_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(200));
    tokio::spawn(async move { answer_once(listener.accept().await.unwrap().0, head.as_bytes()).await });
    assert!(matches!(ask(&client(), &url).await, Err(HttpError::Broken(_))));
}

#[tokio::test]
async fn a_body_announced_as_larger_is_not_begun() {
    let huge = endless(b"HTTP/1.1 200 OK\r\ncontent-length: 2147483648\r\n\r\n", b"", Duration::from_secs(1)).await;
    let began = Instant::now();
    assert!(matches!(ask(&client(), &huge).await, Err(HttpError::TooLarge)));
    assert!(began.elapsed() < Duration::from_millis(900));
}

#[tokio::test]
async fn a_bomb_gives_no_more_than_was_asked_for() {
    let zeros = vec![0; 64 << 20];
    let bomb = gzip(&zeros);
    drop(zeros);
    assert!(bomb.len() < 100_000);
    let server = Served::by(move |_| encoded("gzip", bomb.clone())).await;
    assert!(matches!(ask(&client(), &server.url("/")).await, Err(HttpError::TooLarge)));
    let mut response = client().send(get(&server.url("/"))).await.unwrap();
    let mut largest = 0;
    while let Some(piece) = response.chunk(64 << 20).await.unwrap() {
        largest = largest.max(piece.len());
    }
    assert!(largest <= 128 << 10, "{largest}");
}

#[tokio::test]
async fn who_is_slow_without_end_is_left() {
    let silent = endless(b"", b"", Duration::from_millis(50)).await;
    assert!(matches!(ask(&impatient(), &silent).await, Err(HttpError::TimedOut)));
    let slow_head = endless(OK, b"a", Duration::from_millis(20)).await;
    assert!(matches!(ask(&impatient(), &slow_head).await, Err(HttpError::TimedOut)));
    let interim = endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", Duration::from_millis(5)).await;
    assert!(matches!(ask(&impatient(), &interim).await, Err(HttpError::TimedOut)));
    let stuck = endless(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na", b"", Duration::from_millis(50)).await;
    assert!(matches!(ask(&impatient(), &stuck).await, Err(HttpError::TimedOut)));
    let drip = endless(b"HTTP/1.1 200 OK\r\ncontent-length: 90000\r\n\r\n", b"a", Duration::from_millis(20)).await;
    assert!(matches!(ask(&impatient(), &drip).await, Err(HttpError::TimedOut)));
}

#[tokio::test]
async fn what_is_no_http_or_breaks_off_is_an_error_that_says_nothing_of_it() {
    for answer in [
        "s3cret\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\ns3cret",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\ns3cret",
        "HTTP/1.1 200 OK\r\ncontent-length: s3cret\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\ns3cret\r\n",
        "HTTP/1.1 200 OK\r\ns3cret\r\n\r\n",
        "",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let answering = tokio::spawn(async move {
            answer_once(listener.accept().await.unwrap().0, answer.as_bytes()).await;
        });
        let error = ask(&client(), &url).await.expect_err(answer);
        assert!(matches!(error, HttpError::Broken(_)), "{answer}: {error:?}");
        assert!(!format!("{error:?} {error}").contains("s3cret"), "{error:?}");
        answering.await.unwrap();
    }
}
