//! What a provider may answer that is no good.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::egress::{DialError, Policy, Timeouts};

#[test]
fn only_https_leaves_this_machine() {
    let found = place("https://id.example/realms/a?x=1").expect("a place");
    assert_eq!((found.host(), found.port(), found.path_and_query()), ("id.example", 443, "/realms/a?x=1"));
    let found = place("http://[::1]:8080").expect("a place");
    assert_eq!((found.host(), found.port(), found.is_encrypted()), ("[::1]", 8080, false));
    for odd in ["http://id.example", "ftp://id.example", "https://a:b@id.example", "id.example", "", "https://"] {
        assert!(place(odd).is_none(), "{odd}");
    }
}

/// Answers each path with what is given for it.
async fn provider(answers: impl Fn(&str, SocketAddr) -> String + Send + 'static) -> Fetcher {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {}
            let text = String::from_utf8_lossy(&request).into_owned();
            let path = text.split(' ').nth(1).unwrap_or_default();
            // A caller that has read enough may be gone.
            let _ = stream.write_all(answers(path, address).as_bytes()).await;
        }
    });
    let operators = Policy { local_allowed: true, ..Policy::default() };
    let dialer = |policy| Arc::new(Dialer::new(policy, Timeouts::default()));
    Fetcher::new(format!("http://{address}"), dialer(operators), dialer(Policy::default()))
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn configuration(address: SocketAddr, jwks_uri: &str) -> String {
    ok(&json!({"issuer": format!("http://{address}"), "jwks_uri": jwks_uri}).to_string())
}

#[tokio::test]
async fn the_keys_come_from_where_the_configuration_says() {
    let fetcher = provider(|path, address| match path {
        DISCOVERY => configuration(address, &format!("http://{address}/k")),
        _ => ok("{\"keys\": [1]}"),
    });
    assert_eq!(fetcher.await.key_set().await.expect("a set"), json!({"keys": [1]}));
}

#[tokio::test]
async fn redirects_and_what_is_too_large_are_not_taken() {
    let moved = "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n".to_owned();
    let fetcher = provider(move |_, _| moved.clone()).await;
    assert!(matches!(fetcher.key_set().await, Err(FetchError::Status(StatusCode::FOUND))));
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, " ".repeat(1 << 16));
    let endless = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", chunk.repeat(9));
    let fetcher = provider(move |_, _| endless.clone()).await;
    assert!(matches!(fetcher.key_set().await, Err(FetchError::Http(HttpError::TooLarge))));
}

#[tokio::test]
async fn another_issuer_and_other_documents_are_refused() {
    for body in ["{\"issuer\": \"https://id.example\", \"jwks_uri\": \"https://id.example/k\"}", "[]", "null", "<html>"]
    {
        let fetcher = provider(move |_, _| ok(body)).await;
        assert!(matches!(fetcher.key_set().await, Err(FetchError::Document(_))), "{body}");
    }
}

#[tokio::test]
async fn the_provider_cannot_send_us_where_others_may_not_go() {
    for place in ["https://169.254.169.254/k", "https://127.0.0.1:1/k", "https://10.0.0.1/k"] {
        let fetcher = provider(move |_, address| configuration(address, place)).await;
        let refused = fetcher.key_set().await.expect_err(place);
        assert!(matches!(refused, FetchError::Http(HttpError::Dial(DialError::AddressBlocked))), "{place}: {refused}");
    }
    let fetcher = provider(|_, address| configuration(address, "http://id.example/k")).await;
    assert!(matches!(fetcher.key_set().await, Err(FetchError::Url(_))));
}
