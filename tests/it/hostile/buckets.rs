//! A server that is no S3, though it begins like one.

use std::io::Write as _;
use std::sync::LazyLock;

use flate2::write::GzEncoder;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::MARKER;
use super::PASSWORD;
use super::rogue::serve;
use super::service::Service;

/// 100 MiB of one letter. Packed before anybody waits for it, which takes long.
static PACKED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&vec![b'a'; 100 << 20]).expect("memory takes it");
    packed.finish().expect("memory takes it")
});

/// What it does in the place of a good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rogue {
    /// Nothing bad.
    Good,
    /// Lists the root for ever, with one token.
    SameRoot,
    /// Lists a folder for ever, with one token.
    SamePage,
    /// Lists a folder for ever, with new tokens and nothing in it.
    Nothing,
    /// Names a file on every page anew.
    Twice,
    /// Names a file of another folder.
    Elsewhere,
    /// Sends a listing without end.
    Endless,
    /// Sends entities that would expand.
    Bomb,
    /// Sends a listing that is cut off where an element could end.
    CutOff,
    /// Fails with words of its own.
    Words,
    /// Leads to the metadata of a cloud.
    Redirect,
    /// Sends more than it listed.
    Longer,
    /// Sends less than it listed.
    Shorter,
    /// Sends a file without end, and does not say how long it is.
    EndlessFile,
    /// Sends a small file that was packed and is large.
    PackedFile,
    /// Sends another version than it listed.
    OtherVersion,
}

/// How a sync ends, and how many files failed.
const TABLE: &[(Rogue, &[&str], u64)] = &[
    (Rogue::Good, &["succeeded"], 0),
    (Rogue::SameRoot, &["waiting"], 0),
    (Rogue::SamePage, &["failed"], 0),
    (Rogue::Nothing, &["failed"], 0),
    (Rogue::Twice, &["failed"], 0),
    (Rogue::Elsewhere, &["failed"], 0),
    (Rogue::Endless, &["waiting"], 0),
    (Rogue::Bomb, &["waiting"], 0),
    (Rogue::CutOff, &["waiting"], 0),
    (Rogue::Words, &["waiting"], 0),
    (Rogue::Redirect, &["failed"], 0),
    (Rogue::Longer, &["succeeded"], 1),
    (Rogue::Shorter, &["succeeded", "waiting"], 1),
    (Rogue::EndlessFile, &["succeeded"], 1),
    (Rogue::PackedFile, &["succeeded"], 1),
    (Rogue::OtherVersion, &["succeeded"], 1),
];

async fn start(rogue: Rogue) -> (u16, JoinSet<()>) {
    serve(move |stream| async move {
        // It ends when the other end does.
        let _ = play(rogue, stream).await;
    })
    .await
}

async fn play(rogue: Rogue, mut stream: TcpStream) -> std::io::Result<()> {
    let mut asked = 0;
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split_whitespace().nth(1).unwrap_or_default();
        asked += 1;
        if !path.contains("list-type=2") {
            file(rogue, &mut stream).await?;
        } else if path.contains("delimiter=") {
            root(rogue, &mut stream).await?;
        } else {
            folder(rogue, &mut stream, asked).await?;
        }
    }
}

async fn root(rogue: Rogue, stream: &mut TcpStream) -> std::io::Result<()> {
    let guides = "<CommonPrefixes><Prefix>guides/</Prefix></CommonPrefixes>";
    match rogue {
        Rogue::SameRoot => answer(stream, "200 OK", &listing(guides, Some("same"))).await,
        Rogue::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n<ListBucketResult>").await?;
            loop {
                stream.write_all(&[b' '; 64 * 1024]).await?;
            }
        }
        Rogue::Bomb => {
            let entities = "<!DOCTYPE a [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;\">]>";
            let body = format!("{entities}<ListBucketResult>&b;</ListBucketResult>");
            answer(stream, "200 OK", &body).await
        }
        Rogue::CutOff => answer(stream, "200 OK", &format!("<ListBucketResult>{guides}")).await,
        Rogue::Words => {
            let body = format!("<Error><Code>{MARKER}</Code><Message>\x1b[2J{MARKER}</Message></Error>");
            answer(stream, &format!("400 {MARKER}"), &body).await
        }
        Rogue::Redirect => {
            let head = "HTTP/1.1 301 Moved\r\nLocation: http://169.254.169.254/latest/\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(head.as_bytes()).await
        }
        _ => answer(stream, "200 OK", &listing(guides, None)).await,
    }
}

async fn folder(rogue: Rogue, stream: &mut TcpStream, asked: usize) -> std::io::Result<()> {
    let file = |key: &str| format!("<Contents><Key>{key}</Key><Size>5</Size><ETag>&quot;e&quot;</ETag></Contents>");
    let body = match rogue {
        Rogue::SamePage => listing("", Some("same")),
        Rogue::Nothing => listing("", Some(&asked.to_string())),
        Rogue::Twice => listing(&file("guides/1.txt"), Some(&asked.to_string())),
        Rogue::Elsewhere => listing(&file("orders/1.txt"), None),
        _ => listing(&file("guides/1.txt"), None),
    };
    answer(stream, "200 OK", &body).await
}

async fn file(rogue: Rogue, stream: &mut TcpStream) -> std::io::Result<()> {
    let head = |rest: &str| format!("HTTP/1.1 200 OK\r\nETag: \"e\"\r\n{rest}\r\n");
    match rogue {
        Rogue::Longer => stream.write_all(format!("{}hello!", head("Content-Length: 6\r\n")).as_bytes()).await,
        Rogue::Shorter => {
            stream.write_all(format!("{}hell", head("Connection: close\r\n")).as_bytes()).await?;
            Err(std::io::ErrorKind::ConnectionAborted.into())
        }
        Rogue::EndlessFile => {
            stream.write_all(head("").as_bytes()).await?;
            loop {
                stream.write_all(&[b'a'; 64 * 1024]).await?;
            }
        }
        Rogue::PackedFile => {
            let rest = format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", PACKED.len());
            stream.write_all(head(&rest).as_bytes()).await?;
            stream.write_all(&PACKED).await
        }
        Rogue::OtherVersion => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nETag: \"f\"\r\nContent-Length: 5\r\n\r\nhello").await
        }
        _ => stream.write_all(format!("{}hello", head("Content-Length: 5\r\n")).as_bytes()).await,
    }
}

fn listing(entries: &str, next: Option<&str>) -> String {
    let more = next
        .map(|next| format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>"));
    format!("<?xml version=\"1.0\"?><ListBucketResult>{entries}{}</ListBucketResult>", more.unwrap_or_default())
}

async fn answer(stream: &mut TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rogue_buckets_end_soon_and_leave_no_word_and_take_no_memory() {
    LazyLock::force(&PACKED);
    let service = Service::start().await;
    let mut running = Vec::new();
    for (rogue, ends, failed) in TABLE {
        let (port, tasks) = start(*rogue).await;
        let credentials = json!({"accessKeyId": "AK", "secretAccessKey": PASSWORD});
        let config = json!({"bucket": "bucket", "endpoint": format!("http://127.0.0.1:{port}")});
        let connection = service.connect_source("s3", credentials, config).await;
        running.push((rogue, ends, failed, connection, tasks));
    }
    let before = service.measure();
    for (rogue, ends, failed, connection, _tasks) in &running {
        let path = format!("/api/v1/source-connections/{connection}/test");
        let tested = service.call("POST", &path, Some(json!({}))).await;
        assert!(!tested.text.contains(MARKER), "{rogue:?}: {}", tested.text);
        let sync = service.run(connection).await;
        let ended = service.until(&sync, &["succeeded", "failed", "waiting"]).await;
        assert!(ends.contains(&ended["status"].as_str().unwrap_or_default()), "{rogue:?}: {ended:#}");
        assert!(!ended.to_string().contains(MARKER), "{rogue:?}: {ended}");
        if ended["status"] == json!("succeeded") {
            let count = ended["progress"]["itemsFailed"].as_str().unwrap_or("0");
            assert_eq!(count, failed.to_string(), "{rogue:?}: {ended:#}");
        } else if ended["status"] == json!("waiting") {
            service.call("POST", &format!("/api/v1/syncs/{sync}/cancel"), Some(json!({}))).await.ok();
            service.until(&sync, &["cancelled"]).await;
        }
    }
    service.assert_rise(before, "all rogue buckets");
    service.assert_silent();
}
