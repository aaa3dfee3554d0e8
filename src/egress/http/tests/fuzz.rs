//! Answers that were tampered with: read to an end or refused, never more than
//! was asked for.

use std::sync::Mutex;

use super::*;
use crate::tests::{fuzz, tampered};

const LIMIT: u64 = 10_000;

#[test]
fn tampered_answers_end_within_their_limit() {
    let text = "the same line again\n".repeat(30);
    let plain = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\ncontent-type: a/b\r\n\r\n{text}", text.len());
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\nyou\r\n0\r\na: b\r\n\r\n";
    let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n";
    let squeezed = [head.as_bytes(), &gzip(&[b'a'; 9000])].concat();
    let deflated = [head.replace("gzip", "deflate").as_bytes(), &[0x78, 0x9c, 3, 0, 0, 0, 0, 1]].concat();
    let redirected = "HTTP/1.1 302 Found\r\nlocation: /x?y#z\r\nretry-after: 12\r\ncontent-length: 0\r\n\r\n";
    let known = vec![plain.into(), chunked.into(), squeezed, deflated, redirected.into()];

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let answer = Arc::new(Mutex::new(Vec::new()));
    let current = Arc::clone(&answer);
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let bytes = current.lock().unwrap().clone();
            tokio::spawn(async move { hostile::answer_once(stream, &bytes).await });
        }
    });
    let settings = Settings { redirects: 1, ..Settings::default() };
    let timeouts = Timeouts { idle: Duration::from_secs(2), first_byte: Duration::from_secs(2), ..Timeouts::default() };
    let client = client_with(settings, timeouts);
    fuzz("http answers", tampered(known), |bytes| {
        *answer.lock().unwrap() = bytes;
        let asked = runtime.block_on(async { client.send(get(&url)).await?.bytes(LIMIT).await });
        if let Ok(body) = asked {
            proptest::prop_assert!(body.len() as u64 <= LIMIT);
        }
        Ok(())
    });
}
